//! Scan: whether a tree is what its index says, file by file, and nothing else is there.
//!
//! Nothing is read but what the file system says of each file: who changes one changes that, too, short of setting the clock. As
//! many threads as there are processors look.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, openat, statat};

use super::apply::top;
use super::files::{At, DIRECTORY, stat};
use super::index::{self, Entry};
use super::outcome::{FillError, Stop};
use crate::sys::git::index::hex;
use crate::sys::{crew, fs};

/// Files of one directory and those in it: a part of the index, in its order.
struct Piece<'a> {
    within: Arc<OwnedFd>,
    /// Its name; the top is open already.
    name: Option<&'a [u8]>,
    /// How much of each path leads here.
    depth: usize,
    entries: &'a [Entry],
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the tree may be another one"]
pub enum Looked {
    /// All is as it should be.
    Whole {
        /// So many files, links and submodules.
        files: u64,
        /// All of them are this tree.
        tree: String,
    },
    /// This is not.
    Odd(String),
}

/// Looks at all of a tree.
pub fn verify(tree: &Path, index: &Path) -> Result<Looked, FillError> {
    let bytes = std::fs::read(index).map_err(fs::at("read", index))?;
    let Some(index) = index::read(&bytes) else { return Ok(Looked::Odd("the index is not as it was written".into())) };
    let looked = top(tree).and_then(|top| {
        let first = Piece { within: Arc::new(top), name: None, depth: 0, entries: &index.entries };
        crew::through(first, |piece, more| directory(piece, more))
    });
    match looked {
        Ok(()) => Ok(Looked::Whole {
            files: u64::try_from(index.entries.len()).unwrap_or(u64::MAX),
            tree: index.tree().map(|tree| hex(&tree)).unwrap_or_default(),
        }),
        Err(Stop::Git(why)) => Ok(Looked::Odd(why)),
        Err(stop) => stop.into_fill().map(|_| Looked::Odd("nobody wants to know any more".into())),
    }
}

fn directory<'a>(piece: Piece<'a>, more: &mut Vec<Piece<'a>>) -> Result<(), Stop> {
    let Piece { within, name, depth, entries } = piece;
    let path = entries.first().map_or(&[][..], |entry| &entry.path[..depth]);
    let odd = |what: &str, path: &[u8]| Stop::Git(format!("{} {what}", String::from_utf8_lossy(path)));
    let directory = match name {
        None => within,
        Some(name) => {
            let at = At::new(within.as_fd(), name, path);
            let opened = openat(at.directory, at.name, DIRECTORY, Mode::empty());
            Arc::new(opened.map_err(|_| odd("is not there", path))?)
        }
    };
    let mut expected = 0;
    let mut rest = entries;
    while let Some(first) = rest.first() {
        expected += 1;
        let name = &first.path[depth..];
        let Some(end) = name.iter().position(|byte| *byte == b'/') else {
            let at = At::new(directory.as_fd(), name, &first.path);
            let found = statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW);
            let found = found.map_err(|_| odd("is not there", &first.path))?;
            let is_submodule = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
            if first.mode & 0o170_000 == 0o160_000 && is_submodule {
                empty(&at)?;
            } else if !stat(&found).is_same(&first.stat) {
                return Err(odd("was changed", &first.path));
            }
            rest = &rest[1..];
            continue;
        };
        let below = &first.path[..=depth + end];
        let count = rest.partition_point(|entry| entry.path.starts_with(below));
        let (inside, others) = rest.split_at(count.max(1));
        let within = Arc::clone(&directory);
        more.push(Piece { within, name: Some(&name[..end]), depth: depth + end + 1, entries: inside });
        rest = others;
    }
    match names(&directory) {
        Ok(found) if found == expected => Ok(()),
        _ => Err(odd("has something in it that is not tracked", if path.is_empty() { b"the top" } else { path })),
    }
}

/// How many names are in a directory.
fn names(directory: &OwnedFd) -> rustix::io::Result<usize> {
    let mut count = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        count += usize::from(!matches!(entry.file_name().to_bytes(), b"." | b".."));
    }
    Ok(count)
}

/// A submodule that nobody has brought is an empty directory.
fn empty(at: &At<'_>) -> Result<(), Stop> {
    let opened = openat(at.directory, at.name, DIRECTORY, Mode::empty());
    match opened.and_then(|directory| names(&directory)) {
        Ok(0) => Ok(()),
        _ => Err(Stop::Git(format!("{} is not empty", String::from_utf8_lossy(at.path)))),
    }
}
