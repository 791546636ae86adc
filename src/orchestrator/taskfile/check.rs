//! What a tasks file may say: its keys, their values, and how its tasks hang together.
//!
//! Promises: all faults are found in one go; a faulty part is left out of the spec under construction, so that it does
//! not cause further faults, and no spec is handed out unless there was none.

use std::collections::{HashMap, HashSet};

use globset::GlobBuilder;

use crate::model::ids::IdError;
use crate::model::sparse::DirectoryError;
use crate::model::{BranchName, Directory, MergePolicy, RunSpec, Sparse, StalePolicy, Strategy, TaskId, TaskSpec};
use crate::orchestrator::graph::find_cycle;

use super::fault::{Faults, TaskFileError, shown};
use super::fields::{Fields, did_you_mean, gates, integer, net, text, texts, timeout, variables, word};
use super::json;
use super::tree::{Format, Node, Value, read_toml};
use super::work;

/// Largest tasks file, in bytes.
pub const SIZE_MAX: usize = 16 * 1024 * 1024;

const RUN_KEYS: [&str; 11] =
    ["goal", "base", "into", "stale", "gates", "strategy", "merge", "jobs", "budget", "task", "tasks"];
const TASK_KEYS: [&str; 18] = [
    "id", "agent", "model", "effort", "budget", "handover", "prompt", "command", "needs", "paths", "sparse", "net",
    "env", "secrets", "timeout", "stale", "retries", "gates",
];
const RETRIES_MAX: u32 = 100;
/// Longest glob pattern in bytes, and most `{` in it: globset reads nested alternatives recursively.
const GLOB_MAX: usize = 4096;
const GLOB_BRACES_MAX: usize = 64;
/// Most ids of a cycle that are printed.
const CYCLE_SHOWN_MAX: usize = 20;

/// Parses and checks a whole tasks file.
pub fn parse(text: &str, format: Format) -> Result<RunSpec, TaskFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut faults = Faults::new(text);
    if text.len() > SIZE_MAX {
        faults.push(None, format!("the file has {} bytes, more than the {SIZE_MAX} that are allowed", text.len()));
        return faults.finish(None);
    }
    let root = match format {
        Format::Json => json::read(text, &mut faults),
        Format::Toml => read_toml(text, &mut faults),
    };
    let spec = root.and_then(|root| run(&root, &mut faults));
    faults.finish(spec)
}

fn run<'t>(root: &Node<'t>, faults: &mut Faults<'t>) -> Option<RunSpec> {
    let fields = Fields::of("a tasks file", root, &RUN_KEYS, faults)?;
    Some(RunSpec {
        goal: fields.get("goal").and_then(|node| text("`goal`", node, faults)).map(str::to_owned),
        base: fields.get("base").and_then(|node| base(node, faults)),
        into: fields.get("into").and_then(|node| into(node, faults)),
        gates: fields.get("gates").map(|node| gates(node, faults)).unwrap_or_default(),
        stale: fields.get("stale").and_then(|node| word("`stale`", node, StalePolicy::WORDS, faults)),
        strategy: fields.get("strategy").and_then(|node| word("`strategy`", node, Strategy::WORDS, faults)),
        merge: fields.get("merge").and_then(|node| word("`merge`", node, MergePolicy::WORDS, faults)),
        jobs: fields.get("jobs").and_then(|node| integer("`jobs`", node, 1..=u32::MAX, faults)),
        budget: fields.get("budget").map(|node| work::budget(node, faults)).unwrap_or_default(),
        tasks: tasks(&fields, faults),
    })
}

fn base(node: &Node<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let base = text("`base`", node, faults)?;
    let why = if base.trim().is_empty() {
        "is empty"
    } else if base.starts_with('-') {
        "starts with `-`"
    } else if base.contains(char::is_control) {
        "contains a control character"
    } else {
        return Some(base.to_owned());
    };
    faults.push(node.at, format!("`base` {why}"));
    None
}

fn into(node: &Node<'_>, faults: &mut Faults<'_>) -> Option<BranchName> {
    let name = text("`into`", node, faults)?;
    let push = |why: &str| faults.push(node.at, format!("`into` cannot be the branch `{}`: {why}", shown(name)));
    BranchName::parse(name).map_err(|error| error.why).map_err(push).ok()
}

fn tasks<'t>(fields: &Fields<'_, 't>, faults: &mut Faults<'t>) -> Vec<TaskSpec> {
    if let (Some(one), Some(other)) = (fields.entry("task"), fields.entry("tasks")) {
        faults.push(one.at.max(other.at), "both `task` and `tasks` are there, which mean the same");
    }
    let items = task_items(fields, faults);
    let ids = Ids::collect(items, faults);
    let has_goal = fields.get("goal").is_some();
    let read = items.iter().filter_map(|item| task(item, (&ids, has_goal), faults));
    let (tasks, places): (Vec<TaskSpec>, Vec<usize>) = read.unzip();
    if let Some(cycle) = find_cycle(&tasks) {
        let first = tasks.iter().position(|task| cycle.first() == Some(&task.id));
        let at = first.and_then(|n| places.get(n).copied());
        faults.push(at, format!("tasks need each other in a circle: {}", show_cycle(&cycle)));
    }
    tasks
}

fn task_items<'a, 't>(fields: &Fields<'a, 't>, faults: &mut Faults<'t>) -> &'a [Node<'t>] {
    const HINT: &str = "write each task as `[[task]]` (in JSON: `\"tasks\": [{…}]`)";
    let Some(entry) = fields.entry("task").or(fields.entry("tasks")) else {
        faults.push_hinted(None, "the file has no tasks", HINT);
        return &[];
    };
    match &entry.value.value {
        Value::List(items) if !items.is_empty() => return items,
        Value::List(_) => faults.push_hinted(entry.value.at, "the file has no tasks", HINT),
        other => {
            let message = format!("`{}` must be an array of tables, not {}", entry.key, other.kind());
            faults.push_hinted(entry.value.at, message, HINT);
        }
    }
    &[]
}

fn show_cycle(cycle: &[TaskId]) -> String {
    let mut ids: Vec<&str> = cycle.iter().map(TaskId::as_str).collect();
    if ids.len() > CYCLE_SHOWN_MAX {
        ids.splice(CYCLE_SHOWN_MAX - 2..ids.len() - 1, ["…"]);
    }
    ids.join(" -> ")
}

/// The ids of a file as written, unsafe ones included: a need of such a task is not one more fault.
struct Ids<'a> {
    in_order: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Ids<'a> {
    fn collect(items: &'a [Node<'_>], faults: &mut Faults<'_>) -> Self {
        let mut ids = Ids { in_order: Vec::new(), places: HashMap::new() };
        for (id, at) in items.iter().filter_map(written_id) {
            let first = *ids.places.entry(id).or_insert(at);
            if first == at {
                ids.in_order.push(id);
            } else {
                let line = faults.line_of(first);
                faults.push(at, format!("duplicate task id `{}`, first on line {line}", shown(id)));
            }
        }
        ids
    }
}

fn written_id<'a>(item: &'a Node<'_>) -> Option<(&'a str, usize)> {
    let Value::Table(entries) = &item.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == "id")?;
    match &entry.value.value {
        Value::Text(id) => Some((id, entry.value.at)),
        _ => None,
    }
}

/// One task and the place of its needs (or of itself).
fn task<'t>(node: &Node<'t>, (ids, has_goal): (&Ids<'_>, bool), faults: &mut Faults<'t>) -> Option<(TaskSpec, usize)> {
    let fields = Fields::of("each task", node, &TASK_KEYS, faults)?;
    let id = task_id(node, &fields, faults);
    let name = written_id(node).map_or("this task".to_owned(), |(id, _)| format!("task `{}`", shown(id)));
    let (env, secrets) = variables(&fields, faults);
    let work = work::work(&name, node, (&fields, has_goal), faults);
    let spec = TaskSpec {
        net: net(&fields, faults),
        env,
        secrets,
        agent: work.agent,
        command: work.command,
        agents: work.agents,
        effort: work.effort,
        budget: work.budget,
        handover: work.handover,
        prompt: fields.get("prompt").and_then(|node| text("`prompt`", node, faults)).map(str::to_owned),
        needs: fields.get("needs").map(|needs| self::needs(written_id(node), needs, ids, faults)).unwrap_or_default(),
        paths: fields.get("paths").map(|node| paths(node, faults)).unwrap_or_default(),
        sparse: fields.get("sparse").map(|node| sparse(node, faults)).unwrap_or_default(),
        timeout: fields.get("timeout").and_then(|node| timeout(node, faults)),
        stale: fields.get("stale").and_then(|node| word("`stale`", node, StalePolicy::WORDS, faults)),
        retries: fields
            .get("retries")
            .and_then(|node| integer("`retries`", node, 0..=RETRIES_MAX, faults))
            .unwrap_or(work.retries),
        gates: fields.get("gates").map(|node| gates(node, faults)).unwrap_or_default(),
        // Last, so that a task without a usable id has its other faults reported too.
        id: id?,
    };
    Some((spec, fields.get("needs").map_or(node.at, |needs| needs.at)))
}

fn task_id<'t>(node: &Node<'t>, fields: &Fields<'_, 't>, faults: &mut Faults<'t>) -> Option<TaskId> {
    let Some(written) = fields.get("id") else {
        faults.push(node.at, "this task has no `id`");
        return None;
    };
    let id = text("`id`", written, faults)?;
    let push = |error: IdError| match error {
        IdError::Task { why, .. } => faults.push(written.at, format!("`{}` is not a task id: {why}", shown(id))),
        other => faults.push(written.at, other.to_string()),
    };
    TaskId::parse(id).map_err(push).ok()
}

/// The command line of a task.
pub(super) fn command(node: &Node<'_>, faults: &mut Faults<'_>) -> Vec<String> {
    match &node.value {
        Value::Text(_) => {
            let hint = "write `[\"sh\", \"-c\", \"…\"]` to have a shell read it";
            faults.push_hinted(node.at, "`command` must be an array of strings, not a string", hint);
            return Vec::new();
        }
        Value::List(items) => match items.first() {
            None => faults.push(node.at, "`command` is empty"),
            Some(Node { at, value: Value::Text(program) }) if program.trim().is_empty() => {
                faults.push(*at, "the program in `command` is empty");
            }
            Some(_) => {}
        },
        _ => {}
    }
    texts("`command`", node, faults).into_iter().map(|(text, _)| text.to_owned()).collect()
}

fn needs(own: Option<(&str, usize)>, node: &Node<'_>, ids: &Ids<'_>, faults: &mut Faults<'_>) -> Vec<TaskId> {
    let mut seen = HashSet::new();
    let mut needs = Vec::new();
    for (need, at) in texts("`needs`", node, faults) {
        if own.is_some_and(|(own, _)| own == need) {
            faults.push(at, format!("task `{}` needs itself", shown(need)));
        } else if !ids.places.contains_key(need) {
            let guess = did_you_mean(need, ids.in_order.iter().copied(), faults);
            faults.push(at, format!("there is no task `{}`{guess}", shown(need)));
        } else if !seen.insert(need) {
            faults.push(at, format!("`{}` stands twice in `needs`", shown(need)));
        } else {
            needs.extend(TaskId::parse(need).ok());
        }
    }
    needs
}

fn paths(node: &Node<'_>, faults: &mut Faults<'_>) -> Vec<String> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let hint = "leave `paths` out to allow every file";
        faults.push_hinted(node.at, "`paths` is empty, so that the task could change nothing", hint);
    }
    let mut paths = Vec::new();
    for (glob, at) in texts("`paths`", node, faults) {
        match glob_fault(glob) {
            None => paths.push(glob.to_owned()),
            Some(why) => faults.push(at, format!("`{}` in `paths` {why}", shown(glob))),
        }
    }
    paths
}

/// How much of the repository a task has: a word, or directories.
fn sparse(node: &Node<'_>, faults: &mut Faults<'_>) -> Sparse {
    match &node.value {
        Value::Text(word) if word == "auto" => return Sparse::Auto,
        Value::List(items) if !items.is_empty() => {}
        _ => {
            let hint = "leave `sparse` out to have the whole repository";
            faults.push_hinted(node.at, "`sparse` must be \"auto\" or an array of directories", hint);
            return Sparse::default();
        }
    }
    let mut directories = Vec::new();
    for (path, at) in texts("`sparse`", node, faults) {
        match Directory::parse(path) {
            Ok(directory) => directories.push(directory),
            Err(DirectoryError { why, .. }) => faults.push(at, format!("`{}` in `sparse`: {why}", shown(path))),
        }
    }
    Sparse::Directories(directories)
}

/// Why a glob cannot match a path in a repository as git names it.
fn glob_fault(glob: &str) -> Option<String> {
    if glob.is_empty() {
        Some("is empty".into())
    } else if glob.len() > GLOB_MAX || glob.bytes().filter(|b| *b == b'{').count() > GLOB_BRACES_MAX {
        Some(format!("is too long (at most {GLOB_MAX} bytes and {GLOB_BRACES_MAX} `{{`)"))
    } else if glob.starts_with('/') {
        Some("is absolute, but paths are taken from the top of the repository".into())
    } else if glob.split('/').any(|part| part == "..") {
        Some("contains `..`".into())
    } else if glob.split('/').any(|part| part.is_empty() || part == ".") {
        Some("matches no file: no part between `/` may be empty or `.` (write `dir/**` for all in a directory)".into())
    } else {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        built.err().map(|error| format!("is not a valid pattern: {}", error.kind()))
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
