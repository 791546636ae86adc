//! Scan: what is open, that is, done and not landed: workspaces as they are, tasks at work as they are, and results that wait.
//!
//! What is uncommitted counts like what is committed: it is put into a commit in the quarantine, a plain workspace's through a copy
//! of its index, that of a sealed one or a task as `diff` takes it, confined and beside whatever runs there. What cannot be read is named,
//! and hides nothing else.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use super::names::Owner;
use super::target::{Target, Targets};
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord, WorkspaceState};
use crate::model::{CommitId, TaskState, Timestamp};
use crate::store::Store;
use crate::sys::footprint::footprint;
use crate::sys::git::Reader;
use crate::sys::{at_once, clock, fs};
use crate::worktree::apart::Touch;
use crate::worktree::capture::{self, CaptureRequest};
use crate::worktree::changes::whole_tree;
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::import::{check_connected, receive};
use crate::worktree::index_copy::LookedAt;
use crate::worktree::merge::stand_ins;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::repository::Repository;
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{Identity, SealedPaths};
use crate::worktree::seen::Seen;
use crate::worktree::status::Survey;

/// Most bytes that one look may bring into the quarantine.
const LOOK_MAX: u64 = 20 << 30;

/// How often a look at something that changes meanwhile is begun.
const LOOKS: usize = 3;

/// An open result that nobody has looked at yet.
pub struct Opening {
    /// Whose it is.
    pub owner: Owner,
    /// The commit that landing takes for its base, where that is another one than history says.
    pub base: Option<CommitId>,
    place: Result<Place>,
}

enum Place {
    /// A commit of the repository.
    Commit(CommitId),
    /// A plain worktree.
    Plain(LookedAt),
    /// A sealed one: where it is, where the store is that it borrows from, and the commit that it was made from.
    Sealed(Box<(SealedPaths, PathBuf, CommitId)>),
}

/// Everything open that is meant for a target: workspaces by their names, then tasks in the order of runs and of their files.
pub fn openings(
    repo: &Repository,
    store: &Store,
    survey: &Survey<'_>,
    targets: &mut Targets<'_>,
    (records, target): (&[WorkspaceRecord], &Target),
) -> Result<Vec<Opening>> {
    let mut found = Vec::new();
    for record in records.iter().filter(|record| record.state == WorkspaceState::Ready) {
        if targets.of(record)?.contains(&target.branch) {
            let place = place_of(repo, survey, record);
            found.push(Opening { owner: Owner::Workspace(record.name.clone()), base: None, place });
        }
    }
    found.sort_by(|one, other| name_of(one).cmp(name_of(other)));
    let mut runs = store.runs()?;
    runs.sort_by(|one, other| one.id.cmp(&other.id));
    for run in runs.iter().filter(|run| run.into == target.branch) {
        let mut tasks = store.tasks(&run.id)?;
        tasks.sort_by_key(|task| task.ordinal);
        for task in &tasks {
            found.extend(of_task(repo, survey.reader(), run, (task, &tasks))?);
        }
    }
    Ok(found)
}

fn name_of(opening: &Opening) -> &str {
    match &opening.owner {
        Owner::Workspace(name) => name.as_str(),
        Owner::Task(run, _) => run.as_str(),
    }
}

fn place_of(repo: &Repository, survey: &Survey<'_>, record: &WorkspaceRecord) -> Result<Place> {
    if !fs::exists(&record.path)? {
        let name = record.path.display().to_string();
        return Err(WorktreeError::NotFound { kind: "workspace any more at", name });
    }
    if !record.sealed {
        return survey.looked_at(record).map(Place::Plain);
    }
    let paths = SealedPaths::of_record(repo, record)?;
    let store = paths.private.clone();
    Ok(Place::Sealed(Box::new((paths, store, record.base.commit.clone()))))
}

fn of_task(
    repo: &Repository,
    reader: &Reader,
    run: &RunRecord,
    (task, all): (&TaskRecord, &[TaskRecord]),
) -> Result<Option<Opening>> {
    use TaskState::{Candidate, Captured, NeedsAttention, Rejected, Running, Waiting};
    let base = task.base.as_ref().unwrap_or(&run.base.commit);
    let place = match (task.state, &task.commit) {
        (Captured | Candidate | Rejected | NeedsAttention, Some(commit)) => match reader.has_commit(commit)? {
            true => Ok(Place::Commit(commit.clone())),
            false => Err(WorktreeError::NotFound { kind: "commit any more", name: commit.to_string() }),
        },
        (Running | Waiting, _) if task.workspace.is_some() => {
            let paths = SealedPaths::of_task(repo, &run.template, &run.id, &task.id);
            let store = repo.run_dir(&run.id);
            paths.and_then(|paths| Ok(Place::Sealed(Box::new((paths, store?, base.clone())))))
        }
        _ => return Ok(None),
    };
    // What it needs is in its history. Once all that has landed, perhaps as other commits, only what came after it is new.
    let needed = |other: &&TaskRecord| task.spec.needs.contains(&other.id);
    let mut needs = all.iter().filter(needed).peekable();
    let has_landed = |need: &TaskRecord| matches!(need.state, TaskState::Landed | TaskState::NoChange);
    let counts = needs.peek().is_some() && needs.all(has_landed) && reader.has_commit(base)?;
    let (owner, base) = (Owner::Task(run.id.clone(), task.id.clone()), counts.then(|| base.clone()));
    Ok(Some(Opening { owner, base, place }))
}

/// The commit of each, several looked at at once; or why there is none.
pub fn commits(
    repo: &Repository,
    quarantine: &Quarantine,
    seen: &Seen<'_>,
    openings: &[Opening],
) -> Vec<std::result::Result<CommitId, String>> {
    let look = |opening: &Opening| match &opening.place {
        Ok(place) => commit_of(repo, quarantine, seen, place).map_err(|error| chain(&error)),
        Err(error) => Err(chain(error)),
    };
    let mut found = Vec::with_capacity(openings.len());
    let taken: std::result::Result<(), Infallible> = at_once::each(openings, usize::MAX, look, |_, commit| {
        found.push(commit);
        Ok(())
    });
    match taken {
        Ok(()) => found,
    }
}

fn commit_of(repo: &Repository, quarantine: &Quarantine, seen: &Seen<'_>, place: &Place) -> Result<CommitId> {
    match place {
        Place::Commit(commit) => Ok(commit.clone()),
        Place::Plain(at) => of_plain(repo, quarantine, seen, at),
        Place::Sealed(place) => {
            let (paths, store, base) = &**place;
            let mut looked = of_sealed(repo, quarantine, paths, store, base);
            for _ in 1..LOOKS {
                // What git was just reading may have gone.
                if looked.is_ok() {
                    break;
                }
                looked = of_sealed(repo, quarantine, paths, store, base);
            }
            looked
        }
    }
}

fn of_plain(repo: &Repository, quarantine: &Quarantine, seen: &Seen<'_>, at: &LookedAt) -> Result<CommitId> {
    let head = at.head.as_ref().ok_or(WorktreeError::Unborn)?;
    if seen.dirt(at, &footprint(&at.tree), clock::now())?.is_clean() {
        return Ok(head.clone());
    }
    let tree = whole_tree(repo, quarantine, &at.git_dir, &at.tree)?;
    let made = stand_ins(quarantine, &[(&tree, head)])?;
    Ok(made.into_iter().next().unwrap_or_else(|| head.clone()))
}

fn of_sealed(
    repo: &Repository,
    quarantine: &Quarantine,
    paths: &SealedPaths,
    store: &Path,
    base: &CommitId,
) -> Result<CommitId> {
    let lenders = [RunStore::at(repo, store, base)?.objects()];
    let identity = Identity { name: "treehand".into(), email: "treehand@localhost".into() };
    // At one and the same time, so that the same files are the same commit.
    let (message, touch, at) = ("treehand: work in progress\n", Touch::Nothing, Some(Timestamp(0)));
    let request = CaptureRequest { base, lenders: &lenders, identity: &identity, message, touch, at, leaves: &[] };
    capture::look(repo, paths, &request, |captured| {
        let commit = &captured.commit;
        receive(captured.git(), quarantine, &captured.scratch, commit, Some(base), LOOK_MAX)?;
        check_connected(quarantine, commit, Some(base))?;
        Ok(commit.clone())
    })
}
