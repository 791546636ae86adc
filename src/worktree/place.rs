//! Where a repository is, against where it was used last: so that one which was moved, or copied, is told.
//!
//! One small file in treehand's own state, written once; what follows from a difference is `moved`'s business.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::Result;
use crate::sys::fs;

/// Where a repository is, against where it was used last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The same.
    Same,
    /// It was there, and nothing of it is there any more.
    MovedFrom(PathBuf),
    /// The original is still there.
    CopyOf(PathBuf),
}

fn note(common_dir: &Path) -> PathBuf {
    common_dir.join("treehand/place")
}

/// Compares; a repository that was never used has no other place.
pub fn place(common_dir: &Path) -> Result<Place> {
    let path = note(common_dir);
    if !fs::exists(&path)? {
        return Ok(Place::Same);
    }
    let bytes = std::fs::read(&path).map_err(fs::at("read", &path))?;
    let before = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
    if before == common_dir {
        return Ok(Place::Same);
    }
    let id = |common_dir: &Path| std::fs::read(common_dir.join("treehand/id")).ok();
    let twin = fs::exists(&before.join("treehand"))? && id(&before) == id(common_dir);
    Ok(if twin { Place::CopyOf(before) } else { Place::MovedFrom(before) })
}

/// True for a repository that was never used.
pub fn is_new(common_dir: &Path) -> Result<bool> {
    Ok(!fs::exists(&note(common_dir))?)
}

/// Writes down where the repository is now.
pub fn settle(common_dir: &Path) -> Result<()> {
    Ok(fs::write_atomic(&note(common_dir), common_dir.as_os_str().as_bytes())?)
}
