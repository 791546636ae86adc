//! Scan: the results that are kept, what is in each, and whether that is as it was.
//!
//! A result is a directory named after its key and the commit of the workspace that made it, with a list of its files. Nothing of it is
//! changed but the time of the directory, which says when it was last of use; it goes as a whole, out of the way first.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::CommitId;
use crate::sys::{fs, random};
use crate::worktree::abandoned::children;
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::repository::Repository;

/// The list of a result.
pub(super) const LIST: &str = "list";
/// Its files.
pub(super) const FILES: &str = "tree";

/// Where results are.
pub fn place(repo: &Repository) -> PathBuf {
    repo.state_dir().join("outputs")
}

/// A file or a link of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it or what is said of it last changed, in seconds and nanoseconds.
    pub(super) changed: (i64, i64),
    /// The path of the workspace is in it.
    pub(super) moves: bool,
}

/// All of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    /// The tree in which it was made.
    pub(super) tree: PathBuf,
    /// The second in which the newest file there was written before that.
    pub(super) sources: Option<u32>,
    pub(super) files: Vec<Listed>,
}

/// A result that is kept.
pub(super) struct Kept {
    pub(super) place: PathBuf,
    pub(super) key: String,
    pub(super) commit: CommitId,
    /// When it was last of use.
    pub(super) at: SystemTime,
}

/// All of them, what was of use last first.
pub(super) fn kept(repo: &Repository) -> Result<Vec<Kept>> {
    let mut found = Vec::new();
    for place in children(&place(repo))? {
        let name = place.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
        let Some((key, commit)) = name.and_then(|(key, commit)| Some((key.to_owned(), CommitId::parse(commit).ok()?)))
        else {
            continue;
        };
        // One that goes meanwhile is none.
        if let Ok(at) = std::fs::metadata(&place).and_then(|meta| meta.modified()) {
            found.push(Kept { place, key, commit, at });
        }
    }
    found.sort_by_key(|kept| std::cmp::Reverse(kept.at));
    Ok(found)
}

/// The list of one, and the second in which the newest file of it was written; `None` where it is not what it was.
pub(super) fn whole(place: &Path) -> Result<Option<(List, u32)>> {
    let Some(text) = read(&place.join(LIST))? else { return Ok(None) };
    let Ok(list) = serde_json::from_slice::<List>(&text) else { return Ok(None) };
    // Nothing is kept of nothing.
    if list.files.is_empty() {
        return Ok(None);
    }
    let files = place.join(FILES);
    let mut newest = 0;
    for file in &list.files {
        let Ok(now) = std::fs::symlink_metadata(files.join(&file.path)) else { return Ok(None) };
        if (now.len(), now.ctime(), now.ctime_nsec()) != (file.bytes, file.changed.0, file.changed.1) {
            return Ok(None);
        }
        newest = newest.max(u32::try_from(now.mtime()).unwrap_or(0));
    }
    Ok(Some((list, newest)))
}

/// Out of the way at once, so that nobody takes a part of it.
pub(super) fn remove(place: &Path) -> Result<()> {
    if fs::exists(place)? {
        let gone = place.with_file_name(format!("gone-{}", random::token().map_err(WorktreeError::Random)?.short()));
        fs::move_path(place, &gone)?;
        fs::remove_tree(&gone)?;
    }
    Ok(())
}

/// What a file says, where it is there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(fs::at("read", path))?)),
    }
}
