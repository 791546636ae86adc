//! Apply: writes the files of a commit, their directories and their index. What is there already is never written over.
//!
//! Files are made beneath open directories, newest directory first, so that few are open at any time. Their times lie a second before
//! everything else: git compares whole seconds, and would have to read what was written in the second of the index itself. The
//! index comes last, when everything that it names is there; until then git finds none.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git2::{Oid, Repository, RepositoryOpenFlags};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fstat, futimens, mkdirat, openat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::decide::{self, CHANGING, Terms};
use super::index::{self, Directory, Entry, Stat};
use crate::model::CommitId;
use crate::sys::fs::{self, FsError};
use crate::sys::git::brought::known;
use crate::sys::git::tree;
use crate::sys::git::{GitCommand, GitError, Version};
use crate::sys::{clock, crew};

/// Where files are to be.
pub struct Place<'a> {
    /// The git dir whose objects they are.
    pub git_dir: &'a Path,
    /// The directory that the index is in: the worktree's own part of the git dir.
    pub admin: &'a Path,
    /// The directory of the files; it is there, and there is nothing in it but `.git`.
    pub tree: &'a Path,
    /// A git command in that worktree.
    pub git: &'a dyn Fn(&[&str]) -> GitCommand,
    /// Asked again and again: true when nobody wants it any more.
    pub called_off: &'a (dyn Fn() -> bool + Sync),
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "git may have to do it"]
pub enum Fill {
    /// Everything is there.
    Done,
    /// It was called off.
    CalledOff,
    /// git has to do it, for this reason, over whatever is there already.
    Git(String),
}

/// Why it ends before its end.
#[derive(Debug)]
enum Stop {
    CalledOff,
    Git(String),
    Failed(FillError),
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Stop {
        Stop::Failed(error.into())
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Stop {
        Stop::Failed(error.into())
    }
}

impl From<git2::Error> for Stop {
    fn from(error: git2::Error) -> Stop {
        Stop::Git(error.message().to_owned())
    }
}

/// What has git write whatever is not as the index says.
pub const BY_GIT: [&str; 4] = ["reset", "--quiet", "--hard", "--no-recurse-submodules"];

/// The first git that says where attributes are.
const TELLS_ATTRIBUTES: Version = Version(2, 41, 0);

/// What is larger is git's, which does not hold it in memory.
const LARGE: usize = 64 << 20;

/// git's modes.
const EXECUTABLE: &[u8] = b"100755";
const LINK: &[u8] = b"120000";
const SUBMODULE: &[u8] = b"160000";

/// Why files could not be written by anybody.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// git says so.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The disk says so.
    #[error(transparent)]
    Disk(#[from] FsError),
}

/// Writes the files of a commit.
pub fn fill(place: &Place<'_>, version: Version, commit: &CommitId) -> Result<Fill, FillError> {
    if version < TELLS_ATTRIBUTES {
        return Ok(Fill::Git("this git does not say where attributes are".into()));
    }
    let terms = match decide::terms(&(place.git)(&["var", "-l"]).text()?) {
        Ok(terms) => terms,
        Err(why) => return Ok(Fill::Git(why)),
    };
    match write(place, commit, &terms) {
        Ok(()) => Ok(Fill::Done),
        Err(Stop::CalledOff) => Ok(Fill::CalledOff),
        Err(Stop::Git(why)) => Ok(Fill::Git(why)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn write(place: &Place<'_>, commit: &CommitId, terms: &Terms) -> Result<(), Stop> {
    // What came in was held against its id then; git does not do it again for each read, and it would take a third of the time.
    git2::opts::strict_hash_verification(false);
    let library = open(place.git_dir)?;
    if library.references_glob("refs/replace/*")?.next().is_some() {
        return Err(Stop::Git("objects are replaced".into()));
    }
    let tree = library.find_commit(known(commit)?)?.tree_id();
    let top = openat(CWD, place.tree, DIRECTORY, Mode::empty()).map_err(disk("open", place.tree))?;
    let earlier = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: clock::now().0 / 1000 - 1, tv_nsec: 0 },
    };
    let (git_dir, libraries) = (place.git_dir, Mutex::new(vec![library]));
    let called_off = place.called_off;
    let filler = Filler { git_dir, tree: place.tree, libraries, written: Mutex::default(), earlier, called_off };
    let first = Piece { within: Arc::new(top), name: None, path: Vec::new(), tree };
    crew::through(first, |piece, more| filler.directory(piece, more))?;
    let Written { mut entries, directories, attributes } =
        filler.written.into_inner().unwrap_or_else(PoisonError::into_inner);
    let changing = match attributes || others_may_change(place, terms) {
        true => changing(place, &entries)?,
        false => BTreeSet::new(),
    };
    // One of which nothing is known is written anew, and only that; git has filters work on several at once where they can.
    let unknown = entries.iter_mut().filter(|entry| changing.contains(&entry.path));
    unknown.for_each(|entry| entry.stat = Stat::default());
    let bytes = index::bytes(entries, directories).ok_or_else(|| Stop::Git("there are too many files".into()))?;
    let aside = place.admin.join("index.filled");
    fs::write_new(&aside, &bytes)?;
    if !changing.is_empty() {
        (place.git)(&BY_GIT).env("GIT_INDEX_FILE", &aside).run()?;
    }
    Ok(fs::rename_onto_nothing(&aside, &place.admin.join("index"))?)
}

/// True when attributes outside the tree may want files to be written otherwise than they are stored; those that cannot be read may.
fn others_may_change(place: &Place<'_>, terms: &Terms) -> bool {
    let info = place.git_dir.join("info/attributes");
    terms.attributes.iter().chain([&info]).any(|file| match std::fs::read(file) {
        Ok(text) => decide::may_change(&text),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    })
}

/// What attributes want to be written otherwise than it is stored: git knows which, now that they are there.
fn changing(place: &Place<'_>, entries: &[Entry]) -> Result<BTreeSet<Vec<u8>>, GitError> {
    let paths: Vec<u8> = entries.iter().flat_map(|entry| [entry.path.as_slice(), b"\0"].concat()).collect();
    let told = (place.git)(&["check-attr", "-z", "--stdin"]).args(CHANGING).stdin(paths).run()?;
    Ok(decide::changing(told.stdout.split(|byte| *byte == 0)).into_iter().collect())
}

fn open(git_dir: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    Repository::open_ext(git_dir, flags, &[] as &[&Path])
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that is to be made.
struct Piece {
    within: Arc<OwnedFd>,
    /// Its name; the top is there already.
    name: Option<Vec<u8>>,
    path: Vec<u8>,
    tree: Oid,
}

#[derive(Default)]
struct Written {
    entries: Vec<Entry>,
    directories: Vec<Directory>,
    attributes: bool,
}

struct Filler<'a> {
    git_dir: &'a Path,
    tree: &'a Path,
    /// Open repositories that nobody works with at the moment.
    libraries: Mutex<Vec<Repository>>,
    written: Mutex<Written>,
    earlier: Timestamps,
    called_off: &'a (dyn Fn() -> bool + Sync),
}

impl Filler<'_> {
    fn directory(&self, piece: Piece, more: &mut Vec<Piece>) -> Result<(), Stop> {
        if (self.called_off)() {
            return Err(Stop::CalledOff);
        }
        let idle = lock(&self.libraries).pop();
        let library = idle.map_or_else(|| open(self.git_dir), Ok)?;
        let written = self.write(&library, piece, more)?;
        lock(&self.libraries).push(library);
        let mut all = lock(&self.written);
        all.entries.extend(written.entries);
        all.directories.extend(written.directories);
        all.attributes |= written.attributes;
        Ok(())
    }

    fn write(&self, library: &Repository, piece: Piece, more: &mut Vec<Piece>) -> Result<Written, Stop> {
        let directory = self.enter(&piece)?;
        let objects = library.odb()?;
        let tree = objects.read(piece.tree)?;
        let read = tree::entries(tree.data()).ok_or_else(|| Stop::Git("a directory is not as git writes it".into()))?;
        let mut written = Written::default();
        for entry in read {
            let path =
                if piece.path.is_empty() { entry.name.to_vec() } else { [&piece.path, &b"/"[..], entry.name].concat() };
            if decide::is_suspicious(entry.name) || entry.mode == LINK && decide::is_suspicious_link(entry.name) {
                return Err(Stop::Git(format!("{} is a name that git looks at", String::from_utf8_lossy(&path))));
            }
            let id = Oid::from_bytes(entry.id)?;
            if entry.is_directory() {
                let within = Arc::clone(&directory);
                more.push(Piece { within, name: Some(entry.name.to_vec()), path, tree: id });
                continue;
            }
            let at = At { directory: directory.as_fd(), name: OsStr::from_bytes(entry.name), path: &path };
            let stat = if entry.mode == SUBMODULE {
                self.submodule(&at)?
            } else {
                if objects.read_header(id)?.0 > LARGE {
                    return Err(Stop::Git("a file is large".into()));
                }
                let object = objects.read(id)?;
                let is_file = entry.mode != LINK;
                written.attributes |= is_file && entry.name == b".gitattributes" && decide::may_change(object.data());
                if is_file {
                    self.file(&at, object.data(), entry.mode == EXECUTABLE)?
                } else {
                    self.link(&at, object.data())?
                }
            };
            let mode = u32::from_str_radix(&String::from_utf8_lossy(entry.mode), 8).unwrap_or_default();
            written.entries.push(Entry { path, mode, id: raw(id), stat });
        }
        written.directories.push(Directory { path: piece.path, id: raw(piece.tree) });
        Ok(written)
    }

    fn enter(&self, piece: &Piece) -> Result<Arc<OwnedFd>, Stop> {
        let Some(name) = &piece.name else { return Ok(Arc::clone(&piece.within)) };
        let at = At { directory: piece.within.as_fd(), name: OsStr::from_bytes(name), path: &piece.path };
        self.made(&at, mkdirat(at.directory, at.name, Mode::from_raw_mode(0o777)))?;
        let opened = self.made(&at, openat(at.directory, at.name, DIRECTORY, Mode::empty()))?;
        Ok(Arc::new(opened))
    }

    fn file(&self, at: &At<'_>, data: &[u8], executable: bool) -> Result<Stat, Stop> {
        let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(self.made(at, openat(at.directory, at.name, flags, mode))?);
        file.write_all(data).map_err(fs::at("write", &self.full(at)))?;
        self.made(at, futimens(&file, &self.earlier))?;
        Ok(stat(&self.made(at, fstat(&file))?))
    }

    fn link(&self, at: &At<'_>, target: &[u8]) -> Result<Stat, Stop> {
        if target.contains(&0) {
            return Err(Stop::Git("a link has no place to lead to".into()));
        }
        self.made(at, symlinkat(OsStr::from_bytes(target), at.directory, at.name))?;
        self.made(at, utimensat(at.directory, at.name, &self.earlier, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(stat(&self.made(at, statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    /// An empty directory, until somebody brings the submodule.
    fn submodule(&self, at: &At<'_>) -> Result<Stat, Stop> {
        self.made(at, mkdirat(at.directory, at.name, Mode::from_raw_mode(0o777)))?;
        Ok(stat(&self.made(at, statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn full(&self, at: &At<'_>) -> PathBuf {
        self.tree.join(OsStr::from_bytes(at.path))
    }

    /// Two names that are one on this file system are git's to write.
    fn made<T>(&self, at: &At<'_>, result: rustix::io::Result<T>) -> Result<T, Stop> {
        result.map_err(|errno| match errno {
            Errno::EXIST | Errno::LOOP | Errno::NOTDIR | Errno::ILSEQ | Errno::INVAL => {
                Stop::Git(format!("{}: {errno}", String::from_utf8_lossy(at.path)))
            }
            errno => disk("write", &self.full(at))(errno),
        })
    }
}

/// Where one file is to be.
struct At<'a> {
    directory: std::os::fd::BorrowedFd<'a>,
    name: &'a OsStr,
    path: &'a [u8],
}

fn disk<'a>(action: &'static str, path: &'a Path) -> impl Fn(Errno) -> Stop + 'a {
    move |errno| fs::at(action, path)(errno.into()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a panic left is whole: nothing in here panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raw(id: Oid) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(id.as_bytes());
    bytes
}

/// As much of it as an index has room for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "git keeps the lower 32 bits and compares those"
)]
fn stat(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        changed: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
        modified: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
        place: (stat.st_dev as u32, stat.st_ino as u32),
        owner: (stat.st_uid, stat.st_gid),
        size: stat.st_size as u32,
    }
}
