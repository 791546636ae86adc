//! Apply: results put one on top of the other in memory, on the tip of the branch that they are to land on, each in the way
//! that its run wants it: squashed, merged, replayed or as it is. No ref, index or tree is touched.
//!
//! What conflicts with the tip itself is refused; what only conflicts with something before it in the stack is left for the next
//! one. A dependent is merged with its recorded base (the merged needs it started from) as merge base, so that a squashed
//! predecessor gives no false conflict.

use std::collections::BTreeMap;

use super::wording::{self, Wording};
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{BranchName, CommitId, GateSpec, QueueEntry, Reason, ReasonKind, RunId, Strategy, TaskId, TaskSpec};
use crate::orchestrator::context::RunError;
use crate::orchestrator::message_template::TemplateFault;
use crate::orchestrator::messages::{self, Origin, Told};
use crate::orchestrator::room;
use crate::worktree::error::Result as WorktreeResult;
use crate::worktree::merge::{self, Merged, Signature, merge_trees};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::replay::{self, Pick, Replayed};
use crate::worktree::{Repository, WorktreeError};

/// An entry with what decides how it lands.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The entry.
    pub entry: QueueEntry,
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
        Subject { entry, spec: task.spec, strategy: run.strategy, run_base, gates, offered, wording }
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
    /// What cannot land on this tip at all.
    pub refused: Vec<(QueueEntry, Reason)>,
    /// What was passed over, refused or not.
    left: Vec<(RunId, TaskId)>,
    /// Trees of commits in it, as far as they are known.
    trees: BTreeMap<CommitId, CommitId>,
}

/// What putting one result on a commit gave.
enum Put {
    On(New),
    /// Files in conflict; none at all where a fast-forward is not one any more.
    Conflict(Vec<String>),
    Refused(Reason),
}

impl Stack {
    /// Puts these results onto the tip, in this order.
    pub fn build(
        repo: &Repository,
        (into, tip): (&BranchName, &CommitId),
        subjects: Vec<Subject>,
    ) -> Result<Stack, RunError> {
        let quarantine = Quarantine::create(repo, tip)?;
        let (into, tip) = (into.clone(), tip.clone());
        let mut stack = Stack {
            quarantine,
            into,
            tip,
            links: Vec::new(),
            refused: Vec::new(),
            left: Vec::new(),
            trees: BTreeMap::new(),
        };
        for subject in subjects {
            if let Err(error) = stack.put(repo, subject) {
                stack.quarantine.discard()?;
                return Err(error);
            }
        }
        Ok(stack)
    }

    /// The highest commit.
    fn top(&self) -> &CommitId {
        self.links.last().map_or(&self.tip, |link| &link.after)
    }

    fn put(&mut self, repo: &Repository, subject: Subject) -> Result<(), RunError> {
        let name = |subject: &Subject| (subject.entry.run.clone(), subject.entry.task.clone());
        let needs_one_left = |subject: &Subject| {
            let left = |need: &TaskId| self.left.iter().any(|(run, task)| *run == subject.entry.run && task == need);
            subject.entry.needs.iter().any(left)
        };
        let (top, tip) = (self.top().clone(), self.tip.clone());
        let onto = if needs_one_left(&subject) { None } else { onto(repo, (&tip, &top), &subject)? };
        let Some(onto) = onto else {
            self.left.push(name(&subject));
            return Ok(());
        };
        match self.try_put(repo, &subject, &onto)? {
            // Where the target is merely behind the run's base, it is brought up to that by the same move.
            Put::On(New { commit: after, tree }) => {
                self.trees.extend(tree.map(|tree| (after.clone(), tree)));
                self.links.push(Link { subject, before: top, after });
            }
            Put::Conflict(paths) => {
                self.left.push(name(&subject));
                if top == tip {
                    let reason = conflict(repo, &self.into, &subject.entry, &tip, paths)?;
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

    /// What git cannot do with this result is this result's end, not that of the others.
    fn try_put(&self, repo: &Repository, subject: &Subject, onto: &CommitId) -> Result<Put, RunError> {
        let made = match subject.strategy {
            Strategy::Squash => {
                self.known_tree(repo, onto).and_then(|tree| squash(&self.quarantine, subject, (onto, &tree)))
            }
            Strategy::Merge => merge_commit(&self.quarantine, subject, onto),
            Strategy::Rebase => rebase(&self.quarantine, subject, onto),
            Strategy::Ff => fast_forward(repo, &subject.entry, onto),
        };
        match made {
            Ok(Ok(new)) => Ok(Put::On(new)),
            Ok(Err(paths)) => Ok(Put::Conflict(paths)),
            Err(error @ WorktreeError::Unsigned { .. }) => {
                Ok(Put::Refused(Reason::new(ReasonKind::Attention, chain(&error))))
            }
            // The template is its run's for good, so that it would not land another time either.
            Err(WorktreeError::BadResult { message, .. }) => Ok(Put::Refused(Reason::new(ReasonKind::Policy, message))),
            Err(error) => match RunError::from(error) {
                error if room::is_full(&error) || matches!(error, RunError::Worktree(WorktreeError::Store(_))) => {
                    Err(error)
                }
                error => {
                    let message = format!("it cannot be landed: {}", chain(&error));
                    Ok(Put::Refused(Reason::new(ReasonKind::Failed, message)))
                }
            },
        }
    }

    /// A result of the stack put on another commit than there, to be judged without what is between; `None` for a conflict.
    pub fn elsewhere(&self, repo: &Repository, number: usize, onto: &CommitId) -> Result<Option<CommitId>, RunError> {
        let Some(Link { subject, .. }) = self.links.get(number) else { return Ok(None) };
        let Some(onto) = self::onto(repo, (&self.tip, onto), subject)? else { return Ok(None) };
        Ok(match self.try_put(repo, subject, &onto)? {
            Put::On(New { commit, .. }) => Some(commit),
            Put::Conflict(_) | Put::Refused(_) => None,
        })
    }

    /// The tree of a commit that may be in the repository, too.
    fn known_tree(&self, repo: &Repository, commit: &CommitId) -> WorktreeResult<CommitId> {
        let reader = repo.reader();
        match self.trees.get(commit) {
            Some(tree) => Ok(tree.clone()),
            None if reader.has_commit(commit)? => Ok(reader.tree_of(commit)?),
            None => self.tree_of(commit),
        }
    }

    /// The tree of a commit in it.
    pub fn tree_of(&self, commit: &CommitId) -> WorktreeResult<CommitId> {
        if let Some(tree) = self.trees.get(commit) {
            return Ok(tree.clone());
        }
        Ok(self.quarantine.command(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id()?)
    }
}

/// What a result is put on: the top, or the run's base where the target is merely behind it (a local branch that was not
/// pulled). `None` where it would have to be put on that, and something else is there already.
fn onto(repo: &Repository, (tip, top): (&CommitId, &CommitId), subject: &Subject) -> WorktreeResult<Option<CommitId>> {
    let (reader, base) = (repo.reader(), &subject.run_base);
    if base == tip || !reader.is_ancestor(tip, base)? {
        return Ok(Some(top.clone()));
    }
    Ok((top == tip).then(|| base.clone()))
}

/// A commit, and its tree where that is known.
struct New {
    commit: CommitId,
    tree: Option<CommitId>,
}

impl From<CommitId> for New {
    fn from(commit: CommitId) -> New {
        New { commit, tree: None }
    }
}

/// A commit, or the files in conflict; no files at all means that the target moved under a fast-forward.
type Made = WorktreeResult<Result<New, Vec<String>>>;

fn squash(quarantine: &Quarantine, subject: &Subject, (top, top_tree): (&CommitId, &CommitId)) -> Made {
    let QueueEntry { base, commit, .. } = &subject.entry;
    let tree = match merge_trees(quarantine, Some(base), top, commit)? {
        Merged::Conflict(paths) => return Ok(Err(paths)),
        Merged::Clean(tree) => tree,
    };
    if tree == *top_tree {
        return Ok(Ok(New { commit: top.clone(), tree: Some(tree) }));
    }
    let (told, signature) = told(quarantine, &format!("{base}..{commit}"))?;
    let message = wording::squash(subject, &told).map_err(no_message)?;
    let made = merge::commit_tree(quarantine, &tree, &[top], &message, &signature)?;
    Ok(Ok(New { commit: made, tree: Some(tree) }))
}

fn no_message(fault: TemplateFault) -> WorktreeError {
    WorktreeError::BadResult { message: format!("`merge.message` gives no message for it: {fault}"), paths: Vec::new() }
}

/// What the commits of a range say, the first one first, and the author of the last.
fn told(quarantine: &Quarantine, range: &str) -> WorktreeResult<(Vec<Told>, Signature)> {
    let format = ["--format=%H%n%an%n%ae%n%ad%n%s%n%B", "--date=raw", "--no-show-signature"];
    let log =
        quarantine.command(["log", "--first-parent", "--reverse", "-z"]).args(format).args([range, "--"]).run()?;
    let (mut all, mut signature) = (Vec::new(), Signature::default());
    for record in log.records() {
        let text = String::from_utf8_lossy(record).into_owned();
        let mut parts = text.splitn(6, '\n');
        let mut part = || parts.next().unwrap_or_default();
        let id = part().to_owned();
        let (name, address, date) = (part(), part(), part());
        signature = Signature::of_author(name, address, date);
        let (author, subject) = (format!("{name} <{address}>"), part().trim().to_owned());
        all.push(Told { author, subject, message: part().to_owned(), id });
    }
    Ok((all, signature))
}

fn merge_commit(quarantine: &Quarantine, subject: &Subject, top: &CommitId) -> Made {
    let QueueEntry { base, commit, .. } = &subject.entry;
    let tree = match merge_trees(quarantine, Some(base), top, commit)? {
        Merged::Conflict(paths) => return Ok(Err(paths)),
        Merged::Clean(tree) => tree,
    };
    let told = match subject.wording.template {
        Some(_) => told(quarantine, &format!("{base}..{commit}"))?.0,
        None => Vec::new(),
    };
    let message = wording::merge(subject, &told).map_err(no_message)?;
    let made = merge::commit_tree(quarantine, &tree, &[top, commit], &message, &Signature::default())?;
    Ok(Ok(New { commit: made, tree: Some(tree) }))
}

/// Replays each commit of the task; what becomes empty is left out, as git does.
fn rebase(quarantine: &Quarantine, subject: &Subject, top: &CommitId) -> Made {
    let QueueEntry { base, commit, .. } = &subject.entry;
    let range = format!("{base}..{commit}");
    let mut picks = replay::picks(quarantine, &["--first-parent", &range])?;
    // The base of a dependent holds what it needs merged, so its first commit is taken against that.
    if let Some(first) = picks.first_mut() {
        first.parent = Some(base.clone());
    }
    let last = picks.last().map(|pick| pick.commit.clone());
    let origin = origin(&subject.entry);
    let message = |pick: &Pick| match subject.offered {
        Some(_) => pick.message.clone(),
        None => messages::replayed(&pick.message, &origin, Some(&pick.commit) == last.as_ref()),
    };
    Ok(match replay::replay(quarantine, &picks, top, Some(&message))? {
        Replayed::Done(commit) => Ok(commit.into()),
        Replayed::Conflict { paths, .. } => Err(paths),
    })
}

fn fast_forward(repo: &Repository, entry: &QueueEntry, top: &CommitId) -> Made {
    let ahead = repo.reader().is_ancestor(top, &entry.commit)?;
    Ok(if ahead { Ok(entry.commit.clone().into()) } else { Err(Vec::new()) })
}

fn origin(entry: &QueueEntry) -> Origin<'_> {
    Origin { run: &entry.run, task: &entry.task }
}

/// Names the files and both sides' commits that touch them.
fn conflict(
    repo: &Repository,
    into: &BranchName,
    entry: &QueueEntry,
    tip: &CommitId,
    paths: Vec<String>,
) -> WorktreeResult<Reason> {
    if paths.is_empty() {
        let message = format!("`{into}` has moved, so the result is no fast-forward of it");
        return Ok(Reason::new(ReasonKind::Stale, message));
    }
    let commits = |range: String| -> WorktreeResult<String> {
        let args = ["log", "-5", "--format=%h %s", "--no-decorate", &range, "--"];
        let text = repo.bare(args).args(&paths).text()?;
        Ok(text.lines().map(|line| format!("`{line}`")).collect::<Vec<_>>().join(", "))
    };
    let theirs = commits(format!("{}..{}", entry.base, entry.commit))?;
    let ours = commits(format!("{}..{tip}", entry.base))?;
    let message = format!("conflict with `{into}`: {ours} there against {theirs} here");
    Ok(Reason::new(ReasonKind::Conflict, message).with_paths(paths))
}
