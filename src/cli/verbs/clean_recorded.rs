//! `clean` as it is called: what it does is answered, and of what `--yes` does a report is kept.
//!
//! The report is begun before anything is touched, so that a cleanup that dies is known. One that cannot be kept is a warning:
//! a full disk is no reason not to clean.

use super::clean::{self, Cleaned};
use super::{clean_all, clean_report};
use crate::cleanup::report::{Fault, Report, Scope};
use crate::cleanup::{CleanupError, report_files};
use crate::cli::args::{Branches, CleanArgs, Global};
use crate::cli::clean_args::CleanAction;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::model::cause::chain;
use crate::sys::clock;

/// What is cleaned.
enum Extent {
    Here(Box<Session>),
    Everywhere,
}

/// Cleans, or does what else there is to it.
pub fn run(global: &Global, args: &CleanArgs, out: &Output) -> Result<u8, CliError> {
    match &args.action {
        Some(_) if has_flags(args) => {
            Err(CliError::usage("flags of `clean` do not go with its subcommands").hint("see `treehand clean --help`"))
        }
        Some(CleanAction::Report(report)) => clean_report::run(report, out),
        None => {
            let extent = Extent::of(global, args, out)?;
            let cleaned = if args.yes && !args.unreported {
                recorded(&extent, args, out, || extent.clean(global, args, out))?
            } else {
                extent.clean(global, args, out)?
            };
            out.answer("treehand/clean/v1", cleaned.document, || cleaned.text)?;
            Ok(cleaned.exit)
        }
    }
}

fn has_flags(args: &CleanArgs) -> bool {
    let CleanArgs { action: _, yes, branches, all_repos, min_age, only, unreported } = args;
    *yes || *all_repos || *unreported || min_age.is_some() || !only.is_empty() || *branches == Branches::All
}

impl Extent {
    fn of(global: &Global, args: &CleanArgs, out: &Output) -> Result<Extent, CliError> {
        Ok(if args.all_repos { Extent::Everywhere } else { Extent::Here(Box::new(Session::open(global, out)?)) })
    }

    fn clean(&self, global: &Global, args: &CleanArgs, out: &Output) -> Result<Cleaned, CliError> {
        match self {
            Extent::Here(session) => clean::act(session, args),
            Extent::Everywhere => clean_all::act(global, args, out),
        }
    }

    fn report(&self) -> Report {
        let (scope, repo) = match self {
            Extent::Here(session) => (Scope::Repository, Some(clean::place(&session.repo))),
            Extent::Everywhere => (Scope::AllRepositories, None),
        };
        Report::begun(clock::now(), scope, repo)
    }
}

/// Does it under the lock of its extent, with a report from its beginning to its end.
fn recorded(
    extent: &Extent,
    args: &CleanArgs,
    out: &Output,
    clean: impl FnOnce() -> Result<Cleaned, CliError>,
) -> Result<Cleaned, CliError> {
    let mut report = extent.report();
    let place = report_files::Place::new()?;
    kept(place.write(&report), out);
    let cleaned = only_one(args).and_then(|_lock| clean());
    match &cleaned {
        Ok(Cleaned { document, exit, .. }) => report.end(clock::now(), document, *exit),
        Err(CliError { code, kind, message, hint }) => {
            let fault = Fault { kind: (*kind).into(), message: message.clone(), hint: hint.clone() };
            report.fail(clock::now(), fault, *code);
        }
    }
    kept(place.write(&report), out);
    kept(report_files::prune(clock::now()), out);
    cleaned
}

fn kept(result: Result<(), CleanupError>, out: &Output) {
    if let Err(error) = result {
        out.warn(format!("the report of this cleanup cannot be kept: {}", chain(&error)));
    }
}

/// Two that clean everywhere would only wait for each other.
fn only_one(args: &CleanArgs) -> Result<Option<crate::sys::lock::FileLock>, CliError> {
    if !args.all_repos {
        return Ok(None);
    }
    let holder = format!("treehand clean --all-repos, pid {}, since {}", std::process::id(), clock::now());
    Ok(report_files::lock(&holder)?)
}
