//! `clean --all-repos`: the same in every repository that this user's treehand knows, each by a process of its own.
//!
//! So one repository has its own configuration, and one that hangs (a network that does not answer, a lock that nobody
//! gives back) is ended when its time is over and holds up no other: `clean` may be killed at any moment. One that cannot be
//! reached is kept; it counts as gone only where `worktree::registry` has the proof.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::clean::{self, Cleaned};
use crate::cli::args::Global;
use crate::cli::at_once;
use crate::cli::clean_args::{Branches, CleanArgs};
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain};
use crate::model::cause::chain;
use crate::sys::env;
use crate::sys::proc::{self, InTime};
use crate::worktree::registry::{self, Known, Whereabouts};

/// Most repositories that are cleaned at once.
const AT_ONCE: usize = 8;

/// What became of one repository.
#[derive(Default)]
struct Outcome {
    /// `done`, `planned`, `kept` or `failed`.
    word: &'static str,
    reason: Option<String>,
    /// Its own document, with what was said beside it.
    report: Value,
    said: String,
}

/// Cleans, or plans to clean, every repository that is known, each within this time.
pub(super) fn act(global: &Global, args: &CleanArgs, limit: Duration, out: &Output) -> Result<Cleaned, CliError> {
    clean::kinds(&args.only)?;
    let own = env::own_executable().map_err(|error| CliError::io("cannot find our own executable", &error))?;
    let known = registry::all()?;
    let work = |known: &Known| one(known, &argv(&own, known, global, args), args.yes, limit);
    let mut outcomes = Vec::new();
    at_once::each(&known, AT_ONCE, work, |_, outcome| {
        outcomes.push(outcome);
        Ok::<_, CliError>(())
    })?;
    for (known, outcome) in known.iter().zip(&outcomes) {
        for line in outcome.said.lines() {
            out.warn(format!("{}: {}", plain(&place(known, outcome)), plain(line)));
        }
    }
    let document = document(&known, &outcomes, args.yes);
    let failed = outcomes.iter().any(|outcome| outcome.word == "failed") || clean::has_failed(&document);
    Ok(Cleaned { text: text(&known, &outcomes), exit: u8::from(failed), document })
}

fn argv(own: &Path, known: &Known, global: &Global, args: &CleanArgs) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![own.into(), "-C".into(), known.common_dir.clone().into()];
    argv.extend(["clean", "--json", "--unreported"].map(OsString::from));
    argv.extend(args.yes.then(|| "--yes".into()));
    argv.extend((args.branches == Branches::All).then(|| "--branches=all".into()));
    argv.extend(args.min_age.map(|age| format!("--min-age={age}").into()));
    argv.extend(args.disk_budget.map(|size| format!("--disk-budget={}", size.0).into()));
    argv.extend(args.only.iter().map(|kind| format!("--only={kind}").into()));
    argv.extend(global.set.iter().map(|set| format!("--set={set}").into()));
    argv
}

fn one(known: &Known, argv: &[OsString], apply: bool, limit: Duration) -> Outcome {
    match known.whereabouts() {
        Whereabouts::Here => clean_in(argv, apply, limit),
        Whereabouts::Unreachable(why) => Outcome::of("kept", why),
        Whereabouts::Gone => forget(known, apply),
    }
}

impl Outcome {
    /// One without a document.
    fn of(word: &'static str, why: String) -> Outcome {
        Outcome { word, reason: Some(why), ..Outcome::default() }
    }
}

fn clean_in(argv: &[OsString], apply: bool, limit: Duration) -> Outcome {
    let argv: Vec<&OsStr> = argv.iter().map(OsString::as_os_str).collect();
    match proc::run_within(&argv, "/".as_ref(), limit) {
        Err(error) => Outcome::of("failed", format!("treehand cannot be started: {error}")),
        Ok(InTime::TooLate) => Outcome::of("failed", "it took longer than clean.deadline".into()),
        Ok(InTime::Ended { code, output, errors }) => {
            let said = String::from_utf8_lossy(&errors).into_owned();
            let report: Value = serde_json::from_slice(&output).unwrap_or_default();
            match report["schema"].as_str() {
                Some("treehand/clean/v1") => {
                    Outcome { word: if apply { "done" } else { "planned" }, reason: None, report, said }
                }
                _ => {
                    let words = ["message", "hint"].iter().filter_map(|part| report[part].as_str());
                    let words = words.collect::<Vec<_>>().join("; ");
                    let why = if words.is_empty() { format!("exit {code}") } else { words };
                    Outcome { said, ..Outcome::of("failed", why) }
                }
            }
        }
    }
}

/// A repository that was deleted or moved is known no longer, unless something of its tasks is left.
fn forget(known: &Known, apply: bool) -> Outcome {
    let reason = match known.left() {
        Ok(Some(root)) => {
            let why = format!("it was deleted or moved; what is left of its tasks stays in {}", root.display());
            return Outcome::of("kept", why);
        }
        Ok(None) => "it was deleted or moved, and nothing of it is left".to_owned(),
        Err(error) => {
            return Outcome::of("kept", format!("what is left of its tasks cannot be looked at: {}", chain(&error)));
        }
    };
    if !apply {
        return Outcome::of("planned", reason);
    }
    match known.forget() {
        Ok(()) => Outcome::of("done", reason),
        Err(error) => Outcome::of("failed", chain(&error)),
    }
}

/// The repository, for people.
fn place(known: &Known, outcome: &Outcome) -> String {
    let own = registry::own_directory(&known.common_dir).to_string_lossy().into_owned();
    outcome.report["repo"].as_str().map_or(own, str::to_owned)
}

fn document(known: &[Known], outcomes: &[Outcome], applied: bool) -> Value {
    let (mut actions, mut stays, mut freed) = (Vec::new(), Vec::new(), 0);
    let mut repositories = Vec::new();
    for (known, outcome) in known.iter().zip(outcomes) {
        let (place, report) = (place(known, outcome), &outcome.report);
        let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
        actions.extend(list("actions"));
        stays.extend(list("kept"));
        freed += report["freed_bytes"].as_u64().unwrap_or_default();
        if outcome.word == "kept" {
            stays.push(json!({"kind": "repo", "item": place, "repo": place, "reason": outcome.reason}));
        }
        repositories
            .push(json!({"repo": place, "outcome": outcome.word, "op": report["op"], "reason": outcome.reason}));
    }
    json!({
        "applied": applied, "actions": actions, "kept": stays, "freed_bytes": freed, "op": Value::Null,
        "repos": repositories,
    })
}

/// Each repository with what is about it.
fn text(known: &[Known], outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (known, outcome) in known.iter().zip(outcomes) {
        let reason = outcome.reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
        text.push_str(&format!("{} {}{reason}\n", outcome.word, plain(&place(known, outcome))));
        if outcome.reason.is_none() {
            clean::text(&outcome.report).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    if text.is_empty() { "no repository is known yet\n".to_owned() } else { text }
}
