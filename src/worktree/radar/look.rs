//! Scan: the whole radar: what is open for a target, and what of it would conflict.
//!
//! In the order of the results: workspaces by name, then tasks by run and place. A result that cannot be read is named with the
//! reason and hides nothing else.

use super::brought::{Brought, Side};
use super::compare::{Compared, compare};
use super::hunks::ConflictFile;
use super::kept::{Found, Kept};
use super::names::names;
use super::open::{Opening, commits, openings};
use super::target::Targets;
use crate::model::{BranchName, CommitId};
use crate::store::Store;
use crate::worktree::error::Result;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::remote::Lookup;
use crate::worktree::repository::Repository;
use crate::worktree::seen::{self, Seen};
use crate::worktree::status::Survey;

/// What would conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radar {
    /// The target.
    pub into: BranchName,
    /// What was held against each other.
    pub results: Vec<String>,
    /// Two results that conflict.
    pub pairs: Vec<Clash>,
    /// Results that conflict with the target itself.
    pub against_target: Vec<Against>,
    /// Results that could not be looked at.
    pub unreadable: Vec<Unreadable>,
}

/// Two results that conflict with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// The files, in order.
    pub files: Vec<ConflictFile>,
}

/// A result that conflicts with the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Against {
    /// The result.
    pub a: String,
    /// The files, in order.
    pub files: Vec<ConflictFile>,
}

/// A result that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Looks at everything that is meant for a branch: this one, or the one that is meant where one stands. Asks no remote.
pub fn look(repo: &Repository, store: &Store, into: Option<&str>, lookup: Lookup) -> Result<Radar> {
    let lookup = Lookup { offline: true, recall: true, ..lookup };
    let records = store.workspaces()?;
    let survey = Survey::begin(repo, &records, lookup)?;
    let mut targets = Targets::new(repo, survey.reader(), lookup);
    let target = targets.asked(&records, into)?;
    let openings = openings(repo, store, &survey, &mut targets, (&records, &target))?;
    let into = target.branch.clone();
    let mut radar = Radar { into, results: vec![], pairs: vec![], against_target: vec![], unreadable: vec![] };
    if openings.is_empty() {
        return Ok(radar);
    }
    let (seen, kept) = (survey.seen()?, Kept::open(repo, settings(repo, &survey)?));
    let quarantine = Quarantine::create(repo, &target.tip)?;
    let compared = read_and_compare(repo, (&quarantine, &seen, &kept), &target.tip, &openings, &mut radar);
    quarantine.discard()?;
    seen.close_beside()?;
    if let Some(found) = compared? {
        kept.keep(found);
    }
    Ok(radar)
}

/// Puts what is found into the radar. The answer is what can be kept of it: nothing where git failed at a pair.
fn read_and_compare(
    repo: &Repository,
    (quarantine, seen, kept): (&Quarantine, &Seen<'_>, &Kept),
    tip: &CommitId,
    openings: &[Opening],
    radar: &mut Radar,
) -> Result<Option<Found>> {
    let names = names(&openings.iter().map(|opening| &opening.owner).collect::<Vec<_>>());
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    for (at, (opening, looked)) in openings.iter().zip(commits(repo, quarantine, seen, openings)).enumerate() {
        match looked {
            Ok(commit) => read.push((at, commit, opening.base.as_ref())),
            Err(reason) => unreadable.push((at, reason)),
        }
    }
    let sides: Vec<Side<'_>> = read.iter().map(|(_, commit, base)| Side { commit, base: *base }).collect();
    let Compared { found, unmerged } = compare(quarantine, tip, &sides, &kept.known(tip))?;
    let name = |at: usize| names[read[at].0].clone();
    radar.results = (0..read.len()).map(name).collect();
    for (at, (_, brought)) in found.sides.iter().enumerate() {
        match brought {
            Brought::Against(files) => radar.against_target.push(Against { a: name(at), files: files.clone() }),
            Brought::Apart(reason) => unreadable.push((read[at].0, reason.clone())),
            Brought::Nothing | Brought::Onto(_) => {}
        }
    }
    let whole = unmerged.is_empty();
    for (one, other, why) in unmerged {
        unreadable.push((read[one].0, format!("it could not be merged with `{}`: {why}", name(other))));
    }
    unreadable.sort_by_key(|(at, _)| *at);
    radar.unreadable =
        unreadable.into_iter().map(|(at, reason)| Unreadable { name: names[at].clone(), reason }).collect();
    let clash = |(one, other, files): &(usize, usize, Vec<ConflictFile>)| Clash {
        a: name(*one),
        b: name(*other),
        files: files.clone(),
    };
    radar.pairs = found.pairs.iter().map(clash).collect();
    Ok(whole.then_some(found))
}

/// A print of all that a merge follows from beside commits; `None` where that cannot be told.
fn settings(repo: &Repository, survey: &Survey<'_>) -> Result<Option<String>> {
    let print = seen::settings(repo, survey.reader())?;
    let (own, git) = (env!("CARGO_PKG_VERSION"), repo.git.version());
    Ok(print.map(|print| format!("{own} {git} {print:016x}")))
}
