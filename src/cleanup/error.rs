//! What can go wrong when things are removed or brought back.
//!
//! A refusal is not a failure: it names what stands in the way and the remedy. Errors of other rooms pass through whole.

use crate::store::StoreError;
use crate::sys::fs::FsError;
use crate::sys::git::{GitError, ReadError};
use crate::sys::lock::LockError;
use crate::worktree::WorktreeError;

/// Why something was not removed or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// A workspace, a ref or a result.
    #[error(transparent)]
    Worktree(#[from] WorktreeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file or directory.
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
    /// No operation is left that could be taken back.
    #[error("there is nothing to undo")]
    NothingToUndo,
    /// No operation was taken back that could be made again.
    #[error("there is nothing to redo")]
    NothingToRedo,
}

/// The answer of this room's functions.
pub type Result<T> = std::result::Result<T, CleanupError>;

impl CleanupError {
    /// A refusal with its remedy.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        CleanupError::Refused { message: message.into(), hint: Some(hint.into()) }
    }
}

impl From<ReadError> for CleanupError {
    fn from(error: ReadError) -> Self {
        CleanupError::Worktree(error.into())
    }
}

impl From<LockError> for CleanupError {
    fn from(error: LockError) -> Self {
        CleanupError::Worktree(error.into())
    }
}
