//! Apply: results put one on top of the other in memory, on the tip of the branch that they are to land on. No ref, index or tree is
//! touched.
//!
//! What conflicts with the tip itself is refused; what only conflicts with something before it in the stack is left for the next
//! one. A dependent is merged with its recorded base (the merged needs it started from) as merge base, so that a squashed
//! predecessor gives no false conflict.

use std::collections::BTreeMap;

use super::clash;
use super::put::{Hand, New, Put};
use super::wording::Wording;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{BranchName, CommitId, GateSpec, QueueEntry, Reason, RunId, Strategy, TaskId, TaskSpec};
use crate::orchestrator::context::RunError;
use crate::orchestrator::kept::Captured;
use crate::worktree::Repository;
use crate::worktree::error::Result as WorktreeResult;
use crate::worktree::import::RefChange;
use crate::worktree::making::People;
use crate::worktree::quarantine::Quarantine;

/// An entry with what decides how it lands.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The entry.
    pub entry: QueueEntry,
    /// The branch that holds it until it has landed.
    pub branch: BranchName,
    /// What was asked for.
    pub spec: TaskSpec,
    /// How it becomes commits.
    pub strategy: Strategy,
    /// The base of its run.
    pub run_base: CommitId,
    /// What judges it.
    pub gates: Vec<GateSpec>,
    /// How a person calls it, where it is their own work that they offered.
    pub offered: Option<String>,
    /// What the message of its commit is made of.
    pub wording: Wording,
}

impl Subject {
    /// The entry of a task of this run.
    pub fn of(entry: QueueEntry, run: &RunRecord, task: TaskRecord) -> Subject {
        let gates = run.spec.gates.iter().chain(&task.spec.gates).cloned().collect();
        let wording = Wording::of(run, &task);
        let offered = task.offered;
        // What was offered is not on top of the run's base, but on its own.
        let run_base = if offered.is_some() { entry.base.clone() } else { run.base.commit.clone() };
        Subject {
            entry,
            branch: task.branch,
            spec: task.spec,
            strategy: run.strategy,
            run_base,
            gates,
            offered,
            wording,
        }
    }
}

impl Subject {
    /// What stays reachable of it when it has landed.
    pub fn captured(&self) -> Captured {
        let QueueEntry { run, task, commit, .. } = &self.entry;
        ((run.clone(), task.clone()), commit.clone())
    }

    /// That its branch still holds it.
    pub fn stands(&self) -> RefChange {
        RefChange::none(self.branch.full_ref(), self.entry.commit.clone())
    }
}

/// A result in its place.
#[derive(Clone, Debug)]
pub struct Link {
    /// It.
    pub subject: Subject,
    /// What it is put on.
    pub before: CommitId,
    /// What that gives; the same where nothing of it is left to land.
    pub after: CommitId,
}

/// Results on top of each other.
#[derive(Debug)]
pub struct Stack {
    /// What holds the new commits.
    pub quarantine: Quarantine,
    /// The branch.
    pub into: BranchName,
    /// Its tip.
    pub tip: CommitId,
    /// The results, from the lowest to the highest.
    pub links: Vec<Link>,
    /// Everything in the quarantine is of these results and no others, and what it is made on is held by the tip.
    pub whole: bool,
    /// What cannot land on this tip at all.
    pub refused: Vec<(QueueEntry, Reason)>,
    /// Trees of commits in it, as far as they are known.
    trees: BTreeMap<CommitId, CommitId>,
}

/// Results that are being put on top of each other.
struct Heap<'a> {
    repo: &'a Repository,
    hand: Hand<'a>,
    quarantine: &'a Quarantine,
    into: &'a BranchName,
    tip: &'a CommitId,
    links: Vec<Link>,
    refused: Vec<(QueueEntry, Reason)>,
    /// What was passed over, refused or not.
    left: Vec<(RunId, TaskId)>,
    trees: BTreeMap<CommitId, CommitId>,
    /// How many are still to come.
    ahead: usize,
    /// What they are put on is held by the tip, or by them.
    whole: bool,
}

impl Heap<'_> {
    /// The highest commit.
    fn top(&self) -> &CommitId {
        self.links.last().map_or(self.tip, |link| &link.after)
    }

    fn put(&mut self, subject: Subject) -> Result<(), RunError> {
        let name = |subject: &Subject| (subject.entry.run.clone(), subject.entry.task.clone());
        let needs_one_left = |subject: &Subject| {
            let left = |need: &TaskId| self.left.iter().any(|(run, task)| *run == subject.entry.run && task == need);
            subject.entry.needs.iter().any(left)
        };
        let (top, tip) = (self.top().clone(), self.tip);
        let onto = if needs_one_left(&subject) { None } else { self.hand.onto((tip, &top), &subject)? };
        let Some(onto) = onto else {
            self.left.push(name(&subject));
            return Ok(());
        };
        self.whole &= onto == top;
        match self.hand.put(&subject, &onto, self.trees.get(&onto))? {
            // Where the target is merely behind the run's base, it is brought up to that by the same move.
            Put::On(New { commit: after, tree }) => {
                self.trees.extend(tree.map(|tree| (after.clone(), tree)));
                if self.ahead > 0 {
                    self.hand.carry_attributes(&subject, &onto, &after)?;
                }
                self.links.push(Link { subject, before: top, after });
            }
            Put::Conflict(clash) => {
                self.left.push(name(&subject));
                if top == *tip {
                    let reason = clash::reason(self.repo, self.quarantine, (self.into, tip), &subject.entry, clash)?;
                    self.refused.push((subject.entry, reason));
                }
            }
            Put::Refused(reason) => {
                self.left.push(name(&subject));
                self.refused.push((subject.entry, reason));
            }
        }
        Ok(())
    }
}

impl Stack {
    /// Puts these results onto the tip, in this order.
    pub fn build(
        repo: &Repository,
        (into, tip): (&BranchName, &CommitId),
        subjects: Vec<Subject>,
    ) -> Result<Stack, RunError> {
        let quarantine = Quarantine::create(repo, tip)?;
        match heap(repo, &quarantine, (into, tip), subjects) {
            Ok(Heaped { links, refused, trees, whole }) => {
                Ok(Stack { quarantine, into: into.clone(), tip: tip.clone(), links, whole, refused, trees })
            }
            Err(error) => {
                quarantine.discard()?;
                Err(error)
            }
        }
    }

    /// A result of the stack put on another commit than there, to be judged without what is between; `None` for a conflict.
    pub fn elsewhere(&self, repo: &Repository, number: usize, onto: &CommitId) -> Result<Option<CommitId>, RunError> {
        let Some(Link { subject, .. }) = self.links.get(number) else { return Ok(None) };
        let people = People::default();
        let mut hand = Hand::open(repo, &self.quarantine, &people);
        let Some(onto) = hand.onto((&self.tip, onto), subject)? else { return Ok(None) };
        let put = hand.put(subject, &onto, self.trees.get(&onto))?;
        hand.finish()?;
        Ok(match put {
            Put::On(New { commit, .. }) => Some(commit),
            Put::Conflict(_) | Put::Refused(_) => None,
        })
    }

    /// The tree of a commit in it.
    pub fn tree_of(&self, commit: &CommitId) -> WorktreeResult<CommitId> {
        match self.trees.get(commit) {
            Some(tree) => Ok(tree.clone()),
            None => self.quarantine.tree_of(commit),
        }
    }
}

/// What became of the results.
struct Heaped {
    links: Vec<Link>,
    refused: Vec<(QueueEntry, Reason)>,
    trees: BTreeMap<CommitId, CommitId>,
    whole: bool,
}

fn heap(
    repo: &Repository,
    quarantine: &Quarantine,
    (into, tip): (&BranchName, &CommitId),
    subjects: Vec<Subject>,
) -> Result<Heaped, RunError> {
    let people = People::default();
    let hand = Hand::open(repo, quarantine, &people);
    let (links, refused, left, trees) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
    let mut heap =
        Heap { repo, hand, quarantine, into, tip, links, refused, left, trees, ahead: subjects.len(), whole: true };
    std::thread::scope(|scope| {
        // Asked while the first is merged; who commits it waits for the answer.
        let _asked = scope.spawn(|| people.ask(quarantine).is_some());
        subjects.into_iter().try_for_each(|subject| {
            heap.ahead -= 1;
            heap.put(subject)
        })
    })?;
    heap.hand.finish()?;
    let Heap { links, refused, trees, whole, .. } = heap;
    Ok(Heaped { links, refused, trees, whole })
}
