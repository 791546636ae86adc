//! The shim at work: watches its child, takes orders, keeps deadline and limits, drains the output, writes the end down.
//! Returns when everything of the child is gone.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::agent::{Agent, Said, Words};
use super::child::{Child, Started};
use super::door::{self, Visitor};
use super::endpoint;
use super::keeper::Keeper;
use super::line::{Heard, Line};
use super::output::Log;
use super::places::Places;
use super::pulse::LastOutput;
use super::wire::{ExitRecord, Order, Report};
use crate::confine::mask::Mask;
use crate::confine::policy::Policy;
use crate::confine::ports::PROXY;
use crate::confine::proxy::{self, AllowList, Ledger};
use crate::model::Network;
use crate::sys::{fs, proc};

/// How long the pipes of an ended child may stay open.
const DRAIN: Duration = Duration::from_secs(2);

/// How long until an end that could not be written down is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the shim holds while its child lives.
pub struct Held {
    /// The child.
    pub started: Started,
    /// Our ends of its output.
    pub pipes: Vec<(&'static str, OwnedFd)>,
    /// The line to who supervises.
    pub control: std::os::unix::net::UnixStream,
    /// Where a successor comes in; `None` when the child ends with who supervises it.
    pub door: Option<UnixListener>,
    /// What it takes of what all runs share.
    pub places: Places,
    /// Where its agent's tools come in; `None` for a child that is no agent.
    pub endpoint: Option<UnixListener>,
}

/// Serves a child to its end.
pub async fn serve(policy: &Policy, held: Held) -> io::Result<()> {
    let mut line = Line::new(held.control, policy.adoption.as_ref().map_or(0, |adoption| adoption.epoch))?;
    let (at_the_door, mut visitors) = unbounded_channel();
    // Dropped with this, and with them every connection.
    let mut servers = JoinSet::new();
    if let Some(door) = held.door {
        servers.spawn(door::attend(door, at_the_door.clone()));
    }
    let mut child = Child::watch(held.started, policy)?;
    let mask = Arc::new(Mask::new(&policy.secrets).map_err(io::Error::other)?);
    let output = Arc::new(LastOutput::begin());
    let (asks, asked) = endpoint::line();
    let mut agent = policy.agent.as_ref().map(|watch| Agent::new(watch, asked));
    if let Some(listener) = held.endpoint {
        servers.spawn(endpoint::attend(listener, asks));
    }
    let words = agent.as_ref().map(Agent::words);
    let copies = copy_output(policy, held.pipes, &mask, (&output, words))?;
    let mut keeper = Keeper::new(policy, output, held.places);
    if child.runs_already() {
        line.tell(&Report::Started { process: proc::own() }).await;
    }
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut take_listener = |port: u16, listener: OwnedFd| serve_port(policy, &ledger, &mut servers, port, listener);
    let mut ended = loop {
        tokio::select! {
            report = child.next(&mut take_listener) => match report? {
                Report::Ended(record) => {
                    let mut network = ledger.lock().unwrap_or_else(PoisonError::into_inner).lines();
                    network.iter_mut().for_each(|line| line.host = mask.text(&line.host));
                    break Report::Ended(ExitRecord { network, ..keeper.judge(record) });
                }
                Report::Refused(refusal) => break Report::Refused(refusal),
                other => drop(line.tell(&other).await),
            },
            heard = line.hear() => match (heard, &mut agent) {
                (Heard::Order(Order::Answer { n, reply }), Some(agent)) => agent.answer(n, &reply),
                (heard, _) => keeper.hear(heard, &mut child)?,
            },
            said = said_by(&mut agent) => match said {
                Said::News(report, used) => {
                    keeper.hear_agent(&report, &child);
                    line.offer(&Report::Agent(report)).await;
                    if let Some(used) = used {
                        keeper.end(used, &mut child)?;
                    }
                }
                Said::Asks(request) => if !line.offer(&Report::Asks(request.clone())).await {
                    agent.iter_mut().for_each(|agent| agent.keep(&request));
                },
                Said::Nothing => {}
            },
            Some(visitor) = visitors.recv() => match visitor {
                Visitor::Successor(caller) => if line.take_up(caller).await {
                    line.mention(keeper.is_supervised()).await;
                    for report in agent.iter_mut().flat_map(Agent::everything) {
                        line.tell(&report).await;
                    }
                },
                Visitor::Onlooker(stream) => door::answer(stream, keeper.health()),
            },
            () = keeper.next_moment() => line.mention(keeper.act(&mut child)?).await,
        }
    };
    for copy in copies {
        drain(copy).await;
    }
    if let (Report::Ended(record), Some(agent)) = (&mut ended, &mut agent) {
        // By now everything that it said is read.
        (record.agent, record.unanswered) = (Some(Box::new(agent.report())), agent.unanswered());
    }
    remove_endpoint(policy)?;
    farewell(policy, &mut line, &mut visitors, &ended).await
}

fn remove_endpoint(policy: &Policy) -> io::Result<()> {
    let endpoint = policy.agent.iter().map(|agent| &agent.endpoint);
    endpoint.into_iter().try_for_each(|path| fs::remove_file(path)).map_err(|error| error.source)
}

async fn said_by(agent: &mut Option<Agent>) -> Said {
    match agent {
        Some(agent) => agent.next().await,
        None => std::future::pending().await,
    }
}

/// Says how it ended: to who supervises, and on the disk, which is what a successor goes by. A disk that does not take it is
/// tried again for as long as a successor may come.
async fn farewell(
    policy: &Policy,
    line: &mut Line,
    visitors: &mut UnboundedReceiver<Visitor>,
    ended: &Report,
) -> io::Result<()> {
    let patience = policy.adoption.as_ref().map_or(Duration::ZERO, |adoption| Duration::from_millis(adoption.grace_ms));
    let deadline = Instant::now() + patience;
    let mut written = write_down(policy, ended);
    line.tell(ended).await;
    while let Err(error) = written {
        if Instant::now() >= deadline {
            return Err(error);
        }
        // Who only looks finds what is on record.
        if let Ok(Some(Visitor::Successor(caller))) = tokio::time::timeout(AGAIN, visitors.recv()).await {
            line.take_up(caller).await;
            line.tell(ended).await;
        }
        written = write_down(policy, ended);
    }
    match &policy.adoption {
        Some(adoption) => fs::remove_file(&adoption.socket).map_err(|error| error.source),
        None => Ok(()),
    }
}

fn write_down(policy: &Policy, ended: &Report) -> io::Result<()> {
    if let (Some(log), Report::Ended(record)) = (&policy.log, ended) {
        let text = serde_json::to_vec(record)?;
        fs::write_atomic(&log.record, &text).map_err(|error| error.source)?;
    }
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

fn copy_output(
    policy: &Policy,
    pipes: Vec<(&'static str, OwnedFd)>,
    mask: &Arc<Mask>,
    (output, words): (&Arc<LastOutput>, Option<Arc<Words>>),
) -> io::Result<Vec<JoinHandle<()>>> {
    let Some(plan) = &policy.log else { return Ok(Vec::new()) };
    let log = Log::new(
        fs::open_log(&plan.output).map_err(|error| error.source)?,
        plan.limit,
        Arc::clone(mask),
        Arc::clone(output),
    );
    let copy = |(name, end): (&'static str, OwnedFd)| -> io::Result<JoinHandle<()>> {
        rustix::io::ioctl_fionbio(&end, true)?;
        let end = pipe::Receiver::from_owned_fd(end)?;
        Ok(tokio::spawn(log.clone().copy(name, Some(end), words.clone())))
    };
    pipes.into_iter().map(copy).collect()
}

/// Waits for a stream's end, but not for ever: without a sandbox something that shed its mark may hold the pipe open.
async fn drain(mut copy: JoinHandle<()>) {
    if tokio::time::timeout(DRAIN, &mut copy).await.is_err() {
        copy.abort();
    }
}
