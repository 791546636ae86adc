//! What the values of arguments stand for, so that names can be offered for them.
//!
//! Whatever clap knows itself (lists of words, paths) is not here. A test sees to it that no argument is forgotten.

use crate::cleanup::clean::types::Kind as CleanKind;
use crate::model::record::ConfineLevel;
use crate::model::{MergePolicy, StalePolicy, Strategy, UpdateBy};

/// What a value stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A workspace.
    Workspace,
    /// A workspace, or a task that has one.
    Place,
    /// A run, or one of its tasks.
    Target,
    /// A run that is not over.
    Unfinished,
    /// An operation that can be taken back.
    Operation,
    /// What was saved before a removal.
    Saved,
    /// A branch of the repository.
    Branch,
    /// Whatever a base can be: a branch, a remote branch or a tag.
    Revision,
    /// An agent.
    Agent,
    /// A key of the configuration, and its value.
    Setting,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Anything: nobody can know.
    Free,
}

/// Arguments by their ids: those of one command first, then those that mean the same in every command.
const KINDS: &[(&str, &str, Kind)] = &[
    ("new", "name", Kind::Free),
    ("run", "name", Kind::Free),
    ("path", "name", Kind::Place),
    ("cd", "name", Kind::Place),
    ("fresh", "names", Kind::Place),
    ("diff", "name", Kind::Place),
    ("cancel", "target", Kind::Unfinished),
    ("answer", "target", Kind::Unfinished),
    ("answer", "text", Kind::Free),
    ("steer", "target", Kind::Unfinished),
    ("steer", "text", Kind::Free),
    ("pause", "target", Kind::Unfinished),
    ("resume", "target", Kind::Unfinished),
    ("wait", "runs", Kind::Unfinished),
    ("check", "name", Kind::Agent),
    ("restore", "workspace", Kind::Free),
    ("clean", "only", Kind::Words(&CleanKind::WORDS)),
    ("", "entry", Kind::Target),
    ("", "entries", Kind::Target),
    ("", "name", Kind::Workspace),
    ("", "names", Kind::Workspace),
    ("", "target", Kind::Target),
    ("", "targets", Kind::Target),
    ("", "operation", Kind::Operation),
    ("", "saved", Kind::Saved),
    ("", "branch", Kind::Free),
    ("", "base", Kind::Revision),
    ("", "into", Kind::Branch),
    ("", "set", Kind::Setting),
    ("", "stale", Kind::Words(StalePolicy::WORDS)),
    ("", "confine", Kind::Words(ConfineLevel::WORDS)),
    ("", "merge", Kind::Words(MergePolicy::WORDS)),
    ("", "update", Kind::Words(UpdateBy::WORDS)),
    ("", "from_pr", Kind::Free),
    ("", "strategy", Kind::Words(Strategy::WORDS)),
    ("", "net", Kind::Words(&["none", "full"])),
    ("", "env", Kind::Free),
    ("", "secrets", Kind::Free),
    ("", "agent", Kind::Agent),
    ("", "model", Kind::Free),
    ("", "effort", Kind::Free),
    ("", "execute", Kind::Free),
    ("", "gates", Kind::Free),
    ("", "goal", Kind::Free),
    ("", "reason", Kind::Free),
    ("", "jobs", Kind::Free),
    ("", "min_age", Kind::Free),
    ("", "disk_budget", Kind::Free),
    ("", "limit", Kind::Free),
    ("", "at", Kind::Free),
    ("", "every", Kind::Free),
    ("", "notify", Kind::Free),
    ("", "timeout", Kind::Free),
    ("", "endpoint", Kind::Free),
];

/// What the values of this argument of this command stand for; `None` when it is not in the table.
pub fn kind_of(verb: &[&str], argument: &str) -> Option<Kind> {
    let verb = verb.last().copied().unwrap_or_default();
    let in_table = |of: &str| KINDS.iter().find(|(verb, id, _)| *verb == of && *id == argument);
    in_table(verb).or_else(|| in_table("")).map(|(_, _, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, ValueHint};

    use super::*;
    use crate::cli::args::Cli;

    fn forgotten(command: &Command, verb: &[&str], found: &mut Vec<String>) {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values() && !arg.is_last_set()) {
            let known = !arg.get_possible_values().is_empty() || arg.get_value_hint() != ValueHint::Unknown;
            if !known && kind_of(verb, arg.get_id().as_str()).is_none() {
                found.push(format!("{} {}", verb.join(" "), arg.get_id()));
            }
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
            let verb: Vec<&str> = verb.iter().copied().chain([inner.get_name()]).collect();
            forgotten(inner, &verb, found);
        }
    }

    #[test]
    fn every_value_of_every_command_has_a_kind() {
        let mut root = Cli::command();
        root.build();
        let mut found = Vec::new();
        forgotten(&root, &[], &mut found);
        assert_eq!(found, [] as [&str; 0], "say in `KINDS` what these stand for");
    }
}
