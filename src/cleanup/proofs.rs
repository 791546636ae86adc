//! What is known already of whether work is in its targets: a verdict depends on commits alone, and what those are never changes.
//!
//! A file in the repository's own state, which is as good as absent when it cannot be read: then everything is proved anew. What
//! was not asked for the last time is forgotten, so that it does not grow.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::verdict::{Integration, NotIntegrated, Target, Verdict};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::fs;
use crate::worktree::Repository;
use crate::worktree::landed::Proof;

/// What the file begins with; with another number it is another treehand's, whose rungs may be others.
const VERSION: u32 = 1;

/// Largest file that is read.
const SIZE_MAX: u64 = 64 << 20;

/// A verdict, with the place of its target among those that were asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Known {
    In(Proof, usize),
    Unproved,
    TakenBack(CommitId, usize),
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    verdicts: BTreeMap<String, Known>,
}

/// The verdicts that are known.
#[derive(Debug, Default)]
pub struct Proofs {
    file: Option<PathBuf>,
    before: BTreeMap<String, Known>,
    now: RefCell<BTreeMap<String, Known>>,
}

impl Proofs {
    /// Those that were kept.
    pub fn open(repo: &Repository) -> Proofs {
        let (directory, name) = (repo.state_dir(), "proofs.json");
        let read = fs::read_beneath(&directory, name.as_ref(), SIZE_MAX).ok().flatten();
        let kept: Option<Kept> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let before = kept.filter(|kept| kept.version == VERSION).map(|kept| kept.verdicts).unwrap_or_default();
        Proofs { file: Some(directory.join(name)), before, now: RefCell::default() }
    }

    /// The verdict on this work, found now if it is not known.
    pub fn verdict(
        &self,
        (tip, base): (&CommitId, Option<&CommitId>),
        targets: &[&Target],
        find: impl FnOnce() -> Result<Verdict>,
    ) -> Result<Verdict> {
        let tips: Vec<&str> = targets.iter().map(|target| target.tip.as_str()).collect();
        let key = format!("{tip} {} {}", base.map_or("-", CommitId::as_str), tips.join(" "));
        if let Some(known) = self.before.get(&key)
            && let Some(verdict) = known.with_names(targets)
        {
            self.now.borrow_mut().insert(key, known.clone());
            return Ok(verdict);
        }
        let verdict = find()?;
        if let Some(known) = Known::of(&verdict, targets) {
            self.now.borrow_mut().insert(key, known);
        }
        Ok(verdict)
    }

    /// Keeps what was asked for.
    pub fn keep(&self) {
        let (Some(file), now) = (&self.file, self.now.borrow()) else { return };
        if *now == self.before {
            return;
        }
        let kept = Kept { version: VERSION, verdicts: now.clone() };
        let written = serde_json::to_vec(&kept).map(|bytes| fs::write_atomic(file, &bytes));
        if let Ok(Err(error)) = written {
            // The next one finds it anew.
            tracing::debug!("what was proved is not kept: {}", chain(&error));
        }
    }
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
