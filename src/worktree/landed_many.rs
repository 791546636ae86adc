//! Scan: what `landed` proves of one tip, for any number of them and one target, in a handful of processes.
//!
//! By the same rungs. Where one process cannot tell (criss-cross merges, a commit that somebody may have reverted), the answer
//! is that it is not known, and who asked looks at that tip alone. Reads only; merges that are tried live in a quarantine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::error::Result;
use super::history::{History, Place};
use super::landed::Proof;
use super::merge::merge_many;
use super::patches::{self, Beside, Taken, Work};
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::reverted;
use crate::model::CommitId;

/// A tip, and the commit that its work began on where that is known.
pub type Question = (CommitId, Option<CommitId>);

/// What is known of one tip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// Whether the target has its work.
    pub answer: Answer,
    /// The target itself was there once.
    pub is_on_line: bool,
    /// It is a merge that the target has not.
    pub is_merge: bool,
}

/// Whether a target has the work of a tip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The target has its work.
    In(Proof),
    /// No rung holds.
    NotIn,
    /// It has to be looked at alone.
    Unknown,
}

/// Looks at all of them.
pub fn look(repo: &Repository, target: &CommitId, questions: &[Question]) -> Result<Vec<Looked>> {
    let history = History::load(repo, target)?;
    let reverted = Reverted::find(repo, target, &history)?;
    let beyond: BTreeSet<&CommitId> =
        questions.iter().map(|(tip, _)| tip).filter(|tip| history.place(tip).is_none()).collect();
    let own = Own::load(repo, &[target], &beyond)?;
    let beyond = look_beyond(repo, target, &history, &reverted, (&own, &beyond))?;
    let answer = |(tip, base): &Question| match history.place(tip) {
        None => beyond.get(tip).cloned().unwrap_or(Answer::Unknown),
        Some(place) => {
            let base = base.as_ref().map(|base| history.place(base));
            match base {
                // Without work of its own there is nothing that could be taken back.
                Some(Some(base)) if base == place => Answer::In(Proof::Ancestor),
                Some(None) if !reverted.is_empty() => Answer::Unknown,
                base if reverted.may_concern(&history, place, base.flatten()) => Answer::Unknown,
                _ => Answer::In(Proof::Ancestor),
            }
        }
    };
    let looked = |question: &Question| {
        let is_on_line = history.place(&question.0).is_some_and(|place| history.is_on_line(place));
        Looked { answer: answer(question), is_on_line, is_merge: own.is_merge(&question.0) }
    };
    Ok(questions.iter().map(looked).collect())
}

/// How many commits each tip has that none of the targets has.
pub fn count_beyond(repo: &Repository, targets: &[&CommitId], tips: &BTreeSet<&CommitId>) -> Result<Vec<usize>> {
    let own = Own::load(repo, targets, tips)?;
    Ok(tips.iter().map(|tip| own.count(tip)).collect())
}

/// What the history of a target says was reverted.
struct Reverted {
    places: HashSet<Place>,
    /// Where merges were reverted, by their number on the line.
    merges: HashSet<usize>,
}

impl Reverted {
    fn find(repo: &Repository, target: &CommitId, history: &History) -> Result<Reverted> {
        let named = reverted::ever_reverted(repo, target)?;
        let places: HashSet<Place> = named.iter().filter_map(|id| history.place(id)).collect();
        let merges = places.iter().filter(|place| history.is_merge(**place)).map(|place| history.brought_by(*place));
        Ok(Reverted { merges: merges.collect(), places })
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// True when a commit of this work, or a merge that brought it, may have been reverted.
    fn may_concern(&self, history: &History, tip: Place, base: Option<Place>) -> bool {
        if self.is_empty() {
            return false;
        }
        let base = base.or_else(|| history.before(tip));
        self.merges.contains(&history.brought_by(tip))
            || history.beyond(tip, base).iter().any(|place| self.places.contains(place))
    }
}

/// A tip that the target has not.
struct Beyond {
    work: Work,
    tree: CommitId,
}

fn look_beyond(
    repo: &Repository,
    target: &CommitId,
    history: &History,
    reverted: &Reverted,
    (own, tips): (&Own, &BTreeSet<&CommitId>),
) -> Result<BTreeMap<CommitId, Answer>> {
    let mut answers = BTreeMap::new();
    let mut open = Vec::new();
    for tip in tips {
        match own.work_of(history, tip) {
            Fork::None => drop(answers.insert((*tip).clone(), Answer::NotIn)),
            Fork::Many => {}
            Fork::One(beyond) => open.push(beyond),
        }
    }
    let trees = trees_of(repo, open.iter().map(|beyond| &beyond.work.fork).chain([target]))?;
    let Some(whole) = trees.get(target) else { return Ok(answers) };
    let mut take = |open: &mut Vec<Beyond>, proof, holds: &dyn Fn(&Beyond) -> bool| {
        for beyond in open.extract_if(.., |beyond| holds(beyond)) {
            answers.insert(beyond.work.tip, Answer::In(proof));
        }
    };
    take(&mut open, Proof::SameTree, &|beyond| beyond.tree == *whole);
    take(&mut open, Proof::NoDiff, &|beyond| trees.get(&beyond.work.fork) == Some(&beyond.tree));
    let Some(same) = merge_adds_nothing(repo, target, whole, &open)? else { return Ok(answers) };
    take(&mut open, Proof::MergeAddsNothing, &|beyond| same.contains(&beyond.work.tip));
    for (beyond, taken) in open.iter().zip(by_patches(repo, history, &open)?) {
        let answer = match taken {
            None => Answer::NotIn,
            Some((_, commits))
                if commits.iter().any(|id| history.place(id).is_none_or(|at| reverted.places.contains(&at))) =>
            {
                Answer::Unknown
            }
            Some((proof, _)) => Answer::In(proof),
        };
        answers.insert(beyond.work.tip.clone(), answer);
    }
    Ok(answers)
}

/// The tips that would change nothing, merged into the target; only those are merged that could go either way.
fn merge_adds_nothing(
    repo: &Repository,
    target: &CommitId,
    whole: &CommitId,
    open: &[Beyond],
) -> Result<Option<HashSet<CommitId>>> {
    let works: Vec<&Work> = open.iter().map(|beyond| &beyond.work).collect();
    if works.is_empty() {
        return Ok(Some(HashSet::new()));
    }
    let beside = patches::beside(repo, &works, target)?;
    let tips = |which: Beside| -> Vec<&CommitId> {
        works.iter().zip(&beside).filter(|(_, beside)| **beside == which).map(|(work, _)| &work.tip).collect()
    };
    let mut same: HashSet<CommitId> = tips(Beside::Same).into_iter().cloned().collect();
    let tried = tips(Beside::Else);
    if !tried.is_empty() {
        let quarantine = Quarantine::create(repo, target)?;
        let trees = merge_many(&quarantine, target, &tried);
        quarantine.discard()?;
        let Some(trees) = trees? else { return Ok(None) };
        let adds_nothing =
            |(tip, tree): (&CommitId, Option<CommitId>)| (tree.as_ref() == Some(whole)).then(|| tip.clone());
        same.extend(tried.into_iter().zip(trees).filter_map(adds_nothing));
    }
    Ok(Some(same))
}

fn by_patches(repo: &Repository, history: &History, open: &[Beyond]) -> Result<Vec<Taken>> {
    let works: Vec<Work> = open.iter().map(|beyond| beyond.work.clone()).collect();
    let forks = works.iter().filter_map(|work| history.place(&work.fork));
    let Some(oldest) = forks.min_by_key(|place| history.brought_by(*place)) else { return Ok(Vec::new()) };
    let since: Vec<CommitId> = history.taken_since(oldest).map(|place| history.id(place).clone()).collect();
    patches::find(repo, &works, &since, |work, commit| match (history.place(commit), history.place(&work.fork)) {
        (Some(commit), Some(fork)) => !history.is_ancestor(commit, fork),
        _ => false,
    })
}

/// Where a tip and the target parted.
enum Fork {
    /// They have nothing in common.
    None,
    /// At one commit.
    One(Beyond),
    /// That takes a walk to tell.
    Many,
}

/// What the tips have beyond the target: each commit with its tree and its parents.
struct Own(HashMap<CommitId, (CommitId, Vec<CommitId>)>);

impl Own {
    fn load(repo: &Repository, targets: &[&CommitId], tips: &BTreeSet<&CommitId>) -> Result<Own> {
        let mut input: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
        if input.is_empty() {
            return Ok(Own(HashMap::new()));
        }
        input.extend(targets.iter().map(|target| format!("^{target}\n")));
        let args = ["rev-list", "--no-commit-header", "--format=%H %T %P", "--stdin"];
        let text = repo.bare(args).stdin(input).text()?;
        let line = |line: &str| {
            let mut ids = line.split_whitespace().filter_map(|id| CommitId::parse(id).ok());
            Some((ids.next()?, (ids.next()?, ids.collect())))
        };
        Ok(Own(text.lines().filter_map(line).collect()))
    }

    fn is_merge(&self, tip: &CommitId) -> bool {
        self.0.get(tip).is_some_and(|(_, parents)| parents.len() > 1)
    }

    fn count(&self, tip: &CommitId) -> usize {
        let (mut seen, mut waiting) = (HashSet::new(), vec![tip]);
        while let Some(id) = waiting.pop() {
            if let Some((_, parents)) = self.0.get(id).filter(|_| seen.insert(id)) {
                waiting.extend(parents);
            }
        }
        seen.len()
    }

    fn work_of(&self, history: &History, tip: &CommitId) -> Fork {
        let (mut commits, mut merges, mut roots) = (Vec::new(), false, BTreeSet::new());
        let (mut seen, mut waiting) = (HashSet::new(), vec![tip]);
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            match (history.place(id), self.0.get(id)) {
                (Some(place), _) => drop(roots.insert(place)),
                (None, Some((_, parents))) => {
                    match parents.len() {
                        0 | 1 => commits.push(id.clone()),
                        _ => merges = true,
                    }
                    waiting.extend(parents);
                }
                // A shallow history ends here.
                (None, None) => return Fork::Many,
            }
        }
        let roots: Vec<Place> = roots.into_iter().collect();
        match (history.newest(&roots), self.0.get(tip)) {
            _ if roots.is_empty() => Fork::None,
            (Some(fork), Some((tree, _))) => {
                let fork = history.id(fork).clone();
                Fork::One(Beyond { work: Work { tip: tip.clone(), fork, commits, merges }, tree: tree.clone() })
            }
            _ => Fork::Many,
        }
    }
}

fn trees_of<'a>(
    repo: &Repository,
    commits: impl Iterator<Item = &'a CommitId>,
) -> Result<BTreeMap<CommitId, CommitId>> {
    let commits: Vec<&CommitId> = commits.collect::<BTreeSet<_>>().into_iter().collect();
    let input: String = commits.iter().map(|commit| format!("{commit}^{{tree}}\n")).collect();
    let text = repo.bare(["cat-file", "--batch-check=%(objectname)"]).stdin(input).text()?;
    let trees = text.lines().map(|line| CommitId::parse(line).ok());
    Ok(commits.into_iter().zip(trees).filter_map(|(commit, tree)| Some((commit.clone(), tree?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::landed;

    /// Each rung, in the ways that it comes about; what `landed` says of one tip is what this says of many.
    #[test]
    fn many_at_once_are_told_what_each_is_told_alone() {
        let fixture = Fixture::new();
        fixture.commit("lines", &format!("one\n{}last\n", "line\n".repeat(20)));
        let names = [
            "behind",
            "merged",
            "squashed",
            "picked",
            "later",
            "taken-back",
            "open",
            "conflict",
            "empty",
            "near",
            "mixed",
        ];
        for branch in names {
            fixture.git(&["branch", branch]);
        }
        let base = fixture.tip("refs/heads/main");
        let lines = |first: &str, last: &str| format!("{first}\n{}{last}\n", "line\n".repeat(20));
        for branch in ["merged", "squashed", "picked", "later", "taken-back", "open", "mixed"] {
            fixture.commit_on(branch, &[(branch, "one\n"), (&format!("{branch}-2"), "two\n")]);
        }
        fixture.commit_on("conflict", &[("a", "theirs\n")]);
        fixture.commit_on("empty", &[("tmp", "t\n")]);
        fixture.commit_on_tree("empty", "main");
        fixture.commit_on("near", &[("lines", &lines("first", "last"))]);
        fixture.commit("a", "ours\n");
        fixture.commit("lines", &lines("first", "other"));
        fixture.git(&["merge", "-q", "--no-ff", "-m", "m", "merged"]);
        fixture.git(&["merge", "-q", "--squash", "squashed"]);
        fixture.git(&["commit", "-q", "-m", "squashed"]);
        fixture.git(&["cherry-pick", "picked~1", "picked"]);
        for file in ["squashed", "picked-2"] {
            fixture.commit(file, "changed since\n");
        }
        fixture.git(&["merge", "-q", "--squash", "later"]);
        fixture.git(&["commit", "-q", "-m", "squashed later"]);
        fixture.git(&["merge", "-q", "--squash", "mixed"]);
        fixture.git(&["commit", "-q", "-m", "squashed mixed"]);
        fixture.commit("mixed", "again\n");
        fixture.git(&["merge", "-q", "--no-ff", "-m", "t", "taken-back"]);
        fixture.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
        // One that has merged the target since, and is in it by its patches all the same.
        let tree = fixture.dir.path().join("spare");
        fixture.git(&["worktree", "add", "-q", &tree.to_string_lossy(), "mixed"]);
        fixture.run_in(&tree, &["merge", "-q", "-s", "ours", "-m", "back", "main~3"]);
        fixture.git(&["worktree", "remove", &tree.to_string_lossy()]);

        let main = fixture.tip("refs/heads/main");
        let questions: Vec<Question> =
            names.iter().map(|name| (fixture.tip(&format!("refs/heads/{name}")), Some(base.clone()))).collect();
        let found = look(&fixture.repo, &main, &questions).expect("readable");
        let expected = [
            Answer::In(Proof::Ancestor),
            Answer::In(Proof::Ancestor),
            Answer::In(Proof::PatchId),
            Answer::In(Proof::PerCommitPatchId),
            Answer::In(Proof::MergeAddsNothing),
            Answer::Unknown,
            Answer::NotIn,
            Answer::NotIn,
            Answer::In(Proof::NoDiff),
            Answer::In(Proof::MergeAddsNothing),
        ];
        for ((name, looked), expected) in names.iter().zip(&found).zip(expected) {
            assert_eq!(looked.answer, expected, "{name}");
        }
        for ((name, looked), (tip, _)) in names.iter().zip(&found).zip(&questions) {
            let alone = landed::proof(&fixture.repo, tip, &main).expect("readable");
            let alone =
                alone.or(landed::by_patches(&fixture.repo, tip, &main).expect("readable").map(|found| found.proof));
            match &looked.answer {
                Answer::In(proof) => assert_eq!(alone, Some(*proof), "{name}"),
                Answer::NotIn => assert_eq!(alone, None, "{name}"),
                Answer::Unknown => {}
            }
            assert_eq!(looked.is_on_line, *name == "behind", "{name}");
        }
        let tips: BTreeSet<&CommitId> = questions.iter().map(|(tip, _)| tip).collect();
        for (tip, count) in tips.iter().zip(count_beyond(&fixture.repo, &[&main], &tips).expect("readable")) {
            let args = ["rev-list", "--count", tip.as_str(), &format!("^{main}")];
            assert_eq!(count.to_string(), fixture.git(&args).trim());
        }
    }
}
