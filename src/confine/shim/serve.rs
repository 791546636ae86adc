//! The shim at work: watches its child, takes orders, keeps deadline and limits, drains the output, writes the end down.
//! Returns when everything of the child is gone.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::child::{Child, Started};
use super::output::Log;
use super::wire::{ExitRecord, Order, Report, Stopped, read_frame, write_frame};
use crate::confine::disk::{self, DiskWatch};
use crate::confine::mask::Mask;
use crate::confine::policy::{LimitKind, Policy};
use crate::confine::ports::PROXY;
use crate::confine::proxy::{self, AllowList, Ledger};
use crate::model::Network;
use crate::model::record::ConfineLevel;
use crate::sys::fs;

/// How long a child may take to end after its deadline.
const GRACE: Duration = Duration::from_secs(5);

/// How long the pipes of an ended child may stay open.
const DRAIN: Duration = Duration::from_secs(2);

/// What the shim holds while its child lives.
pub struct Held {
    /// The child.
    pub started: Started,
    /// Our ends of its output.
    pub pipes: Vec<(&'static str, OwnedFd)>,
    /// The line to who supervises.
    pub control: std::os::unix::net::UnixStream,
}

/// Serves a child to its end.
pub async fn serve(policy: &Policy, held: Held) -> io::Result<()> {
    held.control.set_nonblocking(true)?;
    let (mut orders, mut reports) = UnixStream::from_std(held.control)?.into_split();
    let mut child = Child::watch(held.started, policy)?;
    let mask = Arc::new(Mask::new(&policy.secrets).map_err(io::Error::other)?);
    let copies = copy_output(policy, held.pipes, &mask)?;
    let mut keeper = Keeper::new(policy);
    if child.runs_already() {
        tell(&mut reports, &Report::Started { process: crate::sys::proc::own() }).await;
    }
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    let mut listening = true;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    // Dropped with this, and with it every connection.
    let mut proxies = JoinSet::new();
    let mut take_listener = |port: u16, listener: OwnedFd| serve_port(policy, &ledger, &mut proxies, port, listener);
    let ended = loop {
        tokio::select! {
            report = child.next(&mut take_listener) => match report? {
                Report::Ended(record) => {
                    let mut network = ledger.lock().unwrap_or_else(PoisonError::into_inner).lines();
                    network.iter_mut().for_each(|line| line.host = mask.text(&line.host));
                    break Report::Ended(ExitRecord { network, ..keeper.judge(record) });
                }
                Report::Refused(refusal) => break Report::Refused(refusal),
                started @ Report::Started { .. } => tell(&mut reports, &started).await,
            },
            read = orders.read(&mut buffer), if listening => {
                let read = read.unwrap_or(0);
                listening = read > 0;
                pending.extend_from_slice(&buffer[..read]);
                let heard = if listening { next_order(&mut pending) } else { Some(Heard::Gone) };
                if let Some(heard) = heard {
                    keeper.hear(heard, &mut child)?;
                }
            }
            () = keeper.next_moment() => keeper.act(&mut child)?,
        }
    };
    for copy in copies {
        drain(copy).await;
    }
    if let (Some(log), Report::Ended(record)) = (&policy.log, &ended) {
        let text = serde_json::to_vec(record)?;
        fs::write_atomic(&log.record, &text).map_err(|error| error.source)?;
    }
    tell(&mut reports, &ended).await;
    Ok(())
}

/// Serves a port inside from here: the proxy's, or one of this machine's that is listed.
fn serve_port(
    policy: &Policy,
    ledger: &Arc<Mutex<Ledger>>,
    proxies: &mut JoinSet<io::Result<()>>,
    port: u16,
    listener: OwnedFd,
) {
    let (listener, ledger) = (TcpListener::from(listener), Arc::clone(ledger));
    match &policy.network {
        Network::Hosts(hosts) if port == PROXY => {
            proxies.spawn(proxy::serve(listener, AllowList::new(hosts), ledger));
        }
        Network::Hosts(hosts) => {
            proxies.spawn(proxy::forward(listener, AllowList::new(hosts), port, ledger));
        }
        Network::None | Network::Full => {}
    }
}

/// Who supervises may be gone; then the exit record on disk is what is left to say.
async fn tell(reports: &mut tokio::net::unix::OwnedWriteHalf, report: &Report) {
    let mut frame = Vec::new();
    if write_frame(&mut frame, report).is_ok() {
        let _told = reports.write_all(&frame).await;
    }
}

fn copy_output(
    policy: &Policy,
    pipes: Vec<(&'static str, OwnedFd)>,
    mask: &Arc<Mask>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let Some(plan) = &policy.log else { return Ok(Vec::new()) };
    let log = Log::new(fs::open_log(&plan.output).map_err(|error| error.source)?, plan.limit, Arc::clone(mask));
    let copy = |(name, end): (&'static str, OwnedFd)| -> io::Result<JoinHandle<()>> {
        rustix::io::ioctl_fionbio(&end, true)?;
        let end = pipe::Receiver::from_owned_fd(end)?;
        Ok(tokio::spawn(log.clone().copy(name, Some(end))))
    };
    pipes.into_iter().map(copy).collect()
}

/// Waits for a stream's end, but not for ever: without a sandbox something that shed its mark may hold the pipe open.
async fn drain(mut copy: JoinHandle<()>) {
    if tokio::time::timeout(DRAIN, &mut copy).await.is_err() {
        copy.abort();
    }
}

enum Heard {
    Order(Order),
    Gone,
}

fn next_order(pending: &mut Vec<u8>) -> Option<Heard> {
    let length = u32::from_be_bytes(*pending.first_chunk()?) as usize;
    if pending.len() < 4 + length {
        return None;
    }
    let frame: Vec<u8> = pending.drain(..4 + length).collect();
    match read_frame(&frame[..]) {
        Ok(Some(order)) => Some(Heard::Order(order)),
        // Whoever speaks like that does not supervise.
        Ok(None) | Err(_) => Some(Heard::Gone),
    }
}

/// Keeps a child within its time and its limits, and remembers why it was stopped.
struct Keeper {
    stopped: Option<Stopped>,
    deadline: Option<Instant>,
    kill_at: Option<Instant>,
    disk: Option<DiskWatch>,
    look_at: Option<Instant>,
    file_size: bool,
}

impl Keeper {
    fn new(policy: &Policy) -> Keeper {
        // In a sandbox pid 1 looks, which sees everything.
        let limit = policy.limits.disk.as_ref().filter(|_| policy.level != ConfineLevel::Strict);
        let disk = limit.map(|limit| DiskWatch::new(limit.bytes, vec![limit.directory.clone()]));
        Keeper {
            stopped: None,
            deadline: policy.timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms)),
            kill_at: None,
            look_at: disk.is_some().then(|| Instant::now() + disk::INTERVAL),
            disk,
            file_size: policy.limits.file_size.is_some(),
        }
    }

    /// Sleeps until something has to be done.
    async fn next_moment(&self) {
        match [self.deadline, self.kill_at, self.look_at].into_iter().flatten().min() {
            Some(moment) => sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    fn act(&mut self, child: &mut Child) -> io::Result<()> {
        let now = Instant::now();
        if self.deadline.is_some_and(|at| at <= now) {
            self.stop(Stopped::Timeout, GRACE, child)?;
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            child.kill()?;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            if self.disk.as_mut().is_some_and(|disk| disk.is_over(|| 0)) {
                self.look_at = None;
                self.stopped.get_or_insert(Stopped::Limit(LimitKind::Disk));
                return child.kill();
            }
            self.look_at = Some(now + disk::INTERVAL);
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard, child: &mut Child) -> io::Result<()> {
        match heard {
            Heard::Order(Order::Stop { grace_ms }) => self.stop(Stopped::Asked, Duration::from_millis(grace_ms), child),
            Heard::Order(Order::Kill) => {
                self.stopped.get_or_insert(Stopped::Asked);
                child.kill()
            }
            Heard::Gone => {
                self.stopped.get_or_insert(Stopped::Orphaned);
                child.kill()
            }
        }
    }

    fn stop(&mut self, why: Stopped, grace: Duration, child: &mut Child) -> io::Result<()> {
        self.stopped.get_or_insert(why);
        self.deadline = None;
        self.kill_at = Some(Instant::now() + grace);
        child.ask_to_end()
    }

    fn judge(&self, record: ExitRecord) -> ExitRecord {
        let too_large = self.file_size && record.by_file_size();
        let limit = record.stopped.or(too_large.then_some(Stopped::Limit(LimitKind::FileSize)));
        ExitRecord { stopped: self.stopped.or(limit), ..record }
    }
}
