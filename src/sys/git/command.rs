//! Starting git: one environment, one version check, deadlines, whole output.
//!
//! Repository-local variables of the caller (`GIT_DIR`, `GIT_INDEX_FILE`, …) never reach git: a hook or an alias that
//! starts treehand must not redirect it. The user's identity, transport and configuration variables do.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::line::{Line, Parts};
use crate::sys::interrupt::release_in_child;
use crate::sys::{aside, proc};

/// The oldest git that treehand is tested with; `merge-tree --write-tree` is what it needs of it.
pub const MINIMUM_VERSION: Version = Version(2, 39, 0);

/// Variables that would redirect git to another repository or change what it prints.
const DROPPED: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_AUTHOR_DATE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMITTER_DATE",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DEFAULT_HASH",
    "GIT_DIFF_OPTS",
    "GIT_DIR",
    "GIT_EDITOR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REFLOG_ACTION",
    "GIT_REPLACE_REF_BASE",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A git version: major, minor, patch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Reads `git version 2.47.3` and the forms that vendors append to it.
    pub fn parse(text: &str) -> Option<Version> {
        let number = text.trim().strip_prefix("git version ")?;
        let mut parts = number.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        Some(Version(parts.next()?, parts.next()?, parts.next().unwrap_or(0)))
    }
}

/// The git of this machine, found once and checked.
#[derive(Clone, Debug)]
pub struct Git {
    version: Version,
    line: Option<Line>,
}

/// Why git did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git, or it does not start.
    #[error("cannot start git")]
    Start(#[source] io::Error),
    /// It is too old.
    #[error("git {found} is too old: treehand needs {MINIMUM_VERSION} or newer")]
    TooOld {
        /// What was found.
        found: Version,
    },
    /// Its version cannot be read.
    #[error("`git --version` printed something else: {0}")]
    NoVersion(String),
    /// It ended with an error.
    #[error("git {command} failed ({status}): {stderr}")]
    Failed {
        /// The subcommand and its arguments, shortened.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said, shortened.
        stderr: String,
    },
    /// It ran out of time and was killed.
    #[error("git {command} did not end within {} ms", .limit.as_millis())]
    Deadline {
        /// The subcommand and its arguments, shortened.
        command: String,
        /// The deadline.
        limit: Duration,
    },
    /// What it was to say is of no use any more, so it was killed.
    #[error("git {command} was called off")]
    CalledOff {
        /// The subcommand and its arguments, shortened.
        command: String,
    },
    /// Its output is not what its documentation says.
    #[error("git {command} printed something unexpected: {output}")]
    Unexpected {
        /// The subcommand.
        command: String,
        /// The output, shortened.
        output: String,
    },
    /// Talking to it failed.
    #[error("cannot talk to git {command}")]
    Io {
        /// The subcommand.
        command: String,
        /// The cause.
        source: io::Error,
    },
}

impl Git {
    /// Finds git and checks its version.
    pub fn open() -> Result<Git, GitError> {
        let unchecked = Git { version: Version(0, 0, 0), line: None };
        let text = unchecked.command(["--version"]).text()?;
        let version = Version::parse(&text).ok_or(GitError::NoVersion(text))?;
        if version < MINIMUM_VERSION {
            return Err(GitError::TooOld { found: version });
        }
        Ok(Git { version, line: None })
    }

    /// The same while it is asked something already that changes nothing. The answer counts only where its version will do.
    pub fn open_beside<T: Send>(ask: impl FnOnce(&Git) -> T + Send) -> Result<(Git, T), GitError> {
        std::thread::scope(|scope| {
            let opened = scope.spawn(Git::open);
            let answer = ask(&Git { version: Version(0, 0, 0), line: None });
            Ok((opened.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, answer))
        })
    }

    /// The same git, started at the other end of a line.
    pub fn through(&self, line: Line) -> Git {
        Git { version: self.version, line: Some(line) }
    }

    /// True when it is started at the other end of a line: no pipe leads there.
    pub fn is_apart(&self) -> bool {
        self.line.is_some()
    }

    /// Which one it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A command without a repository.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        GitCommand::new(self.line.clone()).args(args)
    }

    /// A command on the repository with this git dir and no work tree.
    pub fn bare<S: AsRef<OsStr>>(&self, git_dir: &Path, args: impl IntoIterator<Item = S>) -> GitCommand {
        GitCommand::new(self.line.clone()).env("GIT_DIR", git_dir).args(args)
    }

    /// A command in a work tree with its own git dir.
    pub fn tree<S: AsRef<OsStr>>(&self, git_dir: &Path, tree: &Path, args: impl IntoIterator<Item = S>) -> GitCommand {
        GitCommand::new(self.line.clone()).env("GIT_DIR", git_dir).env("GIT_WORK_TREE", tree).directory(tree).args(args)
    }

    /// A command that git starts from a directory, finding the repository as it does for a person.
    pub fn within<S: AsRef<OsStr>>(&self, directory: &Path, args: impl IntoIterator<Item = S>) -> GitCommand {
        GitCommand::new(self.line.clone()).directory(directory).args(args)
    }
}

/// One start of git, being put together.
#[derive(Debug)]
#[must_use = "nothing happens until it is run"]
pub struct GitCommand {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    deadline: Option<Duration>,
    called_off: Option<Arc<OwnedFd>>,
    hooks: bool,
    line: Option<Line>,
    file: Option<PathBuf>,
}

/// What git printed and how it ended.
#[derive(Debug)]
pub struct GitOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl GitCommand {
    pub(super) fn new(line: Option<Line>) -> Self {
        let (args, env) = (Vec::new(), Vec::new());
        let (directory, stdin, file) = (None, None, None);
        GitCommand { args, env, directory, stdin, deadline: None, called_off: None, hooks: false, line, file }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Lets it run the repository's hooks.
    pub fn with_hooks(mut self) -> Self {
        self.hooks = true;
        self
    }

    /// Sets a variable for git alone.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts git in this directory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// What git reads from standard input (nothing otherwise).
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// What it prints goes to this file, made at the other end of the line where there is one.
    pub fn into_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Kills git, with everything it started, after this long.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Kills git, with everything it started, as soon as there is something to read here. (Not at the other end of a line.)
    pub fn unless(mut self, called_off: Arc<OwnedFd>) -> Self {
        self.called_off = Some(called_off);
        self
    }

    /// How long it may take.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.deadline
    }

    /// True when it is started at the other end of a line.
    pub(super) fn is_apart(&self) -> bool {
        self.line.is_some()
    }

    /// Runs it; any exit status is an answer.
    pub fn output(self) -> Result<GitOutput, GitError> {
        let name = self.name();
        if let Some(line) = &self.line {
            let answer = line.run(self.parts()).map_err(|source| GitError::Io { command: name, source })?;
            let (stdout, stderr) = (answer.stdout, answer.stderr);
            return Ok(GitOutput { status: ExitStatus::from_raw(answer.status), stdout, stderr });
        }
        let mut command = self.build();
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(file) = &self.file {
            let file = std::fs::File::create(file).map_err(|source| GitError::Io { command: name.clone(), source })?;
            command.stdout(file);
        }
        let child = command.spawn().map_err(GitError::Start)?;
        communicate(child, self.stdin, Until { deadline: self.deadline, called_off: self.called_off }, name)
    }

    /// Runs it here with a file as its standard input.
    pub fn output_from(self, input: std::fs::File) -> Result<GitOutput, GitError> {
        let name = self.name();
        let child = self.start_with(input.into()).map_err(GitError::Start)?;
        communicate(child, None, Until { deadline: self.deadline, called_off: self.called_off }, name)
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            args: &self.args,
            env: &self.env,
            directory: self.directory.as_deref(),
            stdin: self.stdin.as_deref(),
            output: self.file.as_deref(),
            deadline: self.deadline,
        }
    }

    /// Runs it; anything but exit 0 is an error.
    pub fn run(self) -> Result<GitOutput, GitError> {
        let name = self.name();
        let output = self.output()?;
        if output.status.success() { Ok(output) } else { Err(output.into_error(name)) }
    }

    /// Runs it and gives its output as text without the last line feed.
    pub fn text(self) -> Result<String, GitError> {
        let output = self.run()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
    }

    /// Asks for a value of the configuration that is true or false, as git reads it; `None` when it is not set.
    pub fn flag(self, key: &str) -> Result<Option<bool>, GitError> {
        let command = self.args(["config", "--type=bool", "--get", key]);
        let name = command.name();
        let output = command.output()?;
        match output.code() {
            0 => Ok(Some(output.stdout.starts_with(b"true"))),
            1 => Ok(None),
            _ => Err(output.into_error(name)),
        }
    }

    /// Runs it for an answer that is one object id.
    pub fn object_id(self) -> Result<crate::model::CommitId, GitError> {
        let command = self.name();
        let text = self.text()?;
        crate::model::CommitId::parse(&text).map_err(|_| GitError::Unexpected { command, output: shorten(&text) })
    }

    /// Starts `self`, feeding its output to `next`, and waits for both: `pack-objects | index-pack`.
    pub fn pipe_into(self, next: GitCommand) -> Result<(GitOutput, GitOutput), GitError> {
        let (first_name, next_name) = (self.name(), next.name());
        let mut first = self.build();
        first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut first = first.spawn().map_err(GitError::Start)?;
        let pipe = first.stdout.take().map(Stdio::from).unwrap_or_else(Stdio::null);
        let second = match next.start_with(pipe) {
            Ok(child) => child,
            Err(error) => {
                kill_group(&mut first).and_then(|()| first.wait()).map_err(GitError::Start)?;
                return Err(GitError::Start(error));
            }
        };
        let until = Until { deadline: self.deadline, called_off: self.called_off };
        let feeder = std::thread::spawn(move || communicate(first, self.stdin, until, first_name));
        let second =
            communicate(second, None, Until { deadline: next.deadline, called_off: next.called_off }, next_name);
        let first = feeder.join().unwrap_or_else(|_| Err(GitError::Start(io::Error::other("a thread panicked"))));
        Ok((first?, second?))
    }

    /// Starts it with this input. The command that holds the pipe's end ends here: as long as it lived, whoever writes into the
    /// pipe would wait for a reader that is gone.
    pub(super) fn start_with(&self, input: Stdio) -> io::Result<Child> {
        let mut command = self.build();
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// The subcommand with its arguments, for messages.
    pub fn name(&self) -> String {
        let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        shorten(&words.join(" "))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the gateway to git")]
    fn build(&self) -> Command {
        let mut command = Command::new("git");
        for name in DROPPED {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_PAGER", "cat")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_MERGE_AUTOEDIT", "no")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env_remove("GIT_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .env_remove("GPG_TTY")
            // A group of its own: a Ctrl-C at the terminal reaches treehand, which then decides; a deadline kills helpers too.
            .process_group(0);
        if !self.hooks {
            command.args(["-c", "core.hooksPath=/dev/null"]);
        }
        command.args(["-c", "core.fsmonitor=false", "-c", "gc.auto=0"]);
        command.args(["-c", "maintenance.auto=false", "-c", "advice.graftFileDeprecated=false"]);
        // What is read back is UTF-8 and nothing else; what is written is what was read.
        command.args(["-c", "i18n.commitEncoding=UTF-8", "-c", "i18n.logOutputEncoding=UTF-8"]);
        command.args(["-c", "log.showSignature=false"]);
        release_in_child(&mut command);
        command.args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// True for the name of a program that is git, or a part of it.
pub fn is_program(name: &str) -> bool {
    name == "git" || name.starts_with("git-")
}

impl GitOutput {
    /// The error that a caller makes of an exit status it cannot use.
    pub fn into_error(self, command: String) -> GitError {
        GitError::Failed { command, status: self.status, stderr: shorten(&String::from_utf8_lossy(&self.stderr)) }
    }

    /// The exit code, or -1 when a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap_or(1))
    }

    /// The non-empty pieces of a NUL-separated answer.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.stdout.split(|b| *b == 0).filter(|record| !record.is_empty())
    }
}

/// How long git may take.
pub(super) struct Until {
    pub(super) deadline: Option<Duration>,
    pub(super) called_off: Option<Arc<OwnedFd>>,
}

fn communicate(mut child: Child, stdin: Option<Vec<u8>>, until: Until, command: String) -> Result<GitOutput, GitError> {
    let fail = |source| GitError::Io { command: command.clone(), source };
    let writer = child.stdin.take().zip(stdin).map(|(mut pipe, bytes)| {
        std::thread::spawn(move || match pipe.write_all(&bytes) {
            // git may know enough before it has read everything; its exit status says whether that was so.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        })
    });
    let (stdout, stderr) = (aside::read_aside(child.stdout.take()), aside::read_aside(child.stderr.take()));
    let ended = until.wait(&child).map_err(fail)?;
    if ended != Ended::ByItself {
        kill_group(&mut child).map_err(fail)?;
    }
    let status = child.wait().map_err(fail)?;
    match ended {
        Ended::ByItself => {}
        Ended::TooLate(limit) => return Err(GitError::Deadline { command, limit }),
        Ended::CalledOff => return Err(GitError::CalledOff { command }),
    }
    // Where it may not take for ever, whom it has left behind with its pipes may not either.
    let joined = if until.deadline.is_some() { aside::joined_soon } else { aside::joined };
    let (stdout, stderr) = (joined(stdout).map_err(fail)?, joined(stderr).map_err(fail)?);
    if let Some(writer) = writer {
        writer.join().unwrap_or_else(|_| Err(io::Error::other("a writer panicked"))).map_err(fail)?;
    }
    Ok(GitOutput { status, stdout, stderr })
}

/// Why git is not waited for any longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ByItself,
    TooLate(Duration),
    CalledOff,
}

impl Until {
    /// Waits for the child where it may have to be ended before it ends.
    pub(super) fn wait(&self, child: &Child) -> io::Result<Ended> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (Some(pid), true) = (pid, self.deadline.is_some() || self.called_off.is_some()) else {
            return Ok(Ended::ByItself);
        };
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let fds = std::iter::once(process.as_fd()).chain(self.called_off.iter().map(|fd| fd.as_fd()));
        Ok(match (proc::first_readable(&fds.collect::<Vec<_>>(), self.deadline)?, self.deadline) {
            (Some(0), _) => Ended::ByItself,
            (None, Some(limit)) => Ended::TooLate(limit),
            _ => Ended::CalledOff,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the child is not reaped yet, so its pid is still its own")]
pub(super) fn kill_group(child: &mut Child) -> io::Result<()> {
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    match nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 600;
    let clean: String = text.trim().chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
    match clean.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_vendor() {
        let check = |text, expected| assert_eq!(Version::parse(text), expected, "{text}");
        check("git version 2.47.3", Some(Version(2, 47, 3)));
        check("git version 2.39.3 (Apple Git-146)\n", Some(Version(2, 39, 3)));
        check("git version 2.50.0.windows.1", Some(Version(2, 50, 0)));
        check("git version 2.46.rc1", Some(Version(2, 46, 0)));
        check("hub version 2", None);
    }

    #[test]
    fn a_git_that_hangs_is_killed_with_its_helpers() {
        let git = Git::open().expect("git is there");
        let started = std::time::Instant::now();
        let hanging =
            git.command(["-c", "alias.hang=!sleep 60 & sleep 60", "hang"]).deadline(Duration::from_millis(300));
        assert!(matches!(hanging.output(), Err(GitError::Deadline { .. })));
        assert!(started.elapsed() < Duration::from_secs(20), "the deadline did not hold");
    }

    #[test]
    fn a_git_that_is_called_off_is_killed_and_one_that_is_not_ends_by_itself() {
        let git = Git::open().expect("git is there");
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let read = Arc::new(read);
        assert!(git.command(["version"]).unless(Arc::clone(&read)).run().is_ok());
        rustix::io::write(&write, b"x").expect("written");
        let hanging = git.command(["-c", "alias.hang=!sleep 60 & sleep 60", "hang"]).unless(read);
        assert!(matches!(hanging.output(), Err(GitError::CalledOff { .. })));
    }

    #[test]
    fn a_writer_whose_reader_has_gone_does_not_wait_for_ever() {
        let git = Git::open().expect("git is there");
        let writer = git.command(["-c", "alias.pour=!yes", "pour"]).deadline(Duration::from_secs(30));
        let (written, read) = writer.pipe_into(git.command(["version"])).expect("both ended, and not by the deadline");
        assert!(read.status.success() && !written.status.success());
    }

    #[test]
    fn the_callers_repository_variables_do_not_reach_git() {
        let git = Git::open().expect("git is there");
        let command = git.command(["status"]).build();
        let removed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(DROPPED.iter().all(|name| removed(name)));
    }
}
