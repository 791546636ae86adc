//! Apply: one file, link or directory, beneath an open directory. What is there already is never written over.
//!
//! Their times lie before everything else: git compares whole seconds, and would have to read what was written in the second of
//! the index itself. What is trusted for that has to be told apart by something else: files of one size have different seconds, so
//! that one in the place of another, with its time (`cp -p`, `mv`), is seen even at once.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use git2::{Odb, Oid};
use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fstat, futimens, mkdirat, openat, statat, symlinkat,
};

use super::index::Stat;
use super::outcome::Stop;
use crate::sys::git::tree::{EXECUTABLE, LINK, SUBMODULE};
use crate::sys::{clock, fs};

/// What is larger is git's, which does not hold it in memory.
const LARGE: usize = 64 << 20;

/// Files are told apart by their size up to this many.
const SIZES: usize = 4096;

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where one file is to be.
pub(super) struct At<'a> {
    pub directory: BorrowedFd<'a>,
    pub name: &'a OsStr,
    /// From the top.
    pub path: &'a [u8],
}

impl<'a> At<'a> {
    pub fn new(directory: BorrowedFd<'a>, name: &'a [u8], path: &'a [u8]) -> At<'a> {
        At { directory, name: OsStr::from_bytes(name), path }
    }
}

/// Who writes them.
pub(super) struct Writer<'a> {
    tree: &'a Path,
    /// The second in which the first is written.
    began: i64,
    /// How many there are already of a size.
    of_size: Vec<AtomicU16>,
}

impl<'a> Writer<'a> {
    pub fn new(tree: &'a Path) -> Writer<'a> {
        let of_size = std::iter::repeat_with(AtomicU16::default).take(SIZES).collect();
        Writer { tree, began: clock::now().0 / 1000, of_size }
    }

    /// Whatever a commit has at a place, but a directory; `None` where it is too large for this.
    pub fn entry(&self, objects: &Odb<'_>, at: &At<'_>, mode: &[u8], id: Oid) -> Result<Option<Stat>, Stop> {
        let stat = match mode {
            SUBMODULE => self.submodule(at)?,
            _ if self.is_large(objects, id)? => return Ok(None),
            LINK => self.link(at, objects.read(id)?.data())?,
            mode => self.file(at, objects.read(id)?.data(), mode == EXECUTABLE)?,
        };
        Ok(Some(stat))
    }

    /// True for what git gives out piece by piece.
    pub fn is_large(&self, objects: &Odb<'_>, id: Oid) -> Result<bool, Stop> {
        Ok(objects.read_header(id)?.0 > LARGE)
    }

    /// A directory, empty and open.
    pub fn directory(&self, at: &At<'_>) -> Result<OwnedFd, Stop> {
        self.made(at, mkdirat(at.directory, at.name, Mode::from_raw_mode(0o777)))?;
        self.made(at, openat(at.directory, at.name, DIRECTORY, Mode::empty()))
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

    pub fn made<T>(&self, at: &At<'_>, result: rustix::io::Result<T>) -> Result<T, Stop> {
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

pub(super) fn raw(id: Oid) -> [u8; 20] {
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
pub(super) fn stat(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        changed: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
        modified: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
        place: (stat.st_dev as u32, stat.st_ino as u32),
        owner: (stat.st_uid, stat.st_gid),
        size: stat.st_size as u32,
    }
}
