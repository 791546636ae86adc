//! `exec`: a command in a workspace, as far confined as was asked for; its exit code passes through.
//!
//! In this version only `--confine off` can be granted, and has to be asked for by name.

use serde_json::json;

use crate::cli::args::ExecArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::confine::launch::Streams;
use crate::confine::{self, Launch, environment};
use crate::model::Network;
use crate::store::EntryDraft;
use crate::sys::{proc, random};
use crate::worktree::exported;

/// Runs a command in a workspace.
pub fn run(session: &Session, args: &ExecArgs) -> Result<u8, CliError> {
    let level = args.confine.unwrap_or(session.settings.confine.level);
    let granted = confine::require(level)?;
    let store = session.store()?;
    let record = session.workspace(&store, &args.name)?;
    if !record.path.is_dir() {
        let message = format!("the workspace `{}` is gone: {}", record.name, record.path.display());
        return Err(CliError::not_found(message).hint(format!("let it go: treehand rm {}", record.name)));
    }
    let token = random::token().map_err(|error| CliError::io("cannot make a token", &error))?;
    let enclosure = record.path.parent().unwrap_or(&record.path);
    let tmp = if record.sealed { enclosure.join("tmp") } else { std::env::temp_dir() };
    let mut env = environment::baseline(&tmp, enclosure, &token);
    env.extend(exported::variables(&session.repo, &record));
    let launch =
        Launch { argv: args.command.clone(), env, directory: record.path.clone(), streams: Streams::Inherited };
    if args.dry_run {
        let names: Vec<&String> = launch.env.iter().map(|(name, _)| name).collect();
        let document = json!({"dry_run": true, "command": launch.argv, "directory": launch.directory,
            "confine": level, "environment": names, "network": Network::Full, "net_asked": args.net});
        let text =
            || format!("{} in {} with confine {level}\n", plain(&launch.argv.join(" ")), launch.directory.display());
        session.out.answer("treehand/exec/v1", document, text)?;
        return Ok(0);
    }
    session.out.warn(confine::level::NOTHING_CONFINES);
    if args.net.as_ref().is_some_and(|net| *net != Network::Full) {
        session.out.warn("`--net` is not enforced either: the command has the network that you have");
    }
    let data =
        json!({"workspace": record.name, "command": launch.argv, "confine": level, "net": args.net, "token": token});
    store.note(&EntryDraft::new("exec", data))?;
    let mut command = launch.command(granted).map_err(|error| CliError::usage(error.to_string()))?;
    if session.out.is_json() {
        // Standard output is for the document alone.
        command.stdout(std::io::stderr());
    }
    let status = command.status().map_err(|error| {
        let shown = CliError::io(&format!("cannot start `{}`", plain(&args.command[0])), &error);
        CliError { code: if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }, ..shown }
    })?;
    let code = proc::exit_code(status);
    if session.out.is_json() {
        let document = json!({"workspace": record.name, "command": args.command, "exit": code, "confine": level});
        session.out.answer("treehand/exec/v1", document, String::new)?;
    }
    Ok(code)
}
