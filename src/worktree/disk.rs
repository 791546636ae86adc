//! Scan: the disk that a workspace is on, so that one that is not mounted is told from a directory that is gone.
//!
//! A place on another device than the repository's is remembered by where that device is mounted and by the inode of its root; the
//! number of a device may be another one after each boot. A bind mount of the same device is not told apart.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::Result;
use super::repository::Repository;
use crate::model::record::OtherDisk;
use crate::sys::fs;

/// The disk of a place that may not be there yet; `None` for the repository's own.
pub fn other_disk(repo: &Repository, place: &Path) -> Result<Option<OtherDisk>> {
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).map_err(fs::at("look at", path));
    let own = device(&repo.common_dir)?;
    let mut there = place.ancestors().filter(|place| place.is_dir());
    let Some(mut root) = there.next() else { return Ok(None) };
    let other = device(root)?;
    if other == own {
        return Ok(None);
    }
    for above in there {
        if device(above)? != other {
            break;
        }
        root = above;
    }
    let inode = std::fs::metadata(root).map_err(fs::at("look at", root))?.ino();
    Ok(Some(OtherDisk { path: root.to_owned(), inode }))
}

/// True where that disk is mounted as it was.
pub fn is_mounted(repo: &Repository, disk: &OtherDisk) -> bool {
    let look = |path: &Path| std::fs::metadata(path).ok();
    match (look(&disk.path), look(&repo.common_dir)) {
        (Some(root), Some(own)) => root.ino() == disk.inode && root.dev() != own.dev(),
        _ => false,
    }
}
