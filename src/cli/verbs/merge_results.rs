//! `merge RUN[/TASK]`: lands results of a run that wait for a person, or did not land when they could have.
//!
//! What lands is what was captured, through the gates of the run and its supervisor. A branch that somebody moved since is theirs.

use std::collections::BTreeSet;

use super::merge::{report, tip};
use crate::cli::error::CliError;
use crate::cli::merge_args::MergeArgs;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{GateSpec, TaskId};
use crate::orchestrator::acceptance::choose;
use crate::orchestrator::client;
use crate::orchestrator::context::RunError;
use crate::orchestrator::control::Command;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};
use crate::orchestrator::start;
use crate::store::Store;

/// How often it is looked anew what can land, where others land at the same time.
const ROUNDS: usize = 5;

/// The one run that is named, and the tasks of it.
pub(super) fn one_run(results: Vec<(Box<RunRecord>, Option<TaskId>)>) -> Result<(RunRecord, Vec<TaskId>), CliError> {
    let several = results.len() > 1;
    let mut found: Option<(RunRecord, Vec<TaskId>)> = None;
    for (run, task) in results {
        let known = found.get_or_insert_with(|| ((*run).clone(), Vec::new()));
        if known.0.id != run.id || task.is_none() && several {
            return Err(CliError::usage("one run, or tasks of one run, at a time"));
        }
        known.1.extend(task);
    }
    found.ok_or_else(|| CliError::usage("nothing is named"))
}

/// The run with what the flags say of it.
pub(super) fn with_flags(session: &Session, run: &RunRecord, args: &MergeArgs) -> Result<RunRecord, CliError> {
    let mut run = run.clone();
    let moves = args.into.as_ref().is_some_and(|into| *into != run.into);
    run.into = args.into.clone().unwrap_or(run.into);
    run.strategy = args.strategy.unwrap_or(run.strategy);
    run.confine = args.confine.unwrap_or(run.confine);
    if !args.gates.is_empty() {
        run.spec.gates = args.gates.iter().map(GateSpec::plain).collect();
    }
    if args.push || run.push.is_some() && moves {
        run.push = Some(start::push_target(&session.repo, &run.into, session.lookup(true))?);
    }
    Ok(run)
}

/// Lands them.
pub(super) fn land(
    session: &Session,
    store: &Store,
    args: &MergeArgs,
    (run, named): (RunRecord, Vec<TaskId>),
) -> Result<u8, CliError> {
    let run = take_up_flags(session, store, run, args)?;
    let before = tip(session, &run.into)?;
    let mut wanted = BTreeSet::new();
    let mut followed = Followed::Over;
    for round in 1..=ROUNDS {
        let tasks = store.tasks(&run.id)?;
        let chosen = match choose(&tasks, &named) {
            Ok(chosen) => chosen,
            // Somebody else has landed them meanwhile.
            Err(_) if round > 1 => break,
            Err(why) => {
                return Err(CliError::refused(format!("nothing of {} lands: {why}", args.targets.join(", "))));
            }
        };
        for task in tasks.iter().filter(|task| chosen.contains(&task.id)) {
            require_untouched(session, task)?;
        }
        wanted.extend(chosen.iter().cloned());
        match follow_landing(session, store, &run, &chosen) {
            Err(RunError::Refused { .. }) if round < ROUNDS => {}
            landed => {
                followed = landed?;
                break;
            }
        }
    }
    let code = report(session, store, (&run, before), |task| wanted.contains(&task.id))?;
    Ok(match followed {
        Followed::Interrupted(signal) => signal,
        _ => code,
    })
}

/// What the flags say holds for the run from now on: its supervisor knows nothing else.
fn take_up_flags(session: &Session, store: &Store, run: RunRecord, args: &MergeArgs) -> Result<RunRecord, CliError> {
    let wanted = with_flags(session, &run, args)?;
    if wanted == run {
        return Ok(run);
    }
    if !run.state.is_terminal() {
        return Err(CliError::refused(format!("run {} is not over: how its results land is settled", run.id))
            .hint(format!("wait for it: treehand wait {}", run.id)));
    }
    if tip(session, &wanted.into)?.is_none() {
        return Err(CliError::not_found(format!("there is no branch `{}`", wanted.into)));
    }
    Ok(client::change_terms(&session.repo, store, &wanted)?)
}

/// An error where a result is not on its branch as it was captured.
fn require_untouched(session: &Session, task: &TaskRecord) -> Result<(), CliError> {
    let branch = &task.branch;
    match tip(session, branch)? {
        None => Err(CliError::refused(format!("the branch `{branch}` is gone"))),
        now if now == task.commit => Ok(()),
        Some(_) => Err(CliError::refused(format!("the branch `{branch}` has moved since its result was captured"))
            .hint(format!("treehand merge {branch} lands what is there now"))),
    }
}

/// Has them landed, and waits until each has or has not.
fn follow_landing(session: &Session, store: &Store, run: &RunRecord, chosen: &[TaskId]) -> Result<Followed, RunError> {
    let (repo, id) = (&session.repo, &run.id);
    if store.run(id)?.state.is_terminal() {
        client::reopen_to_land(repo, store, id, chosen)?;
        client::ensure_supervised(repo, store, id)?;
        return follow::follow(repo, store, id, None, OnInterrupt::Leave, |_| Ok(()));
    }
    client::command(repo, store, id, &Command::Accept { tasks: chosen.to_vec() }, |_| Ok(()))?;
    follow::follow_until(repo, store, id, |store| {
        let tasks = store.tasks(id)?;
        Ok(tasks.iter().filter(|task| chosen.contains(&task.id)).all(|task| task.state.is_terminal()))
    })
}
