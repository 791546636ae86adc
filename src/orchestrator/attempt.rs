//! One child from start to proved end: started in its own session, its output logged, its deadline kept, and everything
//! that it started gone when this returns.
//!
//! Stopping is TERM to its process group, a grace, then KILL; what escaped the group is found by the mark that
//! everything started by the attempt carries, and killed. The exit code is that of the child itself.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::sleep;

use super::context::RunError;
use super::output::Log;
use crate::confine::Launch;
use crate::confine::level::Granted;
use crate::model::{ProcId, Token};
use crate::sys::{fs, proc};

/// How long a child may take to end after it was asked to.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long the pipes of an ended child may stay open.
const DRAIN: Duration = Duration::from_secs(2);

/// What is to be run, and within which bounds.
pub struct Attempt<'a> {
    /// The child.
    pub launch: &'a Launch,
    /// The proof that its level of confinement was granted.
    pub granted: Granted,
    /// Its mark.
    pub token: &'a Token,
    /// Its log.
    pub log: &'a Path,
    /// Most bytes of each stream in the log.
    pub output_limit: u64,
    /// Its deadline.
    pub timeout: Option<Duration>,
    /// Becomes true when it has to stop.
    pub stop: watch::Receiver<bool>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Exit code of the child.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it was stopped, if it was.
    pub stopped: Option<StopCause>,
    /// Processes that it left behind and that were killed.
    pub left_behind: usize,
}

/// Why a child was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Its deadline passed.
    Timeout,
    /// The run was cancelled.
    Cancelled,
}

/// Runs a child to its end. `started` hears who it is before anything else happens.
pub async fn run(
    attempt: Attempt<'_>,
    started: impl FnOnce(Option<&ProcId>) -> Result<(), RunError>,
) -> Result<AttemptEnd, RunError> {
    let log = Log::new(fs::open_log(attempt.log)?, attempt.output_limit);
    let command = attempt.launch.command(attempt.granted)?;
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| attempt.launch.spawn_error(source))?;
    let process = child.id().and_then(proc::identify);
    let out = tokio::spawn(log.clone().copy("stdout", child.stdout.take()));
    let err = tokio::spawn(log.copy("stderr", child.stderr.take()));
    let told = started(process.as_ref());
    let ended = match told {
        Ok(()) => watch_child(&mut child, process.as_ref(), attempt.timeout, attempt.stop).await,
        Err(error) => {
            stop(&mut child, process.as_ref()).await?;
            Err(error)
        }
    };
    // A background process that outlives the child would hold the pipes, the workspace, and the user's machine.
    let token = attempt.token.clone();
    let killed = tokio::task::spawn_blocking(move || proc::kill_marked(&token)).await.map_err(RunError::panicked)?;
    let left_behind = killed.map_err(RunError::io("cannot end what an attempt left behind"))?;
    drain(out, attempt.log).await?;
    drain(err, attempt.log).await?;
    let (status, stopped) = ended?;
    Ok(AttemptEnd { exit: status.code(), signal: status.signal(), stopped, left_behind })
}

/// Waits for a stream's end, but not for ever: a process that shed its mark may hold the pipe open.
async fn drain(mut copy: tokio::task::JoinHandle<()>, log: &Path) -> Result<(), RunError> {
    match tokio::time::timeout(DRAIN, &mut copy).await {
        Ok(ended) => ended.map_err(RunError::panicked),
        Err(_) => {
            copy.abort();
            tracing::warn!(log = %log.display(), "something unknown still holds the output of an ended attempt");
            Ok(())
        }
    }
}

async fn watch_child(
    child: &mut Child,
    process: Option<&ProcId>,
    timeout: Option<Duration>,
    mut stop_requested: watch::Receiver<bool>,
) -> Result<(ExitStatus, Option<StopCause>), RunError> {
    let deadline = async {
        match timeout {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        status = child.wait() => return Ok((status.map_err(RunError::io("cannot wait for a child"))?, None)),
        () = deadline => StopCause::Timeout,
        _ = stop_requested.wait_for(|stop| *stop) => StopCause::Cancelled,
    };
    Ok((stop(child, process).await?, Some(cause)))
}

/// TERM to the group, a grace, KILL to the group.
async fn stop(child: &mut Child, process: Option<&ProcId>) -> Result<ExitStatus, RunError> {
    let signal = |result: std::io::Result<proc::Signalled>| result.map_err(RunError::io("cannot signal a child"));
    if let Some(process) = process
        && signal(proc::terminate_group(process))? == proc::Signalled::Sent
    {
        let waited = tokio::time::timeout(GRACE, child.wait()).await;
        if let Ok(status) = waited {
            return status.map_err(RunError::io("cannot wait for a child"));
        }
        if signal(proc::kill_group(process))? == proc::Signalled::Gone {
            tracing::debug!(%process, "ended at the last moment");
        }
    }
    child.start_kill().map_err(RunError::io("cannot kill a child"))?;
    child.wait().await.map_err(RunError::io("cannot wait for a child"))
}
