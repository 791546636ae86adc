//! Waiting until something happens in directories: files that are closed after a write, come, or go.
//!
//! Says only where something did; who waits looks for itself. A user has few of these (128 by default), so that one serves many
//! directories; where there is none to be had, or the system has no such thing, that is an error for which the caller has a
//! timer. Needs a runtime that is entered.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::unix::pipe;

/// A directory that is watched, for as long as the watcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watched(i32);

/// Watches directories.
#[derive(Debug)]
pub struct Watcher {
    // Elsewhere than on Linux nobody has one.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is none"))]
    fd: OwnedFd,
}

/// What happens in the directories of a watcher.
#[derive(Debug)]
pub struct Events {
    events: pipe::Receiver,
}

/// Begins to watch; nothing at first.
#[cfg(target_os = "linux")]
pub fn begin() -> io::Result<(Watcher, Events)> {
    use rustix::fs::inotify::{CreateFlags, init};
    let fd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    // It is read like a pipe; only the question whether it is one is left out.
    let events = pipe::Receiver::from_owned_fd_unchecked(fd.try_clone()?)?;
    Ok((Watcher { fd }, Events { events }))
}

/// There is nothing that would tell.
#[cfg(not(target_os = "linux"))]
pub fn begin() -> io::Result<(Watcher, Events)> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Watcher {
    /// Watches a directory from now on.
    #[cfg(target_os = "linux")]
    pub fn add(&self, directory: &Path) -> io::Result<Watched> {
        use rustix::fs::inotify::{WatchFlags, add_watch};
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        Ok(Watched(add_watch(&self.fd, directory, what)?))
    }

    /// Watches it no longer; one that is gone needs no more.
    #[cfg(target_os = "linux")]
    pub fn remove(&self, watched: Watched) {
        if let Err(error) = rustix::fs::inotify::remove_watch(&self.fd, watched.0) {
            tracing::debug!(%error, "a directory that was watched is gone");
        }
    }

    /// Watches nothing.
    #[cfg(not(target_os = "linux"))]
    pub fn add(&self, _directory: &Path) -> io::Result<Watched> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Watched nothing.
    #[cfg(not(target_os = "linux"))]
    pub fn remove(&self, _watched: Watched) {}
}

impl Events {
    /// Where something has happened since the last time.
    pub async fn next(&mut self) -> io::Result<Vec<Watched>> {
        use tokio::io::AsyncReadExt;
        let mut events = [0; 4096];
        let read = self.events.read(&mut events).await?;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(places_in(&events[..read])) }
    }
}

/// The directories in what the kernel says: after each one's number come twelve bytes, the last four of which are the length of a
/// name that follows (inotify(7)).
fn places_in(mut events: &[u8]) -> Vec<Watched> {
    let mut places = Vec::new();
    while let Some((head, rest)) = events.split_first_chunk::<16>() {
        let number = |at: usize| head[at..].first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        places.push(Watched(number(0)));
        events = rest.get(usize::try_from(number(12)).unwrap_or(usize::MAX)..).unwrap_or_default();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_closed_after_a_write_is_told_with_its_directory() {
        let (one, other) = (tempfile::tempdir().expect("a temp dir"), tempfile::tempdir().expect("a temp dir"));
        let (watcher, mut events) = begin().expect("one is to be had");
        let watched = [one.path(), other.path()].map(|directory| watcher.add(directory).expect("watched"));
        std::fs::write(other.path().join("a-name-of-some-length"), "x").expect("written");
        let told = events.next().await.expect("it happened");
        assert!(!told.is_empty() && told.iter().all(|place| *place == watched[1]), "{told:?}");
        watcher.remove(watched[1]);
        std::fs::write(one.path().join("b"), "x").expect("written");
        assert!(events.next().await.expect("it happened").contains(&watched[0]));
        assert!(watcher.add(&one.path().join("none")).is_err());
    }
}
