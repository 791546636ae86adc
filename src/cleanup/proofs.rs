//! What is known already of whether work is in its targets: a verdict depends on commits alone, and what those are never changes.
//!
//! A file in the repository's own state, which is as good as absent when it cannot be read: then everything is proved anew. What
//! was not asked for the last time is forgotten, so that it does not grow.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::verdict::{Integration, NotIntegrated, Target, Verdict};
use crate::model::{CommitId, Timestamp};
use crate::worktree::Repository;
use crate::worktree::landed::Proof;
use crate::worktree::memo::Memo;

/// What the file begins with; with another number it is another treehand's, whose rungs may be others.
const VERSION: u32 = 3;

/// A verdict, with the place of its target among those that were asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Known {
    In(Proof, usize),
    Unproved,
    TakenBack(CommitId, usize),
}

/// What is known: of work and its targets, and of single commits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct All {
    version: u32,
    verdicts: BTreeMap<String, Known>,
    /// How many commits no target has.
    beyond: BTreeMap<String, usize>,
    /// Whether a target itself was at a commit.
    lines: BTreeMap<String, bool>,
    /// When a commit was made.
    dates: BTreeMap<CommitId, Timestamp>,
}

/// What is known already.
#[derive(Debug, Default)]
pub struct Proofs {
    memo: Option<Memo>,
    before: RefCell<All>,
    now: RefCell<All>,
}

impl Proofs {
    /// What was kept.
    pub fn open(repo: &Repository) -> Proofs {
        let memo = Memo::of(repo, "proofs.json");
        let kept: Option<All> = memo.read();
        let nothing = All { version: VERSION, ..All::default() };
        let before = kept.filter(|kept| kept.version == VERSION).unwrap_or_else(|| nothing.clone());
        let now = RefCell::new(nothing);
        Proofs { memo: Some(memo), before: RefCell::new(before), now }
    }

    /// The verdict on this work, found now if it is not known.
    pub fn verdict(
        &self,
        work: Work<'_>,
        targets: &[&Target],
        find: impl FnOnce() -> Result<Verdict>,
    ) -> Result<Verdict> {
        let key = key(work, targets);
        let known = self.now.borrow().verdicts.get(&key).cloned();
        let known = known.or_else(|| self.before.borrow().verdicts.get(&key).cloned());
        if let Some(known) = known
            && let Some(verdict) = known.with_names(targets)
        {
            self.now.borrow_mut().verdicts.insert(key, known);
            return Ok(verdict);
        }
        let verdict = find()?;
        self.learn(work, targets, &verdict);
        Ok(verdict)
    }

    /// True when the verdict needs no looking.
    pub fn knows(&self, work: Work<'_>, targets: &[&Target]) -> bool {
        let key = key(work, targets);
        self.before.borrow().verdicts.contains_key(&key) || self.now.borrow().verdicts.contains_key(&key)
    }

    /// Keeps a verdict.
    pub fn learn(&self, work: Work<'_>, targets: &[&Target], verdict: &Verdict) {
        if let Some(known) = Known::of(verdict, targets) {
            self.now.borrow_mut().verdicts.insert(key(work, targets), known);
        }
    }

    /// How many commits of this tip no target has, counted now if it is not known.
    pub fn beyond(&self, tip: &CommitId, targets: &[&Target], count: impl FnOnce() -> Result<usize>) -> Result<usize> {
        self.known(|all| &mut all.beyond, key((tip, None), targets), count)
    }

    /// True where the target itself was at this commit, looked up now if it is not known.
    pub fn is_on_line(&self, tip: &CommitId, target: &Target, find: impl FnOnce() -> Result<bool>) -> Result<bool> {
        self.known(|all| &mut all.lines, format!("{tip} {}", target.tip), find)
    }

    /// When a commit was made, looked up now if it is not known.
    pub fn date(&self, commit: &CommitId, find: impl FnOnce() -> Result<Timestamp>) -> Result<Timestamp> {
        self.known(|all| &mut all.dates, commit.clone(), find)
    }

    fn known<K: Ord, V: Clone>(
        &self,
        of: impl Fn(&mut All) -> &mut BTreeMap<K, V>,
        key: K,
        find: impl FnOnce() -> Result<V>,
    ) -> Result<V> {
        let known = of(&mut self.now.borrow_mut()).get(&key).cloned();
        let known = known.or_else(|| of(&mut self.before.borrow_mut()).get(&key).cloned());
        let found = match known {
            Some(known) => known,
            None => find()?,
        };
        of(&mut self.now.borrow_mut()).insert(key, found.clone());
        Ok(found)
    }

    /// Keeps what was asked for.
    pub fn keep(&self) {
        let (Some(memo), now) = (&self.memo, self.now.borrow()) else { return };
        if *now != *self.before.borrow() {
            memo.write(&*now);
        }
    }
}

/// A tip, and the commit that its work began on where that is known.
pub type Work<'a> = (&'a CommitId, Option<&'a CommitId>);

fn key((tip, base): Work<'_>, targets: &[&Target]) -> String {
    let tips: Vec<&str> = targets.iter().map(|target| target.tip.as_str()).collect();
    format!("{tip} {} {}", base.map_or("-", CommitId::as_str), tips.join(" "))
}

impl Known {
    fn of(verdict: &Verdict, targets: &[&Target]) -> Option<Known> {
        let place = |name: &String| targets.iter().position(|target| target.name == *name);
        Some(match verdict {
            Ok(found) => Known::In(found.proof, place(&found.target)?),
            Err(NotIntegrated::Unproved) => Known::Unproved,
            Err(NotIntegrated::TakenBack { by, target }) => Known::TakenBack(by.clone(), place(target)?),
        })
    }

    fn with_names(&self, targets: &[&Target]) -> Option<Verdict> {
        let name = |place: &usize| targets.get(*place).map(|target| target.name.clone());
        Some(match self {
            Known::In(proof, place) => Ok(Integration { proof: *proof, target: name(place)? }),
            Known::Unproved => Err(NotIntegrated::Unproved),
            Known::TakenBack(by, place) => Err(NotIntegrated::TakenBack { by: by.clone(), target: name(place)? }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn what_was_proved_is_known_again_by_its_commits_and_forgotten_when_nobody_asks() {
        let fixture = Fixture::new();
        let id = |letter: char| CommitId::parse(&letter.to_string().repeat(40)).expect("an id");
        let target = |name: &str, tip| Target { name: name.into(), reference: None, tip };
        let (main, other) = (target("main", id('a')), target("other", id('b')));
        let verdicts = [
            Ok(Integration { proof: Proof::PatchId, target: "other".into() }),
            Err(NotIntegrated::Unproved),
            Err(NotIntegrated::TakenBack { by: id('c'), target: "main".into() }),
        ];
        let ask = |proofs: &Proofs, tip: char, targets: &[&Target], find: Option<&Verdict>| {
            let find = || Ok(find.expect("it is known").clone());
            proofs.verdict((&id(tip), None), targets, find).expect("a verdict")
        };
        let tips = ['1', '2', '3'];
        let first = Proofs::open(&fixture.repo);
        for (tip, verdict) in tips.into_iter().zip(&verdicts) {
            assert_eq!(ask(&first, tip, &[&main, &other], Some(verdict)), *verdict);
        }
        std::fs::create_dir_all(fixture.repo.state_dir()).expect("made");
        first.keep();
        let again = Proofs::open(&fixture.repo);
        for (tip, verdict) in tips.into_iter().zip(&verdicts).take(2) {
            assert_eq!(ask(&again, tip, &[&main, &other], None), *verdict);
        }
        // A target that has moved is another question.
        let moved = target("main", id('d'));
        assert_eq!(ask(&again, '1', &[&moved, &other], Some(&verdicts[1])), verdicts[1]);
        again.keep();
        let last = Proofs::open(&fixture.repo);
        assert_eq!(ask(&last, '3', &[&main, &other], Some(&verdicts[1])), verdicts[1], "it was forgotten");
        std::fs::write(fixture.repo.state_dir().join("proofs.json"), "{").expect("written");
        let damaged = Proofs::open(&fixture.repo);
        assert_eq!(ask(&damaged, '1', &[&main, &other], Some(&verdicts[2])), verdicts[2]);
    }
}
