//! Apply: brings a tree that is as one commit says, and its index, to another commit, in the time of what differs between the two.
//!
//! Only for files that nobody else sees or changes, of which the caller knows that they are as their index says, and that bytes are
//! written as they are stored ([`super::beside_the_tree`], and of the tree that it was filled so). What is to go is looked at even so before anything is touched. What ends
//! half-way is of no use any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{AtFlags, Mode, openat, statat, unlinkat};

use super::apply::{Libraries, Place, Trusting, lock, refuse_replaced, top};
use super::difference::{Came, Difference, Gone, difference};
use super::files::{At, DIRECTORY, Writer, raw, stat};
use super::index::{self, Entry, Index};
use super::outcome::{FillError, Stop};
use crate::model::CommitId;
use crate::sys::git::brought::known;
use crate::sys::git::tree::number;
use crate::sys::{crew, fs};

/// From where to where.
pub struct Way<'a> {
    /// What the files and the index are.
    pub from: &'a CommitId,
    /// What they are to be.
    pub to: &'a CommitId,
    /// Objects of another repository that are read, too.
    pub also: Option<&'a Path>,
    /// Most files that are written; beyond that it does not begin.
    pub most: usize,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the tree may be of no use any more"]
pub enum Shifted {
    /// Files and index are what they are to be.
    Done,
    /// It did not begin, for this reason; all is as it was.
    NotBegun(String),
    /// It ended half-way, for this reason.
    Spoiled(String),
    /// It was called off half-way.
    CalledOff,
}

/// Moves files and index.
pub fn shift(place: &Place<'_>, way: &Way<'_>) -> Result<Shifted, FillError> {
    let _trusting = Trusting::begin();
    let (mover, index, difference) = match prepared(place, way) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Ok(Shifted::Done),
        Err(Stop::Git(why)) => return Ok(Shifted::NotBegun(why)),
        Err(Stop::CalledOff) => return Ok(Shifted::NotBegun("it was called off".into())),
        Err(Stop::Failed(error)) => return Err(error),
    };
    match moved(&mover, index, &difference) {
        Ok(()) => Ok(Shifted::Done),
        Err(Stop::Git(why)) => Ok(Shifted::Spoiled(why)),
        Err(Stop::CalledOff) => Ok(Shifted::CalledOff),
        Err(Stop::Failed(error)) => Err(error),
    }
}

type Prepared<'a> = (Mover<'a>, Index, Difference);

/// Looks at everything that is to be done; nothing where all is as it is to be.
fn prepared<'a>(place: &'a Place<'a>, way: &Way<'a>) -> Result<Option<Prepared<'a>>, Stop> {
    if way.from == way.to {
        return Ok(None);
    }
    let libraries = Libraries::of(place.git_dir, way.also);
    let (difference, from) = differing(&libraries, way.from, way.to)?;
    if difference.attributes {
        return Err(Stop::Git("attributes that change files are not the same".into()));
    }
    if difference.came.len() > way.most {
        return Err(Stop::Git(format!("{} files differ", difference.came.len())));
    }
    let file = place.admin.join("index");
    let index = index::read(&std::fs::read(&file).map_err(fs::at("read", &file))?);
    let index = index.filter(|index| index.tree() == Some(raw(from)));
    let index = index.ok_or_else(|| Stop::Git("the index is not as it was written".into()))?;
    let mover = Mover { top: top(place.tree)?, writer: Writer::new(place.tree), place, libraries };
    mover.look(&difference.gone, &index)?;
    Ok(Some((mover, index, difference)))
}

/// What differs between two commits, and the tree of the first.
pub(super) fn differing(
    libraries: &Libraries<'_>,
    from: &CommitId,
    to: &CommitId,
) -> Result<(Difference, git2::Oid), Stop> {
    libraries.with(|library| {
        refuse_replaced(library)?;
        let tree = |commit: &CommitId| Ok::<_, Stop>(library.find_commit(known(commit)?)?.tree_id());
        let from = tree(from)?;
        Ok((difference(&library.odb()?, from, tree(to)?)?, from))
    })
}

fn moved(mover: &Mover<'_>, index: Index, difference: &Difference) -> Result<(), Stop> {
    mover.remove(difference)?;
    mover.make(&difference.made)?;
    let written = mover.write(&difference.came)?;
    let patched = difference.patched(index, difference.gone.iter().map(|gone| &gone.path), written);
    let bytes = index::bytes(patched);
    let bytes = bytes.ok_or_else(|| Stop::Git("there are too many files".into()))?;
    let (admin, file) = (mover.place.admin, mover.place.admin.join("index"));
    let aside = admin.join("index.shifted");
    fs::write_new(&aside, &bytes)?;
    std::fs::rename(&aside, &file).map_err(fs::at("replace", &file))?;
    Ok(())
}

/// What moves a tree.
struct Mover<'a> {
    top: OwnedFd,
    writer: Writer<'a>,
    place: &'a Place<'a>,
    libraries: Libraries<'a>,
}

/// Files of one directory, or all of them, still to be told apart by directories.
enum Piece<'a> {
    All(&'a [Came]),
    Directory(&'a [Came]),
}

impl Mover<'_> {
    /// Everything that goes is what the index says it is.
    fn look(&self, gone: &[Gone], index: &Index) -> Result<(), Stop> {
        self.each(
            gone,
            |gone| &gone.path,
            |at, gone| {
                let found = self.writer.made(at, statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW))?;
                let entry = index.entries.binary_search_by(|entry| entry.path.cmp(&gone.path));
                let entry = entry.ok().and_then(|entry| index.entries.get(entry));
                match entry.is_some_and(|entry| gone.is_submodule || entry.stat.is_same(&stat(&found))) {
                    true => Ok(()),
                    false => Err(Stop::Git(format!("{} is not as it was", String::from_utf8_lossy(&gone.path)))),
                }
            },
        )
    }

    fn remove(&self, difference: &Difference) -> Result<(), Stop> {
        self.each(
            &difference.gone,
            |gone| &gone.path,
            |at, gone| {
                let flags = if gone.is_submodule { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                self.writer.made(at, unlinkat(at.directory, at.name, flags))
            },
        )?;
        // What is in a directory goes before it.
        difference.left.iter().rev().try_for_each(|path| {
            let (around, name) = parted(path);
            let directory = self.enter(around)?;
            let at = At::new(directory.as_fd(), name, path);
            self.writer.made(&at, unlinkat(at.directory, at.name, AtFlags::REMOVEDIR))
        })
    }

    fn make(&self, directories: &[Vec<u8>]) -> Result<(), Stop> {
        directories.iter().try_for_each(|path| {
            let (around, name) = parted(path);
            let directory = self.enter(around)?;
            self.writer.directory(&At::new(directory.as_fd(), name, path)).map(drop)
        })
    }

    fn write(&self, came: &[Came]) -> Result<Vec<Entry>, Stop> {
        let written = Mutex::new(Vec::with_capacity(came.len()));
        crew::through(Piece::All(came), |piece, more| match piece {
            Piece::All(came) => {
                more.extend(by_directory(came, |came| &came.path).map(Piece::Directory));
                Ok(())
            }
            Piece::Directory(_) if (self.place.called_off)() => Err(Stop::CalledOff),
            Piece::Directory(came) => {
                let entries = self.libraries.with(|library| {
                    let objects = library.odb()?;
                    let mut entries = Vec::with_capacity(came.len());
                    self.each(
                        came,
                        |came| &came.path,
                        |at, Came { path, mode, id }| {
                            let stat = self.writer.entry(&objects, at, mode, *id)?;
                            let stat = stat.ok_or_else(|| Stop::Git("a file is too large".into()))?;
                            entries.push(Entry { path: path.clone(), mode: number(mode), id: raw(*id), stat });
                            Ok(())
                        },
                    )?;
                    Ok(entries)
                })?;
                lock(&written).extend(entries);
                Ok(())
            }
        })?;
        Ok(written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Does something for each, in its open directory.
    fn each<T>(
        &self,
        all: &[T],
        path: impl Fn(&T) -> &Vec<u8>,
        mut act: impl FnMut(&At<'_>, &T) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for group in by_directory(all, &path) {
            let directory = self.enter(group.first().map_or(&[], |first| parted(path(first)).0))?;
            for one in group {
                act(&At::new(directory.as_fd(), parted(path(one)).1, path(one)), one)?;
            }
        }
        Ok(())
    }

    /// A directory of the tree, open; no link leads there.
    fn enter(&self, path: &[u8]) -> Result<OwnedFd, Stop> {
        let open = |within: BorrowedFd<'_>, name: &[u8]| {
            let at = At::new(within, name, path);
            self.writer.made(&at, openat(at.directory, at.name, DIRECTORY, Mode::empty()))
        };
        let mut directory = open(self.top.as_fd(), b".")?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = open(directory.as_fd(), name)?;
        }
        Ok(directory)
    }
}

/// Directory and name of a path.
pub(super) fn parted(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// Neighbours in one directory, together.
fn by_directory<T>(all: &[T], path: impl Fn(&T) -> &Vec<u8>) -> impl Iterator<Item = &[T]> {
    all.chunk_by(move |one, other| parted(path(one)).0 == parted(path(other)).0)
}
