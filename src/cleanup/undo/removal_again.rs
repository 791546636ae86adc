//! Apply: a removal that is made again, step by step; any of them may have been done already by a process that died.
//!
//! Used by `redo` and by the recovery of one. It either goes wholly, or what went is put back wholly.

use serde_json::{Value, json};

use super::remote_back::{self, Answers};
use super::{redo_scan, restore};
use crate::cleanup::doomed::{self, DoomedRef};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::remove::tidy_parents;
use crate::cleanup::salvage::{self, bundles};
use crate::cleanup::{batch, held, traces};
use crate::model::operation::{OperationRecord, RefFate, RemovedItem};
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::store::{Intent, Store};
use crate::sys::{fs, proc};
use crate::worktree::import::update_ref;
use crate::worktree::sealed::remove_if_empty;
use crate::worktree::{Repository, plain};

/// The kind of a redo's journal entries.
pub const KIND: &str = "redo";

/// A removal that is made again; each step may have been done by a process that died.
pub struct Removal<'a> {
    /// Where.
    pub repo: &'a Repository,
    /// The records.
    pub store: &'a Store,
    /// The operation that is made again.
    pub operation: &'a OperationRecord,
    /// What goes, from where it is now.
    pub items: Vec<RemovedItem>,
    /// The name under which its trash will be.
    pub stamp: String,
}

impl<'a> Removal<'a> {
    /// The one that an intent speaks of.
    pub fn meant(
        repo: &'a Repository,
        store: &'a Store,
        operation: &'a OperationRecord,
        data: &Value,
    ) -> Option<Removal<'a>> {
        let items: Vec<RemovedItem> = serde_json::from_value(data["items"].clone()).ok()?;
        let stamp = data["stamp"].as_str()?.to_owned();
        Some(Removal { repo, store, operation, items, stamp })
    }

    /// What keeps the rest from going, when a part has gone already.
    pub fn obstacles(&self) -> Result<Vec<String>> {
        let (mut rest, mut answers) = (Vec::new(), Answers::new(self.repo));
        for item in &self.items {
            let gone = match item {
                RemovedItem::Directory { from, trash } => !fs::exists(from)? && fs::exists(trash)?,
                RemovedItem::Ref { fate: RefFate::Kept | RefFate::Shared, .. } => false,
                RemovedItem::Ref { name, .. } => self.repo.reader().ref_commit(name)?.is_none(),
                RemovedItem::RemoteBranch { remote, branch, .. } => answers.tip(remote, branch)?.is_none(),
                RemovedItem::Workspace { record } => self.store.workspace(&record.name)?.is_none(),
                RemovedItem::TaskWorkspace { run, task, .. } => self.store.task(run, task)?.workspace.is_none(),
            };
            if !gone {
                rest.push(item.clone());
            }
        }
        Ok(redo_scan::look(self.repo, self.store, self.operation, &rest, &self.items, &self.stamp)?.obstacles)
    }

    /// Says of each workspace that it is being removed, so that nobody else begins to.
    pub fn claim(&self) -> Result<()> {
        for item in &self.items {
            if let RemovedItem::Workspace { record } = item
                && record.state == WorkspaceState::Ready
            {
                let owned =
                    WorkspaceRecord { state: WorkspaceState::Removing, owner: proc::own(), ..(**record).clone() };
                self.store.put_workspace("workspace.removing", &owned)?;
            }
        }
        Ok(())
    }

    /// Takes everything away.
    pub fn take(&self) -> Result<()> {
        if let Some(old) = self.operation.stamp.as_deref() {
            keep_under(self.repo, old, &self.stamp)?;
        }
        held::keep(self.repo, &self.items)?;
        remote_back::take_again(self.repo, &self.items, &self.stamp)?;
        batch::trash_directories(&self.items)?;
        for item in &self.items {
            if let RemovedItem::Ref { name, commit, fate: RefFate::Deleted, .. } = item
                && self.repo.reader().ref_commit(name)?.is_some()
            {
                let doomed = DoomedRef { name: name.clone(), commit: commit.clone(), held: false };
                if let Some(kept) = doomed::delete_ref(self.repo, &self.stamp, &doomed)? {
                    return Err(CleanupError::refused(format!("{}: {}", kept.name, kept.why), "try again"));
                }
            }
        }
        traces::take_sections(self.repo, &self.items)
    }

    /// Forgets what is gone and says that the operation is in effect again.
    pub fn record(&self, intent: &Intent) -> Result<()> {
        for item in &self.items {
            match item {
                RemovedItem::Workspace { record } => {
                    self.store.forget_workspace(&record.name, KIND)?;
                    tidy_parents(self.repo, &record.path, record.sealed);
                }
                RemovedItem::TaskWorkspace { run, task, path } => {
                    let data = json!({"by": KIND});
                    self.store.edit_task(run, task, "workspace.trashed", data, |task| task.workspace = None)?;
                    remove_if_empty(path.parent());
                }
                RemovedItem::Directory { .. } | RemovedItem::Ref { .. } | RemovedItem::RemoteBranch { .. } => {}
            }
        }
        plain::remove_entries_dir_if_empty(self.repo);
        let removal = Some((self.items.clone(), self.stamp.clone()));
        Ok(self.store.mark_redone(self.operation.op, removal, Some(intent))?)
    }

    /// Puts everything back, so that the operation stays undone. What has something else in its place stays in the trash, and
    /// under the open intent, so that it is not forgotten there.
    pub fn give_up(&self, intent: Intent, why: &str) -> Result<()> {
        let obstacles = restore::obstacles(self.repo, self.store, &self.items, true)?;
        if !obstacles.is_empty() {
            return Err(CleanupError::refused(obstacles.join("; "), "move it away, then: treehand doctor --repair"));
        }
        restore::put_back(self.repo, self.store, &self.items)?;
        if let Some(old) = self.operation.stamp.as_deref() {
            keep_under(self.repo, &self.stamp, old)?;
        }
        Ok(self.store.failed(intent, json!({"why": why}))?)
    }
}

/// Keeps what was saved under one stamp under another from now on; a part may have been moved by a process that died.
fn keep_under(repo: &Repository, from: &str, to: &str) -> Result<()> {
    bundles::keep_under(repo, from, to)?;
    for (name, commit) in salvage::refs_of_stamp(repo, from)? {
        let anew = name.replace(from, to);
        if repo.reader().ref_commit(&anew)?.is_none() {
            update_ref(repo, &anew, Some(&commit), None, "treehand: saved before a removal")?;
        }
        update_ref(repo, &name, None, Some(&commit), "treehand: kept under another name")?;
    }
    Ok(())
}
