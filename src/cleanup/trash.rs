//! The trash: what is removed is renamed into it first, and deleted when its retention has ended.
//!
//! A directory of the trash is named after the moment it was made, so its age needs no other record.

use std::path::{Path, PathBuf};

use super::error::Result;
use crate::model::Timestamp;
use crate::model::record::RemovedItem;
use crate::sys::{clock, fs, random};
use crate::worktree::{Repository, WorktreeError};

/// One place in the trash, for one operation.
#[derive(Debug)]
pub struct Bin {
    dir: PathBuf,
    count: usize,
}

impl Bin {
    /// Makes a place.
    pub fn open(repo: &Repository) -> Result<Bin> {
        let token = random::token().map_err(WorktreeError::Random)?;
        let dir = repo.state_dir().join("trash").join(format!("{}-{}", clock::now().0, token.short()));
        fs::create_private_dir_all(&dir)?;
        Ok(Bin { dir, count: 0 })
    }

    /// Moves a file or directory in, and says what it takes to bring it back.
    pub fn take(&mut self, from: &Path) -> Result<RemovedItem> {
        self.count += 1;
        let trash = self.dir.join(self.count.to_string());
        fs::move_path(from, &trash)?;
        Ok(RemovedItem::Directory { from: from.to_owned(), trash })
    }
}

/// Places in the trash with the moment they were made.
pub fn bins(repo: &Repository) -> Result<Vec<(PathBuf, Timestamp)>> {
    let root = repo.state_dir().join("trash");
    let mut found = Vec::new();
    if !fs::exists(&root)? {
        return Ok(found);
    }
    for entry in std::fs::read_dir(&root).map_err(fs::at("read", &root))? {
        let path = entry.map_err(fs::at("read", &root))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let made = name.split_once('-').and_then(|(millis, _)| millis.parse().ok()).map(Timestamp);
        found.extend(made.map(|made| (path, made)));
    }
    Ok(found)
}
