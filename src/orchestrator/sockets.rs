//! Where the sockets are by which the processes of a run are found: outside any repository, in a directory of the user's own.
//! Names only; who listens makes and removes them.

use std::path::PathBuf;

use super::error::RunError;
use crate::model::{RunId, Token};
use crate::sys::{env, fs};

/// The directory of what treehand keeps for the user, whatever the repository.
pub fn state() -> Result<PathBuf, RunError> {
    let home = env::state_home();
    let home = home.ok_or_else(|| RunError::Usage { message: "neither HOME nor XDG_STATE_HOME is set".into() })?;
    Ok(home.join("treehand"))
}

/// The directory of all sockets, 0700.
pub fn home() -> Result<PathBuf, RunError> {
    Ok(state()?.join("sockets"))
}

/// An error where no run can live: the directory that has to take its sockets and private files takes nothing.
pub fn require_place() -> Result<(), RunError> {
    let home = home()?;
    let there = home.ancestors().find(|directory| directory.is_dir());
    Ok(there.map_or(Ok(()), fs::require_writable)?)
}

/// Where the supervisor of a run is to be found.
pub fn of_run(run: &RunId) -> Result<PathBuf, RunError> {
    Ok(home()?.join(format!("{run}.sock")))
}

/// Where the shim of the attempt with this mark is to be found.
pub fn door(token: &Token) -> Result<PathBuf, RunError> {
    Ok(home()?.join(format!("{}.sock", token.as_str())))
}

/// Where the tools of the agent in the attempt with this mark reach its shim.
pub fn endpoint(token: &Token) -> Result<PathBuf, RunError> {
    Ok(home()?.join(format!("{}.agent", token.as_str())))
}
