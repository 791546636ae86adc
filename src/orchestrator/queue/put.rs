//! Apply: one result put on a commit in memory, in the way that its run wants it: squashed, merged, replayed or as it is. No ref,
//! index or tree is touched; new objects go to a quarantine.
//!
//! What git cannot do with a result is that result's end, and not that of the others; what is the disk's doing is an error.

use super::stack::Subject;
use super::wording;
use crate::model::cause::chain;
use crate::model::{CommitId, QueueEntry, Reason, ReasonKind, Strategy};
use crate::orchestrator::context::RunError;
use crate::orchestrator::messages::{self, Origin, Told};
use crate::orchestrator::room;
use crate::orchestrator::template::TemplateFault;
use crate::sys::git::{CommitText, Reader};
use crate::worktree::error::Result as WorktreeResult;
use crate::worktree::making::{Making, People};
use crate::worktree::merge::{self, Outcome, Signature};
use crate::worktree::merging::Merger;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::replay::{self, Pick, Replayed};
use crate::worktree::{Repository, WorktreeError};

/// What it takes to put results on commits of a repository.
pub struct Hand<'a> {
    reader: Reader,
    quarantine: &'a Quarantine,
    making: Making<'a>,
    merger: Merger<'a>,
}

/// What putting one result on a commit gave.
pub enum Put {
    /// This commit; the same where nothing of it is left to land.
    On(New),
    /// It does not go there.
    Conflict(Clash),
    /// It cannot land at all.
    Refused(Reason),
}

/// Why a result does not go onto a commit.
pub struct Clash {
    /// Files in conflict; none at all where a fast-forward is not one any more.
    pub paths: Vec<String>,
    /// The tree in which they have marks, in the quarantine.
    pub tree: Option<CommitId>,
}

/// A commit, and its tree where that is known.
pub struct New {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: Option<CommitId>,
}

impl From<CommitId> for New {
    fn from(commit: CommitId) -> New {
        New { commit, tree: None }
    }
}

type Made = WorktreeResult<Result<New, Clash>>;

impl<'a> Hand<'a> {
    /// One that works in this quarantine.
    pub fn open(repo: &Repository, quarantine: &'a Quarantine, people: &'a People) -> Hand<'a> {
        let (making, merger) = (Making::open(quarantine, people), Merger::open(quarantine));
        Hand { reader: repo.reader(), quarantine, making, merger }
    }

    /// Leaves everything that it has made where git finds it.
    pub fn finish(self) -> WorktreeResult<()> {
        self.making.write()
    }

    /// What a result is put on: the top, or the run's base where the target is merely behind it (a local branch that was not
    /// pulled). `None` where it would have to be put on that, and something else is there already.
    pub fn onto(&self, (tip, top): (&CommitId, &CommitId), subject: &Subject) -> WorktreeResult<Option<CommitId>> {
        let base = &subject.run_base;
        if base == tip || !self.reader.is_ancestor(tip, base)? {
            return Ok(Some(top.clone()));
        }
        Ok((top == tip).then(|| base.clone()))
    }

    /// Puts a result on a commit, whose tree is this where that is known.
    pub fn put(&mut self, subject: &Subject, onto: &CommitId, tree: Option<&CommitId>) -> Result<Put, RunError> {
        let made = match subject.strategy {
            Strategy::Squash => self.tree_of(onto, tree).and_then(|tree| self.squash(subject, (onto, &tree))),
            Strategy::Merge => self.merge_commit(subject, onto),
            Strategy::Rebase => self.making.write().and_then(|()| rebase(self.quarantine, subject, onto)),
            Strategy::Ff => self.fast_forward(&subject.entry, onto),
        };
        match made {
            Ok(Ok(new)) => Ok(Put::On(new)),
            Ok(Err(clash)) => Ok(Put::Conflict(clash)),
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

    /// Tells git, which would have to look, that what was put on a commit changes no attributes, where that is so. A git that has not merged
    /// anything yet has nothing to compare them with.
    pub fn carry_attributes(&mut self, subject: &Subject, before: &CommitId, after: &CommitId) -> WorktreeResult<()> {
        if !self.merger.is_at_work() {
            return Ok(());
        }
        let QueueEntry { base, commit, .. } = &subject.entry;
        let is_one = |path: &Vec<u8>| path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
        if !self.reader.changed_files(base, commit)?.iter().any(is_one) {
            self.merger.know_same_attributes(after, before);
        }
        Ok(())
    }

    fn tree_of(&self, commit: &CommitId, known: Option<&CommitId>) -> WorktreeResult<CommitId> {
        match known {
            Some(tree) => Ok(tree.clone()),
            None if self.reader.has_commit(commit)? => Ok(self.reader.tree_of(commit)?),
            None => self.quarantine.tree_of(commit),
        }
    }

    /// The result merged with what it is put on, its recorded base between them.
    fn merge(&mut self, entry: &QueueEntry, onto: &CommitId) -> WorktreeResult<Result<CommitId, Clash>> {
        let QueueEntry { base, commit, .. } = entry;
        // git is asked where there is something to decide.
        if let Some(tree) = self.making.merge(base, onto, commit) {
            return Ok(Ok(tree));
        }
        self.making.write()?;
        let Outcome { tree, conflicts } = self.merger.outcome(Some(base), onto, commit)?;
        Ok(match conflicts {
            None => Ok(tree),
            Some(paths) => Err(Clash { paths, tree: Some(tree) }),
        })
    }

    fn squash(&mut self, subject: &Subject, (top, top_tree): (&CommitId, &CommitId)) -> Made {
        let QueueEntry { base, commit, .. } = &subject.entry;
        let tree = match self.merge(&subject.entry, top)? {
            Ok(tree) => tree,
            Err(clash) => return Ok(Err(clash)),
        };
        if tree == *top_tree {
            return Ok(Ok(New { commit: top.clone(), tree: Some(tree) }));
        }
        let texts = self.reader.texts(commit, base)?;
        let told: Vec<Told> = texts.iter().map(told).collect();
        let message = wording::squash(subject, &told).map_err(no_message)?;
        let signature = texts.last().map(signature).unwrap_or_default();
        let made = self.commit(&tree, &[top], &message, &signature)?;
        Ok(Ok(New { commit: made, tree: Some(tree) }))
    }

    fn merge_commit(&mut self, subject: &Subject, top: &CommitId) -> Made {
        let tree = match self.merge(&subject.entry, top)? {
            Ok(tree) => tree,
            Err(clash) => return Ok(Err(clash)),
        };
        let QueueEntry { base, commit, .. } = &subject.entry;
        let told = match subject.wording.template {
            Some(_) => self.reader.texts(commit, base)?.iter().map(told).collect(),
            None => Vec::new(),
        };
        let message = wording::merge(subject, &told).map_err(no_message)?;
        let parents = [top, &subject.entry.commit];
        let made = self.commit(&tree, &parents, &message, &Signature::default())?;
        Ok(Ok(New { commit: made, tree: Some(tree) }))
    }

    fn commit(
        &self,
        tree: &CommitId,
        parents: &[&CommitId],
        message: &str,
        signature: &Signature,
    ) -> WorktreeResult<CommitId> {
        if let Some(made) = self.making.commit(tree, parents, message, signature) {
            return Ok(made);
        }
        self.making.write()?;
        merge::commit_tree(self.quarantine, tree, parents, message, signature)
    }

    fn fast_forward(&self, entry: &QueueEntry, top: &CommitId) -> Made {
        let ahead = self.reader.is_ancestor(top, &entry.commit)?;
        Ok(if ahead { Ok(entry.commit.clone().into()) } else { Err(Clash { paths: Vec::new(), tree: None }) })
    }
}

fn no_message(fault: TemplateFault) -> WorktreeError {
    WorktreeError::BadResult { message: format!("`merge.message` gives no message for it: {fault}"), paths: Vec::new() }
}

/// What a commit tells.
fn told(text: &CommitText) -> Told {
    let lines = text.message.lines().map(str::trim_end).skip_while(|line| line.is_empty());
    let subject = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").trim().to_owned();
    let (name, address) = &text.author;
    let author = format!("{name} <{address}>");
    Told { subject, message: text.message.clone(), author, id: text.commit.to_string() }
}

fn signature(text: &CommitText) -> Signature {
    let (name, address) = &text.author;
    Signature::of_author(name, address, &text.date)
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
        Replayed::Conflict { paths, .. } => Err(Clash { paths, tree: None }),
    })
}

fn origin(entry: &QueueEntry) -> Origin<'_> {
    Origin { run: &entry.run, task: &entry.task }
}
