//! `queue`: what waits to land on each branch, and what a person wants done with it.
//!
//! Every name is resolved before anything happens. Landing is the business of the runs whose results wait; nothing here waits
//! for it.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::queue_args::{EntriesArgs, QueueAction, QueuePauseArgs, QueueResumeArgs};
use crate::cli::session::Session;
use crate::model::{BranchName, QueueEntry, QueuePause};
use crate::orchestrator::queue::order::{self, Place};
use crate::orchestrator::queue::{asked, scan};
use crate::orchestrator::start;
use crate::store::Store;

/// The schema of all of them.
const SCHEMA: &str = "treehand/queue/v1";

/// Does one of them.
pub fn run(session: &Session, action: &QueueAction) -> Result<u8, CliError> {
    match action {
        QueueAction::Ls(args) => {
            let store = session.look()?;
            answer(session, &store, |_, entry| args.into.as_ref().is_none_or(|into| entry == into), |_| true)
        }
        QueueAction::Show(args) => {
            let store = session.look()?;
            let entries = named(session, &store, std::slice::from_ref(&args.entry))?;
            show(session, &store, &entries)
        }
        QueueAction::Hold(args) => act(session, args, asked::hold),
        QueueAction::Drop(args) => act(session, args, asked::drop_out),
        QueueAction::Bump(args) => {
            let store = session.store()?;
            let entries = named(session, &store, &args.entries)?;
            asked::bump(&session.repo, &store, &entries)?;
            show(session, &store, &entries)
        }
        QueueAction::Pause(args) => pause(session, args),
        QueueAction::Resume(args) => resume(session, args),
    }
}

type Act =
    fn(&crate::worktree::Repository, &Store, &[QueueEntry], &str) -> Result<(), crate::orchestrator::error::RunError>;

fn act(session: &Session, args: &EntriesArgs, act: Act) -> Result<u8, CliError> {
    let store = session.store()?;
    let entries = named(session, &store, &args.entries)?;
    act(&session.repo, &store, &entries, args.reason.as_deref().unwrap_or_default())?;
    show(session, &store, &entries)
}

fn pause(session: &Session, args: &QueuePauseArgs) -> Result<u8, CliError> {
    let (store, target) = (session.store()?, target(session, args.into.as_ref())?);
    asked::pause(&session.repo, &store, &target, args.reason.as_deref().unwrap_or_default())?;
    answer(session, &store, |_, of| *of == target, |_| true)
}

fn resume(session: &Session, args: &QueueResumeArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    if !args.entries.is_empty() {
        let entries = named(session, &store, &args.entries)?;
        asked::release(&session.repo, &store, &entries)?;
        return show(session, &store, &entries);
    }
    let target = target(session, args.into.as_ref())?;
    if !asked::resume(&session.repo, &store, &target)? {
        session.out.say(format!("`{target}` was not paused"));
    }
    answer(session, &store, |_, of| *of == target, |_| true)
}

fn target(session: &Session, into: Option<&BranchName>) -> Result<BranchName, CliError> {
    match into {
        Some(into) => Ok(into.clone()),
        None => start::current_branch(&session.repo)
            .map_err(|_| CliError::usage("here is no branch").hint("name it: --into BRANCH")),
    }
}

/// The entries that are meant: a number, `RUN/TASK`, or `RUN` for all that it has in a queue.
fn named(session: &Session, store: &Store, names: &[String]) -> Result<Vec<QueueEntry>, CliError> {
    let (all, mut found) = (store.queue(None)?, Vec::new());
    for name in names {
        let by_number = name.parse::<i64>().ok().and_then(|number| all.iter().find(|entry| entry.number == number));
        let meant: Vec<&QueueEntry> = match by_number {
            Some(entry) => vec![entry],
            None => {
                let (run, task) = session.target(store, name)?;
                let is =
                    |entry: &&QueueEntry| entry.run == run.id && task.as_ref().is_none_or(|task| task.id == entry.task);
                all.iter().filter(is).collect()
            }
        };
        if meant.is_empty() {
            return Err(CliError::not_found(format!("`{}` is in no queue", name.escape_debug()))
                .hint("list what is: treehand queue ls"));
        }
        for entry in meant {
            if !found.contains(entry) {
                found.push(entry.clone());
            }
        }
    }
    Ok(found)
}

/// Shows these, those that are still there.
fn show(session: &Session, store: &Store, entries: &[QueueEntry]) -> Result<u8, CliError> {
    let is_one = |entry: &QueueEntry| entries.iter().any(|one| one.number == entry.number);
    let queues = |queue: &scan::Queue, _: &BranchName| queue.waiting.iter().any(|one| is_one(&one.entry));
    answer(session, store, queues, is_one)
}

/// Prints the queues and the entries that are wanted.
fn answer(
    session: &Session,
    store: &Store,
    queues: impl Fn(&scan::Queue, &BranchName) -> bool,
    entries: impl Fn(&QueueEntry) -> bool,
) -> Result<u8, CliError> {
    let all = asked::all(store)?;
    let (mut documents, mut text) = (Vec::new(), String::new());
    for (target, queue) in all.iter().filter(|(target, queue)| queues(queue, target)) {
        let pause = queue.pause.as_ref();
        let line = order::line(&queue.waiting);
        let wanted: Vec<(usize, &Place<'_>)> = (1..).zip(&line).filter(|(_, place)| entries(place.entry)).collect();
        text.push_str(&head(target, pause));
        if !wanted.is_empty() {
            text.push_str(&rows(&wanted, pause));
        }
        let entries: Vec<Value> = wanted.iter().map(|(position, place)| document(*position, place, pause)).collect();
        let paused = pause.map(|pause| json!({"reason": pause.reason, "at": pause.at}));
        documents.push(json!({"into": target, "paused": paused, "entries": entries}));
    }
    let empty = documents.is_empty();
    session.out.answer(SCHEMA, json!({"queues": documents}), || {
        if empty { "nothing waits to land\n".to_owned() } else { text }
    })?;
    Ok(0)
}

fn head(target: &BranchName, pause: Option<&QueuePause>) -> String {
    match pause {
        None => format!("{target}\n"),
        Some(pause) if pause.reason.is_empty() => format!("{target} (paused since {})\n", pause.at),
        Some(pause) => format!("{target} (paused since {}: {})\n", pause.at, plain(&pause.reason)),
    }
}

fn rows(places: &[(usize, &Place<'_>)], pause: Option<&QueuePause>) -> String {
    let mut rows = vec![["#", "ENTRY", "RESULT", "STATE", "COMMIT", "SINCE", "WHY"].map(str::to_owned).to_vec()];
    for (position, place) in places {
        let entry = place.entry;
        let (state, why) = asked::standing(entry, place.obstacle.as_ref(), pause);
        rows.push(vec![
            position.to_string(),
            entry.number.to_string(),
            entry.name(),
            state.to_owned(),
            entry.commit.short().to_owned(),
            entry.judged_since.unwrap_or(entry.submitted_at).to_string(),
            plain(&why),
        ]);
    }
    table(&rows)
}

fn document(position: usize, place: &Place<'_>, pause: Option<&QueuePause>) -> Value {
    let entry = place.entry;
    let (state, why) = asked::standing(entry, place.obstacle.as_ref(), pause);
    json!({
        "entry": entry.number, "position": position, "run": entry.run, "task": entry.task, "base": entry.base,
        "commit": entry.commit, "needs": entry.needs, "priority": entry.priority, "submitted_at": entry.submitted_at,
        "state": state, "reason": (!why.is_empty()).then_some(why), "judged_since": entry.judged_since,
    })
}
