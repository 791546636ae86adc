//! Gates: commands that judge a merged tree, of one result or of several, on a fresh checkout of exactly that tree, before it lands.
//!
//! The checkout is a sealed workspace of its own, made from the quarantined candidate and removed afterwards, so that
//! neither leftovers of the task nor of another gate can make a tree look better than it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::attempt::{self, Attempt, AttemptEnd};
use super::context::{Context, RunError, blocking};
use super::queue::terms;
use super::setup::{self, GateSetup, GateTree};
use crate::confine::shim::Stopped;
use crate::model::record::{GateOutcome, GateRecord};
use crate::model::{BranchName, CommitId, GateSpec, QueueEntry, RunId, TaskId};
use crate::sys::random;
use crate::worktree::WorktreeError;
use crate::worktree::reach;
use crate::worktree::sealed::{self, SealRequest, SealedPaths};

/// A candidate that the gates are to judge.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The commit that would land.
    pub commit: CommitId,
    /// Its tree.
    pub tree: CommitId,
    /// The quarantine that holds it, as a repository.
    pub source: PathBuf,
    /// The results that are in it, beside what has landed.
    pub entries: Vec<QueueEntry>,
}

impl Judged {
    /// Those of this run.
    fn own(&self, run: &RunId) -> Vec<TaskId> {
        self.entries.iter().filter(|entry| entry.run == *run).map(|entry| entry.task.clone()).collect()
    }

    /// The last of them, which logs are called after.
    fn lead(&self) -> &str {
        self.entries.last().map_or("none", |entry| entry.task.as_str())
    }

    /// How the gate is told of them: tasks of the run by their ids, those of others with their run.
    fn names(&self, run: &RunId) -> String {
        let name = |entry: &QueueEntry| if entry.run == *run { entry.task.to_string() } else { entry.name() };
        self.entries.iter().map(name).collect::<Vec<_>>().join(" ")
    }
}

/// What the gates said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All passed (or there were none).
    Passed,
    /// One failed.
    Failed {
        /// Which, and how it ended.
        message: String,
        /// Its log.
        log: PathBuf,
    },
    /// The run was cancelled meanwhile.
    Cancelled,
}

/// Runs the gates in order until one fails. A gate that passed on the same tree before is not run again.
pub async fn judge(context: &Arc<Context>, gates: &[GateSpec], judged: &Judged) -> Result<Verdict, RunError> {
    let mut checkout = None;
    let mut verdict = Verdict::Passed;
    for gate in gates {
        if let Some(known) =
            context.store(|store| store.gate_result(&judged.tree, &terms::of_gate(&context.run, gate)))?
        {
            record(context, judged, &GateRecord { cached: true, ms: 0, ..known })?;
            continue;
        }
        if checkout.is_none() {
            let paths = checkout.insert(check_out(context, judged).await?);
            verdict = make_ready(context, gate, judged, paths).await?;
            if verdict != Verdict::Passed {
                break;
            }
        }
        let Some(paths) = &checkout else { continue };
        verdict = run_gate(context, gate, judged, paths).await?;
        if verdict != Verdict::Passed {
            break;
        }
    }
    if let Some(paths) = checkout {
        blocking(move || sealed::remove(&paths)).await??;
    }
    Ok(verdict)
}

/// How the names of the gates' checkouts begin.
const CHECKOUT: &str = "gate-";

/// The paths of a gate's checkout with this name.
fn checkout(context: &Context, name: &str) -> Result<SealedPaths, RunError> {
    let private = context.repo.run_dir(&context.run.id)?.join(name);
    let part = format!("{}.{name}", context.run.id);
    Ok(SealedPaths::at(&context.repo, &context.run.template, &part, private)?)
}

/// Removes the checkouts that an earlier supervisor of the run left: nothing of a person's was ever in one.
pub fn sweep(context: &Context) -> Result<(), RunError> {
    let dir = context.repo.run_dir(&context.run.id)?;
    let entries = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(RunError::io(format!("cannot read {}", dir.display())))?,
    };
    for entry in entries {
        let name = entry.map_err(RunError::io(format!("cannot read {}", dir.display())))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(CHECKOUT)) else { continue };
        let paths = checkout(context, name)?;
        if sealed::is_signed(&paths)? { sealed::remove(&paths)? } else { sealed::remove_unsigned(&paths)? }
    }
    Ok(())
}

async fn check_out(context: &Arc<Context>, judged: &Judged) -> Result<SealedPaths, RunError> {
    let (context, judged) = (Arc::clone(context), judged.clone());
    blocking(move || -> Result<SealedPaths, RunError> {
        let token = random::token().map_err(WorktreeError::Random)?;
        let paths = checkout(&context, &format!("{CHECKOUT}{}", token.short()))?;
        let store = context.run_store()?;
        store.fetch(&judged.source, &judged.commit)?;
        let request = SealRequest {
            base: &judged.commit,
            branch: &BranchName::parse("candidate").map_err(WorktreeError::Name)?,
            base_name: Some(&context.run.into),
            lenders: &[store.objects()],
            identity: &context.identity,
            lock_reason: None,
            submodules: context.run.submodules,
            sparse: None,
            held: None,
        };
        let made = sealed::create(&context.repo, &paths, &request)?;
        if let Some(task) = judged.own(&context.run.id).last() {
            context.note_missing(task, "gate.submodules", &made.submodules)?;
        }
        reach::furnish(&paths, &context.identity)?;
        Ok(paths)
    })
    .await?
}

/// Runs the setup steps in the checkout. Where one fails, the gate that it was for has failed.
async fn make_ready(
    context: &Arc<Context>,
    gate: &GateSpec,
    judged: &Judged,
    paths: &SealedPaths,
) -> Result<Verdict, RunError> {
    let begun = Instant::now();
    let (names, own) = (judged.names(&context.run.id), judged.own(&context.run.id));
    let tree = GateTree { paths, commit: &judged.commit, names: &names, lead: judged.lead(), own: &own };
    let (why, log) = match setup::in_gate(context, &tree).await? {
        GateSetup::Ready => return Ok(Verdict::Passed),
        GateSetup::Cancelled => return Ok(Verdict::Cancelled),
        GateSetup::Failed(why, log) => (why, log),
    };
    record(context, judged, &result(gate, judged, GateOutcome::Failed, begun, &log))?;
    let message = format!("the gate `{}` could not be tried: {why}", gate.run);
    Ok(Verdict::Failed { message, log })
}

fn result(gate: &GateSpec, judged: &Judged, outcome: GateOutcome, begun: Instant, log: &Path) -> GateRecord {
    GateRecord {
        tree: judged.tree.clone(),
        command: gate.run.clone(),
        outcome,
        cached: false,
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        entries: Vec::new(),
        log: Some(log.to_owned()),
    }
}

async fn run_gate(
    context: &Arc<Context>,
    gate: &GateSpec,
    judged: &Judged,
    paths: &SealedPaths,
) -> Result<Verdict, RunError> {
    let begun = Instant::now();
    let (mut end, mut log) = run_once(context, gate, judged, paths, 1).await?;
    let first_failed = !passed(&end);
    if first_failed && gate.flaky && end.stopped != Some(Stopped::Asked) {
        (end, log) = run_once(context, gate, judged, paths, 2).await?;
    }
    if end.stopped == Some(Stopped::Asked) {
        return Ok(Verdict::Cancelled);
    }
    let outcome = match (passed(&end), first_failed) {
        (true, true) => GateOutcome::Flaky,
        (true, false) => GateOutcome::Passed,
        (false, _) => GateOutcome::Failed,
    };
    let result = result(gate, judged, outcome, begun, &log);
    if outcome == GateOutcome::Passed {
        context.store(|store| store.keep_gate_result(&terms::of_gate(&context.run, gate), &result))?;
    }
    record(context, judged, &result)?;
    if outcome == GateOutcome::Failed {
        let message = format!("the gate `{}` {}", gate.run, describe(&end));
        return Ok(Verdict::Failed { message, log });
    }
    Ok(Verdict::Passed)
}

fn passed(end: &AttemptEnd) -> bool {
    end.exit == Some(0) && end.stopped.is_none()
}

/// How a child ended, in words.
pub fn describe(end: &AttemptEnd) -> String {
    match (end.stopped, end.exit, end.signal) {
        (Some(Stopped::Timeout), ..) => "ran out of time".into(),
        (Some(Stopped::Asked), ..) => "was cancelled".into(),
        (Some(why), ..) => format!("was ended: {why}"),
        (None, Some(code), _) => format!("ended with exit code {code}"),
        (None, None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None, None) => "ended in an unknown way".into(),
    }
}

async fn run_once(
    context: &Arc<Context>,
    gate: &GateSpec,
    judged: &Judged,
    paths: &SealedPaths,
    try_number: u32,
) -> Result<(AttemptEnd, PathBuf), RunError> {
    let token = random::token().map_err(WorktreeError::Random)?;
    let argv = vec!["sh".to_owned(), "-c".to_owned(), gate.run.clone()];
    let mut launch = context.launch_in(paths, &context.gate_lenders()?, (argv, token.clone()))?;
    launch.env.push(("TREEHAND_RUN".into(), context.run.id.to_string()));
    launch.env.push(("TREEHAND_GATE".into(), judged.names(&context.run.id)));
    launch.give(&gate.env, &gate.secrets)?;
    launch.network = gate.net.clone().unwrap_or(launch.network);
    launch.timeout = gate.timeout.map(|span| span.0);
    let name = format!("gate-{}-{}.{try_number}.log", judged.lead(), token.short());
    let log = context.repo.state_dir().join("logs").join(context.run.id.as_str()).join(name);
    launch.log = Some(context.log_plan(&log));
    let own = judged.own(&context.run.id);
    let stop = context.stop_of_any(&own);
    let attempt = Attempt { launch: &launch, granted: context.granted, machine: &context.machine, stop };
    let end = attempt::run(attempt, |_| Ok(())).await?;
    Ok((end, log))
}

/// Puts it down in every run that has something in the judged tree.
fn record(context: &Context, judged: &Judged, gate: &GateRecord) -> Result<(), RunError> {
    let data =
        serde_json::json!({"command": gate.command, "outcome": gate.outcome, "tree": gate.tree, "cached": gate.cached});
    let runs: BTreeSet<&RunId> = judged.entries.iter().map(|entry| &entry.run).collect();
    for run in runs {
        let gate = GateRecord { entries: judged.own(run), ..gate.clone() };
        context.store(|store| store.update_run(run, "gate.ended", data.clone(), |run| run.gates.push(gate)))?;
    }
    Ok(())
}
