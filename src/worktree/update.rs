//! Apply: brings a workspace up to its base, by rebase or by merge: a plain one here, a sealed one by [`super::update_sealed`].
//!
//! Everything is made in memory first: a conflict is known before anything is touched, and leaves nothing behind. Then the
//! branch moves by compare-and-swap and the files with it, as in a landing: local changes stay, or nothing moves.

use std::time::Duration;

use serde_json::json;

use super::advance::{Advance, Advanced, advance};
use super::checkouts;
use super::error::{Result, WorktreeError};
use super::index_lock::Obstacle;
use super::merge::{self, Merged, Signature, merge_trees};
use super::quarantine::Quarantine;
use super::replay::{self, Replayed};
use super::repository::Repository;
use super::resume::{Recovered, Resumed, contains, resume};
use super::update_lock;
use super::update_sealed::{self, Finished};
use crate::model::operation::UpdateRecord;
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::model::{BaseReport, CommitId, UpdateBy};
use crate::store::{Entry, EntryDraft, Store};
use crate::sys::{clock, fs, proc};

/// The kind of an update's journal entries; their data is the [`UpdateRecord`].
pub const KIND: &str = "update";

/// What is to be brought in, and how.
#[derive(Clone, Debug)]
pub struct UpdateRequest<'a> {
    /// The workspace.
    pub record: &'a WorkspaceRecord,
    /// Its base as it is now; its commit is what is brought in.
    pub base: &'a BaseReport,
    /// What of its history is not its own work.
    pub foreign: &'a Foreign,
    /// How.
    pub by: UpdateBy,
    /// How long to wait for a lock of git's.
    pub lock_wait: Duration,
}

/// What of a workspace's history is not its own work, as far as it is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Commits of others, with their history. Without any, all that the base lacks is the workspace's own.
    pub commits: Vec<CommitId>,
    /// The base went back behind some of them: they go though it has nothing new.
    pub given_up: bool,
}

impl Foreign {
    /// What is on record as base is not its own.
    pub fn of(record: &WorkspaceRecord) -> Foreign {
        Foreign { commits: vec![record.base.commit.clone()], given_up: false }
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a workspace may be as it was"]
pub enum Updated {
    /// It lacks nothing of its base.
    Already,
    /// Its branch moved, and its files with it.
    Done {
        /// Where the branch was.
        before: CommitId,
        /// Where it is.
        after: CommitId,
    },
    /// Its changes and those of the base do not go together; nothing moved.
    Conflict {
        /// The commit of the workspace that met it.
        commit: CommitId,
        /// The files.
        paths: Vec<String>,
    },
    /// Local changes are in the way; nothing moved.
    InTheWay(Obstacle),
    /// A lock of git's was held for longer than the wait; nothing moved.
    Busy {
        /// The lock file.
        lock: std::path::PathBuf,
    },
    /// The branch moved meanwhile; nothing of this was done.
    Raced,
    /// The branch moved, and the files could not be brought along.
    Behind {
        /// Why.
        message: String,
    },
}

/// Brings the workspace up to its base. What another process does to it at the same moment is waited for.
pub fn update(repo: &Repository, store: &Store, request: &UpdateRequest<'_>) -> Result<Updated> {
    let name = &request.record.name;
    let _one_at_a_time = update_lock::take(repo, name, request.lock_wait)?;
    let record = store.workspace(name)?;
    let record = record.ok_or_else(|| WorktreeError::NotFound { kind: "workspace", name: name.to_string() })?;
    require_present(&record)?;
    let (mut request, foreign) = (request.clone(), Foreign::of(&record));
    if request.record.base != record.base {
        // It was brought up since it was looked at, maybe to something newer.
        if repo.reader().is_ancestor(&request.base.commit, &record.base.commit)? {
            return Ok(Updated::Already);
        }
        request.foreign = &foreign;
    }
    request.record = &record;
    update_record(repo, store, &request)
}

fn update_record(repo: &Repository, store: &Store, request: &UpdateRequest<'_>) -> Result<Updated> {
    if request.record.sealed {
        return update_sealed::update(repo, store, request);
    }
    let before = require_updatable(repo, request.record)?;
    if lacks_nothing(repo, request, &before)? {
        return already(store, request, &before);
    }
    let quarantine = Quarantine::create(repo, &before)?;
    let outcome = match made(&quarantine, repo, request, &before) {
        Ok(Ok(after)) => moved(repo, store, &quarantine, request, &before, after),
        Ok(Err(conflict)) => Ok(conflict),
        Err(error) => Err(error),
    };
    quarantine.discard()?;
    outcome
}

/// True when a commit has all of the base, and nothing that the base has given up.
pub(super) fn lacks_nothing(repo: &Repository, request: &UpdateRequest<'_>, tip: &CommitId) -> Result<bool> {
    Ok(!request.foreign.given_up && repo.reader().is_ancestor(&request.base.commit, tip)?)
}

/// Nothing is to be done; `tip` is where its branch is.
pub(super) fn already(store: &Store, request: &UpdateRequest<'_>, tip: &CommitId) -> Result<Updated> {
    if request.record.base.commit != request.base.commit {
        // It was brought in by hand: what the workspace changed is seen against that from now on.
        store.record_update(&record_of(request, tip, tip), clock::now(), "", None)?;
    }
    Ok(Updated::Already)
}

/// What becomes of a commit that is brought up to the base.
pub(super) fn made(quarantine: &Quarantine, repo: &Repository, request: &UpdateRequest<'_>, before: &CommitId) -> Made {
    match request.by {
        _ if repo.reader().is_ancestor(before, &request.base.commit)? => Ok(Ok(request.base.commit.clone())),
        UpdateBy::Rebase => rebased(quarantine, repo, request, before),
        UpdateBy::Merge => merged(quarantine, repo, request, before),
    }
}

/// The tip of its branch, if the workspace is one that can be brought up to its base now.
fn require_updatable(repo: &Repository, record: &WorkspaceRecord) -> Result<CommitId> {
    let name = &record.name;
    let Some(checkout) = checkouts::at(repo, &record.path)? else {
        return Err(WorktreeError::NotFound { kind: "worktree at", name: record.path.display().to_string() });
    };
    if checkout.branch.as_deref() != Some(record.branch.as_str()) {
        let now = checkout.branch.map_or_else(|| "a detached HEAD".to_owned(), |branch| format!("branch `{branch}`"));
        let message = format!("workspace {name} is on {now}, not on its branch `{}`", record.branch);
        return Err(WorktreeError::refused(message, format!("go back to it: git switch {}", record.branch)));
    }
    let tip = repo.reader().ref_commit(&record.branch.full_ref())?;
    tip.ok_or_else(|| WorktreeError::NotFound { kind: "branch", name: record.branch.to_string() })
}

/// Refuses a workspace that is not there, or not whole.
fn require_present(record: &WorkspaceRecord) -> Result<()> {
    let name = &record.name;
    if record.state != WorkspaceState::Ready {
        return Err(WorktreeError::refused(
            format!("workspace {name} is being made or removed"),
            "see: treehand clean",
        ));
    }
    if !fs::exists(&record.path)? {
        return Err(WorktreeError::NotFound { kind: "workspace any more at", name: record.path.display().to_string() });
    }
    Ok(())
}

/// A commit, or what stands against one.
pub(super) type Made = Result<std::result::Result<CommitId, Updated>>;

/// What the workspace has beyond its base, put on the base's tip. What is not its own is left out also where the base no
/// longer has it: a branch that was amended or forced elsewhere.
fn rebased(quarantine: &Quarantine, repo: &Repository, request: &UpdateRequest<'_>, before: &CommitId) -> Made {
    let onto = &request.base.commit;
    let range = format!("{onto}...{before}");
    let forks = forks(repo, request, before)?;
    let without: Vec<String> = forks.iter().map(|commit| format!("^{commit}")).collect();
    let mut selection = vec!["--no-merges", "--right-only", "--cherry-mark", &range];
    selection.extend(without.iter().map(String::as_str));
    let picks = replay::picks(quarantine, &selection)?;
    Ok(match replay::replay(quarantine, &picks, onto, None)? {
        Replayed::Done(after) => Ok(after),
        Replayed::Conflict { commit, paths } => Err(Updated::Conflict { commit, paths }),
    })
}

fn merged(quarantine: &Quarantine, repo: &Repository, request: &UpdateRequest<'_>, before: &CommitId) -> Made {
    let base = &request.base;
    let rewritten = rewritten(repo, request, before)?;
    let tree = match merge_trees(quarantine, rewritten.as_ref(), before, &base.commit)? {
        Merged::Conflict(paths) => return Ok(Err(Updated::Conflict { commit: before.clone(), paths })),
        Merged::Clean(tree) => tree,
    };
    let message = format!("Merge branch '{}' into {}\n", base.reference, request.record.branch);
    merge::commit_tree(quarantine, &tree, &[before, &base.commit], &message, &Signature::default()).map(Ok)
}

/// Where the workspace's own work begins: what of its history is others'.
fn forks(repo: &Repository, request: &UpdateRequest<'_>, before: &CommitId) -> Result<Vec<CommitId>> {
    let reader = repo.reader();
    let mut forks = Vec::new();
    for commit in &request.foreign.commits {
        if reader.has_commit(commit)? {
            forks.extend(reader.merge_base(before, commit)?);
        }
    }
    Ok(forks)
}

/// The newest of that which the base does not have.
fn rewritten(repo: &Repository, request: &UpdateRequest<'_>, before: &CommitId) -> Result<Option<CommitId>> {
    let reader = repo.reader();
    let mut newest: Option<CommitId> = None;
    for fork in forks(repo, request, before)? {
        let newer = newest.as_ref().map_or(Ok(true), |known| reader.is_ancestor(known, &fork))?;
        if newer && !reader.is_ancestor(&fork, &request.base.commit)? {
            newest = Some(fork);
        }
    }
    Ok(newest)
}

/// What an update leaves out of the workspace that its base does not have either, newest first.
pub fn left_out(repo: &Repository, request: &UpdateRequest<'_>) -> Result<Vec<(CommitId, String)>> {
    let Some(tip) = repo.reader().ref_commit(&request.record.branch.full_ref())? else { return Ok(Vec::new()) };
    let Some(rewritten) = rewritten(repo, request, &tip)? else { return Ok(Vec::new()) };
    let range = format!("{}...{rewritten}", request.base.commit);
    let args = ["log", "--no-show-signature", "--topo-order", "--format=%H %s", "--right-only", "--cherry-pick"];
    let text = repo.bare(args).args(["--no-merges", &range, "--"]).text()?;
    let line = |line: &str| {
        let (commit, subject) = line.split_once(' ')?;
        Some((CommitId::parse(commit).ok()?, subject.to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn moved(
    repo: &Repository,
    store: &Store,
    quarantine: &Quarantine,
    request: &UpdateRequest<'_>,
    before: &CommitId,
    after: CommitId,
) -> Result<Updated> {
    let kept = quarantine.migrate(std::slice::from_ref(&after), &[before.clone(), request.base.commit.clone()])?;
    let record = record_of(request, before, &after);
    let mut data = json!(record);
    data["owner"] = json!(proc::own());
    let intent = store.intend(&EntryDraft::new(KIND, data))?;
    let (by, name) = (request.by, &request.record.name);
    let message = format!("treehand: update {name} by {by}");
    let branch = &request.record.branch;
    let lock_wait = request.lock_wait;
    let advanced = advance(repo, &Advance { branch, from: before, to: &after, message: &message, lock_wait });
    let summary = summary(&record);
    let outcome = match advanced {
        Ok(Advanced::Done) => {
            store.record_update(&record, clock::now(), &summary, Some(&intent))?;
            Ok(Updated::Done { before: before.clone(), after })
        }
        // The intent stays open: it is what recovery completes the files from.
        Ok(Advanced::Behind { message }) => {
            store.record_update(&record, clock::now(), &summary, None)?;
            Ok(Updated::Behind { message })
        }
        not => {
            store.failed(intent, json!({"why": format!("{not:?}")}))?;
            not.map(|advanced| match advanced {
                Advanced::InTheWay(obstacle) => Updated::InTheWay(obstacle),
                Advanced::Busy { lock } => Updated::Busy { lock },
                Advanced::Raced | Advanced::Done | Advanced::Behind { .. } => Updated::Raced,
            })
        }
    };
    kept.release()?;
    outcome
}

/// The line that `log` shows.
pub fn summary(record: &UpdateRecord) -> String {
    format!("updated {} to {} at {}", record.workspace, record.base_after.reference, record.base_after.commit.short())
}

pub(super) fn record_of(request: &UpdateRequest<'_>, before: &CommitId, after: &CommitId) -> UpdateRecord {
    let base_after = BaseReport { ahead: 0, behind: 0, missing: Vec::new(), ..request.base.clone() };
    UpdateRecord {
        workspace: request.record.name.clone(),
        branch: request.record.branch.clone(),
        before: before.clone(),
        after: after.clone(),
        base_before: request.record.base.clone(),
        base_after,
        sealed: None,
    }
}

/// Completes or drops every update whose process is dead: the truth is read again from the repository.
pub fn recover(repo: &Repository, store: &Store) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    for entry in open(store)? {
        let Ok(record) = serde_json::from_value::<UpdateRecord>(entry.data.clone()) else {
            recovered.blocked.push(format!("journal entry {} cannot be read", entry.seq));
            continue;
        };
        let what = format!("update of {}", record.workspace);
        if let Some((before, after)) = update_sealed::states(&record) {
            match update_sealed::finish(repo, store, &record, &before, &after)? {
                Finished::Whole => {
                    store.record_update(&record, clock::now(), &summary(&record), Some(&entry.intent()))?;
                    recovered.settled.push(format!("{what}: completed"));
                }
                Finished::Never => {
                    store.failed(entry.intent(), json!({"why": "its process died, and the branch is elsewhere"}))?;
                    recovered.settled.push(format!("{what}: the branch never moved"));
                }
                Finished::Blocked(why) => recovered.blocked.push(format!("{what}: {why}")),
            }
            continue;
        }
        let (branch, from, to) = (&record.branch, &record.before, &record.after);
        let message = "treehand: update completed";
        match resume(repo, &Advance { branch, from, to, message, lock_wait: Duration::ZERO })? {
            Resumed::Complete => {
                store.record_update(&record, clock::now(), &summary(&record), Some(&entry.intent()))?;
                recovered.settled.push(format!("{what}: completed"));
            }
            Resumed::MovedOn if contains(repo, branch, to)? => {
                store.record_update(&record, clock::now(), &summary(&record), Some(&entry.intent()))?;
                recovered.settled.push(format!("{what}: completed, and the branch has moved on since"));
            }
            Resumed::NotMoved | Resumed::MovedOn => {
                store.failed(entry.intent(), json!({"why": "its process died, and the branch is elsewhere"}))?;
                recovered.settled.push(format!("{what}: the branch never moved"));
            }
            Resumed::InTheWay(obstacle) => {
                recovered.blocked.push(format!("{what}: {}: {}", obstacle.message, obstacle.paths.join(", ")));
            }
            Resumed::Busy { lock } => recovered.blocked.push(format!("{what}: {} is held", lock.display())),
        }
    }
    Ok(recovered)
}

/// Updates that a dead process left open.
pub fn open(store: &Store) -> Result<Vec<Entry>> {
    Ok(store
        .open_intents()?
        .into_iter()
        .filter(|entry| entry.kind == KIND && proc::is_known_dead(entry.owner().as_ref()))
        .collect())
}
