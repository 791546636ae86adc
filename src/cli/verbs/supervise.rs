//! `__supervise`: the process that a run belongs to. Started by `run`, in a session of its own.
//!
//! Says `ready` on standard output when a client may rely on it, and closes it then.

use std::path::Path;

use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::model::RunId;
use crate::orchestrator::supervisor;
use crate::sys::proc;

/// Supervises a run to its end.
pub fn run(common_dir: &Path, run: &str) -> Result<u8, CliError> {
    let run = RunId::parse(run).map_err(|error| CliError::usage(error.to_string()))?;
    proc::leave_session().map_err(|error| CliError::io("cannot leave the session", &error))?;
    let ready = || {
        let told = print("ready\n").and_then(|()| proc::close_stdout());
        if let Err(error) = told {
            tracing::debug!(%error, "the client is gone already");
        }
    };
    supervisor::supervise(common_dir, &run, ready)?;
    Ok(0)
}
