//! The beginning of a shim: takes its policy, starts the child while there is one thread, then serves it.
//! It is started by `launch` alone, with descriptors whose numbers are its arguments: policy, line, and locks to hold.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::FileType;

use super::child::{self, refusal};
use super::door;
use super::foreground::Foreground;
use super::places::Places;
use super::serve::{Held, serve};
use super::wire::{Refusal, Report, write_frame};
use crate::confine::policy::Streams;
use crate::confine::policy::{POLICY_MAX, Policy};
use crate::confine::{descriptor, ports};
use crate::model::Network;
use crate::model::record::ConfineLevel;
use crate::sys::{fs, proc};

/// Runs a shim; the answer is its own exit code, not the child's.
pub fn main(arguments: &[OsString]) -> u8 {
    match run(arguments) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn run(arguments: &[OsString]) -> io::Result<()> {
    let [policy, control, held @ ..] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let places = Places::held(held.iter().map(adopt).collect::<io::Result<_>>()?)?;
    let (policy, control) = (adopt(policy)?, UnixStream::from(adopt(control)?));
    let foreground = Foreground::look();
    match begin(policy, &control) {
        Ok((policy, Begun { started, pipes, door, endpoint })) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let told = control.try_clone()?;
            let served = runtime.block_on(serve(&policy, Held { started, pipes, control, door, places, endpoint }));
            foreground.into_iter().for_each(Foreground::give_back);
            served.inspect_err(|error| tell(&told, refusal("serve the child", error, false)))
        }
        Err(refusal) => {
            tell(&control, refusal);
            Ok(())
        }
    }
}

/// Who asked may be gone; there is nobody else to tell.
fn tell(control: &UnixStream, refusal: Refusal) {
    let _told = write_frame(control, &Report::Refused(refusal));
}

/// A child that was started, and what comes with it.
struct Begun {
    started: child::Started,
    pipes: Vec<(&'static str, OwnedFd)>,
    door: Option<UnixListener>,
    endpoint: Option<UnixListener>,
}

fn begin(policy: OwnedFd, control: &UnixStream) -> Result<(Policy, Begun), Refusal> {
    let policy = read(policy).map_err(|error| refusal("read the policy", &error, false))?;
    let door = policy.adoption.as_ref().map(|adoption| door::open(&adoption.socket)).transpose();
    let door = door.map_err(|error| refusal("listen for a successor of the supervisor", &error, false))?;
    if door.is_some() {
        // A successor that found no door yet takes this attempt for one that never began: then it must not begin.
        require_supervisor(control).map_err(|error| refusal("begin", &error, false))?;
    }
    if let Some(log) = &policy.log {
        // There from before the child begins: without it, a child never began.
        fs::open_log(&log.output).map_err(|error| refusal("open the log", &error.source, false))?;
    }
    // There before the child begins: what is shown to it has to be.
    let endpoint = policy.agent.as_ref().map(|agent| door::open(&agent.endpoint)).transpose();
    let endpoint = endpoint.map_err(|error| refusal("listen for what the agent asks for", &error, false))?;
    let prepared = prepare(&policy).map_err(|error| refusal("prepare the streams", &error, false))?;
    let (streams, pipes) = prepared;
    let ports = ports::of(&policy.network);
    let started = child::start(&policy, streams, &ports)?;
    Ok((policy, Begun { started, pipes, door, endpoint }))
}

/// An error when who started this is gone already.
fn require_supervisor(control: &UnixStream) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut line = [PollFd::new(control, PollFlags::empty())];
    poll(&mut line, Some(&Timespec::default()))?;
    if line[0].revents().contains(PollFlags::HUP) {
        return Err(io::Error::other("the supervisor is gone"));
    }
    Ok(())
}

fn adopt(number: &OsString) -> io::Result<OwnedFd> {
    let number = number.to_str().and_then(|number| number.parse().ok());
    descriptor::adopt(number.ok_or(io::ErrorKind::InvalidInput)?)
}

fn read(policy: OwnedFd) -> io::Result<Policy> {
    let mut text = Vec::new();
    std::fs::File::from(policy).take(POLICY_MAX).read_to_end(&mut text)?;
    Policy::decode(&text).map_err(io::Error::other)
}

/// What is handed in as a standard stream and would be a way out: a directory, past every mount to what is beside it and below;
/// a socket, which keeps the network that it was made in and can be connected anew.
fn refuse_ways_out(network: &Network) -> io::Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (stream, name) in streams.into_iter().zip(["input", "output", "error"]) {
        // One that is closed leads nowhere.
        let Ok(stat) = rustix::fs::fstat(stream) else { continue };
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => "a directory, which leads out of the workspace",
            FileType::Socket if *network != Network::Full && !is_line(stream)? => {
                "a socket, which leads out of the sandbox's network"
            }
            _ => continue,
        };
        return Err(io::Error::other(format!("the standard {name} is {what}")));
    }
    Ok(())
}

/// True for one end of a connection between two programs of this machine: it stays that.
fn is_line(socket: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};
    let local = sockopt::socket_domain(socket)? == AddressFamily::UNIX;
    let stays = [SocketType::STREAM, SocketType::SEQPACKET].contains(&sockopt::socket_type(socket)?);
    Ok(local && stays && getpeername(socket).is_ok())
}

type Prepared = (Option<[OwnedFd; 3]>, Vec<(&'static str, OwnedFd)>);

/// A session and pipes of its own for a child whose output is kept; for one that a person looks at, their terminal.
fn prepare(policy: &Policy) -> io::Result<Prepared> {
    descriptor::ignore_terminal()?;
    if matches!(policy.streams, Streams::Inherited | Streams::Narrated) {
        if matches!(policy.level, ConfineLevel::Strict | ConfineLevel::Landlock) {
            refuse_ways_out(&policy.network)?;
        }
        return Ok((None, Vec::new()));
    }
    proc::leave_session()?;
    if policy.streams == Streams::Line {
        return Ok((None, Vec::new()));
    }
    let nothing = Path::new("/dev/null");
    let input = std::fs::File::open(policy.input.as_deref().unwrap_or(nothing))?;
    let (output, their_output) = io::pipe()?;
    let (error, their_error) = io::pipe()?;
    let streams = [input.into(), their_output.into(), their_error.into()];
    Ok((Some(streams), vec![("stdout", output.into()), ("stderr", error.into())]))
}
