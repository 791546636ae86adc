//! A child of the shim, in a sandbox or without one, behind one face: started, asked to end, killed, ended.
//! Without a sandbox what it left behind is found by the mark that it carries.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command};

use tokio::io::unix::AsyncFd;

use super::wire::{ExitRecord, Refusal, Report, Stopped};
use crate::confine::leaf::Leaf;
use crate::confine::policy::{LimitKind, Policy};
use crate::model::health::Work;
use crate::model::record::ConfineLevel;
use crate::model::{ProcId, Token};
use crate::sys::proc;

#[cfg(target_os = "linux")]
use crate::confine::sandbox::{self, Message, Sandbox};

/// A child that was started, before there is a runtime to watch it.
pub enum Started {
    /// In a sandbox.
    #[cfg(target_os = "linux")]
    Sandboxed(Sandbox),
    /// Without one.
    Bare(Process),
}

/// A child that runs.
pub enum Child {
    /// In a sandbox: its pid 1, and the line to it.
    #[cfg(target_os = "linux")]
    Sandboxed {
        /// Readable when something was said.
        line: AsyncFd<OwnedFd>,
        /// Pid 1.
        handle: OwnedFd,
        /// Its cgroup.
        leaf: Option<Leaf>,
    },
    /// Without one.
    Bare {
        /// The process.
        process: Process,
        /// Readable when it has ended.
        handle: AsyncFd<OwnedFd>,
        /// Who it is.
        identity: Option<ProcId>,
        /// Its mark.
        token: Token,
        /// Its cgroup.
        leaf: Option<Leaf>,
    },
}

/// Starts the child of a policy. `streams` are its input, output and error; `None` for those of the shim.
pub fn start(policy: &Policy, streams: Option<[OwnedFd; 3]>, ports: &[u16]) -> Result<Started, Refusal> {
    #[cfg(target_os = "linux")]
    if policy.level == ConfineLevel::Strict {
        let made = sandbox::spawn(policy, streams, ports);
        return made.map(Started::Sandboxed).map_err(|error| refusal("make the namespaces", &error, false));
    }
    let _unused = ports;
    adopt_orphans().map_err(|error| refusal("become the parent of what the command leaves behind", &error, false))?;
    let mut command = bare(policy, streams);
    let spawned = command.spawn();
    spawned.map(Started::Bare).map_err(|error| {
        let confinement = policy.level == ConfineLevel::Landlock && error.kind() == io::ErrorKind::Other;
        refusal(&format!("start `{}`", policy.argv[0]), &error, !confinement)
    })
}

/// Whatever a child leaves behind becomes a child of the shim, also when it has shed its mark.
#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// What an error of a step says to who asked for the child.
pub fn refusal(step: &str, error: &io::Error, program: bool) -> Refusal {
    Refusal { step: step.to_owned(), errno: error.raw_os_error(), text: error.to_string(), program }
}

#[expect(clippy::disallowed_methods, reason = "the shim starts what the policy says")]
fn bare(policy: &Policy, streams: Option<[OwnedFd; 3]>) -> Command {
    let mut command = Command::new(&policy.argv[0]);
    command.args(&policy.argv[1..]).env_clear().envs(policy.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(&policy.directory);
    let own = streams.is_some();
    if let Some([input, output, error]) = streams {
        command.stdin(input).stdout(output).stderr(error);
    }
    let policy = policy.clone();
    prepare(&mut command, move || {
        if let Some(leaf) = &policy.leaf {
            leaf.take_us()?;
        }
        if own {
            rustix::process::setsid()?;
        }
        confine(&policy)
    });
    command
}

#[cfg(target_os = "linux")]
fn confine(policy: &Policy) -> io::Result<()> {
    sandbox::close_on_exec_from(3)?;
    if policy.level == ConfineLevel::Landlock { sandbox::enter_fence(policy) } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn confine(_policy: &Policy) -> io::Result<()> {
    Ok(())
}

#[expect(unsafe_code, reason = "a session and a fence of its own can only be made between fork and exec")]
fn prepare(command: &mut Command, in_child: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the shim has one thread when it starts its child, so no lock can be held by another across the fork, and
    // the child may allocate.
    unsafe { command.pre_exec(in_child) };
}

impl Child {
    /// Takes a started child under the runtime's eyes.
    pub fn watch(started: Started, policy: &Policy) -> io::Result<Child> {
        Ok(match started {
            #[cfg(target_os = "linux")]
            Started::Sandboxed(Sandbox { handle, channel, .. }) => {
                rustix::io::ioctl_fionbio(&channel, true)?;
                Child::Sandboxed { line: watched(channel)?, handle, leaf: policy.leaf.clone() }
            }
            Started::Bare(process) => {
                let pid = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
                let pid = pid.ok_or_else(|| io::Error::other("an impossible process id"))?;
                let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)?;
                let identity = proc::identify(process.id());
                let (token, leaf) = (policy.token.clone(), policy.leaf.clone());
                Child::Bare { process, handle: watched(handle)?, identity, token, leaf }
            }
        })
    }

    /// The next thing to report: that it started, that it was not started, or how it ended. A listener that comes out
    /// of the sandbox goes to `listeners`.
    pub async fn next(&mut self, listeners: &mut impl FnMut(u16, OwnedFd)) -> io::Result<Report> {
        match self {
            #[cfg(target_os = "linux")]
            Child::Sandboxed { line, handle, leaf } => loop {
                let said = {
                    let mut ready = line.readable().await?;
                    match ready.try_io(|line| sandbox::receive(line.get_ref().as_fd())) {
                        Ok(said) => said?,
                        Err(_would_block) => continue,
                    }
                };
                match said {
                    Some((Message::Listener { port }, Some(listener))) => listeners(port, listener),
                    Some((Message::Started, _)) => return Ok(Report::Started { process: proc::own() }),
                    Some((Message::Failed { step, errno, text, program }, _)) => {
                        reap(handle)?;
                        return Ok(Report::Refused(Refusal { step, errno, text, program }));
                    }
                    Some((Message::Ended(ended), _)) => {
                        let stopped = ended.passed.map(Stopped::Limit);
                        let sandbox::Ended { exit, signal, left_behind, .. } = ended;
                        reap(handle)?;
                        let record = ExitRecord { exit, signal, stopped, left_behind, ..ExitRecord::default() };
                        return judged(leaf.as_ref(), record);
                    }
                    Some(_) => {}
                    None => {
                        kill_handle(handle)?;
                        reap(handle)?;
                        let record = ExitRecord { signal: Some(libc::SIGKILL), ..ExitRecord::default() };
                        return judged(leaf.as_ref(), record);
                    }
                }
            },
            Child::Bare { process, handle, token, leaf, .. } => {
                let _ended = handle.readable().await?;
                let status = process.wait()?;
                let in_leaf = leaf.as_ref().map_or(Ok(0), Leaf::kill)?;
                let left_behind = in_leaf + proc::kill_marked(token)? + proc::kill_children()?;
                let (exit, signal) = (status.code(), status.signal());
                judged(leaf.as_ref(), ExitRecord { exit, signal, left_behind, ..ExitRecord::default() })
            }
        }
    }

    /// True when a child is running as soon as it is made.
    pub fn runs_already(&self) -> bool {
        matches!(self, Child::Bare { .. })
    }

    /// What it and everything that it started have worked so far.
    pub fn work(&self) -> io::Result<Work> {
        let work = proc::work_below(std::process::id())?;
        // Pid 1 is the sandbox's, and only waits.
        let ours = usize::from(!self.runs_already());
        Ok(Work { processes: work.processes.saturating_sub(ours), ..work })
    }

    /// TERM to the child and its group.
    pub fn ask_to_end(&self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Child::Sandboxed { line, .. } => sandbox::send(line.get_ref(), &Message::Stop, None),
            Child::Bare { identity, process, .. } => match identity {
                Some(identity) if own_group(process) => proc::terminate_group(identity).map(drop),
                Some(identity) => proc::terminate(identity).map(drop),
                None => Ok(()),
            },
        }
    }

    /// KILL to everything of it.
    pub fn kill(&mut self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Child::Sandboxed { handle, .. } => kill_handle(handle),
            Child::Bare { process, identity, leaf, .. } => {
                if own_group(process)
                    && let Some(identity) = identity
                {
                    let _gone_or_sent = proc::kill_group(identity)?;
                }
                if let Some(leaf) = leaf {
                    let _killed = leaf.kill()?;
                }
                process.kill()
            }
        }
    }
}

/// The end of a child, and whether it was its cgroup's limit that ended it. The cgroup goes with it: who supervises may be
/// another by now, and know nothing of it.
fn judged(leaf: Option<&Leaf>, record: ExitRecord) -> io::Result<Report> {
    let beyond = leaf.map_or(Ok(false), Leaf::went_beyond)?;
    let left_behind = record.left_behind + leaf.map_or(Ok(0), Leaf::end)?;
    let record = ExitRecord { left_behind, ..record };
    let stopped = record.stopped.or(beyond.then_some(Stopped::Limit(LimitKind::Memory)));
    Ok(Report::Ended(ExitRecord { stopped, ..record }))
}

#[expect(unsafe_code, reason = "tokio wants a promise about the descriptor that it watches")]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names one open descriptor until it is dropped, and the watch is dropped with it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// True when the child leads a group: ours is not to be signalled.
fn own_group(process: &Process) -> bool {
    let Ok(pid) = i32::try_from(process.id()).map(nix::unistd::Pid::from_raw) else { return false };
    nix::unistd::getpgid(Some(pid)).is_ok_and(|group| group == pid)
}

/// Waits for pid 1: when it is gone, the kernel has ended everything else in the sandbox.
#[cfg(target_os = "linux")]
fn reap(handle: &OwnedFd) -> io::Result<()> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            // It was waited for before.
            Ok(_) | Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "the handle was given by the clone that made this child")]
fn kill_handle(handle: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(handle, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
