//! Scan: what is otherwise in one tree than in another, in the time of what differs: only directories that differ are read.
//!
//! Renames are not followed: a file that moved is gone in one place and there in another.

use std::collections::HashSet;

use git2::{Odb, OdbObject, Oid};

use super::decide;
use super::files::raw;
use super::index::{Directory, Entry as IndexEntry, Index};
use super::outcome::Stop;
use crate::sys::git::tree::{self, Entry, SUBMODULE};

/// What differs.
#[derive(Debug, Default)]
pub struct Difference {
    /// What is not in the second tree as it is in the first, by path: files, links and submodules.
    pub gone: Vec<Gone>,
    /// What is not in the first tree as it is in the second.
    pub came: Vec<Came>,
    /// Directories that only the first tree has, each before those in it.
    pub left: Vec<Vec<u8>>,
    /// Directories that only the second tree has, each before those in it.
    pub made: Vec<Vec<u8>>,
    /// Directories that the second tree has with other content, or alone.
    pub directories: Vec<Directory>,
    /// An attribute that changes bytes on their way to a file came or went.
    pub attributes: bool,
}

/// Something that goes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gone {
    /// Its path from the top.
    pub path: Vec<u8>,
    /// It is a submodule, thus a directory.
    pub is_submodule: bool,
}

/// Something that comes.
#[derive(Debug)]
pub struct Came {
    /// Its path from the top.
    pub path: Vec<u8>,
    /// Its mode, in octal digits.
    pub mode: Vec<u8>,
    /// Its object.
    pub id: Oid,
}

/// Holds two trees against each other.
pub(super) fn difference(objects: &Odb<'_>, from: Oid, to: Oid) -> Result<Difference, Stop> {
    let mut found = Difference::default();
    found.directory(objects, Some(from), Some(to), &[])?;
    found.gone.sort_unstable();
    found.came.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn entries<'a>(object: Option<&'a OdbObject<'_>>) -> Result<Vec<Entry<'a>>, Stop> {
    let read = tree::entries(object.map_or(&[], |object| object.data()));
    read.ok_or_else(|| Stop::Git("a directory is not as git writes it".into()))
}

impl Difference {
    /// True for the path of something that goes.
    pub fn is_gone(&self, path: &[u8]) -> bool {
        self.gone.binary_search_by(|gone| gone.path.as_slice().cmp(path)).is_ok()
    }

    /// True where a submodule comes or goes.
    pub fn has_submodules(&self) -> bool {
        self.gone.iter().any(|gone| gone.is_submodule) || self.came.iter().any(|came| came.mode == SUBMODULE)
    }

    /// An index of the first tree as one of the second: without these paths, which are in order, and with these entries.
    pub fn patched<'p>(
        &self,
        mut index: Index,
        without: impl Iterator<Item = &'p Vec<u8>>,
        with: Vec<IndexEntry>,
    ) -> Index {
        let mut without = without.peekable();
        index.entries.retain(|entry| {
            while without.next_if(|path| **path < entry.path).is_some() {}
            without.peek().is_none_or(|path| **path != entry.path)
        });
        index.entries.extend(with);
        let others: HashSet<&Vec<u8>> =
            self.left.iter().chain(self.directories.iter().map(|directory| &directory.path)).collect();
        index.directories.retain(|directory| !others.contains(&directory.path));
        index.directories.extend(self.directories.iter().cloned());
        index
    }

    fn directory(&mut self, objects: &Odb<'_>, from: Option<Oid>, to: Option<Oid>, path: &[u8]) -> Result<(), Stop> {
        if from == to {
            return Ok(());
        }
        let read = |id: Option<Oid>| id.map(|id| objects.read(id)).transpose();
        let (before, after) = (read(from)?, read(to)?);
        let (before, after) = (entries(before.as_ref())?, entries(after.as_ref())?);
        match (from, to) {
            (Some(_), None) => self.left.push(path.to_vec()),
            (None, Some(_)) => self.made.push(path.to_vec()),
            _ => {}
        }
        if let Some(to) = to {
            self.directories.push(Directory { path: path.to_vec(), id: raw(to) });
        }
        let named = |all: &[Entry<'_>], name: &[u8]| all.binary_search_by_key(&name, |entry| entry.name).ok();
        for entry in &before {
            let other = named(&after, entry.name).map(|at| &after[at]);
            self.name(objects, Some(entry), other, path)?;
        }
        for entry in after.iter().filter(|entry| named(&before, entry.name).is_none()) {
            self.name(objects, None, Some(entry), path)?;
        }
        Ok(())
    }

    /// One name in both directories, or in one.
    fn name(
        &mut self,
        objects: &Odb<'_>,
        before: Option<&Entry<'_>>,
        after: Option<&Entry<'_>>,
        directory: &[u8],
    ) -> Result<(), Stop> {
        if before == after {
            return Ok(());
        }
        let path = |entry: &Entry<'_>| tree::below(directory, entry.name);
        let inside = |entry: Option<&Entry<'_>>| {
            entry.filter(|entry| entry.is_directory()).map(|entry| Oid::from_bytes(entry.id)).transpose()
        };
        for entry in before.iter().chain(&after).filter(|entry| entry.name == b".gitattributes" && entry.is_file()) {
            self.attributes |= decide::may_change(objects.read(Oid::from_bytes(entry.id)?)?.data());
        }
        if let Some(gone) = before.filter(|entry| !entry.is_directory()) {
            self.gone.push(Gone { path: path(gone), is_submodule: gone.mode == SUBMODULE });
        }
        for entry in before.iter().chain(&after) {
            decide::refuse_suspicious(entry, &path(entry)).map_err(Stop::Git)?;
        }
        if let Some(came) = after.filter(|entry| !entry.is_directory()) {
            self.came.push(Came { path: path(came), mode: came.mode.to_vec(), id: Oid::from_bytes(came.id)? });
        }
        let (from, to) = (inside(before)?, inside(after)?);
        match before.or(after) {
            Some(entry) if from.is_some() || to.is_some() => self.directory(objects, from, to, &path(entry)),
            _ => Ok(()),
        }
    }
}
