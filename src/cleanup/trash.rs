//! Apply: where removed directories go, and how old and how big what lies there is.
//!
//! The trash is on the file system of what it takes, so that a removal is a rename: in treehand's state directory, or
//! beside the workspace where that lies on another file system. A name in it begins with the moment of the removal.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Result;
use crate::model::Timestamp;
use crate::sys::fs;
use crate::worktree::Repository;

/// The trash beside workspaces on another file system.
pub const BESIDE: &str = ".treehand-trash";

pub use crate::worktree::stamp::stamp;

/// The moment in a name made by [`stamp`].
pub fn stamped_at(name: &str) -> Option<Timestamp> {
    let (millis, token) = name.split_once('-')?;
    let well_formed = token.len() == 8 && token.bytes().all(|b| b.is_ascii_hexdigit());
    millis.parse().ok().filter(|_| well_formed).map(Timestamp)
}

/// The trash in the state directory.
pub fn root(repo: &Repository) -> PathBuf {
    repo.state_dir().join("trash")
}

/// Where a directory goes that is removed under this stamp.
pub fn place(repo: &Repository, directory: &Path, stamp: &str) -> Result<PathBuf> {
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).map_err(fs::at("look at", path));
    let parent = directory.parent().unwrap_or(directory);
    let same = device(parent)? == device(&repo.state_dir())?;
    Ok(if same { root(repo).join(stamp) } else { parent.join(BESIDE).join(stamp) })
}

/// When a directory last changed; for one in the trash without a stamp, when it came there.
pub fn changed_at(path: &Path) -> Result<Timestamp> {
    let meta = std::fs::symlink_metadata(path).map_err(fs::at("look at", path))?;
    Ok(Timestamp(meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_stamp_tells_its_moment_and_nothing_else_is_one() {
        let now = clock::now();
        let at = stamped_at(&stamp().expect("a stamp")).expect("it reads back");
        assert!(at.since(now).as_secs() < 60, "{at}");
        for other in ["", "x", "12", "12-xyz", "12-0123456", "abc.task.1", "1-zzzzzzzz"] {
            assert_eq!(stamped_at(other), None, "{other}");
        }
    }
}
