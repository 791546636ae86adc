//! Starting a child: explicit environment, own session, standard input from nowhere, output to pipes.
//! Prepares only: whoever supervises spawns it, owns the pipes and waits for its end.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::level::Granted;

/// A child that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// Whether it shares our standard streams and session (`exec`) or has its own (tasks, gates).
    pub streams: Streams,
}

/// Where a child's streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Standard input from `/dev/null`, output to pipes, a session of its own.
    Own,
    /// Those of the caller: a person looks on.
    Inherited,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is nothing to start.
    #[error("the command is empty")]
    Empty,
    /// The kernel refused.
    #[error("cannot start `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
}

impl Launch {
    /// The command, ready to be spawned by the runtime of the caller. Asking for it takes the proof that the level of
    /// confinement was granted.
    #[expect(clippy::disallowed_methods, reason = "this is the gateway to children")]
    pub fn command(&self, _granted: Granted) -> Result<Command, LaunchError> {
        let (program, args) = self.argv.split_first().ok_or(LaunchError::Empty)?;
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory);
        if self.streams == Streams::Own {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            own_session(&mut command);
        }
        Ok(command)
    }

    /// The error for a spawn that failed.
    pub fn spawn_error(&self, source: io::Error) -> LaunchError {
        LaunchError::Spawn { program: self.argv.first().cloned().unwrap_or_default(), source }
    }
}

#[expect(unsafe_code, reason = "a session of its own can only be made between fork and exec")]
fn own_session(command: &mut Command) {
    let in_child = || nix::unistd::setsid().map(|_| ()).map_err(io::Error::from);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid(2) is one, and the conversion of
    // its error neither allocates nor locks.
    unsafe { command.pre_exec(in_child) };
}
