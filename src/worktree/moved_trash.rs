//! What was removed before a repository was moved, so that `undo` puts it back where it belongs now, with links that are right.
//!
//! Files first, each step repeatable, then every record in one transaction that says for which move: a second time changes
//! nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::Result;
use super::moved::{BoxPlace, LINK_MAX, Shift, mend_box};
use super::moved_submodules::{self, Pair};
use super::plain::named_sealed;
use super::repository::{Repository, bytes_path, lexical};
use super::sealed::{SealedPaths, link_line, path_line};
use crate::model::operation::{RemovedItem, UndoData};
use crate::model::record::RunRecord;
use crate::store::{EntryDraft, Store};
use crate::sys::{fs, proc};

/// The note of a move in the journal.
const NOTE: &str = "operation.moved";

/// Brings what `undo` needs up to the move.
pub(super) fn mend(repo: &Repository, store: &Store, template: &str, shift: &Shift) -> Result<()> {
    let (was, is) = &shift.common;
    let note = json!({"from": was, "to": is});
    let last = store.entries_after(0, None)?.into_iter().rfind(|entry| entry.kind == NOTE);
    if last.is_some_and(|last| last.data == note) {
        return Ok(());
    }
    let (runs, mut moved) = (store.runs()?, BTreeMap::new());
    half_done(repo, store, template, shift, &runs)?;
    for operation in store.operations()? {
        if let UndoData::Removal { items } = &operation.undo {
            let removal =
                Removal { repo, shift, boxes: boxes(repo, &runs, template, items)?, undone: operation.undone };
            let now: Vec<RemovedItem> = items.iter().map(|item| removal.moved(item)).collect();
            removal.relink(items, &now)?;
            moved.insert(operation.op, now);
        }
    }
    Ok(store.edit_operations(NOTE, note, |operation| {
        for directory in operation.taken_back.iter_mut().flat_map(|how| &mut how.put_back.directories) {
            (directory.from, directory.at) = (shift.there(&directory.from), shift.there(&directory.at));
        }
        if let (UndoData::Removal { items }, Some(now)) = (&mut operation.undo, moved.get(&operation.op)) {
            items.clone_from(now);
        }
    })?)
}

/// Removals that a dead process left open are recovered from what their intents say: those are made anew.
fn half_done(repo: &Repository, store: &Store, template: &str, shift: &Shift, runs: &[RunRecord]) -> Result<()> {
    for entry in store.open_intents()? {
        let Ok(items) = serde_json::from_value::<Vec<RemovedItem>>(entry.data["items"].clone()) else { continue };
        let old = |item: &RemovedItem| matches!(item, RemovedItem::Directory { trash, .. } if trash.starts_with(&shift.common.0));
        if !items.iter().any(old) || !proc::is_known_dead(entry.owner().as_ref()) {
            continue;
        }
        let removal = Removal { repo, shift, boxes: boxes(repo, runs, template, &items)?, undone: false };
        let now: Vec<RemovedItem> = items.iter().map(|item| removal.moved(item)).collect();
        removal.relink(&items, &now)?;
        let mut data = entry.data.clone();
        data["items"] = json!(now);
        // The new one stays open, for whoever recovers.
        let _open = store.intend(&EntryDraft::new(&entry.kind, data))?;
        store.failed(entry.intent(), json!({"why": "the repository was moved"}))?;
    }
    Ok(())
}

/// A sealed workspace that was removed: its tree before, and where its parts are to be now.
struct Boxed {
    tree: PathBuf,
    paths: SealedPaths,
}

fn boxes(repo: &Repository, runs: &[RunRecord], template: &str, items: &[RemovedItem]) -> Result<Vec<Boxed>> {
    let mut found = Vec::new();
    for item in items {
        match item {
            RemovedItem::Workspace { record } if record.sealed => {
                found.push(Boxed { tree: record.path.clone(), paths: named_sealed(repo, template, &record.name)? });
            }
            RemovedItem::TaskWorkspace { run, task, path } => {
                if let Some(known) = runs.iter().find(|known| known.id == *run) {
                    let paths = SealedPaths::of_task(repo, &known.template, run, task)?;
                    // Named like the repository then; which name that was, the box itself shows.
                    found.push(Boxed { tree: path.join(&repo.name), paths });
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

struct Removal<'a> {
    repo: &'a Repository,
    shift: &'a Shift,
    boxes: Vec<Boxed>,
    undone: bool,
}

impl Removal<'_> {
    fn moved(&self, item: &RemovedItem) -> RemovedItem {
        match item {
            RemovedItem::Directory { from, trash } => {
                let now = self.place(from);
                RemovedItem::Directory { trash: self.trash(from, &now, trash), from: now }
            }
            RemovedItem::Workspace { record } => {
                let mut record = record.clone();
                let boxed = self.boxes.iter().find(|boxed| boxed.tree == record.path);
                record.path = boxed.map_or_else(|| self.place(&record.path), |boxed| boxed.paths.tree.clone());
                RemovedItem::Workspace { record }
            }
            RemovedItem::TaskWorkspace { run, task, path } => {
                RemovedItem::TaskWorkspace { run: run.clone(), task: task.clone(), path: self.place(path) }
            }
            RemovedItem::Ref { .. } | RemovedItem::RemoteBranch { .. } => item.clone(),
        }
    }

    /// Where a directory comes back; one that is back already is where it was found.
    fn place(&self, path: &Path) -> PathBuf {
        for Boxed { tree, paths } in &self.boxes {
            // Below the user's state directory, which may have moved, too.
            let kept = self.shift.private.as_deref().and_then(Path::parent).map(|all| paths.private.strip_prefix(all));
            if tree.parent() == Some(path) {
                return paths.enclosure.clone();
            } else if paths.entry.file_name() == path.file_name() && path.starts_with(&self.shift.common.0) {
                return paths.entry.clone();
            } else if kept.is_some_and(|kept| kept.is_ok_and(|kept| path.ends_with(kept))) {
                return paths.private.clone();
            }
        }
        if self.undone { self.shift.there(path) } else { self.shift.beside(path) }
    }

    /// Where the trash of a directory is: in the repository, or beside the directory, on its file system.
    fn trash(&self, from: &Path, now: &Path, trash: &Path) -> PathBuf {
        let within = self.shift.within(trash);
        let beside = || {
            let rest = trash.strip_prefix(from.parent()?).ok()?;
            Some(now.parent()?.join(rest))
        };
        let found = beside().into_iter().chain(self.shift.candidates(trash)).find(|candidate| candidate.is_dir());
        within.or(found).unwrap_or_else(|| trash.to_owned())
    }

    /// The links of what is in the trash, as they are to be when it is back.
    fn relink(&self, items: &[RemovedItem], now: &[RemovedItem]) -> Result<()> {
        let all: Vec<Trashed<'_>> = items.iter().zip(now).filter_map(trashed).collect();
        for Boxed { tree, paths } in &self.boxes {
            let at = |place: &Path| all.iter().find(|trashed| trashed.from == place).map(|trashed| trashed.at);
            let Some(enclosure) = at(&paths.enclosure) else { continue };
            let place = BoxPlace { enclosure, private: at(&paths.private), entry: at(&paths.entry) };
            let trees = [tree.clone(), tree.with_file_name(self.shift.name())];
            mend_box(self.repo, self.shift, paths, &trees, place)?;
        }
        for tree in &all {
            if let Some(named) = linked(tree)? {
                let is_its = |other: &&Trashed<'_>| other.was == named || other.from == named;
                if let Some(git_dir) = all.iter().find(is_its) {
                    self.relink_plain(tree, git_dir)?;
                }
            }
        }
        Ok(())
    }

    fn relink_plain(&self, tree: &Trashed<'_>, git_dir: &Trashed<'_>) -> Result<()> {
        fs::write_atomic(&tree.at.join(".git"), &link_line(git_dir.from))?;
        if git_dir.at.join("gitdir").is_file() {
            fs::write_atomic(&git_dir.at.join("gitdir"), &path_line(&tree.from.join(".git")))?;
        }
        let was = Pair { tree: tree.was, git_dir: git_dir.was };
        let will = Pair { tree: tree.from, git_dir: git_dir.from };
        moved_submodules::mend(self.repo, was, will, Pair { tree: tree.at, git_dir: git_dir.at })?;
        moved_submodules::mend_storage(self.repo, git_dir.at, &self.shift.common.0)
    }
}

/// A directory in the trash: where it was, where it comes back, where it is.
struct Trashed<'a> {
    was: &'a Path,
    from: &'a Path,
    at: &'a Path,
}

fn trashed<'a>((item, now): (&'a RemovedItem, &'a RemovedItem)) -> Option<Trashed<'a>> {
    match (item, now) {
        (RemovedItem::Directory { from: was, .. }, RemovedItem::Directory { from, trash }) => {
            trash.is_dir().then_some(Trashed { was, from, at: trash })
        }
        _ => None,
    }
}

/// The git dir that the `.git` file of a tree in the trash names.
fn linked(tree: &Trashed<'_>) -> Result<Option<PathBuf>> {
    let link = Path::new(".git");
    if !std::fs::symlink_metadata(tree.at.join(link)).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let bytes = fs::read_beneath(tree.at, link, LINK_MAX)?;
    let named = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(b"gitdir: "));
    Ok(named.map(|named| lexical(&tree.was.join(bytes_path(named.trim_ascii_end())))))
}
