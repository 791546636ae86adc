//! Process 1 of a sandbox: makes it from inside, starts the program, and takes everything with it when it ends.
//!
//! The kernel kills every process of a pid namespace when its first process is gone. So whatever ends this one (the
//! program's end, the shim's, a signal), nothing of the child is left running anywhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::{self, Ended, Message};
use super::target::{self, Failure};
use super::watch::Watch;
use super::{network, raw, root};
use crate::confine::policy::Policy;
use crate::model::Network;

/// What pid 1 gets from the shim.
pub struct Start<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The line to the shim.
    pub channel: OwnedFd,
    /// Standard input, output and error of the program; `None` for our own.
    pub streams: Option<[OwnedFd; 3]>,
    /// Ports on the loopback interface inside that the shim serves.
    pub ports: &'a [u16],
    /// Our user and group outside.
    pub owner: (u32, u32),
}

/// Lives the life of process 1; never comes back.
pub fn live(start: Start<'_>) -> ! {
    let code = match run(&start) {
        Ok(()) => 0,
        Err(failure) => {
            report(&start.channel, &failure);
            1
        }
    };
    raw::exit_now(code)
}

fn report(channel: impl AsFd, failure: &Failure) {
    let message = Message::Failed {
        step: failure.step.clone(),
        errno: failure.error.raw_os_error(),
        text: failure.error.to_string(),
        program: failure.program,
    };
    // Without the shim there is nobody to tell.
    let _told = channel::send(channel, &message, None);
}

fn failed(step: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let step = step.into();
    move |error| Failure { step, error, program: false }
}

fn run(start: &Start<'_>) -> Result<(), Failure> {
    let Start { policy, channel, .. } = start;
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill).map_err(|e| failed("follow the shim")(e.into()))?;
    if policy.leaf.is_some() {
        raw::hide_cgroups().map_err(failed("make the namespaces"))?;
    }
    map_owner(start.owner).map_err(failed("map the user"))?;
    bound_processes(policy, start.owner.0)?;
    let shared = policy.limits.memory.map_or(1 << 30, |memory| memory / 4);
    root::make(policy, shared).map_err(|(step, error)| failed(step)(error))?;
    if policy.network != Network::Full {
        network::up().map_err(failed("bring the loopback interface up"))?;
        for port in start.ports {
            let listener = network::listener(*port).map_err(failed(format!("listen on port {port} inside")))?;
            channel::send(channel, &Message::Listener { port: *port }, Some(&listener))
                .map_err(failed("hand a listener out"))?;
        }
    }
    name_host().map_err(failed("name the host"))?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&children), None).map_err(|e| failed("block signals")(e.into()))?;
    let deaths = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let deaths = deaths.map_err(|error| failed("watch children")(error.into()))?;
    let (failures, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| failed("make a pipe")(error.into()))?;
    let program = match raw::fork().map_err(failed("start a process"))? {
        None => become_program(start, told),
        Some(program) => Pid::from_raw(program.as_raw_nonzero().get()),
    };
    drop(told);
    confirm(channel, failures)?;
    supervise(start, program, &deaths)
}

/// In the child of pid 1.
fn become_program(start: &Start<'_>, told: OwnedFd) -> ! {
    let streams = || -> io::Result<()> {
        if let Some([input, output, error]) = &start.streams {
            rustix::process::setsid()?;
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(error)?;
        }
        Ok(())
    };
    let failure = match streams() {
        Ok(()) => target::become_program(start.policy),
        Err(error) => failed("take the streams")(error),
    };
    let message = Message::Failed {
        step: failure.step,
        errno: failure.error.raw_os_error(),
        text: failure.error.to_string(),
        program: failure.program,
    };
    let text = serde_json::to_vec(&message).unwrap_or_default();
    // Pid 1 learns of a program that did not start from the end of the pipe as well.
    let _written = rustix::io::write(&told, &text);
    raw::exit_now(127)
}

/// Waits until the program runs or says why it does not.
fn confirm(channel: &OwnedFd, failures: OwnedFd) -> Result<(), Failure> {
    let mut said = Vec::new();
    let mut pipe = std::fs::File::from(failures);
    io::Read::read_to_end(&mut pipe, &mut said).map_err(failed("hear of the program"))?;
    let message = if said.is_empty() {
        Message::Started
    } else {
        serde_json::from_slice(&said).map_err(|error| failed("hear of the program")(error.into()))?
    };
    channel::send(channel, &message, None).map_err(failed("tell the shim"))?;
    if said.is_empty() { Ok(()) } else { raw::exit_now(127) }
}

/// Reaps, listens, and looks after the limits, until the program has ended or the shim is gone.
fn supervise(start: &Start<'_>, program: Pid, deaths: &SignalFd) -> Result<(), Failure> {
    let Start { policy, channel, .. } = start;
    let mut watch = Watch::new(policy);
    let mut ended = Ended::default();
    loop {
        let mut watched = vec![PollFd::new(channel, PollFlags::IN), PollFd::new(deaths, PollFlags::IN)];
        watched.extend(watch.ends().map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
        let wait = watch.next_look().filter(|_| ended.passed.is_none()).and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut watched, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("wait for the program")(error.into())),
        }
        if !watched[0].revents().is_empty() {
            match channel::receive(channel) {
                Ok(Some((Message::Stop, _))) => ask_to_end(program),
                Ok(Some(_)) => {}
                // The shim is gone, or nonsense: with this process everything goes.
                Ok(None) | Err(_) => raw::exit_now(0),
            }
        }
        if watched[2..].iter().any(|end| !end.revents().is_empty()) {
            watch.stir();
        }
        while deaths.read_signal().is_ok_and(|signal| signal.is_some()) {}
        if let Some(status) = reap(program) {
            ended = Ended { passed: ended.passed, ..status };
            ended.left_behind = end_all();
            channel::send(channel, &Message::Ended(ended), None).map_err(failed("tell the shim"))?;
            return Ok(());
        }
        if ended.passed.is_none() {
            ended.passed = watch.look();
            if ended.passed.is_some() {
                kill(program, Signal::SIGKILL);
            }
        }
    }
}

/// Takes the ends of children that are there to be taken; answers with the program's.
fn reap(program: Pid) -> Option<Ended> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => {
                found = Some(Ended { exit: Some(code), ..Ended::default() });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                found = Some(Ended { signal: Some(signal as i32), ..Ended::default() });
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

/// Kills whatever is left and waits for its end; the answer is how many there were.
fn end_all() -> usize {
    let mut count = 0;
    kill(Pid::from_raw(-1), Signal::SIGKILL);
    while let Ok(status) = waitpid(None, None) {
        if status.pid().is_some() {
            count += 1;
        }
        kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
    count
}

/// TERM to the program's group, and to the program itself where it made another group.
fn ask_to_end(program: Pid) {
    kill(Pid::from_raw(-program.as_raw()), Signal::SIGTERM);
    kill(program, Signal::SIGTERM);
}

#[expect(clippy::disallowed_methods, reason = "in the sandbox's own pid namespace there are only its own processes")]
fn kill(pid: Pid, signal: Signal) {
    // A process that is gone already is what was wanted.
    let _sent = nix::sys::signal::kill(pid, signal);
}

/// The user and group that we are, under the same numbers, so that files belong to whom they did.
fn map_owner((user, group): (u32, u32)) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn name_host() -> io::Result<()> {
    Ok(rustix::system::sethostname(b"sandbox")?)
}

/// The kernel does not count the processes of its root: there the pid namespace itself has to be too small for more.
/// Up to Linux 6.13 the setting is the whole machine's, and must not be touched. A cgroup counts everybody's.
fn bound_processes(policy: &Policy, user: u32) -> Result<(), Failure> {
    let kept = policy.leaf.as_ref().is_some_and(|leaf| leaf.processes);
    let Some(limit) = policy.limits.processes.filter(|_| user == 0 && !kept) else { return Ok(()) };
    let what = "limit processes (as root only kernel.pid_max of a pid namespace does, Linux 6.14 and later)";
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if kernel_version(&release) < Some((6, 14)) {
        return Err(failed(what)(io::Error::from_raw_os_error(libc::EOPNOTSUPP)));
    }
    if limit < LEAST_PIDS {
        let error = io::Error::other(format!("no limit below {LEAST_PIDS} can be kept for root"));
        return Err(failed(what)(error));
    }
    std::fs::write("/proc/sys/kernel/pid_max", limit.to_string()).map_err(failed(what))
}

/// The kernel keeps as many for itself.
const LEAST_PIDS: u64 = 301;

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
