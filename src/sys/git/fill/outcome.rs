//! How the writing of files went, and why it ends before its end.
//!
//! What the disk refuses is refused to git, too; for everything else there is git.

use crate::sys::fs::FsError;
use crate::sys::git::GitError;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "git may have to do it"]
pub enum Fill {
    /// Everything is there.
    Done {
        /// Nothing but objects decided about bytes: no setting, and no attribute in the tree or beside it.
        as_stored: bool,
    },
    /// It was called off.
    CalledOff,
    /// git has to do it, for this reason, over whatever is there already.
    Git(String),
}

/// Why it ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    CalledOff,
    Git(String),
    Failed(FillError),
}

impl Stop {
    /// What the caller is told.
    pub fn into_fill(self) -> Result<Fill, FillError> {
        match self {
            Stop::CalledOff => Ok(Fill::CalledOff),
            Stop::Git(why) => Ok(Fill::Git(why)),
            Stop::Failed(error) => Err(error),
        }
    }
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Stop {
        Stop::Failed(error.into())
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Stop {
        Stop::Failed(error.into())
    }
}

impl From<git2::Error> for Stop {
    fn from(error: git2::Error) -> Stop {
        Stop::Git(error.message().to_owned())
    }
}

/// Why files could not be written by anybody.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// git says so.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The disk says so.
    #[error(transparent)]
    Disk(#[from] FsError),
}
