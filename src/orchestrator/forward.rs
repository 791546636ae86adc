//! What the policy on stale bases makes of a captured result: nothing, a refusal, or the result brought forward, its commits put
//! onto the tip of the target in memory.
//!
//! Promises: a result that does not go onto the tip stays as it was captured, and goes on; as it was captured it stays reachable
//! also when it does. What is about to be done is on record before it is done, so that whoever goes on after a crash takes it back
//! and decides anew.

use serde_json::json;

use super::behind::{self, Target};
use super::context::{Context, RunError};
use super::stale::{self, Facts, Step};
use super::{lookout, room};
use crate::model::cause::chain;
use crate::model::record::{ForwardRecord, TaskRecord};
use crate::model::{CommitId, Reason, ReasonKind, StalePolicy, TaskFreshness, TaskState};
use crate::sys::git::Reader;
use crate::worktree::WorktreeError;
use crate::worktree::import::{RefChange, changes, update_ref, update_refs};
use crate::worktree::quarantine::{Kept, Quarantine};
use crate::worktree::replay::{self, Replayed};
use crate::worktree::result_policy::ResultChanges;

/// A result on top of its base.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it starts from.
    pub base: CommitId,
    /// It.
    pub commit: CommitId,
    /// What it changes.
    pub changes: ResultChanges,
}

/// Takes back what a supervisor that died had begun: the branch is at the result as it was captured.
pub fn take_back(context: &Context, task: &TaskRecord) -> Result<(), RunError> {
    let Some(ForwardRecord { from, commit, .. }) = &task.forward else { return Ok(()) };
    let (reference, reader) = (task.branch.full_ref(), context.repo.reader());
    if reader.ref_commit(&reference).map_err(WorktreeError::from)?.as_ref() == Some(commit) {
        update_ref(&context.repo, &reference, Some(from), Some(commit), "treehand: the result as it was captured")?;
    }
    Ok(())
}

/// Applies the policy to a result that would go on to land: the result, brought forward perhaps, or why it is refused. `allows`
/// says of another form of it whether it may land as well.
pub fn settle(
    context: &Context,
    task: &TaskRecord,
    made: Made,
    allows: impl Fn(&Made) -> Result<bool, RunError>,
) -> Result<(Made, Option<Reason>), RunError> {
    let policy = stale::policy(&context.run, task);
    match try_settle(context, task, &made, allows) {
        Ok(Settled::AsItIs) => Ok((made, None)),
        Ok(Settled::Refused(reason)) => Ok((made, Some(reason))),
        Ok(Settled::Forward(forward)) => Ok((forward, None)),
        // What cannot be looked at is as it would be without looking; only who wants no stale result has to know.
        Err(error) if policy == StalePolicy::Block || room::is_full(&error) => Err(error),
        Err(RunError::Worktree(error)) if !matches!(error, WorktreeError::Store(_)) => {
            tracing::warn!(task = %task.id, error = chain(&error), "the result stays as it was captured");
            Ok((made, None))
        }
        Err(error) => Err(error),
    }
}

enum Settled {
    AsItIs,
    Refused(Reason),
    Forward(Made),
}

fn try_settle(
    context: &Context,
    task: &TaskRecord,
    made: &Made,
    allows: impl Fn(&Made) -> Result<bool, RunError>,
) -> Result<Settled, RunError> {
    let reader = context.repo.reader();
    let task = TaskRecord { base: Some(made.base.clone()), commit: Some(made.commit.clone()), ..task.clone() };
    let target = lookout::target(context, &reader)?;
    let lacks = lookout::lacks(context, &reader, &target, &task)?;
    let fresh = lacks.told(Some(lacks.touched_by(&reader, &made.base, &made.commit)?));
    let facts = facts(context, &reader, (&task, &target), !fresh.missing.is_empty())?;
    match (stale::decide(&facts), target.tip()) {
        (Step::Refuse, _) => {
            lookout::note(context, &task, &fresh)?;
            Ok(Settled::Refused(refusal(context, fresh)))
        }
        (Step::BringForward, Some(tip)) => match bring(context, &reader, (&task, made), (tip, &fresh), allows)? {
            Ok(forward) => Ok(Settled::Forward(forward)),
            Err(why) => stays(context, &task, &fresh, Some(&why)),
        },
        (Step::Tell(why), _) => stays(context, &task, &fresh, why),
        (Step::Proceed | Step::BringForward, _) => Ok(Settled::AsItIs),
    }
}

fn facts(
    context: &Context,
    reader: &Reader,
    (task, target): (&TaskRecord, &Target),
    behind: bool,
) -> Result<Facts, RunError> {
    let (run, policy) = (&context.run, stale::policy(&context.run, task));
    let mut facts = Facts { policy, behind, foreign: false, here: false, strategy: run.strategy, stands_alone: false };
    if !behind {
        return Ok(facts);
    }
    if policy == StalePolicy::Block {
        let own = context.store(|store| store.tasks(&run.id))?;
        let own = behind::landed(reader, &own)?;
        facts.foreign = !behind::lacks(reader, target, (run, task), &own)?.commits.is_empty();
    }
    if policy == StalePolicy::Update {
        facts.here = !lookout::lacks(context, reader, &target.here(), task)?.commits.is_empty();
        let needs = behind::needs(task, |id| context.task(id))?;
        let is_in = |need: &TaskRecord| matches!(need.state, TaskState::Landed | TaskState::NoChange);
        facts.stands_alone = needs.iter().all(is_in);
    }
    Ok(facts)
}

fn refusal(context: &Context, fresh: TaskFreshness) -> Reason {
    let (count, into) = (fresh.missing.len(), &context.run.into);
    let commits = if count == 1 { "commit" } else { "commits" };
    let newest = fresh.missing.first().map(String::as_str).unwrap_or_default();
    let more = if count > 1 { ", …" } else { "" };
    let message =
        format!("its base is {}: `{into}` has {count} {commits} that it lacks: {newest}{more}", fresh.state.word());
    Reason::new(ReasonKind::Stale, message).with_paths(fresh.touches.unwrap_or_default())
}

/// Goes on with the result as it was captured.
fn stays(context: &Context, task: &TaskRecord, fresh: &TaskFreshness, why: Option<&str>) -> Result<Settled, RunError> {
    lookout::note(context, task, fresh)?;
    if let Some(why) = why {
        let data = json!({"why": context.masked(why)?});
        context.store(|store| store.edit_task(&context.run.id, &task.id, "task.kept_back", data, |_| {}))?;
    }
    Ok(Settled::AsItIs)
}

/// Puts a result onto the tip of its target, and its branch with it; why not, in words.
fn bring(
    context: &Context,
    reader: &Reader,
    (task, made): (&TaskRecord, &Made),
    (tip, fresh): (&CommitId, &TaskFreshness),
    allows: impl Fn(&Made) -> Result<bool, RunError>,
) -> Result<Result<Made, String>, RunError> {
    let repo = &context.repo;
    let (commit, kept) = match replayed(context, made, tip)? {
        Ok(done) => done,
        Err(why) => return Ok(Err(why)),
    };
    let changes = changes(repo.bare([] as [&str; 0]), tip, &commit)?;
    let forward = Made { base: tip.clone(), commit, changes };
    if !allows(&forward)? {
        kept.release()?;
        return Ok(Err("a rule for results would refuse it there".into()));
    }
    lookout::note(context, task, fresh)?;
    let record = ForwardRecord { from: made.commit.clone(), base: tip.clone(), commit: forward.commit.clone() };
    let data = json!({"from": record.from, "base": record.base, "commit": record.commit});
    let change = |task: &mut TaskRecord| task.forward = Some(record);
    context.store(|store| store.edit_task(&context.run.id, &task.id, "task.forward", data, change))?;
    let captured = format!("refs/treehand/merged/{}/{}.captured", context.run.id, task.id);
    let before = reader.ref_commit(&captured).map_err(WorktreeError::from)?;
    let moves = [
        RefChange { reference: captured, new: Some(made.commit.clone()), expected: before },
        RefChange {
            reference: task.branch.full_ref(),
            new: Some(forward.commit.clone()),
            expected: Some(made.commit.clone()),
        },
    ];
    let moved = update_refs(repo, &moves, "treehand: brought forward");
    kept.release()?;
    moved?;
    Ok(Ok(forward))
}

/// The commits of a result on top of the tip, in the repository; why not, in words.
fn replayed(context: &Context, made: &Made, tip: &CommitId) -> Result<Result<(CommitId, Kept), String>, RunError> {
    let quarantine = Quarantine::create(&context.repo, tip)?;
    let put = || -> Result<Result<(CommitId, Kept), String>, WorktreeError> {
        let range = format!("{}..{}", made.base, made.commit);
        let mut picks = replay::picks(&quarantine, &["--first-parent", &range])?;
        // Of a task that builds on others the base holds their results, merged.
        if let Some(first) = picks.first_mut() {
            first.parent = Some(made.base.clone());
        }
        let commit = match replay::replay(&quarantine, &picks, tip, None) {
            Ok(Replayed::Done(commit)) => commit,
            Ok(Replayed::Conflict { paths, .. }) => {
                return Ok(Err(format!("it conflicts with `{}`: {}", context.run.into, paths.join(", "))));
            }
            Err(error @ WorktreeError::Unsigned { .. }) => return Ok(Err(chain(&error))),
            Err(error) => return Err(error),
        };
        if commit == *tip {
            return Ok(Err(format!("`{}` has all of it", context.run.into)));
        }
        let kept = quarantine.migrate(std::slice::from_ref(&commit), &[tip.clone(), made.commit.clone()])?;
        Ok(Ok((commit, kept)))
    };
    let put = put();
    quarantine.discard()?;
    Ok(put?)
}
