//! `rm`: lets workspaces go. What would be lost is saved first; a branch goes only when its work is in the target.
//!
//! Each name is looked at, decided and removed by itself; the first that is refused decides the exit code.

use serde_json::{Value, json};

use crate::cleanup::remove::{self, BranchOutcome, RemoveOptions, Removed};
use crate::cli::args::RmArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::store::Store;

/// Removes workspaces.
pub fn run(session: &Session, args: &RmArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let (mut documents, mut text, mut code) = (Vec::new(), String::new(), 0);
    for name in &args.names {
        match one(session, &store, name, args) {
            Ok(removed) => {
                text.push_str(&sentence(&removed));
                documents.push(document(&removed));
            }
            // With one name the error is the answer; with several the others still get their turn.
            Err(error) if args.names.len() == 1 => return Err(error),
            Err(error) => {
                session.out.error(&error.message, error.hint.as_deref());
                documents
                    .push(json!({"name": name, "outcome": "refused", "reason": error.message, "code": error.code}));
                code = if code == 0 { error.code } else { code };
            }
        }
    }
    session.out.answer("treehand/removal/v1", json!({"removed": documents}), || text)?;
    Ok(code)
}

fn one(session: &Session, store: &Store, name: &str, args: &RmArgs) -> Result<Removed, CliError> {
    let record = session.workspace(store, name)?;
    let options = RemoveOptions { force_dirty: args.force, delete_unmerged: args.force_delete };
    Ok(remove::remove(&session.repo, store, &record, &options, &session.settings.worktree.path)?)
}

fn sentence(removed: &Removed) -> String {
    let outcome = match removed.branch_outcome {
        BranchOutcome::Deleted => "deleted",
        BranchOutcome::Kept => "kept",
    };
    let mut text =
        format!("removed {}; branch {} {outcome} ({})", removed.name, removed.branch, plain(&removed.reason));
    if !removed.salvage.is_empty() {
        text.push_str("; saved what was not merged");
    }
    match removed.op {
        Some(op) => format!("{text}; `treehand undo {op}` brings it back\n"),
        None => format!("{text}\n"),
    }
}

fn document(removed: &Removed) -> Value {
    let mut document = serde_json::to_value(removed).unwrap_or_default();
    document["outcome"] = json!("removed");
    document
}
