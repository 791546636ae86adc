//! `uninstall --account`: every repository of the user's registry, each by a process of its own, and then what is the user's.
//!
//! A repository that cannot be reached is kept, and the registry with it; what is the user's goes when no repository needs it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

use super::uninstall::{self, SCHEMA};
use crate::cleanup::clean::report_files;
use crate::cleanup::uninstall::account::{self, Need};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::every_repository::{Errand, Everywhere, Outcome};
use crate::cli::output::{Output, plain};
use crate::cli::session::resolve_config;
use crate::cli::uninstall_args::UninstallArgs;
use crate::sys::lock::FileLock;
use crate::sys::{clock, env, fs};
use crate::worktree::registry::{Known, Whereabouts};

/// Most repositories that are left at once.
const AT_ONCE: usize = 4;

/// Plans, and with `--yes` applies, everywhere.
pub fn run(global: &Global, args: &UninstallArgs, out: &Output) -> Result<u8, CliError> {
    let errand = Errand {
        argv: argv(args),
        global,
        schema: SCHEMA,
        apply: args.yes,
        limit: resolve_config(global, None)?.settings.clean.deadline.0,
        too_late: "it took longer than clean.deadline; again, it goes on",
        at_once: AT_ONCE,
    };
    // Whoever cleans everywhere keeps a report of it in what goes here.
    let _alone = if args.yes { alone()? } else { None };
    let everywhere = errand.run(
        out,
        |report| &report["repos"][0]["repo"],
        |program, known| {
            match known.whereabouts() {
                Whereabouts::Here => program.do_in(known, left),
                // An uninstall that died in its last moment had taken the id away already.
                Whereabouts::Unreachable(_) if is_nearly_left(known) => program.do_in(known, left),
                Whereabouts::Unreachable(why) => Outcome::of("kept", why, 0),
                Whereabouts::Gone => program.forget(known),
            }
        },
    )?;
    let own = env::own_executable().map_err(|error| CliError::io("cannot find our own executable", &error))?;
    let mut account = account::look(need(&everywhere), &leaving(&everywhere), &own)?;
    if args.yes {
        account::remove(&mut account)?.iter().for_each(|note| out.warn(plain(note)));
    }
    let document = document(&everywhere, &account, args.yes);
    out.answer(SCHEMA, document.clone(), || uninstall::text(&document))?;
    Ok(everywhere.outcomes.iter().map(|outcome| outcome.code).find(|code| *code != 0).unwrap_or(0))
}

/// What the document of one repository says.
fn left(report: Value, code: u8) -> Outcome {
    let one = &report["repos"][0];
    let word = one["outcome"].as_str().unwrap_or("failed").to_owned();
    let reason = one["reason"].as_str().map(str::to_owned);
    Outcome { word, reason, code, report, ..Outcome::default() }
}

fn alone() -> Result<Option<FileLock>, CliError> {
    let holder = format!("treehand uninstall --account, pid {}, since {}", std::process::id(), clock::now());
    Ok(report_files::lock(&holder)?)
}

fn argv(args: &UninstallArgs) -> Vec<OsString> {
    let mut argv = ["uninstall", "--json"].map(OsString::from).to_vec();
    argv.push(if args.yes { "--yes".into() } else { "--dry-run".into() });
    argv.extend(args.discard.then(|| "--discard".into()));
    argv
}

fn is_nearly_left(known: &Known) -> bool {
    let there = |path: &Path| fs::exists(path).unwrap_or(true);
    there(&known.common_dir.join("HEAD")) && !there(&known.common_dir.join("treehand/id"))
}

fn need(everywhere: &Everywhere) -> Need {
    let any = |words: &[&str]| everywhere.outcomes.iter().any(|outcome| words.contains(&outcome.word.as_str()));
    match (any(&["refused", "failed"]), any(&["kept"])) {
        (true, _) => Need::Repositories,
        (false, true) => Need::Unreachable,
        (false, false) => Need::Nobody,
    }
}

fn leaving(everywhere: &Everywhere) -> BTreeSet<String> {
    let leaves = |outcome: &Outcome| matches!(outcome.word.as_str(), "planned" | "done");
    everywhere.each().filter(|(_, outcome, _)| leaves(outcome)).map(|(known, ..)| known.id.clone()).collect()
}

fn document(everywhere: &Everywhere, account: &account::Account, applied: bool) -> Value {
    let (mut removed, mut left, mut repositories) = (Vec::new(), Vec::new(), Vec::new());
    for (_, outcome, repo) in everywhere.each() {
        let (goes, stays) = uninstall::lists(&outcome.report);
        removed.extend(goes);
        // What is the user's is said once, below.
        left.extend(stays.into_iter().filter(|stays| stays["kind"] != "account"));
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
