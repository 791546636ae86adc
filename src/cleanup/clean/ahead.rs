//! Scan: proves for all branches at once, before any of them is looked at, where their work is.
//!
//! What it finds goes to [`Proofs`], where the scan of each branch finds it; what it does not find, or cannot read, is left to that
//! scan, which proves one branch alone and names what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cleanup::error::Result;
use crate::cleanup::integration;
use crate::cleanup::proofs::Proofs;
use crate::cleanup::verdict::{Integration, NotIntegrated, Target, Verdict};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::worktree::Repository;
use crate::worktree::landed_many::{self, Answer, Looked};

/// For so few, each alone costs less than the whole history.
const FEW: usize = 8;

/// What will be asked about one branch.
#[derive(Clone, Debug)]
pub struct Question {
    /// The full name of the branch, which is no target of its own.
    pub name: String,
    /// Its tip.
    pub tip: CommitId,
    /// The commit that its work began on, where that is known.
    pub base: Option<CommitId>,
    /// Where the work belongs.
    pub targets: Vec<Target>,
    /// It will be asked how many commits no target has.
    pub counted: bool,
}

/// What was found about each tip in one target.
type Answers = BTreeMap<(CommitId, Option<CommitId>), Looked>;

/// Finds what can be found for all of them together.
pub fn prove(repo: &Repository, proofs: &Proofs, questions: &[Question]) {
    // Who cannot be answered together is looked at alone, and there it is said why.
    if let Err(error) = prove_all(repo, proofs, questions) {
        tracing::debug!("the branches cannot be looked at together: {}", chain(&error));
    }
}

fn prove_all(repo: &Repository, proofs: &Proofs, questions: &[Question]) -> Result<()> {
    let mut open: Vec<(&Question, Vec<&Target>)> =
        questions.iter().map(|one| (one, integration::others(&one.name, &one.targets))).collect();
    open.retain(|(one, targets)| !targets.is_empty() && !proofs.knows((&one.tip, one.base.as_ref()), targets));
    let mut by_target: BTreeMap<&CommitId, BTreeSet<(CommitId, Option<CommitId>)>> = BTreeMap::new();
    for (one, targets) in &open {
        for target in targets {
            by_target.entry(&target.tip).or_default().insert((one.tip.clone(), one.base.clone()));
        }
    }
    by_target.retain(|_, asked| asked.len() >= FEW);
    let mut answers: BTreeMap<&CommitId, Answers> = BTreeMap::new();
    for (target, asked) in by_target {
        let asked: Vec<_> = asked.into_iter().collect();
        let looked = landed_many::look(repo, target, &asked)?;
        answers.insert(target, asked.into_iter().zip(looked).collect());
    }
    for (one, targets) in &open {
        let key = (one.tip.clone(), one.base.clone());
        let found: Vec<Option<&Looked>> =
            targets.iter().map(|target| answers.get(&target.tip).and_then(|answers| answers.get(&key))).collect();
        for (target, looked) in targets.iter().zip(&found) {
            if let (Some(looked), true) = (looked, one.base.as_ref().is_none_or(|base| *base == one.tip)) {
                proofs.is_on_line(&one.tip, target, || Ok(looked.is_on_line))?;
            }
        }
        if let Some(verdict) = verdict(targets, &found) {
            proofs.learn((&one.tip, one.base.as_ref()), targets, &verdict);
        }
    }
    count(repo, proofs, &open)
}

/// What [`crate::cleanup::integration`] says by these answers; `None` where it has to look itself.
fn verdict(targets: &[&Target], found: &[Option<&Looked>]) -> Option<Verdict> {
    let mut first = None;
    for (target, looked) in targets.iter().zip(found) {
        match looked.map(|looked| &looked.answer)? {
            Answer::In(proof) if first.is_none() => {
                first = Some(Integration { proof: *proof, target: target.name.clone() });
            }
            Answer::In(_) | Answer::NotIn => {}
            // It may have been taken back there.
            Answer::Unknown => return None,
        }
    }
    if let Some(found) = first {
        return Some(Ok(found));
    }
    let merges = found.iter().any(|looked| looked.is_some_and(|looked| looked.is_merge));
    (!merges).then_some(Err(NotIntegrated::Unproved))
}

/// Counts what no target has of those that are in none.
fn count(repo: &Repository, proofs: &Proofs, open: &[(&Question, Vec<&Target>)]) -> Result<()> {
    let mut by_targets: BTreeMap<Vec<&CommitId>, (Vec<&Target>, BTreeSet<&CommitId>)> = BTreeMap::new();
    for (one, targets) in open.iter().filter(|(one, _)| one.counted) {
        let tips: Vec<&CommitId> = targets.iter().map(|target| &target.tip).collect();
        by_targets.entry(tips).or_insert_with(|| (targets.clone(), BTreeSet::new())).1.insert(&one.tip);
    }
    for (tips, (targets, of)) in by_targets.into_iter().filter(|(_, (_, of))| of.len() >= FEW) {
        for (tip, count) in of.iter().zip(landed_many::count_beyond(repo, &tips, &of)?) {
            proofs.beyond(tip, &targets, || Ok(count))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::landed::Proof;

    #[test]
    fn together_they_are_judged_as_one_alone_is() {
        let tip = CommitId::parse(&"a".repeat(40)).expect("an id");
        let target = |name: &str| Target { name: name.into(), reference: None, tip: tip.clone() };
        let targets = [target("main"), target("origin/main")];
        let targets: Vec<&Target> = targets.iter().collect();
        let looked = |answer, is_merge| Looked { answer, is_on_line: false, is_merge };
        let (inside, not, unknown) = (Answer::In(Proof::PatchId), Answer::NotIn, Answer::Unknown);
        let landed = |name: &str| Some(Ok(Integration { proof: Proof::PatchId, target: name.into() }));
        let table = [
            (inside.clone(), not.clone(), false, landed("main")),
            (inside.clone(), unknown.clone(), false, None),
            (not.clone(), inside.clone(), false, landed("origin/main")),
            (unknown, inside, false, None),
            (not.clone(), not.clone(), false, Some(Err(NotIntegrated::Unproved))),
            (not.clone(), not, true, None),
        ];
        for (one, other, is_merge, expected) in table {
            let found = [looked(one, is_merge), looked(other, is_merge)];
            assert_eq!(verdict(&targets, &found.each_ref().map(Some)), expected, "{found:?}");
        }
        assert_eq!(verdict(&targets, &[None, None]), None);
    }
}
