//! Apply: `clean`: looks, plans, and carries out the plan that was printed, each action by itself.
//!
//! Promises: one call is one operation that `undo` takes back, expiry excepted; what is not as expected is skipped; what goes
//! wrong with one action stops no other. Safe twice at once and after any crash.

use std::path::PathBuf;

use super::types::{CleanAction, DoomedRemoteBranch, Step};
pub use super::types::{CleanPlan, CleanPolicy, CleanReport, Kept, Kind, Outcome};
use super::{act, decide, refs, remote_apply, scan};
use crate::cleanup::batch::Batch;
use crate::cleanup::done::Done;
use crate::cleanup::doomed::DoomedRef;
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::undo::recover;
use crate::model::cause::chain;
use crate::store::Store;
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::worktree::{Repository, ports};

/// Looks at everything and plans; each action says what it will bring.
pub fn plan(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<CleanPlan> {
    planned(repo, store, policy, |_| true)
}

/// The same, for a plan that is carried out: what is deleted for good is counted then.
fn due(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<CleanPlan> {
    planned(repo, store, policy, |step| !matches!(step, Step::ExpireDir(_)))
}

fn planned(
    repo: &Repository,
    store: &Store,
    policy: &CleanPolicy,
    is_measured: impl Fn(&Step) -> bool,
) -> Result<CleanPlan> {
    let facts = scan::scan(repo, store, policy)?;
    let mut plan = decide::plan(&facts, policy);
    for action in plan.actions.iter_mut().filter(|action| is_measured(&action.step)) {
        action.bytes = places(&action.step).iter().map(|place| fs::disk_usage(place)).sum();
        if let Step::Workspace(removal) = &action.step {
            action.bytes += removal.bytes.unwrap_or(0);
        }
    }
    Ok(plan)
}

/// What has to be measured of a step.
fn places(step: &Step) -> Vec<PathBuf> {
    match step {
        Step::Workspace(plan) if plan.record.sealed => vec![crate::cleanup::remove::scan::enclosure(&plan.record)],
        Step::Workspace(plan) => {
            // What was measured when its files were looked at is not walked over again.
            let tree = plan.tree.filter(|_| plan.bytes.is_none()).map(|_| plan.record.path.clone());
            [tree, plan.git_dir.clone()].into_iter().flatten().collect()
        }
        Step::Task { paths, .. } => vec![paths.enclosure.clone(), paths.private.clone()],
        Step::UnrecordedBox { found, .. } => vec![found.paths.enclosure.clone(), found.paths.private.clone()],
        Step::Entry(dir) | Step::ExpireDir(dir) | Step::ExpireBundle(dir) | Step::EmptyDir(dir) => {
            vec![dir.path.clone()]
        }
        Step::RunDir { path, .. } | Step::Unkeep(path) | Step::Slot(path) => vec![path.clone()],
        Step::Orphans { .. }
        | Step::Reset(_)
        | Step::PutBack { .. }
        | Step::Close(_)
        | Step::Ref(_)
        | Step::RemoteBranch(_)
        | Step::Lock(_)
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

/// Plans and carries out. What a process that died half-way had begun is ended first, and then everything is looked at anew, so
/// that one call comes to the same end as if nobody had died.
pub fn clean(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<CleanReport> {
    let mut first = due(repo, store, policy)?;
    if !first.actions.iter().any(|action| action.step.ends_what_was_begun()) {
        return apply(repo, store, first);
    }
    // A lock that a dead git left may be in the way of that, too.
    first.actions.retain(|action| action.step.ends_what_was_begun() || action.kind == Kind::Lock);
    let begun = apply(repo, store, first)?;
    let rest = apply(repo, store, due(repo, store, policy)?)?;
    let actions = begun.actions.into_iter().chain(rest.actions).collect();
    Ok(CleanReport { actions, freed_bytes: begun.freed_bytes + rest.freed_bytes, ..rest })
}

/// Carries out a plan.
pub fn apply(repo: &Repository, store: &Store, plan: CleanPlan) -> Result<CleanReport> {
    let path = repo.lock("clean");
    let _one_at_a_time = FileLock::acquire(&path, &format!("treehand clean, pid {}", std::process::id()))?;
    recover::recover(repo, store)?;
    let mut batch = Batch::new(repo, store, "clean")?;
    let CleanPlan { mut actions, kept, template } = plan;
    let mut rest = &mut actions[..];
    while !rest.is_empty() {
        let group = rest.first().map(|action| action.step.group()).unwrap_or_default();
        let like = |action: &&CleanAction| group != Group::Alone && action.step.group() == group;
        let together = rest.iter().take(refs::AT_ONCE).take_while(like).count();
        let (now, later) = rest.split_at_mut(together.max(1));
        if together < 2 || !carry_out_together(repo, &mut batch, now)? {
            now.iter_mut().try_for_each(|action| carry_out(repo, store, &mut batch, &template, action))?;
        }
        rest = later;
    }
    // Of the half-made workspaces that have gone just now.
    recover::recover(repo, store)?;
    ports::release_gone(repo);
    let freed_bytes = actions.iter().filter(|action| action.outcome == Outcome::Done).map(|action| action.bytes).sum();
    Ok(CleanReport { applied: true, actions, kept, freed_bytes, op: batch.op() })
}

/// Refs, and branches of one remote, that follow one another go in one step. False where that went wrong, so that each has to go by
/// itself.
fn carry_out_together(repo: &Repository, batch: &mut Batch<'_>, actions: &mut [CleanAction]) -> Result<bool> {
    let steps: Vec<Step> = actions.iter().map(|action| action.step.clone()).collect();
    let refs: Vec<&DoomedRef> = steps.iter().filter_map(Step::doomed).collect();
    let summary = actions.last().map(|last| summary(&last.item)).unwrap_or_default();
    let taken = match refs.is_empty() {
        true => {
            remote_apply::take(repo, batch, &steps.iter().filter_map(Step::on_remote).collect::<Vec<_>>(), &summary)
        }
        false => refs::take(repo, batch, &refs, &summary),
    };
    match taken {
        Ok(all) => {
            actions.iter_mut().zip(all).for_each(|(action, done)| action.is(Ok(done)));
            Ok(true)
        }
        Err(CleanupError::Store(error)) => Err(error.into()),
        // Each by itself would wait for the same remote as long again.
        Err(error) if refs.is_empty() => {
            let why = chain(&error);
            actions.iter_mut().for_each(|action| action.fails(&why));
            Ok(true)
        }
        Err(error) => {
            tracing::debug!("they go one by one: {}", chain(&error));
            Ok(false)
        }
    }
}

fn summary(last: &str) -> String {
    format!("cleaned up, {last} last")
}

fn carry_out(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    template: &str,
    action: &mut CleanAction,
) -> Result<()> {
    match act::apply(repo, store, batch, template, &summary(&action.item), action) {
        // Without a journal nothing more may happen.
        Err(CleanupError::Store(error)) => return Err(error.into()),
        done => action.is(done),
    }
    Ok(())
}

impl CleanAction {
    /// Notes that it went wrong.
    fn fails(&mut self, why: &str) {
        (self.outcome, self.reason) = (Outcome::Failed, Some(why.to_owned()));
    }

    /// Notes how it came out.
    fn is(&mut self, done: Result<Done>) {
        match done {
            Ok(Done::Yes { salvage, note }) => {
                (self.outcome, self.salvage, self.reason) = (Outcome::Done, salvage, note);
            }
            Ok(Done::Freed(bytes)) => (self.outcome, self.bytes) = (Outcome::Done, bytes),
            Ok(Done::Skipped(why)) => (self.outcome, self.reason) = (Outcome::Skipped, Some(why)),
            Err(error) => (self.outcome, self.reason) = (Outcome::Failed, Some(chain(&error))),
        }
    }
}

/// What may go together.
#[derive(PartialEq, Eq, Default)]
enum Group {
    /// Nothing with it.
    #[default]
    Alone,
    /// Refs here.
    Refs,
    /// Branches of this remote.
    Remote(String),
}

impl Step {
    fn group(&self) -> Group {
        match self {
            Step::Ref(_) => Group::Refs,
            Step::RemoteBranch(doomed) => Group::Remote(doomed.remote.clone()),
            _ => Group::Alone,
        }
    }

    fn on_remote(&self) -> Option<&DoomedRemoteBranch> {
        match self {
            Step::RemoteBranch(doomed) => Some(doomed),
            _ => None,
        }
    }

    fn doomed(&self) -> Option<&DoomedRef> {
        match self {
            Step::Ref(doomed) => Some(doomed),
            _ => None,
        }
    }
}
