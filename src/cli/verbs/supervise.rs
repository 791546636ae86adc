//! `__supervise`: the process that a run belongs to. Started by `run`, in a session of its own.
//!
//! Says `begun` on standard output at once, `ready` when a client may rely on it, and closes it then.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::model::RunId;
use crate::model::cause::chain;
use crate::orchestrator::context::RunError;
use crate::orchestrator::scoped::{BEGUN, Place, READY};
use crate::orchestrator::{room, supervisor};
use crate::sys::{env, proc};

/// Supervises a run to its end.
pub fn run(common_dir: &Path, run: &str, place: &Place) -> Result<u8, CliError> {
    let run = RunId::parse(run).map_err(|error| CliError::usage(error.to_string()))?;
    if !proc::leads_its_session() {
        proc::leave_session().map_err(|error| CliError::io("cannot leave the session", &error))?;
    }
    tell(print(BEGUN));
    let ready = || tell(print(READY).and_then(|()| proc::close_stdout()));
    let begun = Instant::now();
    match supervisor::supervise(common_dir, &run, place, ready) {
        Err(error) if room::is_full(&error) => {
            rest(&run, error, begun.elapsed());
            Err(begin_anew(common_dir, &run, place))
        }
        ended => Ok(ended.map(|()| 0)?),
    }
}

/// How often in a row a supervisor has begun anew: the variable that hands it on.
const ANEW: &str = "TREEHAND_BEGUN_ANEW";

/// Longest rest before that: what is full may be another disk than the store's.
const REST_MAX: Duration = Duration::from_secs(60);

/// Rests, longer each time in a row.
fn rest(run: &RunId, error: RunError, lived: Duration) {
    let times = if lived > REST_MAX { 0 } else { times_in_a_row() };
    tracing::warn!(%run, error = chain(&error), "begins anew");
    std::thread::sleep(Duration::from_secs(1 << times.min(6)).min(REST_MAX));
}

fn times_in_a_row() -> u32 {
    env::var(ANEW).and_then(|times| times.parse().ok()).unwrap_or(0)
}

/// As this process's own successor: what it has in hand is as after a crash, and its place is kept.
fn begin_anew(common_dir: &Path, run: &RunId, place: &Place) -> CliError {
    let [how, what] = place.arguments();
    let args = ["__supervise".as_ref(), how, what, common_dir.as_os_str(), run.as_str().as_ref()];
    let again = times_in_a_row().saturating_add(1).to_string();
    match env::own_executable() {
        Ok(executable) => CliError::io("cannot begin anew", &proc::become_again(&executable, &args, (ANEW, &again))),
        Err(cause) => CliError::io("cannot find our own executable", &cause),
    }
}

fn tell(told: std::io::Result<()>) {
    if let Err(error) = told {
        tracing::debug!(%error, "the client is gone already");
    }
}
