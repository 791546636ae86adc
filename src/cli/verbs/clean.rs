//! `clean`: what is left over here, each with its proof, and what is kept, each with its reason; `--yes` applies.
//!
//! The plan that is printed is the value that is applied.

use serde_json::{Value, json};

use crate::cleanup::clean::{self, CleanPolicy, CleanReport};
use crate::cleanup::clock_kept;
use crate::cli::clean_args::{Branches, CleanArgs};
use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;
use crate::orchestrator::recover;
use crate::sys::clock;
use crate::worktree::Repository;

/// The schema.
pub(super) const SCHEMA: &str = "treehand/clean/v1";

/// What came of a cleanup.
pub(super) struct Cleaned {
    /// The document.
    pub document: Value,
    /// The same for people.
    pub text: String,
    /// The exit code.
    pub exit: u8,
}

/// Plans, and with `--yes` applies.
pub(super) fn act(session: &Session, args: &CleanArgs) -> Result<Cleaned, CliError> {
    let store = session.store()?;
    let settings = &session.settings;
    // Before anything is written: a line in the journal would vouch for the clock that it was written by.
    let clock = clock_kept::look(&session.repo, &store, &clock::reading())?;
    let policy = CleanPolicy {
        min_age: args.min_age.unwrap_or(settings.clean.min_age).0,
        retention: settings.clean.retention.0,
        protect: settings.clean.protect.clone(),
        count_max: settings.clean.count_max,
        disk_budget: args.disk_budget.or(settings.clean.disk_budget),
        template: settings.worktree.path.clone(),
        now: clock.now,
        proven_now: clock.proven_now,
        only: kinds(&args.only)?,
        all_branches: args.branches == Branches::All,
        remote: args.remote.then_some(settings.worktree.fetch_deadline.0),
    };
    if args.yes {
        clock_kept::keep(&session.repo, &clock)?;
        for blocked in recover::recover(&session.repo, &store)?.blocked {
            session.out.warn(blocked);
        }
    }
    let report = match args.yes {
        true => clean::clean(&session.repo, &store, &policy)?,
        false => clean::plan(&session.repo, &store, &policy)?.into_report(),
    };
    let document = document(&report, &session.repo);
    Ok(Cleaned { text: text(&document), exit: u8::from(has_failed(&document)), document })
}

/// True where something went wrong with an action.
pub(super) fn has_failed(document: &Value) -> bool {
    document["actions"].as_array().is_some_and(|all| all.iter().any(|action| action["outcome"] == "failed"))
}

/// The report, each line with the repository it is about.
fn document(report: &CleanReport, repo: &Repository) -> Value {
    let mut document = serde_json::to_value(report).unwrap_or_default();
    let place = json!(place(repo));
    for list in ["actions", "kept"] {
        for line in document[list].as_array_mut().into_iter().flatten() {
            line["repo"] = place.clone();
        }
    }
    document["repo"] = place;
    document
}

/// The repository, as it is called in documents.
pub(super) fn place(repo: &Repository) -> String {
    repo.main_tree.as_ref().unwrap_or(&repo.common_dir).to_string_lossy().into_owned()
}

/// The kinds of these words; all for none.
pub(super) fn kinds(only: &[String]) -> Result<Option<Vec<clean::Kind>>, CliError> {
    if only.is_empty() {
        return Ok(None);
    }
    let kind = |word: &String| word.parse::<clean::Kind>().map_err(CliError::usage);
    only.iter().map(kind).collect::<Result<_, _>>().map(Some)
}

/// The report for people.
pub(super) fn text(document: &Value) -> String {
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    let mut rows = Vec::new();
    for action in document["actions"].as_array().into_iter().flatten() {
        let why = if action["reason"].is_null() { word(&action["proof"]) } else { word(&action["reason"]) };
        rows.push(vec![word(&action["outcome"]), word(&action["kind"]), word(&action["item"]), why]);
    }
    for kept in document["kept"].as_array().into_iter().flatten() {
        rows.push(vec!["kept".into(), word(&kept["kind"]), word(&kept["item"]), word(&kept["reason"])]);
    }
    if rows.is_empty() { "nothing to clean\n".to_owned() } else { table(&rows) }
}
