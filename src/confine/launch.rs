//! Starting a child: from what is to run and what it may reach to a policy, and a shim that has it.
//!
//! The one place that starts what a repository brings. Whoever supervises talks to the shim over a socket: the shim
//! owns the child's pipes and its log, and everything of the child ends with it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::environment::SecretError;
use super::granted::Granted;
use super::leaf::{Leaf, Scope};
use super::policy::{Adoption, AgentWatch, Limits, LogPlan, Policy, PolicyError, Streams};
use super::shim::{ExitRecord, Order, Refusal, Report, read_frame, write_frame};
use super::view::{Reach, System};
use super::{descriptor, environment, proxy, view};
use crate::model::health::HealthSpans;
use crate::model::record::ConfineLevel;
use crate::model::{Network, Token, Variable, VariableName};
use crate::sys::{env, interrupt, proc};

/// The argument that makes our own executable a shim.
pub const SHIM: &str = "__shim";

/// A child that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The values in it that are kept out of its log.
    pub secrets: Vec<String>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// Whether it shares our standard streams and session (`exec`) or has its own (tasks, gates).
    pub streams: Streams,
    /// The mark of everything it starts.
    pub token: Token,
    /// What of the file system it reaches.
    pub reach: Reach,
    /// What of the network it reaches.
    pub network: Network,
    /// What it may use up.
    pub limits: Limits,
    /// Where output and end are kept.
    pub log: Option<LogPlan>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long it may say and do nothing.
    pub idle: Option<Duration>,
    /// How long it may say nothing at all after it began.
    pub start_up: Option<Duration>,
    /// When its silence counts; `None` for one that nobody is told of how it is.
    pub health: Option<HealthSpans>,
    /// How it outlives who supervises it.
    pub adoption: Option<Adoption>,
    /// A file whose content is its standard input, for [`Streams::Own`].
    pub input: Option<PathBuf>,
    /// What makes it an agent.
    pub agent: Option<AgentWatch>,
    /// How long it has to end after it was asked to, at most.
    pub grace: Option<Duration>,
    /// A socket that is its standard input and output, for [`Streams::Line`].
    pub line: Option<Arc<OwnedFd>>,
    /// The scope of its run, where it has one: the child gets a cgroup of its own in it.
    pub scope: Option<Arc<Scope>>,
    /// Files that the shim holds open for as long as it lives: locks that are to outlive who supervises it.
    pub held: Vec<Arc<std::fs::File>>,
    /// A descriptor of ours that is left open on purpose: a canary of the self-test.
    pub left_open: Option<i32>,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// What it was to be started with contradicts itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The shim did not start, or its line broke.
    #[error("cannot start a shim for the command")]
    Shim(#[source] io::Error),
    /// The sandbox could not be made.
    #[error("confinement is unavailable: cannot {step}: {text}")]
    Confinement {
        /// The step that failed.
        step: String,
        /// Why.
        text: String,
    },
    /// The program could not be started.
    #[error("cannot {step}: {source}")]
    Program {
        /// What was tried.
        step: String,
        /// Why.
        source: io::Error,
    },
}

impl From<Refusal> for LaunchError {
    fn from(refusal: Refusal) -> LaunchError {
        let Refusal { step, errno, text, program } = refusal;
        if program {
            let source = errno.map_or_else(|| io::Error::other(text), io::Error::from_raw_os_error);
            LaunchError::Program { step, source }
        } else {
            LaunchError::Confinement { step, text }
        }
    }
}

/// A shim that was started.
#[derive(Debug)]
pub struct Shim {
    /// Its process.
    pub process: Child,
    /// The line to it; when it is closed, the shim ends its child.
    pub control: UnixStream,
    /// The cgroup of the child, which is to be ended when the shim is gone.
    pub leaf: Option<Leaf>,
}

impl Launch {
    /// A child with nothing but a command, a directory and a mark.
    pub fn new(argv: Vec<String>, directory: PathBuf, token: Token) -> Launch {
        Launch {
            argv,
            env: Vec::new(),
            secrets: Vec::new(),
            directory,
            streams: Streams::Own,
            token,
            reach: Reach::default(),
            network: Network::None,
            limits: Limits::default(),
            log: None,
            timeout: None,
            idle: None,
            start_up: None,
            health: None,
            adoption: None,
            input: None,
            agent: None,
            grace: None,
            line: None,
            scope: None,
            held: Vec::new(),
            left_open: None,
        }
    }

    /// Gives it variables, in the place of those that it has under these names.
    pub fn set(&mut self, variables: Vec<(String, String)>) {
        for (name, value) in variables {
            self.env.retain(|(known, _)| *known != name);
            self.env.push((name, value));
        }
    }

    /// Gives it what it is named for: variables, and secrets, which are kept out of its log.
    pub fn give(&mut self, variables: &[Variable], secrets: &[VariableName]) -> Result<(), SecretError> {
        let secrets = environment::secrets(secrets)?;
        self.secrets.extend(secrets.iter().map(|(_, value)| value.clone()));
        self.set(environment::passed(variables));
        self.set(secrets);
        Ok(())
    }

    /// The policy that a shim gets, on a machine that has this.
    pub fn policy(&self, level: ConfineLevel, machine: &System) -> Policy {
        let mut policy = Policy::new(level, self.argv.clone(), self.directory.clone(), self.token.clone());
        policy.env.clone_from(&self.env);
        policy.secrets.clone_from(&self.secrets);
        policy.streams = self.streams;
        policy.log.clone_from(&self.log);
        policy.adoption.clone_from(&self.adoption);
        let milliseconds = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        (policy.timeout_ms, policy.idle_ms) = (self.timeout.map(milliseconds), self.idle.map(milliseconds));
        (policy.start_up_ms, policy.health) = (self.start_up.map(milliseconds), self.health);
        (policy.input, policy.agent) = (self.input.clone(), self.agent.clone());
        policy.grace_ms = self.grace.map(milliseconds);
        match level {
            // Nothing confines it; what it leaves and how long it takes is bounded all the same.
            ConfineLevel::Off | ConfineLevel::External => {
                policy.network = Network::Full;
                policy.limits.disk.clone_from(&self.limits.disk);
            }
            ConfineLevel::Strict | ConfineLevel::Landlock => {
                let mut reach = self.reach.clone();
                reach.read.extend(self.agent.iter().map(|agent| agent.endpoint.clone()));
                policy.view = view::compose(machine, &reach);
                policy.private = self.reach.private;
                policy.network.clone_from(&self.network);
                if matches!(self.network, Network::Hosts(_)) {
                    policy.env.extend(proxy::environment());
                }
                policy.limits.clone_from(&self.limits);
            }
        }
        policy
    }

    /// Starts it. Asking for that takes the proof that the level of confinement was granted.
    pub fn start(&self, granted: Granted, machine: &System) -> Result<Shim, LaunchError> {
        if granted.level() == ConfineLevel::Landlock && matches!(self.network, Network::Hosts(_)) {
            let (step, text) =
                ("keep the network to a list", "only `strict` can; choose none or full, or --confine strict");
            return Err(LaunchError::Confinement { step: step.into(), text: text.into() });
        }
        if granted.level() == ConfineLevel::Landlock
            && let Some(hidden) = self.reach.hide.first()
        {
            let step = format!("hide {}", hidden.display());
            let text = "it lies in a directory that is shown, and only `strict` can hide it".into();
            return Err(LaunchError::Confinement { step, text });
        }
        let mut policy = self.policy(granted.level(), machine);
        let leaf = self.scope.as_ref().map(|scope| scope.leaf(&self.token, &policy.limits)).transpose();
        policy.leaf = leaf.map_err(|error| {
            let text = error.to_string();
            LaunchError::Confinement { step: "make a cgroup for the command".into(), text }
        })?;
        match self.start_shim(&policy) {
            Ok((process, control)) => Ok(Shim { process, control, leaf: policy.leaf }),
            Err(error) => {
                policy.leaf.map_or(Ok(0), |leaf| leaf.end()).map_err(LaunchError::Shim)?;
                Err(error)
            }
        }
    }

    fn start_shim(&self, policy: &Policy) -> Result<(Child, UnixStream), LaunchError> {
        let document = descriptor::sealed(&policy.encode()?).map_err(LaunchError::Shim)?;
        let (control, theirs) = UnixStream::pair().map_err(LaunchError::Shim)?;
        let process = self.spawn(document, theirs.into()).map_err(LaunchError::Shim)?;
        Ok((process, control))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the gateway to children: it starts their shim")]
    fn spawn(&self, policy: OwnedFd, control: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(env::self_again()?);
        let held = self.held.iter().map(|file| file.try_clone().map(OwnedFd::from)).collect::<io::Result<Vec<_>>>()?;
        let given = [policy, control].into_iter().chain(held).collect::<Vec<OwnedFd>>();
        command.arg(SHIM).args(given.iter().map(descriptor::number));
        command.env_clear().env(proc::MARK, self.token.as_str());
        if self.adoption.is_none()
            && let Some(run) = env::var(proc::SUPERVISES)
        {
            // It ends with the supervisor, and a successor waits until it has.
            command.env(proc::SUPERVISES, run);
        }
        if self.streams == Streams::Own {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        }
        if let (Streams::Line, Some(line)) = (self.streams, &self.line) {
            command.stdin(line.try_clone()?).stdout(line.try_clone()?).stderr(Stdio::null()).current_dir("/");
        }
        if self.streams == Streams::Narrated {
            command.stdout(rustix::stdio::stderr().try_clone_to_owned()?);
        }
        interrupt::release_in_child(&mut command);
        leave_open(&mut command, given, self.left_open);
        command.spawn()
    }
}

#[expect(unsafe_code, reason = "a descriptor can be left open for one child alone only between fork and exec")]
fn leave_open(command: &mut Command, given: Vec<OwnedFd>, canary: Option<i32>) {
    let in_child = move || {
        canary.map_or(Ok(()), descriptor::leave_number_open)?;
        given.iter().try_for_each(descriptor::leave_open)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; fcntl(2) is one, and the conversion of its
    // error neither allocates nor locks.
    unsafe { command.pre_exec(in_child) };
}

impl Shim {
    /// Waits for what the shim says next; `None` when it is gone.
    pub fn listen(&self) -> io::Result<Option<Report>> {
        read_frame(&self.control)
    }

    /// Gives it an order; one that is gone needs none.
    pub fn order(&self, order: Order) -> io::Result<()> {
        match write_frame(&self.control, &order) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// Waits until the child runs.
    pub fn wait_started(&self) -> Result<(), LaunchError> {
        match self.listen().map_err(LaunchError::Shim)? {
            Some(Report::Started { .. }) => Ok(()),
            Some(Report::Refused(refusal)) => Err(refusal.into()),
            Some(Report::Ended(_) | Report::Health(_) | Report::Agent(_) | Report::Asks(_)) | None => {
                Err(LaunchError::Shim(io::Error::other("it ended at once")))
            }
        }
    }

    /// Waits for the end of the child, and of the shim.
    pub fn wait(self) -> Result<ExitRecord, LaunchError> {
        self.wait_unless(None)
    }

    /// The same, and ends the child when there is something to read from this.
    pub fn wait_unless(mut self, mut asked: Option<BorrowedFd<'_>>) -> Result<ExitRecord, LaunchError> {
        let ended = loop {
            if let Some(other) = asked
                && self.is_after(other).map_err(LaunchError::Shim)?
            {
                self.order(Order::Kill).map_err(LaunchError::Shim)?;
                asked = None;
            }
            match self.listen().map_err(LaunchError::Shim)? {
                Some(Report::Started { .. } | Report::Health(_) | Report::Agent(_) | Report::Asks(_)) => {}
                Some(Report::Refused(refusal)) => break Err(refusal.into()),
                Some(Report::Ended(record)) => break Ok(record),
                None => break Err(LaunchError::Shim(io::Error::other("the shim is gone"))),
            }
        };
        self.process.wait().map_err(LaunchError::Shim)?;
        let left = self.leaf.map_or(Ok(0), |leaf| leaf.end()).map_err(LaunchError::Shim)?;
        ended.map(|record| ExitRecord { left_behind: record.left_behind + left, ..record })
    }

    /// Waits until there is something to read from the shim or from this; true when it is this alone.
    fn is_after(&self, other: BorrowedFd<'_>) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let mut fds = [PollFd::new(&self.control, PollFlags::IN), PollFd::from_borrowed_fd(other, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => return Ok(fds[0].revents().is_empty()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
