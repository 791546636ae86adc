//! Scan: whether what an undo put back is still what it was, so that it may be removed again.
//!
//! Looks and changes nothing. What changed is named; what cannot be told counts as changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::print::{changed_since, print};
use super::remote_back::Answers;
use crate::cleanup::error::Result;
use crate::cleanup::salvage;
use crate::model::operation::{OperationRecord, PutBackDirectory, RemovedItem, TakenBack};
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::store::{Store, StoreError};
use crate::sys::standing::Processes;
use crate::sys::{fs, proc};
use crate::worktree::{Repository, checkouts};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Again {
    /// Where each directory is now, by where it was.
    pub places: BTreeMap<PathBuf, PathBuf>,
    /// Everything that keeps these from going, in sentences.
    pub obstacles: Vec<String>,
}

/// Looks at these items of an operation that was taken back; `all` are those that go together, some of them perhaps gone, and
/// `stamp` is the one under which they go, perhaps in part already.
pub fn look(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    items: &[RemovedItem],
    all: &[RemovedItem],
    stamp: &str,
) -> Result<Again> {
    let mut again = Again::default();
    let Some(how) = &operation.taken_back else {
        again.obstacles.push("how it was undone is not on record".into());
        return Ok(again);
    };
    let (processes, mut answers) = (Processes::scan()?, Answers::new(repo));
    for item in items {
        let found = match item {
            RemovedItem::Directory { from, .. } => directory(repo, how, from, &processes, &mut again.places)?,
            RemovedItem::Ref { name, commit, fate, .. } => match repo.reader().ref_commit(name)? {
                Some(now) if now == *commit && !fate.is_deleted() => None,
                Some(now) if now == *commit => in_use(repo, name, all)?,
                Some(now) => Some(format!("{name} is at {} now", now.short())),
                None => Some(format!("{name} is gone")),
            },
            RemovedItem::RemoteBranch { remote, branch, commit } => match answers.tip(remote, branch)? {
                Some(now) if now == *commit => in_use(repo, &format!("refs/heads/{branch}"), all)?,
                Some(now) => Some(format!("the branch `{branch}` on {remote} is at {} now", now.short())),
                None => Some(format!("the branch `{branch}` on {remote} is gone")),
            },
            RemovedItem::Workspace { record } => match store.workspace(&record.name)? {
                Some(now) if now == **record || is_claimed(&now, record) => None,
                Some(_) => Some(format!("the workspace `{}` has changed", record.name)),
                None => Some(format!("the workspace `{}` is gone", record.name)),
            },
            RemovedItem::TaskWorkspace { run, task, path } => match store.task(run, task) {
                Ok(now) if now.workspace.as_ref() == Some(path) => None,
                Ok(_) | Err(StoreError::NotFound { .. }) => {
                    Some(format!("the workspace of {run}/{task} is another one"))
                }
                Err(error) => return Err(error.into()),
            },
        };
        again.obstacles.extend(found);
    }
    again.obstacles.extend(unsaved(repo, operation, stamp)?);
    Ok(again)
}

/// True for a workspace whose removal, again, a process began and did not live to finish.
fn is_claimed(now: &WorkspaceRecord, record: &WorkspaceRecord) -> bool {
    let dead = proc::is_known_dead(now.owner.as_ref());
    let (state, owner) = (record.state, record.owner.clone());
    now.state == WorkspaceState::Removing && dead && WorkspaceRecord { state, owner, ..now.clone() } == *record
}

fn directory(
    repo: &Repository,
    how: &TakenBack,
    from: &Path,
    processes: &Processes,
    places: &mut BTreeMap<PathBuf, PathBuf>,
) -> Result<Option<String>> {
    let known = how.put_back.directories.iter().find(|known| known.from == from || known.at == from);
    let Some(PutBackDirectory { at, print: Some(expected), .. }) = known else {
        return Ok(Some(format!("what {} was is not on record", from.display())));
    };
    let shown = at.display();
    if !fs::exists(at)? {
        return Ok(Some(format!("{shown} is gone")));
    }
    if repo.here.as_ref().is_some_and(|here| here.starts_with(at)) {
        return Ok(Some(format!("you stand in {shown}")));
    }
    if let Some(process) = processes.inside(at).first() {
        return Ok(Some(format!("{} (pid {}) works in {shown}", process.name, process.pid)));
    }
    if print(repo, at)? != *expected {
        return Ok(Some(format!("{shown} has changed since: {}", changed_since(repo, at, how.at)?)));
    }
    places.insert(from.to_owned(), at.clone());
    Ok(None)
}

/// Another worktree than those of these items, which has the branch.
pub(super) fn in_use(repo: &Repository, name: &str, all: &[RemovedItem]) -> Result<Option<String>> {
    let Some(short) = name.strip_prefix("refs/heads/") else { return Ok(None) };
    let goes = |tree: &Path| {
        all.iter().any(|item| match item {
            RemovedItem::Directory { from, .. } => tree.starts_with(from),
            RemovedItem::Workspace { record } => tree == record.path,
            _ => false,
        })
    };
    let user = checkouts::scan(repo)?.into_iter().find(|checkout| {
        let has = checkout.branch.as_deref() == Some(short) || checkout.held.iter().any(|(held, _)| held == short);
        has && !checkout.tree.as_deref().is_some_and(goes)
    });
    Ok(user.map(|user| format!("{name} is in use in {}", user.tree.unwrap_or(user.git_dir).display())))
}

/// What was saved before the removal has to be there still.
fn unsaved(repo: &Repository, operation: &OperationRecord, stamp: &str) -> Result<Option<String>> {
    let Some(old) = operation.stamp.as_deref() else { return Ok(None) };
    let mut now = salvage::of_stamp(repo, old)?;
    now.extend(salvage::of_stamp(repo, stamp)?.into_iter().map(|(name, commit)| (name.replace(stamp, old), commit)));
    let lost = operation.saved.iter().find(|saved| now.iter().all(|(name, _)| name != *saved));
    Ok(lost.map(|name| format!("{name}, which was saved before the removal, is gone")))
}
