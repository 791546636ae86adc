//! `merge --dry-run`: what would land on the target as it is now: commits, messages, trees, and what conflicts.
//!
//! Everything is merged in memory and thrown away. Gates are not run, and what others have in the queue is not asked for.

use serde_json::{Value, json};

use super::merge::tip;
use super::merge_results::with_flags;
use crate::cli::error::CliError;
use crate::cli::merge_args::MergeArgs;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{QueueEntry, Reason, ReasonKind, TaskId, state};
use crate::orchestrator::acceptance::choose;
use crate::orchestrator::queue::attend;
use crate::orchestrator::queue::stack::{Link, Stack, Subject};
use crate::orchestrator::start::RunPlan;
use crate::store::Store;

/// What would land of workspaces.
pub(super) fn offers(session: &Session, plan: &RunPlan) -> Result<u8, CliError> {
    preview(session, &plan.run, &plan.tasks)
}

/// What would land of a run.
pub(super) fn results(
    session: &Session,
    store: &Store,
    args: &MergeArgs,
    (run, named): (&RunRecord, &[TaskId]),
) -> Result<u8, CliError> {
    let tasks = store.tasks(&run.id)?;
    let chosen = choose(&tasks, named)
        .map_err(|why| CliError::refused(format!("nothing of {} lands: {why}", args.targets.join(", "))))?;
    let chosen: Vec<TaskRecord> = tasks.into_iter().filter(|task| chosen.contains(&task.id)).collect();
    preview(session, &with_flags(session, run, args)?, &chosen)
}

fn preview(session: &Session, run: &RunRecord, tasks: &[TaskRecord]) -> Result<u8, CliError> {
    let Some(tip) = tip(session, &run.into)? else {
        return Err(CliError::not_found(format!("there is no branch `{}`", run.into)));
    };
    let entries: Vec<QueueEntry> = tasks.iter().filter_map(|task| attend::entry_of(run, task)).collect();
    let subject = |entry: &QueueEntry| {
        let task = tasks.iter().find(|task| task.id == entry.task)?;
        Some(Subject::of(entry.clone(), run, task.clone()))
    };
    let stack = Stack::build(&session.repo, (&run.into, &tip), entries.iter().filter_map(subject).collect())?;
    let links: Result<Vec<Value>, CliError> = stack.links.iter().map(|link| document(&stack, link, tasks)).collect();
    let mut refused = stack.refused.clone();
    // What does not go together with those before it is refused once they have landed.
    let is_told = |entry: &QueueEntry| {
        let links = stack.links.iter().map(|link| &link.subject.entry);
        links.chain(stack.refused.iter().map(|(told, _)| told)).any(|told| told.task == entry.task)
    };
    for entry in entries.iter().filter(|entry| !is_told(entry)) {
        let message = "it conflicts with what lands before it, or needs what does not land".to_owned();
        refused.push((entry.clone(), Reason::new(ReasonKind::Conflict, message)));
    }
    stack.quarantine.discard()?;
    let links = links?;
    let label = |entry: &QueueEntry| {
        tasks.iter().find(|task| task.id == entry.task).map_or(entry.task.to_string(), |task| task.label().to_owned())
    };
    let rejected: Vec<Value> =
        refused.iter().map(|(entry, reason)| json!({"task": label(entry), "reason": reason})).collect();
    let gates: Vec<&str> = run.spec.gates.iter().map(|gate| gate.run.as_str()).collect();
    let after = links.last().map_or_else(|| json!(tip), |link| link["commit"].clone());
    let document = json!({
        "dry_run": true, "target": run.into, "before": tip, "after": after, "strategy": run.strategy,
        "landed": links, "rejected": rejected, "gates": gates,
    });
    session.out.answer("treehand/merge/v1", document, || {
        let mut text = String::new();
        for link in &links {
            let word = |key: &str| plain(link[key].as_str().unwrap_or_default());
            text.push_str(&format!("would land {} on {} as tree {}\n", word("task"), run.into, short(&word("tree"))));
            let message = link["message"].as_str().unwrap_or_default();
            message.trim_end().lines().for_each(|line| text.push_str(&format!("    {}\n", plain(line))));
        }
        for (entry, reason) in &refused {
            text.push_str(&format!("would not land {}: {}\n", plain(&label(entry)), plain(&reason.message)));
        }
        gates.iter().for_each(|gate| text.push_str(&format!("gate: {}\n", plain(gate))));
        text
    })?;
    let kinds: Vec<ReasonKind> = refused.iter().map(|(_, reason)| reason.kind).collect();
    Ok(state::run_exit_code(&kinds))
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A result in its place; the commit is what it would be if it were made at this moment.
fn document(stack: &Stack, link: &Link, tasks: &[TaskRecord]) -> Result<Value, CliError> {
    let task = tasks.iter().find(|task| task.id == link.subject.entry.task);
    let message =
        stack.quarantine.command(["show", "-s", "--no-show-signature", "--format=%B", link.after.as_str(), "--"]);
    let message = if link.before == link.after { String::new() } else { message.text()? };
    Ok(json!({
        "task": task.map(TaskRecord::label), "commit": link.after, "tree": stack.tree_of(&link.after)?, "message": message,
    }))
}
