//! What can go wrong when something is let go or brought back.
//!
//! A refusal brings its remedy; everything else is the error of the room below.

use crate::store::StoreError;
use crate::sys::fs::FsError;
use crate::sys::git::{GitError, ReadError};
use crate::worktree::WorktreeError;

/// Why something was not removed, saved or brought back.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// A workspace, a ref, a result.
    #[error(transparent)]
    Worktree(#[from] WorktreeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Reading the repository.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A rule or the state of things refuses.
    #[error("{message}")]
    Refused {
        /// What is refused and why.
        message: String,
        /// The remedy.
        hint: Option<String>,
    },
    /// Every operation is undone, or there is none.
    #[error("there is nothing to undo")]
    NothingToUndo,
}

impl CleanupError {
    /// A refusal with its remedy.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        CleanupError::Refused { message: message.into(), hint: Some(hint.into()) }
    }
}

/// The answer of this room's functions.
pub type Result<T> = std::result::Result<T, CleanupError>;
