//! Waiting until something happens in directories: files that are closed after a write, come, or go.
//!
//! Says only that something did; who waits looks for itself. Where the kernel does not tell (no inotify), the answer comes after
//! a second. Needs a runtime that is entered.

use std::io;
use std::path::Path;

#[cfg(target_os = "linux")]
mod inotify {
    use super::{Path, io};
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use tokio::io::AsyncReadExt;
    use tokio::net::unix::pipe;

    /// Directories that are watched.
    #[derive(Debug)]
    pub struct Watch {
        events: pipe::Receiver,
    }

    impl Watch {
        /// Watches these directories from now on.
        pub fn on(directories: &[&Path]) -> io::Result<Watch> {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let what = WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::ONLYDIR;
            for directory in directories {
                let _watched = inotify::add_watch(&fd, *directory, what)?;
            }
            // An inotify descriptor is read like a pipe; only the question whether it is one is left out.
            Ok(Watch { events: pipe::Receiver::from_owned_fd_unchecked(fd)? })
        }

        /// Waits until something has happened since the last time, or since the watch began.
        pub async fn changed(&mut self) -> io::Result<()> {
            let mut events = [0; 4096];
            let read = self.events.read(&mut events).await?;
            if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        }
    }
}

#[cfg(target_os = "linux")]
pub use inotify::Watch;

/// Directories that are watched.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Watch;

#[cfg(not(target_os = "linux"))]
impl Watch {
    /// Watches these directories from now on.
    pub fn on(directories: &[&Path]) -> io::Result<Watch> {
        directories.iter().try_for_each(|directory| std::fs::metadata(directory).map(drop))?;
        Ok(Watch)
    }

    /// Waits for a second.
    pub async fn changed(&mut self) -> io::Result<()> {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_closed_after_a_write_wakes() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let mut watch = Watch::on(&[dir.path()]).expect("watched");
        std::fs::write(dir.path().join("a"), "x").expect("written");
        watch.changed().await.expect("it happened");
        assert!(Watch::on(&[&dir.path().join("none")]).is_err());
    }
}
