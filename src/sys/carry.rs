//! Bringing files from one directory to another: as shared blocks where the file system can, else as copies.
//!
//! Promises: nothing is reached through a symbolic link on either side, nothing is overwritten, links come as links; mode
//! and modification time of files are kept, or all of them get older by as much. Directories above a file are made with the mode they have at the source, and
//! stay writable for the owner.

use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, fstat, ioctl_ficlone, mkdirat, openat,
    openat2, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::fs::{FsError, at};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carried {
    /// It came along.
    Done {
        /// How long it is.
        bytes: u64,
        /// It shares its blocks with the original.
        reflinked: bool,
    },
    /// It is not there any more, or no file or link.
    Gone,
    /// It cannot be read.
    Unreadable,
    /// Something is at its place, or in the way to it.
    InTheWay,
    /// The caller did not want to go on; a part of it is there.
    Stopped,
}

/// What comes in the place of a file's content or of a link's goal; `None` for what it is.
pub type Change<'a> = dyn Fn(&[u8]) -> Option<Vec<u8>> + 'a;

/// Asked again and again, with the bytes of the file that are there, whether to go on.
pub type GoOn<'a> = dyn FnMut(u64) -> bool + 'a;

/// So many bytes are copied between two questions.
const STEP: u64 = 16 << 20;

/// Two directories between which files are brought.
#[derive(Debug)]
pub struct Carrier {
    from: OwnedFd,
    to: OwnedFd,
    to_path: PathBuf,
    /// The directories that the last file was in: files come in the order of their paths.
    last: Option<(PathBuf, OwnedFd, OwnedFd)>,
    /// The file systems may be able to share blocks.
    can_reflink: bool,
    /// How much older a file gets than the one that it comes from.
    older: Duration,
}

impl Carrier {
    /// Opens both directories.
    pub fn open(from: &Path, to: &Path) -> Result<Carrier, FsError> {
        let open = |path: &Path| openat(rustix::fs::CWD, path, DIRECTORY, Mode::empty());
        Ok(Carrier {
            from: open(from).map_err(|errno| at("open", from)(errno.into()))?,
            to: open(to).map_err(|errno| at("open", to)(errno.into()))?,
            to_path: to.to_owned(),
            last: None,
            can_reflink: true,
            older: Duration::ZERO,
        })
    }

    /// The same, and every file gets older by so much.
    pub fn older(self, older: Duration) -> Carrier {
        Carrier { older, ..self }
    }

    /// Brings one file or link. An error is one of the side where it is written.
    pub fn carry(&mut self, relative: &Path, go_on: &mut GoOn<'_>) -> Result<Carried, FsError> {
        self.bring(relative, None, go_on)
    }

    /// The same, with other content, or another goal; a file is read whole.
    pub fn carry_changed(&mut self, relative: &Path, change: &Change<'_>) -> Result<Carried, FsError> {
        self.bring(relative, Some(change), &mut |_| true)
    }

    fn bring(
        &mut self,
        relative: &Path,
        change: Option<&Change<'_>>,
        go_on: &mut GoOn<'_>,
    ) -> Result<Carried, FsError> {
        let (Some(name), parent) = (relative.file_name(), relative.parent().unwrap_or(Path::new(""))) else {
            return Ok(Carried::Gone);
        };
        if self.last.as_ref().is_none_or(|(last, ..)| last != parent) {
            self.last = None;
            match self.enter(parent)? {
                Ok((source, target)) => self.last = Some((parent.to_owned(), source, target)),
                Err(outcome) => return Ok(outcome),
            }
        }
        let Some((_, source, target)) = &self.last else { return Ok(Carried::Gone) };
        let full = self.to_path.join(relative);
        let stat = match statat(source, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return Ok(unreached(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => carry_link(source, target, name, (&stat, change)).map_err(at("create", &full)),
            FileType::RegularFile => {
                let mut how = How { can_reflink: &mut self.can_reflink, older: self.older, change };
                carry_file(source, target, name, &mut how, go_on).map_err(at("copy to", &full))
            }
            _ => Ok(Carried::Gone),
        }
    }

    /// Opens the directory on both sides, making it on the second.
    fn enter(&self, parent: &Path) -> Result<Result<(OwnedFd, OwnedFd), Carried>, FsError> {
        let (mut source, mut target) = (duplicate(&self.from, parent)?, duplicate(&self.to, parent)?);
        for part in parent.iter() {
            source = match openat2(&source, part, DIRECTORY, Mode::empty(), ResolveFlags::BENEATH) {
                Ok(directory) => directory,
                Err(errno) => return Ok(Err(unreached(errno))),
            };
            target = match open_or_make(&source, &target, part) {
                Ok(directory) => directory,
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Err(Carried::InTheWay)),
                Err(errno) => return Err(at("create", &self.to_path.join(parent))(errno.into())),
            };
        }
        Ok(Ok((source, target)))
    }
}

fn duplicate(directory: &OwnedFd, parent: &Path) -> Result<OwnedFd, FsError> {
    directory.try_clone().map_err(at("open", parent))
}

/// What an error of the side where files are read means.
fn unreached(errno: Errno) -> Carried {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::IO => Carried::Unreadable,
        _ => Carried::Gone,
    }
}

fn open_or_make(source: &OwnedFd, target: &OwnedFd, part: &OsStr) -> Result<OwnedFd, Errno> {
    let open = || openat2(target, part, DIRECTORY, Mode::empty(), ResolveFlags::BENEATH);
    match open() {
        Err(Errno::NOENT) => {
            let mode = Mode::from_raw_mode(fstat(source)?.st_mode & 0o777) | Mode::RWXU;
            match mkdirat(target, part, mode) {
                // Somebody else who brings files here was first.
                Err(Errno::EXIST) => return open(),
                other => other?,
            }
            // The umask had its say in the line above.
            rustix::fs::chmodat(target, part, mode, AtFlags::empty())?;
            open()
        }
        other => other,
    }
}

fn carry_link(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &OsStr,
    (stat, change): (&Stat, Option<&Change<'_>>),
) -> io::Result<Carried> {
    let goal = match readlinkat(source, name, Vec::new()) {
        Ok(goal) => goal,
        Err(errno) => return Ok(unreached(errno)),
    };
    let goal = change.and_then(|change| change(goal.as_bytes())).unwrap_or_else(|| goal.into_bytes());
    match symlinkat(OsStr::from_bytes(&goal), target, name) {
        Err(Errno::EXIST) => return Ok(Carried::InTheWay),
        other => other?,
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let modified = time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    let times = Timestamps { last_access: modified, last_modification: modified };
    utimensat(target, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Carried::Done { bytes: 0, reflinked: false })
}

/// How a file is brought.
struct How<'a> {
    can_reflink: &'a mut bool,
    older: Duration,
    change: Option<&'a Change<'a>>,
}

fn carry_file(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &OsStr,
    how: &mut How<'_>,
    go_on: &mut GoOn<'_>,
) -> io::Result<Carried> {
    // Not blocking: between the look and this moment it could have become a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let original = match openat(source, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(errno) => return Ok(unreached(errno)),
    };
    let meta = original.metadata()?;
    if !meta.is_file() {
        return Ok(Carried::Gone);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = match openat(target, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::EXIST) => return Ok(Carried::InTheWay),
        Err(errno) => return Err(errno.into()),
    };
    let reflinked = match how.change.map(|change| changed(&original, change)).transpose()?.flatten() {
        Some(content) => (&copy).write_all(&content).map(|()| false)?,
        None if *how.can_reflink && reflink(&original, &copy, how.can_reflink)? => true,
        None if copy_in_steps(&original, &copy, go_on)? => false,
        None => return Ok(Carried::Stopped),
    };
    copy.set_permissions(Permissions::from_mode(meta.mode() & 0o777))?;
    let modified = meta.modified()?;
    let modified = modified.checked_sub(how.older).unwrap_or(modified);
    copy.set_times(FileTimes::new().set_modified(modified).set_accessed(meta.accessed()?))?;
    Ok(Carried::Done { bytes: meta.len(), reflinked })
}

fn changed(original: &File, change: &Change<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    (&*original).read_to_end(&mut content)?;
    let changed = change(&content);
    (&*original).rewind()?;
    Ok(changed)
}

/// Copies up to the end; false when the caller did not want to go on.
fn copy_in_steps(original: &File, copy: &File, go_on: &mut GoOn<'_>) -> io::Result<bool> {
    let mut bytes = 0;
    loop {
        let step = io::copy(&mut original.take(STEP), &mut &*copy)?;
        bytes += step;
        if step < STEP {
            return Ok(true);
        }
        if !go_on(bytes) {
            return Ok(false);
        }
    }
}

/// Lets the copy share the blocks of the original; false where that cannot be.
fn reflink(original: &impl AsFd, copy: &impl AsFd, can_reflink: &mut bool) -> io::Result<bool> {
    match ioctl_ficlone(copy, original) {
        Ok(()) => Ok(true),
        // Of this one file not: it is a swap file, or its blocks are of another kind.
        Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM) => Ok(false),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS | Errno::BADF) => {
            *can_reflink = false;
            Ok(false)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a temp dir");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).expect("dirs");
        fs::create_dir(&to).expect("a dir");
        (dir, from, to)
    }

    #[test]
    fn content_mode_time_and_links_are_kept() {
        let (_dir, from, to) = two();
        fs::write(from.join("a/b/tool"), "x".repeat(100_000)).expect("write");
        fs::set_permissions(from.join("a/b/tool"), Permissions::from_mode(0o750)).expect("chmod");
        fs::set_permissions(from.join("a"), Permissions::from_mode(0o750)).expect("chmod");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
        let file = File::options().write(true).open(from.join("a/b/tool")).expect("open");
        file.set_times(FileTimes::new().set_modified(long_ago)).expect("times");
        symlink("../../outside", from.join("a/link")).expect("link");
        let mut carrier = Carrier::open(&from, &to).expect("open");
        let done = carrier.carry(Path::new("a/b/tool"), &mut |_| true).expect("carried");
        assert!(matches!(done, Carried::Done { bytes: 100_000, .. }), "{done:?}");
        carrier.carry(Path::new("a/link"), &mut |_| true).expect("carried");
        let meta = fs::metadata(to.join("a/b/tool")).expect("there");
        assert_eq!((meta.mode() & 0o7777, meta.modified().expect("a time")), (0o750, long_ago));
        assert_eq!(fs::metadata(to.join("a")).expect("there").mode() & 0o7777, 0o750);
        assert_eq!(fs::read(to.join("a/b/tool")).expect("read"), fs::read(from.join("a/b/tool")).expect("read"));
        assert_eq!(fs::read_link(to.join("a/link")).expect("a link"), Path::new("../../outside"));
    }

    #[test]
    fn nothing_is_overwritten_or_reached_through_a_link() {
        let (dir, from, to) = two();
        let other = dir.path().join("other");
        fs::create_dir(&other).expect("a dir");
        for path in ["kept", "a/b/f", "c"] {
            fs::write(from.join(path), "new").expect("write");
        }
        fs::write(to.join("kept"), "old").expect("write");
        fs::write(other.join("f"), "secret").expect("write");
        symlink(&other, to.join("a")).expect("link");
        symlink(&other, from.join("d")).expect("link");
        fs::write(to.join("c2"), "").expect("write");
        fs::create_dir(from.join("c2")).expect("a dir");
        fs::write(from.join("c2/f"), "").expect("write");
        let mut carrier = Carrier::open(&from, &to).expect("open");
        let mut check = |path: &str, expected: Carried| {
            assert_eq!(carrier.carry(Path::new(path), &mut |_| true).expect("carried"), expected, "{path}");
        };
        check("kept", Carried::InTheWay);
        check("a/b/f", Carried::InTheWay);
        check("c2/f", Carried::InTheWay);
        check("d/f", Carried::Gone);
        check("../other/f", Carried::Gone);
        check("missing", Carried::Gone);
        check("a", Carried::Gone);
        assert_eq!(fs::read_to_string(to.join("kept")).expect("read"), "old");
        assert_eq!(fs::read_dir(&other).expect("read").count(), 1, "a file was written through a link");
    }

    #[test]
    fn a_large_file_can_be_stopped_in_the_middle() {
        let (_dir, from, to) = two();
        let large = 2 * STEP + 5;
        File::create(from.join("large")).and_then(|file| file.set_len(large)).expect("written");
        let mut carrier = Carrier::open(&from, &to).expect("open");
        carrier.can_reflink = false;
        let mut asked = Vec::new();
        let mut once = |bytes| {
            asked.push(bytes);
            asked.len() < 2
        };
        assert_eq!(carrier.carry(Path::new("large"), &mut once).expect("carried"), Carried::Stopped);
        assert_eq!(asked, [STEP, 2 * STEP]);
        fs::remove_file(to.join("large")).expect("removed");
        let done = carrier.carry(Path::new("large"), &mut |_| true).expect("carried");
        assert_eq!(done, Carried::Done { bytes: large, reflinked: false });
        assert_eq!(fs::metadata(to.join("large")).expect("there").len(), large);
    }
}
