//! `fresh`: how workspaces stand to the newest tips of their bases, and tasks to that of their target, the remotes asked; with
//! `--update` workspaces are brought up to them.
//!
//! Without `--update` nothing in a workspace changes. With `--check`, exit 6 when any is stale or diverged in the end.

use serde_json::{Value, json};

use crate::cleanup;
use crate::cli::args::FreshArgs;
use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord};
use crate::model::{BaseReport, CommitId, Freshness, StalePolicy, TaskFreshness, UpdateBy};
use crate::orchestrator;
use crate::orchestrator::behind::Looks;
use crate::store::Store;
use crate::worktree::base::{self, ResolvedBase};
use crate::worktree::index_lock::Obstacle;
use crate::worktree::overlap;
use crate::worktree::status::{Due, Survey};
use crate::worktree::together::together;
use crate::worktree::update::{self, UpdateRequest, Updated};

/// Exit codes of workspaces that were not brought up to their bases, the first that applies last.
const WORST_LAST: [u8; 6] = [0, 8, 6, 4, 5, 1];

/// Reports freshness, or makes it.
pub fn run(session: &Session, args: &FreshArgs) -> Result<u8, CliError> {
    let store = if args.update.is_some() { session.store()? } else { session.look()? };
    let all = store.workspaces()?;
    let (mut records, mut tasks) = (Vec::new(), Vec::new());
    for name in &args.names {
        match named(session, &store, name)? {
            Named::Workspace(record) => records.push(*record),
            Named::Task(_) if args.update.is_some() => {
                let message = format!("`{name}` is a task: what it makes is brought forward when it has ended");
                return Err(CliError::refused(message).hint("start runs with --stale update"));
            }
            Named::Task(task) => tasks.push(*task),
        }
    }
    if args.names.is_empty() {
        records.clone_from(&all);
    }
    if args.update.is_some() {
        orchestrator::recover::recover(&session.repo, &store)?;
        cleanup::undo::recover::recover(&session.repo, &store)?;
    }
    let mut survey = Survey::begin(&session.repo, &all, session.lookup(args.offline))?;
    let mut lines = Vec::new();
    for record in &records {
        let outcome = match args.update {
            Some(by) => bring_up(session, &store, &mut survey, record, by),
            None => Outcome::default(),
        };
        let record = store.workspace(&record.name)?.unwrap_or_else(|| record.clone());
        lines.push(look(session, &mut survey, &record, outcome)?);
    }
    let tasks = look_at_tasks(session, &store, tasks, args.offline)?;
    answer(session, &lines, &tasks)?;
    let states = lines.iter().map(|line| line.base.freshness).chain(tasks.iter().map(|line| line.fresh.state));
    let behind = { states }.any(|state| matches!(state, Freshness::Stale | Freshness::Diverged));
    let worst = lines.iter().map(|line| line.outcome.code).max_by_key(|code| WORST_LAST.iter().position(|c| c == code));
    Ok(match worst.unwrap_or(0) {
        0 if args.check && behind => 6,
        code => code,
    })
}

/// What a name stands for.
enum Named {
    Workspace(Box<WorkspaceRecord>),
    Task(Box<(RunRecord, TaskRecord)>),
}

fn named(session: &Session, store: &Store, name: &str) -> Result<Named, CliError> {
    match session.workspace(store, name) {
        Ok(record) => Ok(Named::Workspace(Box::new(record))),
        Err(error) => match session.target(store, name) {
            Ok((run, Some(task))) => Ok(Named::Task(Box::new((run, task)))),
            _ => Err(error),
        },
    }
}

/// A task as it is reported.
struct TaskLine {
    run: RunRecord,
    task: TaskRecord,
    fresh: TaskFreshness,
    tip: Option<CommitId>,
}

fn look_at_tasks(
    session: &Session,
    store: &Store,
    tasks: Vec<(RunRecord, TaskRecord)>,
    offline: bool,
) -> Result<Vec<TaskLine>, CliError> {
    let mut lines = Vec::new();
    if tasks.is_empty() {
        return Ok(lines);
    }
    let mut looks = Looks::begin(&session.repo, store, session.lookup(offline))?;
    for (run, task) in tasks {
        let Some(fresh) = looks.of(&run, &task, true)? else {
            let message =
                format!("{}/{} has nothing that could be stale: it is {}", run.id, task.id, task.state.word());
            return Err(CliError::refused(message));
        };
        let tip = looks.newest(&run)?;
        lines.push(TaskLine { run, task, fresh, tip });
    }
    Ok(lines)
}

/// What became of bringing a workspace up to its base.
#[derive(Default)]
struct Outcome {
    updated: bool,
    reason: Option<String>,
    paths: Vec<String>,
    code: u8,
}

impl Outcome {
    fn not(reason: impl Into<String>, code: u8) -> Outcome {
        Outcome { reason: Some(reason.into()), code, ..Outcome::default() }
    }
}

/// A workspace as it is reported.
struct Line {
    record: WorkspaceRecord,
    base: BaseReport,
    overlap: Vec<String>,
    outcome: Outcome,
}

fn look(
    session: &Session,
    survey: &mut Survey<'_>,
    record: &WorkspaceRecord,
    mut outcome: Outcome,
) -> Result<Line, CliError> {
    let (base, why) = survey.freshness(record)?;
    for reason in outcome.reason.iter().chain(&why) {
        session.out.warn(format!("{}: {}", record.name, plain(reason)));
    }
    outcome.reason = outcome.reason.or(why);
    let overlap = match base.behind {
        0 => Vec::new(),
        _ => match survey.due(record).map(|due| due.base) {
            Ok(ResolvedBase { report, diverged, .. }) => {
                let newest = diverged.map_or(report.commit, |sides| sides.remote);
                overlap::overlap(&session.repo, record, &newest)?
            }
            Err(_) => Vec::new(),
        },
    };
    Ok(Line { record: record.clone(), base, overlap, outcome })
}

fn bring_up(
    session: &Session,
    store: &Store,
    survey: &mut Survey<'_>,
    record: &WorkspaceRecord,
    by: UpdateBy,
) -> Outcome {
    try_bring_up(session, store, survey, record, by).unwrap_or_else(|error| Outcome::not(error.message, error.code))
}

fn try_bring_up(
    session: &Session,
    store: &Store,
    survey: &mut Survey<'_>,
    record: &WorkspaceRecord,
    by: UpdateBy,
) -> Result<Outcome, CliError> {
    let Due { base: resolved, foreign, moved, why } = survey.due(record)?;
    if session.settings.worktree.stale == StalePolicy::Block && resolved.report.freshness == Freshness::Unknown {
        let sentence = base::describe(&resolved.report, resolved.remote_error.as_deref());
        return Ok(Outcome::not(sentence, 6));
    }
    let brought = together(&session.repo, &resolved)?;
    let lock_wait = session.settings.merge.lock_wait.0;
    let request = UpdateRequest { record, base: &brought.report, foreign: &foreign, by, lock_wait };
    let left_out = if moved { Vec::new() } else { update::left_out(&session.repo, &request)? };
    let updated = update::update(&session.repo, store, &request);
    brought.kept.map(crate::worktree::quarantine::Kept::release).transpose()?;
    let name = &record.name;
    Ok(match updated? {
        Updated::Already => Outcome::default(),
        Updated::Done { .. } => {
            let reference = &resolved.report.reference;
            let left_out = (!left_out.is_empty())
                .then(|| format!("left out what `{reference}` does not have any more: {}", base::listed(&left_out)));
            Outcome { updated: true, reason: why.or(left_out), ..Outcome::default() }
        }
        Updated::Conflict { commit, paths } => {
            let reason =
                format!("{} conflicts with `{}`: {}", commit.short(), resolved.report.reference, paths.join(", "));
            Outcome { paths, ..Outcome::not(reason, 5) }
        }
        Updated::InTheWay(Obstacle { message, paths }) => {
            let list = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
            Outcome { paths, ..Outcome::not(format!("{message}{list}"), 4) }
        }
        Updated::Busy { lock } => Outcome::not(format!("{} is held by another git process", lock.display()), 8),
        Updated::Raced => Outcome::not(format!("the branch of {name} has just moved"), 8),
        Updated::Behind { message } => Outcome { updated: true, ..Outcome::not(message, 1) },
    })
}

fn answer(session: &Session, lines: &[Line], tasks: &[TaskLine]) -> Result<(), CliError> {
    let mut rows = vec![["NAME", "FRESHNESS", "BASE", "AHEAD", "BEHIND", ""].map(str::to_owned).to_vec()];
    let mut missing = String::new();
    for Line { record, base, overlap, outcome } in lines {
        let word = base.freshness.word().to_owned();
        let (ahead, lacks) = (base.ahead.to_string(), base.behind.to_string());
        let updated = if outcome.updated { "updated".to_owned() } else { String::new() };
        rows.push(vec![record.name.to_string(), word, plain(&base.reference), ahead, lacks, updated]);
        for subject in &base.missing {
            missing.push_str(&format!("  {} lacks: {}\n", record.name, plain(subject)));
        }
        if !overlap.is_empty() {
            let files: Vec<String> = overlap.iter().map(|path| plain(path)).collect();
            missing.push_str(&format!("  {} changes files that these change too: {}\n", record.name, files.join(", ")));
        }
    }
    for TaskLine { run, task, fresh, .. } in tasks {
        let (name, lacks) = (format!("{}/{}", run.id, task.id), fresh.missing.len().to_string());
        for subject in &fresh.missing {
            missing.push_str(&format!("  {name} lacks: {}\n", plain(subject)));
        }
        if let Some(touches) = fresh.touches.as_ref().filter(|touches| !touches.is_empty()) {
            let files: Vec<String> = touches.iter().map(|path| plain(path)).collect();
            missing.push_str(&format!("  {name} changes files that these change too: {}\n", files.join(", ")));
        }
        let word = fresh.state.word().to_owned();
        rows.push(vec![name, word, run.into.to_string(), String::new(), lacks, String::new()]);
    }
    let documents: Vec<Value> = lines.iter().map(document).collect();
    let of_tasks: Vec<Value> = tasks.iter().map(task_document).collect();
    let document = json!({"workspaces": documents, "tasks": of_tasks});
    session.out.answer("treehand/freshness/v1", document, || table(&rows) + &missing)?;
    Ok(())
}

fn document(line: &Line) -> Value {
    json!({
        "name": line.record.name,
        "base": line.base,
        "updated": line.outcome.updated,
        "reason": line.outcome.reason,
        "paths": line.outcome.paths,
        "overlap": line.overlap,
    })
}

fn task_document(TaskLine { run, task, fresh, tip }: &TaskLine) -> Value {
    json!({
        "run": run.id,
        "task": task.id,
        "state": fresh.state,
        "missing": fresh.missing,
        "touches": fresh.touches,
        "target": run.into,
        "tip": tip,
    })
}
