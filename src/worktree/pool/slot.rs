//! Scan and apply: one slot on disk. Its name says in whose hands it is: a token alone is ready, one with a process behind it is that
//! process's own. So taking one is one rename, which only one can do.
//!
//! ```text
//! TOKEN[.PID.START.BOOT]/      0700
//!   slot.json                  what it is, and its seal
//!   sealed/                    0000 while nobody has it in hand
//!     tree/                    the files; no `.git`
//!     index                    that goes with them
//! ```
//!
//! The seal. Nobody can enter a directory without rights, and who gives himself the right changes the time of its last change, which nobody
//! can set. That time is on record, so that a directory that has it still was never opened, and what is in it is what was put in.
//! For whoever may enter everywhere (root) that says nothing, nor does it after another boot: then each file is looked at.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::model::{CommitId, Timestamp};
use crate::sys::git::fill::{Looked, verify};
use crate::sys::{fs, proc, random};
use crate::worktree::abandoned;
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::repository::Repository;

/// What is on record of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// What its files are.
    pub commit: CommitId,
    /// When it was made.
    pub made_at: Timestamp,
    /// How many files it has.
    pub files: u64,
    /// How much of the disk it takes.
    pub bytes: u64,
    /// What git calls all of them together.
    pub tree: String,
    /// How open it is: that goes by who made it.
    pub rights: Rights,
    /// The proof that nobody was in it since.
    pub seal: Option<Seal>,
}

/// How open a directory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    mode: u32,
    owner: (u32, u32),
}

/// Which directory it is, and when anything about it was changed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    inode: u64,
    changed: (i64, i64),
    boot: String,
}

/// A slot that is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    directory: PathBuf,
    /// What is on record of it.
    pub record: SlotRecord,
}

/// A slot in our hands; nobody else takes it.
#[derive(Debug)]
pub struct Taken {
    directory: PathBuf,
    /// What is on record of it.
    pub record: SlotRecord,
    /// Seen also from where our process is not.
    _lock: Lock,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const RECORD: &str = "slot.json";
const SEALED: &str = "sealed";

/// Largest record.
const RECORD_MAX: u64 = 1 << 16;

/// Where the slots of a repository are.
pub fn directory(repo: &Repository) -> PathBuf {
    repo.state_dir().join("pool")
}

/// Everything that is a slot, was one or is to be one, by name.
pub fn all(repo: &Repository) -> Result<Vec<PathBuf>> {
    let mut found = abandoned::children(&directory(repo))?;
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

/// In whose hands that is: nobody's where it is ready.
pub fn holder(path: &Path) -> Option<Holder> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A process of another container looks dead from here; that it has the slot locked is seen from everywhere.
    let is_dead = || proc::is_known_dead(abandoned::owner_in(&name).as_ref()) && locked(path).ok().flatten().is_some();
    name.contains('.').then(|| if is_dead() { Holder::Dead } else { Holder::Alive })
}

/// Who has a slot in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that is known to be dead.
    Dead,
    /// Any other.
    Alive,
}

/// Removes one that is ready, or that a dead process had in hand; false where somebody else has it now.
pub fn remove(path: &Path) -> Result<bool> {
    let held = match holder(path) {
        Some(Holder::Alive) => None,
        Some(Holder::Dead) => locked(path)?.map(|lock| (path.to_owned(), lock)),
        None => take(path)?,
    };
    let Some((own, _lock)) = held else { return Ok(false) };
    fs::remove_tree(&own)?;
    Ok(true)
}

/// The lock of a slot. A child that is just being started holds the same file for a moment, so that to close it is not enough.
#[derive(Debug)]
struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "a slot stays locked until its file is closed");
        }
    }
}

/// The lock of a slot, which lasts as long as what it gives; `None` where somebody else has it, or the slot is gone.
fn locked(path: &Path) -> Result<Option<Lock>> {
    let directory = match openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(|errno| fs::at("open", path)(errno.into()))?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => Ok(Some(locked.map(|()| Lock(directory)).map_err(|errno| fs::at("lock", path)(errno.into()))?)),
    }
}

/// Takes one that is ready: locked, then renamed; `None` when somebody else was faster.
fn take(path: &Path) -> Result<Option<(PathBuf, Lock)>> {
    let suffix = abandoned::owner_suffix();
    let Some(lock) = locked(path)?.filter(|_| !suffix.is_empty()) else { return Ok(None) };
    let mut own = path.to_owned().into_os_string();
    own.push(suffix);
    let own = PathBuf::from(own);
    match std::fs::rename(path, &own) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fs::at("move", path)(error).into()),
        Ok(()) => Ok(Some((own, lock))),
    }
}

/// Writes a small file of the pool's: the old one is there until the new one is.
pub(super) fn write_json(path: &Path, content: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(content).map_err(|error| fs::at("write", path)(error.into()))?;
    Ok(fs::write_replaceable(path, &text)?)
}

/// What is on record of a slot; nothing where that cannot be read.
fn record(path: &Path) -> Option<SlotRecord> {
    let bytes = fs::read_beneath(path, Path::new(RECORD), RECORD_MAX).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// The slots that are ready, in the order of their names; one whose record cannot be read has none.
pub fn ready(repo: &Repository) -> Result<Vec<Ready>> {
    let ready = all(repo)?.into_iter().filter(|path| holder(path).is_none());
    Ok(ready.filter_map(|path| Some(Ready { record: record(&path)?, directory: path })).collect())
}

/// Those that nobody has in hand and of which nothing is known: the power went when they were made, say.
pub(super) fn unreadable(repo: &Repository) -> Result<Vec<PathBuf>> {
    Ok(all(repo)?.into_iter().filter(|path| holder(path).is_none() && record(path).is_none()).collect())
}

impl Ready {
    /// Takes it; `None` when somebody else was faster. What it is now is read anew: it may have been brought forward since.
    pub fn take(self) -> Result<Option<Taken>> {
        let Some((directory, lock)) = take(&self.directory)? else { return Ok(None) };
        Ok(match record(&directory) {
            Some(record) => Some(Taken { directory, record, _lock: lock }),
            None => {
                fs::remove_tree(&directory)?;
                None
            }
        })
    }
}

impl Taken {
    /// A new one, with no files yet.
    pub fn new(repo: &Repository, commit: &CommitId, made_at: Timestamp) -> Result<Taken> {
        let token = random::token().map_err(WorktreeError::Random)?;
        let directory = directory(repo).join(abandoned::name(&token));
        fs::create_private_dir_all(&directory)?;
        let gone = || fs::at("lock", &directory)(std::io::Error::other("somebody else has it"));
        let lock = locked(&directory)?.ok_or_else(gone)?;
        let (tree, rights) = (String::new(), Rights::default());
        let record = SlotRecord { commit: commit.clone(), made_at, files: 0, bytes: 0, tree, rights, seal: None };
        let mut taken = Taken { directory, record, _lock: lock };
        fs::create_private_dir(&taken.inside())?;
        // As open as any other worktree: it is one some day.
        let tree = taken.tree();
        std::fs::create_dir(&tree).map_err(fs::at("create", &tree))?;
        taken.record.rights = rights_of(&tree)?;
        Ok(taken)
    }

    /// What is sealed of it; the index is in there.
    pub fn inside(&self) -> PathBuf {
        self.directory.join(SEALED)
    }

    /// Its files.
    pub fn tree(&self) -> PathBuf {
        self.inside().join("tree")
    }

    /// Its index.
    pub fn index(&self) -> PathBuf {
        self.inside().join("index")
    }

    /// Breaks the seal. Why it is no slot any more, where somebody has changed it.
    pub fn open(&mut self) -> Result<Option<String>> {
        let inside = self.inside();
        let unbroken = self.record.seal.take().is_some_and(|seal| seal_of(&inside).is_ok_and(|now| now == seal));
        let is_proof = unbroken && is_closed(&inside);
        let rights = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&inside, rights).map_err(fs::at("open", &inside))?;
        match is_proof {
            true => Ok(None),
            false => match verify(&self.tree(), &self.index())? {
                Looked::Whole { tree, .. } if tree == self.record.tree => Ok(None),
                Looked::Whole { .. } => Ok(Some("it is another tree".into())),
                Looked::Odd(what) => Ok(Some(what)),
            },
        }
    }

    /// Seals it, and makes it ready under a new name: who has read what it was before does not get it.
    pub fn close(mut self) -> Result<()> {
        let inside = self.inside();
        let rights = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(&inside, rights).map_err(fs::at("close", &inside))?;
        self.record.seal = Some(seal_of(&inside)?);
        write_json(&self.directory.join(RECORD), &self.record)?;
        self.give_back()
    }

    /// Gives it back as it was taken, not opened; under a new name, too.
    pub fn give_back(self) -> Result<()> {
        let token = random::token().map_err(WorktreeError::Random)?;
        Ok(fs::rename_onto_nothing(&self.directory, &self.directory.with_file_name(token.as_str()))?)
    }

    /// Leaves it to whoever removes what the dead had in hand, at once. What is left even so is found later.
    pub fn abandon(self) {
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let token = name.split('.').next().unwrap_or_default();
        let nobodys = self.directory.with_file_name(format!("{token}.0.0.discarded"));
        if let Err(error) = fs::rename_onto_nothing(&self.directory, &nobodys) {
            tracing::debug!(%error, "a slot is left");
        }
    }

    /// Removes what is left of it.
    pub fn discard(self) -> Result<()> {
        Ok(fs::remove_tree(&self.directory)?)
    }
}

/// Whose a directory is, and what others may do there.
pub fn rights_of(path: &Path) -> Result<Rights> {
    let meta = std::fs::symlink_metadata(path).map_err(fs::at("look at", path))?;
    Ok(Rights { mode: meta.mode(), owner: (meta.uid(), meta.gid()) })
}

fn seal_of(inside: &Path) -> Result<Seal> {
    let meta = std::fs::symlink_metadata(inside).map_err(fs::at("look at", inside))?;
    Ok(Seal { inode: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()), boot: proc::boot_id() })
}

/// True where a directory without rights keeps us out.
fn is_closed(inside: &Path) -> bool {
    openat(CWD, inside, DIRECTORY, Mode::empty()).is_err_and(|errno| errno == Errno::ACCESS)
}
