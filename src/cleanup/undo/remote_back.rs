//! Apply: branches of remotes that were deleted come back there, and go again.
//!
//! Nothing that is there is overwritten. Putting back can be repeated; what is back already is passed over. A remote that does not answer
//! is an error, or an obstacle that says so.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::traces::kept_as;
use crate::model::CommitId;
use crate::model::operation::RemovedItem;
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::remote_push::{self, RemoteTip};
use crate::worktree::remote_refs::{Advertised, advertised, silence, tracking};
use crate::worktree::{Repository, WorktreeError};

/// How long a remote may take to answer somebody who waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// The branches of remotes among these items, by remote.
fn by_remote(items: &[RemovedItem]) -> BTreeMap<&str, Vec<RemoteTip>> {
    let mut found: BTreeMap<&str, Vec<RemoteTip>> = BTreeMap::new();
    for item in items {
        if let RemovedItem::RemoteBranch { remote, branch, commit } = item {
            found.entry(remote).or_default().push((branch.clone(), commit.clone()));
        }
    }
    found
}

/// What remotes have, each asked when it is needed first.
pub struct Answers<'a> {
    repo: &'a Repository,
    known: BTreeMap<String, Advertised>,
}

impl<'a> Answers<'a> {
    /// Nothing is known yet.
    pub fn new(repo: &'a Repository) -> Answers<'a> {
        Answers { repo, known: BTreeMap::new() }
    }

    /// Where a branch is on its remote.
    pub fn tip(&mut self, remote: &str, branch: &str) -> std::result::Result<Option<CommitId>, WorktreeError> {
        if !self.known.contains_key(remote) {
            self.known.insert(remote.to_owned(), advertised(self.repo, remote, LIMIT)?);
        }
        Ok(self.known.get(remote).and_then(|has| has.branches.get(branch)).cloned())
    }
}

/// What keeps them from coming back, in sentences.
pub fn obstacles(repo: &Repository, items: &[RemovedItem]) -> Result<Vec<String>> {
    let (mut answers, mut found) = (Answers::new(repo), Vec::new());
    let known = repo.reader().remotes()?;
    for (remote, tips) in by_remote(items) {
        if !known.iter().any(|name| name == remote) {
            found.push(format!("there is no remote `{remote}` any more"));
            continue;
        }
        for (branch, commit) in tips {
            match answers.tip(remote, &branch) {
                Ok(Some(now)) if now == commit => {}
                Ok(Some(now)) => {
                    found.push(format!("the branch `{branch}` is on {remote} again, at {}", now.short()));
                }
                Ok(None) if !repo.reader().has_commit(&commit)? => {
                    found.push(format!("the commit {} of {remote}/{branch} is gone", commit.short()));
                }
                Ok(None) => {}
                Err(error) => {
                    found.push(format!("of {remote}, where `{branch}` was: {}", silence(&error)));
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// Puts them back. What was on a remote that the repository does not know any more cannot be: it stays within reach here.
pub fn put_back(repo: &Repository, items: &[RemovedItem]) -> Result<()> {
    let known = repo.reader().remotes()?;
    let there = |item: &&RemovedItem| match item {
        RemovedItem::RemoteBranch { remote, .. } => known.contains(remote),
        _ => true,
    };
    let items: Vec<RemovedItem> = items.iter().filter(there).cloned().collect();
    let items = &items[..];
    match push(repo, items, false, remote_push::create)? {
        None => Ok(()),
        Some(Refused { remote, branch, why }) => {
            let message = format!("the branch `{branch}` cannot come back on {remote}: {why}");
            Err(CleanupError::refused(message, format!("see what {remote} lets you push, then try again")))
        }
    }
}

/// Deletes them again; each must be where it was.
pub fn take_again(repo: &Repository, items: &[RemovedItem], stamp: &str) -> Result<()> {
    for (remote, tips) in by_remote(items) {
        hold(repo, remote, &tips, stamp)?;
    }
    match push(repo, items, true, remote_push::delete)? {
        None => Ok(()),
        Some(Refused { remote, branch, why }) => {
            Err(CleanupError::refused(format!("{remote}/{branch}: {why}"), "try again"))
        }
    }
}

/// A branch that a remote did not let come or go.
struct Refused {
    remote: String,
    branch: String,
    why: String,
}

/// How branches of one remote are pushed.
type Push =
    fn(&Repository, &str, &[RemoteTip], Duration) -> std::result::Result<Vec<remote_push::Pushed>, WorktreeError>;

/// Pushes those that are there, or are not; the first that was refused.
fn push(repo: &Repository, items: &[RemovedItem], are_there: bool, push: Push) -> Result<Option<Refused>> {
    let mut answers = Answers::new(repo);
    for (remote, tips) in by_remote(items) {
        let mut meant = Vec::new();
        for (branch, commit) in tips {
            if answers.tip(remote, &branch)?.is_some() == are_there {
                meant.push((branch, commit));
            }
        }
        if meant.is_empty() {
            continue;
        }
        let pushed = push(repo, remote, &meant, LIMIT)?;
        for ((branch, _), pushed) in meant.into_iter().zip(pushed) {
            if let Err(why) = pushed {
                return Ok(Some(Refused { remote: remote.to_owned(), branch, why }));
            }
        }
    }
    Ok(None)
}

/// What holds a tip: with the tip in its name, for two remotes may have the same names for what they have.
fn held_as(stamp: &str, remote: &str, branch: &str, tip: &CommitId) -> String {
    format!("{}-{}", kept_as(stamp, &tracking(remote, branch)), tip.short())
}

/// Keeps what they are at within reach here, for as long as `undo` may be asked for.
pub fn hold(repo: &Repository, remote: &str, tips: &[RemoteTip], stamp: &str) -> Result<()> {
    let reader = repo.reader();
    let mut made = Vec::new();
    for (branch, tip) in tips {
        let reference = held_as(stamp, remote, branch, tip);
        if reader.ref_commit(&reference)?.is_none() {
            made.push(RefChange { reference, new: Some(tip.clone()), expected: None });
        }
    }
    Ok(update_refs(repo, &made, "treehand: tip of a deleted branch of a remote")?)
}

/// Lets go of those that did not go after all.
pub fn let_go(repo: &Repository, remote: &str, tips: &[RemoteTip], stamp: &str) -> Result<()> {
    let mut gone = Vec::new();
    for (branch, tip) in tips {
        let reference = held_as(stamp, remote, branch, tip);
        if repo.reader().ref_commit(&reference)?.as_ref() == Some(tip) {
            gone.push(RefChange { reference, new: None, expected: Some(tip.clone()) });
        }
    }
    Ok(update_refs(repo, &gone, "treehand: not needed")?)
}
