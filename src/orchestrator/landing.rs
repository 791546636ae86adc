//! Landing: a result is merged in memory with the target's tip, judged by the gates on exactly that tree, and becomes the
//! new tip by compare-and-swap; when the tip has moved meanwhile, all of it again.
//!
//! A dependent is merged with its recorded base (the merged needs it started from) as merge base, so that a squashed
//! predecessor gives no false conflict. A conflict leaves every tree and ref untouched.

use std::sync::Arc;

use serde_json::json;

use super::context::{Context, RunError, blocking};
use super::gates::{self, Judged, Verdict};
use super::messages::{self, Origin};
use super::{kept, recover, room, turn};
use crate::model::cause::chain;
use crate::model::record::TaskRecord;
use crate::model::{CommitId, GateSpec, Reason, ReasonKind, Strategy, TaskEvent, TaskId, TaskState};
use crate::store::{Intent, Landing};
use crate::sys::lock::FileLock;
use crate::sys::{clock, proc};
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::error::Result as WorktreeResult;
use crate::worktree::housekeeping;
use crate::worktree::index_lock::Obstacle;
use crate::worktree::merge::{self, Merged, Signature, merge_trees};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::replay::{self, Pick, Replayed};
use crate::worktree::{Repository, WorktreeError};

/// How often the target may move under one landing before it is given up as busy.
const ROUNDS: u32 = 50;

/// A result to be landed.
#[derive(Clone, Debug)]
struct Entry {
    task: TaskRecord,
    base: CommitId,
    commit: CommitId,
    gates: Vec<GateSpec>,
}

/// What merging an entry with a tip gave.
enum Candidate {
    /// A commit in quarantine, with its tree.
    Made { quarantine: Quarantine, commit: CommitId, tree: CommitId },
    /// It does not go together, or must not land.
    Refused(Reason),
    /// Nothing of it is left to land: the target has it already.
    Nothing,
}

/// Lands the result of a task, or records why not. The state that it comes to rest in is the answer.
pub async fn land(context: &Arc<Context>, id: &TaskId) -> Result<TaskState, RunError> {
    let task = context.task(id)?;
    let (Some(base), Some(commit)) = (task.base.clone(), task.commit.clone()) else {
        let reason = Reason::new(ReasonKind::Empty, "there is no captured result to land");
        return reject(context, id, reason);
    };
    let gates = context.run.spec.gates.iter().chain(&task.spec.gates).cloned().collect();
    let entry = Entry { task, base, commit, gates };
    for _ in 0..ROUNDS {
        match round(context, &entry).await {
            Ok(Some(state)) => return Ok(state),
            Ok(None) => {}
            // It is the disk's doing, and not the result's.
            Err(error) if room::is_full(&error) => return Err(error),
            Err(RunError::Worktree(error @ WorktreeError::Unsigned { .. })) => {
                return reject(context, id, Reason::new(ReasonKind::Attention, chain(&error)));
            }
            Err(RunError::Worktree(error @ WorktreeError::Locked { .. })) => {
                return reject(context, id, Reason::new(ReasonKind::Busy, chain(&error)));
            }
            // What git cannot do with this result is this result's end, not the run's. Nothing of it has landed.
            Err(RunError::Worktree(error)) if !matches!(error, WorktreeError::Store(_)) => {
                let message = format!("it cannot be landed: {}", chain(&error));
                return reject(context, id, Reason::new(ReasonKind::Failed, message));
            }
            Err(error) => return Err(error),
        }
    }
    let message = format!("`{}` moved {ROUNDS} times while the result was to land", context.run.into);
    reject(context, id, Reason::new(ReasonKind::Busy, message))
}

/// One try; `None` when the target moved and it has to be done again.
async fn round(context: &Arc<Context>, entry: &Entry) -> Result<Option<TaskState>, RunError> {
    let id = &entry.task.id;
    // Gates can take their time, in which others may land.
    let turn = if entry.gates.is_empty() { take_turn(context).await? } else { None };
    let tip = context.repo.reader().ref_commit(&context.run.into.full_ref()).map_err(WorktreeError::from)?;
    let Some(tip) = tip else {
        let message = format!("the branch `{}` is gone", context.run.into);
        return reject(context, id, Reason::new(ReasonKind::InTheWay, message)).map(Some);
    };
    let candidate = {
        let (context, entry, tip) = (Arc::clone(context), entry.clone(), tip.clone());
        blocking(move || make_candidate(&context, &entry, &tip)).await??
    };
    let (quarantine, commit, tree) = match candidate {
        Candidate::Refused(reason) => return reject(context, id, reason).map(Some),
        Candidate::Nothing => return landed(context, entry, &tip, &tip, None).map(Some),
        Candidate::Made { quarantine, commit, tree } => (quarantine, commit, tree),
    };
    let source = quarantine.git_dir().to_owned();
    let judged = Judged { commit: commit.clone(), tree, source, task: id.clone() };
    let verdict = gates::judge(context, &entry.gates, &judged).await;
    if !matches!(verdict, Ok(Verdict::Passed)) {
        quarantine.discard()?;
        return match verdict? {
            Verdict::Failed { message, log, .. } => {
                let log = Some(log.to_string_lossy().into_owned());
                reject(context, id, Reason { log, ..Reason::new(ReasonKind::Gate, message) }).map(Some)
            }
            _ => cancel(context, id).map(Some),
        };
    }
    let moved = {
        let (context, entry, tip, commit) = (Arc::clone(context), entry.clone(), tip.clone(), commit.clone());
        let turn = if turn.is_some() { turn } else { take_turn(&context).await? };
        blocking(move || {
            let moved = move_target(&context, quarantine, &entry, &tip, &commit);
            drop(turn);
            moved
        })
        .await??
    };
    match moved {
        Moved::Landed(state) => {
            tidy_up(context).await?;
            Ok(Some(state))
        }
        Moved::Not(Advanced::InTheWay(Obstacle { message, paths })) => {
            reject(context, id, Reason::new(ReasonKind::InTheWay, message).with_paths(paths)).map(Some)
        }
        Moved::Not(Advanced::Busy { lock }) => {
            // Left by a process that died, perhaps: then it is completed, and this landing tried again.
            let repo = context.repo.clone();
            let recovered = blocking(move || recover::recover(&repo, &repo.store()?)).await??;
            if !recovered.settled.is_empty() {
                return Ok(None);
            }
            let message = format!("{} is held by another git process", lock.display());
            reject(context, id, Reason::new(ReasonKind::Busy, message)).map(Some)
        }
        Moved::Not(_) => Ok(None),
    }
}

/// Has git roll up the packs of many results. It has landed, whatever comes of that.
async fn tidy_up(context: &Arc<Context>) -> Result<(), RunError> {
    let repo = context.repo.clone();
    if let Err(error) = blocking(move || housekeeping::roll_up(&repo)).await? {
        tracing::warn!(error = chain(&error), "the packs of results are not rolled up");
    }
    Ok(())
}

async fn take_turn(context: &Arc<Context>) -> Result<Option<FileLock>, RunError> {
    let context = Arc::clone(context);
    blocking(move || turn::take(&context.repo, &context.run.into, turn::PATIENCE)).await?
}

fn make_candidate(context: &Context, entry: &Entry, tip: &CommitId) -> WorktreeResult<Candidate> {
    let quarantine = Quarantine::create(&context.repo, tip)?;
    let before = tip;
    let tip = &onto(context, tip)?;
    let origin = Origin { run: &context.run.id, task: &entry.task.id };
    let made = match context.run.strategy {
        Strategy::Squash => squash(&quarantine, entry, tip, &origin),
        Strategy::Merge => merge_commit(&quarantine, entry, tip, &origin),
        Strategy::Rebase => rebase(&quarantine, entry, tip, &origin),
        Strategy::Ff => fast_forward(&context.repo, entry, tip),
    };
    let made = made.and_then(|made| match made {
        Ok(commit) if commit == *before => Ok(Err(None)),
        Ok(commit) => {
            let tree = quarantine.command(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id()?;
            Ok(Ok((commit, tree)))
        }
        Err(paths) => conflict(context, entry, tip, paths).map(|reason| Err(Some(reason))),
    });
    match made {
        Ok(Ok((commit, tree))) => Ok(Candidate::Made { quarantine, commit, tree }),
        Ok(Err(refused)) => {
            quarantine.discard()?;
            Ok(refused.map_or(Candidate::Nothing, Candidate::Refused))
        }
        Err(error) => {
            quarantine.discard()?;
            Err(error)
        }
    }
}

/// What the result is put on: the target's tip, or the run's base where the target is merely behind it (a local branch
/// that was not pulled): the target is then brought up to the base by the same move.
fn onto(context: &Context, tip: &CommitId) -> WorktreeResult<CommitId> {
    let base = &context.run.base.commit;
    let behind = context.repo.reader().is_ancestor(tip, base)?;
    Ok(if behind { base.clone() } else { tip.clone() })
}

/// A commit, or the files in conflict; no files at all means that the target moved under a fast-forward.
type Made = WorktreeResult<Result<CommitId, Vec<String>>>;

fn squash(quarantine: &Quarantine, entry: &Entry, tip: &CommitId, origin: &Origin<'_>) -> Made {
    let tree = match merge_trees(quarantine, Some(&entry.base), tip, &entry.commit)? {
        Merged::Conflict(paths) => return Ok(Err(paths)),
        Merged::Clean(tree) => tree,
    };
    let tip_tree = quarantine.command(["rev-parse", "--verify", &format!("{tip}^{{tree}}")]).object_id()?;
    if tree == tip_tree {
        return Ok(Ok(tip.clone()));
    }
    let range = format!("{}..{}", entry.base, entry.commit);
    let log = quarantine.command(["log", "--first-parent", "--reverse", "--format=%s", "-z", &range, "--"]).run()?;
    let subjects: Vec<String> = log.records().map(|line| String::from_utf8_lossy(line).trim().to_owned()).collect();
    let message = messages::squash(&entry.task.spec, &subjects, origin);
    let signature = merge::author_of(quarantine, &entry.commit)?;
    merge::commit_tree(quarantine, &tree, &[tip], &message, &signature).map(Ok)
}

fn merge_commit(quarantine: &Quarantine, entry: &Entry, tip: &CommitId, origin: &Origin<'_>) -> Made {
    let tree = match merge_trees(quarantine, Some(&entry.base), tip, &entry.commit)? {
        Merged::Conflict(paths) => return Ok(Err(paths)),
        Merged::Clean(tree) => tree,
    };
    let message = messages::merge(&entry.task.spec, origin);
    merge::commit_tree(quarantine, &tree, &[tip, &entry.commit], &message, &Signature::default()).map(Ok)
}

/// Replays each commit of the task; what becomes empty is left out, as git does.
fn rebase(quarantine: &Quarantine, entry: &Entry, tip: &CommitId, origin: &Origin<'_>) -> Made {
    let range = format!("{}..{}", entry.base, entry.commit);
    let mut picks = replay::picks(quarantine, &["--first-parent", &range])?;
    // The base of a dependent holds what it needs merged, so its first commit is taken against that.
    if let Some(first) = picks.first_mut() {
        first.parent = Some(entry.base.clone());
    }
    let last = picks.last().map(|pick| pick.commit.clone());
    let message = |pick: &Pick| messages::replayed(&pick.message, origin, Some(&pick.commit) == last.as_ref());
    Ok(match replay::replay(quarantine, &picks, tip, Some(&message))? {
        Replayed::Done(commit) => Ok(commit),
        Replayed::Conflict { paths, .. } => Err(paths),
    })
}

fn fast_forward(repo: &Repository, entry: &Entry, tip: &CommitId) -> Made {
    let ahead = repo.reader().is_ancestor(tip, &entry.commit)?;
    Ok(if ahead { Ok(entry.commit.clone()) } else { Err(Vec::new()) })
}

/// Names the files and both sides' commits that touch them.
fn conflict(context: &Context, entry: &Entry, tip: &CommitId, paths: Vec<String>) -> WorktreeResult<Reason> {
    let into = &context.run.into;
    if paths.is_empty() {
        let message = format!("`{into}` has moved, so the result is no fast-forward of it");
        return Ok(Reason::new(ReasonKind::Stale, message));
    }
    let commits = |range: String| -> WorktreeResult<String> {
        let args = ["log", "-5", "--format=%h %s", "--no-decorate", &range, "--"];
        let text = context.repo.bare(args).args(&paths).text()?;
        Ok(text.lines().map(|line| format!("`{line}`")).collect::<Vec<_>>().join(", "))
    };
    let theirs = commits(format!("{}..{}", entry.base, entry.commit))?;
    let ours = commits(format!("{}..{tip}", entry.base))?;
    let message = format!("conflict with `{into}`: {ours} there against {theirs} here");
    Ok(Reason::new(ReasonKind::Conflict, message).with_paths(paths))
}

/// How moving the target went.
enum Moved {
    Landed(TaskState),
    Not(Advanced),
}

fn move_target(
    context: &Context,
    quarantine: Quarantine,
    entry: &Entry,
    tip: &CommitId,
    commit: &CommitId,
) -> Result<Moved, RunError> {
    let (run, into, id) = (&context.run.id, &context.run.into, &entry.task.id);
    // Before anything of it comes into the repository, where it would stay as garbage.
    let now = context.repo.reader().ref_commit(&into.full_ref()).map_err(WorktreeError::from)?;
    if now.as_ref() != Some(tip) {
        quarantine.discard()?;
        return Ok(Moved::Not(Advanced::Raced));
    }
    let known = [tip.clone()];
    let kept = quarantine.migrate(std::slice::from_ref(commit), &known)?;
    let data = json!({"into": into, "before": tip, "after": commit, "owner": proc::own()});
    let draft = crate::store::EntryDraft::new(recover::KIND, data).of_task(run, id);
    let intent = context.store(|store| store.intend(&draft))?;
    let message = format!("treehand: land {run}/{id}");
    let lock_wait = context.run.lock_wait.0;
    let moved = advance(&context.repo, &Advance { branch: into, from: tip, to: commit, message: &message, lock_wait });
    let outcome = match moved {
        Ok(Advanced::Done) => landed(context, entry, tip, commit, Some(&intent)).map(Moved::Landed),
        // The intent stays open: it is what recovery completes the files from.
        Ok(Advanced::Behind { message }) => {
            landed(context, entry, tip, commit, None)?;
            Err(RunError::Behind { message })
        }
        other => {
            context.store(|store| store.failed(intent, json!({"why": format!("{other:?}")})))?;
            other.map(Moved::Not).map_err(RunError::from)
        }
    };
    kept.release()?;
    quarantine.discard()?;
    outcome
}

fn landed(
    context: &Context,
    entry: &Entry,
    before: &CommitId,
    after: &CommitId,
    intent: Option<&Intent>,
) -> Result<TaskState, RunError> {
    let (run, task, into) = (&context.run.id, &entry.task.id, &context.run.into);
    kept::keep(&context.repo, run, task, &entry.commit)?;
    let landing = Landing { run, task, into, before, after, at: clock::now() };
    Ok(context.store(|store| store.record_landing(&landing, intent))?.state)
}

/// Refuses the result of a task for this reason.
pub fn reject(context: &Context, id: &TaskId, reason: Reason) -> Result<TaskState, RunError> {
    let reason = context.without_secrets(reason)?;
    let (run, data) = (&context.run.id, json!({"reason": reason}));
    let change = |task: &mut TaskRecord| task.reason = Some(reason);
    Ok(context.store(|store| store.move_task(run, id, TaskEvent::Reject, data, change))?.state)
}

/// Ends a task that has nothing to land, for this reason. A full disk is none: then the run waits for room.
pub fn fail(context: &Context, id: &TaskId, what: &str, error: RunError) -> Result<TaskState, RunError> {
    if room::is_full(&error) {
        return Err(error);
    }
    let kind = match &error {
        RunError::Worktree(WorktreeError::Locked { .. }) => ReasonKind::Busy,
        _ => ReasonKind::Failed,
    };
    let reason = context.without_secrets(Reason::new(kind, format!("{what}: {}", chain(&error))))?;
    let data = json!({"reason": reason});
    let task = context.store(|store| {
        store.move_task(&context.run.id, id, TaskEvent::Fail, data, |task| task.reason = Some(reason))
    })?;
    Ok(task.state)
}

fn cancelled(words: Option<&str>) -> String {
    match words {
        None => "the run was cancelled".into(),
        Some("") => "it was cancelled".into(),
        Some(words) => format!("it was cancelled: {words}"),
    }
}

/// Cancels a task.
pub fn cancel(context: &Context, id: &TaskId) -> Result<TaskState, RunError> {
    let asked = context.task(id)?.stop;
    let reason = context.without_secrets(Reason::new(ReasonKind::Cancelled, cancelled(asked.as_deref())))?;
    let task = context.store(|store| {
        store.move_task(&context.run.id, id, TaskEvent::Cancel, json!({}), |task| task.reason = Some(reason))
    })?;
    Ok(task.state)
}
