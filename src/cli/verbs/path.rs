//! `path`: where a workspace is, alone on standard output, so that a shell can go there.
//!
//! Never guesses: an ambiguous prefix is an error.

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::print_bytes;
use crate::cli::session::Session;

/// Prints the path.
pub fn run(session: &Session, name: &str) -> Result<u8, CliError> {
    use std::os::unix::ffi::OsStrExt;
    let store = session.store()?;
    let record = session.workspace(&store, name)?;
    if session.out.is_json() {
        let document = json!({"name": record.name, "path": record.path});
        session.out.answer("treehand/path/v1", document, String::new)?;
    } else {
        let mut line = record.path.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        print_bytes(&line)?;
    }
    Ok(0)
}
