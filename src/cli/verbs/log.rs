//! `log`: what treehand did here that can be taken back, newest first, and what `redo` would make again.
//!
//! Only looks.

use serde_json::{Value, json};

use crate::cleanup::undo::decide::{self, Next};
use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;

/// Lists operations.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let operations = session.look()?.operations()?;
    let redo = match decide::next(&operations) {
        Next::Redo(operation) => Some(operation.op),
        Next::Nothing | Next::Superseded(..) => None,
    };
    let mut rows = vec![["OP", "WHEN", "KIND", "WHAT"].map(str::to_owned).to_vec()];
    let mut documents: Vec<Value> = Vec::new();
    for operation in &operations {
        let by = operation.taken_back.as_ref().and_then(|how| how.by);
        let undone = match (operation.undone, by) {
            (false, _) => String::new(),
            (true, Some(by)) => format!(" (undone by {by})"),
            (true, None) if redo == Some(operation.op) => " (undone; redo makes it again)".to_owned(),
            (true, None) => " (undone)".to_owned(),
        };
        let what = format!("{}{undone}", plain(&operation.summary));
        rows.push(vec![operation.op.to_string(), operation.at.to_string(), operation.kind.clone(), what]);
        documents.push(json!({"op": operation.op, "kind": operation.kind, "at": operation.at,
            "summary": operation.summary, "undone": operation.undone, "undone_by": by}));
    }
    session.out.answer("treehand/log/v1", json!({"operations": documents, "redo": redo}), || table(&rows))?;
    Ok(0)
}
