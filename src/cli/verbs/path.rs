//! `path`: where a workspace is, alone on standard output, so that a shell can go there.
//!
//! Never guesses: an ambiguous prefix is an error.

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::print_bytes;
use crate::cli::session::Session;
use crate::model::record::TaskRecord;

/// Prints the path.
pub fn run(session: &Session, name: &str) -> Result<u8, CliError> {
    use std::os::unix::ffi::OsStrExt;
    let store = session.store()?;
    let (name, path) = match session.target(&store, name) {
        Ok((run, Some(TaskRecord { id, workspace: Some(enclosure), .. }))) => {
            (format!("{}/{id}", run.id), enclosure.join(&session.repo.name))
        }
        _ => {
            let record = session.workspace(&store, name)?;
            (record.name.to_string(), record.path)
        }
    };
    if session.out.is_json() {
        let document = json!({"name": name, "path": path});
        session.out.answer("treehand/path/v1", document, String::new)?;
    } else {
        let mut line = path.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        print_bytes(&line)?;
    }
    Ok(0)
}
