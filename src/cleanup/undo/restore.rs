//! Apply: puts back what a removal took, item by item; checks everything first when asked to.
//!
//! Nothing that is there is ever overwritten. Putting back is idempotent: what is back already is passed over, so that it
//! can be repeated after a crash.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::print::{is_git_dir, print};
use super::{refs_back, refs_together, remote_back};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::remove::scan::linked_git_dir;
use crate::cleanup::{traces, trash};
use crate::model::cause::chain;
use crate::model::operation::{PutBack, PutBackDirectory, RemovedItem};
use crate::store::Store;
use crate::sys::fs;
use crate::worktree::checkouts::{self, Checkout};
use crate::worktree::repository::bytes_path;
use crate::worktree::sealed::{link_line, remove_if_empty};
use crate::worktree::{Repository, submodules};

/// Everything that keeps these items from coming back, in sentences; empty means that all of them can.
/// With `resumed`, what is back already is fine.
pub fn obstacles(repo: &Repository, store: &Store, items: &[RemovedItem], resumed: bool) -> Result<Vec<String>> {
    let mut found = refs_back::obstacles(repo, items)?;
    found.extend(remote_back::obstacles(repo, items)?);
    for item in items {
        match item {
            RemovedItem::Directory { from, trash } => found.extend(directory_obstacle(repo, from, trash, resumed)?),
            RemovedItem::Ref { .. } | RemovedItem::RemoteBranch { .. } => {}
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
        (true, true) if may_be_renumbered(repo, from) => None,
        (true, _) => Some(format!("{} is there again", from.display())),
        (false, false) => Some(format!("what was in {} is no longer in the trash", from.display())),
    })
}

/// The git dir of a plain worktree may come back under another name, for git gives freed names to new worktrees.
fn may_be_renumbered(repo: &Repository, from: &Path) -> bool {
    let entry = from.parent() == Some(repo.common_dir.join("worktrees").as_path());
    let ours = from.file_name().is_some_and(|name| name.to_string_lossy().starts_with("treehand-"));
    entry && !ours
}

/// Directories that came back under another name: where each was, and where it is.
pub type Renamed = Vec<(PathBuf, PathBuf)>;

/// True when something of these is still in the trash.
pub fn is_trashed(items: &[RemovedItem]) -> Result<bool> {
    for item in items {
        if let RemovedItem::Directory { trash, .. } = item
            && fs::exists(trash)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts back what can be put back; what is back already, or has something else in its place, is left.
pub fn put_back(repo: &Repository, store: &Store, items: &[RemovedItem]) -> Result<Renamed> {
    // First, for it is what may fail.
    remote_back::put_back(repo, items)?;
    let made = refs_together::make_again(repo, items)?;
    let mut renumbered = Vec::new();
    // The last that went comes back first: it may be around one that went before it.
    for item in items.iter().rev() {
        match item {
            RemovedItem::Ref { name, .. } if made.contains(name.as_str()) => {}
            RemovedItem::Ref { name, commit, traces, .. } => traces::put_back(repo, name, commit, traces.as_deref())?,
            RemovedItem::Directory { from, trash } => {
                let renamed = put_directory(repo, from, trash)?;
                renumbered.extend(renamed.map(|to| (from.clone(), to)));
            }
            RemovedItem::RemoteBranch { .. } | RemovedItem::Workspace { .. } | RemovedItem::TaskWorkspace { .. } => {}
        }
    }
    for (_, git_dir) in &renumbered {
        relink(repo, git_dir)?;
    }
    relink_strays(repo, items)?;
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
            RemovedItem::Directory { .. } | RemovedItem::Ref { .. } | RemovedItem::RemoteBranch { .. } => {}
        }
    }
    Ok(renumbered)
}

/// Links the trees again that a process which died had given a git dir under another name: each to the one that names it.
fn relink_strays(repo: &Repository, items: &[RemovedItem]) -> Result<()> {
    let checkouts = checkouts::scan(repo)?;
    for tree in items.iter().filter_map(directory) {
        let naming: Vec<&Checkout> = checkouts.iter().filter(|checkout| checkout.tree.as_ref() == Some(tree)).collect();
        if let ([only], Some(linked)) = (&naming[..], linked_git_dir(tree)?)
            && linked != only.git_dir
        {
            relink(repo, &only.git_dir)?;
        }
    }
    Ok(())
}

/// What came back, for a redo to know it again. What cannot be told is left out, and then no redo removes it.
pub fn look(repo: &Repository, items: &[RemovedItem], renamed: &Renamed) -> Result<PutBack> {
    let places: Vec<&PathBuf> = items.iter().filter_map(directory).collect();
    let checkouts = checkouts::scan(repo)?;
    let mut directories = Vec::new();
    for from in &places {
        let renamed = renamed.iter().find(|(was, _)| was == *from).map(|(_, at)| at);
        if let Some(at) = renamed.or_else(|| place_of(repo, from, &places, &checkouts)) {
            let print = print(repo, at);
            let print = print.inspect_err(|error| tracing::warn!("what came back is unreadable: {}", chain(error)));
            directories.push(PutBackDirectory { from: (*from).clone(), at: at.clone(), print: print.ok() });
        }
    }
    Ok(PutBack { branch_gone: false, directories })
}

fn directory(item: &RemovedItem) -> Option<&PathBuf> {
    match item {
        RemovedItem::Directory { from, .. } => Some(from),
        _ => None,
    }
}

/// Where a directory is that another process put back: its own place, unless that is the git dir of another worktree.
fn place_of<'a>(
    repo: &Repository,
    from: &'a PathBuf,
    places: &[&PathBuf],
    checkouts: &'a [Checkout],
) -> Option<&'a PathBuf> {
    let ours = |checkout: &&Checkout| checkout.tree.as_ref().is_some_and(|tree| places.contains(&tree));
    let there = |checkout: &&Checkout| checkout.tree.as_deref().is_some_and(Path::is_dir);
    let own = checkouts.iter().find(|checkout| checkout.git_dir == *from);
    if !is_git_dir(repo, from) || own.is_none_or(|own| ours(&own) || !there(&own)) {
        return Some(from);
    }
    let mut moved = checkouts.iter().filter(ours).filter(|checkout| !places.contains(&&checkout.git_dir));
    match (moved.next(), moved.next()) {
        (Some(only), None) => Some(&only.git_dir),
        _ => None,
    }
}

/// Moves a directory back; the answer is its new name when its own was taken.
fn put_directory(repo: &Repository, from: &Path, trash: &Path) -> Result<Option<PathBuf>> {
    if !fs::exists(trash)? {
        return Ok(None);
    }
    let taken = fs::exists(from)?;
    if taken && !may_be_renumbered(repo, from) {
        return Ok(None);
    }
    let target = if taken { free_name(from)? } else { from.to_owned() };
    fs::move_path_within(trash, &target)?;
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

/// Lets the worktree's `.git` file name its git dir again. Last, for it says that the rest is done: its submodules.
fn relink(repo: &Repository, git_dir: &Path) -> Result<()> {
    submodules::relink(repo, git_dir)?;
    let back = git_dir.join("gitdir");
    let text = std::fs::read(&back).map_err(fs::at("read", &back))?;
    let link = git_dir.join(bytes_path(text.trim_ascii_end()));
    if fs::exists(&link)? {
        fs::write_atomic(&link, &link_line(git_dir))?;
    }
    Ok(())
}
