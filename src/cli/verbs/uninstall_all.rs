//! `uninstall --account`: every repository of the user's registry, each by a process of its own, and then what is the user's.
//!
//! A repository that cannot be reached is kept, and the registry with it; what is the user's goes when no repository needs it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::uninstall::{self, SCHEMA};
use crate::cleanup::report_files;
use crate::cleanup::uninstall_account::{self, Need};
use crate::cli::args::Global;
use crate::cli::at_once;
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain};
use crate::cli::session::resolve_config;
use crate::cli::uninstall_args::UninstallArgs;
use crate::model::cause::chain;
use crate::sys::lock::FileLock;
use crate::sys::proc::{self, InTime};
use crate::sys::{clock, env, fs};
use crate::worktree::registry::{self, Known, Whereabouts};

/// Most repositories that are left at once.
const AT_ONCE: usize = 4;

/// What became of one repository.
#[derive(Default)]
struct Outcome {
    /// `planned`, `done`, `refused`, `kept` or `failed`.
    word: String,
    reason: Option<String>,
    code: u8,
    /// Its own document, with what was said beside it.
    report: Value,
    said: String,
}

/// Plans, and with `--yes` applies, everywhere.
pub fn run(global: &Global, args: &UninstallArgs, out: &Output) -> Result<u8, CliError> {
    let limit = resolve_config(global, None)?.settings.clean.deadline.0;
    let own = env::own_executable().map_err(|error| CliError::io("cannot find our own executable", &error))?;
    // Whoever cleans everywhere keeps a report of it in what goes here.
    let _alone = if args.yes { alone()? } else { None };
    let known = registry::all()?;
    let mut outcomes = Vec::new();
    let work = |known: &Known| one(known, &argv(&own, known, global, args), args.yes, limit);
    at_once::each(&known, AT_ONCE, work, |_, outcome| {
        outcomes.push(outcome);
        Ok::<_, CliError>(())
    })?;
    for (known, outcome) in known.iter().zip(&outcomes) {
        for line in outcome.said.lines() {
            out.warn(format!("{}: {}", plain(&place(known, outcome)), plain(line)));
        }
    }
    let mut account = uninstall_account::look(need(&outcomes), &leaving(&known, &outcomes), &own)?;
    if args.yes {
        uninstall_account::remove(&mut account)?.iter().for_each(|note| out.warn(plain(note)));
    }
    let document = document(&known, &outcomes, &account, args.yes);
    out.answer(SCHEMA, document.clone(), || uninstall::text(&document))?;
    Ok(outcomes.iter().map(|outcome| outcome.code).find(|code| *code != 0).unwrap_or(0))
}

fn alone() -> Result<Option<FileLock>, CliError> {
    let holder = format!("treehand uninstall --account, pid {}, since {}", std::process::id(), clock::now());
    Ok(report_files::lock(&holder)?)
}

fn argv(own: &Path, known: &Known, global: &Global, args: &UninstallArgs) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![own.into(), "-C".into(), known.common_dir.clone().into()];
    argv.extend(["uninstall", "--json"].map(OsString::from));
    argv.push(if args.yes { "--yes".into() } else { "--dry-run".into() });
    argv.extend(args.discard.then(|| "--discard".into()));
    argv.extend(global.set.iter().map(|set| format!("--set={set}").into()));
    argv
}

fn one(known: &Known, argv: &[OsString], apply: bool, limit: Duration) -> Outcome {
    match known.whereabouts() {
        Whereabouts::Here => in_process(argv, limit),
        // An uninstall that died in its last moment had taken the id away already.
        Whereabouts::Unreachable(_) if is_nearly_left(known) => in_process(argv, limit),
        Whereabouts::Unreachable(why) => Outcome::of("kept", why, 0),
        Whereabouts::Gone => forget(known, apply),
    }
}

fn is_nearly_left(known: &Known) -> bool {
    let there = |path: &Path| fs::exists(path).unwrap_or(true);
    there(&known.common_dir.join("HEAD")) && !there(&known.common_dir.join("treehand/id"))
}

impl Outcome {
    /// One without a document.
    fn of(word: &str, why: String, code: u8) -> Outcome {
        Outcome { word: word.to_owned(), reason: Some(why), code, ..Outcome::default() }
    }
}

fn in_process(argv: &[OsString], limit: Duration) -> Outcome {
    let argv: Vec<&OsStr> = argv.iter().map(OsString::as_os_str).collect();
    match proc::run_within(&argv, "/".as_ref(), limit) {
        Err(error) => Outcome::of("failed", format!("treehand cannot be started: {error}"), 1),
        Ok(InTime::TooLate) => Outcome::of("failed", "it took longer than clean.deadline; again, it goes on".into(), 1),
        Ok(InTime::Ended { code, output, errors }) => {
            let said = String::from_utf8_lossy(&errors).into_owned();
            let report: Value = serde_json::from_slice(&output).unwrap_or_default();
            if report["schema"] == SCHEMA {
                let one = &report["repos"][0];
                let word = one["outcome"].as_str().unwrap_or("failed").to_owned();
                let reason = one["reason"].as_str().map(str::to_owned);
                return Outcome { word, reason, code, report, said };
            }
            let words = ["message", "hint"].iter().filter_map(|part| report[part].as_str());
            let words = words.collect::<Vec<_>>().join("; ");
            let why = if words.is_empty() { format!("exit {code}") } else { words };
            Outcome { said, ..Outcome::of("failed", why, 1) }
        }
    }
}

/// A repository that was deleted or moved is known no longer, unless something of its tasks is left.
fn forget(known: &Known, apply: bool) -> Outcome {
    let reason = "it was deleted or moved, and nothing of it is left".to_owned();
    match known.left() {
        Ok(Some(root)) => {
            let why = format!("it was deleted or moved; what is left of its tasks stays in {}", root.display());
            Outcome::of("kept", why, 0)
        }
        Err(error) => {
            Outcome::of("kept", format!("what is left of its tasks cannot be looked at: {}", chain(&error)), 0)
        }
        Ok(None) if !apply => Outcome::of("planned", reason, 0),
        Ok(None) => match known.forget() {
            Ok(()) => Outcome::of("done", reason, 0),
            Err(error) => Outcome::of("failed", chain(&error), 1),
        },
    }
}

fn need(outcomes: &[Outcome]) -> Need {
    let any = |words: &[&str]| outcomes.iter().any(|outcome| words.contains(&outcome.word.as_str()));
    match (any(&["refused", "failed"]), any(&["kept"])) {
        (true, _) => Need::Repositories,
        (false, true) => Need::Unreachable,
        (false, false) => Need::Nobody,
    }
}

fn leaving(known: &[Known], outcomes: &[Outcome]) -> BTreeSet<String> {
    let leaves = |outcome: &Outcome| matches!(outcome.word.as_str(), "planned" | "done");
    known.iter().zip(outcomes).filter(|(_, outcome)| leaves(outcome)).map(|(known, _)| known.id.clone()).collect()
}

/// The repository, for people.
fn place(known: &Known, outcome: &Outcome) -> String {
    let own = registry::own_directory(&known.common_dir).to_string_lossy().into_owned();
    outcome.report["repos"][0]["repo"].as_str().map_or(own, str::to_owned)
}

fn document(known: &[Known], outcomes: &[Outcome], account: &uninstall_account::Account, applied: bool) -> Value {
    let (mut removed, mut left, mut repositories) = (Vec::new(), Vec::new(), Vec::new());
    for (known, outcome) in known.iter().zip(outcomes) {
        let (goes, stays) = uninstall::lists(&outcome.report);
        removed.extend(goes);
        // What is the user's is said once, below.
        left.extend(stays.into_iter().filter(|stays| stays["kind"] != "account"));
        let repo = place(known, outcome);
        if outcome.word == "kept" {
            left.push(json!({"kind": "repo", "item": repo, "why": outcome.reason}));
        }
        repositories.push(json!({"repo": repo, "outcome": outcome.word, "reason": outcome.reason}));
    }
    let (goes, stays) = uninstall::values(&account.goes, &account.stays);
    removed.extend(goes);
    left.extend(stays);
    let freed = removed.iter().filter_map(|goes| goes["bytes"].as_u64()).sum::<u64>();
    json!({"applied": applied, "repos": repositories, "removed": removed, "left": left, "freed_bytes": freed})
}
