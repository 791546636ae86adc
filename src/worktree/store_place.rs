//! Where the store of a repository is: in treehand's state inside the repository, or, where SQLite cannot work there, in the
//! user's own state, with a file in the repository that says so.
//!
//! SQLite needs locks and shared memory that network and shared file systems do not give reliably, and short paths.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::departed;
use super::error::{Result, WorktreeError};
use super::place::{self, Place};
use super::registry;
use super::repository::{Repository, bytes_path};
use crate::model::cause::chain;
use crate::store::Store;
use crate::sys::{env, fs};

/// The file that names another place.
const POINTER: &str = "store";

/// The file that says that an uninstall has begun, and what was saved before it.
pub const UNINSTALLING: &str = "uninstalling";

impl Repository {
    /// Opens the store.
    pub fn store(&self) -> Result<Store> {
        come_back(self);
        let store = open(self)?;
        // Who uses it again has done with an uninstall that died: what is saved from now on is a person's.
        fs::remove_file(&self.state_dir().join(UNINSTALLING))?;
        if place::is_new(&self.common_dir)? {
            // Two repositories are told apart by their ids, so that one is there from the first use.
            self.id()?;
            place::settle(&self.common_dir)?;
        }
        self.remember_tree()?;
        if let Err(error) = registry::enrol(self) {
            // What is done here does not need it.
            tracing::debug!("`--all-repos` does not know this repository: {}", chain(&error));
        }
        Ok(store)
    }

    /// The store for who only looks: nothing is made, and what cannot be written can be read. What was put away while the
    /// repository was not to be found comes back even so.
    pub fn look(&self) -> Result<Store> {
        come_back(self);
        look(self)
    }
}

/// What does not come back is told by `clean --all-repos` and `doctor`, too, and keeps nobody from working.
fn come_back(repo: &Repository) {
    if let Err(error) = departed::come_back(repo) {
        tracing::warn!("what this repository left at its former place may still be put away: {}", chain(&error));
    }
}

/// The directory that the store is in, or will be.
pub fn store_dir(repo: &Repository) -> Result<PathBuf> {
    let state = repo.state_dir();
    if let Some(elsewhere) = pointer(repo)? {
        return Ok(elsewhere);
    }
    let here = fs::exists(&Store::file_in(&state))?;
    let unfit = || Ok::<_, WorktreeError>(!Store::fits(&state) || fs::is_shared(&repo.common_dir)?);
    if here || !unfit()? {
        return Ok(state);
    }
    let home = repo.state_home.as_ref().ok_or_else(WorktreeError::no_home)?;
    Ok(home.join("treehand/repos").join(repo.id()?))
}

/// Opens the store, made where it belongs when it is new.
fn open(repo: &Repository) -> Result<Store> {
    refuse_in_copy(repo)?;
    let dir = store_dir(repo)?;
    if !fs::exists(&Store::file_in(&dir))? {
        refuse_by_sudo(repo)?;
    }
    if dir != repo.state_dir() {
        departed::require_back(repo, &dir)?;
        fs::create_private_dir_all(&dir)?;
        fs::write_atomic(&repo.state_dir().join(POINTER), dir.as_os_str().as_bytes())?;
    }
    Ok(Store::open(&dir)?)
}

/// The store for who only looks; an empty one where there is none.
fn look(repo: &Repository) -> Result<Store> {
    let Some(elsewhere) = pointer(repo)? else { return Ok(Store::look(&repo.state_dir())?) };
    refuse_in_copy(repo)?;
    departed::require_back(repo, &elsewhere)?;
    Ok(Store::look(&elsewhere)?)
}

/// What a copy has on record is the original's, and by its id it would put its own private git dirs among the original's.
fn refuse_in_copy(repo: &Repository) -> Result<()> {
    let Place::CopyOf(original) = place::place(&repo.common_dir)? else { return Ok(()) };
    let message =
        format!("this is a copy of {}, and what it has on record is still the original's", original.display());
    Err(WorktreeError::refused(message, "make it a repository of its own: treehand doctor --repair"))
}

/// Opens the store; `None` when there is none yet.
pub fn open_existing(repo: &Repository) -> Result<Option<Store>> {
    let dir = pointer(repo)?.unwrap_or_else(|| repo.state_dir());
    Ok(Store::open_existing(&dir)?)
}

/// What root makes in somebody's repository only root can change: it is not begun by an accidental `sudo`.
fn refuse_by_sudo(repo: &Repository) -> Result<()> {
    let Some(user) = env::user_of_sudo() else { return Ok(()) };
    if fs::owner(&repo.common_dir)? != user {
        return Ok(());
    }
    let message = format!("the repository is yours (user {user}), and what sudo makes in it would be root's");
    Err(WorktreeError::refused(message, "run treehand without sudo"))
}

/// True when the store is not in the repository.
pub fn is_elsewhere(repo: &Repository) -> Result<bool> {
    Ok(pointer(repo)?.is_some())
}

/// Lets a copied repository go its own way: what it says of the original's store is forgotten.
pub fn disown(repo: &Repository) -> Result<()> {
    Ok(fs::remove_file(&repo.state_dir().join(POINTER))?)
}

fn pointer(repo: &Repository) -> Result<Option<PathBuf>> {
    let path = repo.state_dir().join(POINTER);
    if !fs::exists(&path)? {
        return Ok(None);
    }
    Ok(Some(bytes_path(&std::fs::read(&path).map_err(fs::at("read", &path))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn a_store_stays_where_it_is_and_one_elsewhere_is_found_by_its_pointer() {
        let fixture = Fixture::new();
        let repo = &fixture.repo;
        assert_eq!(store_dir(repo).expect("a place"), repo.state_dir());
        let elsewhere = fixture.dir.path().join("elsewhere");
        std::fs::write(repo.state_dir().join(POINTER), elsewhere.as_os_str().as_bytes()).expect("written");
        assert!(open_existing(repo).expect("looked").is_none());
        open(repo).expect("made there");
        assert!(Store::file_in(&elsewhere).exists() && open_existing(repo).expect("looked").is_some());
        assert!(is_elsewhere(repo).expect("looked"));
        disown(repo).expect("forgotten");
        assert!(!is_elsewhere(repo).expect("looked"));
        assert_eq!(store_dir(repo).expect("a place"), repo.state_dir());
    }
}
