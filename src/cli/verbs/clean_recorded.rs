//! `clean` as it is called: what it does is answered, of what `--yes` does a report is kept, and the user's command is told.
//!
//! The report is begun before anything is touched, so that a cleanup that dies is known. A report that cannot be kept and a
//! command that fails are warnings: a full disk is no reason not to clean.

use std::time::Duration;

use serde_json::json;

use super::clean::{self, Cleaned};
use super::{clean_all, clean_report, clean_schedule};
use crate::cleanup::clean::report::{Fault, Report, Scope};
use crate::cleanup::clean::report_files;
use crate::cli::args::Global;
use crate::cli::clean_args::{Branches, CleanAction, CleanArgs};
use crate::cli::config::Settings;
use crate::cli::error::CliError;
use crate::cli::output::{Output, with_schema};
use crate::cli::session::{Session, resolve_config};
use crate::model::cause::chain;
use crate::sys::lock::{FileLock, LockError};
use crate::sys::{clock, notify};

/// How long the command may take that is told.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What is cleaned.
enum Extent {
    Here(Box<Session>),
    Everywhere(Box<Settings>),
}

/// Cleans, or does what else there is to it.
pub fn run(global: &Global, args: &CleanArgs, out: &Output) -> Result<u8, CliError> {
    match &args.action {
        Some(_) if has_flags(args) => {
            Err(CliError::usage("flags of `clean` do not go with its subcommands").hint("see `treehand clean --help`"))
        }
        Some(CleanAction::Report(report)) => clean_report::run(report, out),
        Some(CleanAction::Schedule(schedule)) => clean_schedule::run(global, schedule, out),
        None if args.yes && !args.unreported => told_to_all(global, args, out),
        None => answer(Extent::of(global, args, out)?.clean(global, args, out)?, out),
    }
}

fn has_flags(args: &CleanArgs) -> bool {
    let CleanArgs { action: _, yes, branches, all_repos, min_age, disk_budget, remote, only, notify, unreported } =
        args;
    let words = min_age.is_some()
        || disk_budget.is_some()
        || notify.is_some()
        || !only.is_empty()
        || *branches == Branches::All;
    *yes || *all_repos || *remote || *unreported || words
}

fn answer(cleaned: Cleaned, out: &Output) -> Result<u8, CliError> {
    out.answer(clean::SCHEMA, cleaned.document, || cleaned.text)?;
    Ok(cleaned.exit)
}

impl Extent {
    fn of(global: &Global, args: &CleanArgs, out: &Output) -> Result<Extent, CliError> {
        Ok(if args.all_repos {
            Extent::Everywhere(Box::new(resolve_config(global, None)?.settings))
        } else {
            Extent::Here(Box::new(Session::open(global, out)?))
        })
    }

    fn settings(&self) -> &Settings {
        match self {
            Extent::Here(session) => &session.settings,
            Extent::Everywhere(settings) => settings,
        }
    }

    fn clean(&self, global: &Global, args: &CleanArgs, out: &Output) -> Result<Cleaned, CliError> {
        match self {
            Extent::Here(session) => clean::act(session, args),
            Extent::Everywhere(settings) => clean_all::act(global, args, settings, out),
        }
    }

    fn report(&self) -> Report {
        let (scope, repo) = match self {
            Extent::Here(session) => (Scope::Repository, Some(clean::place(&session.repo))),
            Extent::Everywhere(_) => (Scope::AllRepositories, None),
        };
        Report::begun(clock::now(), scope, repo)
    }
}

/// Cleans, and tells the record, the user and the user's command, in this order.
fn told_to_all(global: &Global, args: &CleanArgs, out: &Output) -> Result<u8, CliError> {
    let extent = match Extent::of(global, args, out) {
        Ok(extent) => extent,
        Err(error) => {
            tell(args.notify.as_deref(), Some(&error), None, out);
            return Err(error);
        }
    };
    let command = args.notify.as_deref().or(extent.settings().clean.notify.as_deref());
    let (cleaned, report) = recorded(&extent, args, out, || extent.clean(global, args, out));
    match cleaned {
        Ok(cleaned) => {
            let answered = answer(cleaned, out);
            tell(command, None, Some(&report), out);
            answered
        }
        Err(error) => {
            tell(command, Some(&error), Some(&report), out);
            Err(error)
        }
    }
}

/// Does it under the lock of its extent, with a report from its beginning to its end.
fn recorded(
    extent: &Extent,
    args: &CleanArgs,
    out: &Output,
    clean: impl FnOnce() -> Result<Cleaned, CliError>,
) -> (Result<Cleaned, CliError>, Report) {
    let mut report = extent.report();
    let place = report_files::Place::new().and_then(|place| place.write(&report).map(|()| place));
    let cleaned = only_one(args, out).and_then(|_lock| clean());
    match &cleaned {
        Ok(Cleaned { document, exit, .. }) => report.end(clock::now(), document, *exit),
        Err(CliError { code, kind, message, hint }) => {
            let fault = Fault { kind: (*kind).into(), message: message.clone(), hint: hint.clone() };
            report.fail(clock::now(), fault, *code);
        }
    }
    // What had no room before may have it now.
    let place = place.or_else(|_| report_files::Place::new());
    if let Err(error) = place.and_then(|place| place.write(&report)).and_then(|()| report_files::prune(clock::now())) {
        out.warn(format!("the report of this cleanup cannot be kept: {}", chain(&error)));
    }
    (cleaned, report)
}

/// Two that clean everywhere would only wait for each other; they do no harm, so that a lock that cannot be had stops none.
fn only_one(args: &CleanArgs, out: &Output) -> Result<Option<FileLock>, CliError> {
    if !args.all_repos {
        return Ok(None);
    }
    let holder = format!("treehand clean --all-repos, pid {}, since {}", std::process::id(), clock::now());
    match report_files::lock(&holder) {
        Err(error @ LockError::Io { .. }) => {
            out.warn(format!("another cleanup may be at work: {}", chain(&error)));
            Ok(None)
        }
        other => Ok(other?),
    }
}

/// Tells the user's own command how it came out: the report, or the error where it came to nothing.
fn tell(command: Option<&str>, error: Option<&CliError>, report: Option<&Report>, out: &Output) {
    let Some(command) = command.filter(|command| !command.trim().is_empty()) else { return };
    let in_report = || with_schema(clean_report::SCHEMA, json!({"runs": [report]}));
    let document = error.map_or_else(in_report, CliError::document);
    let exit = error.map(|error| error.code).or(report.and_then(|report| report.exit)).unwrap_or_default();
    let variables = [
        ("TREEHAND_CLEAN_EXIT", exit.to_string()),
        ("TREEHAND_CLEAN_FREED_BYTES", report.map_or(0, |report| report.freed_bytes).to_string()),
        ("TREEHAND_CLEAN_FAILED", report.map_or(1, |report| report.failures).to_string()),
    ];
    let text = format!("{document}\n");
    let wrong = match notify::tell(command, text.as_bytes(), &variables, std::io::stderr(), TOLD_WITHIN) {
        Ok(Some(0)) => return,
        Ok(Some(code)) => format!("failed with exit code {code}"),
        Ok(None) => format!("took longer than {} s and was ended", TOLD_WITHIN.as_secs()),
        Err(error) => format!("cannot be started: {error}"),
    };
    out.warn(format!("the command that is told of cleanups {wrong}: {command}"));
}
