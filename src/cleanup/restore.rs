//! Apply: puts back what a removal took, item by item; checks everything first when asked to.
//!
//! Nothing that is there is ever overwritten. Putting back is idempotent: what is back already is passed over, so that it
//! can be repeated after a crash.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::{CleanupError, Result};
use super::trash;
use crate::model::record::RemovedItem;
use crate::store::Store;
use crate::sys::fs;
use crate::worktree::Repository;
use crate::worktree::import::update_ref;
use crate::worktree::repository::bytes_path;
use crate::worktree::sealed::remove_if_empty;

/// Everything that keeps these items from coming back, in sentences; empty means that all of them can.
/// With `resumed`, what is back already is fine.
pub fn obstacles(repo: &Repository, store: &Store, items: &[RemovedItem], resumed: bool) -> Result<Vec<String>> {
    let reader = repo.reader();
    let mut found = Vec::new();
    for item in items {
        match item {
            RemovedItem::Directory { from, trash } => found.extend(directory_obstacle(repo, from, trash, resumed)?),
            RemovedItem::Ref { name, commit } => match reader.ref_commit(name)? {
                Some(now) if now != *commit => found.push(format!("{name} is there again, at {}", now.short())),
                None if !reader.has_commit(commit)? => {
                    found.push(format!("the commit {} of {name} is gone", commit.short()));
                }
                _ => {}
            },
            RemovedItem::Workspace { record } => {
                if store.workspace(&record.name)?.is_some_and(|now| now.lease != record.lease) {
                    found.push(format!("there is another workspace `{}` now", record.name));
                }
            }
            RemovedItem::TaskWorkspace { .. } => {}
        }
    }
    Ok(found)
}

fn directory_obstacle(repo: &Repository, from: &Path, trash: &Path, resumed: bool) -> Result<Option<String>> {
    let (occupied, kept) = (fs::exists(from)?, fs::exists(trash)?);
    Ok(match (occupied, kept) {
        (false, true) => None,
        (true, false) if resumed => None,
        (true, true) if may_be_renumbered(repo, from, trash)? => None,
        (true, _) => Some(format!("{} is there again", from.display())),
        (false, false) => Some(format!("what was in {} is no longer in the trash", from.display())),
    })
}

/// The git dir of a plain worktree may come back under another name, for git gives freed names to new worktrees.
fn may_be_renumbered(repo: &Repository, from: &Path, trash: &Path) -> Result<bool> {
    let entry = from.parent() == Some(repo.common_dir.join("worktrees").as_path());
    let ours = from.file_name().is_some_and(|name| name.to_string_lossy().starts_with("treehand-"));
    Ok(entry && !ours && !fs::exists(&trash.join("modules"))?)
}

/// Puts back what can be put back; what is back already, or has something else in its place, is left.
pub fn put_back(repo: &Repository, store: &Store, items: &[RemovedItem]) -> Result<()> {
    let mut renumbered = Vec::new();
    // The last that went comes back first: it may be around one that went before it.
    for item in items.iter().rev() {
        match item {
            RemovedItem::Ref { name, commit } => {
                if repo.reader().ref_commit(name)?.is_none() {
                    update_ref(repo, name, Some(commit), None, "treehand: put back")?;
                }
            }
            RemovedItem::Directory { from, trash } => renumbered.extend(put_directory(repo, from, trash)?),
            RemovedItem::Workspace { .. } | RemovedItem::TaskWorkspace { .. } => {}
        }
    }
    for git_dir in renumbered {
        relink(&git_dir)?;
    }
    // Last of all, so that a workspace is known only when it is whole again.
    for item in items {
        match item {
            RemovedItem::Workspace { record } => {
                if store.workspace(&record.name)?.is_none_or(|now| now.lease == record.lease) {
                    store.put_workspace("workspace.restored", record)?;
                }
            }
            RemovedItem::TaskWorkspace { run, task, path } => {
                let data = json!({"path": path});
                store.edit_task(run, task, "workspace.restored", data, |task| task.workspace = Some(path.clone()))?;
            }
            RemovedItem::Directory { .. } | RemovedItem::Ref { .. } => {}
        }
    }
    Ok(())
}

/// Moves a directory back; the answer is its new name when its own was taken.
fn put_directory(repo: &Repository, from: &Path, trash: &Path) -> Result<Option<PathBuf>> {
    if !fs::exists(trash)? {
        return Ok(None);
    }
    let taken = fs::exists(from)?;
    if taken && !may_be_renumbered(repo, from, trash)? {
        return Ok(None);
    }
    let target = if taken { free_name(from)? } else { from.to_owned() };
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::move_path(trash, &target)?;
    drop_place(trash);
    Ok(taken.then_some(target))
}

/// Removes the trash directories around what was taken out, as far as they are empty and ours.
fn drop_place(trash: &Path) {
    let Some(place) = trash.parent() else { return };
    remove_if_empty(Some(place));
    if place.parent().is_some_and(|beside| beside.ends_with(trash::BESIDE)) {
        remove_if_empty(place.parent());
    }
}

fn free_name(from: &Path) -> Result<PathBuf> {
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for n in 1..10_000u32 {
        let candidate = from.with_file_name(format!("{name}{n}"));
        if !fs::exists(&candidate)? {
            return Ok(candidate);
        }
    }
    Err(CleanupError::refused(format!("no name is free beside {}", from.display()), "see `git worktree prune`"))
}

/// Lets the worktree's `.git` file name its git dir again.
fn relink(git_dir: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let back = git_dir.join("gitdir");
    let text = std::fs::read(&back).map_err(fs::at("read", &back))?;
    let link = git_dir.join(bytes_path(text.trim_ascii_end()));
    if fs::exists(&link)? {
        let mut line = b"gitdir: ".to_vec();
        line.extend_from_slice(git_dir.as_os_str().as_bytes());
        line.push(b'\n');
        fs::write_atomic(&link, &line)?;
    }
    Ok(())
}
