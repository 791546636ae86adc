//! What can go wrong with workspaces, as callers tell it apart: each kind has one exit code on the command line.
//! An error names the object and what is wrong; a refusal brings its remedy.

use std::path::PathBuf;

use crate::model::Freshness;
use crate::model::names::NameError;
use crate::store::StoreError;
use crate::sys::fs::FsError;
use crate::sys::git::fill::FillError;
use crate::sys::git::{GitError, ReadError};
use crate::sys::lock::LockError;

impl From<FillError> for WorktreeError {
    fn from(error: FillError) -> WorktreeError {
        match error {
            FillError::Git(error) => error.into(),
            FillError::Disk(error) => error.into(),
        }
    }
}

/// Why something with a workspace, a base or a result did not work.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// Not inside a repository.
    #[error("{} is not inside a git repository: {detail}", .path.display())]
    NoRepository {
        /// Where one was looked for.
        path: PathBuf,
        /// What git says.
        detail: String,
    },
    /// A ref, branch, remote or workspace that is not there.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// `ref`, `workspace`, …
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The repository has no commit yet.
    #[error("the repository has no commit yet")]
    Unborn,
    /// A rule or the state of things refuses.
    #[error("{message}")]
    Refused {
        /// What is refused and why.
        message: String,
        /// The remedy.
        hint: Option<String>,
    },
    /// The base is not fresh enough for the policy.
    #[error("{message}")]
    NotFresh {
        /// How it stands.
        freshness: Freshness,
        /// The sentence.
        message: String,
    },
    /// Something is held by somebody.
    #[error("{what} is busy: {holder}")]
    Busy {
        /// What.
        what: String,
        /// By whom.
        holder: String,
    },
    /// A lock of git's was held for longer than the patience.
    #[error("{} is held by another git process", .lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// Two sides do not go together.
    #[error("{message}")]
    Conflict {
        /// Which, and where.
        message: String,
        /// The files.
        paths: Vec<String>,
    },
    /// A signal asked to stop; what was half made is unmade.
    #[error("interrupted: the workspace was not made")]
    Interrupted {
        /// The signal's number.
        signal: u32,
    },
    /// What an agent left cannot be taken.
    #[error("{message}")]
    BadResult {
        /// What is wrong with it.
        message: String,
        /// The files it is about.
        paths: Vec<String>,
    },
    /// The user has commits signed, and this one could not be.
    #[error("the commit could not be signed: {cause}")]
    Unsigned {
        /// What git and the signing program say.
        cause: String,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Reading the repository failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be used.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A lock could not be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Signals could not be held back.
    #[error("cannot hold back signals")]
    Signals(#[source] std::io::Error),
    /// The kernel gave no randomness.
    #[error("the kernel gave no random bytes")]
    Random(#[source] std::io::Error),
    /// A sandbox for git could not be had.
    #[error(transparent)]
    Launch(#[from] crate::confine::LaunchError),
    /// A secret that is not there.
    #[error(transparent)]
    Secret(#[from] crate::confine::environment::SecretError),
    /// Our own program does not start.
    #[error("cannot start treehand in the background")]
    Program(#[source] std::io::Error),
    /// The system refused something.
    #[error("cannot start git in a sandbox")]
    Apart(#[source] std::io::Error),
}

impl WorktreeError {
    /// A refusal with its remedy.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        WorktreeError::Refused { message: message.into(), hint: Some(hint.into()) }
    }

    /// There is no place for what treehand keeps for a user.
    pub fn no_home() -> Self {
        WorktreeError::refused("neither HOME nor XDG_STATE_HOME is set", "set HOME to a directory you can write to")
    }
}

/// The answer of this room's functions.
pub type Result<T> = std::result::Result<T, WorktreeError>;
