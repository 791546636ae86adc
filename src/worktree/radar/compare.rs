//! Apply, in a quarantine: open results are held against each other and against the target.
//!
//! Two that have nothing in common but the target are compared as they are on it, and merged only where they interact. Two
//! that share work which the target has not are merged as they are, by their own history. So are two of which one conflicts
//! with the target, but only where they interact: what lies only between it and the target is told of that, and not again of
//! everything else. All merges go through one git; what is known from the last time is not done again.

use std::collections::BTreeSet;

use super::brought::{Brought, Side, bring, changed};
use super::hunks::{ConflictFile, count};
use super::interact::{Changed, interacting};
use super::kept::{Found, Known, key};
use super::kin::{Family, Kin, Parents};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::worktree::error::Result;
use crate::worktree::merge::Outcome;
use crate::worktree::merging::{Merger, Pair};
use crate::worktree::quarantine::Quarantine;

/// What was found.
pub struct Compared {
    /// How each result stands to the target, and which pairs conflict.
    pub found: Found,
    /// Pairs that git could not merge at all, and why.
    pub unmerged: Vec<(usize, usize, String)>,
}

/// How a pair is to be merged: on the target, or by its own history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Target,
    History,
}

/// Compares all of them.
pub fn compare(quarantine: &Quarantine, target: &CommitId, sides: &[Side<'_>], known: &Known<'_>) -> Result<Compared> {
    let keys: Vec<String> = sides.iter().map(key).collect();
    let told: Vec<Option<&(usize, Brought)>> = keys.iter().map(|key| known.side(key)).collect();
    let verdict = |one: usize, other: usize| known.pair(told[one]?.0, told[other]?.0);
    let all = || (0..sides.len()).flat_map(|one| (one + 1..sides.len()).map(move |other| (one, other)));
    let (mut pairs, mut unmerged) = (Vec::new(), Vec::new());
    let brought: Vec<Brought> = match told.iter().map(|told| Some(told.as_ref()?.1.clone())).collect() {
        Some(brought) if all().all(|(one, other)| verdict(one, other).is_some()) => brought,
        _ => {
            let family = Family::of(target, &beyond(quarantine, target, sides)?, &commits(sides));
            let mut at_work = AtWork { quarantine, merger: Merger::open(quarantine) };
            let brought = at_work.bring(target, sides, &family)?;
            let changed = at_work.changed((target, sides, &brought), &family.forks)?;
            at_work.know_attributes(target, &brought, &changed);
            let mut wanted = wanted(&family, &brought, &changed);
            wanted.retain(|(_, (one, other))| verdict(*one, *other).is_none());
            (pairs, unmerged) = at_work.merge(&wanted, (target, sides, &brought))?;
            brought
        }
    };
    let conflicts = |(one, other)| Some((one, other, verdict(one, other).flatten()?.to_vec()));
    pairs.extend(all().filter_map(conflicts));
    pairs.sort_by_key(|(one, other, _)| (*one, *other));
    let found = Found { target: target.clone(), sides: keys.into_iter().zip(brought).collect(), pairs };
    Ok(Compared { found, unmerged })
}

fn commits<'a>(sides: &[Side<'a>]) -> Vec<&'a CommitId> {
    sides.iter().map(|side| side.commit).collect()
}

/// What the results have beyond the target.
fn beyond(quarantine: &Quarantine, target: &CommitId, sides: &[Side<'_>]) -> Result<Parents> {
    if sides.is_empty() {
        return Ok(Parents::new());
    }
    let mut lines: String = sides.iter().map(|side| format!("{}\n", side.commit)).collect();
    lines.push_str(&format!("^{target}\n"));
    let text = quarantine.command(["rev-list", "--parents", "--stdin"]).stdin(lines).text()?;
    let line = |line: &str| {
        let mut ids = line.split(' ').filter_map(|id| CommitId::parse(id).ok());
        Some((ids.next()?, ids.collect()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The pairs of which only a merge tells, and how they are merged.
fn wanted(family: &Family, brought: &[Brought], changed: &[Changed]) -> BTreeSet<(By, (usize, usize))> {
    let interacting = interacting(&changed.iter().collect::<Vec<_>>());
    let alone = |at: usize| changed[at].is_nothing() || matches!(brought[at], Brought::Nothing | Brought::Apart(_));
    let against = |at: usize| matches!(brought[at], Brought::Against(_));
    let shared = family.kin.iter().filter(|(_, kin)| **kin == Kin::Shared).map(|(pair, _)| (By::History, *pair));
    let strangers = interacting.iter().filter(|pair| !family.kin.contains_key(pair)).map(|(one, other)| {
        let by = if against(*one) || against(*other) { By::History } else { By::Target };
        (by, (*one, *other))
    });
    shared.chain(strangers).filter(|(_, (one, other))| !alone(*one) && !alone(*other)).collect()
}

/// Who merges and counts.
struct AtWork<'a> {
    quarantine: &'a Quarantine,
    merger: Merger<'a>,
}

type Sides<'a> = (&'a CommitId, &'a [Side<'a>], &'a [Brought]);

/// Pairs that conflict, and those that git does not merge, with the reason.
type Merges = (Vec<(usize, usize, Vec<ConflictFile>)>, Vec<(usize, usize, String)>);

impl AtWork<'_> {
    fn bring(&mut self, target: &CommitId, sides: &[Side<'_>], family: &Family) -> Result<Vec<Brought>> {
        let sides: Vec<_> = sides.iter().copied().zip(family.standings.iter().copied()).collect();
        bring((self.quarantine, &mut self.merger), target, &sides)
    }

    /// What each changes: on the target where it is there, else since it began.
    fn changed(&self, (target, sides, brought): Sides<'_>, forks: &[Option<CommitId>]) -> Result<Vec<Changed>> {
        let mut asked = Vec::new();
        for ((side, brought), fork) in sides.iter().zip(brought).zip(forks) {
            asked.push(match brought {
                Brought::Onto(commit) => Some((commit, target.clone())),
                Brought::Against(_) => {
                    let known = side.base.or(fork.as_ref()).cloned();
                    let base = if known.is_some() { known } else { self.fork(target, side.commit)? };
                    base.map(|base| (side.commit, base))
                }
                Brought::Nothing | Brought::Apart(_) => None,
            });
        }
        let pairs: Vec<_> = asked.iter().flatten().map(|(commit, base)| (*commit, base)).collect();
        let mut found = changed(self.quarantine, &pairs)?.into_iter();
        let mut of = |asked: &Option<_>| asked.as_ref().and_then(|_| found.next()).unwrap_or_else(Changed::unknown);
        Ok(asked.iter().map(&mut of).collect())
    }

    /// Those that are on the target and have not touched its attributes have them.
    fn know_attributes(&mut self, target: &CommitId, brought: &[Brought], changed: &[Changed]) {
        for (brought, changed) in brought.iter().zip(changed) {
            if let (Brought::Onto(commit), false) = (brought, changed.may_have_other_attributes()) {
                self.merger.know_same_attributes(commit, target);
            }
        }
    }

    /// The best common ancestor of a result and the target, where there is one and not several.
    fn fork(&self, target: &CommitId, commit: &CommitId) -> Result<Option<CommitId>> {
        let text = self.quarantine.command(["merge-base", "--all", target.as_str(), commit.as_str()]).text()?;
        Ok(CommitId::parse(&text).ok())
    }

    fn merge(
        &mut self,
        wanted: &BTreeSet<(By, (usize, usize))>,
        (target, sides, brought): Sides<'_>,
    ) -> Result<Merges> {
        let commit = |by: By, at: usize| match (by, &brought[at]) {
            (By::Target, Brought::Onto(commit)) => commit,
            _ => sides[at].commit,
        };
        let pair = |(by, (one, other)): &(By, (usize, usize))| Pair {
            base: (*by == By::Target).then_some(target),
            ours: commit(*by, *one),
            theirs: commit(*by, *other),
        };
        let pairs: Vec<Pair<'_>> = wanted.iter().map(pair).collect();
        let outcomes = self.merger.merge_each(&pairs);
        let (mut places, mut conflicts, mut unmerged) = (Vec::new(), Vec::new(), Vec::new());
        for ((outcome, pair), (_, (one, other))) in outcomes.iter().zip(&pairs).zip(wanted) {
            match outcome {
                Ok(Outcome { conflicts: None, .. }) => {}
                Ok(Outcome { tree, conflicts: Some(paths) }) => {
                    places.push((*one, *other));
                    conflicts.push((tree, pair.ours, &paths[..]));
                }
                Err(error) => unmerged.push((*one, *other, chain(error))),
            }
        }
        let counted = count(self.quarantine, &conflicts)?;
        Ok((places.into_iter().zip(counted).map(|((one, other), files)| (one, other, files)).collect(), unmerged))
    }
}
