//! `merge`: lands results of a run that wait for a person, or did not land when they could have.
//!
//! What lands is what was captured, through the gates of the run and its supervisor. A branch that somebody moved since is theirs.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::args::MergeArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{BranchName, CommitId, ReasonKind, TaskId, state};
use crate::orchestrator::acceptance::choose;
use crate::orchestrator::client;
use crate::orchestrator::context::RunError;
use crate::orchestrator::control::Command;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};
use crate::store::Store;
use crate::worktree::WorktreeError;

/// How often it is looked anew what can land, where others land at the same time.
const ROUNDS: usize = 5;

/// Lands results.
pub fn run(session: &Session, args: &MergeArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let (run, named) = targets(session, &store, &args.targets)?;
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
        match land(session, &store, &run, &chosen) {
            Err(RunError::Refused { .. }) if round < ROUNDS => {}
            landed => {
                followed = landed?;
                break;
            }
        }
    }
    let code = report(session, &store, (&run, before), &wanted)?;
    Ok(match followed {
        Followed::Interrupted(signal) => signal,
        _ => code,
    })
}

/// The run, and the tasks of it that are named.
fn targets(session: &Session, store: &Store, targets: &[String]) -> Result<(RunRecord, Vec<TaskId>), CliError> {
    let mut found: Option<(RunRecord, Vec<TaskId>)> = None;
    for target in targets {
        let (run, task) = session.target(store, target)?;
        let known = found.get_or_insert_with(|| (run.clone(), Vec::new()));
        if known.0.id != run.id || task.is_none() && targets.len() > 1 {
            return Err(CliError::usage("one run, or tasks of one run, at a time"));
        }
        known.1.extend(task.map(|task| task.id));
    }
    found.ok_or_else(|| CliError::usage("nothing is named"))
}

/// An error where a result is not on its branch as it was captured.
fn require_untouched(session: &Session, task: &TaskRecord) -> Result<(), CliError> {
    let branch = &task.branch;
    match tip(session, branch)? {
        None => Err(CliError::refused(format!("the branch `{branch}` is gone"))),
        now if now == task.commit => Ok(()),
        Some(_) => Err(CliError::refused(format!("the branch `{branch}` has moved since its result was captured"))
            .hint(format!("git merge {branch} lands what is there now"))),
    }
}

fn tip(session: &Session, branch: &BranchName) -> Result<Option<CommitId>, CliError> {
    Ok(session.repo.reader().ref_commit(&branch.full_ref()).map_err(WorktreeError::from)?)
}

/// Has them landed, and waits until each has or has not.
fn land(session: &Session, store: &Store, run: &RunRecord, chosen: &[TaskId]) -> Result<Followed, RunError> {
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

fn report(
    session: &Session,
    store: &Store,
    (run, before): (&RunRecord, Option<CommitId>),
    wanted: &BTreeSet<TaskId>,
) -> Result<u8, CliError> {
    let (now, after) = (store.run(&run.id)?, tip(session, &run.into)?);
    let mut tasks = store.tasks(&run.id)?;
    tasks.retain(|task| wanted.contains(&task.id));
    let landed = || tasks.iter().filter_map(|task| Some((task, task.landed.as_ref()?)));
    let rejected = || tasks.iter().filter(|task| task.landed.is_none());
    let document = json!({
        "run": run.id,
        "target": run.into,
        "before": before,
        "after": after,
        "strategy": run.strategy,
        "landed": landed().map(|(task, landed)| json!({"task": task.id, "commit": landed.commit})).collect::<Vec<_>>(),
        "rejected": rejected().map(|task| json!({"task": task.id, "reason": task.reason})).collect::<Vec<_>>(),
        "gates": now.gates.iter().skip(run.gates.len()).collect::<Vec<_>>(),
    });
    session.out.answer("treehand/merge/v1", document, || {
        let mut text = String::new();
        for (task, landed) in landed() {
            text.push_str(&format!("landed {} on {} as {}\n", task.id, run.into, landed.commit.short()));
        }
        for task in rejected() {
            let why = task.reason.as_ref().map_or(task.state.word(), |reason| reason.message.as_str());
            text.push_str(&format!("not landed {}: {}\n", task.id, plain(why)));
        }
        text
    })?;
    let reasons: Vec<ReasonKind> = rejected().filter_map(|task| Some(task.reason.as_ref()?.kind)).collect();
    Ok(state::run_exit_code(&reasons))
}
