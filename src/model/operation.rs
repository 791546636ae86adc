//! What the store keeps of operations: what was done, what it takes to take it back, and what that gave.
//! Their JSON form is an on-disk format: a field may be added with a default, never renamed or reused.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{RunRecord, TaskRecord, WorkspaceRecord};
use super::{
    BaseReport, BranchName, CommitId, QueueEntry, Reason, RunId, TaskId, TaskState, Timestamp, Token, WorkspaceName,
};

/// Something treehand did that can be taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its number, growing.
    pub op: i64,
    /// `land`, `update`, `rm`, `clean`, `revert`, `drop`, …
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// One line for people.
    pub summary: String,
    /// It was taken back.
    pub undone: bool,
    /// What `undo` needs.
    pub undo: UndoData,
    /// The name under which its trash and what it saved are (removals only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// Refs that hold what was saved before it (removals only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<String>,
    /// The operation that it took back by a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts: Option<i64>,
    /// How it was taken back; what `redo` needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<TakenBack>,
}

/// How an operation was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// The later it was taken back, the greater.
    pub order: i64,
    /// The newest operation there was then: a newer one means that something else was done since.
    pub newest: i64,
    /// When.
    pub at: Timestamp,
    /// The operation that did so by a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<i64>,
    /// What it put back, and how.
    #[serde(default)]
    pub put_back: PutBack,
}

/// What an undo put back, as far as a redo has to know it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// The branch is gone again that was made for what landed.
    #[serde(default)]
    pub branch_gone: bool,
    /// The directories.
    #[serde(default)]
    pub directories: Vec<PutBackDirectory>,
}

/// A directory that an undo put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBackDirectory {
    /// Where it was before it was removed.
    pub from: PathBuf,
    /// Where it is.
    pub at: PathBuf,
    /// What it looked like; `None` when that could not be told.
    pub print: Option<String>,
}

/// What it takes to take an operation back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum UndoData {
    /// A branch moved.
    Landing {
        /// The branch.
        into: BranchName,
        /// Its tip before.
        before: CommitId,
        /// Its tip after.
        after: CommitId,
        /// The run, when a run landed it.
        run: Option<RunId>,
        /// The task.
        task: Option<TaskId>,
    },
    /// A workspace was brought up to its base.
    Update(Box<UpdateRecord>),
    /// Things were moved to the trash and refs deleted.
    Removal {
        /// What was removed, in order.
        items: Vec<RemovedItem>,
    },
    /// Results were taken out of a queue.
    Dropped {
        /// Each as it was.
        entries: Vec<DroppedEntry>,
        /// Why, as their tasks say it.
        reason: Reason,
    },
}

/// A result that was taken out of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedEntry {
    /// Its number.
    pub number: i64,
    /// The rest of it.
    pub entry: QueueEntry,
}

/// A workspace that was brought up to its base: its branch moved, and another base is on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateRecord {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// Its branch.
    pub branch: BranchName,
    /// The tip of its branch before.
    pub before: CommitId,
    /// Its tip after.
    pub after: CommitId,
    /// The base on record before.
    pub base_before: BaseReport,
    /// The base on record after.
    pub base_after: BaseReport,
    /// Where HEAD was in the workspace and where it is, for a sealed one: its branch has what was uncommitted on top of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedHeads>,
}

/// The HEAD of a sealed workspace before an update and after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedHeads {
    /// Before.
    pub before: CommitId,
    /// After.
    pub after: CommitId,
    /// The name under which its index of before is kept, where that said more than HEAD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Token>,
}

/// What is on record where a result was dropped.
#[derive(Clone, Debug)]
pub struct DroppedNow {
    /// Its run.
    pub run: RunRecord,
    /// Its task.
    pub task: TaskRecord,
    /// What of that is in a queue.
    pub queued: Option<QueueEntry>,
}

impl DroppedNow {
    /// True where its task was rejected as one is that was dropped for this reason, in whatever words.
    pub fn is_rejected_by_hand(&self, reason: &Reason) -> bool {
        self.task.state == TaskState::Rejected && self.task.reason.as_ref().is_some_and(|told| told.kind == reason.kind)
    }
}

impl OperationRecord {
    /// What is said of a commit on a branch that takes it back.
    pub fn taken_back_on(&self, branch: &BranchName) -> String {
        format!("reverted operation {} on {branch}: {}", self.op, self.summary)
    }
}

impl UndoData {
    /// The branch that was moved, where it was and where it was put; `None` for what moved no branch.
    pub fn moved(&self) -> Option<(&BranchName, &CommitId, &CommitId)> {
        match self {
            Self::Landing { into, before, after, .. } => Some((into, before, after)),
            Self::Update(update) => Some((&update.branch, &update.before, &update.after)),
            Self::Removal { .. } | Self::Dropped { .. } => None,
        }
    }
}

/// One thing that a removal took away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum RemovedItem {
    /// A directory, now in the trash.
    Directory {
        /// Where it was.
        from: PathBuf,
        /// Where it is.
        trash: PathBuf,
    },
    /// A ref that was deleted, or the branch that a worktree was on.
    Ref {
        /// Its full name.
        name: String,
        /// Where it pointed.
        commit: CommitId,
        /// What became of it.
        #[serde(default, skip_serializing_if = "RefFate::is_deleted")]
        fate: RefFate,
        /// What went with it (branches only).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traces: Option<Box<BranchTraces>>,
    },
    /// A branch on a remote.
    RemoteBranch {
        /// The remote.
        remote: String,
        /// The branch there, without `refs/heads/`.
        branch: String,
        /// Where it was.
        commit: CommitId,
    },
    /// A record of the store.
    Workspace {
        /// The record as it was.
        record: Box<WorkspaceRecord>,
    },
    /// What the store says of where a task's workspace is.
    TaskWorkspace {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
        /// The box.
        path: PathBuf,
    },
}

/// What a removal did with a ref.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefFate {
    /// It went.
    #[default]
    Deleted,
    /// It stayed: what comes back stands on it, and nothing else had it checked out.
    Kept,
    /// It stayed, and may be checked out elsewhere, too.
    Shared,
}

impl RefFate {
    /// True for one that went.
    pub fn is_deleted(&self) -> bool {
        *self == RefFate::Deleted
    }
}

/// What a repository knows of a branch besides its tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchTraces {
    /// The ref that has its reflog since.
    pub log: String,
    /// Its sections in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<ConfigSection>,
}

/// A section of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSection {
    /// Where it began, in the text without it and what was removed with it.
    pub at: usize,
    /// Its lines, as they were.
    pub text: String,
}
