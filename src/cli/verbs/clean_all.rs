//! `clean --all-repos`: the same in every repository that this user's treehand knows, each by a process of its own.
//! `clean` may be killed at any moment, so that one whose time is over loses nothing.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use super::clean::{self, Cleaned};
use crate::cli::args::Global;
use crate::cli::clean_args::{Branches, CleanArgs};
use crate::cli::error::CliError;
use crate::cli::every_repository::{Errand, Everywhere, Outcome};
use crate::cli::output::{Output, plain};
use crate::worktree::registry::Whereabouts;

/// Most repositories that are cleaned at once.
const AT_ONCE: usize = 8;

/// Cleans, or plans to clean, every repository that is known, each within this time.
pub(super) fn act(global: &Global, args: &CleanArgs, limit: Duration, out: &Output) -> Result<Cleaned, CliError> {
    clean::kinds(&args.only)?;
    let errand = Errand {
        argv: argv(args),
        global,
        schema: clean::SCHEMA,
        apply: args.yes,
        limit,
        too_late: "it took longer than clean.deadline",
        at_once: AT_ONCE,
    };
    let cleaned = |report: Value, _: u8| {
        let word = if args.yes { "done" } else { "planned" };
        Outcome { word: word.to_owned(), report, ..Outcome::default() }
    };
    let everywhere = errand.run(
        out,
        |report| &report["repo"],
        |program, known| match known.whereabouts() {
            Whereabouts::Here => program.do_in(known, cleaned),
            Whereabouts::Unreachable(why) => Outcome::of("kept", why, 0),
            Whereabouts::Gone => program.forget(known),
        },
    )?;
    let document = document(&everywhere, args.yes);
    let failed = everywhere.outcomes.iter().any(|outcome| outcome.word == "failed") || clean::has_failed(&document);
    Ok(Cleaned { text: text(&everywhere), exit: u8::from(failed), document })
}

fn argv(args: &CleanArgs) -> Vec<OsString> {
    let mut argv = ["clean", "--json", "--unreported"].map(OsString::from).to_vec();
    argv.extend(args.yes.then(|| "--yes".into()));
    argv.extend((args.branches == Branches::All).then(|| "--branches=all".into()));
    argv.extend(args.remote.then(|| "--remote".into()));
    argv.extend(args.min_age.map(|age| format!("--min-age={age}").into()));
    argv.extend(args.disk_budget.map(|size| format!("--disk-budget={}", size.0).into()));
    argv.extend(args.only.iter().map(|kind| format!("--only={kind}").into()));
    argv
}

fn document(everywhere: &Everywhere, applied: bool) -> Value {
    let (mut actions, mut stays, mut freed) = (Vec::new(), Vec::new(), 0);
    let mut repositories = Vec::new();
    for (_, outcome, place) in everywhere.each() {
        let report = &outcome.report;
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
fn text(everywhere: &Everywhere) -> String {
    let mut text = String::new();
    for (_, outcome, place) in everywhere.each() {
        let reason = outcome.reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
        text.push_str(&format!("{} {}{reason}\n", outcome.word, plain(&place)));
        if outcome.reason.is_none() {
            clean::text(&outcome.report).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    if text.is_empty() { "no repository is known yet\n".to_owned() } else { text }
}
