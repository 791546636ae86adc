//! Small files of the user's, read whole or not at all, and what can be started.
//! For files that no other party has made: links are followed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fs::{FsError, at};

/// The names in a directory, sorted; none where there is no such directory.
pub fn names_in(directory: &Path) -> Result<Vec<OsString>, FsError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at("list", directory))?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<OsString>>>().map_err(at("list", directory))?;
    names.sort();
    Ok(names)
}

/// A whole file; an error for one that is larger than this.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(at("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(at("read", path)(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"))));
    }
    Ok(bytes)
}

/// How a file begins.
pub fn read_start(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(at("read", path))?;
    Ok(bytes)
}

/// True for a file that may be started.
pub fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
