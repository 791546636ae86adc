//! A repository that was moved, or copied, after workspaces were made: told by the place it was last used at, and mended on
//! request.
//!
//! A workspace is where it was, or where it is now if it moved along; its links, its record and what `undo` needs are brought
//! up to that. Of a copy nothing of the original's is touched: it gets an id of its own and forgets what is not in it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::Result;
use super::place::{self, Place};
use super::plain::named_sealed;
use super::repository::{Repository, SIGN, bytes_path};
use super::sealed::{SealedPaths, link_line, path_line};
use super::store_place;
use crate::model::record::{RemovedItem, UndoData, WorkspaceRecord};
use crate::store::Store;
use crate::sys::fs;

/// Parts a copy from the original's store, where that lies outside both; to be done before a store is opened.
pub fn part(repo: &Repository) -> Result<Option<String>> {
    let Place::CopyOf(original) = place::place(&repo.common_dir)? else { return Ok(None) };
    if !store_place::disown(repo)? {
        return Ok(None);
    }
    renew_id(repo)?;
    place::settle(&repo.common_dir)?;
    Ok(Some(format!("this copy of {} has a store and an id of its own", original.display())))
}

fn renew_id(repo: &Repository) -> Result<()> {
    fs::remove_file(&repo.state_dir().join("id"))?;
    repo.id()?;
    Ok(())
}

/// Mends what a move broke; what was done, in sentences. Repeating it changes nothing.
pub fn repair(repo: &Repository, store: &Store, template: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    match place::place(&repo.common_dir)? {
        Place::Same => return Ok(done),
        Place::CopyOf(original) => make_own(repo, store, &original, &mut done)?,
        Place::MovedFrom(before) => {
            let shift = Shift { before: top(&before), now: top(&repo.common_dir) };
            for record in store.workspaces()? {
                match if record.sealed {
                    sealed(repo, store, &record, template, &shift)
                } else {
                    plain(repo, store, &record, &shift)
                } {
                    Ok(Some(place)) => done.push(format!("workspace {} is at {}", record.name, place.display())),
                    Ok(None) => done.push(format!(
                        "not repaired: workspace {} is not at {} any more",
                        record.name,
                        record.path.display()
                    )),
                    Err(error) => done.push(format!("not repaired: workspace {}: {error}", record.name)),
                }
            }
            tasks(repo, store, &shift, &mut done)?;
            operations(store, &before, &repo.common_dir, &shift)?;
            done.push(format!("the repository was moved from {}", before.display()));
        }
    }
    place::settle(&repo.common_dir)?;
    Ok(done)
}

/// Most bytes that a file with one path in it has.
const LINK_MAX: u64 = 64 << 10;

/// From where to where the repository moved: main worktree or bare repository.
struct Shift {
    before: PathBuf,
    now: PathBuf,
}

fn top(common_dir: &Path) -> PathBuf {
    let parent = common_dir.parent().filter(|_| common_dir.file_name() == Some(".git".as_ref()));
    parent.unwrap_or(common_dir).to_owned()
}

impl Shift {
    /// Where something may be now, most likely first: where it was; at the same place as seen from the repository.
    fn candidates(&self, path: &Path) -> Vec<PathBuf> {
        let mut found = vec![path.to_owned()];
        found.extend(path.strip_prefix(&self.before).ok().map(|rest| self.now.join(rest)));
        if let (Some(before), Some(now)) = (self.before.parent(), self.now.parent()) {
            found.extend(path.strip_prefix(before).ok().map(|rest| now.join(rest)));
        }
        found
    }

    /// The repository's name before, which the tree of every sealed workspace has.
    fn name(&self) -> String {
        let name = self.before.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.strip_suffix(".git").map_or(name.clone(), str::to_owned)
    }

    fn find(&self, path: &Path) -> Option<PathBuf> {
        self.candidates(path).into_iter().find(|candidate| candidate.is_dir())
    }
}

/// Lets git mend the links of a plain worktree in both directions; where it is, or `None` when it is nowhere to be found.
fn plain(repo: &Repository, store: &Store, record: &WorkspaceRecord, shift: &Shift) -> Result<Option<PathBuf>> {
    let Some(path) = shift.find(&record.path) else { return Ok(None) };
    repo.bare(["worktree", "repair"]).arg(&path).run()?;
    repo.git.within(&path, ["rev-parse", "--git-dir"]).run()?;
    if path != record.path {
        store.put_workspace("workspace.moved", &WorkspaceRecord { path: path.clone(), ..record.clone() })?;
    }
    Ok(Some(path))
}

fn sealed(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    template: &str,
    shift: &Shift,
) -> Result<Option<PathBuf>> {
    let paths = named_sealed(repo, template, &record.name)?;
    let enclosure = record.path.parent().unwrap_or(&record.path);
    let Some(name) = record.path.file_name() else { return Ok(None) };
    if !settle(repo, &paths, enclosure, &enclosure.join(name), shift)? {
        return Ok(None);
    }
    store.put_workspace("workspace.moved", &WorkspaceRecord { path: paths.tree.clone(), ..record.clone() })?;
    Ok(Some(paths.tree))
}

/// Moves a box to where the names lead now, and writes every path in it anew; false when it is nowhere to be found.
fn settle(repo: &Repository, paths: &SealedPaths, enclosure: &Path, tree: &Path, shift: &Shift) -> Result<bool> {
    if !fs::exists(&paths.enclosure)? {
        let Some(found) = shift.find(enclosure) else { return Ok(false) };
        if let Some(parent) = paths.enclosure.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::move_path(&found, &paths.enclosure)?;
    }
    let inside = paths.enclosure.join(tree.file_name().unwrap_or_default());
    if inside != paths.tree && fs::exists(&inside)? {
        fs::move_path(&inside, &paths.tree)?;
    }
    fs::write_atomic(&paths.private.join(SIGN), repo.common_dir.as_os_str().as_bytes())?;
    let link = path_line(&paths.tree.join(".git"));
    for git_dir in [&paths.admin, &paths.entry] {
        if fs::exists(git_dir)? {
            fs::write_atomic(&git_dir.join("gitdir"), &link)?;
        }
    }
    Ok(true)
}

fn tasks(repo: &Repository, store: &Store, shift: &Shift, done: &mut Vec<String>) -> Result<()> {
    for run in store.runs()? {
        for task in store.tasks(&run.id)? {
            let Some(enclosure) = &task.workspace else { continue };
            let paths = SealedPaths::of_task(repo, &run.template, &run.id, &task.id)?;
            if settle(repo, &paths, enclosure, &enclosure.join(shift.name()), shift)? {
                let data = json!({"path": paths.enclosure});
                let place = paths.enclosure.clone();
                store.edit_task(&run.id, &task.id, "task.moved", data, |task| task.workspace = Some(place))?;
                done.push(format!("workspace of {}/{} is at {}", run.id, task.id, paths.enclosure.display()));
            }
        }
    }
    Ok(())
}

/// What `undo` needs: the trash is in the repository and moved with it; what was removed comes back beside it.
fn operations(store: &Store, before: &Path, now: &Path, shift: &Shift) -> Result<()> {
    let beside = |path: &Path| shift.candidates(path).pop().unwrap_or_else(|| path.to_owned());
    let within = |path: &Path| path.strip_prefix(before).map_or_else(|_| path.to_owned(), |rest| now.join(rest));
    store.edit_operations("operation.moved", |operation| {
        let UndoData::Removal { items } = &mut operation.undo else { return };
        let place = |path: &Path| if path.starts_with(before) { within(path) } else { beside(path) };
        for directory in operation.taken_back.iter_mut().flat_map(|how| &mut how.put_back.directories) {
            (directory.from, directory.at) = (place(&directory.from), place(&directory.at));
        }
        for item in items {
            match item {
                RemovedItem::Directory { from, trash } => (*from, *trash) = (place(from), within(trash)),
                RemovedItem::Workspace { record } => record.path = beside(&record.path),
                RemovedItem::TaskWorkspace { path, .. } => *path = beside(path),
                RemovedItem::Ref { .. } => {}
            }
        }
    })?;
    for operation in store.operations()? {
        if let UndoData::Removal { items } = &operation.undo {
            relink(before, now, items)?;
        }
    }
    Ok(())
}

/// The links between a worktree and its git dir, both in the trash, as they are to be when both are back.
fn relink(before: &Path, now: &Path, items: &[RemovedItem]) -> Result<()> {
    let directories = || {
        items.iter().filter_map(|item| match item {
            RemovedItem::Directory { from, trash } => Some((from, trash)),
            _ => None,
        })
    };
    for (tree, trash) in directories() {
        let link = trash.join(".git");
        if !std::fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let Some(bytes) = fs::read_beneath(trash, Path::new(".git"), LINK_MAX)? else { continue };
        let Some(named) = bytes.strip_prefix(b"gitdir: ") else { continue };
        let Ok(rest) = bytes_path(named.trim_ascii_end()).strip_prefix(before).map(Path::to_owned) else { continue };
        let git_dir = now.join(rest);
        fs::write_atomic(&link, &link_line(&git_dir))?;
        let beside = directories().find(|(from, _)| **from == git_dir);
        if let Some((_, admin)) = beside.filter(|(_, admin)| admin.join("gitdir").is_file()) {
            fs::write_atomic(&admin.join("gitdir"), &path_line(&tree.join(".git")))?;
        }
    }
    Ok(())
}

/// A copy becomes a repository of its own: what is recorded of the original's workspaces is none of its business.
fn make_own(repo: &Repository, store: &Store, original: &Path, done: &mut Vec<String>) -> Result<()> {
    for record in store.workspaces()? {
        store.forget_workspace(&record.name, "it belongs to the repository that this one was copied from")?;
        done.push(format!("workspace {} is {}'s and forgotten here", record.name, original.display()));
    }
    renew_id(repo)?;
    done.push(format!("this copy of {} has an id of its own", original.display()));
    Ok(())
}
