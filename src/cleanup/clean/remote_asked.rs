//! Scan: what one remote has, what its forge says of pull requests, and what that proves.
//!
//! Who does not answer is told in a sentence; a forge that cannot be asked makes every pull request one that may be open.

use std::time::Duration;

use crate::cleanup::error::Result;
use crate::cleanup::verdict::{Integration, NotIntegrated, Target, Verdict};
use crate::forge::address::place;
use crate::forge::asking;
use crate::forge::requests::Requests;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::worktree::landed::Proof;
use crate::worktree::remote_push::RemoteTip;
use crate::worktree::remote_refs::{Advertised, addresses, advertised, silence, tracking};
use crate::worktree::{Repository, reverted};

/// What a remote answered.
pub struct Asked {
    /// Its name.
    pub remote: String,
    /// What it has.
    pub has: Advertised,
    /// Pull requests.
    pub pulls: Pulls,
    /// Branches that may go, by whose they are.
    pub candidates: Vec<String>,
}

/// What is known of the pull requests of one remote.
pub enum Pulls {
    /// What its forge lists.
    Known(Requests),
    /// Its forge cannot be asked, for this reason; the heads that it shows, by number.
    Unknown(String, Vec<(u64, CommitId)>),
}

/// Asks; why nothing is known of it, if so.
pub fn ask(repo: &Repository, remote: &str, deadline: Duration) -> std::result::Result<Asked, String> {
    let addresses = addresses(repo, remote).map_err(|error| chain(&error))??;
    let has = advertised(repo, remote, deadline).map_err(|error| silence(&error))?;
    let pulls = match addresses.iter().find_map(|address| place(address)).map(|place| asking::ask(&place, deadline)) {
        Some(Ok(requests)) => Pulls::Known(requests),
        other => {
            let why = other.and_then(std::result::Result::err).map(|error| chain(&error));
            let why = why.unwrap_or_else(|| "what kind of forge has it is not known".to_owned());
            Pulls::Unknown(why, has.requests.iter().map(|(number, head)| (*number, head.clone())).collect())
        }
    };
    Ok(Asked { remote: remote.to_owned(), has, pulls, candidates: Vec::new() })
}

impl Asked {
    /// Where finished work is on this remote: its default branch, and the branches of these names; each as it is called there, too.
    pub fn targets(&self, here: &[Target]) -> Vec<(RemoteTip, Target)> {
        let own = tracking(&self.remote, "");
        let named = here.iter().filter_map(|target| {
            let reference = target.reference.as_deref()?;
            reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix(&own))
        });
        let mut found: Vec<(RemoteTip, Target)> = Vec::new();
        for branch in self.has.default.as_deref().into_iter().chain(named) {
            let reference = tracking(&self.remote, branch);
            if let Some(tip) = self.has.branches.get(branch)
                && found.iter().all(|((known, _), _)| known != branch)
            {
                let name = format!("{}/{branch}", self.remote);
                let target = Target { name, reference: Some(reference), tip: tip.clone() };
                found.push(((branch.to_owned(), tip.clone()), target));
            }
        }
        found
    }
}

impl Pulls {
    /// Why a branch is needed, if a pull request that is open, or may be, needs it.
    pub fn needs(&self, branch: &str, tip: &CommitId) -> Option<String> {
        match self {
            Pulls::Known(requests) => requests.needs(branch, tip),
            Pulls::Unknown(why, heads) => {
                let (number, _) = heads.iter().find(|(_, head)| head == tip)?;
                Some(format!("pull request #{number} may be open: {why}"))
            }
        }
    }

    /// The commits by which exactly this tip was merged.
    pub fn merged_as(&self, tip: &CommitId) -> Vec<CommitId> {
        match self {
            Pulls::Known(requests) => requests.merged_at(tip).filter_map(|request| request.merged_as.clone()).collect(),
            Pulls::Unknown(..) => Vec::new(),
        }
    }
}

/// What it says of a tip that a forge merged it as these commits: whether one is in a target, and was not taken back there.
pub fn by_forge(
    repo: &Repository,
    tip: &CommitId,
    merged: &[CommitId],
    targets: &[&Target],
) -> Result<Option<Verdict>> {
    let reader = repo.reader();
    for target in targets {
        for commit in merged {
            if !reader.has_commit(commit)? || !reader.is_ancestor(commit, &target.tip)? {
                continue;
            }
            let work = || Ok(vec![commit.clone(), tip.clone()]);
            let name = target.name.clone();
            return Ok(Some(match reverted::taken_back(repo, (commit, &target.tip), work)? {
                Some(by) => Err(NotIntegrated::TakenBack { by, target: name }),
                None => Ok(Integration { proof: Proof::ForgeAtTip, target: name }),
            }));
        }
    }
    Ok(None)
}
