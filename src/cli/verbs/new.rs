//! `new`: a clean worktree on a new branch at the tip of a base proved fresh.
//!
//! Fetches unless `--offline`, refuses or warns as the policy says, and unmakes what is half made.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::args::NewArgs;
use crate::cli::copied;
use crate::cli::document;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::cli::setup;
use crate::cli::submodules;
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, BranchName, WorkspaceName};
use crate::store::Store;
use crate::sys::git::Reader;
use crate::sys::proc;
use crate::worktree::plain::{Along, Made, NewWorkspace, create};
use crate::worktree::quarantine::Kept;
use crate::worktree::{WorktreeError, accept, base, base_name, exported, links, ports};

/// Makes a workspace.
pub fn run(session: &Session, args: &NewArgs) -> Result<u8, CliError> {
    let (record, ports, document) = make(session, args)?;
    session.out.answer("treehand/workspace/v1", document, || format!("{}\n", record.path.display()))?;
    match &args.execute {
        Some(line) => execute(session, (&record, &ports), line),
        None => Ok(0),
    }
}

/// Makes it; what is on record of it, its ports, and the document that says so.
pub(super) fn make(session: &Session, args: &NewArgs) -> Result<(WorkspaceRecord, Vec<u16>, Value), CliError> {
    let begun = Instant::now();
    let usage = |error: crate::model::names::NameError| CliError::usage(error.to_string());
    let name = WorkspaceName::parse(&args.name).map_err(usage)?;
    let branch = args.branch.clone().map_or_else(|| BranchName::parse(&args.name), Ok).map_err(usage)?;
    refuse_ours(&branch)?;
    let granted = setup::check(session)?;
    let worktree = &session.settings.worktree;
    let lookup = session.lookup(args.offline);
    let request = args.from_pr.map(|number| base_name::of_pull_request(&session.repo, number, lookup)).transpose()?;
    let (store, reader) = opened(session)?;
    let records = store.workspaces()?;
    let asked = request.or(args.base.clone()).or(worktree.base.clone());
    let asked = asked.map(|text| branch_of_workspace(session, &records, text)).transpose()?;
    let resolved = base::resolve_from(&session.repo, &reader, asked.as_deref(), lookup, &[])?;
    let accepted = accept::enforce(&session.repo, &resolved, args.stale.unwrap_or(worktree.stale))?;
    for warning in &accepted.warnings {
        session.out.warn(plain(warning));
    }
    let stack = links::below(&links::lower(&records), &accepted.report.reference, branch.as_str());
    let request = NewWorkspace {
        name: &name,
        branch: &branch,
        base: BaseReport { stack, ..accepted.report },
        template: &worktree.path,
        sealed: args.sealed,
        submodules: worktree.submodules,
        copy: &worktree.copy,
        sparse: &args.sparse,
        settings: reader.settings().map(AsRef::as_ref),
    };
    let created = create(&session.repo, &store, &request, &copied::progress(&session.out));
    accepted.kept.map(Kept::release).transpose()?;
    let Made { record, along } = created?;
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    say(session, &record, &along);
    let ports = ports::lease(&session.repo, &record.path, worktree.ports);
    let ready = setup::run(session, &store, (&record, &ports, along.copied.older), granted)?;
    let mut document = document(&record, &along, elapsed, ready);
    document["ports"] = json!(ports);
    Ok((record, ports, document))
}

/// The store, and beside it everything that this command wants to know of git's configuration, by one question.
fn opened(session: &Session) -> Result<(Store, Reader), CliError> {
    let repo = &session.repo;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| repo.reader().knowing_settings().map_err(WorktreeError::from));
        let store = session.store();
        let reader = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((store?, reader?))
    })
}

/// Where a branch has the name, no run could have branches below it.
fn refuse_ours(branch: &BranchName) -> Result<(), CliError> {
    if branch.as_str() != "treehand" {
        return Ok(());
    }
    let error = CliError::usage("a branch called `treehand` would be in the way of the branches of runs, `treehand/…`");
    Err(error.hint("give it another: --branch NAME"))
}

/// The branch of a workspace whose name was given as base, unless the name is a revision itself.
fn branch_of_workspace(session: &Session, records: &[WorkspaceRecord], text: String) -> Result<String, CliError> {
    let named = records.iter().find(|record| record.name.as_str() == text && record.branch.as_str() != text);
    let Some(record) = named else { return Ok(text) };
    let known = session.repo.reader().revision(&text).map_err(WorktreeError::from)?;
    Ok(if known.is_some() { text } else { record.branch.to_string() })
}

fn say(session: &Session, record: &WorkspaceRecord, along: &Along) {
    let base = &record.base;
    session.out.say(format!(
        "workspace {} on branch {} at {} ({} {})",
        record.name,
        record.branch,
        base.commit.short(),
        plain(&base.reference),
        base.freshness.word(),
    ));
    copied::say(&session.out, &along.copied);
    submodules::say(&session.out, &along.submodules);
}

fn document(record: &WorkspaceRecord, along: &Along, elapsed_ms: u64, setup: Value) -> Value {
    let mut document = document::workspace(record, &record.base, Some(elapsed_ms));
    document["copied"] = copied::document(&along.copied);
    document["submodules"] = submodules::document(&along.submodules);
    document["setup"] = setup;
    document
}

/// The user's own command line, in the new workspace, with the user's own terminal.
fn execute(session: &Session, (record, ports): (&WorkspaceRecord, &[u16]), line: &str) -> Result<u8, CliError> {
    let exported = exported::variables(&session.repo, record, ports);
    let env: Vec<(&str, &str)> = exported.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let status = proc::run_in_foreground(&["sh", "-c", line], &record.path, &env)
        .map_err(|error| CliError::io("cannot start a shell", &error))?;
    Ok(proc::exit_code(status))
}
