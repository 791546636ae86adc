//! The queue of a branch: what waits to land on it, in which order, and why something of it does not: plain data.
//! Who may land when is decided by `orchestrator::queue`.

use serde::{Deserialize, Serialize};

use super::{BranchName, CommitId, ProcId, Reason, RunId, Span, TaskId, Timestamp};

/// A result that waits to land: this commit and no later one of its task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its number, in the order of submission.
    #[serde(skip)]
    pub number: i64,
    /// The branch it is to land on.
    pub target: BranchName,
    /// The run that it is a result of.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// What it started from.
    pub base: CommitId,
    /// The result.
    pub commit: CommitId,
    /// Tasks of its run that land before it.
    pub needs: Vec<TaskId>,
    /// A digest of what its gates are, and of all that they are run with: what has the same is judged together.
    pub terms: String,
    /// What is higher lands first.
    #[serde(default)]
    pub priority: i64,
    /// When it came.
    pub submitted_at: Timestamp,
    /// Who waits for it, and lands it or has it landed.
    pub owner: Option<ProcId>,
    /// Why a person holds it back.
    #[serde(default)]
    pub held: Option<String>,
    /// Since when it is judged.
    #[serde(default)]
    pub judged_since: Option<Timestamp>,
    /// Why it does not land; its owner acts on it.
    #[serde(default)]
    pub refused: Option<Reason>,
}

impl QueueEntry {
    /// How it is called: `RUN/TASK`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.run, self.task)
    }
}

/// The branch of a remote on which results land, too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PushTarget {
    /// The remote.
    pub remote: String,
    /// The branch there, without `refs/heads/`.
    pub branch: String,
    /// How long the remote may take to answer.
    pub deadline: Span,
}

impl std::fmt::Display for PushTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.remote, self.branch)
    }
}

/// That nothing lands on a branch for now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueuePause {
    /// The branch.
    pub target: BranchName,
    /// Why; may be empty.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl std::fmt::Display for QueuePause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing lands on {} for now", self.target)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}
