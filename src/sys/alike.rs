//! What is made as open to others as what is around it: in a repository that a group shares, nobody's umask shuts the others out.
//! git does so where `core.sharedRepository` says it; here the directories that it has made tell.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fs::{FsError, at, exists};

/// Makes a directory and those around it, each as open to others as the one that it is made in.
pub fn create_dir_all(path: &Path) -> Result<(), FsError> {
    if exists(path)? {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return super::fs::create_dir_all(path) };
    create_dir_all(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(at("create", path))?,
    }
    let like = fs::metadata(parent).map_err(at("read", parent))?;
    fs::set_permissions(path, like.permissions()).map_err(at("create", path))
}

/// Lets nobody write a file any more, and those read it whom the directory around it says that the repository is shared with.
pub fn set_read_only(path: &Path, directory: &Path) -> Result<(), FsError> {
    let mode = |path: &Path| Ok(fs::metadata(path).map_err(at("read", path))?.permissions().mode());
    let around = mode(directory)?;
    // git sets both where a group writes, and the second where it only reads.
    let shared = if around & 0o2020 != 0 { around & 0o044 } else { 0 };
    let allowed = (mode(path)? & 0o444) | shared;
    fs::set_permissions(path, fs::Permissions::from_mode(allowed)).map_err(at("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_directory_reads_what_is_put_into_it() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        let check = |around: u32, mode: u32, expected: u32| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(around)).expect("set");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            set_read_only(&file, dir.path()).expect("set");
            let now = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
            assert_eq!(now, expected, "{now:o} in {around:o}");
        };
        check(0o755, 0o644, 0o444);
        check(0o755, 0o600, 0o400);
        check(0o770, 0o600, 0o440);
        check(0o2775, 0o600, 0o444);
        check(0o2750, 0o600, 0o440);
    }
}
