//! `path`: where a workspace is, alone on standard output, so that a shell can go there; `cd`, for the shell that does.
//!
//! Never guesses: an ambiguous prefix is an error. A program cannot change its shell's directory, so `cd` works only for
//! the function that `shell-init` defines, and says so to everybody else.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::print_bytes;
use crate::cli::session::Session;
use crate::model::record::TaskRecord;
use crate::sys::env;

/// What the function of `shell-init` sets for `cd`.
const CALLED_BY_SHELL: &str = "TREEHAND_CD";

/// Prints the path.
pub fn run(session: &Session, name: &str) -> Result<u8, CliError> {
    let (name, path) = find(session, name)?;
    answer(session, &name, path, b"\n")
}

/// Refuses `cd` unless the function of `shell-init` asks.
pub fn require_shell() -> Result<(), CliError> {
    if env::var(CALLED_BY_SHELL).is_some() {
        return Ok(());
    }
    let hint = "let the shell do it: eval \"$(treehand shell-init bash)\" in its start file, or zsh; \
                for fish: treehand shell-init fish | source";
    Err(CliError::usage("a program cannot change the directory of its shell").hint(hint))
}

/// Prints the path for the shell that goes there: with `/.` at its end, so that it is told from any other text and no
/// line feed at its end is lost.
pub fn cd(session: &Session, name: &str) -> Result<u8, CliError> {
    let (name, path) = find(session, name)?;
    if !path.is_dir() {
        let message = format!("the workspace `{name}` is gone: {}", path.display());
        return Err(CliError::not_found(message).hint("list them: treehand ls"));
    }
    answer(session, &name, path, b"/.")
}

/// A workspace, the workspace of a task, or `^` for the main worktree.
fn find(session: &Session, name: &str) -> Result<(String, PathBuf), CliError> {
    if name == "^" {
        let main = session.repo.main_tree.clone();
        return main
            .map(|path| (name.to_owned(), path))
            .ok_or_else(|| CliError::not_found("the repository is bare: it has no main worktree"));
    }
    let store = session.look()?;
    match session.target(&store, name) {
        Ok((run, Some(TaskRecord { id, workspace: Some(enclosure), .. }))) => {
            Ok((format!("{}/{id}", run.id), enclosure.join(&session.repo.name)))
        }
        _ => {
            let record = session.workspace(&store, name)?;
            Ok((record.name.to_string(), record.path))
        }
    }
}

fn answer(session: &Session, name: &str, path: PathBuf, end: &[u8]) -> Result<u8, CliError> {
    if session.out.is_json() {
        session.out.answer("treehand/path/v1", json!({"name": name, "path": path}), String::new)?;
    } else {
        print_bytes(&[path.as_os_str().as_bytes(), end].concat())?;
    }
    Ok(0)
}
