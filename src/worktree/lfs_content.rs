//! Content of LFS files that the processes of a sealed workspace took in: it is kept in the private git dir, and comes into the
//! repository's storage with the capture.
//!
//! Promises: a file becomes what its bytes say, never what a task called it: LFS itself takes it in again, in the sandbox of the
//! capture. What is there already is not looked at. What is no plain file is passed over.

use std::path::Path;

use super::conversion::{self, LFS_IN_PRIVATE};
use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// Takes in what is in this private git dir. `git` works in the scratch git dir of the capture, whose settings name the
/// repository's storage.
pub fn take(repo: &Repository, private: &Path, scratch: &Path, git: impl Fn(&[&str]) -> GitCommand) -> Result<()> {
    if !fs::is_directory_beneath(private, Path::new(LFS_IN_PRIVATE))? {
        return Ok(());
    }
    let Some(storage) = conversion::lfs(repo)? else { return Ok(()) };
    let root = private.join(LFS_IN_PRIVATE).join("objects");
    let attributes = scratch.join("lfs-attributes");
    fs::write_atomic(&attributes, b"* filter=lfs\n")?;
    let attributes = format!("core.attributesFile={}", attributes.display());
    for entry in walkdir::WalkDir::new(&root).min_depth(3).max_depth(3).follow_links(false) {
        // Nothing was taken in, or what is there cannot be looked at: then it is nobody's content.
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_content = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_content || !entry.file_type().is_file() {
            continue;
        }
        if storage.join("objects").join(&name[..2]).join(&name[2..4]).join(&name).is_file() {
            continue;
        }
        let taken = git(&["-c", &attributes, "hash-object", "--path=content"]).arg(entry.path()).run();
        taken.map_err(|error| {
            let message = format!("LFS cannot take in what the workspace holds: {error}");
            WorktreeError::BadResult { message, paths: Vec::new() }
        })?;
    }
    Ok(())
}
