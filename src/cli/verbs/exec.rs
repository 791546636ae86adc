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
use crate::confine::shim::ExitRecord;
use crate::confine::view::System;
use crate::confine::{self, Launch, LaunchError};
use crate::model::record::ConfineLevel;
use crate::model::{Network, VariableName};
use crate::store::{EntryDraft, Store};
use crate::sys::random;
use crate::worktree::inside::{Furnished, Inside};
use crate::worktree::{ports, reach};

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
    let token = random::token().map_err(|error| CliError::io("cannot make a token", &error))?;
    let bounds = session.settings.confine.bounds();
    let paths = record.sealed.then(|| remove::sealed_paths(&session.repo, &record, &session.settings.worktree.path));
    let paths = paths.transpose()?;
    let ports = if args.dry_run { ports::foreseen } else { ports::lease };
    let ports = ports(&session.repo, &record.path, session.settings.worktree.ports);
    let (repo, sealed) = (&session.repo, paths.as_ref());
    let inside = Inside { repo, record: &record, sealed, level, bounds: &bounds, ports: &ports };
    let mut furnished = inside.furnish(&machine, (args.command.clone(), token))?;
    let launched = launch(session, &store, args, (&inside, &mut furnished), &machine);
    furnished.leave()?;
    let Launched::Ended(ended) = launched? else { return Ok(0) };
    for path in inside.mend()? {
        let path = plain(&path.display().to_string());
        session.out.warn(format!("the command replaced {path}, which says where the git dir is; it was put back"));
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

/// What came of it.
enum Launched {
    /// It was only looked at.
    Foreseen,
    /// It ended, or did not start.
    Ended(Result<ExitRecord, LaunchError>),
}

fn launch(
    session: &Session,
    store: &Store,
    args: &ExecArgs,
    (inside, furnished): (&Inside<'_>, &mut Furnished),
    machine: &System,
) -> Result<Launched, CliError> {
    let level = inside.level;
    let launch = &mut furnished.launch;
    launch.give(&args.env, &args.secrets)?;
    launch.network = args.net.clone().unwrap_or(launch.network.clone());
    launch.streams = if session.out.is_json() { Streams::Narrated } else { Streams::Inherited };
    if args.dry_run {
        dry_run(session, launch, &args.secrets, level, machine)?;
        return Ok(Launched::Foreseen);
    }
    let granted = confine::require(level, &reach::ground(&session.repo))?;
    warn(session, args, level);
    if let Some(name) = furnished.written_secret() {
        let message = format!("the command has the value of the secret `{name}` in it");
        return Err(
            CliError::usage(message).hint(format!("what is written there is kept: write ${name} in a shell's line"))
        );
    }
    let launch = &furnished.launch;
    let data = json!({"workspace": inside.record.name, "command": launch.argv, "confine": level, "net": launch.network,
        "token": launch.token});
    store.note(&EntryDraft::new("exec", data))?;
    Ok(Launched::Ended(launch.start(granted, machine).and_then(|shim| shim.wait())))
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
) -> Result<(), CliError> {
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
    Ok(session.out.answer("treehand/exec/v1", document, text)?)
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
