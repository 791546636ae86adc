//! What `clean` finds: plain data, gathered once by the scans and handed to the decisions.
//!
//! Unknown is never absent: what could not be looked at is in [`Facts::unreadable`], with the reason.

use std::path::PathBuf;

use super::types::{DoomedRemoteBranch, Kept};
use crate::cleanup::integration::Verdict;
use crate::cleanup::remove::decide::{DirId, RemoveFacts};
use crate::model::operation::RemovedItem;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, RunId, Standing, TaskId, Timestamp, Token, WorkspaceName};
use crate::store::Entry;
use crate::worktree::sealed::SealedPaths;

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

/// Whose a sealed box was, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BoxOwner {
    /// A task's.
    Task(RunId, TaskId),
    /// A person's.
    Workspace(WorkspaceName),
}

impl std::fmt::Display for BoxOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(run, task) => write!(f, "{run}/{task}"),
            Self::Workspace(name) => write!(f, "{name}"),
        }
    }
}

/// A sealed box that no record accounts for.
#[derive(Clone, Debug)]
pub struct UnrecordedBox {
    /// Whose it was.
    pub owner: BoxOwner,
    /// Its branch in the repository.
    pub branch: String,
    /// Where its parts are.
    pub paths: SealedPaths,
    /// The directory with what it borrows from.
    pub lender: PathBuf,
    /// What it started from, where that is known.
    pub base: Option<CommitId>,
    /// The box.
    pub enclosure: Option<DirId>,
    /// Its private directory.
    pub private: Option<DirId>,
    /// Its tree, where it says that this is elsewhere.
    pub elsewhere: Option<PathBuf>,
    /// Where in it something is mounted.
    pub mounted: Vec<PathBuf>,
    /// Processes in it.
    pub processes: Vec<Standing>,
    /// The disk that it would be on is there.
    pub disk_there: bool,
    /// When something last changed in it.
    pub changed_at: Timestamp,
}

/// The private directory of a run that is not on record.
#[derive(Clone, Debug)]
pub struct UnrecordedRun {
    /// It.
    pub dir: DirFact,
    /// The boxes of its tasks.
    pub boxes: Vec<UnrecordedBox>,
    /// Why it stays, whatever becomes of the boxes.
    pub kept_by: Option<String>,
    /// Somebody holds the lock of the run.
    pub at_work: bool,
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
    /// Private directories of runs that are not on record.
    pub unrecorded_runs: Vec<UnrecordedRun>,
    /// What is left of sealed workspaces of people that are not on record.
    pub unrecorded: Vec<UnrecordedBox>,
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
    /// Slots that may go, each with the reason.
    pub slots: Vec<(PathBuf, String)>,
    /// Histories that are kept for stores to come, and when each was last of use.
    pub stock: Vec<DirFact>,
    /// What setup steps made and the next workspaces get, likewise.
    pub outputs: Vec<DirFact>,
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
