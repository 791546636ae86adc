//! Removal of a person's workspace: what would be lost is looked at, saved, and only then moved to the trash.
//!
//! `plan` decides from facts gathered once; `apply` rechecks them at the instant of acting and never forces. The branch
//! goes only when its work is provably in the target, or when the user said so and it was saved.

use std::path::PathBuf;

use serde_json::json;

use super::error::{CleanupError, Result};
use super::integration::{self, Proof};
use super::salvage;
use super::trash::Bin;
use crate::model::record::{RemovedItem, UndoData, WorkspaceRecord, WorkspaceState};
use crate::model::{BranchName, CommitId, WorkspaceName};
use crate::store::{EntryDraft, Store};
use crate::sys::{clock, fs};
use crate::worktree::capture::{CaptureRequest, capture};
use crate::worktree::checkouts::{self, Checkout};
use crate::worktree::import::{ImportRequest, import, update_ref};
use crate::worktree::plain::named_sealed;
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{self, Identity};
use crate::worktree::{Repository, status};

/// What the user accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Although it has uncommitted changes.
    pub force_dirty: bool,
    /// Its branch although it is not merged.
    pub delete_unmerged: bool,
}

/// What becomes of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchFate {
    /// It goes, for this proof.
    Delete(Proof),
    /// It goes although unmerged: it is saved first.
    DeleteUnmerged,
    /// It stays, for this reason.
    Keep(String),
}

/// A removal as it is going to be, with what it expects to find.
#[derive(Clone, Debug)]
pub struct RemovalPlan {
    /// The workspace.
    pub record: WorkspaceRecord,
    /// Its worktree entry; `None` when that is gone, or when it is sealed.
    pub checkout: Option<Checkout>,
    /// Where its HEAD is.
    pub head: Option<CommitId>,
    /// Where its branch is.
    pub tip: Option<CommitId>,
    /// It has uncommitted changes.
    pub dirty: bool,
    /// What becomes of its branch.
    pub fate: BranchFate,
}

/// What a removal did.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The workspace.
    pub name: WorkspaceName,
    /// Where it was.
    pub path: PathBuf,
    /// Its branch.
    pub branch: BranchName,
    /// `deleted` or `kept`.
    pub branch_outcome: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// Refs under which something was saved.
    pub salvage: Vec<String>,
    /// The operation that undoes it.
    pub op: i64,
}

/// Plans a removal, or refuses it.
pub fn plan(
    repo: &Repository,
    _store: &Store,
    record: &WorkspaceRecord,
    options: &RemoveOptions,
) -> Result<RemovalPlan> {
    if repo.here.as_ref() == Some(&record.path) {
        let message = format!("you stand in workspace `{}`", record.name);
        return Err(CleanupError::refused(message, "leave it first: cd to the main worktree"));
    }
    let checkout = checkouts::scan(repo)?.into_iter().find(|c| c.tree.as_ref() == Some(&record.path));
    let checkout = checkout.filter(|_| !record.sealed);
    let present = fs::exists(&record.path)?;
    if let Some((_, operation)) = checkout.as_ref().filter(|_| present).and_then(|c| c.held.first()) {
        let message = format!("workspace `{}` is in the middle of {operation}", record.name);
        return Err(CleanupError::refused(message, "finish or abort it first"));
    }
    let dirty = present && checkout.is_some() && status::is_dirty(repo, record)?;
    if dirty && !options.force_dirty {
        let message = format!("workspace `{}` has uncommitted changes", record.name);
        return Err(CleanupError::refused(
            message,
            "commit them, or remove it all the same: -f (they are saved first)",
        ));
    }
    let head = if present { status::tip(repo, record)? } else { None };
    let tip = repo.reader().ref_commit(&record.branch.full_ref())?;
    let fate = fate(repo, record, tip.as_ref(), options)?;
    Ok(RemovalPlan { record: record.clone(), checkout, head, tip, dirty, fate })
}

fn fate(
    repo: &Repository,
    record: &WorkspaceRecord,
    tip: Option<&CommitId>,
    options: &RemoveOptions,
) -> Result<BranchFate> {
    let Some(tip) = tip else { return Ok(BranchFate::Keep("it is gone already".into())) };
    let elsewhere = checkouts::branch_use(repo, &record.branch)?;
    let other = |c: &&Checkout| c.tree.as_ref() != Some(&record.path);
    if let Some(other) = elsewhere.checkouts.iter().find(other) {
        let place = other.tree.clone().unwrap_or_default();
        return Ok(BranchFate::Keep(format!("it is checked out in {}", place.display())));
    }
    if record.sealed && *tip == record.base.commit {
        // What is in the box is imported onto the branch before it goes, so its fate is not known yet.
        return Ok(if options.delete_unmerged {
            BranchFate::DeleteUnmerged
        } else {
            BranchFate::Keep(UNMERGED.into())
        });
    }
    let targets = integration::targets_of(repo, &record.base.reference)?;
    Ok(match integration::proof_in_any(repo, tip, &targets)? {
        Some(proof) => BranchFate::Delete(proof),
        None if options.delete_unmerged => BranchFate::DeleteUnmerged,
        None => BranchFate::Keep(UNMERGED.into()),
    })
}

const UNMERGED: &str = "its work is not provably in its base; -D deletes it all the same";

/// Carries a removal out; refuses when what it expects is no longer so.
pub fn apply(repo: &Repository, store: &Store, plan: RemovalPlan, template: &str) -> Result<Removed> {
    recheck(repo, &plan)?;
    let record = &plan.record;
    let saved = if record.sealed { take_in(repo, &plan, template)? } else { save(repo, &plan)? };
    let draft = EntryDraft::new("rm", json!({"name": record.name, "path": record.path, "salvage": saved}));
    let intent = store.intend(&draft)?;
    let mut gone = WorkspaceRecord { state: WorkspaceState::Removing, ..record.clone() };
    store.put_workspace("workspace.removing", &gone)?;
    let mut bin = Bin::open(repo)?;
    let mut items = move_away(repo, &plan, template, &mut bin)?;
    let (branch_outcome, reason) = end_branch(repo, &plan, &mut items)?;
    store.forget_workspace(&record.name, "removed")?;
    gone.state = WorkspaceState::Ready;
    items.push(RemovedItem::Workspace { record: Box::new(gone) });
    let summary = format!("removed workspace {}", record.name);
    let op = store.add_operation("rm", clock::now(), &summary, UndoData::Removal { items })?;
    store.done(intent, json!({"op": op}))?;
    let (name, path, branch) = (record.name.clone(), record.path.clone(), record.branch.clone());
    Ok(Removed { name, path, branch, branch_outcome, reason, salvage: saved, op })
}

fn recheck(repo: &Repository, plan: &RemovalPlan) -> Result<()> {
    let record = &plan.record;
    let changed = |what: &str| {
        CleanupError::refused(
            format!("workspace `{}` has changed meanwhile: {what}", record.name),
            "look again, then retry",
        )
    };
    if repo.reader().ref_commit(&record.branch.full_ref())? != plan.tip {
        return Err(changed("its branch moved"));
    }
    let present = fs::exists(&record.path)?;
    if present && plan.checkout.is_some() && status::is_dirty(repo, record)? != plan.dirty {
        return Err(changed("it has other uncommitted changes"));
    }
    Ok(())
}

/// Saves what a plain workspace has that nothing else would hold any more.
fn save(repo: &Repository, plan: &RemovalPlan) -> Result<Vec<String>> {
    let part = plan.record.name.path_part();
    let mut saved = Vec::new();
    if let (Some(head), Some(checkout), true) = (&plan.head, &plan.checkout, plan.dirty) {
        saved.extend(salvage::save_plain(repo, &plan.record, checkout, head)?);
    } else if let Some(head) = plan.head.as_ref().filter(|head| Some(*head) != plan.tip.as_ref()) {
        saved.extend(salvage::save_commit(repo, &part, head)?);
    }
    if let (BranchFate::DeleteUnmerged, Some(tip)) = (&plan.fate, &plan.tip) {
        saved.extend(salvage::save_commit(repo, &part, tip)?);
    }
    Ok(saved)
}

/// Brings the work of a sealed workspace in, under a salvage ref.
fn take_in(repo: &Repository, plan: &RemovalPlan, template: &str) -> Result<Vec<String>> {
    let record = &plan.record;
    let paths = named_sealed(repo, template, &record.name)?;
    if !fs::exists(&paths.tree)? {
        return Ok(Vec::new());
    }
    let lenders = [RunStore::at(repo, &paths.private, &record.base.commit)?.objects()];
    let identity = Identity::of_user(repo)?;
    let message = format!("treehand: work of sealed workspace {}\n", record.name);
    let captured =
        capture(repo, &paths, &CaptureRequest { lenders: &lenders, identity: &identity, message: &message })?;
    if captured.commit == record.base.commit {
        return Ok(Vec::new());
    }
    let reference = format!("refs/treehand/salvage/{}/{}/worktree", record.name.path_part(), clock::now().0);
    let request = ImportRequest {
        base: &record.base.commit,
        reference: &reference,
        expected: None,
        paths: &[],
        max_bytes: 20 << 30,
        message: "treehand: salvage",
    };
    import(repo, &captured, &request)?;
    Ok(vec![reference])
}

fn move_away(repo: &Repository, plan: &RemovalPlan, template: &str, bin: &mut Bin) -> Result<Vec<RemovedItem>> {
    let record = &plan.record;
    let mut places = Vec::new();
    if record.sealed {
        let paths = named_sealed(repo, template, &record.name)?;
        places.extend([paths.entry, paths.private, paths.enclosure]);
    } else {
        places.extend(plan.checkout.iter().map(|checkout| checkout.git_dir.clone()));
        places.push(record.path.clone());
    }
    let mut items = Vec::new();
    for place in places {
        if fs::exists(&place)? {
            items.push(bin.take(&place)?);
        }
    }
    let enclosure = record.path.parent();
    sealed::remove_if_empty(enclosure);
    sealed::remove_if_empty(enclosure.and_then(std::path::Path::parent));
    Ok(items)
}

fn end_branch(
    repo: &Repository,
    plan: &RemovalPlan,
    items: &mut Vec<RemovedItem>,
) -> Result<(&'static str, Option<String>)> {
    let name = plan.record.branch.full_ref();
    let reason = match (&plan.fate, &plan.tip) {
        (BranchFate::Keep(why), _) => return Ok(("kept", Some(why.clone()))),
        (_, None) => return Ok(("kept", Some("it is gone already".into()))),
        (BranchFate::Delete(proof), Some(_)) => proof.word().to_owned(),
        (BranchFate::DeleteUnmerged, Some(_)) => "although it is not merged".to_owned(),
    };
    let Some(tip) = &plan.tip else { return Ok(("kept", None)) };
    match update_ref(repo, &name, None, Some(tip), "treehand: rm") {
        Ok(()) => {
            items.push(RemovedItem::Ref { name, commit: tip.clone() });
            Ok(("deleted", Some(reason)))
        }
        // It moved at the last moment: what is new on it is not ours to judge.
        Err(crate::worktree::WorktreeError::Busy { .. }) => Ok(("kept", Some("it moved just now".into()))),
        Err(error) => Err(error.into()),
    }
}
