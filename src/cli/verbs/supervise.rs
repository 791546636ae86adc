//! `__supervise`: the process that a run belongs to. Started by `run`, in a session of its own.
//!
//! Says `begun` on standard output at once, `ready` when a client may rely on it, and closes it then.

use std::path::Path;

use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::model::RunId;
use crate::orchestrator::scoped::{BEGUN, Place, READY};
use crate::orchestrator::supervisor;
use crate::sys::proc;

/// Supervises a run to its end.
pub fn run(common_dir: &Path, run: &str, place: &Place) -> Result<u8, CliError> {
    let run = RunId::parse(run).map_err(|error| CliError::usage(error.to_string()))?;
    proc::leave_session().map_err(|error| CliError::io("cannot leave the session", &error))?;
    tell(print(BEGUN));
    let ready = || tell(print(READY).and_then(|()| proc::close_stdout()));
    supervisor::supervise(common_dir, &run, place, ready)?;
    Ok(0)
}

fn tell(told: std::io::Result<()>) {
    if let Err(error) = told {
        tracing::debug!(%error, "the client is gone already");
    }
}
