//! Scan: sealed boxes that no record accounts for: private directories of runs that the store does not know, of tasks that their
//! run does not know, and of workspaces that nobody knows.
//!
//! What a task could write is read beneath an open directory, with a limit. What cannot be looked at is named and stays.

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::{BoxOwner, DirFact, Facts, UnrecordedBox, UnrecordedRun};
use super::look::Scan;
use super::types::{Kept, Kind};
use crate::cleanup::error::Result;
use crate::cleanup::places::{children, directories, disk_there, is_of_the_run_alone};
use crate::cleanup::remove::scan::dir_id;
use crate::cleanup::trash;
use crate::model::cause::chain;
use crate::model::names::from_path_part;
use crate::model::{CommitId, RunId, TaskId, Timestamp};
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::worktree::Repository;
use crate::worktree::plain::named_sealed;
use crate::worktree::repository::bytes_path;
use crate::worktree::run_store::brought_in;
use crate::worktree::sealed::SealedPaths;

/// Longest path that is read out of a private dir.
const PATH_MAX: u64 = 8192;

/// What the private dir of a sealed workspace has.
const COMMON: &str = "common.git";

/// Looks at all of them; without an id this repository never had anything sealed.
pub fn scan(scan: &Scan<'_>, facts: &mut Facts) -> Result<()> {
    if !fs::exists(&scan.repo.state_dir().join("id"))? {
        return Ok(());
    }
    let root = scan.repo.sealed_root()?;
    let known: BTreeSet<String> = facts.runs.iter().map(|run| run.run.id.to_string()).collect();
    for dir in directories(&root)? {
        if let Ok(run) = RunId::parse(&name_of(&dir.path))
            && !known.contains(run.as_str())
        {
            let found = run_of(scan, &run, dir, &mut facts.unreadable)?;
            facts.unrecorded_runs.push(found);
        }
    }
    let records: BTreeSet<String> = scan.records.iter().map(|record| record.name.path_part()).collect();
    for dir in directories(&root.join("named"))? {
        let part = name_of(&dir.path);
        if let (false, Some(name)) = (records.contains(&part), from_path_part(&part))
            && fs::exists(&dir.path.join(COMMON))?
        {
            let paths = named_sealed(scan.repo, &scan.policy.template, &name)?;
            let found = look(scan, BoxOwner::Workspace(name), paths, &dir.path, &mut facts.unreadable);
            facts.unrecorded.extend(found);
        }
    }
    Ok(())
}

fn run_of(scan: &Scan<'_>, run: &RunId, dir: DirFact, unreadable: &mut Vec<Kept>) -> Result<UnrecordedRun> {
    let at_work = is_at_work(&scan.repo.run_lock(run))?;
    let mut found = UnrecordedRun { dir, boxes: Vec::new(), kept_by: None, at_work };
    for part in children(&found.dir.path)?.into_iter().filter(|part| !is_of_the_run_alone(&name_of(part))) {
        let (name, boxed) = (name_of(&part), fs::exists(&part.join(COMMON))?);
        match TaskId::parse(&name) {
            Ok(task) if boxed => {
                let paths = SealedPaths::of_task(scan.repo, &scan.policy.template, run, &task)?;
                let owner = BoxOwner::Task(run.clone(), task);
                match look(scan, owner, paths, &found.dir.path, unreadable) {
                    Some(one) => found.boxes.push(one),
                    None => found.kept_by = Some(format!("a part of it cannot be looked at: {name}")),
                }
            }
            _ => found.kept_by = Some(format!("it holds what is no task's: {name}")),
        }
    }
    Ok(found)
}

/// A box, or `None` and why it stays where it cannot be looked at.
fn look(
    scan: &Scan<'_>,
    owner: BoxOwner,
    paths: SealedPaths,
    lender: &Path,
    unreadable: &mut Vec<Kept>,
) -> Option<UnrecordedBox> {
    let item = owner.to_string();
    match box_of(scan, owner, paths, lender) {
        Ok(found) => Some(found),
        Err(error) => {
            let reason = format!("nothing is recorded of it, and it cannot be looked at: {}", chain(&error));
            unreadable.push(Kept { kind: Kind::Workspace, item, reason });
            None
        }
    }
}

fn box_of(scan: &Scan<'_>, owner: BoxOwner, paths: SealedPaths, lender: &Path) -> Result<UnrecordedBox> {
    let link = fs::read_beneath(&paths.git_dir, Path::new("worktrees/wt/gitdir"), PATH_MAX)?.unwrap_or_default();
    let named = bytes_path(link.trim_ascii_end()).parent().map(Path::to_owned).filter(|tree| *tree != paths.tree);
    let elsewhere = match named {
        Some(tree) if fs::exists(&tree)? || !disk_there(scan.repo, &tree) => Some(tree),
        _ => None,
    };
    let branch = match &owner {
        BoxOwner::Task(run, task) => Repository::task_branch(run, task)?.full_ref(),
        BoxOwner::Workspace(name) => format!("refs/heads/{name}"),
    };
    Ok(UnrecordedBox {
        enclosure: dir_id(&paths.enclosure)?,
        private: dir_id(&paths.private)?,
        mounted: scan.around.mounts.below(&paths.enclosure),
        processes: scan.around.processes.inside(&paths.enclosure),
        disk_there: disk_there(scan.repo, &paths.tree),
        changed_at: changed_at(&paths)?,
        base: base(scan.repo, lender)?,
        lender: lender.to_owned(),
        owner,
        branch,
        elsewhere,
        paths,
    })
}

/// What was brought in for it to start from: where that is several commits, what all of them have.
fn base(repo: &Repository, lender: &Path) -> Result<Option<CommitId>> {
    let (reader, mut known) = (repo.reader(), Vec::new());
    for commit in brought_in(lender)? {
        if reader.has_commit(&commit)? {
            known.push(commit);
        }
    }
    let mut known = known.into_iter();
    let Some(mut base) = known.next() else { return Ok(None) };
    for other in known {
        match reader.merge_base(&base, &other)? {
            Some(shared) => base = shared,
            None => return Ok(None),
        }
    }
    Ok(Some(base))
}

/// When something last changed in it, as far as a look at its directories tells.
fn changed_at(paths: &SealedPaths) -> Result<Timestamp> {
    let admin = [paths.admin.join("index"), paths.admin.join("HEAD"), paths.admin.clone()];
    let around = [&paths.private, &paths.git_dir, &paths.enclosure, &paths.tree, &paths.home, &paths.tmp];
    let mut newest = Timestamp::default();
    for place in admin.iter().chain(around) {
        if fs::exists(place)? {
            newest = newest.max(trash::changed_at(place)?);
        }
    }
    Ok(newest)
}

/// True while somebody holds the lock of a run.
fn is_at_work(lock: &Path) -> Result<bool> {
    Ok(fs::exists(lock)? && FileLock::try_acquire(lock, "treehand clean").is_err())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
