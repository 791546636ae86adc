//! `undo`: takes back the last operation that was not taken back yet, or the one named; `redo` does it again.
//!
//! A landing that others built on, or a place that is occupied again, refuses before anything is touched.

use serde_json::json;

use crate::cleanup::undo::Undone;
use crate::cleanup::{redo, revert, undo};
use crate::cli::args::UndoArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;

/// Takes an operation back.
pub fn run(session: &Session, args: &UndoArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    if args.revert {
        return answer(session, "reverted", &revert::revert(&session.repo, &store, args.operation)?);
    }
    answer(session, "undone", &undo::undo(&session.repo, &store, args.operation)?)
}

/// Does the last operation again that was taken back.
pub fn redo(session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    answer(session, "done again", &redo::redo(&session.repo, &store, &session.settings.worktree.path)?)
}

fn answer(session: &Session, what: &str, undone: &Undone) -> Result<u8, CliError> {
    let Undone { op, kind, summary, restored } = undone;
    let document = json!({"op": op, "kind": kind, "summary": summary, "restored": restored});
    session.out.answer("treehand/undo/v1", document, || format!("{what}: {}\n", plain(summary)))?;
    Ok(0)
}
