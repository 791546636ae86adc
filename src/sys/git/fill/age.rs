//! Apply: how old the files of a worktree are, and files that get older together with their index.
//!
//! Builds go by times: what is made of a file has to be newer than that where it was made of just this content, and older where it was
//! not. Promises: a file that is not as its index says keeps its time, content is neither read nor written, and files that had different
//! seconds have different ones afterwards. Only for a tree in which nothing runs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, statat, utimensat};
use rustix::io::Errno;

use super::files::stat;
use super::index::{self, Entry, Index};
use super::outcome::FillError;
use crate::sys::git::tree::{EXECUTABLE, FILE, number};
use crate::sys::{crew, fs};

/// The seconds in which the oldest and the newest file of an index were written; `None` where there are none, or it is another kind of index.
pub fn ages(index: &[u8]) -> Option<(u32, u32)> {
    let entries = index::entries(index)?;
    let written = || entries.iter().filter(|entry| is_file(entry)).map(|entry| entry.stat.modified.0);
    Some((written().min()?, written().max()?))
}

/// Makes files older, so that the newest of them is of an earlier second than `before`, all by as much; those of the paths in `changed`
/// keep their times, and get this moment's where that is earlier, too. False where the index is of a kind that is git's.
pub fn age(tree: &Path, admin: &Path, changed: &BTreeSet<Vec<u8>>, before: u32) -> Result<bool, FillError> {
    let file = admin.join("index");
    let read = index::read(&std::fs::read(&file).map_err(fs::at("read", &file))?);
    let Some(mut index) = read.filter(|index| !index.more) else { return Ok(false) };
    let is_old = |entry: &&Entry| is_file(entry) && !changed.contains(&entry.path);
    let Some(newest) = index.entries.iter().filter(is_old).map(|entry| entry.stat.modified.0).max() else {
        return Ok(true);
    };
    let by = newest.saturating_sub(before.saturating_sub(1));
    let set = |entry: &mut Entry| match changed.contains(&entry.path) {
        _ if !is_file(entry) => Ok(()),
        false if by > 0 => put(tree, entry, Some(entry.stat.modified.0.saturating_sub(by))),
        true if entry.stat.modified.0 < before => put(tree, entry, None),
        _ => Ok(()),
    };
    let size = crew::part_of(index.entries.len());
    let worked = crew::each(index.entries.chunks_mut(size), |part| part.iter_mut().try_for_each(set));
    worked.into_iter().try_for_each(|part| part.map_err(|errno| fs::at("set times in", tree)(errno.into())))?;
    let Index { entries, directories, more } = index;
    let Some(bytes) = index::bytes(Index { entries, directories, more }) else { return Ok(false) };
    // As git itself does it, so that it meets nobody's.
    let lock = admin.join("index.lock");
    fs::write_new(&lock, &bytes)?;
    std::fs::rename(&lock, &file).map_err(fs::at("replace", &file))?;
    Ok(true)
}

fn is_file(entry: &Entry) -> bool {
    entry.mode == number(FILE) || entry.mode == number(EXECUTABLE)
}

/// Gives a file this time, or that of the moment, where it is what its entry says; the entry says so then.
fn put(tree: &Path, entry: &mut Entry, seconds: Option<u32>) -> rustix::io::Result<()> {
    let path = tree.join(OsStr::from_bytes(&entry.path));
    let look = || statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map(|found| stat(&found));
    match look() {
        Ok(found) if found.is_same(&entry.stat) => {}
        // It is not what it was, or not there any more.
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let modified = match seconds {
        Some(seconds) => Timespec { tv_sec: i64::from(seconds), tv_nsec: i64::from(entry.stat.modified.1) },
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
    };
    let access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: access, last_modification: modified };
    utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    entry.stat = look()?;
    Ok(())
}
