//! `undo`: takes back the last operation that was not taken back yet, or the one named; with `--revert` by a new commit.
//!
//! A landing that others built on, or a place that is occupied again, refuses before anything is touched.

use serde_json::{Value, json};

use crate::cleanup::undo::{self, revert};
use crate::cli::args::UndoArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;

/// Takes an operation back.
pub fn run(session: &Session, args: &UndoArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    if args.revert {
        let reverted = revert::revert(&session.repo, &store, args.operation)?;
        let original = &reverted.original;
        let restored: [String; 0] = [];
        let document = json!({"op": original.op, "kind": original.kind, "summary": original.summary,
            "restored": restored, "removed": restored, "revert": reverted});
        let (branch, commit) = (&reverted.branch, reverted.commit.short());
        let text = || format!("undone by {commit} on {branch}: {}\n", plain(&original.summary));
        session.out.answer("treehand/undo/v1", document, text)?;
        return Ok(0);
    }
    let undone = undo::undo(&session.repo, &store, args.operation)?;
    let document = json!({"op": undone.op, "kind": undone.kind, "summary": undone.summary,
        "restored": undone.restored, "removed": undone.removed, "revert": Value::Null});
    let gone = undone.removed.iter().map(|branch| format!("; branch {branch}, made for it, is gone again"));
    let gone: String = gone.collect();
    session.out.answer("treehand/undo/v1", document, || format!("undone: {}{gone}\n", plain(&undone.summary)))?;
    Ok(0)
}
