//! `clean --all-repos`: the same in every repository that this user's treehand knows, each by a process of its own.
//! `clean` may be killed at any moment, so that one whose time is over loses nothing.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::clean::{self, Cleaned};
use crate::cleanup::clean::Kind;
use crate::cleanup::clock_kept;
use crate::cleanup::departed::{self, Attended, Policy};
use crate::cli::args::Global;
use crate::cli::clean_args::{Branches, CleanArgs};
use crate::cli::config::Settings;
use crate::cli::error::CliError;
use crate::cli::every_repository::{Errand, Everywhere, Outcome};
use crate::cli::output::{Output, plain};
use crate::model::cause::chain;
use crate::sys::clock;
use crate::worktree::registry::{self, Known, Whereabouts};

/// Most repositories that are cleaned at once.
const AT_ONCE: usize = 8;

/// Cleans, or plans to clean, every repository that is known, each within `clean.deadline`. What those left that are gone is the
/// user's, and goes by the user's settings.
pub(super) fn act(global: &Global, args: &CleanArgs, settings: &Settings, out: &Output) -> Result<Cleaned, CliError> {
    let only = clean::kinds(&args.only)?;
    let policy = policy(settings, args.yes, out)?;
    let errand = Errand {
        argv: argv(args),
        global,
        schema: clean::SCHEMA,
        apply: args.yes,
        limit: settings.clean.deadline.0,
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
            Whereabouts::Here => lingering(known, &policy, args.yes, program.do_in(known, cleaned)),
            Whereabouts::Unreachable(why) => Outcome::of("kept", why, 0),
            Whereabouts::Gone if only.as_ref().is_some_and(|only| !only.contains(&Kind::State)) => {
                program.forget(known)
            }
            Whereabouts::Gone => match departed::attend(known, &policy, args.yes) {
                Ok(attended) => outcome(known, attended),
                Err(error) => Outcome::of("failed", chain(&error), 1),
            },
        },
    )?;
    let document = document(&everywhere, args.yes);
    let failed = everywhere.outcomes.iter().any(|outcome| outcome.word == "failed") || clean::has_failed(&document);
    Ok(Cleaned { text: text(&everywhere), exit: u8::from(failed), document })
}

/// What only one reading of the clock calls old is not put away, and not deleted.
fn policy(settings: &Settings, apply: bool, out: &Output) -> Result<Policy, CliError> {
    let clock = clock_kept::look_of_user(&clock::reading())?;
    if apply && let Err(error) = clock_kept::keep_of_user(&clock) {
        out.warn(format!("what the clock says cannot be kept, so that less is old enough: {}", chain(&error)));
    }
    Ok(Policy { retention: settings.clean.retention.0, now: clock.now, proven_now: clock.proven_now })
}

fn outcome(known: &Known, attended: Attended) -> Outcome {
    let repo = registry::own_directory(&known.common_dir).to_string_lossy().into_owned();
    let mut report = json!({
        "repo": repo, "actions": attended.actions, "kept": attended.kept, "freed_bytes": attended.freed, "op": Value::Null,
    });
    for list in ["actions", "kept"] {
        report[list].as_array_mut().into_iter().flatten().for_each(|line| line["repo"] = json!(repo));
    }
    Outcome { word: attended.word.into(), reason: Some(attended.reason), report, ..Outcome::default() }
}

/// Of a repository that is here, with what it left when it was not and that did not come back.
fn lingering(known: &Known, policy: &Policy, apply: bool, mut done: Outcome) -> Outcome {
    let more = match departed::linger(known, policy, apply) {
        Ok(None) => return done,
        Ok(Some(attended)) => outcome(known, attended).report,
        Err(error) => {
            let place = registry::own_directory(&known.common_dir).to_string_lossy().into_owned();
            json!({"kept": [{"kind": "state", "item": place, "repo": place, "reason": chain(&error)}]})
        }
    };
    for list in ["actions", "kept"] {
        let all = [&done.report[list], &more[list]].into_iter().filter_map(Value::as_array).flatten();
        done.report[list] = all.cloned().collect();
    }
    let freed = [&done.report, &more].map(|report| report["freed_bytes"].as_u64().unwrap_or_default());
    done.report["freed_bytes"] = json!(freed.iter().sum::<u64>());
    done
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
        let has = |list: &str| outcome.report[list].as_array().is_some_and(|list| !list.is_empty());
        if outcome.reason.is_none() || has("actions") || has("kept") {
            clean::text(&outcome.report).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    if text.is_empty() { "no repository is known yet\n".to_owned() } else { text }
}
