//! Apply: the leases of a user's workspaces, of all repositories in one file, changed by one process at a time.
//!
//! A lease lives as long as its tree is there, so that whoever leases finds what is gone; who removes a tree need not say so, and does.
//! Nothing here keeps a workspace from being made or removed: what goes wrong is a warning, and there are no ports. A file that is
//! not understood is named and left as it is. The file, and its lock, go with the last lease.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decide::{self, FIRST, LAST, Lease};
use super::probe;
use crate::model::cause::chain;
use crate::sys::fs::{self, FsError};
use crate::sys::lock::{FileLock, LockError};
use crate::worktree::Repository;

/// What there is of leases in the directory of the user's own state: the file and its lock.
pub const FILES: [&str; 2] = ["ports.json", "ports.lock"];
/// What the file is written in.
const VERSION: u32 = 1;
/// Larger than the leases of all ports.
const LARGEST: u64 = 64 << 20;
/// So long others are waited for, each of whom needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortsError {
    /// A file of a time to come.
    #[error("a newer treehand wrote {}", .0.display())]
    Newer(PathBuf),
    /// A file that is none of ours.
    #[error("{} is damaged ({why}); without it ports are leased anew", .file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There are none.
    #[error("{wanted} in a row are not free between {FIRST} and {LAST}")]
    Exhausted {
        /// How many were wanted.
        wanted: u16,
    },
    /// The lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FsError),
}

type Result<T> = std::result::Result<T, PortsError>;

/// The ports of a tree that is there, so many: those that it has, else new ones.
pub fn lease(repo: &Repository, tree: &Path, wanted: u16) -> Vec<u16> {
    let Some(place) = Place::of(repo).filter(|_| wanted > 0) else { return Vec::new() };
    warned(tree, place.lease(tree, wanted, probe::is_free)).map(|lease| lease.told(wanted)).unwrap_or_default()
}

/// The same for who only looks ahead: a port that is still to be leased is 0.
pub fn foreseen(repo: &Repository, tree: &Path, wanted: u16) -> Vec<u16> {
    let Some(place) = Place::of(repo).filter(|_| wanted > 0) else { return Vec::new() };
    let held = warned(tree, place.held(tree));
    held.map(|held| enough(held, wanted).map_or(vec![0; wanted.into()], |lease| lease.told(wanted))).unwrap_or_default()
}

/// Every lease of the user's, whatever repository its tree is of.
pub fn all(repo: &Repository) -> Vec<Lease> {
    let Some(place) = Place::of(repo) else { return Vec::new() };
    place.read().unwrap_or_else(|error| {
        tracing::warn!("nobody knows which ports are leased: {}", chain(&error));
        Vec::new()
    })
}

/// Gives back what was leased for a tree that is gone.
pub fn release(repo: &Repository, tree: &Path) {
    give_back(repo, |lease| lease.tree == tree && is_gone(tree));
}

/// The same for every tree that is gone.
pub fn release_gone(repo: &Repository) {
    give_back(repo, |lease| is_gone(&lease.tree));
}

/// The same for trees that nobody will ask ports for any more, although they are there.
pub fn release_all(repo: &Repository, trees: &[PathBuf]) {
    give_back(repo, |lease| trees.contains(&lease.tree));
}

fn give_back(repo: &Repository, is_over: impl Fn(&Lease) -> bool) {
    let Some(place) = Place::of(repo) else { return };
    // Whoever leases next finds what is gone all the same.
    if let Err(error) = place.give_back(is_over) {
        tracing::debug!("ports stay leased: {}", chain(&error));
    }
}

fn warned<T>(tree: &Path, found: Result<T>) -> Option<T> {
    found.map_err(|error| tracing::warn!("no ports for {}: {}", tree.display(), chain(&error))).ok()
}

fn enough(held: Option<Lease>, wanted: u16) -> Option<Lease> {
    held.filter(|lease| lease.count >= wanted)
}

/// What cannot be looked at may be there.
fn is_gone(tree: &Path) -> bool {
    matches!(fs::exists(tree), Ok(false))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    leases: Vec<Lease>,
}

/// Where the leases of a user are kept.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: PathBuf,
    lock: PathBuf,
}

impl Place {
    /// Nowhere for a user without a home.
    pub fn of(repo: &Repository) -> Option<Place> {
        repo.state_home.as_deref().map(Place::at)
    }

    /// Below the directory of the user's own state.
    pub fn at(state_home: &Path) -> Place {
        let [file, lock] = FILES.map(|name| state_home.join("treehand").join(name));
        Place { file, lock }
    }

    /// What a tree has.
    pub fn held(&self, tree: &Path) -> Result<Option<Lease>> {
        Ok(self.read()?.into_iter().find(|lease| lease.tree == tree))
    }

    /// What a tree has, at least so many, or what it gets in the place of that.
    pub fn lease(&self, tree: &Path, wanted: u16, is_free: impl FnMut(u16) -> bool) -> Result<Lease> {
        // What is there is whole at any moment, and only the tree's own commands change what it has.
        if let Some(held) = enough(self.held(tree)?, wanted) {
            return Ok(held);
        }
        self.change(|leases| {
            let held = leases.iter().find(|lease| lease.tree == tree).cloned();
            if let Some(held) = enough(held, wanted) {
                return Ok(held);
            }
            leases.retain(|lease| !is_gone(&lease.tree));
            let others: Vec<Lease> = leases.iter().filter(|lease| lease.tree != tree).cloned().collect();
            let first = decide::next(&others, wanted, decide::start(tree), is_free);
            let first = first.ok_or(PortsError::Exhausted { wanted })?;
            let new = Lease { tree: tree.to_owned(), first, count: wanted };
            *leases = others;
            leases.push(new.clone());
            Ok(new)
        })
    }

    /// Drops leases that are over. Where there are none, nobody is waited for.
    pub fn give_back(&self, is_over: impl Fn(&Lease) -> bool) -> Result<()> {
        if !self.read()?.iter().any(&is_over) {
            return Ok(());
        }
        self.change(|leases| {
            leases.retain(|lease| !is_over(lease));
            Ok(())
        })
    }

    /// Changes the leases, alone.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Lease>) -> Result<T>) -> Result<T> {
        let _alone = self.lock()?;
        let before = self.read()?;
        let mut leases = before.clone();
        let changed = change(&mut leases);
        if leases.is_empty() {
            fs::remove_file(&self.file)?;
            // Who waits for this lock sees that it is another one from now on.
            fs::remove_file(&self.lock)?;
        } else if leases != before {
            self.write(leases)?;
        }
        changed
    }

    fn lock(&self) -> Result<FileLock> {
        let holder = format!("pid {}, leasing ports", std::process::id());
        loop {
            self.lock.parent().map_or(Ok(()), fs::create_private_dir_all)?;
            let lock = FileLock::acquire_within(&self.lock, &holder, PATIENCE)?;
            if lock.is_at(&self.lock)? {
                return Ok(lock);
            }
        }
    }

    /// All of them; none where there is no file.
    pub fn read(&self) -> Result<Vec<Lease>> {
        let (Some(directory), Some(name)) = (self.file.parent(), self.file.file_name()) else { return Ok(Vec::new()) };
        if !fs::exists(&self.file)? {
            return Ok(Vec::new());
        }
        // Whatever somebody has put there: a pipe would be waited for.
        let Some(bytes) = fs::read_beneath(directory, name.as_ref(), LARGEST)? else { return Ok(Vec::new()) };
        let damaged = |why: String| PortsError::Damaged { file: self.file.clone(), why };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if value["version"].as_u64() > Some(VERSION.into()) {
            return Err(PortsError::Newer(self.file.clone()));
        }
        let stored: Stored = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        match stored.leases.iter().find(|lease| !lease.is_sound()) {
            Some(lease) => Err(damaged(format!("{} ports from {} on are none", lease.count, lease.first))),
            None => Ok(stored.leases),
        }
    }

    fn write(&self, leases: Vec<Lease>) -> Result<()> {
        let text = serde_json::to_vec(&Stored { version: VERSION, leases });
        let text = text.map_err(|error| fs::at("write", &self.file)(error.into()))?;
        Ok(fs::write_atomic(&self.file, &text)?)
    }
}
