//! What `clean` plans and reports: plain data.
//!
//! The plan is a list of actions that carry what they expect, and of things that stay with the
//! reason. What is printed is the value that is applied.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::facts::{DirFact, LockFact, UnrecordedBox};
use crate::cleanup::doomed::DoomedRef;
use crate::cleanup::remove::decide::{DirId, RemovalPlan};
use crate::model::operation::RemovedItem;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{ByteSize, CommitId, Span, Timestamp, Token};
use crate::store::Entry;
use crate::worktree::remote_push::RemoteTip;
use crate::worktree::sealed::SealedPaths;

/// What kind of thing it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A workspace of a person or of a task.
    Workspace,
    /// An entry in git's list of worktrees.
    Entry,
    /// A branch or another ref of ours.
    Branch,
    /// A process.
    Process,
    /// A temporary directory.
    Temp,
    /// Something in the trash.
    Trash,
    /// A lock.
    Lock,
    /// Something that treehand keeps for itself.
    State,
}

impl Kind {
    /// Every word that `--only` takes.
    pub const WORDS: [&'static str; 8] =
        ["workspaces", "entries", "branches", "processes", "temp", "trash", "locks", "state"];
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "workspaces" | "workspace" => Self::Workspace,
            "entries" | "entry" => Self::Entry,
            "branches" | "branch" => Self::Branch,
            "processes" | "process" => Self::Process,
            "temp" => Self::Temp,
            "trash" => Self::Trash,
            "locks" | "lock" => Self::Lock,
            "state" => Self::State,
            other => return Err(format!("`{}` is none of {}", other.escape_debug(), Self::WORDS.join(", "))),
        })
    }
}

/// How an action stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not applied.
    Planned,
    /// It is done.
    Done,
    /// Something was not as expected; nothing was touched.
    Skipped,
    /// It went wrong; nothing was lost.
    Failed,
}

/// One thing that goes.
#[derive(Clone, Debug, Serialize)]
pub struct CleanAction {
    /// Its kind.
    pub kind: Kind,
    /// What it is: a workspace's name, `RUN/TASK`, a ref, a path.
    pub item: String,
    /// Why it may go.
    pub proof: String,
    /// What must still be so when it goes.
    pub expect: String,
    /// How it stands.
    pub outcome: Outcome,
    /// Why it was skipped or failed, or what is noteworthy.
    pub reason: Option<String>,
    /// How much disk it takes.
    pub bytes: u64,
    /// Refs that hold what was saved.
    pub salvage: Vec<String>,
    /// What applying it does.
    #[serde(skip)]
    pub step: Step,
}

/// One thing that stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// Its kind.
    pub kind: Kind,
    /// What it is.
    pub item: String,
    /// Why it stays.
    pub reason: String,
}

/// What applying an action does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Removes a workspace of a person.
    Workspace(Box<RemovalPlan>),
    /// Makes a workspace whose removal died before it began an ordinary one again.
    Reset(Box<RemovalPlan>),
    /// Puts back what an interrupted removal took, and closes its intent.
    PutBack {
        /// The intent.
        entry: Box<Entry>,
        /// What it names.
        items: Vec<RemovedItem>,
    },
    /// Closes the intent of a removal that is recorded as an operation.
    Close(Box<Entry>),
    /// Saves what a task's box holds, then takes box, private dir and entry away.
    Task {
        /// Its run.
        run: Box<RunRecord>,
        /// The task.
        task: Box<TaskRecord>,
        /// Where its parts are.
        paths: Box<SealedPaths>,
        /// The box.
        enclosure: Option<DirId>,
        /// Its content may be in no ref.
        salvage: bool,
    },
    /// Saves what a box that is not on record holds, then takes it away with what belongs to it.
    UnrecordedBox {
        /// The box.
        found: Box<UnrecordedBox>,
        /// What it started from.
        base: CommitId,
    },
    /// Ends what an attempt started and nobody owns any more.
    Orphans {
        /// Its run.
        run: Box<RunRecord>,
        /// Its task.
        task: Box<TaskRecord>,
        /// Its mark.
        token: Token,
    },
    /// Takes an entry of git's list away.
    Entry(DirFact),
    /// Takes a ref away.
    Ref(DoomedRef),
    /// Takes a branch of a remote away.
    RemoteBranch(DoomedRemoteBranch),
    /// Takes the private directory of a run away, in which no task has a part left.
    RunDir {
        /// The directory.
        path: PathBuf,
        /// Which it must be.
        id: DirId,
    },
    /// Deletes a ref whose time is over; this is not undone.
    ExpireRef {
        /// Its name.
        name: String,
        /// Where it must be.
        commit: CommitId,
    },
    /// Removes a directory for good.
    ExpireDir(DirFact),
    /// Deletes what was saved in a bundle for good.
    ExpireBundle(DirFact),
    /// Removes a slot for good.
    Slot(PathBuf),
    /// Removes a directory that must be empty.
    EmptyDir(DirFact),
    /// Removes a `.keep` file of ours.
    Unkeep(PathBuf),
    /// Takes a lock away that a git left behind.
    Lock(LockFact),
}

impl Step {
    /// True for what brings something back, or puts a record right, that a dead process left in the middle.
    pub fn ends_what_was_begun(&self) -> bool {
        matches!(self, Step::PutBack { .. } | Step::Reset(_) | Step::Close(_))
    }
}

/// What `clean` may take.
#[derive(Clone, Debug)]
pub struct CleanPolicy {
    /// What is younger stays.
    pub min_age: Duration,
    /// How long trash and saved refs stay.
    pub retention: Duration,
    /// The latest moment that more than one reading of the clock vouches for: what is deleted for good is as old as it says.
    pub proven_now: Timestamp,
    /// How many of each kind of what is kept for a time there may be; as many as there are for 0.
    pub count_max: u64,
    /// How much disk what was removed, and logs, may take.
    pub disk_budget: Option<ByteSize>,
    /// Patterns of branches that are never touched.
    pub protect: Vec<String>,
    /// The template of workspace paths.
    pub template: String,
    /// The moment.
    pub now: Timestamp,
    /// Only these kinds; all if `None`.
    pub only: Option<Vec<Kind>>,
    /// Branches of people, too.
    pub all_branches: bool,
    /// Branches on remotes, too; how long each remote may take to answer.
    pub remote: Option<Duration>,
}

/// What goes and what stays.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CleanPlan {
    /// What goes, in this order.
    pub actions: Vec<CleanAction>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// The template of workspace paths.
    #[serde(skip)]
    pub template: String,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct CleanReport {
    /// Whether the plan was applied.
    pub applied: bool,
    /// What went.
    pub actions: Vec<CleanAction>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// Disk that what went took; what is in the trash takes it until the retention ends.
    pub freed_bytes: u64,
    /// The operation that `undo` takes back, if there is something to take back.
    pub op: Option<i64>,
}

/// A branch of a remote that may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoomedRemoteBranch {
    /// The remote.
    pub remote: String,
    /// The branch there, without `refs/heads/`.
    pub branch: String,
    /// Where it must be.
    pub tip: CommitId,
    /// The branches there that its work was looked for in, and where they must be.
    pub targets: Vec<RemoteTip>,
    /// How long the remote may take to answer.
    pub deadline: Duration,
}

/// An action that is not applied yet.
pub fn action(
    kind: Kind,
    item: impl Into<String>,
    proof: impl Into<String>,
    expect: impl Into<String>,
    step: Step,
) -> CleanAction {
    CleanAction {
        kind,
        item: item.into(),
        proof: proof.into(),
        expect: expect.into(),
        outcome: Outcome::Planned,
        reason: None,
        bytes: 0,
        salvage: Vec::new(),
        step,
    }
}

/// Refuses what is younger than the least age.
pub fn old_enough(since: Timestamp, policy: &CleanPolicy) -> Result<(), String> {
    if policy.now.since(since) >= policy.min_age {
        Ok(())
    } else {
        Err(format!("younger than {}", Span(policy.min_age)))
    }
}
