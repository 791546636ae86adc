//! `undo --revert` of what has landed on a branch of a remote: the commit that takes it back lands there as what a person offers.
//!
//! Through the queue of its branch and the gates that `merge NAME` has now. It is waited for as there, and ends with the same codes.

use super::merge::warn_of_left;
use super::{merge_offers, run, undo};
use crate::cleanup::undo::revert::{Reverted, ToLand};
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::operation::OperationRecord;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, Strategy, state};
use crate::orchestrator::client;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};
use crate::orchestrator::offer::{self, Offer};
use crate::orchestrator::start::{RunPlan, StartSettings};
use crate::store::Store;

/// Hands it in, and waits until it has landed or has not.
pub(super) fn land(session: &Session, store: &Store, made: ToLand) -> Result<u8, CliError> {
    let original = made.original.clone();
    let planned =
        plan(session, &made).and_then(|mut plan| merge_offers::record(session, store, &mut plan).map(|()| plan));
    made.release()?;
    let plan = planned?;
    let (run, repo) = (&plan.run, &session.repo);
    client::ensure_supervised(repo, store, &run.id)?;
    session.out.say(format!("run {}: takes back operation {} on {}", run.id, original.op, run.into));
    let followed = follow::follow(repo, store, &run.id, None, OnInterrupt::Cancel, |_| Ok(()))?;
    warn_of_left(session, store, &run.id)?;
    match (outcome(store, run, &original)?, followed) {
        (Ok(reverted), _) => undo::report(session, &reverted, Some(run)),
        (Err(error), Followed::Interrupted(signal)) => Err(CliError { code: signal, kind: "interrupted", ..error }),
        (Err(error), _) => Err(error),
    }
}

fn plan(session: &Session, made: &ToLand) -> Result<RunPlan, CliError> {
    let op = made.original.op;
    let label = format!("revert of operation {op}");
    let (base, commit) = (made.base.clone(), made.commit.clone());
    let offers = [Offer { label, base, commit, reverts: Some(op) }];
    // One commit takes it back, however what is offered lands otherwise.
    let strategy = Strategy::Squash;
    let goal = format!("undo operation {op}: {}", made.original.summary);
    let spec = offer::spec(goal, &made.into, session.settings.merge.gates.clone(), Some(strategy));
    let settings = run::settings_for(session, None, Some(strategy));
    // Its message says what it takes back, and a template could lose that.
    let settings = StartSettings { push: false, message_template: None, ..settings };
    let mut plan = merge_offers::planned(session, &offers, (&made.into, &made.here), spec, &settings)?;
    // Where it landed, which need not be where the branch here is pushed to by now.
    plan.run.push = Some(made.target.clone());
    Ok(plan)
}

/// What came of it: an error with the code that `merge` would end with.
fn outcome(store: &Store, run: &RunRecord, original: &OperationRecord) -> Result<Result<Reverted, CliError>, CliError> {
    let tasks = store.tasks(&run.id)?;
    let Some(task) = tasks.first() else { return Err(CliError::not_found(format!("run {} has no task", run.id))) };
    let Some(landed) = &task.landed else { return Ok(Err(not_landed(task, original))) };
    let is_it = |operation: &&OperationRecord| {
        let after: Option<&CommitId> = operation.undo.moved().map(|(_, _, after)| after);
        operation.reverts == Some(original.op) && after == Some(&landed.commit)
    };
    Ok(match store.operations()?.iter().find(is_it) {
        Some(revert) => {
            let (op, branch, commit) = (revert.op, run.into.clone(), landed.commit.clone());
            Ok(Reverted { original: store.operation(original.op)?, op, branch, commit })
        }
        None => {
            let (op, into) = (original.op, &run.into);
            Err(CliError::refused(format!("operation {op} is not reverted: nothing of it is left on `{into}`")))
        }
    })
}

fn not_landed(task: &TaskRecord, original: &OperationRecord) -> CliError {
    let why = task.reason.as_ref().map_or(task.state.word(), |reason| reason.message.as_str());
    let kinds: Vec<_> = task.reason.iter().map(|reason| reason.kind).collect();
    let (code, kind) = match state::run_exit_code(&kinds) {
        0 => (4, "refused"),
        5 => (5, "conflict"),
        7 => (7, "gate"),
        8 => (8, "busy"),
        code => (code, "not_landed"),
    };
    let message = format!("operation {} is not reverted: {}", original.op, plain(why));
    let log = task.reason.as_ref().and_then(|reason| reason.log.as_ref());
    CliError { code, kind, message, hint: log.map(|log| format!("see what it said: {log}")) }
}
