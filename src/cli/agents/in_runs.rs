//! What is said of the agents of a run: in documents, and in words beside their tasks.
//! What they used is what they say of themselves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli::output::plain;
use crate::model::TaskState;
use crate::model::agent::{AgentRecord, Submission, Usage, shown_dollars};
use crate::model::record::{AttemptRecord, TaskRecord};

/// What was used, as a document; `null` where no agent was at work.
pub fn usage<'a>(agents: impl Iterator<Item = &'a AgentRecord>) -> Value {
    let (mut sum, mut turns, mut none) = (Usage::default(), 0u64, true);
    for agent in agents {
        (sum, turns, none) = (sum.plus(agent.used()), turns.saturating_add(agent.report.turns), false);
    }
    if none { Value::Null } else { usage_document(sum, turns) }
}

/// The same for each agent of these tasks, by their names.
pub fn usage_by_agent(tasks: &[TaskRecord]) -> Value {
    let names: BTreeSet<&str> = tasks.iter().flat_map(all).map(|agent| agent.profile.as_str()).collect();
    let of = |name: &str| usage(tasks.iter().flat_map(all).filter(|agent| agent.profile == name));
    names.into_iter().map(|name| (name.to_owned(), of(name))).collect::<serde_json::Map<_, _>>().into()
}

fn usage_document(usage: Usage, turns: u64) -> Value {
    let mut document = json!(usage);
    (document["tokens"], document["turns"]) = (json!(usage.tokens()), json!(turns));
    document
}

/// The agents of all attempts of a task.
pub fn all(task: &TaskRecord) -> impl Iterator<Item = &AgentRecord> {
    task.attempts.iter().filter_map(|attempt| attempt.agent.as_ref())
}

/// The agent of an attempt.
pub fn document(attempt: &AttemptRecord) -> Value {
    let Some(agent) = &attempt.agent else { return Value::Null };
    let report = &agent.report;
    json!({
        "name": agent.profile, "model": agent.model, "program": agent.program, "version": agent.version,
        "session": report.session, "resumed": agent.resumed, "turns": report.turns, "tools": report.tools,
        "said": report.text, "progress": agent.progress, "submission": agent.submission,
    })
}

/// What a task's agents came to, in words, in parts.
pub fn words(task: &TaskRecord) -> Vec<String> {
    let mut parts = Vec::new();
    let handed_over = all(task).map(|agent| agent.profile.as_str()).collect::<Vec<_>>();
    if let ([first, ..], Some(last)) = (&handed_over[..], task.attempts.last())
        && let Some(agent) = &last.agent
        && *first != agent.profile
    {
        let why = task.attempts.iter().rev().skip(1).find_map(|attempt| attempt.error.as_ref());
        let why = why.map(|error| format!(" ({})", plain(&error.message))).unwrap_or_default();
        parts.push(format!("{} after {first}{why}", agent.profile));
    }
    if task.state == TaskState::Running {
        parts.extend(all(task).last().and_then(|agent| agent.progress.as_ref()).map(|said| one_line(said)));
    }
    if let Some(Submission { summary, .. }) = task.submission().filter(|_| task.state.is_terminal()) {
        parts.push(one_line(summary));
    }
    let used = task.usage();
    if used != Usage::default() {
        let cost = used.cost_micros.map(|micros| format!(", {}", shown_dollars(micros))).unwrap_or_default();
        parts.push(format!("{} tokens{cost}", shown_count(used.tokens())));
    }
    parts
}

/// What is said when an attempt begins: who has it, and why it is not the first.
pub fn begins(task: &TaskRecord) -> String {
    let counted = task.attempts.get(usize::try_from(task.pardoned).unwrap_or(usize::MAX)..).unwrap_or_default();
    let [before @ .., last] = counted else { return String::new() };
    let name = |attempt: &AttemptRecord| attempt.agent.as_ref().map(|agent| agent.profile.clone());
    let by = name(last).map(|name| format!(" by {name}")).unwrap_or_default();
    let failed = before.last().and_then(|before| Some((name(before), before.error.as_ref()?)));
    let after = failed.map(|(name, error)| {
        let who = name.unwrap_or_else(|| "an attempt".to_owned());
        format!(", after {who}: {}", one_line(&error.message))
    });
    format!("{by}{}", after.unwrap_or_default())
}

/// The first line of a text, as far as it is worth a place beside a task.
pub fn one_line(text: &str) -> String {
    const SHOWN: usize = 120;
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => plain(&format!("{}…", &line[..end])),
        None => plain(line),
    }
}

/// A number for people: `950`, `12k`, `3.4M`.
fn shown_count(number: u64) -> String {
    match number {
        0..=9_999 => number.to_string(),
        10_000..=999_999 => format!("{}k", number / 1000),
        _ => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_short_beside_a_task() {
        assert_eq!([0, 9_999, 12_345, 3_456_789].map(shown_count), ["0", "9999", "12k", "3.4M"]);
        assert_eq!(one_line("\n  made it\nand more"), "made it");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), 121);
    }
}
