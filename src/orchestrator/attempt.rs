//! One child from start to proved end: its shim started, orders passed on, everything that it started gone when this returns.
//!
//! The shim owns pipes, log, deadline and limits. Stopping is TERM, a grace, then KILL, all by the shim; should the shim
//! itself be gone, what carries the attempt's mark is killed from here.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::context::RunError;
use crate::confine::granted::Granted;
use crate::confine::launch::Shim;
use crate::confine::proxy::Line;
use crate::confine::shim::{ExitRecord, Order, Report, Stopped, read_frame, write_frame};
use crate::confine::view::System;
use crate::confine::{Launch, LaunchError};
use crate::model::ProcId;
use crate::sys::proc;

/// How long a child may take to end after it was asked to.
pub const GRACE: Duration = Duration::from_secs(5);

/// What is to be run, and until when.
pub struct Attempt<'a> {
    /// The child.
    pub launch: &'a Launch,
    /// The proof that its level of confinement was granted.
    pub granted: Granted,
    /// What the machine has.
    pub machine: &'a System,
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
    pub stopped: Option<Stopped>,
    /// Processes that it left behind and that were killed.
    pub left_behind: usize,
    /// What went through the network's proxy.
    pub network: Vec<Line>,
}

/// Runs a child to its end. `started` hears who holds it before anything else happens.
pub async fn run(
    attempt: Attempt<'_>,
    started: impl FnOnce(Option<&ProcId>) -> Result<(), RunError>,
) -> Result<AttemptEnd, RunError> {
    let Shim { mut process, control, leaf } = attempt.launch.start(attempt.granted, attempt.machine)?;
    let io = RunError::io("cannot talk to a shim");
    let connected = control.set_nonblocking(true).and_then(|()| UnixStream::from_std(control)).map_err(io)?;
    let (reports, orders) = connected.into_split();
    let told = started(proc::identify(process.id()).as_ref());
    let ended = match told {
        Ok(()) => follow(reports, orders, attempt.stop).await,
        // The line closes with this, and the shim ends its child.
        Err(error) => Err(error),
    };
    let token = attempt.launch.token.clone();
    let (killed, waited) = tokio::task::spawn_blocking(move || {
        let waited = process.wait();
        let in_leaf = leaf.map_or(Ok(0), |leaf| leaf.end());
        (in_leaf.and_then(|count| Ok(count + proc::kill_marked(&token)?)), waited)
    })
    .await
    .map_err(RunError::panicked)?;
    waited.map_err(RunError::io("cannot wait for a shim"))?;
    let killed = killed.map_err(RunError::io("cannot end what an attempt left behind"))?;
    let ExitRecord { exit, signal, stopped, left_behind, network } = ended?;
    Ok(AttemptEnd { exit, signal, stopped, left_behind: left_behind + killed, network })
}

/// Listens to a shim until its child has ended; asks it to stop when everything has to.
async fn follow(
    reports: OwnedReadHalf,
    mut orders: OwnedWriteHalf,
    mut stop: watch::Receiver<bool>,
) -> Result<ExitRecord, RunError> {
    let mut reports = Frames { half: reports, read: Vec::new() };
    let mut asked = false;
    loop {
        tokio::select! {
            report = reports.next() => match report? {
                Some(Report::Started { .. }) => {}
                Some(Report::Refused(refusal)) => return Err(LaunchError::from(refusal).into()),
                Some(Report::Ended(record)) => return Ok(record),
                // The shim was killed, and with it the child.
                None => return Ok(ExitRecord { signal: Some(9), ..ExitRecord::default() }),
            },
            stopped = async { stop.wait_for(|stop| *stop).await.is_ok() }, if !asked => {
                asked = true;
                if stopped {
                    let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
                    let mut frame = Vec::new();
                    write_frame(&mut frame, &Order::Stop { grace_ms }).map_err(RunError::io("cannot stop a child"))?;
                    // A shim that is gone needs no order.
                    let _sent = orders.write_all(&frame).await;
                }
            }
        }
    }
}

/// What a shim says, frame by frame; a wait that is given up loses nothing.
struct Frames {
    half: OwnedReadHalf,
    read: Vec<u8>,
}

impl Frames {
    async fn next(&mut self) -> Result<Option<Report>, RunError> {
        loop {
            let length = self.read.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
            if let Some(length) = length.filter(|length| self.read.len() >= 4 + length) {
                let frame: Vec<u8> = self.read.drain(..4 + length).collect();
                return read_frame(&frame[..]).map_err(RunError::io("cannot understand a shim"));
            }
            match self.half.read_buf(&mut self.read).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(RunError::io("cannot hear a shim")(error)),
            }
        }
    }
}
