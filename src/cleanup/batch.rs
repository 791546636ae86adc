//! Apply: one operation that takes things away, in steps that are each journaled, undone on failure and recorded for `undo`.
//!
//! A step is: intent with everything it will take, directories renamed to the trash, refs deleted by compare-and-swap,
//! records forgotten, the operation grown by the step, intent closed. A process that dies in between leaves an open intent
//! that names the same items, from which `clean` puts them back.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::doomed::{DoomedRef, KeptRef, delete_refs};
use super::error::Result;
use super::undo::{remote_back, restore};
use super::{held, traces, trash};
use crate::model::cause::chain;
use crate::model::operation::{RefFate, RemovedItem};
use crate::model::record::WorkspaceRecord;
use crate::model::{CommitId, RunId, TaskId};
use crate::store::{EntryDraft, Store};
use crate::sys::{clock, fs, proc};
use crate::worktree::Repository;
use crate::worktree::remote_push::{self, Pushed, RemoteTip};

/// A branch that stays; what goes comes back only to where it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StayingRef {
    /// Its full name.
    pub name: String,
    /// Where it is.
    pub commit: CommitId,
    /// It may be checked out elsewhere, too.
    pub shared: bool,
}

/// What one step takes away.
#[derive(Clone, Debug, Default)]
pub struct Takeaway {
    /// Directories for the trash; absent ones are passed over.
    pub directories: Vec<PathBuf>,
    /// Refs.
    pub refs: Vec<DoomedRef>,
    /// The branch that it is on and that stays.
    pub on: Option<StayingRef>,
    /// A workspace to forget.
    pub workspace: Option<WorkspaceRecord>,
    /// A task's workspace to forget.
    pub task: Option<(RunId, TaskId, PathBuf)>,
    /// Refs that hold what was saved of it.
    pub saved: Vec<String>,
}

/// One operation under way.
pub struct Batch<'a> {
    repo: &'a Repository,
    store: &'a Store,
    kind: &'static str,
    stamp: String,
    op: Option<i64>,
    taken: usize,
    saved: Vec<String>,
}

impl<'a> Batch<'a> {
    /// Begins an operation; nothing is recorded until its first step.
    pub fn new(repo: &'a Repository, store: &'a Store, kind: &'static str) -> Result<Self> {
        Ok(Batch { repo, store, kind, stamp: trash::stamp()?, op: None, taken: 0, saved: Vec::new() })
    }

    /// The name under which this operation's trash and salvage are.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// Its number, once something was taken.
    pub fn op(&self) -> Option<i64> {
        self.op
    }

    /// Takes things away, or leaves everything as it was. Refs that moved meanwhile are kept and named.
    pub fn take_away(&mut self, what: &Takeaway, summary: &str) -> Result<Vec<KeptRef>> {
        let mut items = self.items(what)?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        held::keep(self.repo, &items)?;
        let data = json!({"items": items, "owner": proc::own()});
        let intent = self.store.intend(&EntryDraft::new(self.kind, data))?;
        let kept = match self.carry_out(&items, what) {
            Ok(kept) => kept,
            Err(error) => {
                // What cannot be put back now stays under the open intent, for `clean`.
                restore::put_back(self.repo, self.store, &items)?;
                if !restore::is_trashed(&items)? {
                    held::let_go(self.repo, &items)?;
                    self.store.failed(intent, json!({"why": chain(&error)}))?;
                }
                return Err(error);
            }
        };
        items.retain(
            |item| !matches!(item, RemovedItem::Ref { name, .. } if kept.iter().any(|kept| kept.name == *name)),
        );
        self.saved.extend_from_slice(&what.saved);
        self.forget(what)?;
        self.record(&items, summary)?;
        self.store.done(intent, json!({"op": self.op}))?;
        Ok(kept)
    }

    /// Deletes branches of a remote, or leaves everything as it was; how it came out with each.
    pub fn delete_on_remote(
        &mut self,
        remote: &str,
        tips: &[RemoteTip],
        deadline: Duration,
        summary: &str,
    ) -> Result<Vec<Pushed>> {
        if tips.is_empty() {
            return Ok(Vec::new());
        }
        let item = |(branch, commit): &RemoteTip| RemovedItem::RemoteBranch {
            remote: remote.to_owned(),
            branch: branch.clone(),
            commit: commit.clone(),
        };
        let items: Vec<RemovedItem> = tips.iter().map(item).collect();
        remote_back::hold(self.repo, remote, tips, &self.stamp)?;
        let data = json!({"items": items, "owner": proc::own()});
        let intent = self.store.intend(&EntryDraft::new(self.kind, data))?;
        // Where that fails, whatever the remote got of it, it may be at it still: under the open intent the next `clean` looks what
        // came of it, and puts back what went.
        let pushed = remote_push::delete(self.repo, remote, tips, deadline)?;
        let (gone, kept): (Vec<_>, Vec<_>) = tips.iter().zip(&pushed).partition(|(_, pushed)| pushed.is_ok());
        let tips = |of: Vec<(&RemoteTip, &Pushed)>| of.into_iter().map(|(tip, _)| tip.clone()).collect::<Vec<_>>();
        remote_back::let_go(self.repo, remote, &tips(kept), &self.stamp)?;
        let gone: Vec<RemovedItem> = tips(gone).iter().map(item).collect();
        if gone.is_empty() {
            self.store.failed(intent, json!({"why": "the remote let none of them go"}))?;
        } else {
            self.record(&gone, summary)?;
            self.store.done(intent, json!({"op": self.op}))?;
        }
        Ok(pushed)
    }

    fn items(&mut self, what: &Takeaway) -> Result<Vec<RemovedItem>> {
        let mut items = Vec::new();
        for from in &what.directories {
            if fs::exists(from)? {
                let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.taken += 1;
                let trash = trash::place(self.repo, from, &self.stamp)?.join(format!("{}-{name}", self.taken));
                items.push(RemovedItem::Directory { from: from.clone(), trash });
            }
        }
        let refs: Vec<_> = what.refs.iter().map(|doomed| (doomed.name.clone(), doomed.commit.clone())).collect();
        items.extend(traces::items(self.repo, &self.stamp, &refs)?);
        items.extend(what.on.clone().map(|StayingRef { name, commit, shared }| {
            let fate = if shared { RefFate::Shared } else { RefFate::Kept };
            RemovedItem::Ref { name, commit, fate, traces: None }
        }));
        items.extend(what.workspace.clone().map(|record| RemovedItem::Workspace { record: Box::new(record) }));
        let task = what.task.clone();
        items.extend(task.map(|(run, task, path)| RemovedItem::TaskWorkspace { run, task, path }));
        Ok(items)
    }

    fn carry_out(&self, items: &[RemovedItem], what: &Takeaway) -> Result<Vec<KeptRef>> {
        trash_directories(items)?;
        let kept = delete_refs(self.repo, &self.stamp, &what.refs)?;
        traces::take_sections(self.repo, items)?;
        Ok(kept)
    }

    fn forget(&self, what: &Takeaway) -> Result<()> {
        if let Some(record) = &what.workspace {
            self.store.forget_workspace(&record.name, self.kind)?;
        }
        if let Some((run, task, _)) = &what.task {
            self.store
                .edit_task(run, task, "workspace.trashed", json!({"by": self.kind}), |task| task.workspace = None)?;
        }
        Ok(())
    }

    fn record(&mut self, items: &[RemovedItem], summary: &str) -> Result<()> {
        let saved = self.saved.clone();
        match self.op {
            Some(op) => self.store.grow_removal(op, items, summary, saved)?,
            None => {
                let op = self.store.add_removal(self.kind, clock::now(), summary, items, &self.stamp, saved)?;
                self.op = Some(op);
            }
        }
        Ok(())
    }
}

/// Moves directories to the trash; those that are there already are passed over.
pub(super) fn trash_directories(items: &[RemovedItem]) -> Result<()> {
    for item in items {
        if let RemovedItem::Directory { from, trash } = item
            && !fs::exists(trash)?
        {
            fs::while_emptied(|| {
                trash.parent().map_or(Ok(()), fs::create_private_dir_all)?;
                fs::move_path(from, trash)
            })?;
        }
    }
    Ok(())
}
