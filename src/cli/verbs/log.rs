//! `log`: what treehand did here that can be taken back, newest first.
//!
//! Only looks.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;

/// Lists operations.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let operations = session.store()?.operations()?;
    let mut rows = vec![["OP", "WHEN", "KIND", "WHAT"].map(str::to_owned).to_vec()];
    let mut documents: Vec<Value> = Vec::new();
    for operation in &operations {
        let undone = if operation.undone { " (undone)" } else { "" };
        let what = format!("{}{undone}", plain(&operation.summary));
        rows.push(vec![operation.op.to_string(), operation.at.to_string(), operation.kind.clone(), what]);
        documents.push(json!({"op": operation.op, "kind": operation.kind, "at": operation.at,
            "summary": operation.summary, "undone": operation.undone}));
    }
    session.out.answer("treehand/log/v1", json!({"operations": documents}), || table(&rows))?;
    Ok(0)
}
