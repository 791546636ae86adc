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
