//! One attempt of a task: what its child is started with, its record before that, its setup steps, and who hears it until it ends.
//!
//! Everything is thought out before the attempt is on record, and made after it: what is lent to an agent is known to whoever recovers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::agents::ears::TaskEars;
use super::agents::equip::{self, Agent, Equipment};
use super::agents::instructions::{self, Need};
use super::agents::loan::Lent;
use super::agents::spent;
use super::agents::succession::GoesOn;
use super::attempt::{self, Attempt, AttemptEnd};
use super::context::{Context, RunError, blocking};
use super::mail;
use super::resolve;
use super::result::Prepared;
use super::setup::{self, TaskTree};
use super::slots::Place;
use super::sockets;
use crate::agent::command::Surroundings;
use crate::agent::invocation::{self, Invocation};
use crate::confine::Launch;
use crate::model::agent::{AgentRecord, Budget, Usage};
use crate::model::record::{AttemptRecord, ConfineLevel, RunRecord, TaskRecord};
use crate::model::{ProcId, TaskEvent, TaskId, Token};
use crate::store::StoreError;
use crate::sys::{clock, proc};
use crate::worktree::exported::Exported;
use crate::worktree::ports;
use crate::worktree::sealed::SealedPaths;

/// Gives a launch what a task's command has besides its place: variables, secrets, its network.
pub fn furnish(
    launch: &mut Launch,
    task: &TaskRecord,
    own: Vec<(String, String)>,
    exported: &Exported<'_>,
) -> Result<(), RunError> {
    launch.env.extend(own);
    launch.env.extend(exported.variables());
    launch.give(&task.spec.env, &task.spec.secrets)?;
    launch.timeout = task.spec.timeout.map(|span| span.0);
    if let Some(network) = &task.spec.net {
        launch.network.clone_from(network);
    }
    Ok(())
}

/// What is known of the place where an agent is to work.
pub fn surroundings(
    run: &RunRecord,
    task: &TaskRecord,
    agent: &Agent<'_>,
    (paths, level): (&SealedPaths, ConfineLevel),
) -> Result<Surroundings, RunError> {
    let tmp = if level == ConfineLevel::Strict { "/tmp".into() } else { paths.tmp.clone() };
    let task_name = format!("{}/{}", run.id, task.id);
    let known = agent.surroundings(task, level)?;
    Ok(Surroundings { tree: paths.tree.clone(), home: paths.home.clone(), tmp, task: task_name, ..known })
}

/// What an agent is told of its task.
pub fn told(
    run: &RunRecord,
    task: &TaskRecord,
    (agent, known): (&Agent<'_>, &Surroundings),
    (goes_on, needs): (Option<&GoesOn>, Vec<Need>),
) -> Result<String, RunError> {
    let base = task.base.as_ref().unwrap_or(&run.base.commit);
    let gates = run.spec.gates.iter().chain(&task.spec.gates).map(|gate| gate.run.clone()).collect();
    let goal = run.spec.goal.as_deref().unwrap_or_default();
    let prompt = task.spec.prompt.as_deref().unwrap_or(goal);
    let words = instructions::Words {
        task: task.id.as_str(),
        run: run.id.as_str(),
        // What the task is, is not said twice.
        goal: if prompt == goal { "" } else { goal },
        prompt,
        agent: &agent.setup.name,
        tree: &known.tree.to_string_lossy(),
        branch: task.branch.as_str(),
        base: &format!("{} ({})", run.base.reference, base.short()),
        into: run.into.as_str(),
        paths: &task.spec.paths,
        gates,
        tools: agent.profile.has_tools(),
        confined: known.confined,
        conflict: resolve::variable(task, &known.home).map(|(_, path)| path),
        before: goes_on.map(|goes_on| goes_on.told.clone()),
        needs,
    };
    Ok(instructions::render(run.instructions.as_deref(), &words)?)
}

/// An agent with everything that its attempt has.
struct Equipped<'a> {
    agent: Agent<'a>,
    known: Surroundings,
    gets: Equipment,
    budget: Budget,
    carried: Usage,
}

/// Thinks out what an agent gets; nothing is made.
fn equipped<'a>(
    context: &'a Context,
    task: &'a TaskRecord,
    agent: &Agent<'a>,
    (prepared, token): (&Prepared, &Token),
) -> Result<Equipped<'a>, RunError> {
    let run = &context.run;
    let level = context.granted.level();
    let goes_on = prepared.goes_on.as_ref();
    let mut known = surroundings(run, task, agent, (&prepared.paths, level))?;
    known.endpoint = sockets::endpoint(token)?;
    known.session = goes_on.and_then(|goes_on| goes_on.session.clone());
    known.prompt = told(run, task, (agent, &known), (goes_on, needs(context, task)?))?;
    let carried = match (&known.session, task.attempts.last().and_then(|last| last.agent.as_ref())) {
        (Some(_), Some(before)) => agent.profile.output.carried(before.report.usage),
        _ => Usage::default(),
    };
    let budget = agent.budget(task).within(spent::left(context)?).beyond(carried);
    let gets = agent.equip(&known)?;
    Ok(Equipped { agent: agent.clone(), known, gets, budget, carried })
}

/// What the tasks came to that a task builds on, in the words of their agents.
fn needs(context: &Context, task: &TaskRecord) -> Result<Vec<Need>, RunError> {
    let mut needs = Vec::new();
    for id in &task.spec.needs {
        let need = context.task(id)?;
        let summary = need.submission().map(|submission| submission.summary.clone());
        needs.extend(summary.map(|summary| Need { task: id.to_string(), summary }));
    }
    Ok(needs)
}

/// Runs an attempt to its end.
pub async fn run(
    context: &Arc<Context>,
    id: &TaskId,
    prepared: &Prepared,
    (token, places): (&Token, Vec<Place>),
) -> Result<AttemptEnd, RunError> {
    let task = context.task(id)?;
    let attempt = task.attempts.len() + 1;
    let n = u32::try_from(attempt).unwrap_or(u32::MAX);
    let log = context.repo.attempt_log(&context.run.id, id, n);
    let name = format!("{}/{id}", context.run.id);
    let (branch, base, path, repo) = (&task.branch, &prepared.base, &prepared.paths.tree, &context.repo.name);
    let ports = leased(context, path.clone()).await?;
    let exported = Exported { name: &name, branch, base, path, repo, ports: &ports };
    let mut launch = launch_of(context, (&task, n), (prepared, &exported), token)?;
    launch.log = Some(context.log_plan(&log));
    let agent = equip::next(&context.run, &task)?;
    let equipped = agent.as_ref().map(|agent| equipped(context, &task, agent, (prepared, token))).transpose();
    let of_agent = agent.as_ref().map(|agent| match &equipped {
        Ok(Some(with)) => AgentRecord { carried: with.carried, ..agent.record(&with.known, &with.gets.lent) },
        // What cannot be is an attempt all the same, whose failure says why.
        _ => agent.record(&Surroundings::default(), &Lent::default()),
    });
    begin(context, id, AttemptRecord { agent: of_agent, filled: prepared.filled.clone(), ..begins(n, token, &log) })?;
    let equipped = equipped?;
    mail::open(&prepared.paths.home)?;
    if prepared.goes_on.is_none() {
        let tree = TaskTree { id, n, token, paths: &prepared.paths, lenders: &prepared.lenders, exported };
        if let Some(end) = setup::in_task(context, &tree).await? {
            return Ok(end);
        }
    }
    if let Some(with) = &equipped {
        with.agent.furnish(&mut launch, &task, &with.gets)?;
        context.keep_out(&with.gets.lent.secrets)?;
        // After the setup steps, which have no business with what an agent is lent.
        launch.input = with.gets.lay_out(&prepared.paths.home, &log)?;
        launch.agent = Some(with.agent.watch(with.budget, with.known.endpoint.clone()));
    }
    // What is left of the run's is warned of for all of its tasks together.
    let budget = equipped.as_ref().map(|with| with.agent.budget(&task).beyond(with.carried)).unwrap_or_default();
    let timed = (clock::now(), launch.timeout.filter(|_| equipped.is_some()));
    launch.adoption = context.adoption(token)?;
    launch.held.clone_from(&places);
    let ears = TaskEars::new(context, (id, attempt), budget);
    let stop = context.stop_of(id);
    let attempt = Attempt { launch: &launch, granted: context.granted, machine: &context.machine, stop };
    let started = |process: Option<&ProcId>| Ok(note_process(context, (id, n), process)?);
    let heard = ears.timed(attempt::run_heard(attempt, started, &ears), timed);
    mail::attended(context, id, prepared.paths.home.clone(), heard).await
}

/// The ports of a task's tree.
async fn leased(context: &Arc<Context>, tree: PathBuf) -> Result<Vec<u16>, RunError> {
    let context = Arc::clone(context);
    blocking(move || ports::lease(&context.repo, &tree, context.run.ports)).await
}

/// What a task's command is started with; of an agent what any command has, and not yet what is its own.
fn launch_of(
    context: &Context,
    (task, n): (&TaskRecord, u32),
    (prepared, exported): (&Prepared, &Exported<'_>),
    token: &Token,
) -> Result<Launch, RunError> {
    let (run, home) = (&context.run, &prepared.paths.home);
    let Invocation { argv, env } = invocation::invocation(&run.id, &task.spec, n);
    let mut launch = context.launch_in(&prepared.paths, &prepared.lenders, (argv, token.clone()))?;
    let own = env.into_iter().chain(resolve::variable(task, home)).collect();
    furnish(&mut launch, task, own, exported)?;
    launch.set(vec![mail::variable(home)]);
    (launch.idle, launch.start_up) = (run.idle.map(|span| span.0), run.start_up.map(|span| span.0));
    launch.health = Some(run.health);
    Ok(launch)
}

/// An attempt that begins now.
fn begins(n: u32, token: &Token, log: &Path) -> AttemptRecord {
    AttemptRecord {
        n,
        token: token.clone(),
        process: None,
        starter: proc::own(),
        started_at: clock::now(),
        ended_at: None,
        exit: None,
        signal: None,
        error: None,
        log: log.to_owned(),
        setup: Vec::new(),
        health: None,
        agent: None,
        filled: None,
    }
}

/// Writes down who holds an attempt.
fn note_process(context: &Context, (id, n): (&TaskId, u32), process: Option<&ProcId>) -> Result<(), StoreError> {
    let data = json!({"attempt": n, "process": process});
    let held = |task: &mut TaskRecord| {
        if let Some(attempt) = task.attempts.last_mut() {
            attempt.process = process.cloned();
        }
    };
    context.store(|store| store.edit_task(&context.run.id, id, "attempt.started", data, held)).map(drop)
}

/// Writes down that an attempt begins. It is consumed before the child starts: whatever dies in between, it is never started once too
/// often.
fn begin(context: &Context, id: &TaskId, record: AttemptRecord) -> Result<(), StoreError> {
    let agent = record
        .agent
        .as_ref()
        .map(|agent| json!({"profile": agent.profile, "model": agent.model, "resumed": agent.resumed}));
    let data = json!({"attempt": record.n, "token": record.token, "confine": context.granted.level(), "agent": agent});
    let begin = |task: &mut TaskRecord| {
        task.attempts.push(record);
        // A new attempt has an inbox of its own, and what was said to the task is for it, too.
        task.delivered = 0;
        // What an earlier one asked is none of its business.
        (task.question, task.unanswered) = (None, false);
    };
    context.store(|store| store.move_task(&context.run.id, id, TaskEvent::Start, data, begin))?;
    // What the one before it asked for ended with that.
    context.sign(id, |signs| signs.answers.clear());
    Ok(())
}
