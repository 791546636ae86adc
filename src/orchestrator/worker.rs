//! The life of one task between admission and the queue: workspace, attempt, capture, import.
//!
//! Every step is recorded before its effect. A worker ends with the state in which its task comes to rest: a candidate,
//! nothing changed, refused, failed, cancelled, or queued again for another attempt.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::admission::{self, Admitted};
use super::agents::{equip, judge, succession};
use super::attempt::AttemptEnd;
use super::context::{Context, RunError, blocking};
use super::discard;
use super::extent::extent;
use super::failure::{self, Wrong, after_failure, close_attempt, is_unanswered};

use super::refusal::{cancel, fail, reject};
use super::resolve;
use super::result::{self, Prepared};
use super::room;
use super::same_files;
use super::task_attempt;
use super::task_branch;
use crate::model::agent::AgentChoice;
use crate::model::record::TaskRecord;
use crate::model::sparse::Patterns;
use crate::model::{BranchName, CommitId, Reason, ReasonKind, Sparse, TaskEvent, TaskId, TaskSpec, TaskState};
use crate::sys::{fs, random};
use crate::worktree::WorktreeError;
use crate::worktree::import::update_ref;
use crate::worktree::import_submodules;
use crate::worktree::merge::{self, Merged, Signature, merge_trees};
use crate::worktree::ports;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::reach;
use crate::worktree::sealed::{self, SealRequest, SealedPaths};

/// What preparing came to.
enum Preparation {
    Ready(Box<Prepared>),
    Refused(Reason),
}

/// Works on a task that was admitted, until it comes to rest.
pub async fn work(context: Arc<Context>, id: TaskId) -> Result<TaskState, RunError> {
    let (places, turn) = match admission::admit(&context, &id).await? {
        Admitted::Go(places, turn) => (places, turn),
        Admitted::Not if context.has_to_stop(&id) => return cancel(&context, &id),
        Admitted::Not => return Ok(TaskState::Queued),
    };
    context
        .store(|store| store.move_task(&context.run.id, &id, TaskEvent::Lease, json!({}), |task| task.delay = None))?;
    drop(turn);
    let prepared = {
        let (context, id) = (Arc::clone(&context), id.clone());
        blocking(move || prepare(&context, &id)).await?
    };
    let prepared = match prepared {
        Ok(Preparation::Ready(prepared)) => *prepared,
        Ok(Preparation::Refused(reason)) => return reject(&context, &id, reason),
        Err(error) => return fail(&context, &id, "the workspace cannot be made", error),
    };
    if context.has_to_stop(&id) {
        return cancel(&context, &id);
    }
    let token = random::token().map_err(WorktreeError::Random)?;
    let ended = task_attempt::run(&context, &id, &prepared, (&token, places)).await;
    conclude(&context, &id, prepared, ended).await
}

/// What an attempt's end means for its task.
pub async fn conclude(
    context: &Arc<Context>,
    id: &TaskId,
    prepared: Prepared,
    ended: Result<AttemptEnd, RunError>,
) -> Result<TaskState, RunError> {
    let end = match ended {
        Ok(end) => end,
        Err(error) if matches!(error, RunError::Store(_)) || room::is_full(&error) => return Err(error),
        // Not on record: the last attempt there is another one, which ended as that says.
        Err(error) if context.task(id)?.state == TaskState::Leased => {
            return fail(context, id, "its attempt cannot begin", error);
        }
        Err(error) => {
            judge::take_back(context, &context.task(id)?)?;
            close_attempt(context, id, None, Some(failure::without_end(error)))?;
            return after_failure(context, id);
        }
    };
    let task = context.task(id)?;
    judge::take_back(context, &task)?;
    judge::hear_the_rest(context, &task, &end);
    let failed = match task.attempts.last().and_then(|attempt| attempt.agent.as_ref()) {
        // An exit code alone is no answer of an agent's.
        Some(_) if end.stopped.is_none() => judge::failure(context, &context.task(id)?, &end).map(Wrong::from),
        _ => failure::failure(&end).map(|wrong| judge::with_fault(context, &task, &end, wrong)),
    };
    let ended_well = failed.is_none();
    close_attempt(context, id, Some(&end), failed)?;
    if ended_well || is_unanswered(&context.task(id)?) {
        return take(context, id, prepared).await;
    }
    after_failure(context, id)
}

/// The result of an attempt that ended well, or what one has made whose question nobody answered.
pub async fn take(context: &Arc<Context>, id: &TaskId, prepared: Prepared) -> Result<TaskState, RunError> {
    let (context, id) = (Arc::clone(context), id.clone());
    blocking(move || result::take(&context, &id, &prepared)).await?
}

fn prepare(context: &Context, id: &TaskId) -> Result<Preparation, RunError> {
    let (run, repo) = (&context.run.id, &context.repo);
    let task = context.task(id)?;
    let paths = context.paths(id)?;
    if let Some(prepared) = as_it_was_left(context, &task, &paths)? {
        return Ok(Preparation::Ready(Box::new(prepared)));
    }
    clear_earlier(context, &task, &paths)?;
    let base = match base_of(context, &task)? {
        Ok(base) => base,
        Err(reason) => return Ok(Preparation::Refused(reason)),
    };
    context.store(|store| {
        let data = json!({"base": base, "box": paths.enclosure});
        store.edit_task(run, id, "workspace.create", data, |task| {
            task.base = Some(base.clone());
            task.workspace = Some(paths.enclosure.clone());
        })
    })?;
    task_branch::put(context, &task, &base, "treehand: task started")?;
    let of_conflict = task.resolving.iter().flat_map(|resolving| [&resolving.base, &resolving.commit]);
    let lent: Vec<&CommitId> = [&context.run.base.commit, &base].into_iter().chain(of_conflict).collect();
    let lenders = context.lend(&lent)?;
    let base_name = BranchName::parse(&context.run.base.reference).ok();
    let sparse = sparse(context, &task)?;
    let request = SealRequest {
        base: &base,
        branch: &task.branch,
        base_name: base_name.as_ref(),
        lenders: &lenders,
        identity: &context.identity,
        lock_reason: Some(format!("treehand run {run} task {id}")),
        submodules: context.run.submodules,
        sparse: sparse.as_ref(),
        held: None,
    };
    let made = sealed::create(repo, &paths, &request)?;
    context.note_missing(id, "workspace.submodules", &made.submodules)?;
    reach::furnish(&paths, &context.identity)?;
    if let Some(resolving) = &task.resolving {
        resolve::lay_out(context, &task, resolving, (&paths, &base))?;
    }
    Ok(Preparation::Ready(Box::new(Prepared { paths, base, lenders, filled: Some(made.filled), goes_on: None })))
}

/// What it gets of the files, where not everything; in a conflict it has to see whatever that touches.
fn sparse(context: &Context, task: &TaskRecord) -> Result<Option<Patterns>, RunError> {
    if task.resolving.is_some() {
        return Ok(None);
    }
    let all = match task.spec.sparse {
        Sparse::Auto => context.store(|store| store.tasks(&context.run.id))?,
        Sparse::Whole | Sparse::Directories(_) => Vec::new(),
    };
    let all: Vec<&TaskSpec> = all.iter().map(|task| &task.spec).collect();
    Ok(extent(&task.spec, &all).map(|directories| Patterns::of(&directories)))
}

/// The workspace of the attempt before, where the next one goes on with what that left.
fn as_it_was_left(context: &Context, task: &TaskRecord, paths: &SealedPaths) -> Result<Option<Prepared>, RunError> {
    let goes_on = {
        let model = |choice: &AgentChoice| equip::model(&context.run, choice);
        succession::goes_on(task, |name| equip::can_resume(&context.run, name), model)
    };
    let (Some(goes_on), Some(base)) = (goes_on, &task.base) else { return Ok(None) };
    if task.workspace.is_none() || !fs::exists(&paths.tree)? || !sealed::is_signed(paths)? {
        return Ok(None);
    }
    result::mend_ties(context, task, paths)?;
    if goes_on.session.is_none() {
        // What another agent configured there would run with the credentials of this one.
        discard::homes_to_trash(&context.repo, &context.run.id, (task, paths))?;
        reach::furnish(paths, &context.identity)?;
    }
    let data = json!({"base": base, "box": paths.enclosure, "session": goes_on.session});
    context.store(|store| store.edit_task(&context.run.id, &task.id, "workspace.continue", data, |_| {}))?;
    let lenders = context.lend(&[&context.run.base.commit, base])?;
    Ok(Some(Prepared { paths: paths.clone(), base: base.clone(), lenders, filled: None, goes_on: Some(goes_on) }))
}

/// An earlier attempt's workspace goes to the trash as it is, so that a new attempt starts clean and nothing is lost; so
/// does one that a supervisor was making when it died.
fn clear_earlier(context: &Context, task: &TaskRecord, paths: &SealedPaths) -> Result<(), RunError> {
    if !fs::exists(&paths.enclosure)? && !fs::exists(&paths.private)? {
        return Ok(());
    }
    if task.attempts.is_empty() && !sealed::is_signed(paths)? {
        // What a crash leaves before the sign is there is empty; anything else is a person's.
        return sealed::remove_unsigned(paths).map_err(|_| {
            let message = format!("{} is there already", paths.enclosure.display());
            WorktreeError::refused(message, "move it away").into()
        });
    }
    let trash = discard::to_trash(&context.repo, &context.run.id, (task, paths))?;
    let data = json!({"trash": trash});
    context.store(|store| store.edit_task(&context.run.id, &task.id, "workspace.trashed", data, |_| {}))?;
    Ok(())
}

/// A task's workspace as an earlier supervisor made it.
pub fn prepared_before(context: &Context, id: &TaskId) -> Result<Prepared, RunError> {
    let task = context.task(id)?;
    let base = task.base.unwrap_or_else(|| context.run.base.commit.clone());
    let lenders = context.lend(&[&context.run.base.commit, &base])?;
    Ok(Prepared { paths: context.paths(id)?, base, lenders, filled: None, goes_on: None })
}

/// The commit that a task starts from: the target, where it has a conflict with that to resolve, or where that has something new
/// that the task may change, too; else the run's base, or the results of what it needs, merged in memory in order.
fn base_of(context: &Context, task: &TaskRecord) -> Result<Result<CommitId, Reason>, RunError> {
    if task.resolving.is_some() {
        return resolve::base(context);
    }
    if let Some(tip) = same_files::newer_base(context, task)? {
        return Ok(Ok(tip));
    }
    let results = results_of_needs(context, task)?;
    let Some((_, first)) = results.first().cloned() else { return Ok(Ok(context.run.base.commit.clone())) };
    if let Some(base) = &task.base
        && context.repo.reader().has_commit(base).map_err(WorktreeError::from)?
    {
        // Merged for an earlier attempt, or by a supervisor that died: merged again it would be another commit.
        return Ok(Ok(base.clone()));
    }
    let quarantine = Quarantine::create(&context.repo, &first)?;
    let merged = merge_needs(context, &quarantine, task, &first, &results[1..]);
    let merged = match merged {
        Ok(Ok(commit)) if commit != first => pin(context, &quarantine, task, &commit).map(|()| Ok(commit)),
        other => other,
    };
    quarantine.discard()?;
    merged
}

fn results_of_needs(context: &Context, task: &TaskRecord) -> Result<Vec<(TaskId, CommitId)>, RunError> {
    let (mut results, mut landed) = (Vec::new(), Vec::new());
    for need in &task.spec.needs {
        let record = context.task(need)?;
        landed.push(record.landed.map(|landed| landed.commit));
        let result = match record.commit {
            Some(commit) if record.state != TaskState::NoChange => Some(commit),
            // A need that changed nothing still hands on what it started from.
            _ => record.base.filter(|base| *base != context.run.base.commit),
        };
        results.push((need.clone(), result));
    }
    // What began where another had landed has that as it landed: merged with it as it was captured, it would conflict with itself.
    let reader = context.repo.reader();
    let mut within = BTreeSet::new();
    for (n, landed) in landed.iter().enumerate() {
        let Some(landed) = landed else { continue };
        for (_, other) in results.iter().enumerate().filter(|(other, _)| *other != n) {
            if let (_, Some(commit)) = other
                && same_files::holds(&reader, commit, landed)?
            {
                within.insert(n);
            }
        }
    }
    let kept = results.into_iter().enumerate().filter(|(n, _)| !within.contains(n));
    Ok(kept.filter_map(|(_, (need, result))| Some((need, result?))).collect())
}

fn merge_needs(
    context: &Context,
    quarantine: &Quarantine,
    task: &TaskRecord,
    first: &CommitId,
    rest: &[(TaskId, CommitId)],
) -> Result<Result<CommitId, Reason>, RunError> {
    let mut merged = first.clone();
    for (need, commit) in rest {
        let reader = context.repo.reader();
        let known = merged == *first;
        if known && reader.is_ancestor(commit, &merged).map_err(WorktreeError::from)? {
            continue;
        }
        if known && reader.is_ancestor(&merged, commit).map_err(WorktreeError::from)? {
            merged = commit.clone();
            continue;
        }
        match merge_trees(quarantine, None, &merged, commit)? {
            Merged::Clean(tree) => {
                let message = format!("treehand: what {}/{} starts from\n", context.run.id, task.id);
                merged = merge::commit_tree(quarantine, &tree, &[&merged, commit], &message, &Signature::default())?;
            }
            Merged::Conflict(paths) => {
                let message =
                    format!("the results that it needs conflict with each other, at the latest with `{need}`");
                return Ok(Err(Reason::new(ReasonKind::Conflict, message).with_paths(paths)));
            }
        }
    }
    Ok(Ok(merged))
}

/// Holds a synthetic base for as long as its task lives.
fn pin(context: &Context, quarantine: &Quarantine, task: &TaskRecord, commit: &CommitId) -> Result<(), RunError> {
    let kept = quarantine.migrate(std::slice::from_ref(commit), std::slice::from_ref(&context.run.base.commit))?;
    let name = pin_name(context, &task.id);
    let now = context.repo.reader().ref_commit(&name).map_err(WorktreeError::from)?;
    let pinned = update_ref(&context.repo, &name, Some(commit), now.as_ref(), "treehand: base of a task");
    kept.release()?;
    Ok(pinned?)
}

fn pin_name(context: &Context, id: &TaskId) -> String {
    format!("refs/treehand/base/{}/{id}", context.run.id)
}

/// Removes the pins of a run that is over; while it lives a later task may build on any of them.
pub fn release_pins(context: &Context) -> Result<(), RunError> {
    let below = format!("refs/treehand/base/{}/", context.run.id);
    for (name, commit) in context.repo.reader().refs_below(&below).map_err(WorktreeError::from)? {
        update_ref(&context.repo, &name, None, Some(&commit), "treehand: run over")?;
    }
    Ok(())
}

/// Removes what a task no longer needs: workspace and branch of one that landed, changed nothing or was skipped.
pub fn reclaim(context: &Context, id: &TaskId) -> Result<(), RunError> {
    let task = context.task(id)?;
    let done = matches!(task.state, TaskState::Landed | TaskState::NoChange | TaskState::Skipped);
    // What a person offered is on their own branch, whatever became of it.
    if !done && task.offered.is_none() {
        return Ok(());
    }
    if task.accepted {
        // It waited, and somebody may have worked in there meanwhile: `clean` looks.
        return Ok(());
    }
    if task.workspace.is_some() {
        let paths = context.paths(id)?;
        sealed::remove(&paths)?;
        ports::release(&context.repo, &paths.tree);
    }
    // The branch goes only while it is where we left it: commits that a person added to it stay.
    let expected = task.commit.clone().or(task.base.clone());
    let branch = context.repo.reader().ref_commit(&task.branch.full_ref()).map_err(WorktreeError::from)?;
    if let Some(tip) = branch.filter(|tip| expected.as_ref() == Some(tip)) {
        update_ref(&context.repo, &task.branch.full_ref(), None, Some(&tip), "treehand: reclaimed")?;
    }
    if let Some(commit) = &task.commit {
        import_submodules::reclaim(&context.repo, &task.branch.full_ref(), commit)?;
    }
    let data = json!({"state": task.state});
    context
        .store(|store| store.edit_task(&context.run.id, id, "task.reclaimed", data, |task| task.workspace = None))?;
    Ok(())
}
