//! Where a run's tasks come from: a file, standard input, or the command after `--`.
//!
//! Reads with a limit; what the text means is decided by `orchestrator::taskfile`.

use std::io::Read;
use std::path::Path;

use super::args::RunArgs;
use super::error::CliError;
use super::output::plain;
use crate::agent::profile::COMMAND;
use crate::model::{RunSpec, TaskId, TaskSpec};
use crate::orchestrator::taskfile::{self, Format};

/// The specification that the arguments name, before flags and configuration are applied to it.
pub fn load(args: &RunArgs) -> Result<RunSpec, CliError> {
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
    if args.goal.is_some() {
        let agent = args.agent.as_deref().unwrap_or("no agent was named, and");
        let message = format!("{agent}: this version has no agent profiles, only commands");
        return Err(CliError::usage(message).hint("give the command: treehand run -- CMD…, or a file: --tasks FILE"));
    }
    Err(CliError::usage("there is nothing to run").hint("treehand run -- CMD…, or treehand run --tasks FILE"))
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
    Ok(RunSpec {
        goal: None,
        base: None,
        into: None,
        gates: Vec::new(),
        stale: None,
        strategy: None,
        merge: None,
        jobs: None,
        tasks: vec![task],
    })
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
