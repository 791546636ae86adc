//! Apply: saves what the sealed box of a task holds and takes it away with its private directory and its entry, on record or not.
//!
//! What is not as expected, has a process in it or cannot be saved stays as it is, with the reason.

use std::path::{Path, PathBuf};

use super::act::CHANGED;
use super::facts::{BoxOwner, UnrecordedBox};
use crate::cleanup::batch::{Batch, Takeaway};
use crate::cleanup::done::Done;
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::remove::decide::DirId;
use crate::cleanup::remove::scan::dir_id;
use crate::cleanup::salvage;
use crate::cleanup::salvage::sealed::{Onto, Sealed};
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, RunId, TaskId};
use crate::store::Store;
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::sys::standing::Processes;
use crate::worktree::sealed::{SealedPaths, remove_if_empty};
use crate::worktree::{Repository, WorktreeError, plain};

/// Takes the box of a task that is on record: this directory, saved first where that is asked for.
pub fn retire(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    (run, task, paths): (&RunRecord, &TaskRecord, &SealedPaths),
    (expected, salvage): (Option<DirId>, bool),
    summary: &str,
) -> Result<Done> {
    let now = store.task(&run.id, &task.id)?;
    if dir_id(&paths.enclosure)? != expected || now.state != task.state || now.attempts != task.attempts {
        return Done::skipped(CHANGED);
    }
    let boxed = Boxed {
        repo,
        paths,
        lender: &repo.run_dir(&run.id)?,
        base: task.base.as_ref().unwrap_or(&run.base.commit),
        branch: &task.branch.full_ref(),
        from: &format!("{}/{}", run.id, task.id),
        like: Like::Files,
    };
    let record = task.workspace.clone().map(|path| (run.id.clone(), task.id.clone(), path));
    boxed.take(batch, salvage, record, summary)
}

/// Takes a box that nothing on record accounts for.
pub fn retire_unrecorded(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    (found, base): (&UnrecordedBox, &CommitId),
    summary: &str,
) -> Result<Done> {
    let UnrecordedBox { owner, paths, lender, branch, enclosure, private, .. } = found;
    let recorded = match owner {
        BoxOwner::Task(run, _) => store.runs()?.iter().any(|known| known.id == *run),
        BoxOwner::Workspace(name) => store.workspace(name)?.is_some(),
    };
    if recorded || dir_id(&paths.enclosure)? != *enclosure || dir_id(&paths.private)? != *private {
        return Done::skipped(CHANGED);
    }
    let _right = match owner {
        // Whoever holds it supervises the run, wherever that is on record.
        BoxOwner::Task(run, _) => match FileLock::try_acquire(&repo.run_lock(run), &lock_holder()) {
            Ok(lock) => Some(lock),
            Err(_) => return Done::skipped("its run has a supervisor now"),
        },
        BoxOwner::Workspace(_) => None,
    };
    let from = &owner.to_string();
    let boxed = Boxed { repo, paths, lender, base, branch, from, like: Like::Commits };
    boxed.take(batch, true, None, summary)
}

fn lock_holder() -> String {
    format!("pid {}, cleaning up what is of no run on record", std::process::id())
}

/// What of a branch makes it hold what a box holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Like {
    /// The same files: it was made of the box, and what else that had is on record.
    Files,
    /// The same files on the same commits.
    Commits,
}

/// A box and what belongs to it.
struct Boxed<'a> {
    repo: &'a Repository,
    paths: &'a SealedPaths,
    /// The directory with what it borrows from.
    lender: &'a Path,
    base: &'a CommitId,
    /// The branch that may hold its work.
    branch: &'a str,
    /// Its name among what was saved.
    from: &'a str,
    like: Like,
}

impl Boxed<'_> {
    fn take(
        &self,
        batch: &mut Batch<'_>,
        salvage: bool,
        task: Option<(RunId, TaskId, PathBuf)>,
        summary: &str,
    ) -> Result<Done> {
        let paths = self.paths;
        if let Some(process) = Processes::scan()?.inside(&paths.enclosure).first() {
            return Done::skipped(format!("{} (pid {}) works in it now", process.name, process.pid));
        }
        let saved = match if salvage { self.save(batch.stamp()) } else { Ok(Vec::new()) } {
            Ok(saved) => saved,
            // It stays, and the other things go.
            Err(CleanupError::Worktree(WorktreeError::BadResult { message, .. })) => {
                return Done::skipped(format!(
                    "it cannot be saved, so it stays: {message}; what is needed of it has to be copied by hand"
                ));
            }
            Err(error) => return Err(error),
        };
        let directories = vec![paths.entry.clone(), paths.enclosure.clone(), paths.private.clone()];
        let takeaway = Takeaway { directories, task, saved, ..Takeaway::default() };
        batch.take_away(&takeaway, summary)?;
        remove_if_empty(paths.enclosure.parent());
        plain::remove_entries_dir_if_empty(self.repo);
        Ok(Done::Yes { salvage: takeaway.saved, note: None })
    }

    /// Saves what the box holds, unless its branch holds it.
    fn save(&self, stamp: &str) -> Result<Vec<String>> {
        let Boxed { repo, paths, lender, base, .. } = *self;
        let captured = if fs::exists(&paths.tree)? {
            salvage::sealed::capture_sealed(repo, paths, lender, base)?
        } else {
            salvage::sealed::commits_of_sealed(repo, paths, lender, base)?
        };
        let reader = repo.reader();
        let tip = reader.ref_commit(self.branch)?.unwrap_or_else(|| base.clone());
        let prefix = format!("{SALVAGE_PREFIX}{}/{stamp}", self.from);
        let same = captured.commit == *base
            || match self.like {
                Like::Files => salvage::sealed::captured_tree(&captured)? == reader.tree_of(&tip)?,
                Like::Commits => salvage::sealed::is_same_work(repo, &captured, &tip)?,
            };
        let sealed = Sealed { paths, captured: &captured, work: !same, base, prefix: &prefix };
        let onto = Onto { reference: &salvage::sealed::beside(&prefix), expected: None };
        Ok(salvage::sealed::save(repo, sealed, onto)?.saved.into_iter().map(|saved| saved.name).collect())
    }
}
