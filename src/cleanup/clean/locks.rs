//! Scan and apply: locks that a git left behind when it died: files called `*.lock` where git makes them.
//!
//! Looks for them where git puts locks, and nowhere else; treehand's own are released by the kernel. One that goes is renamed into
//! the trash, after a last look at it and at who lives; `undo` does not put a dead lock back.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::facts::LockFact;
use crate::cleanup::done::Done;
use crate::cleanup::error::Result;
use crate::cleanup::places::children;
use crate::cleanup::remove::decide::DirId;
use crate::cleanup::trash;
use crate::sys::lock_holders::{Holder, LockHolders};
use crate::sys::{clock, fs};
use crate::worktree::Repository;

/// Where git makes locks below its common directory, besides that itself and the directory of each worktree.
const PLACES: [&str; 5] = ["objects", "objects/info", "objects/info/commit-graphs", "objects/pack", "reftable"];

/// Every lock, with who may hold it.
pub fn scan(repo: &Repository) -> Result<Vec<LockFact>> {
    let mut places = vec![repo.common_dir.clone()];
    places.extend(PLACES.iter().map(|place| repo.common_dir.join(place)));
    for worktree in children(&repo.common_dir.join("worktrees"))? {
        places.extend([worktree.join("reftable"), worktree.join("refs"), worktree]);
    }
    let mut locks = Vec::new();
    for place in places {
        locks.extend(locks_in(&place)?);
    }
    for entry in walkdir::WalkDir::new(repo.common_dir.join("refs")).follow_links(false).into_iter().flatten() {
        locks.extend((entry.file_type().is_file() && is_lock(entry.path())).then(|| entry.into_path()));
    }
    if locks.is_empty() {
        return Ok(Vec::new());
    }
    let holders = LockHolders::scan().map_err(fs::at("read", "/proc".as_ref()))?;
    let mut found = Vec::new();
    for path in locks {
        found.extend(look(&holders, &path)?);
    }
    Ok(found)
}

fn locks_in(place: &Path) -> Result<Vec<PathBuf>> {
    if !place.is_dir() {
        return Ok(Vec::new());
    }
    let is_file = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    Ok(children(place)?.into_iter().filter(|path| is_lock(path) && is_file(path)).collect())
}

fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lock")
}

/// What is known of a lock; nothing when it has gone.
fn look(holders: &LockHolders, path: &Path) -> Result<Option<LockFact>> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(None) };
    let (id, at) = (DirId { dev: meta.dev(), ino: meta.ino() }, trash::changed_at(path)?);
    let holder = holders.of(path, at, clock::now()).map_err(fs::at("look at", path))?;
    let held_by = match holder {
        Holder::Nobody => None,
        Holder::Process(process) => Some(format!("{} (pid {}) may hold it", process.name, process.pid)),
        Holder::Unseen(why) => Some(why.to_owned()),
    };
    Ok(Some(LockFact { path: path.to_owned(), id, at, held_by }))
}

/// Takes one away, if it is still that one and nobody holds it.
pub(super) fn take(repo: &Repository, stamp: &str, lock: &LockFact) -> Result<Done> {
    let holders = LockHolders::scan().map_err(fs::at("read", "/proc".as_ref()))?;
    match look(&holders, &lock.path)? {
        None => return Ok(Done::Skipped("it has gone by itself".into())),
        Some(LockFact { held_by: Some(why), .. }) => return Ok(Done::Skipped(why)),
        Some(now) if (now.id, now.at) != (lock.id, lock.at) => {
            return Ok(Done::Skipped("it is another one now".into()));
        }
        Some(_) => {}
    }
    let name = lock.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = trash::place(repo, &lock.path, stamp)?.join(format!("lock-{}-{name}", lock.id.ino));
    fs::while_emptied(|| {
        to.parent().map_or(Ok(()), fs::create_private_dir_all)?;
        fs::move_path(&lock.path, &to)
    })?;
    Ok(Done::Yes { salvage: Vec::new(), note: Some(format!("it is in the trash: {}", to.display())) })
}
