//! Scan: what ended runs and dead processes left in this repository, and why the rest has to stay.
//!
//! A run is over when its record says so; a run without supervisor is only reported. Young things stay.

use std::path::PathBuf;

use globset::GlobSet;

use super::clean::{CleanPolicy, Kind, old_trash};
use super::error::{CleanupError, Result};
use super::integration::{self, Proof};
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, RunId};
use crate::store::Store;
use crate::sys::fs;
use crate::worktree::{Repository, result_policy};

/// One thing that was found.
#[derive(Clone, Debug)]
pub enum Leftover {
    /// The workspace of a task whose run is over.
    TaskBox {
        /// The run and the task.
        owner: Box<(RunRecord, TaskRecord)>,
        /// What it takes on disk.
        bytes: u64,
    },
    /// A task branch whose work is in its target.
    Branch {
        /// Its full name.
        name: String,
        /// Where it is.
        tip: CommitId,
        /// How it is known.
        proof: Proof,
    },
    /// A quarantine that nobody works on any more.
    Quarantine(PathBuf),
    /// A place in the trash whose retention has ended.
    Trash(PathBuf),
    /// The private directory of a run that is over.
    RunDir {
        /// The run.
        run: RunId,
        /// The directory.
        path: PathBuf,
    },
    /// Something that stays.
    Kept {
        /// What it is.
        kind: Kind,
        /// Its name.
        item: String,
        /// Why it stays.
        reason: String,
    },
}

/// Everything that was found.
pub fn leftovers(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<Vec<Leftover>> {
    let protected = result_policy::compile(&policy.protect)
        .map_err(|message| CleanupError::refused(format!("clean.protect: {message}"), "correct the pattern"))?;
    let mut found = Vec::new();
    for run in store.runs()? {
        of_run(repo, store, policy, &protected, &run, &mut found)?;
    }
    found.extend(old_quarantines(repo, policy)?.into_iter().map(Leftover::Quarantine));
    found.extend(old_trash(repo, policy)?.into_iter().map(Leftover::Trash));
    Ok(found)
}

fn of_run(
    repo: &Repository,
    store: &Store,
    policy: &CleanPolicy,
    protected: &GlobSet,
    run: &RunRecord,
    found: &mut Vec<Leftover>,
) -> Result<()> {
    let ended = run.ended_at.filter(|_| run.state.is_terminal());
    let young = match ended {
        None => Some("its run is not over".to_owned()),
        Some(ended) if policy.now.since(ended) < policy.min_age.0 => Some(format!("younger than {}", policy.min_age)),
        Some(_) => None,
    };
    let tasks = store.tasks(&run.id)?;
    for task in &tasks {
        if task.workspace.is_some() {
            let item = format!("{}/{}", run.id, task.id);
            found.push(match &young {
                Some(reason) => Leftover::Kept { kind: Kind::Workspace, item, reason: reason.clone() },
                None => {
                    let bytes = task.workspace.as_ref().map_or(0, |path| fs::disk_usage(path));
                    Leftover::TaskBox { owner: Box::new((run.clone(), task.clone())), bytes }
                }
            });
        }
        if young.is_none() {
            found.extend(branch_of(repo, run, task, protected)?);
        }
    }
    let private = run_dir(repo, &run.id)?;
    // The workspaces of this plan go before it; whether they did is asked again then.
    if young.is_none() && fs::exists(&private)? {
        found.push(Leftover::RunDir { run: run.id.clone(), path: private });
    }
    Ok(())
}

fn run_dir(repo: &Repository, run: &RunId) -> Result<PathBuf> {
    Ok(repo.run_dir(run)?)
}

fn branch_of(repo: &Repository, run: &RunRecord, task: &TaskRecord, protected: &GlobSet) -> Result<Option<Leftover>> {
    let name = task.branch.full_ref();
    let Some(tip) = repo.reader().ref_commit(&name)? else { return Ok(None) };
    let kept = |reason: &str| {
        Ok(Some(Leftover::Kept { kind: Kind::Branch, item: task.branch.to_string(), reason: reason.to_owned() }))
    };
    if protected.is_match(task.branch.as_str()) {
        return kept("protected by clean.protect");
    }
    match integration::proof_in_any(repo, &tip, &[run.into.full_ref()])? {
        Some(proof) => Ok(Some(Leftover::Branch { name, tip, proof })),
        None => kept("its work is not provably in its target"),
    }
}

fn old_quarantines(repo: &Repository, policy: &CleanPolicy) -> Result<Vec<PathBuf>> {
    let root = repo.state_dir().join("quarantine");
    let mut old = Vec::new();
    if !fs::exists(&root)? {
        return Ok(old);
    }
    for entry in std::fs::read_dir(&root).map_err(fs::at("read", &root))? {
        let path = entry.map_err(fs::at("read", &root))?.path();
        let changed = std::fs::symlink_metadata(&path).and_then(|meta| meta.modified());
        let changed = changed.map_err(fs::at("look at", &path))?;
        let since_epoch = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        if policy.now.since(crate::model::Timestamp(millis)) >= policy.min_age.0.max(QUARANTINE_MIN) {
            old.push(path);
        }
    }
    Ok(old)
}

/// However young `min_age` is, a quarantine may be in use by another process for as long as its gates run.
const QUARANTINE_MIN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
