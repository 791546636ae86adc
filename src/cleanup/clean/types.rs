//! What `clean` finds, plans and reports: plain data.
//!
//! The facts are gathered once; the plan is a list of actions that carry what they expect, and of things that stay with the
//! reason. What is printed is the value that is applied.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::cleanup::doomed::DoomedRef;
use crate::cleanup::integration::Verdict;
use crate::cleanup::remove::decide::{DirId, RemovalPlan, RemoveFacts};
use crate::model::record::{RemovedItem, RunRecord, TaskRecord};
use crate::model::{ByteSize, CommitId, Span, Standing, Timestamp, Token, WorkspaceName};
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

/// A workspace of a person, or why it could not be looked at.
#[derive(Clone, Debug)]
pub struct WorkspaceFacts {
    /// What is known.
    pub facts: RemoveFacts,
    /// Who makes or removes it lives.
    pub owner_alive: bool,
    /// When something was last committed or checked out in it, or when it was made.
    pub active_at: Timestamp,
    /// The disk that it would be on is there.
    pub disk_there: bool,
    /// `git worktree add` died in it.
    pub initializing: bool,
    /// The pattern that protects its branch.
    pub protected: Option<String>,
    /// The pull request that needs its branch, in words.
    pub request: Option<String>,
}

/// How a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunStanding {
    /// It is over.
    Over,
    /// It is not over and nobody supervises it.
    Abandoned,
    /// It is supervised, or may be about to be.
    AtWork,
}

/// A run and what is left of it.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The run.
    pub run: RunRecord,
    /// How it stands.
    pub standing: RunStanding,
    /// Its tasks.
    pub tasks: Vec<TaskFacts>,
    /// Its private directory, if there is one.
    pub private: Option<(PathBuf, DirId)>,
}

/// A task and what is left of it.
#[derive(Clone, Debug)]
pub struct TaskFacts {
    /// The task.
    pub task: TaskRecord,
    /// Where its parts are.
    pub paths: SealedPaths,
    /// Its box.
    pub enclosure: Option<DirId>,
    /// Its private dir is there.
    pub private: bool,
    /// Its entry is there.
    pub entry: bool,
    /// Where in its box something is mounted.
    pub mounted: Vec<PathBuf>,
    /// Processes in its box.
    pub processes: Vec<Standing>,
    /// What its attempts started and still lives.
    pub orphans: Vec<OrphanFact>,
    /// Its branch.
    pub branch: Option<TaskBranch>,
    /// The ref that pins its base, and the commit.
    pub pin: Option<(String, CommitId)>,
    /// The disk that its box would be on is there.
    pub disk_there: bool,
}

/// What one attempt started and still lives.
#[derive(Clone, Debug)]
pub struct OrphanFact {
    /// Which attempt.
    pub attempt: u32,
    /// Its mark.
    pub token: Token,
    /// The processes.
    pub processes: Vec<Standing>,
    /// The pid of what holds it, where that lives.
    pub holder: Option<u32>,
    /// This command is one of them, or was started by one.
    pub is_own: bool,
}

/// The branch of a task.
#[derive(Clone, Debug)]
pub struct TaskBranch {
    /// Its full name.
    pub name: String,
    /// Its tip.
    pub tip: CommitId,
    /// A worktree other than the task's own that uses it.
    pub elsewhere: Option<PathBuf>,
    /// The proof that its work is in the run's target, or why there is none.
    pub integrated: Verdict,
    /// The commit that landed it is in the run's target.
    pub landed: Option<CommitId>,
    /// The pattern that protects it.
    pub protected: Option<String>,
}

/// A branch below `treehand/` without a task in the store.
#[derive(Clone, Debug)]
pub struct StrayBranch {
    /// The branch.
    pub branch: TaskBranch,
    /// When its tip was committed.
    pub committed_at: Timestamp,
}

/// A branch of a person's, which no workspace has.
#[derive(Clone, Debug)]
pub struct OwnBranch {
    /// The branch.
    pub branch: TaskBranch,
    /// It has moved since it was made, or was made where no target ever was; where nobody knows, it counts as work.
    pub has_work: bool,
    /// When it moved last, or its tip was committed.
    pub moved_at: Timestamp,
    /// The branch that it is another name of.
    pub alias_of: Option<String>,
    /// Who needs it, in words.
    pub needed_by: Option<String>,
}

/// A branch on a remote.
#[derive(Clone, Debug)]
pub struct RemoteBranchFact {
    /// What would go.
    pub doomed: DoomedRemoteBranch,
    /// The branch, by the name of the ref that tracks it.
    pub branch: TaskBranch,
    /// It has something that its target did not have at some time.
    pub has_work: bool,
    /// When its tip was committed.
    pub committed_at: Timestamp,
    /// Since when it is known that its work has landed.
    pub proven_since: Option<Timestamp>,
    /// The workspace that is on the branch of that name here.
    pub workspace: Option<WorkspaceName>,
    /// Who needs it, in words.
    pub needed_by: Option<String>,
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

/// A directory that may go.
#[derive(Clone, Debug)]
pub struct DirFact {
    /// Where it is.
    pub path: PathBuf,
    /// Which it is.
    pub id: DirId,
    /// When it came there or last changed.
    pub at: Timestamp,
}

/// A directory that may go before its time, when there is too much.
#[derive(Clone, Debug)]
pub struct StoredFact {
    /// The directory.
    pub dir: DirFact,
    /// How much disk it takes, where that was asked for.
    pub bytes: u64,
}

/// A lock file of git's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockFact {
    /// Where it is.
    pub path: PathBuf,
    /// Which it is.
    pub id: DirId,
    /// When it was last written.
    pub at: Timestamp,
    /// Who may hold it, in words.
    pub held_by: Option<String>,
}

/// An entry of ours in git's list of worktrees.
#[derive(Clone, Debug)]
pub struct EntryFact {
    /// Its directory.
    pub dir: DirFact,
    /// The tree that it shows is there.
    pub tree_there: bool,
    /// The disk that the tree would be on is there.
    pub disk_there: bool,
}

/// An intent of a removal that nothing closed.
#[derive(Clone, Debug)]
pub struct OpenIntent {
    /// The intent.
    pub entry: Entry,
    /// What it names.
    pub items: Vec<RemovedItem>,
    /// Who wrote it lives.
    pub owner_alive: bool,
    /// An operation records the same items.
    pub recorded: bool,
}

/// A ref of ours whose time may be over.
#[derive(Clone, Debug)]
pub struct AgedRef {
    /// Its full name.
    pub name: String,
    /// Where it is.
    pub commit: CommitId,
    /// Since when it is kept; `None` when that cannot be told.
    pub since: Option<Timestamp>,
    /// Nothing uses it, whatever its age.
    pub unused: bool,
}

/// Everything that `clean` looks at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Workspaces of people.
    pub workspaces: Vec<WorkspaceFacts>,
    /// What could not be looked at, with the reason.
    pub unreadable: Vec<Kept>,
    /// Runs.
    pub runs: Vec<RunFacts>,
    /// Private directories of runs that are not on record, in which no task has a part.
    pub empty_run_dirs: Vec<DirFact>,
    /// Task branches without a task.
    pub strays: Vec<StrayBranch>,
    /// Branches of people, where they were asked for.
    pub branches: Vec<OwnBranch>,
    /// Branches on remotes, where they were asked for.
    pub remote_branches: Vec<RemoteBranchFact>,
    /// Entries of ours.
    pub entries: Vec<EntryFact>,
    /// Open intents of removals.
    pub intents: Vec<OpenIntent>,
    /// Quarantines.
    pub quarantines: Vec<DirFact>,
    /// `.keep` files of ours, and since when.
    pub keeps: Vec<(PathBuf, Timestamp)>,
    /// Empty directories around workspaces that were removed.
    pub emptied: Vec<DirFact>,
    /// Locks of git's.
    pub locks: Vec<LockFact>,
    /// Logs of runs, with the end of the run.
    pub logs: Vec<StoredFact>,
    /// What is in the trash.
    pub trash: Vec<StoredFact>,
    /// What was saved in bundles.
    pub bundles: Vec<StoredFact>,
    /// Saved, merged and undo refs.
    pub aged: Vec<AgedRef>,
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
