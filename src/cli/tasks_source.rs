//! Where a run's tasks come from: a file, standard input, or the command after `--`.
//!
//! Reads with a limit; what the text means is decided by `orchestrator::taskfile`.

use std::io::Read;
use std::path::Path;

use super::error::CliError;
use super::output::plain;
use super::run_args::RunArgs;
use crate::agent::profile::COMMAND;
use crate::model::agent::{AgentChoice, Budget};
use crate::model::{RunSpec, TaskId, TaskSpec};
use crate::orchestrator::agents::find;
use crate::orchestrator::taskfile::{self, Format};

/// The specification that the arguments name, before flags and configuration are applied to it. `agents` are
/// those that the user has do a goal.
pub fn load(args: &RunArgs, agents: &[String]) -> Result<RunSpec, CliError> {
    if let Some(path) = &args.tasks {
        let text = read(path)?;
        return taskfile::parse(&text, Format::guess(&text)).map_err(|error| {
            let mut error = CliError::from(error);
            let line =
                |line: &str| if line.starts_with("line ") { format!("{}: {line}", shown(path)) } else { line.into() };
            error.message = error.message.lines().map(line).collect::<Vec<String>>().join("\n");
            error
        });
    }
    if !args.command.is_empty() {
        return one_command(args);
    }
    if let Some(goal) = &args.goal {
        return one_goal(args, goal, agents);
    }
    Err(CliError::usage("there is nothing to run")
        .hint("treehand run -- CMD…, treehand run GOAL --agent NAME, or treehand run --tasks FILE"))
}

/// One task that an agent does.
fn one_goal(args: &RunArgs, goal: &str, agents: &[String]) -> Result<RunSpec, CliError> {
    if goal.trim().is_empty() {
        return Err(CliError::usage("the goal is empty"));
    }
    let mut agents = match &args.agent[..] {
        [] => agents.iter().map(|name| name.parse().map_err(CliError::usage)).collect::<Result<_, _>>()?,
        named => named.to_vec(),
    };
    if agents.is_empty() {
        agents.push(only_one()?);
    }
    match (&args.model, &mut agents[..]) {
        (None, _) => {}
        (Some(model), [one]) if one.model.is_none() => one.model = Some(model.clone()),
        (Some(_), _) => {
            let error = CliError::usage("--model is for one agent that has none yet");
            return Err(error.hint("write it behind each name: --agent codex:gpt-5,claude"));
        }
    }
    let id = match &args.name {
        Some(name) => TaskId::parse(name).map_err(|error| CliError::usage(error.to_string()))?,
        None => goal_name(goal),
    };
    let mut task = TaskSpec::for_agents(id, agents, goal.to_owned());
    task.effort.clone_from(&args.effort);
    Ok(RunSpec { goal: Some(goal.to_owned()), ..of_one(task) })
}

/// The agent that is meant where none is named: the only one that is installed.
fn only_one() -> Result<AgentChoice, CliError> {
    let known = find::registry()?;
    let mut found = Vec::new();
    for name in known.names() {
        let profile = known.get(&name).map_err(|error| CliError::usage(format!("the profile of `{name}`: {error}")))?;
        found.extend(find::is_there(&profile).then_some(name));
    }
    match &found[..] {
        [one] => one.parse().map_err(CliError::usage),
        [] => {
            Err(CliError::usage("no agent was named, and none is installed")
                .hint("see which there are: treehand agents"))
        }
        several => {
            let hint = format!("--agent {}, or set supervise.agent", several.join(" or --agent "));
            Err(CliError::usage("no agent was named").hint(hint))
        }
    }
}

/// The first words of a goal, as far as they can be an id.
fn goal_name(goal: &str) -> TaskId {
    const LENGTH_MAX: usize = 40;
    let mut name = String::new();
    for word in goal.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if name.len() + word.len() >= LENGTH_MAX {
            break;
        }
        name.push_str(if name.is_empty() { "" } else { "-" });
        name.push_str(&word.to_ascii_lowercase());
    }
    TaskId::parse(&name).unwrap_or_else(|_| TaskId::parse("task").expect("`task` is a task id"))
}

fn one_command(args: &RunArgs) -> Result<RunSpec, CliError> {
    if args.command.first().is_some_and(String::is_empty) {
        return Err(CliError::usage("the command is empty"));
    }
    let id = match &args.name {
        Some(name) => TaskId::parse(name).map_err(|error| CliError::usage(error.to_string()))?,
        None => task_name(&args.command),
    };
    let task = TaskSpec::plain(id, COMMAND, args.command.clone());
    Ok(of_one(task))
}

/// A run of one task, of which nothing else is said.
pub fn of_one(task: TaskSpec) -> RunSpec {
    RunSpec {
        goal: None,
        base: None,
        into: None,
        gates: Vec::new(),
        stale: None,
        strategy: None,
        merge: None,
        jobs: None,
        budget: Budget::default(),
        tasks: vec![task],
    }
}

/// The program's name where it can be an id, else `task`.
fn task_name(command: &[String]) -> TaskId {
    let program = command.first().map(String::as_str).unwrap_or_default();
    let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    TaskId::parse(&name).unwrap_or_else(|_| TaskId::parse("task").expect("`task` is a task id"))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { plain(&path.to_string_lossy()) }
}

fn read(path: &Path) -> Result<String, CliError> {
    let limit = taskfile::SIZE_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let shown = shown(path);
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match result {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CliError::not_found(format!("there is no tasks file {shown}")));
        }
        Err(error) => return Err(CliError::usage(format!("cannot read {shown}: {error}"))),
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        CliError::usage(format!("{shown} is not UTF-8 in line {line}"))
    })
}
