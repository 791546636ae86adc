//! The terminal that a person looks at, under a name inside: programs ask what their terminal is called, and open it by that.
//!
//! Nothing is shown but the very device that is a standard stream already; where it has no name here, it gets none inside.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};

use super::mounts;
use crate::confine::policy::Streams;

/// What it is called inside: the numbers of `/dev/pts` there are the sandbox's own.
pub const PLACE: &str = "/dev/console";

/// A detached mount of the terminal among the streams, ready to be put in place; `None` when no stream is one.
pub fn of_streams(streams: Streams) -> io::Result<Option<OwnedFd>> {
    if !matches!(streams, Streams::Inherited | Streams::Narrated) {
        return Ok(None);
    }
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    match streams.into_iter().find(|stream| rustix::termios::isatty(stream)) {
        Some(terminal) => shown(terminal),
        None => Ok(None),
    }
}

/// A mount can be made only of what is reached through the mounts of this namespace, and the stream was opened in another. So the
/// name is looked up, and what was found is taken only when it is the same device.
fn shown(terminal: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let wanted = fstat(terminal)?;
    for name in [name(terminal)?.as_path(), Path::new(PLACE)] {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(found) = openat(CWD, name, flags, Mode::empty()) else { continue };
        if is_same(&wanted, &fstat(&found)?) {
            return mounts::copy_of_open(&found).map(Some);
        }
    }
    Ok(None)
}

fn name(terminal: BorrowedFd<'_>) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", terminal.as_raw_fd()))
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    let identity = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_rdev);
    let is_device = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    is_device(one) && is_device(other) && identity(one) == identity(other)
}
