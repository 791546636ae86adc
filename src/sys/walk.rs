//! One walk over all directories below one, by several threads: what would keep git waiting, which repositories lie there, what
//! could not be read, and how many bytes it takes.
//!
//! Goes by what a directory says of its entries; a file is looked at only where its size is asked for. Links are not followed,
//! and nobody looks into what is called `.git`.

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::crew;

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walked {
    /// Something that is no file where git reads one; the walk ends there.
    pub trap: Option<PathBuf>,
    /// Everything called `.git`, but for that of the directory itself.
    pub repositories: Vec<PathBuf>,
    /// What could not be looked at. What has gone meanwhile is none of that.
    pub unread: Vec<(PathBuf, io::Error)>,
    /// Bytes on disk of what could be looked at, if that was asked for.
    pub bytes: u64,
}

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// Bytes are counted.
    Counted,
    /// They are not.
    Left,
}

/// Files that git reads wherever they are. In the place of one a pipe would keep it waiting for ever.
const READ_BY_GIT: [&str; 3] = [".gitignore", ".gitattributes", ".gitmodules"];

/// True for something that is no file and has the name of one that git reads.
pub fn is_trap(name: &std::ffi::OsStr, kind: std::fs::FileType) -> bool {
    !kind.is_file() && !kind.is_dir() && !kind.is_symlink() && READ_BY_GIT.iter().any(|read| name == *read)
}

/// The bytes that a tree takes on disk; what cannot be looked at counts as nothing.
pub fn disk_usage(root: &Path) -> u64 {
    walk(root, Sizes::Counted).bytes
}

/// Walks over everything below a directory.
pub fn walk(root: &Path, sizes: Sizes) -> Walked {
    let found = Mutex::new(Walked::default());
    let first = Place { directory: root.to_owned(), is_root: true, is_git_dir: false };
    let trapped = crew::through(first, |place, more| {
        let mut here = Walked::default();
        if let (true, Ok(meta)) = (place.is_root && sizes == Sizes::Counted, std::fs::symlink_metadata(root)) {
            here.bytes += meta.blocks() * 512;
        }
        let read = place.look(sizes, &mut here, more);
        here.note(read, || place.directory.clone());
        if place.is_git_dir {
            here.unread.clear();
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).add(here)
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Walked { trap: trapped.err(), ..found }
}

impl Walked {
    /// Adds what another directory holds; a trap is an error, for then the rest does not matter.
    fn add(&mut self, other: Walked) -> Result<(), PathBuf> {
        self.repositories.extend(other.repositories);
        self.unread.extend(other.unread);
        self.bytes += other.bytes;
        other.trap.map_or(Ok(()), Err)
    }

    /// Notes what could not be looked at.
    fn note(&mut self, looked: io::Result<()>, at: impl FnOnce() -> PathBuf) {
        if let Err(error) = looked
            && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        {
            self.unread.push((at(), error));
        }
    }
}

/// A directory on the way.
struct Place {
    directory: PathBuf,
    is_root: bool,
    /// It is that of a repository, or in it: nothing there matters but its size.
    is_git_dir: bool,
}

impl Place {
    fn look(&self, sizes: Sizes, here: &mut Walked, more: &mut Vec<Place>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let seen = self.see(&entry, sizes, here, more);
            here.note(seen, || entry.path());
        }
        Ok(())
    }

    fn see(&self, entry: &DirEntry, sizes: Sizes, here: &mut Walked, more: &mut Vec<Place>) -> io::Result<()> {
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let is_repository = name == ".git" && !self.is_git_dir;
        if is_repository && !self.is_root {
            here.repositories.push(entry.path());
        }
        if is_trap(&name, kind) && !self.is_git_dir {
            here.trap = Some(entry.path());
        }
        let is_git_dir = is_repository || self.is_git_dir;
        if kind.is_dir() && (sizes == Sizes::Counted || !is_git_dir) {
            more.push(Place { directory: entry.path(), is_root: false, is_git_dir });
        }
        if sizes == Sizes::Counted {
            here.bytes += entry.metadata()?.blocks() * 512;
        }
        Ok(())
    }
}

/// The first that is found of what would keep git waiting: something that is no file where git reads one.
pub fn trap(root: &Path) -> Option<PathBuf> {
    walk(root, Sizes::Left).trap
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_walk_sees_repositories_and_no_further() {
        let place = tempfile::tempdir().expect("a temp dir");
        let root = place.path().join("tree");
        for directory in [".git/x", "a/.git/b/.git", "c/d/e"] {
            std::fs::create_dir_all(root.join(directory)).expect("made");
        }
        std::fs::write(root.join("c/d/.git"), "gitdir: /nowhere").expect("written");
        symlink(place.path(), root.join("c/up")).expect("linked");
        let mut found = walk(&root, Sizes::Left);
        found.repositories.sort();
        assert_eq!(found.repositories, [root.join("a/.git"), root.join("c/d/.git")]);
        assert!(found.trap.is_none() && found.unread.is_empty() && found.bytes == 0);
        assert!(walk(&root.join("gone"), Sizes::Left).unread.is_empty());
        assert_eq!(walk(&root, Sizes::Counted).bytes, disk_usage(&root));
    }

    #[test]
    fn sizes_are_those_of_every_file_and_directory() {
        let place = tempfile::tempdir().expect("a temp dir");
        for number in 0..50 {
            let directory = place.path().join(format!("{number}/below"));
            std::fs::create_dir_all(&directory).expect("made");
            std::fs::write(directory.join("file"), vec![b'x'; 10_000]).expect("written");
        }
        let entries = walkdir::WalkDir::new(place.path()).into_iter();
        let one_by_one: u64 = entries.map(|entry| entry.expect("read").metadata().expect("read").blocks() * 512).sum();
        assert_eq!((disk_usage(place.path()), disk_usage(&place.path().join("gone"))), (one_by_one, 0));
    }
}
