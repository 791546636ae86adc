//! Apply: `clean`: looks, plans, and carries out the plan that was printed, each action by itself.
//!
//! Promises: one call is one operation that `undo` takes back, expiry excepted; what is not as expected is skipped; what goes
//! wrong with one action stops no other. Safe twice at once and after any crash.

use std::path::PathBuf;

use super::batch::Batch;
use super::clean_apply::{self, Done};
use super::clean_types::{CleanAction, Step};
use super::error::{CleanupError, Result};
use super::{clean_plan, clean_scan, recover};
use crate::model::cause::chain;
use crate::store::Store;
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::worktree::Repository;

pub use super::clean_types::{CleanPlan, CleanPolicy, CleanReport, Kept, Kind, Outcome};

/// Looks at everything and plans.
pub fn plan(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<CleanPlan> {
    let facts = clean_scan::scan(repo, store, policy)?;
    let mut plan = clean_plan::plan(&facts, policy);
    for action in &mut plan.actions {
        action.bytes = places(&action.step).iter().map(|place| fs::disk_usage(place)).sum();
    }
    Ok(plan)
}

fn places(step: &Step) -> Vec<PathBuf> {
    match step {
        Step::Workspace(plan) if plan.record.sealed => vec![super::remove_scan::enclosure(&plan.record)],
        Step::Workspace(plan) => {
            [plan.tree.map(|_| plan.record.path.clone()), plan.git_dir.clone()].into_iter().flatten().collect()
        }
        Step::Task { paths, .. } => vec![paths.enclosure.clone(), paths.private.clone()],
        Step::Entry(dir) | Step::ExpireDir(dir) => vec![dir.path.clone()],
        Step::RunDir { path, .. } | Step::Unkeep(path) => vec![path.clone()],
        Step::Orphans { .. }
        | Step::Reset(_)
        | Step::PutBack { .. }
        | Step::Close(_)
        | Step::Ref(_)
        | Step::ExpireRef { .. } => Vec::new(),
    }
}

impl CleanPlan {
    /// The report of a plan that is only shown.
    pub fn into_report(self) -> CleanReport {
        let CleanPlan { actions, kept, .. } = self;
        CleanReport { applied: false, actions, kept, freed_bytes: 0, op: None }
    }
}

/// Carries out a plan.
pub fn apply(repo: &Repository, store: &Store, plan: CleanPlan) -> Result<CleanReport> {
    let path = repo.lock("clean");
    let _one_at_a_time = FileLock::acquire(&path, &format!("treehand clean, pid {}", std::process::id()))?;
    recover::recover(repo, store)?;
    let mut batch = Batch::new(repo, store, "clean")?;
    let CleanPlan { mut actions, kept, template } = plan;
    for action in &mut actions {
        carry_out(repo, store, &mut batch, &template, action)?;
    }
    // Of the half-made workspaces that have gone just now.
    recover::recover(repo, store)?;
    let freed_bytes = actions.iter().filter(|action| action.outcome == Outcome::Done).map(|action| action.bytes).sum();
    Ok(CleanReport { applied: true, actions, kept, freed_bytes, op: batch.op() })
}

fn carry_out(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    template: &str,
    action: &mut CleanAction,
) -> Result<()> {
    match clean_apply::apply(repo, store, batch, template, action) {
        Ok(Done::Yes { salvage, note }) => {
            (action.outcome, action.salvage, action.reason) = (Outcome::Done, salvage, note);
        }
        Ok(Done::Skipped(why)) => (action.outcome, action.reason) = (Outcome::Skipped, Some(why)),
        // Without a journal nothing more may happen.
        Err(CleanupError::Store(error)) => return Err(error.into()),
        Err(error) => (action.outcome, action.reason) = (Outcome::Failed, Some(chain(&error))),
    }
    Ok(())
}
