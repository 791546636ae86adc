//! Scan and apply: what is kept ready, as a small file beside the slots, and the call for somebody who makes it so.
//!
//! Whoever makes a workspace says which commit it was; how many are wanted says who knows the user's configuration. Without that
//! file nobody ever asked for slots, and nothing is done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::decide::{Next, Room, SlotFact, Terms, Wanted, next};
use super::slot::{self, Holder, Ready, write_json};
use crate::model::cause::chain;
use crate::model::{CommitId, Span, Timestamp};
use crate::sys::{background, clock, env, fs, machine};
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::repository::Repository;

/// The hidden verb that makes slots.
pub const VERB: &str = "__slots";

fn file(repo: &Repository) -> PathBuf {
    slot::directory(repo).join("wanted.json")
}

/// Why the last slot could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Of which commit.
    pub commit: CommitId,
    /// It is about the commit or the settings: of that commit none is tried again.
    pub lasts: bool,
    /// Why.
    pub why: String,
}

fn failed(repo: &Repository) -> PathBuf {
    slot::directory(repo).join("failed.json")
}

/// Why the last slot could not be made, where that went wrong.
pub fn failure(repo: &Repository) -> Option<Failure> {
    serde_json::from_slice(&std::fs::read(failed(repo)).ok()?).ok()
}

/// Writes down how the last one went.
pub(super) fn tell(repo: &Repository, failure: Option<&Failure>) -> Result<()> {
    match failure {
        Some(failure) => write_json(&failed(repo), failure),
        None => Ok(fs::remove_file(&failed(repo))?),
    }
}

/// What is wanted; `None` where nobody asked for slots, or what is there cannot be read.
pub fn wanted(repo: &Repository) -> Option<Wanted> {
    serde_json::from_slice(&std::fs::read(file(repo)).ok()?).ok()
}

/// The slots as they are decided about.
pub fn facts(ready: &[Ready]) -> Vec<SlotFact> {
    let fact = |Ready { record, .. }: &Ready| SlotFact {
        commit: record.commit.clone(),
        made_at: record.made_at,
        bytes: record.bytes,
        files: record.files,
    };
    ready.iter().map(fact).collect()
}

/// What is to be done next, with what is ready now.
pub(super) fn step(repo: &Repository, wanted: &Wanted) -> Result<(Next, Vec<Ready>)> {
    let ready = slot::ready(repo)?;
    let place = slot::directory(repo);
    let room = machine::disk(&place).map(|disk| Room { bytes: disk.free, files: machine::files(&place) });
    let last = std::fs::read(size(repo)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    Ok((next(&facts(&ready), wanted, (room, last), clock::now()), ready))
}

/// A workspace was made of this commit: the next may be of it, too. What goes wrong with it is told, and harms nobody.
pub fn used(repo: &Repository, commit: &CommitId) {
    let called = want(repo, commit).and_then(|is_needed| if is_needed { call(repo) } else { Ok(()) });
    if let Err(error) = called {
        tracing::warn!("no slots are made: {}", chain(&error));
    }
}

/// Writes down what is wanted now; true when somebody has to do something about it.
pub(super) fn want(repo: &Repository, commit: &CommitId) -> Result<bool> {
    let before = wanted(repo);
    let Some(terms) = repo.pool.or(before.as_ref().map(|wanted| wanted.terms)) else { return Ok(false) };
    if before.is_none() && terms.size == 0 {
        return Ok(false);
    }
    let now = Wanted { terms, commit: commit.clone(), at: clock::now() };
    fs::create_private_dir_all(&slot::directory(repo))?;
    write_json(&file(repo), &now)?;
    Ok(match step(repo, &now)?.0 {
        Next::Enough => is_over(&terms),
        Next::Make => failure(repo).is_none_or(|failure| !failure.lasts || failure.commit != now.commit),
        Next::Bring(_) | Next::Discard(..) => true,
    })
}

fn size(repo: &Repository) -> PathBuf {
    slot::directory(repo).join("size.json")
}

/// What the last slot took, in bytes and files: also when there is none any more.
pub(super) fn keep_size(repo: &Repository, taken: (u64, u64)) -> Result<()> {
    write_json(&size(repo), &taken)
}

/// Nothing is on record any more.
pub(super) fn forget(repo: &Repository) -> Result<()> {
    [file(repo), failed(repo), size(repo)].iter().try_for_each(|path| Ok(fs::remove_file(path)?))
}

/// Nothing is wanted any more.
pub(super) fn nothing(repo: &Repository) -> Result<()> {
    Ok(fs::remove_file(&file(repo))?)
}

/// Has our own program do it, in the background.
fn call(repo: &Repository) -> Result<()> {
    let program = env::self_again().map_err(WorktreeError::Program)?;
    let args = [VERB.as_ref(), repo.common_dir.as_os_str()];
    background::start(&program, &args).map_err(WorktreeError::Program)
}

/// Slots that may go for good, each with the reason: a process that died had it in hand, or nobody wants one any more.
pub fn idle(repo: &Repository, now: Timestamp) -> Result<Vec<(PathBuf, String)>> {
    let idle = match wanted(repo) {
        None => Some("nobody asks for slots any more".to_owned()),
        Some(wanted) if wanted.is_old(now) => {
            Some(format!("nobody has made a workspace for {}", Span(wanted.terms.age)))
        }
        Some(_) => None,
    };
    let why = |path: &PathBuf| match slot::holder(path) {
        None => idle.clone(),
        Some(Holder::Dead) => Some("who had it in hand is dead".to_owned()),
        Some(Holder::Alive) => None,
    };
    Ok(slot::all(repo)?.into_iter().filter_map(|path| why(&path).map(|why| (path, why))).collect())
}

/// True for terms under which nobody wants slots any more.
pub(super) fn is_over(terms: &Terms) -> bool {
    terms.size == 0
}
