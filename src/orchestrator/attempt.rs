//! One child from start to proved end: its shim started, or found again by a successor; orders passed on, everything that it
//! started gone when this returns.
//!
//! The shim owns pipes, log, deadline and limits. Stopping is TERM, a grace, then KILL, all by the shim; should the shim
//! itself be gone, or not answer, what carries the attempt's mark is killed from here. What the exit record on the disk says
//! is the truth where nobody is there to be asked.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::context::{RunError, Signs, Stop, blocking};
use super::sockets;
use super::stopping::Stopping;
use crate::confine::granted::Granted;
use crate::confine::launch::Shim;
use crate::confine::proxy::Line;
use crate::confine::shim::{ExitRecord, Greeting, Order, Report, Stopped, read_frame, send_frame, write_frame};
use crate::confine::view::System;
use crate::confine::{Launch, LaunchError};
use crate::model::agent::{AgentReport, AgentRequest, Reply};
use crate::model::health::{Health, ToolUse};
use crate::model::{ProcId, TaskId, Token};
use crate::sys::socket::{self, Address};
use crate::sys::{fs, proc};

/// How long a child may take to end after it was asked to.
pub const GRACE: Duration = Duration::from_secs(5);

/// How much longer its shim may take, before it is killed itself.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a shim may take to end after its child has.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// Most bytes of an exit record: it names the hosts that were asked for.
const RECORD_MAX: u64 = 16 << 20;

/// What is to be run, and until when.
pub struct Attempt<'a> {
    /// The child.
    pub launch: &'a Launch,
    /// The proof that its level of confinement was granted.
    pub granted: Granted,
    /// What the machine has.
    pub machine: &'a System,
    /// What has to stop, and which task it is for.
    pub stop: Stop<'a>,
}

/// Waits until one of the tasks has to stop, or, when it was asked to before, until it has to at once; false when nobody can say so
/// any more.
async fn has_to_stop(news: &mut watch::Receiver<Stopping>, tasks: &[TaskId], asked: bool) -> bool {
    let wanted = |stopping: &Stopping| stopping.is_all() || tasks.iter().any(|task| stopping.wants(task));
    let has_to = |stopping: &Stopping| if asked { stopping.is_now() } else { wanted(stopping) };
    news.wait_for(has_to).await.is_ok()
}

/// Waits until there is something that a shim has not heard yet.
async fn has_news(signs: &mut watch::Receiver<Signs>, heard: &Signs) -> Signs {
    let news = signs.wait_for(|signs| signs != heard).await.map(|signs| signs.clone());
    match news {
        Ok(signs) => signs,
        Err(_) => std::future::pending().await,
    }
}

/// What is said to a shim that has heard this and is to know that.
fn orders_between<'a>(heard: &'a Signs, signs: &'a Signs) -> impl Iterator<Item = Order> + 'a {
    let park = (heard.parked != signs.parked).then_some(Order::Park(signs.parked));
    let tool = signs.tool.as_ref().filter(|tool| heard.tool.as_ref() != Some(tool)).map(|(name, at)| {
        // One from the future was now.
        let ago_ms = at.elapsed().map_or(0, |ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
        Order::Tool(ToolUse { name: name.clone(), ago_ms })
    });
    let new = signs.answers.iter().filter(|(n, _)| !heard.answers.contains_key(n));
    let answers = new.map(|(n, reply)| Order::Answer { n: *n, reply: reply.clone() });
    park.into_iter().chain(tool).chain(answers)
}

/// An attempt that an earlier supervisor started.
pub struct Orphan {
    /// Where its shim is to be found.
    pub socket: PathBuf,
    /// The number of the supervisor that looks for it.
    pub epoch: u64,
    /// Its shim.
    pub shim: Option<ProcId>,
    /// Its mark.
    pub token: Token,
    /// Where its end is written down.
    pub record: PathBuf,
    /// Its log, which is there from before its child begins.
    pub log: PathBuf,
    /// Who started it.
    pub starter: Option<ProcId>,
}

/// What became of an attempt that an earlier supervisor started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It has ended.
    Ended(AttemptEnd),
    /// It was recorded, and its child never began.
    NeverBegan,
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
    /// What its agent said of itself.
    pub agent: Option<Box<AgentReport>>,
    /// What its agent asked for, and nobody has answered.
    pub unanswered: Vec<AgentRequest>,
}

/// Who hears what a shim tells while its child runs.
pub trait Ears {
    /// The child is otherwise than it was.
    fn health(&self, health: Health);
    /// Its agent has said something of itself.
    fn agent(&self, report: AgentReport);
    /// Its agent asks for something; the answer, or `None` for one that comes later.
    fn asked(&self, request: AgentRequest) -> Option<Reply>;
}

/// Who hears how a plain command is: one that speaks of itself, or asks for something, it is not.
impl<F: Fn(Health)> Ears for F {
    fn health(&self, health: Health) {
        self(health);
    }

    fn agent(&self, _report: AgentReport) {}

    fn asked(&self, _request: AgentRequest) -> Option<Reply> {
        Some(Reply::Error("nobody is there who could answer".into()))
    }
}

/// Runs a child to its end. `started` hears who holds it before anything else happens.
pub async fn run(
    attempt: Attempt<'_>,
    started: impl FnOnce(Option<&ProcId>) -> Result<(), RunError>,
) -> Result<AttemptEnd, RunError> {
    run_heard(attempt, started, &|_: Health| {}).await
}

/// The same; `ears` hears what its shim tells meanwhile.
pub async fn run_heard(
    attempt: Attempt<'_>,
    started: impl FnOnce(Option<&ProcId>) -> Result<(), RunError>,
    ears: &impl Ears,
) -> Result<AttemptEnd, RunError> {
    let Shim { mut process, control, leaf } = attempt.launch.start(attempt.granted, attempt.machine)?;
    let connected = control.set_nonblocking(true).and_then(|()| UnixStream::from_std(control)).map_err(talking)?;
    let shim = proc::identify(process.id());
    let noted = started(shim.as_ref());
    let followed = match noted {
        Ok(()) => follow(connected, attempt.stop, shim.as_ref(), ears).await,
        // The line closes with this, and the shim ends its child: it waits for no successor that it could go on with.
        Err(error) => {
            kill(shim.as_ref())?;
            Err(error)
        }
    };
    let adoption = attempt.launch.adoption.clone();
    let endpoint = attempt.launch.agent.as_ref().map(|agent| agent.endpoint.clone());
    let (token, record) = (attempt.launch.token.clone(), attempt.launch.log.as_ref().map(|log| log.record.clone()));
    let ended = blocking(move || -> Result<_, RunError> {
        require_end_on_disk(followed.as_ref().ok().and_then(Option::as_ref), shim.as_ref())?;
        process.wait().map_err(RunError::io("cannot wait for a shim"))?;
        let in_leaf = leaf.map_or(Ok(0), |leaf| leaf.end()).map_err(RunError::io("cannot end what an attempt left"))?;
        // One that was killed left them.
        for socket in adoption.map(|adoption| adoption.socket).into_iter().chain(endpoint) {
            fs::remove_file(&socket)?;
        }
        let killed = kill_marked(&token)?;
        let end = AttemptEnd::of(followed?, record.as_deref())?;
        Ok(AttemptEnd { left_behind: end.left_behind + in_leaf + killed, ..end })
    });
    ended.await?
}

/// Goes on with an attempt that an earlier supervisor started, to its end. One whose shim is gone has ended: as its record
/// says, or as one that crashed. `ears` hears what its shim tells.
pub async fn adopt(orphan: Orphan, stop: Stop<'_>, ears: &impl Ears) -> Result<Adopted, RunError> {
    let followed = match knock(&orphan).await? {
        Some(line) => follow(line, stop, orphan.shim.as_ref(), ears).await,
        None => Ok(None),
    };
    let ended = blocking(move || -> Result<_, RunError> {
        require_end_on_disk(followed.as_ref().ok().and_then(Option::as_ref), orphan.shim.as_ref())?;
        let killed = kill_marked(&orphan.token)?;
        fs::remove_file(&orphan.socket)?;
        fs::remove_file(&sockets::endpoint(&orphan.token)?)?;
        let end = AttemptEnd::of(followed?, Some(&orphan.record))?;
        let end = AttemptEnd { left_behind: end.left_behind + killed, ..end };
        let never_began = end.stopped == Some(Stopped::Crashed) && is_known_not_to_have_begun(&orphan)?;
        Ok(if never_began { Adopted::NeverBegan } else { Adopted::Ended(end) })
    });
    ended.await?
}

/// A shim ends when the end of its child is on the disk; one that does not has a disk that does not take it.
fn require_end_on_disk(ended: Option<&ExitRecord>, shim: Option<&ProcId>) -> Result<(), RunError> {
    let (Some(_), Some(shim)) = (ended, shim) else { return Ok(()) };
    match proc::wait_gone(shim, LAST_MOMENTS).map_err(RunError::io("cannot wait for a shim"))? {
        true => Ok(()),
        false => Err(RunError::io("how an attempt ended is not written down yet")(ErrorKind::StorageFull.into())),
    }
}

/// A machine that went down may have lost a log that was there: then nothing is known.
fn is_known_not_to_have_begun(orphan: &Orphan) -> Result<bool, RunError> {
    let boot = |process: Option<ProcId>| process.map(|process| process.boot_id);
    let same_boot = boot(orphan.starter.clone()).is_some_and(|then| Some(then) == boot(proc::own()));
    // That its shim was started says nothing: that is on record before the shim opens the log.
    Ok(same_boot && !fs::exists(&orphan.log)?)
}

/// A line to the shim at a door, for one who has no time to listen: it waits for no successor while that is open.
pub fn hold(door: &Path, epoch: u64) -> Option<std::os::unix::net::UnixStream> {
    let mut line = std::os::unix::net::UnixStream::connect(Address::of(door).ok()?.path()).ok()?;
    write_frame(&mut line, &Greeting::of(epoch)).ok()?;
    Some(line)
}

fn talking(error: std::io::Error) -> RunError {
    RunError::io("cannot talk to a shim")(error)
}

fn kill(shim: Option<&ProcId>) -> Result<(), RunError> {
    if let Some(shim) = shim {
        let _gone_or_sent = proc::kill(shim).map_err(RunError::io("cannot end a shim"))?;
    }
    Ok(())
}

fn kill_marked(token: &Token) -> Result<usize, RunError> {
    proc::kill_marked(token).map_err(RunError::io("cannot end what an attempt left behind"))
}

impl AttemptEnd {
    /// What it came to: as its shim said, else as that wrote down, else nobody saw it.
    fn of(followed: Option<ExitRecord>, record: Option<&Path>) -> Result<AttemptEnd, RunError> {
        let crashed = || ExitRecord { stopped: Some(Stopped::Crashed), ..ExitRecord::default() };
        let ended = match followed {
            Some(ended) => ended,
            None => record.map(on_record).transpose()?.flatten().unwrap_or_else(crashed),
        };
        let ExitRecord { exit, signal, stopped, left_behind, network, agent, unanswered } = ended;
        Ok(AttemptEnd { exit, signal, stopped, left_behind, network, agent, unanswered })
    }
}

/// The end that a shim wrote down, if it did.
fn on_record(path: &Path) -> Result<Option<ExitRecord>, RunError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let bytes = fs::read_beneath(directory, name.as_ref(), RECORD_MAX)?;
    // Written whole or not at all: what cannot be read is none of ours.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Knocks at the door of a shim; `None` when nobody is in.
async fn knock(orphan: &Orphan) -> Result<Option<UnixStream>, RunError> {
    let address = match Address::of(&orphan.socket) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        address => address.map_err(talking)?,
    };
    let mut line = match UnixStream::connect(address.path()).await {
        Err(error) if socket::is_deserted(&error) => return Ok(None),
        line => line.map_err(talking)?,
    };
    // One that ends just now has written its record.
    Ok(send_frame(&mut line, &Greeting::of(orphan.epoch)).await.is_ok().then_some(line))
}

/// Listens to a shim until its child has ended; asks it to stop when it has to, and kills it when it does not. `None` when
/// the shim is gone, and with it the child.
async fn follow(
    line: UnixStream,
    Stop { tasks, mut news, mut signs }: Stop<'_>,
    shim: Option<&ProcId>,
    ears: &impl Ears,
) -> Result<Option<ExitRecord>, RunError> {
    let (reports, mut orders) = line.into_split();
    let mut reports = Frames { half: reports, read: Vec::new() };
    let (mut asked, mut killed, mut kill_at, mut heard) = (false, false, None, Signs::default());
    loop {
        tokio::select! {
            report = reports.next() => match report? {
                Some(Report::Started { .. }) => {}
                Some(Report::Health(health)) => ears.health(health),
                Some(Report::Agent(report)) => ears.agent(*report),
                Some(Report::Asks(request)) => {
                    let n = request.n;
                    if let Some(reply) = ears.asked(request) {
                        // A shim that is gone has nobody who waits for it.
                        let _sent = send_frame(&mut orders, &Order::Answer { n, reply }).await;
                    }
                }
                Some(Report::Refused(refusal)) => return Err(LaunchError::from(refusal).into()),
                Some(Report::Ended(record)) => return Ok(Some(record)),
                None if asked => {
                    return Ok(Some(ExitRecord { stopped: Some(Stopped::Asked), signal: Some(9), ..ExitRecord::default() }));
                }
                None => return Ok(None),
            },
            stopped = has_to_stop(&mut news, tasks, asked), if !killed => {
                let grace = if asked { Duration::ZERO } else { GRACE };
                (killed, asked) = (asked || !stopped, true);
                if stopped {
                    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                    let order = if killed { Order::Kill } else { Order::Stop { grace_ms } };
                    // A shim that is gone needs no order.
                    let _sent = send_frame(&mut orders, &order).await;
                    kill_at = Some(Instant::now() + grace + MARGIN);
                }
            }
            signs = has_news(&mut signs, &heard) => {
                for order in orders_between(&heard, &signs) {
                    let _sent = send_frame(&mut orders, &order).await;
                }
                heard = signs;
            }
            () = moment(kill_at) => {
                kill_at = None;
                kill(shim)?;
            }
        }
    }
}

async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
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
