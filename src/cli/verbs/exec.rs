//! `exec`: a command in a workspace, confined as far as was asked for; its exit code passes through.
//!
//! In a sealed workspace git works as everywhere; in a plain one, whose git dir is the user's own, it can look and not write.

use serde_json::json;

use crate::cleanup::remove;
use crate::cli::args::ExecArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::confine::policy::Streams;
use crate::confine::view::System;
use crate::confine::{self, Launch, LaunchError};
use crate::model::record::{ConfineLevel, WorkspaceRecord};
use crate::model::{Network, VariableName};
use crate::store::EntryDraft;
use crate::sys::{fs, random};
use crate::worktree::reach::{self, Quarters};
use crate::worktree::{WorktreeError, exported, sealed, ties};

/// Runs a command in a workspace.
pub fn run(session: &Session, args: &ExecArgs) -> Result<u8, CliError> {
    let level = args.confine.unwrap_or(session.settings.confine.level);
    let store = session.store()?;
    let record = session.workspace(&store, &args.name)?;
    if !record.path.is_dir() {
        let message = format!("the workspace `{}` is gone: {}", record.name, record.path.display());
        return Err(CliError::not_found(message).hint(format!("let it go: treehand rm {}", record.name)));
    }
    let machine = reach::machine(&session.repo);
    let (mut launch, quarters) = prepare(session, args, &record, level, &machine)?;
    launch.env.extend(exported::variables(&session.repo, &record));
    launch.give(&args.env, &args.secrets)?;
    launch.network = args.net.clone().unwrap_or(launch.network);
    launch.streams = if session.out.is_json() { Streams::Narrated } else { Streams::Inherited };
    if args.dry_run {
        return dry_run(session, &launch, &args.secrets, level, &machine);
    }
    let granted = confine::require(level, &reach::ground(&session.repo))?;
    warn(session, args, level);
    if let Some(value) =
        launch.secrets.iter().find(|value| launch.argv.iter().any(|argument| argument.contains(*value)))
    {
        let name =
            launch.env.iter().find(|(_, other)| other == value).map(|(name, _)| name.as_str()).unwrap_or_default();
        let message = format!("the command has the value of the secret `{name}` in it");
        return Err(
            CliError::usage(message).hint(format!("what is written there is kept: write ${name} in a shell's line"))
        );
    }
    let data = json!({"workspace": record.name, "command": launch.argv, "confine": level, "net": launch.network,
        "token": launch.token});
    store.note(&EntryDraft::new("exec", data))?;
    let ended = launch.start(granted, &machine).and_then(|shim| shim.wait());
    if let Some(Quarters { directory: Some(directory), .. }) = quarters {
        fs::remove_tree(&directory).map_err(WorktreeError::from)?;
    }
    if record.sealed && !matches!(level, ConfineLevel::Off | ConfineLevel::External) {
        let paths = remove::sealed_paths(&session.repo, &record, &session.settings.worktree.path)?;
        for path in ties::mend(&paths)? {
            let path = plain(&path.display().to_string());
            session.out.warn(format!("the command replaced {path}, which says where the git dir is; it was put back"));
        }
    }
    let ended = ended.map_err(not_started)?;
    if let Some(limit) = ended.stopped {
        session.out.warn(format!("the command was ended: {limit}"));
    }
    let code = ended.exit.or(ended.signal.map(|signal| 128 + signal)).and_then(|code| u8::try_from(code).ok());
    let code = code.unwrap_or(1);
    if session.out.is_json() {
        let document = json!({"workspace": record.name, "command": args.command, "exit": code, "confine": level});
        session.out.answer("treehand/exec/v1", document, String::new)?;
    }
    Ok(code)
}

fn prepare(
    session: &Session,
    args: &ExecArgs,
    record: &WorkspaceRecord,
    level: ConfineLevel,
    machine: &System,
) -> Result<(Launch, Option<Quarters>), CliError> {
    let token = random::token().map_err(|error| CliError::io("cannot make a token", &error))?;
    let bounds = session.settings.confine.bounds();
    let command = (args.command.clone(), token);
    if record.sealed {
        let paths = remove::sealed_paths(&session.repo, record, &session.settings.worktree.path)?;
        let lenders = [paths.private.join("base.git/objects")];
        let reach = reach::of_sealed(&session.repo, &paths, &lenders, machine)?;
        reach::furnish(&paths, &sealed::Identity::of_user(&session.repo)?)?;
        return Ok((reach::launch_in(&Quarters::of_sealed(&paths), reach, &bounds, level, command), None));
    }
    let quarters = reach::quarters_of_plain(&record.path, level, &command.1)?;
    let reach = match level {
        ConfineLevel::Strict | ConfineLevel::Landlock => reach::of_plain(&session.repo, &quarters, machine)?,
        ConfineLevel::External | ConfineLevel::Off => reach::Reach::default(),
    };
    Ok((reach::launch_in(&quarters, reach, &bounds, level, command), Some(quarters)))
}

fn warn(session: &Session, args: &ExecArgs, level: ConfineLevel) {
    if let Some(caution) = confine::level::caution(level) {
        session.out.warn(caution);
    }
    let open = matches!(level, ConfineLevel::Off | ConfineLevel::External);
    if open && args.net.as_ref().is_some_and(|net| *net != Network::Full) {
        session.out.warn("`--net` is not enforced either: the command has the network that you have");
    }
}

/// The policy as it would be handed to the kernel; of the environment only the names.
fn dry_run(
    session: &Session,
    launch: &Launch,
    secrets: &[VariableName],
    level: ConfineLevel,
    machine: &System,
) -> Result<u8, CliError> {
    let policy = launch.policy(level, machine);
    let names: Vec<&String> = policy.env.iter().map(|(name, _)| name).collect();
    let document = json!({"dry_run": true, "command": policy.argv, "directory": policy.directory, "confine": level,
        "environment": names, "secrets": secrets, "network": policy.network, "mounts": policy.view.mounts, "links": policy.view.links,
        "limits": policy.limits});
    let text = || {
        let command = plain(&policy.argv.join(" ")).to_string();
        let mut text = format!("{command} in {} with confine {level}\n", policy.directory.display());
        text.push_str(&format!("network: {}\n", json!(policy.network)));
        text.push_str(&format!("limits: {}\n", json!(policy.limits)));
        for mount in &policy.view.mounts {
            let target = mount.target.display().to_string();
            text.push_str(&format!("{:>5} {}\n", mount.access.word(), plain(&target)));
        }
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        text.push_str(&format!("environment: {}\n", plain(&names.join(" "))));
        let secrets: Vec<&str> = secrets.iter().map(VariableName::as_str).collect();
        if !secrets.is_empty() {
            text.push_str(&format!("of these kept out of logs: {}\n", secrets.join(" ")));
        }
        text
    };
    session.out.answer("treehand/exec/v1", document, text)?;
    Ok(0)
}

/// As a shell says it: 127 for a program that is not there, 126 for one that cannot be started.
fn not_started(error: LaunchError) -> CliError {
    match &error {
        LaunchError::Program { step, source } => {
            let shown = CliError::io(&format!("cannot {}", plain(step)), source);
            CliError { code: if source.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }, ..shown }
        }
        _ => error.into(),
    }
}
