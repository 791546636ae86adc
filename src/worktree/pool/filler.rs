//! Apply: makes slots, brings them forward and removes them, until as many are ready as are wanted. One process does so at a time,
//! with the lowest priority, after somebody has taken one.

use std::path::Path;
use std::time::Duration;

use super::claim::bring;
use super::decide::{Next, SCARCE, Wanted};
use super::slot::{self, Taken};
use super::wanted::{self, Failure, is_over, step, wanted};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::clock;
use crate::sys::footprint::footprint;
use crate::sys::git::GitCommand;
use crate::sys::git::fill::{Fill, Looked, Place, Shifted, fill, verify};
use crate::sys::lock::{FileLock, LockError};
use crate::worktree::abandoned;
use crate::worktree::error::Result;
use crate::worktree::repository::Repository;
use crate::worktree::sealed::remove_if_empty;

/// Makes what is wanted. Where somebody is at it already, that one sees what is wanted now. How it went is on record.
pub fn make_ready(repo: &Repository) -> Result<()> {
    loop {
        let lock = FileLock::try_acquire(&repo.lock("slots"), &format!("pid {}, making slots", std::process::id()));
        let lock = match lock {
            Err(LockError::Held { .. }) => return Ok(()),
            lock => lock?,
        };
        let before = wanted(repo);
        let made = swept(repo).and_then(|()| until_enough(repo));
        let failure = match &made {
            Ok(None) => None,
            Ok(Some((commit, why))) => Some(Failure { commit: commit.clone(), lasts: true, why: why.clone() }),
            Err(error) => wanted(repo).map(|Wanted { commit, .. }| Failure { commit, lasts: false, why: chain(error) }),
        };
        if wanted(repo).is_some() {
            wanted::tell(repo, failure.as_ref())?;
        }
        made?;
        drop(lock);
        // Whoever wanted another one at the last moment found the lock held.
        if failure.is_some() || wanted(repo) == before {
            return Ok(());
        }
    }
}

/// Removes what nobody can take, and what nobody has in hand any more.
fn swept(repo: &Repository) -> Result<()> {
    abandoned::sweep_slots(repo)?;
    slot::unreadable(repo)?.iter().try_for_each(|path| slot::remove(path).map(drop))
}

/// How long who makes a slot may take to finish with it.
const LAST_SLOT: Duration = Duration::from_secs(120);

/// Lets nobody make slots as long as the answer lives.
pub fn stop(repo: &Repository) -> Result<FileLock> {
    wanted::nothing(repo)?;
    let holder = format!("pid {}, ending the making of slots", std::process::id());
    Ok(FileLock::acquire_within(&repo.lock("slots"), &holder, LAST_SLOT)?)
}

/// So many steps are never needed: whoever does not come to an end leaves it to the next.
const STEPS_MAX: usize = 256;

/// Where no slot can be made of a commit: of which, and why.
fn until_enough(repo: &Repository) -> Result<Option<(CommitId, String)>> {
    // What was given back to a disk that is nearly full is not taken from it again.
    let mut is_scarce = false;
    for _ in 0..STEPS_MAX {
        let Some(wanted) = wanted(repo) else { break };
        if repo.reader().revision(wanted.commit.as_str())?.is_none() {
            return Ok(None);
        }
        let (next, ready) = step(repo, &wanted)?;
        let slot = |at: usize| ready[at].clone().take();
        match next {
            Next::Make if is_scarce => return Ok(None),
            Next::Make => {
                if let Some(why) = make(repo, &wanted)? {
                    return Ok(wanted::wanted(repo).map(|_| (wanted.commit, why)));
                }
            }
            Next::Bring(at) => {
                if let Some(taken) = slot(at)? {
                    forward(repo, taken, &wanted)?;
                }
            }
            Next::Discard(at, why) => {
                tracing::debug!(why, "a slot goes");
                is_scarce |= why == SCARCE;
                slot(at)?.map(Taken::discard).transpose()?;
            }
            Next::Enough if is_over(&wanted.terms) => {
                end(repo)?;
                return Ok(None);
            }
            Next::Enough => return Ok(None),
        }
    }
    Ok(None)
}

/// Nobody wants slots any more; what somebody has in hand stays.
fn end(repo: &Repository) -> Result<()> {
    for path in slot::all(repo)? {
        slot::remove(&path)?;
    }
    wanted::forget(repo)?;
    remove_if_empty(Some(&slot::directory(repo)));
    Ok(())
}

/// Writes the files of one; why there can be none.
fn make(repo: &Repository, wanted: &Wanted) -> Result<Option<String>> {
    let mut taken = Taken::new(repo, &wanted.commit, clock::now())?;
    let made = write(repo, &mut taken);
    settle(repo, taken, made)
}

fn write(repo: &Repository, taken: &mut Taken) -> Result<Option<String>> {
    let (tree, admin, commit) = (taken.tree(), taken.inside(), taken.record.commit.clone());
    let git = git_of(repo, &tree);
    let called_off = || wanted::wanted(repo).is_none();
    let place = place(repo, (&tree, &admin), &git, &called_off);
    let odd = match fill(&place, repo.git.version(), &commit)? {
        Fill::Done { as_stored: true } => None,
        Fill::Done { as_stored: false } => Some("attributes change files on their way".to_owned()),
        Fill::CalledOff => Some("it was called off".into()),
        Fill::Git(why) => Some(why),
    };
    Ok(match odd {
        None => proved(taken)?,
        odd => odd,
    })
}

/// Looks at each file of it, and writes down what it takes.
fn proved(taken: &mut Taken) -> Result<Option<String>> {
    (taken.record.files, taken.record.tree) = match verify(&taken.tree(), &taken.index())? {
        Looked::Whole { files, tree } => (files, tree),
        Looked::Odd(what) => return Ok(Some(what)),
    };
    taken.record.bytes = footprint(&taken.tree()).bytes;
    Ok(None)
}

/// Brings one to the wanted commit. Where that is not to be, the next step makes one in its place.
fn forward(repo: &Repository, mut taken: Taken, wanted: &Wanted) -> Result<()> {
    let brought = forwarded(repo, &mut taken, wanted);
    let odd = settle(repo, taken, brought)?;
    if let Some(why) = odd {
        tracing::debug!(why, "a slot went");
    }
    Ok(())
}

fn forwarded(repo: &Repository, taken: &mut Taken, wanted: &Wanted) -> Result<Option<String>> {
    if let Some(odd) = taken.open()? {
        return Ok(Some(odd));
    }
    let tree = taken.tree();
    let (git, admin) = (git_of(repo, &tree), taken.inside());
    let called_off = || wanted::wanted(repo).is_none();
    let place = place(repo, (&tree, &admin), &git, &called_off);
    Ok(match bring(repo, taken, &place, &wanted.commit)? {
        Shifted::Done => proved(taken)?,
        Shifted::NotBegun(odd) | Shifted::Spoiled(odd) => Some(odd),
        Shifted::CalledOff => Some("it was called off".into()),
    })
}

/// Makes it ready, or takes away what it has become.
fn settle(repo: &Repository, taken: Taken, made: Result<Option<String>>) -> Result<Option<String>> {
    match made {
        Ok(None) => {
            wanted::keep_size(repo, (taken.record.bytes, taken.record.files))?;
            taken.close().map(|()| None)
        }
        Ok(odd) => taken.discard().map(|()| odd),
        Err(error) => {
            if let Err(left) = taken.discard() {
                tracing::warn!("a slot that was being made is left: {}", chain(&left));
            }
            Err(error)
        }
    }
}

fn git_of(repo: &Repository, tree: &Path) -> impl Fn(&[&str]) -> GitCommand + Sync {
    move |args: &[&str]| repo.git.tree(&repo.common_dir, tree, args)
}

fn place<'a>(
    repo: &'a Repository,
    (tree, admin): (&'a Path, &'a Path),
    git: &'a (dyn Fn(&[&str]) -> GitCommand + Sync),
    called_off: &'a (dyn Fn() -> bool + Sync),
) -> Place<'a> {
    Place { git_dir: &repo.common_dir, admin, tree, git, beside: None, by_git: None, called_off }
}
