//! `redo`: makes again what the last `undo` took back, as long as nothing else was done since.
//!
//! What has changed in between refuses before anything is touched.

use serde_json::json;

use crate::cleanup::undo::redo;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::orchestrator::queue::bell;

/// Makes an operation again.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let redone = redo::redo(&session.repo, &session.store()?)?;
    // Whoever waits for something that was dropped again hears of it.
    bell::ring(&session.repo)?;
    let document = json!({"op": redone.op, "kind": redone.kind, "summary": redone.summary});
    session.out.answer("treehand/redo/v1", document, || format!("redone: {}\n", plain(&redone.summary)))?;
    Ok(0)
}
