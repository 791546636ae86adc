//! Which verb is which file. Those that need a repository get a session.
//!
//! Decides nothing else.

use super::*;
use crate::cli::args::{Cli, ConfigAction, Verb};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::orchestrator::scoped::Place;

/// Runs a verb and gives its exit code.
pub fn run(cli: Cli, out: &Output) -> Result<u8, CliError> {
    let global = cli.global;
    match cli.verb {
        Verb::Supervise { scope, plain, common_dir, run } => {
            let place = scope.map_or_else(|| Place::Plain(plain.unwrap_or_default()), Place::Scope);
            return supervise::run(&common_dir, &run, &place);
        }
        Verb::Slots { common_dir } => return slots::run(&common_dir),
        Verb::Complete(args) => return complete::run(&args),
        Verb::Man { directory } => return man::run(&directory, out),
        Verb::ShellInit(args) => return shell::init(args.shell, out),
        Verb::Completions(args) => return shell::completions(args.shell, out),
        Verb::Cd(_) => path::require_shell()?,
        Verb::Clean(args) => return clean_recorded::run(&global, &args, out),
        Verb::Uninstall(args) => return uninstall::run(&global, &args, out),
        Verb::Demo(args) => return demo::run(out, args.confine),
        Verb::Agents(args) => return agents::run(&global, &args, out),
        Verb::Mcp(args) => return mcp::run(&global, &args, out),
        Verb::Doctor(args) => return doctor::run(&global, &args, out),
        Verb::Config(args) => {
            let ConfigAction::Show = args.action;
            return config::show(&global, out);
        }
        _ => {}
    }
    let session = Session::open(&global, out)?;
    match cli.verb {
        Verb::New(args) => new::run(&session, &args),
        Verb::Ls(args) => ls::run(&session, &args),
        Verb::Path(args) => path::run(&session, &args.name),
        Verb::Cd(args) => path::cd(&session, &args.name),
        Verb::Exec(args) => exec::run(&session, &args),
        Verb::Fresh(args) => fresh::run(&session, &args),
        Verb::Diff(args) => diff::run(&session, &args.name),
        Verb::Rm(args) => rm::run(&session, &args),
        Verb::Run(args) => self::run::run(&session, *args),
        Verb::Ps => ps::run(&session),
        Verb::Show(args) => show::run(&session, &args.target),
        Verb::Logs(args) => logs::run(&session, &args),
        Verb::Wait(args) => wait::run(&session, &args),
        Verb::Cancel(args) => cancel::run(&session, &args),
        Verb::Pause(args) => pause::run(&session, &args.target),
        Verb::Resume(args) => resume::run(&session, &args),
        Verb::Answer(args) => answer::answer(&session, &args),
        Verb::Steer(args) => answer::steer(&session, &args),
        Verb::Retry(args) => retry::run(&session, &args),
        Verb::Merge(args) => merge::run(&session, &args),
        Verb::Queue(args) => queue::run(&session, &args.action),
        Verb::Conflicts(args) => conflicts::run(&session, &args),
        Verb::Log => log::run(&session),
        Verb::Undo(args) => undo::run(&session, &args),
        Verb::Redo => redo::run(&session),
        Verb::Salvage(args) => salvage::run(&session, &args.action),
        Verb::Supervise { .. }
        | Verb::Slots { .. }
        | Verb::Complete(_)
        | Verb::Man { .. }
        | Verb::ShellInit(_)
        | Verb::Completions(_)
        | Verb::Clean(_)
        | Verb::Uninstall(_)
        | Verb::Demo(_)
        | Verb::Doctor(_)
        | Verb::Agents(_)
        | Verb::Mcp(_)
        | Verb::Config(_) => Err(CliError::usage("unreachable verb")),
    }
}
