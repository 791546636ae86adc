//! `clean schedule`: cleaning every repository by a timer of the user's systemd manager: installed, shown, taken away.
//!
//! What decides here what a cleanup does (flags, variables of the configuration, where programs and state are) goes along into
//! the timer, which is started in another environment. Where there is no manager, the line for cron is said instead.

use std::path::PathBuf;

use serde_json::json;

use crate::cleanup::schedule::units::{Wanted, as_typed};
use crate::cleanup::schedule::when::When;
use crate::cleanup::schedule::{self, Schedule, ScheduleError};
use crate::cli::args::Global;
use crate::cli::clean_args::{Branches, InstallArgs, ScheduleAction, ScheduleArgs};
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain, table};
use crate::cli::session::resolve_config;
use crate::model::cause::chain;
use crate::sys::env;

/// The schema of all three.
const SCHEMA: &str = "treehand/clean-schedule/v1";

/// Variables that decide where programs, state and configuration are.
const PLACES: [&str; 3] = ["PATH", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// Does one of the three.
pub fn run(global: &Global, args: &ScheduleArgs, out: &Output) -> Result<u8, CliError> {
    match &args.action {
        ScheduleAction::Install(args) => install(global, args, out),
        ScheduleAction::Show => show(out),
        ScheduleAction::Remove => remove(out),
    }
}

fn install(global: &Global, args: &InstallArgs, out: &Output) -> Result<u8, CliError> {
    // A setting that is wrong is found by the person who makes it, not at night.
    resolve_config(global, None)?;
    let own = own()?;
    let wanted = wanted(global, args, &own)?;
    let notes = schedule::install(&wanted).map_err(|error| match error {
        ScheduleError::Units(_) => without_manager(&error, &wanted),
        other => shown(&other),
    })?;
    notes.iter().for_each(|note| out.warn(plain(note)));
    let schedule = schedule::look(&own).map_err(|error| shown(&error))?;
    let text = || format!("cleaning {} is installed\n{}", wanted.when, text(&schedule));
    out.answer(SCHEMA, document(&schedule, &[]), text)?;
    Ok(0)
}

fn show(out: &Output) -> Result<u8, CliError> {
    let schedule = schedule::look(&own()?).map_err(|error| shown(&error))?;
    out.answer(SCHEMA, document(&schedule, &[]), || text(&schedule))?;
    Ok(u8::from(!schedule.problems.is_empty()))
}

fn remove(out: &Output) -> Result<u8, CliError> {
    let removed = schedule::remove().map_err(|error| shown(&error))?;
    removed.notes.iter().for_each(|note| out.warn(plain(note)));
    let line = |file: &PathBuf| format!("removed {}\n", plain(&file.to_string_lossy()));
    let text = || match removed.files.is_empty() {
        true => "nothing is scheduled\n".to_owned(),
        false => removed.files.iter().map(line).collect(),
    };
    out.answer(SCHEMA, document(&Schedule::default(), &removed.files), text)?;
    Ok(0)
}

fn own() -> Result<PathBuf, CliError> {
    let own = env::own_executable().and_then(|own| own.canonicalize());
    own.map_err(|error| CliError::io("cannot find our own executable", &error))
}

fn wanted(global: &Global, args: &InstallArgs, own: &std::path::Path) -> Result<Wanted, CliError> {
    let own = own.to_str().ok_or_else(|| {
        CliError::refused(format!("systemd takes no path that is not UTF-8: {}", plain(&own.to_string_lossy())))
            .hint("install treehand somewhere else")
    })?;
    let mut command: Vec<String> = [own, "clean", "--all-repos", "--yes", "--json"].map(str::to_owned).to_vec();
    command.extend(args.min_age.map(|age| format!("--min-age={age}")));
    command.extend((args.branches == Branches::All).then(|| "--branches=all".to_owned()));
    command.extend(args.remote.then(|| "--remote".to_owned()));
    command.extend(args.notify.as_ref().map(|notify| format!("--notify={notify}")));
    command.extend(global.set.iter().map(|set| format!("--set={set}")));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_setting = |name: &str| name.starts_with("TREEHAND_") && name.contains("__") && is_name(name);
    let decides = |name: &str| PLACES.contains(&name) || is_setting(name);
    let mut environment: Vec<(String, String)> = env::vars();
    environment.retain(|(name, value)| decides(name) && !value.is_empty());
    environment.sort();
    let when = args.every.map_or(When::Daily(args.at.unwrap_or_default()), When::Every);
    Ok(Wanted { when, command, environment })
}

fn shown(error: &ScheduleError) -> CliError {
    match error {
        ScheduleError::Foreign(_) => {
            CliError::refused(error.to_string()).hint("look at it, and move it away when nobody needs it")
        }
        _ => CliError::unscheduled(chain(error)),
    }
}

fn without_manager(error: &ScheduleError, wanted: &Wanted) -> CliError {
    let hint = wanted.crontab_line().map_or_else(
        || "with cron: put the command into a script, and that into a crontab (crontab -e)".to_owned(),
        |line| format!("with cron, as a line of `crontab -e`: {line}"),
    );
    shown(error).hint(hint)
}

fn document(schedule: &Schedule, removed: &[PathBuf]) -> serde_json::Value {
    let paths = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    json!({
        "installed": schedule.installed,
        "timer": paths(&schedule.timer),
        "service": paths(&schedule.service),
        "calendar": schedule.calendar,
        "command": schedule.command,
        "next": schedule.next,
        "last": schedule.last,
        "last_result": schedule.last_result,
        "last_exit": schedule.last_exit,
        "linger": schedule.linger,
        "problems": schedule.problems,
        "removed": removed.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
    })
}

/// For people.
fn text(schedule: &Schedule) -> String {
    if schedule.timer.is_none() && schedule.service.is_none() {
        return "nothing is scheduled\n".to_owned();
    }
    let moment = |at: Option<crate::model::Timestamp>| at.map(|at| at.to_string());
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let last = schedule.last_result.as_ref().map(|word| match schedule.last_exit {
        Some(exit) => format!("{word}, exit {exit}"),
        None => word.clone(),
    });
    let lines = [
        ("timer", path(&schedule.timer)),
        ("service", path(&schedule.service)),
        ("calendar", schedule.calendar.clone()),
        ("command", schedule.command.as_deref().map(as_typed)),
        ("next", moment(schedule.next)),
        ("last", moment(schedule.last)),
        ("result", last),
    ];
    let row =
        |(name, value): (&str, Option<String>)| vec![name.to_owned(), value.map_or("-".to_owned(), |v| plain(&v))];
    let mut text = table(&lines.map(row));
    if schedule.linger == Some(false) {
        text.push_str("it begins only while you are logged in; for always: loginctl enable-linger\n");
    }
    for problem in &schedule.problems {
        text.push_str(&format!("problem: {}\n", plain(problem)));
    }
    text
}
