//! Where a repository is, against where it was used last: so that one which was moved, or copied, is told.
//!
//! One small file in treehand's own state, written once; what follows from a difference is `moved`'s business.

use std::ffi::OsStr;
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

fn copied(common_dir: &Path) -> PathBuf {
    common_dir.join("treehand/copied")
}

/// Notes that this is a copy that gets an id of its own: from then on the ids do not tell, until it is settled.
pub fn part_from(common_dir: &Path, original: &Path) -> Result<()> {
    Ok(fs::write_atomic(&copied(common_dir), original.as_os_str().as_bytes())?)
}

/// True when that was noted, and whoever did so did not live to finish.
pub fn is_parting(common_dir: &Path) -> Result<bool> {
    Ok(fs::exists(&copied(common_dir))?)
}

/// Compares; a repository that was never used has no other place.
pub fn place(common_dir: &Path) -> Result<Place> {
    let path = note(common_dir);
    if !fs::exists(&path)? {
        return Ok(Place::Same);
    }
    let bytes = std::fs::read(&path).map_err(fs::at("read", &path))?;
    let before = PathBuf::from(OsStr::from_bytes(&bytes));
    // Another way to the same directory (a mount) is no other place.
    if before == common_dir || fs::is_same(&before, common_dir)? {
        return Ok(Place::Same);
    }
    if std::fs::read(copied(common_dir)).is_ok_and(|original| original == bytes) {
        return Ok(Place::CopyOf(before));
    }
    let twin = fs::exists(&before.join("treehand"))? && id(&before) == id(common_dir);
    Ok(if twin { Place::CopyOf(before) } else { Place::MovedFrom(before) })
}

/// The id of a repository, as it is on disk.
pub(super) fn id(common_dir: &Path) -> Option<Vec<u8>> {
    std::fs::read(common_dir.join("treehand/id")).ok()
}

/// True for a repository that was never used.
pub fn is_new(common_dir: &Path) -> Result<bool> {
    Ok(!fs::exists(&note(common_dir))?)
}

/// Writes down where the repository is now.
pub fn settle(common_dir: &Path) -> Result<()> {
    fs::write_atomic(&note(common_dir), common_dir.as_os_str().as_bytes())?;
    Ok(fs::remove_file(&copied(common_dir))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn another_way_to_the_repository_is_neither_a_move_nor_a_copy() {
        let fixture = Fixture::new();
        let (common, way) = (&fixture.repo.common_dir, fixture.dir.path().join("way"));
        fixture.repo.id().expect("an id");
        std::os::unix::fs::symlink(common, &way).expect("a link");
        std::fs::write(note(common), way.as_os_str().as_bytes()).expect("written");
        assert_eq!(place(common).expect("compared"), Place::Same);
    }

    #[test]
    fn a_copy_that_died_while_it_got_an_id_of_its_own_was_taken_for_the_original_moved() {
        let fixture = Fixture::new();
        let (common, copy) = (&fixture.repo.common_dir, fixture.dir.path().join("copy"));
        settle(common).expect("settled");
        fixture.repo.id().expect("an id");
        std::fs::create_dir_all(copy.join("treehand")).expect("made");
        for name in ["place", "id"] {
            std::fs::copy(common.join("treehand").join(name), copy.join("treehand").join(name)).expect("copied");
        }
        let is_copy = || assert_eq!(place(&copy).expect("compared"), Place::CopyOf(common.clone()));
        is_copy();
        part_from(&copy, common).expect("noted");
        std::fs::remove_file(copy.join("treehand/id")).expect("removed");
        is_copy();
        std::fs::write(copy.join("treehand/id"), "abc").expect("written");
        is_copy();
        assert!(is_parting(&copy).expect("looked"));
        settle(&copy).expect("settled");
        assert_eq!(place(&copy).expect("compared"), Place::Same);
        assert!(!is_parting(&copy).expect("looked"));
    }
}
