//! Sockets that are files: an address has 108 bytes at most, a path may have more.
//!
//! Promises an address that fits for every path whose directory can be opened. Makes and removes nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A path as the address of a socket; good for as long as this lives.
#[derive(Debug)]
pub struct Address {
    _directory: File,
    path: PathBuf,
}

impl Address {
    /// The address of the socket at a path; an error when its directory cannot be opened.
    pub fn of(path: &Path) -> io::Result<Address> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
        let directory = File::open(parent)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Address { _directory: directory, path })
    }

    /// The path to bind or connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// True for what who connects meets where nobody listens any more: no socket, one that was left, or a listener that died with
/// the caller already in its queue.
pub fn is_deserted(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_supervisor_that_died_with_a_client_in_its_queue_is_nobody() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("socket");
        let met = |path: &Path| is_deserted(&UnixStream::connect(path).expect_err("nobody listens"));
        assert!(met(&path), "there is no socket");
        let listener = UnixListener::bind(&path).expect("bound");
        let queued = UnixStream::connect(&path).expect("in the queue");
        drop(listener);
        assert!(met(&path), "it was left");
        // What an asynchronous connect asks for before it says that it is connected.
        let error = queued.take_error().expect("asked").expect("the listener is gone");
        assert!(is_deserted(&error), "{error}");
        assert!(!is_deserted(&io::ErrorKind::PermissionDenied.into()));
    }
}
