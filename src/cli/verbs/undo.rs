//! `undo`: takes back the last operation that was not taken back yet, or the one named.
//!
//! A landing that others built on, or a place that is occupied again, refuses before anything is touched.

use serde_json::json;

use crate::cleanup::undo;
use crate::cli::args::UndoArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;

/// Takes an operation back.
pub fn run(session: &Session, args: &UndoArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let undone = undo::undo(&session.repo, &store, args.operation)?;
    let document = json!({"op": undone.op, "kind": undone.kind, "summary": undone.summary});
    session.out.answer("treehand/undo/v1", document, || format!("undone: {}\n", plain(&undone.summary)))?;
    Ok(0)
}
