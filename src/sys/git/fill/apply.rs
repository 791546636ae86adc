//! Apply: writes the files of a commit, their directories and their index. What is there already is never written over.
//!
//! Files are made beneath open directories, newest directory first, so that few are open at any time. Their times lie before
//! everything else: git compares whole seconds, and would have to read what was written in the second of the index itself. What is
//! trusted for that has to be told apart by something else: files of one size have different seconds, so that one in the place
//! of another, with its time (`cp -p`, `mv`), is seen even at once. The index comes last, when everything that it names is there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use git2::{Oid, Repository};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fstat, futimens, mkdirat, openat, statat, symlinkat,
};

use super::decide::{self, CHANGING, Terms};
use super::index::{self, Directory, Entry, Stat};
use crate::model::CommitId;
use crate::sys::fs::{self, FsError};
use crate::sys::git::brought::known;
use crate::sys::git::read::open;
use crate::sys::git::tree::{self, EXECUTABLE, LINK, SUBMODULE};
use crate::sys::git::{GitCommand, GitError, Version, user_file};
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
    let listed = (place.git)(&["config", "-z", "--list"]).output()?;
    let known = match listed.code() {
        0 => decide::terms(listed.records()),
        _ => Err("the configuration cannot be listed".into()),
    };
    let terms = match known {
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
    let _trusting = Trusting::begin();
    let library = open(place.git_dir)?;
    if library.references_glob("refs/replace/*")?.next().is_some() {
        return Err(Stop::Git("objects are replaced".into()));
    }
    let tree = library.find_commit(known(commit)?)?.tree_id();
    let top =
        openat(CWD, place.tree, DIRECTORY, Mode::empty()).map_err(|errno| fs::at("open", place.tree)(errno.into()))?;
    let filler = Filler {
        git_dir: place.git_dir,
        tree: place.tree,
        libraries: Mutex::new(vec![library]),
        written: Mutex::default(),
        began: clock::now().0 / 1000,
        of_size: std::iter::repeat_with(AtomicU16::default).take(SIZES).collect(),
        called_off: place.called_off,
    };
    let first = Piece { within: Arc::new(top), name: None, path: Vec::new(), tree };
    crew::through(first, |piece, more| filler.directory(piece, more))?;
    let Written { mut entries, directories, attributes, left } =
        filler.written.into_inner().unwrap_or_else(PoisonError::into_inner);
    let changing = match attributes || others_may_change(place, terms)? {
        true => changing(place, &entries)?,
        false => BTreeSet::new(),
    };
    // One of which nothing is known is written anew, and only that; git has filters work on several at once where they can.
    let unknown = entries.iter_mut().filter(|entry| changing.contains(&entry.path));
    unknown.for_each(|entry| entry.stat = Stat::default());
    let bytes = index::bytes(entries, directories).ok_or_else(|| Stop::Git("there are too many files".into()))?;
    let aside = place.admin.join("index.filled");
    fs::write_new(&aside, &bytes)?;
    if left || !changing.is_empty() {
        (place.git)(&BY_GIT).env("GIT_INDEX_FILE", &aside).run()?;
    }
    let Err(error) = fs::rename_onto_nothing(&aside, &place.admin.join("index")) else { return Ok(()) };
    fs::remove_file(&aside)?;
    match error.source.kind() {
        std::io::ErrorKind::AlreadyExists => Err(Stop::Git("somebody else has made an index meanwhile".into())),
        _ => Err(error.into()),
    }
}

/// True when attributes outside the tree may want files to be written otherwise than they are stored; those that cannot be read may.
fn others_may_change(place: &Place<'_>, terms: &Terms) -> Result<bool, Stop> {
    let system = (place.git)(&["var", "GIT_ATTR_SYSTEM"]).output()?;
    let system = match system.code() {
        0 => Some(PathBuf::from(OsStr::from_bytes(system.stdout.trim_ascii_end()))),
        // Nobody wants them.
        1 => None,
        _ => return Err(Stop::Git("git does not say where the system's attributes are".into())),
    };
    let user = terms.attributes.clone().or_else(|| user_file("attributes"));
    let here = Some(place.git_dir.join("info/attributes"));
    Ok([system, user, here].into_iter().flatten().any(|file| match std::fs::read(file) {
        Ok(text) => decide::may_change(&text),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }))
}

/// What attributes want to be written otherwise than it is stored: git knows which, now that they are there.
fn changing(place: &Place<'_>, entries: &[Entry]) -> Result<BTreeSet<Vec<u8>>, Stop> {
    let paths: Vec<u8> = entries.iter().flat_map(|entry| [entry.path.as_slice(), b"\0"].concat()).collect();
    let told = (place.git)(&["check-attr", "-z", "--stdin"]).args(CHANGING).stdin(paths).output()?;
    if told.code() != 0 {
        return Err(Stop::Git("git does not say which attributes files have".into()));
    }
    Ok(decide::changing(told.stdout.split(|byte| *byte == 0)).into_iter().collect())
}

/// While it lives, libgit2 does not hold objects against their ids, whoever reads them in this process. What came in was when it did; git
/// does not do it again for each read, and it would take a third of the time.
struct Trusting;

impl Trusting {
    fn begin() -> Trusting {
        git2::opts::strict_hash_verification(false);
        Trusting
    }
}

impl Drop for Trusting {
    fn drop(&mut self) {
        // Somebody else's checkout only gets slower by it.
        git2::opts::strict_hash_verification(true);
    }
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
    /// Some of them may want files to be written otherwise.
    attributes: bool,
    /// Something was left for git to write.
    left: bool,
}

/// Files are told apart by their size up to this many.
const SIZES: usize = 4096;

/// After so many files somebody is asked whether they are still wanted.
const ASKED_AFTER: usize = 256;

struct Filler<'a> {
    git_dir: &'a Path,
    tree: &'a Path,
    /// Open repositories that nobody works with at the moment.
    libraries: Mutex<Vec<Repository>>,
    written: Mutex<Written>,
    /// The second in which the first is written.
    began: i64,
    /// How many there are already of a size.
    of_size: Vec<AtomicU16>,
    called_off: &'a (dyn Fn() -> bool + Sync),
}

impl Filler<'_> {
    fn directory(&self, piece: Piece, more: &mut Vec<Piece>) -> Result<(), Stop> {
        let idle = lock(&self.libraries).pop();
        let library = idle.map_or_else(|| open(self.git_dir), Ok)?;
        let written = self.write(&library, piece, more)?;
        lock(&self.libraries).push(library);
        let mut all = lock(&self.written);
        all.entries.extend(written.entries);
        all.directories.extend(written.directories);
        all.attributes |= written.attributes;
        all.left |= written.left;
        Ok(())
    }

    fn write(&self, library: &Repository, piece: Piece, more: &mut Vec<Piece>) -> Result<Written, Stop> {
        let directory = self.enter(&piece)?;
        let objects = library.odb()?;
        let tree = objects.read(piece.tree)?;
        let read = tree::entries(tree.data()).ok_or_else(|| Stop::Git("a directory is not as git writes it".into()))?;
        let mut written = Written::default();
        for (number, entry) in read.into_iter().enumerate() {
            if number % ASKED_AFTER == 0 && (self.called_off)() {
                return Err(Stop::CalledOff);
            }
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
            let stat = match entry.mode {
                SUBMODULE => self.submodule(&at)?,
                // git gives it out piece by piece.
                _ if objects.read_header(id)?.0 > LARGE => {
                    written.left = true;
                    Stat::default()
                }
                LINK => self.link(&at, objects.read(id)?.data())?,
                mode => {
                    let object = objects.read(id)?;
                    written.attributes |= entry.name == b".gitattributes" && decide::may_change(object.data());
                    self.file(&at, object.data(), mode == EXECUTABLE)?
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
        file.write_all(data).map_err(|error| self.failed(at, error))?;
        self.made(at, futimens(&file, &self.time_of(data.len())))?;
        Ok(stat(&self.made(at, fstat(&file))?))
    }

    fn link(&self, at: &At<'_>, target: &[u8]) -> Result<Stat, Stop> {
        if target.contains(&0) {
            return Err(Stop::Git("a link has no place to lead to".into()));
        }
        self.made(at, symlinkat(OsStr::from_bytes(target), at.directory, at.name))?;
        Ok(stat(&self.made(at, statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    /// A second before all of this, another one for each file of one size.
    fn time_of(&self, size: usize) -> Timestamps {
        let of_size = self.of_size.get(size % SIZES).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed));
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.began - 1 - i64::from(of_size), tv_nsec: 0 },
        }
    }

    /// An empty directory, until somebody brings the submodule.
    fn submodule(&self, at: &At<'_>) -> Result<Stat, Stop> {
        self.made(at, mkdirat(at.directory, at.name, Mode::from_raw_mode(0o777)))?;
        Ok(stat(&self.made(at, statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn full(&self, at: &At<'_>) -> PathBuf {
        self.tree.join(OsStr::from_bytes(at.path))
    }

    fn made<T>(&self, at: &At<'_>, result: rustix::io::Result<T>) -> Result<T, Stop> {
        result.map_err(|errno| self.failed(at, errno.into()))
    }

    /// A disk that takes nothing takes nothing from git either; whatever else it is (two names that are one on this file system, one
    /// without times, too many open files), git may know how to do it.
    fn failed(&self, at: &At<'_>, error: std::io::Error) -> Stop {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match error.kind() {
            QuotaExceeded | ReadOnlyFilesystem | StorageFull => fs::at("write", &self.full(at))(error).into(),
            _ => Stop::Git(format!("{}: {error}", String::from_utf8_lossy(at.path))),
        }
    }
}

/// Where one file is to be.
struct At<'a> {
    directory: std::os::fd::BorrowedFd<'a>,
    name: &'a OsStr,
    path: &'a [u8],
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
