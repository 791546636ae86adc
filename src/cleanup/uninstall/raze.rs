//! Apply: takes what is left of treehand in a repository for good, in an order that a second call can finish.
//!
//! Refs first, then what is in treehand's own directory, private directories, the store, the id, and the entry in the user's
//! registry when all of that is gone. Nothing that git needs is touched; names come from fixed places and the id.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::scan;
use super::types::UninstallPlan;
use crate::cleanup::error::Result;
use crate::cleanup::places::children;
use crate::cleanup::remove::scan::dir_id;
use crate::cleanup::{held, salvage};
use crate::model::CommitId;
use crate::store::Store;
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::pool::filler;
use crate::worktree::sealed::remove_if_empty;
use crate::worktree::store_place::UNINSTALLING;
use crate::worktree::{Repository, abandoned, plain, ports};

/// What goes last of treehand's own directory, in this order: without the id nothing outside the repository is found again.
const LAST: [&str; 9] =
    ["state.db", "state.db-wal", "state.db-shm", "main-tree", "store", "copied", "place", "id", UNINSTALLING];

/// Takes everything.
pub fn raze(repo: &Repository, store: Store, plan: &UninstallPlan, sockets: &[PathBuf]) -> Result<()> {
    let _one_at_a_time =
        FileLock::acquire(&repo.lock("clean"), &format!("treehand uninstall, pid {}", std::process::id()))?;
    let known = scan::known(repo)?;
    refs(repo, &store)?;
    let trees: Vec<PathBuf> = store.workspaces()?.into_iter().map(|record| record.path).collect();
    drop(store);
    ports::release_all(repo, &trees);
    for path in &plan.keeps {
        if std::fs::read(path)
            .is_ok_and(|text| text.starts_with(abandoned::KEEP.as_bytes()) && !abandoned::is_held(&text))
        {
            fs::remove_file(path)?;
        }
    }
    for dir in plan.beside.iter().filter(|dir| dir_id(&dir.path).is_ok_and(|id| id == Some(dir.id))) {
        fs::remove_tree(&dir.path)?;
        remove_if_empty(dir.path.parent());
        remove_if_empty(dir.path.parent().and_then(Path::parent));
    }
    for socket in sockets {
        fs::remove_file(socket)?;
    }
    plain::remove_entries_dir_if_empty(repo);
    own_directory(repo)?;
    known.iter().try_for_each(|known| known.forget())?;
    remove_if_empty(repo.state_home.as_ref().map(|home| home.join("treehand/known")).as_deref());
    Ok(())
}

/// Every ref of ours, and the empty directories that git leaves where refs were.
fn refs(repo: &Repository, store: &Store) -> Result<()> {
    let saved = salvage::listed::names(repo)?;
    if !saved.is_empty() {
        salvage::listed::discard(repo, store, &saved.iter().collect::<Vec<_>>())?;
    }
    let change = |(reference, commit): (String, CommitId)| RefChange { reference, new: None, expected: Some(commit) };
    let changes: Vec<RefChange> = held::refs_at(repo, scan::OURS)?.into_iter().map(change).collect();
    update_refs(repo, &changes, "treehand: uninstalled")?;
    for place in ["refs/treehand", "refs/heads/treehand"] {
        for root in [repo.common_dir.clone(), repo.common_dir.join("logs")] {
            without_empty(&root.join(place))?;
        }
    }
    Ok(())
}

/// Removes directories in which nothing is but such; files stay, with what holds them.
fn without_empty(dir: &Path) -> Result<()> {
    match dir.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {}
        _ => return Ok(()),
    }
    for child in children(dir)? {
        without_empty(&child)?;
    }
    match std::fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
            Err(fs::at("remove", dir)(error).into())
        }
        _ => Ok(()),
    }
}

fn own_directory(repo: &Repository) -> Result<()> {
    let own = repo.state_dir();
    // Who makes slots would make their directory, too.
    let _nobody_makes_slots = filler::stop(repo)?;
    let is_last = |path: &Path| LAST.iter().any(|last| path.file_name().is_some_and(|name| name == *last));
    for path in children(&own)?.into_iter().filter(|path| !is_last(path)) {
        take(&path)?;
    }
    // Private git dirs, and then the store where it is not in here.
    for place in scan::private(repo)? {
        fs::remove_tree(&place)?;
        remove_if_empty(place.parent());
    }
    if let Some(file) = scan::store_elsewhere(repo)? {
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(&file.with_file_name(format!("state.db{suffix}")))?;
        }
        remove_if_empty(file.parent());
    }
    LAST.iter().try_for_each(|name| fs::remove_file(&own.join(name)))?;
    Ok(fs::remove_tree(&own)?)
}

fn take(path: &Path) -> Result<()> {
    let meta = path.symlink_metadata().map_err(fs::at("look at", path))?;
    if meta.is_dir() {
        fs::remove_tree(path)?
    } else {
        fs::remove_file(path)?
    }
    Ok(())
}
