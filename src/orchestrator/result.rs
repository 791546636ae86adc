//! From a task that ended well to a candidate: what it did is captured, imported onto its branch, and held against the rules.
//!
//! Whatever a rule says, the work is on its branch to be looked at; the rules decide whether it lands, waits or is rejected.

use std::path::PathBuf;

use serde_json::json;

use super::agents::judge;
use super::agents::succession::GoesOn;
use super::context::{Context, RunError};
use super::failure::{self, is_unanswered};
use super::forward::{self, Made};
use super::messages::{self, Origin};
use super::refusal;
use super::resolve;
use super::room;
use crate::model::cause::chain;
use crate::model::record::{ConfineLevel, Filled, TaskRecord};
use crate::model::{CommitId, Handling, Reason, ReasonKind, TaskEvent, TaskId, TaskState};
use crate::sys::fs;
use crate::worktree::apart::Touch;
use crate::worktree::capture::{CaptureRequest, capture};
use crate::worktree::import::{ImportRequest, import};
use crate::worktree::result_policy::{self, Refusal, ResultChanges};
use crate::worktree::sealed::SealedPaths;
use crate::worktree::{WorktreeError, folding, hooks, sensitive, submodule_moves, ties};

/// Most bytes that one result may bring.
const RESULT_MAX: u64 = 20 << 30;

/// A workspace that is ready for an attempt.
pub struct Prepared {
    /// Its parts.
    pub paths: SealedPaths,
    /// The commit that it started from.
    pub base: CommitId,
    /// Object directories that are lent to it.
    pub lenders: Vec<PathBuf>,
    /// How its files got there, where it is new.
    pub filled: Option<Filled>,
    /// With what of an earlier attempt it goes on.
    pub goes_on: Option<GoesOn>,
}

/// What keeps a result from landing by itself, and how far.
type Verdict = Option<(Handling, Refusal)>;

/// Captures what the task did and imports it onto its branch.
pub fn take(context: &Context, id: &TaskId, prepared: &Prepared) -> Result<TaskState, RunError> {
    let task = context.task(id)?;
    if let (true, Some(resolving)) = (is_unanswered(&task), &task.resolving) {
        return refusal::reject(context, id, resolving.in_vain("nobody answered in time"));
    }
    if is_unanswered(&task) {
        return take_unanswered(context, &task, prepared);
    }
    match capture_and_import(context, id, prepared) {
        Ok(None) => {
            if let Some(failed) = judge::unchanged(context, &task) {
                return failure::judged(context, id, failed);
            }
            let run = &context.run.id;
            let task = context
                .store(|s| s.move_task(run, id, TaskEvent::NothingChanged, json!({}), |task| task.resolving = None))?;
            Ok(task.state)
        }
        Ok(Some((commit, changes, verdict))) => {
            let run = &context.run.id;
            let left = resolve::left_over(context, &task, &commit)?;
            if let (Some(left), Some(resolving)) = (left, &task.resolving) {
                return refusal::reject(context, id, resolving.in_vain(&left));
            }
            let made = Made { base: prepared.base.clone(), commit, changes };
            let (made, event, reason) = match rule(context, &task, made, verdict) {
                Ok(ruled) => ruled,
                Err(error) => return refusal::fail(context, id, "the result cannot be taken", error),
            };
            let Made { base, commit, changes } = made;
            let captured = (TaskEvent::Capture, json!({"commit": commit, "changes": changes.count}));
            let reason = reason.map(|reason| context.without_secrets(reason)).transpose()?;
            // What was captured and what is to come of it are one step: nobody has to find the verdict again.
            let judged = (event, json!({"reason": reason}));
            let task = context.store(|store| {
                store.move_task_through(run, id, &[captured, judged], |task| {
                    (task.base, task.commit) = (Some(base), Some(commit));
                    (task.changes, task.resolving) = (Some(changes.count), None);
                    task.reason = reason.or(task.reason.take());
                })
            })?;
            Ok(task.state)
        }
        Err(RunError::Worktree(WorktreeError::BadResult { message, paths })) => {
            refusal::reject(context, id, Reason::new(ReasonKind::Policy, message).with_paths(paths))
        }
        Err(error) => refusal::fail(context, id, "the result cannot be taken", error),
    }
}

/// What is to come of a result by the rules, and, where these let it go on, by the policy on stale bases.
fn rule(
    context: &Context,
    task: &TaskRecord,
    made: Made,
    verdict: Verdict,
) -> Result<(Made, TaskEvent, Option<Reason>), RunError> {
    let reason = |kind, why: Refusal| Some(Reason::new(kind, why.message).with_paths(why.paths));
    match verdict {
        Some((Handling::Refuse, why)) => Ok((made, TaskEvent::Reject, reason(ReasonKind::Policy, why))),
        Some((Handling::NeedsPerson, why)) => Ok((made, TaskEvent::Hold, reason(ReasonKind::Attention, why))),
        Some((Handling::Allow, _)) | None => {
            let allows = |made: &Made| {
                let verdict = judge(context, &task.spec.paths, (&made.base, &made.commit), &made.changes)?;
                Ok(!matches!(verdict, Some((Handling::Refuse | Handling::NeedsPerson, _))))
            };
            let (made, refused) = forward::settle(context, task, made, allows)?;
            let event = if refused.is_some() { TaskEvent::Reject } else { TaskEvent::Enqueue };
            Ok((made, event, refused))
        }
    }
}

/// What a task has made so far whose question nobody answered in time: a person decides whether it lands or is done again. What
/// cannot be taken stays in its workspace alone.
fn take_unanswered(context: &Context, task: &TaskRecord, prepared: &Prepared) -> Result<TaskState, RunError> {
    let (run, id) = (&context.run.id, &task.id);
    let question = task.question.as_ref().map(|question| question.text.as_str()).unwrap_or_default();
    let mut message = format!("nobody answered in time: {question}");
    let made = match capture_and_import(context, id, prepared) {
        Ok(Some((_, _, Some((Handling::Refuse, why))))) => {
            message.push_str(&format!("; what it made so far does not land: {}", why.message));
            None
        }
        Ok(made) => made.map(|(commit, changes, _)| (commit, changes)),
        Err(error) if room::is_full(&error) || matches!(error, RunError::Store(_)) => return Err(error),
        Err(error) => {
            message.push_str(&format!("; what it made so far cannot be taken: {}", chain(&error)));
            None
        }
    };
    let reason = context.without_secrets(Reason::new(ReasonKind::Attention, message))?;
    let captured = made
        .as_ref()
        .map(|(commit, changes)| (TaskEvent::Capture, json!({"commit": commit, "changes": changes.count})));
    let held = (TaskEvent::Hold, json!({"reason": reason}));
    let steps: Vec<_> = captured.into_iter().chain([held]).collect();
    let task = context.store(|store| {
        store.move_task_through(run, id, &steps, |task| {
            task.reason = Some(reason);
            if let Some((commit, changes)) = made {
                (task.commit, task.changes) = (Some(commit), Some(changes.count));
            }
        })
    })?;
    Ok(task.state)
}

fn capture_and_import(
    context: &Context,
    id: &TaskId,
    prepared: &Prepared,
) -> Result<Option<(CommitId, ResultChanges, Verdict)>, RunError> {
    let tree = &prepared.paths.tree;
    if !fs::exists(tree)? {
        let message = format!("its workspace is gone: {}", tree.display());
        return Err(WorktreeError::Refused { message, hint: None }.into());
    }
    let task = context.task(id)?;
    forward::take_back(context, &task)?;
    let replaced = mend_ties(context, &task, &prepared.paths)?;
    let origin = Origin { run: &context.run.id, task: id };
    let message = messages::capture(&task.spec, &origin);
    let base = &prepared.base;
    let leaves = judge::leaves(context, &task);
    let request = CaptureRequest {
        leaves: &leaves,
        base,
        lenders: &prepared.lenders,
        identity: &context.identity,
        message: &message,
        touch: Touch::Nothing,
        // Taken once more after a crash, it is the same commit.
        at: task.attempts.last().and_then(|attempt| attempt.ended_at),
    };
    let captured = capture(&context.repo, &prepared.paths, &request)?;
    if captured.commit == prepared.base {
        return Ok(None);
    }
    let reference = task.branch.full_ref();
    let reflog = format!("treehand: result of {}/{id}", context.run.id);
    let request = ImportRequest {
        base: &prepared.base,
        reference: &reference,
        expected: Some(&prepared.base),
        // What is outside its paths comes onto its branch, to be looked at, and does not land.
        paths: &[],
        max_bytes: RESULT_MAX,
        message: &reflog,
    };
    let changes = import(&context.repo, &captured, &request)?;
    let verdict = judge(context, &task.spec.paths, (base, &captured.commit), &changes)?;
    Ok(Some((captured.commit, changes, verdict.or_else(|| tampered(&replaced)))))
}

/// Every rule for results, the ones that refuse first.
fn judge(
    context: &Context,
    patterns: &[String],
    (base, commit): (&CommitId, &CommitId),
    changes: &ResultChanges,
) -> Result<Verdict, RunError> {
    let repo = &context.repo;
    let allowed = result_policy::compile(patterns).map_err(|message| RunError::Usage { message })?;
    let refused = |refusal| Ok(Some((Handling::Refuse, refusal)));
    if let Some(refusal) = result_policy::judge(changes, patterns, &allowed) {
        return refused(refusal);
    }
    if let Some(refusal) = folding::refuse_twins(repo, commit, &changes.raw)? {
        return refused(refusal);
    }
    if let Some(refusal) = submodule_moves::refuse_unknown(repo, base, commit, &changes.raw)? {
        return refused(refusal);
    }
    let hooks = hooks::directory_in_tree(repo)?;
    let named = (patterns, hooks.as_deref());
    Ok(sensitive::judge(repo, (base, commit), &changes.raw, named, &context.run.sensitive)?)
}

/// Puts back what ties the workspace to its git dir, where the task was to leave it alone; which of that it had replaced.
pub fn mend_ties(context: &Context, task: &TaskRecord, paths: &SealedPaths) -> Result<Vec<PathBuf>, RunError> {
    if matches!(context.granted.level(), ConfineLevel::Off | ConfineLevel::External) {
        return Ok(Vec::new());
    }
    let replaced = ties::replaced(paths);
    if !replaced.is_empty() {
        // Written down before it is put back: after a crash nothing else tells of it.
        let (data, new) = (json!({"paths": replaced}), replaced.clone());
        context.store(|store| {
            store.edit_task(&context.run.id, &task.id, "task.tampered", data, |task| task.tampered.extend(new))
        })?;
        ties::mend(paths)?;
    }
    let known = task.tampered.iter().filter(|path| !replaced.contains(path)).cloned();
    Ok(known.chain(replaced.iter().cloned()).collect())
}

/// A person looks at what a task did that went for the files around its work.
fn tampered(replaced: &[PathBuf]) -> Verdict {
    let paths: Vec<String> = replaced.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let message = "the task replaced files that tie its workspace to its git dir (they were put back): a person has to look at it";
    (!paths.is_empty()).then(|| (Handling::NeedsPerson, Refusal { message: message.into(), paths }))
}
