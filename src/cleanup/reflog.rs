//! The reflog of a branch that goes: kept in the trash, and there again when the branch comes back.
//!
//! git deletes a reflog with its ref. What is kept is the file; where refs are in tables there is none, and the branch comes
//! back with a new one. A reflog that cannot be kept or put back keeps no branch from going or coming.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::trash;
use crate::sys::fs;
use crate::worktree::Repository;

/// Copies the reflog of a ref to the trash of an operation; `None` when it has none in a file.
pub fn keep(repo: &Repository, name: &str, stamp: &str) -> Result<Option<PathBuf>> {
    let log = log_of(repo, name);
    let content = match std::fs::read(&log) {
        Ok(content) if !content.is_empty() => content,
        Ok(_) => return Ok(None),
        Err(error) => {
            tracing::trace!(%error, name, "there is no reflog to keep");
            return Ok(None);
        }
    };
    let place = trash::root(repo).join(stamp).join("reflogs").join(name);
    if let Some(parent) = place.parent() {
        fs::create_private_dir_all(parent)?;
    }
    fs::write_atomic(&place, &content)?;
    Ok(Some(place))
}

/// Puts a kept reflog where git will go on with it, before the ref is made again. One that is there stays.
pub fn put_back(repo: &Repository, name: &str, kept: Option<&Path>) {
    let log = log_of(repo, name);
    let put = |kept: &Path| -> std::io::Result<()> {
        let content = std::fs::read(kept)?;
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent)?;
        }
        fs::write_new(&log, &content).map_err(|error| error.source)
    };
    if let Some(Err(error)) = kept.map(put) {
        tracing::debug!(%error, name, "it comes back without its reflog");
    }
}

fn log_of(repo: &Repository, name: &str) -> PathBuf {
    repo.common_dir.join("logs").join(name)
}
