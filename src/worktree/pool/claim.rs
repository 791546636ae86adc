//! Apply: takes a slot over as the files of a new worktree that is registered and has none.
//!
//! Up to the one rename that puts the files in their place nothing of the worktree is touched, so that whatever is wrong with a slot only
//! means that the files are written. What a process that dies in here leaves is a slot in the hands of a dead process
//! ([`super::filler`] removes it), or a worktree that was being made.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::decide::choice;
use super::slot::{self, Taken};
use super::wanted::facts;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::fs;
use crate::sys::git::fill::{Place, Shifted, Way, beside_the_tree, shift};
use crate::worktree::error::Result;
use crate::worktree::repository::Repository;

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The files are there, for this reason.
    Done(String),
    /// They have to be written, for this one.
    Not(String),
    /// Nobody wants them any more.
    CalledOff,
}

/// Puts the files of a slot into a worktree without files. Whatever goes wrong, they can be written.
pub fn claim(repo: &Repository, place: &Place<'_>, commit: &CommitId) -> Claim {
    tried(repo, place, commit).unwrap_or_else(|error| Claim::Not(format!("a slot was no use: {}", chain(&error))))
}

fn tried(repo: &Repository, place: &Place<'_>, commit: &CommitId) -> Result<Claim> {
    let ready = slot::ready(repo)?;
    if ready.is_empty() {
        return Ok(Claim::Not("no slot is ready".into()));
    }
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).map_err(fs::at("look at", path));
    if device(place.tree)? != device(&slot::directory(repo))? {
        return Ok(Claim::Not("slots are on another disk".into()));
    }
    if let Some(why) = beside_the_tree(place, repo.git.version())? {
        return Ok(Claim::Not(why));
    }
    let rights = slot::rights_of(place.tree)?;
    let mut why = "somebody else took the slot".to_owned();
    for at in choice(&facts(&ready), commit) {
        let Some(mut taken) = ready[at].clone().take()? else { continue };
        if taken.record.rights != rights {
            taken.give_back()?;
            return Ok(Claim::Not("slots are as open to others as who made them wanted".into()));
        }
        let from = taken.record.commit.clone();
        let made = taken.open().and_then(|odd| match odd {
            Some(odd) => Ok(Shifted::Spoiled(odd)),
            None => bring(repo, &mut taken, place, commit),
        });
        match made.unwrap_or_else(|error| Shifted::Spoiled(chain(&error))) {
            Shifted::Done => {
                let moved = if from == *commit { String::new() } else { format!(", brought from {}", from.short()) };
                return Ok(match put(&taken, place) {
                    Ok(None) => {
                        // Only the empty directory is left of it.
                        let left = taken.discard();
                        left.unwrap_or_else(|error| tracing::debug!(error = chain(&error), "a slot is left"));
                        Claim::Done(format!("a slot was ready{moved}"))
                    }
                    Ok(Some(why)) => {
                        taken.abandon();
                        Claim::Not(why)
                    }
                    Err(error) => {
                        taken.abandon();
                        return Err(error);
                    }
                });
            }
            // The others are no nearer.
            Shifted::NotBegun(odd) => {
                taken.close()?;
                return Ok(Claim::Not(format!("a slot was no use: {odd}")));
            }
            Shifted::CalledOff => {
                taken.abandon();
                return Ok(Claim::CalledOff);
            }
            Shifted::Spoiled(odd) => why = format!("a slot was no use: {odd}"),
        }
        tracing::debug!(why, "a slot goes");
        taken.abandon();
    }
    Ok(Claim::Not(why))
}

/// Brings the files of an open slot to a commit that the git dir of the place has.
pub(super) fn bring(repo: &Repository, taken: &mut Taken, place: &Place<'_>, commit: &CommitId) -> Result<Shifted> {
    let (tree, admin) = (taken.tree(), taken.inside());
    let here = Place { tree: &tree, admin: &admin, ..*place };
    let objects = repo.common_dir.join("objects");
    // Where most of it differs, writing all of it is as fast.
    let most = usize::try_from(taken.record.files / 2).unwrap_or(usize::MAX).max(FEW);
    let also = (place.git_dir != repo.common_dir).then_some(objects.as_path());
    let way = Way { from: &taken.record.commit, to: commit, also, most };
    let shifted = shift(&here, &way)?;
    if shifted == Shifted::Done {
        taken.record.commit = commit.clone();
    }
    Ok(shifted)
}

/// So many files are never too many to write.
const FEW: usize = 1000;

/// Puts the files in their place, at once, and then the index in its own: who finds the one without the other knows that it was being
/// made. Why not, where that is not to be: all of the worktree is as it was then.
fn put(taken: &Taken, place: &Place<'_>) -> Result<Option<String>> {
    let (link, tree) = (place.tree.join(".git"), taken.tree());
    let text = std::fs::read(&link).map_err(fs::at("read", &link))?;
    fs::write_new(&tree.join(".git"), &text)?;
    let aside = place.admin.join("index.slot");
    bring_index(&taken.index(), &aside)?;
    let swapped = swap(&tree, place.tree, &text);
    if !matches!(swapped, Ok(None)) {
        fs::remove_file(&aside)?;
        return swapped;
    }
    let Err(error) = fs::rename_onto_nothing(&aside, &place.admin.join("index")) else { return Ok(None) };
    // Somebody has made one meanwhile, of a worktree without files.
    fs::remove_file(&aside)?;
    fs::exchange(&tree, place.tree)?;
    Ok(Some(format!("a slot was no use: {}", chain(&error))))
}

/// Brings the index of a slot to where it is to be; also to another file system, with its time, which git goes by.
fn bring_index(from: &Path, to: &Path) -> Result<()> {
    match fs::rename_onto_nothing(from, to) {
        Err(error) if error.source.kind() == std::io::ErrorKind::CrossesDevices => Ok(fs::copy_keeping_time(from, to)?),
        renamed => Ok(renamed?),
    }
}

fn swap(tree: &Path, place: &Path, link: &[u8]) -> Result<Option<String>> {
    if fs::exchange(tree, place)? {
        if holds_only_link(tree)? {
            return Ok(None);
        }
        fs::exchange(tree, place)?;
        return Ok(Some("somebody is at work in the worktree already".into()));
    }
    // A file system that cannot do that at once: a directory with nothing in it gives way, too.
    let there = place.join(".git");
    fs::remove_file(&there)?;
    let Err(error) = std::fs::rename(tree, place) else { return Ok(None) };
    fs::write_new(&there, link)?;
    Ok(Some(format!("a slot was no use: {error}")))
}

fn holds_only_link(tree: &Path) -> Result<bool> {
    let names = std::fs::read_dir(tree).map_err(fs::at("read", tree))?;
    let mut others = names.filter(|name| name.as_ref().map_or(true, |name| name.file_name() != ".git"));
    Ok(others.next().is_none())
}
