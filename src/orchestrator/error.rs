//! What can go wrong in a run, as the rooms above tell it apart.
//! An error says what was tried; what of it ends a task and what a run is decided where it is met.

use crate::confine::environment::SecretError;
use crate::store::StoreError;

/// Why a part of a run could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A workspace, a base or a result.
    #[error(transparent)]
    Worktree(#[from] crate::worktree::WorktreeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Confinement at the demanded level.
    #[error(transparent)]
    Unavailable(#[from] crate::confine::Unavailable),
    /// A child did not start.
    #[error(transparent)]
    Launch(#[from] crate::confine::LaunchError),
    /// A secret that is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An agent that nobody knows.
    #[error("there is no agent `{name}`")]
    UnknownAgent {
        /// As it was named.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// None of the agents that a task names is installed.
    #[error("none of the agents of a task is installed: {names}")]
    NoAgent {
        /// Which.
        names: String,
        /// How to get one.
        hint: String,
    },
    /// The program of an agent that is not there.
    #[error("the program of {name} is not there")]
    Missing {
        /// Whose.
        name: String,
        /// How to get it.
        install: String,
    },
    /// Nothing is left of the budget of a run.
    #[error("the budget of the run is used up: {}", part.words())]
    UsedUp {
        /// Of what.
        part: crate::model::agent::BudgetPart,
    },
    /// A profile that cannot be gone by.
    #[error("the profile of the agent `{name}`: {source}")]
    Profile {
        /// Whose.
        name: String,
        /// Why.
        source: crate::agent::profile::ProfileError,
    },
    /// The template of what agents are told.
    #[error("what agents are told (supervise.instructions): {0}")]
    Instructions(#[from] super::template::TemplateFault),
    /// A setup step that did not do its work.
    #[error("{message}")]
    Setup {
        /// Which, and how it ended.
        message: String,
    },
    /// A lock.
    #[error(transparent)]
    Lock(#[from] crate::sys::lock::LockError),
    /// A file.
    #[error(transparent)]
    Fs(#[from] crate::sys::fs::FsError),
    /// A process, a socket, a pipe.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// What was asked for contradicts itself or the repository.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
    },
    /// What was asked for cannot be done with the run as it is.
    #[error("{message}")]
    Refused {
        /// Why not.
        message: String,
    },
    /// A branch moved, and the files of a worktree that has it checked out did not.
    #[error("{message}")]
    Behind {
        /// Which, and why.
        message: String,
    },
    /// The supervisor lives and does not answer.
    #[error("the supervisor of run {run} does not answer: its socket is gone")]
    SupervisorSilent {
        /// The run.
        run: String,
    },
    /// The supervisor is not there.
    #[error("the supervisor of run {run} is dead{detail}")]
    SupervisorDead {
        /// The run.
        run: String,
        /// What is known of its end.
        detail: String,
    },
}

impl RunError {
    /// An error of the operating system, with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunError {
        let what = what.into();
        move |source| RunError::Io { what, source }
    }

    /// A part of the program that panicked instead of answering.
    pub fn panicked(error: tokio::task::JoinError) -> RunError {
        RunError::Io { what: "a part of the supervisor ended by a panic".into(), source: std::io::Error::other(error) }
    }
}
