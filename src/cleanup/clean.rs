//! Cleanup of this repository's own leftovers: facts are gathered, a plan is made, the plan is printed or applied.
//!
//! What goes: workspaces that are clean and landed, what ended runs left, quarantines of dead processes, old trash. The
//! rest is listed with the reason why it stays. A second plan after an apply is empty.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::clean_facts::{self, Leftover};
use super::error::Result;
use super::remove::{self, RemoveOptions};
use super::salvage;
use super::trash::{self, Bin};
use crate::model::record::{RemovedItem, RunRecord, TaskRecord, UndoData};
use crate::model::{CommitId, RunId, Span, Timestamp};
use crate::store::{EntryDraft, Store};
use crate::sys::{clock, fs};
use crate::worktree::Repository;
use crate::worktree::capture::{CaptureRequest, capture};
use crate::worktree::import::{ImportRequest, import, update_ref};
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{self, Identity, SealedPaths};

/// What `clean` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Workspaces of people and of ended runs.
    Workspace,
    /// Branches of tasks.
    Branch,
    /// Quarantines.
    Temp,
    /// The trash.
    Trash,
    /// Private directories of ended runs.
    State,
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(word: &str) -> std::result::Result<Kind, String> {
        match word {
            "workspace" | "workspaces" => Ok(Kind::Workspace),
            "branch" | "branches" => Ok(Kind::Branch),
            "temp" => Ok(Kind::Temp),
            "trash" => Ok(Kind::Trash),
            "state" => Ok(Kind::State),
            other => Err(format!("`{}` is none of workspaces, branches, temp, trash, state", other.escape_debug())),
        }
    }
}

/// What the user wants to be gone.
#[derive(Clone, Debug)]
pub struct CleanPolicy {
    /// Leave what is younger.
    pub min_age: Span,
    /// How long trash and salvage are kept.
    pub retention: Span,
    /// Patterns of branches that stay.
    pub protect: Vec<String>,
    /// The template of workspace paths.
    pub template: String,
    /// The moment of planning.
    pub now: Timestamp,
    /// Only these kinds.
    pub only: Option<Vec<Kind>>,
}

/// One thing that is to go.
#[derive(Clone, Debug, Serialize)]
pub struct CleanAction {
    /// What it is.
    pub kind: Kind,
    /// Its name or path.
    pub item: String,
    /// Why nothing is lost with it.
    pub proof: String,
    /// What it must still be when it goes.
    pub expect: Option<String>,
    /// `planned`, `done`, `skipped` or `failed`.
    pub outcome: &'static str,
    /// Why it was skipped or failed.
    pub reason: Option<String>,
    /// What it takes on disk.
    pub bytes: u64,
    /// Refs under which something was saved.
    pub salvage: Vec<String>,
    #[serde(skip)]
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Workspace(Box<remove::RemovalPlan>),
    TaskBox(Box<(RunRecord, TaskRecord)>),
    Ref(String, CommitId),
    RunDir(RunId, PathBuf),
    Delete(PathBuf),
}

/// One thing that stays.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub item: String,
    /// Why it stays.
    pub reason: String,
}

/// What is to go and what stays.
#[derive(Clone, Debug)]
pub struct CleanPlan {
    actions: Vec<CleanAction>,
    kept: Vec<Kept>,
    template: String,
}

/// What went and what stayed.
#[derive(Clone, Debug, Serialize)]
pub struct CleanReport {
    /// Each action with its outcome.
    pub actions: Vec<CleanAction>,
    /// Each thing that stays with its reason.
    pub kept: Vec<Kept>,
    /// Bytes that were given back.
    pub freed_bytes: u64,
}

impl CleanReport {
    /// The report of a plan that is not applied.
    pub fn planned(plan: CleanPlan) -> CleanReport {
        CleanReport { actions: plan.actions, kept: plan.kept, freed_bytes: 0 }
    }
}

/// Gathers facts and plans.
pub fn plan(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<CleanPlan> {
    let mut plan = CleanPlan { actions: Vec::new(), kept: Vec::new(), template: policy.template.clone() };
    let wanted = |kind: Kind| policy.only.as_ref().is_none_or(|only| only.contains(&kind));
    if wanted(Kind::Workspace) {
        plan_workspaces(repo, store, policy, &mut plan)?;
    }
    for leftover in clean_facts::leftovers(repo, store, policy)? {
        let (kind, step, item, proof, bytes) = match leftover {
            Leftover::TaskBox { owner, bytes } => {
                let item = format!("{}/{}", owner.0.id, owner.1.id);
                (Kind::Workspace, Step::TaskBox(owner), item, "its run is over", bytes)
            }
            Leftover::Branch { name, tip, proof } => {
                (Kind::Branch, Step::Ref(name.clone(), tip), name, proof.word(), 0)
            }
            Leftover::Quarantine(path) => {
                (Kind::Temp, Step::Delete(path.clone()), shown(&path), "never referred to", 0)
            }
            Leftover::Trash(path) => {
                (Kind::Trash, Step::Delete(path.clone()), shown(&path), "its retention has ended", 0)
            }
            Leftover::RunDir { run, path } => {
                let item = shown(&path);
                (Kind::State, Step::RunDir(run, path), item, "its run is over", 0)
            }
            Leftover::Kept { kind, item, reason } => {
                plan.kept.extend(wanted(kind).then_some(Kept { kind, item, reason }));
                continue;
            }
        };
        if wanted(kind) {
            plan.actions.push(action(kind, step, item, proof.to_owned(), bytes));
        }
    }
    Ok(plan)
}

fn shown(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn action(kind: Kind, step: Step, item: String, proof: String, bytes: u64) -> CleanAction {
    let expect = match &step {
        Step::Ref(_, tip) => Some(tip.to_string()),
        Step::Workspace(plan) => plan.tip.as_ref().map(ToString::to_string),
        _ => None,
    };
    CleanAction { kind, item, proof, expect, outcome: "planned", reason: None, bytes, salvage: Vec::new(), step }
}

/// A person's workspace goes only when it is clean, its own work is landed, and it is old enough.
fn plan_workspaces(repo: &Repository, store: &Store, policy: &CleanPolicy, plan: &mut CleanPlan) -> Result<()> {
    for record in store.workspaces()? {
        let item = record.name.to_string();
        let keep = |reason: String| Kept { kind: Kind::Workspace, item: item.clone(), reason };
        if policy.now.since(record.created_at) < policy.min_age.0 {
            plan.kept.push(keep(format!("it is younger than {}", policy.min_age)));
            continue;
        }
        let removal = match remove::plan(repo, store, &record, &RemoveOptions::default()) {
            Ok(removal) => removal,
            Err(error) => {
                plan.kept.push(keep(error.to_string()));
                continue;
            }
        };
        let own_work = removal.tip.as_ref() != Some(&record.base.commit);
        match &removal.fate {
            remove::BranchFate::Delete(proof) if own_work && !record.sealed => {
                let proof = format!("clean, and landed ({})", proof.word());
                let bytes = fs::disk_usage(&record.path);
                plan.actions.push(action(Kind::Workspace, Step::Workspace(Box::new(removal)), item, proof, bytes));
            }
            remove::BranchFate::Delete(_) => plan.kept.push(keep("it has no work of its own yet".into())),
            remove::BranchFate::Keep(why) => plan.kept.push(keep(why.clone())),
            remove::BranchFate::DeleteUnmerged => plan.kept.push(keep("it is not merged".into())),
        }
    }
    Ok(())
}

/// Carries a plan out, item by item; what is no longer as planned is skipped.
pub fn apply(repo: &Repository, store: &Store, plan: CleanPlan) -> Result<CleanReport> {
    let draft = EntryDraft::new("clean", json!({"actions": plan.actions.len()}));
    let intent = store.intend(&draft)?;
    let mut bin = None;
    let (mut items, mut actions, mut freed) = (Vec::new(), Vec::new(), 0);
    for mut action in plan.actions {
        match carry_out(repo, store, &mut action, &plan.template, &mut bin) {
            Ok(removed) => {
                items.extend(removed);
                freed += action.bytes;
                action.outcome = "done";
            }
            Err(error) => {
                action.outcome =
                    if matches!(error, super::CleanupError::Refused { .. }) { "skipped" } else { "failed" };
                action.reason = Some(error.to_string());
            }
        }
        actions.push(action);
    }
    if !items.is_empty() {
        let summary = format!("cleaned {} items", actions.iter().filter(|action| action.outcome == "done").count());
        store.add_operation("clean", clock::now(), &summary, UndoData::Removal { items })?;
    }
    store.done(intent, json!({}))?;
    Ok(CleanReport { actions, kept: plan.kept, freed_bytes: freed })
}

fn carry_out(
    repo: &Repository,
    store: &Store,
    action: &mut CleanAction,
    template: &str,
    bin: &mut Option<Bin>,
) -> Result<Vec<RemovedItem>> {
    match &action.step {
        Step::Workspace(removal) => {
            // A removal is an operation of its own; one `clean` is one operation, so its parts are taken over.
            let removed = remove::apply(repo, store, (**removal).clone(), template)?;
            action.salvage = removed.salvage;
            let operation = store.operation(removed.op)?;
            store.mark_undone(removed.op)?;
            match operation.undo {
                UndoData::Removal { items } => Ok(items),
                UndoData::Landing { .. } => Ok(Vec::new()),
            }
        }
        Step::TaskBox(task) => {
            let (run, task) = (&task.0, &task.1);
            action.salvage = save_task(repo, run, task, template)?;
            let paths = SealedPaths::of_task(repo, template, &run.id, &task.id)?;
            if bin.is_none() {
                *bin = Some(Bin::open(repo)?);
            }
            let mut items = Vec::new();
            if let Some(bin) = bin
                && salvage::present(&paths.enclosure)?
            {
                items.push(bin.take(&paths.enclosure)?);
            }
            sealed::remove(&paths)?;
            let data = json!({"why": "clean"});
            store.edit_task(&run.id, &task.id, "task.reclaimed", data, |task| task.workspace = None)?;
            Ok(items)
        }
        Step::Ref(name, tip) => {
            update_ref(repo, name, None, Some(tip), "treehand: clean")?;
            Ok(vec![RemovedItem::Ref { name: name.clone(), commit: tip.clone() }])
        }
        Step::RunDir(run, path) => {
            if let Some(task) = store.tasks(run)?.into_iter().find(|task| task.workspace.is_some()) {
                let message = format!("the workspace of {run}/{} still needs it", task.id);
                return Err(super::CleanupError::refused(message, "see why that workspace stays"));
            }
            fs::remove_tree(path)?;
            Ok(Vec::new())
        }
        Step::Delete(path) => {
            fs::remove_tree(path)?;
            Ok(Vec::new())
        }
    }
}

/// Saves what a task's workspace holds that its branch does not.
fn save_task(repo: &Repository, run: &RunRecord, task: &TaskRecord, template: &str) -> Result<Vec<String>> {
    let paths = SealedPaths::of_task(repo, template, &run.id, &task.id)?;
    let base = task.base.clone().unwrap_or_else(|| run.base.commit.clone());
    if !salvage::present(&paths.tree)? || !salvage::present(&paths.admin)? {
        return Ok(Vec::new());
    }
    let lenders = [RunStore::open(repo, &run.id, &base)?.objects()];
    let identity = Identity::of_user(repo)?;
    let message = format!("treehand: what {}/{} left\n", run.id, task.id);
    let captured =
        capture(repo, &paths, &CaptureRequest { lenders: &lenders, identity: &identity, message: &message })?;
    if captured.commit == base || task.commit.as_ref() == Some(&captured.commit) {
        return Ok(Vec::new());
    }
    let reference = format!("refs/treehand/salvage/{}.{}/{}/worktree", run.id, task.id, clock::now().0);
    let request = ImportRequest {
        base: &base,
        reference: &reference,
        expected: None,
        paths: &[],
        max_bytes: 20 << 30,
        message: "treehand: salvage",
    };
    import(repo, &captured, &request)?;
    Ok(vec![reference])
}

/// Trash older than the retention.
pub fn old_trash(repo: &Repository, policy: &CleanPolicy) -> Result<Vec<PathBuf>> {
    let old = |(_, made): &(PathBuf, Timestamp)| policy.now.since(*made) >= policy.retention.0;
    Ok(trash::bins(repo)?.into_iter().filter(old).map(|(path, _)| path).collect())
}
