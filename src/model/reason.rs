//! Why a task did not land or did not start, as a closed list: each kind has its exit code.
//! A new way to fail is a new kind here first, so that no exit code is forgotten.

use serde::{Deserialize, Serialize};

/// The kinds of reason that a task can end with, other than landing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// Merging met conflicting changes.
    Conflict,
    /// A gate failed on the merged tree.
    Gate,
    /// A rule refused the result (outside `paths`, a crafted object, a nested repository, …).
    Policy,
    /// The base is stale under `block`, or `ff` met a target that moved.
    Stale,
    /// The attempt left nothing that could be taken.
    Empty,
    /// Local changes or an operation in progress stand in the way of the target.
    InTheWay,
    /// A lock was held for longer than the wait.
    Busy,
    /// The attempts failed.
    Failed,
    /// The attempts ran out of time.
    Timeout,
    /// Something that it needs did not end well.
    Skipped,
    /// It was cancelled.
    Cancelled,
    /// A person has to look.
    Attention,
}

impl ReasonKind {
    /// The exit code that a run takes from this kind; `None` when the kind alone decides nothing.
    pub fn exit_code(self) -> Option<u8> {
        match self {
            Self::Conflict => Some(5),
            Self::Gate => Some(7),
            Self::Policy | Self::InTheWay => Some(4),
            Self::Stale => Some(6),
            Self::Busy => Some(8),
            Self::Attention => Some(9),
            Self::Failed | Self::Timeout => Some(1),
            Self::Empty | Self::Skipped => None,
            Self::Cancelled => Some(130),
        }
    }
}

/// Why, for people and for scripts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// The kind.
    pub kind: ReasonKind,
    /// One sentence: lower case, no full stop.
    pub message: String,
    /// The files it is about, as git names them (lossy where not UTF-8).
    #[serde(default)]
    pub paths: Vec<String>,
    /// A log file to read, if there is one.
    #[serde(default)]
    pub log: Option<String>,
}

impl Reason {
    /// A reason without paths or log.
    pub fn new(kind: ReasonKind, message: impl Into<String>) -> Self {
        Reason { kind, message: message.into(), paths: Vec::new(), log: None }
    }

    /// The same reason about these files.
    pub fn with_paths(mut self, paths: Vec<String>) -> Self {
        self.paths = paths;
        self
    }
}
