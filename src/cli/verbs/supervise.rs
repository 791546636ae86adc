//! `__supervise`: the process that a run belongs to. Started by `run`, in a session of its own.
//!
//! Says `ready` on standard output when a client may rely on it, and closes it then.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::model::RunId;
use crate::model::cause::chain;
use crate::orchestrator::context::RunError;
use crate::orchestrator::{room, supervisor};
use crate::sys::{env, proc};

/// Supervises a run to its end.
pub fn run(common_dir: &Path, run: &str) -> Result<u8, CliError> {
    let run = RunId::parse(run).map_err(|error| CliError::usage(error.to_string()))?;
    if !proc::leads_its_session() {
        proc::leave_session().map_err(|error| CliError::io("cannot leave the session", &error))?;
    }
    let ready = || {
        let told = print("ready\n").and_then(|()| proc::close_stdout());
        if let Err(error) = told {
            tracing::debug!(%error, "the client is gone already");
        }
    };
    let begun = Instant::now();
    match supervisor::supervise(common_dir, &run, ready) {
        Err(error) if room::is_full(&error) => Err(begin_anew(common_dir, &run, error, begun.elapsed())),
        ended => Ok(ended.map(|()| 0)?),
    }
}

/// How often in a row a supervisor has begun anew: the variable that hands it on.
const ANEW: &str = "TREEHAND_BEGUN_ANEW";

/// Longest rest before that: what is full may be another disk than the store's.
const REST_MAX: Duration = Duration::from_secs(60);

/// As this process's own successor: what it has in hand is as after a crash, and its place is kept.
fn begin_anew(common_dir: &Path, run: &RunId, error: RunError, lived: Duration) -> CliError {
    let times: u32 = env::var(ANEW).and_then(|times| times.parse().ok()).unwrap_or(0);
    let times = if lived > REST_MAX { 0 } else { times };
    tracing::warn!(%run, error = chain(&error), "begins anew");
    std::thread::sleep(Duration::from_secs(1 << times.min(6)).min(REST_MAX));
    let args = ["__supervise".as_ref(), common_dir.as_os_str(), run.as_str().as_ref()];
    let again = (times + 1).to_string();
    match env::own_executable() {
        Ok(executable) => CliError::io("cannot begin anew", &proc::become_again(&executable, &args, (ANEW, &again))),
        Err(cause) => CliError::io("cannot find our own executable", &cause),
    }
}
