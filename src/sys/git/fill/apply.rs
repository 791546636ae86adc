//! Apply: writes the files of a commit, their directories and their index. What is there already is never written over.
//!
//! Files are made beneath open directories, newest directory first, so that few are open at any time. The index comes last, when
//! everything that it names is there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git2::{Oid, Repository};
use rustix::fs::{CWD, Mode, openat};

use super::decide::{self, CHANGING, Terms};
use super::files::{At, DIRECTORY, Writer, raw};
use super::index::{self, Directory, Entry, Index, Stat};
use super::outcome::{Fill, FillError, Stop};
use crate::model::CommitId;
use crate::sys::crew;
use crate::sys::fs;
use crate::sys::git::brought::known;
use crate::sys::git::read::open;
use crate::sys::git::{GitCommand, Settings, Version, tree, user_file};

/// Where files are to be.
pub struct Place<'a> {
    /// The git dir whose objects they are.
    pub git_dir: &'a Path,
    /// The directory that the index is in: the worktree's own part of the git dir.
    pub admin: &'a Path,
    /// The directory of the files; it is there, and there is nothing in it but `.git`.
    pub tree: &'a Path,
    /// A git command in that worktree.
    pub git: &'a (dyn Fn(&[&str]) -> GitCommand + Sync),
    /// What lies beside the tree, where that is known.
    pub beside: Option<&'a Beside<'a>>,
    /// What has git write there whatever is not as the index says; where there is nothing, that something is left is only told.
    pub by_git: Option<&'a [&'a str]>,
    /// Asked again and again: true when nobody wants it any more.
    pub called_off: &'a (dyn Fn() -> bool + Sync),
}

/// What decides beside the tree how files are written.
pub struct Beside<'a> {
    /// What the worktree is told of the configuration.
    pub settings: &'a Settings,
    /// Where the system's attributes are; nothing where nobody wants them.
    pub attributes: Option<PathBuf>,
}

impl<'a> Beside<'a> {
    /// Asks, by a git command on the repository, what the configuration does not say; `None` where git does not say that.
    pub fn ask(settings: &'a Settings, git: GitCommand) -> Option<Beside<'a>> {
        let attributes = system_attributes(git).ok()?;
        Some(Beside { settings, attributes })
    }
}

/// What has git write whatever is not as the index says.
pub const BY_GIT: [&str; 4] = ["reset", "--quiet", "--hard", "--no-recurse-submodules"];

/// The first git that says where attributes are.
const TELLS_ATTRIBUTES: Version = Version(2, 41, 0);

/// Writes the files of a commit.
pub fn fill(place: &Place<'_>, version: Version, commit: &CommitId) -> Result<Fill, FillError> {
    match others_change(place, version).and_then(|others| write(place, commit, others)) {
        Ok(as_stored) => Ok(Fill::Done { as_stored }),
        Err(stop) => stop.into_fill(),
    }
}

/// Why bytes may be written otherwise than they are stored whatever a tree itself says; `None` where they are not.
pub fn beside_the_tree(place: &Place<'_>, version: Version) -> Result<Option<String>, FillError> {
    match others_change(place, version) {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(OTHERS_CHANGE.into())),
        Err(Stop::Git(why)) => Ok(Some(why)),
        Err(stop) => stop.into_fill().map(|_| None),
    }
}

/// What attributes outside the tree may do.
const OTHERS_CHANGE: &str = "attributes outside the tree change files";

/// True when attributes outside the tree may want files to be written otherwise than they are stored; it is git that checks out where there
/// is more beside the tree than is understood here.
fn others_change(place: &Place<'_>, version: Version) -> Result<bool, Stop> {
    refuse_replaced(&open(place.git_dir)?)?;
    if let Some(Beside { attributes, .. }) = place.beside {
        return Ok(others_may_change(place, &terms(place, version)?, attributes.clone()));
    }
    std::thread::scope(|scope| {
        let system = scope.spawn(|| system_attributes((place.git)(&[])));
        let terms = terms(place, version)?;
        let system = system.join().unwrap_or_else(|_| Err(Stop::Git("looking for attributes failed".into())))?;
        Ok(others_may_change(place, &terms, system))
    })
}

/// What the configuration says; it is git that checks out where that is more than is understood here.
fn terms(place: &Place<'_>, version: Version) -> Result<Terms, Stop> {
    if version < TELLS_ATTRIBUTES {
        return Err(Stop::Git("this git does not say where attributes are".into()));
    }
    if let Some(Beside { settings, .. }) = place.beside {
        return decide::terms(settings.records()).map_err(Stop::Git);
    }
    let listed = (place.git)(&["config", "-z", "--list"]).output()?;
    match listed.code() {
        0 => decide::terms(listed.records()).map_err(Stop::Git),
        _ => Err(Stop::Git("the configuration cannot be listed".into())),
    }
}

fn write(place: &Place<'_>, commit: &CommitId, others_change: bool) -> Result<bool, Stop> {
    let _trusting = Trusting::begin();
    if place.by_git.is_none() && others_change {
        return Err(Stop::Git(OTHERS_CHANGE.into()));
    }
    let filler = Filler {
        alone: place.by_git.is_none(),
        libraries: Libraries::of(place.git_dir, None),
        writer: Writer::new(place.tree),
        written: Mutex::default(),
        called_off: place.called_off,
    };
    let tree = filler.libraries.with(|library| Ok(library.find_commit(known(commit)?)?.tree_id()))?;
    let top = top(place.tree)?;
    let first = Piece { within: Arc::new(top), name: None, path: Vec::new(), tree };
    crew::through(first, |piece, more| filler.directory(piece, more))?;
    let Written { mut entries, directories, attributes, left } =
        filler.written.into_inner().unwrap_or_else(PoisonError::into_inner);
    let as_stored = !attributes && !others_change;
    let changing = match as_stored {
        true => BTreeSet::new(),
        false => changing(place, &entries)?,
    };
    // One of which nothing is known is written anew, and only that; git has filters work on several at once where they can.
    let unknown = entries.iter_mut().filter(|entry| changing.contains(&entry.path));
    unknown.for_each(|entry| entry.stat = Stat::default());
    let bytes = index::bytes(Index { entries, directories, more: false });
    let bytes = bytes.ok_or_else(|| Stop::Git("there are too many files".into()))?;
    let aside = place.admin.join("index.filled");
    fs::write_new(&aside, &bytes)?;
    if let Some(by_git) = place.by_git.filter(|_| left || !changing.is_empty()) {
        (place.git)(by_git).env("GIT_INDEX_FILE", &aside).run()?;
    }
    let Err(error) = fs::rename_onto_nothing(&aside, &place.admin.join("index")) else {
        return Ok(as_stored && !left);
    };
    fs::remove_file(&aside)?;
    match error.source.kind() {
        std::io::ErrorKind::AlreadyExists => Err(Stop::Git("somebody else has made an index meanwhile".into())),
        _ => Err(error.into()),
    }
}

pub(super) fn refuse_replaced(library: &Repository) -> Result<(), Stop> {
    match library.references_glob("refs/replace/*")?.next() {
        Some(_) => Err(Stop::Git("objects are replaced".into())),
        None => Ok(()),
    }
}

/// The top of a tree, open.
pub(super) fn top(tree: &Path) -> Result<OwnedFd, Stop> {
    Ok(openat(CWD, tree, DIRECTORY, Mode::empty()).map_err(|errno| fs::at("open", tree)(errno.into()))?)
}

/// Where the system's attributes are; nothing where nobody wants them.
fn system_attributes(git: GitCommand) -> Result<Option<PathBuf>, Stop> {
    let system = git.args(["var", "GIT_ATTR_SYSTEM"]).output()?;
    match system.code() {
        0 => Ok(Some(PathBuf::from(OsStr::from_bytes(system.stdout.trim_ascii_end())))),
        1 => Ok(None),
        _ => Err(Stop::Git("git does not say where the system's attributes are".into())),
    }
}

/// True when attributes outside the tree may want files to be written otherwise than they are stored; those that cannot be read may.
fn others_may_change(place: &Place<'_>, terms: &Terms, system: Option<PathBuf>) -> bool {
    let user = terms.attributes.clone().or_else(|| user_file("attributes"));
    let here = Some(place.git_dir.join("info/attributes"));
    [system, user, here].into_iter().flatten().any(|file| match std::fs::read(file) {
        Ok(text) => decide::may_change(&text),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    })
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
pub(super) struct Trusting;

impl Trusting {
    pub fn begin() -> Trusting {
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

/// After so many files somebody is asked whether they are still wanted.
const ASKED_AFTER: usize = 256;

struct Filler<'a> {
    /// There is no git that could change anything afterwards.
    alone: bool,
    libraries: Libraries<'a>,
    writer: Writer<'a>,
    written: Mutex<Written>,
    called_off: &'a (dyn Fn() -> bool + Sync),
}

impl Filler<'_> {
    fn directory(&self, piece: Piece, more: &mut Vec<Piece>) -> Result<(), Stop> {
        let written = self.libraries.with(|library| self.write(library, piece, more))?;
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
        if self.alone && read.is_empty() && piece.name.is_some() {
            return Err(Stop::Git("a directory is empty".into()));
        }
        let mut written = Written::default();
        for (number, entry) in read.into_iter().enumerate() {
            if number % ASKED_AFTER == 0 && (self.called_off)() {
                return Err(Stop::CalledOff);
            }
            let path = tree::below(&piece.path, entry.name);
            decide::refuse_suspicious(&entry, &path).map_err(Stop::Git)?;
            let id = Oid::from_bytes(entry.id)?;
            if entry.is_directory() {
                let within = Arc::clone(&directory);
                more.push(Piece { within, name: Some(entry.name.to_vec()), path, tree: id });
                continue;
            }
            if entry.name == b".gitattributes" && entry.is_file() {
                written.attributes |= decide::may_change(objects.read(id)?.data());
            }
            if self.alone && written.attributes {
                return Err(Stop::Git(format!("{} changes files", String::from_utf8_lossy(&path))));
            }
            let at = At::new(directory.as_fd(), entry.name, &path);
            let stat = self.writer.entry(&objects, &at, entry.mode, id)?;
            // git gives that out piece by piece.
            written.left |= stat.is_none();
            if self.alone && written.left {
                return Err(Stop::Git(format!("{} is large", String::from_utf8_lossy(&path))));
            }
            let mode = entry.number();
            written.entries.push(Entry { path, mode, id: raw(id), stat: stat.unwrap_or_default() });
        }
        written.directories.push(Directory { path: piece.path, id: raw(piece.tree) });
        Ok(written)
    }

    fn enter(&self, piece: &Piece) -> Result<Arc<OwnedFd>, Stop> {
        let Some(name) = &piece.name else { return Ok(Arc::clone(&piece.within)) };
        Ok(Arc::new(self.writer.directory(&At::new(piece.within.as_fd(), name, &piece.path))?))
    }
}

/// Open repositories, one for each thread that asks for one.
pub(super) struct Libraries<'a> {
    git_dir: &'a Path,
    /// Objects of another repository are read, too.
    also: Option<&'a Path>,
    /// Those that nobody works with at the moment.
    idle: Mutex<Vec<Repository>>,
}

impl<'a> Libraries<'a> {
    pub fn of(git_dir: &'a Path, also: Option<&'a Path>) -> Libraries<'a> {
        Libraries { git_dir, also, idle: Mutex::default() }
    }

    pub fn with<T>(&self, act: impl FnOnce(&Repository) -> Result<T, Stop>) -> Result<T, Stop> {
        let idle = lock(&self.idle).pop();
        let library = idle.map_or_else(|| self.open(), Ok)?;
        let done = act(&library)?;
        lock(&self.idle).push(library);
        Ok(done)
    }

    fn open(&self) -> Result<Repository, git2::Error> {
        let library = open(self.git_dir)?;
        if let Some(also) = self.also {
            library.odb()?.add_disk_alternate(&also.to_string_lossy())?;
        }
        Ok(library)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a panic left is whole: nothing in here panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
