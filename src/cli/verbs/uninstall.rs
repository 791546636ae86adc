//! `uninstall`: takes treehand out of this repository, or of the account, and says what it left.
//!
//! Without `--yes` it prints the plan and changes nothing. What is refused is in the document, with the reason and the remedy.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{clean, uninstall_all};
use crate::cleanup::clean::CleanPolicy;
use crate::cleanup::clock_kept;
use crate::cleanup::undo::recover as cleanup_recover;
use crate::cleanup::uninstall::types::{Goes, Refusal, Stays};
use crate::cleanup::uninstall::{self, Done, Request};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain, size, table};
use crate::cli::session::Session;
use crate::cli::uninstall_args::UninstallArgs;
use crate::orchestrator::{recover, sockets};
use crate::store::Store;
use crate::sys::clock;
use crate::worktree::place::{self, Place};
use crate::worktree::{departed, store_place};

/// The schema.
pub(super) const SCHEMA: &str = "treehand/uninstall/v1";

/// Plans, and with `--yes` applies.
pub fn run(global: &Global, args: &UninstallArgs, out: &Output) -> Result<u8, CliError> {
    if args.account {
        return uninstall_all::run(global, args, out);
    }
    let session = Session::open(global, out)?;
    let (outcome, done, reason) = here(&session, args)?;
    let freed = done.removed.iter().map(|goes| goes.bytes).sum::<u64>();
    let repo = clean::place(&session.repo);
    let document = json!({
        "applied": args.yes, "repos": [{"repo": repo, "outcome": outcome, "reason": reason}],
        "removed": done.removed, "left": done.left, "freed_bytes": freed,
    });
    out.answer(SCHEMA, document.clone(), || text(&document))?;
    Ok(done.refusal.map_or(0, |refusal| exit(&refusal)))
}

fn exit(refusal: &Refusal) -> u8 {
    if refusal.busy { 8 } else { 4 }
}

/// What became of it, in a word, with the reason where it is not the plain one.
type Outcome = (&'static str, Done, Option<String>);

fn here(session: &Session, args: &UninstallArgs) -> Result<Outcome, CliError> {
    let repo = &session.repo;
    if let Place::MovedFrom(from) | Place::CopyOf(from) = place::place(&repo.common_dir)? {
        let reason = format!(
            "the repository was moved or copied from {}, and what it has on record is of that place: treehand doctor --repair",
            from.display()
        );
        return Ok(refused(Refusal { busy: false, reason }));
    }
    departed::come_back(repo)?;
    if let Some(reason) = departed::stuck_of(repo)?.into_iter().next() {
        return Ok(refused(Refusal { busy: false, reason: format!("{reason}: treehand doctor --repair") }));
    }
    if uninstall::is_gone(repo)? {
        return Ok(("done", Done::default(), Some("nothing of treehand is here".into())));
    }
    let store = match args.yes {
        true => store_place::open_existing(repo)?,
        false => None,
    };
    let store = store.map_or_else(|| session.look(), Ok)?;
    let request = request(session, &store, args.discard)?;
    if args.yes {
        let landings = recover::recover(repo, &store)?.blocked;
        let others = cleanup_recover::recover(repo, &store)?.recovered.blocked;
        landings.iter().chain(&others).for_each(|blocked| session.out.warn(blocked));
    }
    let plan = uninstall::plan(repo, &store, &request, args.yes)?;
    if let Some(refusal) = plan.refusal {
        return Ok(refused(refusal));
    }
    if !args.yes {
        return Ok(("planned", Done { removed: plan.goes, left: plan.stays, refusal: None }, None));
    }
    let done = uninstall::apply(repo, store, &request, plan)?;
    let reason = done.refusal.as_ref().map(|refusal| refusal.reason.clone());
    Ok((if reason.is_some() { "refused" } else { "done" }, done, reason))
}

fn refused(refusal: Refusal) -> Outcome {
    let reason = Some(refusal.reason.clone());
    ("refused", Done { refusal: Some(refusal), ..Done::default() }, reason)
}

fn request(session: &Session, store: &Store, discard: bool) -> Result<Request, CliError> {
    let settings = &session.settings;
    let clock = clock_kept::look(&session.repo, store, &clock::reading())?;
    let policy = CleanPolicy {
        min_age: std::time::Duration::ZERO,
        retention: settings.clean.retention.0,
        protect: settings.clean.protect.clone(),
        count_max: 0,
        disk_budget: None,
        template: settings.worktree.path.clone(),
        now: clock.now,
        proven_now: clock.proven_now,
        only: None,
        all_branches: false,
        remote: None,
    };
    Ok(Request { policy, discard, sockets: sockets_of(store)? })
}

/// Where runs of this repository were to be found.
fn sockets_of(store: &Store) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for run in store.runs()? {
        found.push(sockets::of_run(&run.id)?);
        for task in store.tasks(&run.id)? {
            for attempt in &task.attempts {
                found.push(sockets::door(&attempt.token)?);
                found.push(sockets::endpoint(&attempt.token)?);
            }
        }
    }
    Ok(found)
}

/// The same for people: what became of each repository, what goes, what stays.
pub(super) fn text(document: &Value) -> String {
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    let applied = document["applied"] == true;
    let mut rows = Vec::new();
    for removed in document["removed"].as_array().into_iter().flatten() {
        let verb = if applied { "removed" } else { "would remove" };
        let bytes = removed["bytes"].as_u64().filter(|bytes| *bytes > 0).map(size).unwrap_or_default();
        rows.push(vec![verb.to_owned(), word(&removed["kind"]), word(&removed["item"]), bytes]);
    }
    for left in document["left"].as_array().into_iter().flatten() {
        rows.push(vec!["left".to_owned(), word(&left["kind"]), word(&left["item"]), word(&left["why"])]);
    }
    let mut text = table(&rows);
    for repo in document["repos"].as_array().into_iter().flatten() {
        let reason = word(&repo["reason"]);
        let colon = if reason.is_empty() { "" } else { ": " };
        text.push_str(&format!("{} {}{colon}{reason}\n", word(&repo["outcome"]), word(&repo["repo"])));
    }
    if !applied && document["repos"].as_array().into_iter().flatten().any(|repo| repo["outcome"] == "planned") {
        text.push_str("nothing was changed; to do it: --yes\n");
    }
    text
}

/// The lists of a document of another process.
pub(super) fn lists(document: &Value) -> (Vec<Value>, Vec<Value>) {
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    (list("removed"), list("left"))
}

/// Things as they are in documents.
pub(super) fn values(goes: &[Goes], stays: &[Stays]) -> (Vec<Value>, Vec<Value>) {
    (goes.iter().map(|goes| json!(goes)).collect(), stays.iter().map(|stays| json!(stays)).collect())
}
