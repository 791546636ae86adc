//! Decision file: what `clean` takes of runs: processes, boxes and branches of tasks, pins, private directories.
//!
//! They belong to their run. While it is at work nothing is touched; once it is over, or nobody supervises it, what landed or
//! changed nothing goes at once, what did not land is saved and goes after the least age, what waits for a person stays.

use std::collections::BTreeSet;

use super::facts::{Facts, OrphanFact, RunFacts, RunStanding, StrayBranch, TaskBranch, TaskFacts};
use super::types::{CleanAction, CleanPlan, CleanPolicy, Kept, Kind, Step, action, old_enough};
use super::unrecorded;
use crate::cleanup::doomed::DoomedRef;
use crate::cleanup::integration::{NotIntegrated, Proof};
use crate::model::record::RunRecord;
use crate::model::{Standing, TaskState, Timestamp};

/// Decides on all runs and on task branches that no run knows.
pub fn decide(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    let boxes = policy.only.as_ref().is_none_or(|only| only.contains(&Kind::Workspace));
    for run in facts.runs.iter().filter(|run| run.standing != RunStanding::AtWork) {
        let mut left = false;
        for task in &run.tasks {
            let item = format!("{}/{}", run.run.id, task.task.id);
            let goes = match decide_box(run, task, policy, orphans(run, task, policy, plan)) {
                None => true,
                Some(Ok(action)) => {
                    plan.actions.push(action);
                    boxes
                }
                Some(Err(reason)) => {
                    plan.kept.push(Kept { kind: Kind::Workspace, item, reason });
                    false
                }
            };
            left |= !goes;
            if goes {
                refs_of(run, task, policy, plan);
            }
        }
        if let (false, Some((path, id))) = (left, &run.private) {
            let step = Step::RunDir { path: path.clone(), id: *id };
            let proof = format!("{}, no workspace of it is left", over(run));
            plan.actions.push(action(Kind::State, path.display().to_string(), proof, id.to_string(), step));
        }
    }
    for stray in &facts.strays {
        put(plan, &stray.branch, decide_stray(facts, stray, policy));
    }
}

fn over(run: &RunFacts) -> String {
    match run.standing {
        RunStanding::Abandoned => format!("the supervisor of run {} is dead", run.run.id),
        RunStanding::Over | RunStanding::AtWork => format!("run {} is over ({})", run.run.id, run.run.state.word()),
    }
}

/// Since when nothing happens in a run.
fn quiet_since(run: &RunRecord) -> Timestamp {
    run.ended_at.or(run.started_at).unwrap_or(run.created_at)
}

/// What waits for a person, in a run that ended by itself.
fn waits(run: &RunFacts, task: &TaskFacts) -> Option<String> {
    match (run.standing, task.task.state) {
        (RunStanding::Over, TaskState::Candidate) => Some("its result waits to be merged".into()),
        (RunStanding::Over, TaskState::NeedsAttention) => Some("a person has to look at it".into()),
        _ => None,
    }
}

/// Decides on what the attempts of a task left running; one of the processes that go on, if any does.
fn orphans(run: &RunFacts, task: &TaskFacts, policy: &CleanPolicy, plan: &mut CleanPlan) -> Option<Standing> {
    let taken = policy.only.as_ref().is_none_or(|only| only.contains(&Kind::Process));
    let (mut ended, mut goes_on) = (BTreeSet::new(), None);
    for orphan in &task.orphans {
        let names: Vec<String> =
            orphan.processes.iter().map(|process| format!("{} (pid {})", process.name, process.pid)).collect();
        let item = format!("{}/{} attempt {}: {}", run.run.id, task.task.id, orphan.attempt, names.join(", "));
        match decide_orphan(run, orphan, policy) {
            Ok(proof) => {
                let (run, task) = (Box::new(run.run.clone()), Box::new(task.task.clone()));
                let step = Step::Orphans { run, task, token: orphan.token.clone() };
                let expect = format!("they carry the mark {}", orphan.token.as_str());
                plan.actions.push(action(Kind::Process, item, proof, expect, step));
                ended.extend(orphan.processes.iter().filter(|_| taken).map(|process| process.pid));
            }
            Err(reason) => plan.kept.push(Kept { kind: Kind::Process, item, reason }),
        }
    }
    let marked = task.orphans.iter().flat_map(|orphan| &orphan.processes);
    for process in task.processes.iter().chain(marked).filter(|process| !ended.contains(&process.pid)) {
        goes_on.get_or_insert_with(|| process.clone());
    }
    goes_on
}

/// The proof that nobody owns what an attempt started, or who does.
fn decide_orphan(run: &RunFacts, orphan: &OrphanFact, policy: &CleanPolicy) -> Result<String, String> {
    if orphan.is_own {
        return Err("this command is one of them, or was started by one".into());
    }
    if let Some(holder) = orphan.holder {
        return Err(format!("what holds them still lives (pid {holder}), and ends them within supervise.orphan_grace"));
    }
    if run.standing == RunStanding::Abandoned {
        old_enough(quiet_since(&run.run), policy)?;
    }
    Ok(format!("{}, and what held them is dead", over(run)))
}

/// What becomes of a task's box; `None` when it has none.
fn decide_box(
    run: &RunFacts,
    task: &TaskFacts,
    policy: &CleanPolicy,
    goes_on: Option<Standing>,
) -> Option<Result<CleanAction, String>> {
    let there = task.enclosure.is_some() || task.private || task.entry || task.task.workspace.is_some();
    there.then(|| {
        if let Some(process) = &goes_on {
            return Err(format!("{} (pid {}) of it still runs", process.name, process.pid));
        }
        if let Some(mounted) = task.mounted.first() {
            return Err(format!("something is mounted in it: {}", mounted.display()));
        }
        if task.enclosure.is_none() && !task.disk_there {
            return Err("its directory is not there, but its disk may not be mounted".into());
        }
        if let Some(why) = waits(run, task) {
            return Err(why);
        }
        let done = matches!(task.task.state, TaskState::Landed | TaskState::NoChange | TaskState::Skipped);
        if !done {
            old_enough(quiet_since(&run.run), policy)?;
        }
        let salvage = !done && !task.task.attempts.is_empty() && (task.enclosure.is_some() || task.private);
        let step = Step::Task {
            run: Box::new(run.run.clone()),
            task: Box::new(task.task.clone()),
            paths: Box::new(task.paths.clone()),
            enclosure: task.enclosure,
            salvage,
        };
        let item = format!("{}/{}", run.run.id, task.task.id);
        let saved = if salvage { "; what no branch holds of it is saved first" } else { "" };
        let proof = format!("{}, the task is {}{saved}", over(run), task.task.state.word());
        let expect = task.enclosure.map_or("no directory".to_owned(), |id| id.to_string());
        Ok(action(Kind::Workspace, item, proof, expect, step))
    })
}

fn refs_of(run: &RunFacts, task: &TaskFacts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    if let Some(branch) = &task.branch {
        put(plan, branch, decide_branch(run, task, branch, policy));
    }
    let done = matches!(task.task.state, TaskState::Landed | TaskState::NoChange | TaskState::Skipped);
    if let Some((name, commit)) = &task.pin
        && waits(run, task).is_none()
        && (done || old_enough(quiet_since(&run.run), policy).is_ok())
    {
        let doomed = DoomedRef { name: name.clone(), commit: commit.clone(), held: false };
        let expect = format!("at {}", commit.short());
        plan.actions.push(action(Kind::Branch, name.as_str(), over(run), expect, Step::Ref(doomed)));
    }
}

/// The proof that a task's branch may go, or why it stays.
fn decide_branch(
    run: &RunFacts,
    task: &TaskFacts,
    branch: &TaskBranch,
    policy: &CleanPolicy,
) -> Result<String, String> {
    untouchable(branch)?;
    if let Some(why) = waits(run, task) {
        return Err(why);
    }
    let record = &task.task;
    if let Err(why @ NotIntegrated::TakenBack { .. }) = &branch.integrated {
        return Err(why.to_string());
    }
    let ours = record.commit.as_ref().or(record.base.as_ref()) == Some(&branch.tip);
    match (record.state, &branch.landed, ours) {
        (TaskState::Landed, Some(landed), true) => return Ok(format!("landed as {}", landed.short())),
        (TaskState::NoChange | TaskState::Skipped, _, true) => return Ok("the task changed nothing".into()),
        _ => {}
    }
    match &branch.integrated {
        Ok(proof) => old_enough(quiet_since(&run.run), policy).map(|()| proof.to_string()),
        Err(NotIntegrated::Unproved) => Err(format!("its work is not in `{}`", run.run.into)),
        Err(why) => Err(why.to_string()),
    }
}

fn decide_stray(facts: &Facts, stray: &StrayBranch, policy: &CleanPolicy) -> Result<String, String> {
    untouchable(&stray.branch)?;
    if let Some(tree) = unrecorded::stays_with(facts, &stray.branch.name, policy) {
        return Err(format!("it is in use in {}", tree.display()));
    }
    match &stray.branch.integrated {
        Ok(proof) => old_enough(stray.committed_at, policy).map(|()| format!("no task is recorded for it, {proof}")),
        Err(why) => Err(format!("no task is recorded for it, and {why}")),
    }
}

/// Refuses a branch that is protected or in use.
pub(super) fn untouchable(branch: &TaskBranch) -> Result<(), String> {
    match (&branch.protected, &branch.elsewhere) {
        (Some(pattern), _) => Err(format!("protected by `{pattern}`")),
        (None, Some(place)) => Err(format!("it is in use in {}", place.display())),
        (None, None) => Ok(()),
    }
}

/// Puts a branch where the verdict on it says.
pub(super) fn put(plan: &mut CleanPlan, branch: &TaskBranch, verdict: Result<String, String>) {
    match verdict {
        Ok(proof) => {
            let held = branch.integrated.as_ref().is_ok_and(|found| found.proof == Proof::Ancestor);
            let doomed = DoomedRef { name: branch.name.clone(), commit: branch.tip.clone(), held };
            let expect = format!("at {}", branch.tip.short());
            plan.actions.push(action(Kind::Branch, branch.name.as_str(), proof, expect, Step::Ref(doomed)));
        }
        Err(reason) => plan.kept.push(Kept { kind: Kind::Branch, item: branch.name.clone(), reason }),
    }
}
