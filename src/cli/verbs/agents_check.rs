//! `agents check`: an agent is asked for a word in a run like any other, and each step of that is reported.
//!
//! The run lands nothing, tries once, asks no remote and runs no setup steps: it is about the agent. Of it stays what is on record.

use std::time::Duration;

use serde_json::json;

use crate::cli::agents::check::{self, Step, Verdict};
use crate::cli::agents::seen::{self, Seen};
use crate::cli::agents_args::AgentsCheckArgs;
use crate::cli::error::CliError;
use crate::cli::output::{Output, Paint, plain};
use crate::cli::session::Session;
use crate::cli::tasks_source::of_one;
use crate::cli::verbs::run::{follow, settings_for};
use crate::model::agent::AgentChoice;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{BranchName, MergePolicy, RunId, RunSpec, Span, StalePolicy, TaskId, TaskSpec};
use crate::orchestrator::agents::find;
use crate::orchestrator::follow::Followed;
use crate::orchestrator::start::{self, StartSettings};
use crate::orchestrator::{client, discard};
use crate::store::Store;
use crate::worktree::WorktreeError;

/// How long the agent may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What it may change: nothing that there is. Whatever it changes all the same is refused.
const NOTHING: &str = ".treehand/nothing";

/// Checks an agent.
pub fn run(session: &Session, args: &AgentsCheckArgs) -> Result<u8, CliError> {
    let choice = choice(args)?;
    let seen = seen::one(&find::registry()?, &choice.profile, &session.settings.agents)?;
    if seen.found.is_none() {
        return report(&session.out, &seen, None);
    }
    let mut plan = start::plan(&session.repo, spec(session, &seen, choice)?, &settings(session, &seen))?;
    plan.warnings.iter().for_each(|warning| session.out.warn(plain(warning)));
    let store = session.store()?;
    start::record(&session.repo, &store, &mut plan)?;
    let run = &plan.run.id;
    client::ensure_supervised(&session.repo, &store, run)?;
    session.out.say(format!("run {run}: asks {} for a word", seen.name));
    let followed = follow(session, &store, run, false)?;
    let (record, tasks) = (store.run(run)?, store.tasks(run)?);
    if let (Followed::Interrupted(code), false) = (&followed, record.state.is_terminal()) {
        let error = CliError::interrupted(u32::from(code.saturating_sub(128)), format!("run {run} goes on"));
        return Err(error.hint(format!("end it: treehand cancel {run}")));
    }
    put_away(session, &store, run);
    let code = report(&session.out, &seen, tasks.first().map(|task| (&record, task)))?;
    Ok(match followed {
        Followed::Interrupted(signal) => signal,
        _ => code,
    })
}

fn choice(args: &AgentsCheckArgs) -> Result<AgentChoice, CliError> {
    match (&args.model, &args.name.model) {
        (Some(_), Some(_)) => Err(CliError::usage("the model is named twice")),
        (Some(model), None) => format!("{}:{model}", args.name.profile).parse().map_err(CliError::usage),
        (None, _) => Ok(args.name.clone()),
    }
}

fn spec(session: &Session, seen: &Seen, choice: AgentChoice) -> Result<RunSpec, CliError> {
    let id = TaskId::parse("check").map_err(|error| CliError::usage(error.to_string()))?;
    let task = TaskSpec {
        retries: 0,
        timeout: Some(Span(DEADLINE)),
        paths: vec![NOTHING.to_owned()],
        ..TaskSpec::for_agents(id, vec![choice], prompt(seen))
    };
    Ok(RunSpec {
        goal: Some(format!("check whether {} works", seen.name)),
        base: Some("HEAD".into()),
        into: into(session)?,
        stale: Some(StalePolicy::Warn),
        merge: Some(MergePolicy::Manual),
        ..of_one(task)
    })
}

/// Nothing lands, so that any branch does where none is checked out; one that is not there would be made.
fn into(session: &Session) -> Result<Option<BranchName>, CliError> {
    let reader = session.repo.reader();
    if reader.symbolic_target("HEAD").map_err(WorktreeError::from)?.is_some() {
        return Ok(None);
    }
    let branches = reader.refs_below("refs/heads/").map_err(WorktreeError::from)?;
    let mut names = branches.iter().filter_map(|(name, _)| name.strip_prefix("refs/heads/"));
    let first = names.find_map(|name| BranchName::parse(name).ok());
    let none = || CliError::refused("HEAD is detached, and there is no branch").hint("make one: git switch -c BRANCH");
    first.ok_or_else(none).map(Some)
}

fn prompt(seen: &Seen) -> String {
    let tools = if seen.profile.has_tools() { "; then call submit_result with the status nothing_to_do" } else { "" };
    format!("Answer with the word ok and change nothing{tools}. Make, edit and delete no file.")
}

fn settings(session: &Session, seen: &Seen) -> StartSettings {
    let mut settings = settings_for(session, None, None);
    // It is about this agent, not about one that would take its place.
    settings.agents.entry(seen.name.clone()).or_default().fallback.clear();
    StartSettings { lookup: session.lookup(true), push: false, setup: Vec::new(), ..settings }
}

/// What stays in the way of that is told, and `clean` takes it: what the check came to is known all the same.
fn put_away(session: &Session, store: &Store, run: &RunId) {
    if let Err(error) = discard::discard(&session.repo, store, run) {
        session.out.warn(format!("what the check left stays until `treehand clean`: {}", plain(&chain(&error))));
    }
}

fn report(out: &Output, seen: &Seen, ended: Option<(&RunRecord, &TaskRecord)>) -> Result<u8, CliError> {
    let verdict = check::judge(seen, ended);
    let attempt = ended.and_then(|(_, task)| task.attempts.last());
    let mut document = verdict.document(seen, attempt);
    document["run"] = json!(ended.map(|(run, _)| &run.id));
    out.answer("treehand/agents-check/v1", document, || text(out, &verdict))?;
    let Some(failure) = &verdict.failure else { return Ok(0) };
    if !out.is_json() {
        out.error(&failure.message, failure.hint.as_deref());
    }
    Ok(1)
}

fn text(out: &Output, verdict: &Verdict) -> String {
    let line = |step: &Step| {
        let word = match step.ok {
            Some(true) => out.paint(Paint::Green, "ok "),
            Some(false) => out.paint(Paint::Red, "bad"),
            None => out.paint(Paint::Dim, "-  "),
        };
        let detail = if step.detail.is_empty() { String::new() } else { format!(": {}", plain(&step.detail)) };
        format!("{word} {}{detail}\n", step.name)
    };
    verdict.steps.iter().map(line).collect()
}
