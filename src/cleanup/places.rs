//! Scan: directories and what their absence proves.
//!
//! A place that is not there is empty; one that cannot be read is an error. Follows no links.

use std::path::{Path, PathBuf};

use super::clean::facts::DirFact;
use super::error::Result;
use super::remove::scan::dir_id;
use super::trash;
use crate::sys::fs;
use crate::worktree::Repository;

/// The directories in a directory; none when it is not there.
pub fn directories(parent: &Path) -> Result<Vec<DirFact>> {
    let mut found = Vec::new();
    for path in children(parent)? {
        if let Some(id) = dir_id(&path)? {
            found.push(DirFact { at: trash::changed_at(&path)?, path, id });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// True for what is in the private directory of a run and is no task's.
pub fn is_of_the_run_alone(name: &str) -> bool {
    matches!(name, "base.git" | "base.lock") || name.starts_with("gate-")
}

/// What is in a directory; nothing when it is not there.
pub fn children(parent: &Path) -> Result<Vec<PathBuf>> {
    if !fs::exists(parent)? {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(parent).map_err(fs::at("read", parent))?;
    entries.map(|entry| Ok(entry.map_err(fs::at("read", parent))?.path())).collect()
}

/// Whether the absence of a tree proves anything: the place that would hold it is there and can be read. A place that holds
/// the repository too is certainly mounted.
pub fn disk_there(repo: &Repository, tree: &Path) -> bool {
    let boxed = tree.file_name().is_some_and(|name| name.to_string_lossy() == repo.name);
    let near = if boxed { 2 } else { 1 };
    let readable = |place: &Path| std::fs::read_dir(place).is_ok();
    for (distance, place) in tree.ancestors().skip(1).enumerate() {
        match fs::exists(place) {
            Ok(false) => {}
            Ok(true) => {
                let shared = repo.common_dir.starts_with(place) && place.parent().is_some();
                return readable(place) && (distance < near || shared);
            }
            Err(_) => return false,
        }
    }
    false
}
