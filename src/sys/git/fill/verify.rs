//! Scan: whether a tree is what its index says, file by file, and nothing else is there.
//!
//! Nothing is read but what the file system says of each file: who changes one changes that, too, short of setting the clock. As
//! many threads as there are processors look.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use git2::ObjectType;
use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat, fstat, openat, readlinkat, statat};

use super::apply::top;
use super::files::{At, DIRECTORY, raw, stat};
use super::index::{self, Entry};
use super::outcome::{FillError, Stop};
use super::{GITLINK, id_of};
use crate::sys::git::index::hex;
use crate::sys::walk::Sizes;
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

/// Looks at all of a tree, in which nothing is that its index does not name.
pub fn verify(tree: &Path, index: &Path) -> Result<Looked, FillError> {
    let bytes = std::fs::read(index).map_err(fs::at("read", index))?;
    let Some(index) = index::read(&bytes) else { return Ok(Looked::Odd("the index is not as it was written".into())) };
    match looked(tree, &index.entries, &Terms::default()) {
        Ok(()) => Ok(Looked::Whole {
            files: u64::try_from(index.entries.len()).unwrap_or(u64::MAX),
            tree: index.tree().map(|tree| hex(&tree)).unwrap_or_default(),
        }),
        Err(Stop::Git(why)) => Ok(Looked::Odd(why)),
        Err(stop) => stop.into_fill().map(|_| Looked::Odd("nobody wants to know any more".into())),
    }
}

/// How many bytes a worktree takes on disk, if they are to be counted, of which git would say that nothing in it is changed and nothing
/// untracked: its index is all that `head` is, each file is what the index says and older than that, and nothing else is there, ignored or
/// not. `None` says nothing: then git has to be asked.
pub fn untouched(tree: &Path, index: &Path, head: &str, sizes: Sizes) -> Result<Option<u64>, FillError> {
    let read = || Ok((std::fs::metadata(index)?.mtime(), std::fs::read(index)?));
    let (written, bytes) = read().map_err(fs::at("read", index))?;
    let index = index::read(&bytes).filter(|index| index.tree().is_some_and(|tree| hex(&tree) == head));
    let Some(index) = index.filter(|index| index.entries.iter().all(|entry| entry.mode != GITLINK)) else {
        return Ok(None);
    };
    let terms =
        Terms { linked: true, written: Some(written), bytes: (sizes == Sizes::Counted).then(AtomicU64::default) };
    match looked(tree, &index.entries, &terms) {
        Ok(()) => Ok(Some(terms.bytes.map_or(0, AtomicU64::into_inner))),
        Err(Stop::Git(why)) => {
            tracing::debug!(tree = %tree.display(), why, "git looks at all files");
            Ok(None)
        }
        Err(stop) => stop.into_fill().map(|_| None),
    }
}

/// The tree that an index is known to be, with nothing besides: no sides of a conflict, nor what is remembered of one. `None` says
/// nothing: then git has to be asked.
pub fn tree_of(index: &Path) -> Result<Option<String>, FillError> {
    let bytes = std::fs::read(index).map_err(fs::at("read", index))?;
    let index = index::read(&bytes).filter(|index| !index.more);
    Ok(index.and_then(|index| index.tree()).map(|tree| hex(&tree)))
}

/// What is looked for.
#[derive(Default)]
struct Terms {
    /// The file that leads to its git dir is at the top.
    linked: bool,
    /// The second in which the index was written: of a file as new as that its time says nothing.
    written: Option<i64>,
    /// What is found takes so much on disk.
    bytes: Option<AtomicU64>,
}

impl Terms {
    fn count(&self, found: &Stat) {
        if let Some(bytes) = &self.bytes {
            bytes.fetch_add(u64::try_from(found.st_blocks).unwrap_or(0) * 512, Ordering::Relaxed);
        }
    }
}

fn looked(tree: &Path, entries: &[Entry], terms: &Terms) -> Result<(), Stop> {
    top(tree).and_then(|top| {
        let first = Piece { within: Arc::new(top), name: None, depth: 0, entries };
        crew::through(first, |piece, more| directory(piece, terms, more))
    })
}

fn directory<'a>(piece: Piece<'a>, terms: &Terms, more: &mut Vec<Piece<'a>>) -> Result<(), Stop> {
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
    let mut expected: Vec<&[u8]> = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let name = &first.path[depth..];
        let end = name.iter().position(|byte| *byte == b'/');
        expected.push(&name[..end.unwrap_or(name.len())]);
        let Some(end) = end else {
            let at = At::new(directory.as_fd(), name, &first.path);
            let found = statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW);
            let found = found.map_err(|_| odd("is not there", &first.path))?;
            terms.count(&found);
            let is_submodule = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
            if first.mode == GITLINK && is_submodule {
                empty(&at)?;
            } else if !stat(&found).is_same(&first.stat) || !has_mode(&found, first.mode) {
                return Err(odd("was changed", &first.path));
            } else if terms.written.is_some_and(|written| found.st_mtime >= written) && !is_link(&at, first) {
                return Err(odd("is as new as the index", &first.path));
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
    if terms.bytes.is_some() {
        fstat(&directory).map(|found| terms.count(&found)).map_err(|_| odd("is not there", path))?;
    }
    if terms.linked && depth == 0 {
        let link = At::new(directory.as_fd(), b".git", b".git");
        let link = statat(link.directory, link.name, AtFlags::SYMLINK_NOFOLLOW);
        let link = link.ok().filter(|link| FileType::from_raw_mode(link.st_mode) == FileType::RegularFile);
        terms.count(&link.ok_or_else(|| odd("is no worktree", b"the top"))?);
        expected.push(b".git");
    }
    // Where two names are one (case does not count, say) a name for each is not enough.
    expected.sort_unstable();
    match names(&directory, |name| expected.binary_search(&name).is_ok()) {
        Ok((found, 0)) if found == expected.len() => Ok(()),
        _ => Err(odd("has something in it that is not tracked", if path.is_empty() { b"the top" } else { path })),
    }
}

/// True for a link that leads where the index says. Its time cannot be set when it is made.
fn is_link(at: &At<'_>, entry: &Entry) -> bool {
    let target = readlinkat(at.directory, at.name, Vec::new());
    target.is_ok_and(|target| id_of(ObjectType::Blob, target.as_bytes()).is_some_and(|id| raw(id) == entry.id))
}

/// True for what a file of this mode is. Its time says nothing of that where the index was told otherwise (`update-index --chmod`).
fn has_mode(found: &Stat, mode: u32) -> bool {
    let executable = found.st_mode & 0o100 != 0;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => mode == if executable { 0o100_755 } else { 0o100_644 },
        FileType::Symlink => mode == 0o120_000,
        _ => false,
    }
}

/// How many names are in a directory, and how many of them are none of these.
fn names(directory: &OwnedFd, is_expected: impl Fn(&[u8]) -> bool) -> rustix::io::Result<(usize, usize)> {
    let (mut count, mut others) = (0, 0);
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            count += 1;
            others += usize::from(!is_expected(name));
        }
    }
    Ok((count, others))
}

/// A submodule that nobody has brought is an empty directory.
fn empty(at: &At<'_>) -> Result<(), Stop> {
    let opened = openat(at.directory, at.name, DIRECTORY, Mode::empty());
    match opened.and_then(|directory| names(&directory, |_| false)) {
        Ok((0, _)) => Ok(()),
        _ => Err(Stop::Git(format!("{} is not empty", String::from_utf8_lossy(at.path)))),
    }
}
