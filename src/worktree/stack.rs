//! Decision file: what a stacked workspace stands on now. Its base is the branch of another; when that one's work has landed, by
//! whatever strategy, or the branch is gone, the upper one goes on against what the lower one was based on.
//!
//! What the lower one brought is left out of the upper one only where it is proved: it is in what that stands on now, or
//! the branch had it and is elsewhere. The facts are dear, so they are asked for one by one.

use super::error::Result;
use super::links::{Lower, is_stale};
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;

/// What a workspace is to be held against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The place in `[base, stack…]`.
    pub at: usize,
    /// Why that is not its base, or what is to be known of its base.
    pub why: Option<String>,
    /// What of its history is not its own work, as far as it is in it.
    pub foreign: Vec<CommitId>,
}

/// What has to be known of the branches.
pub trait Facts {
    /// The newest tips of a base by its name: none when it is gone, two when it has diverged from its counterpart.
    fn tips(&mut self, name: &str) -> Result<Vec<CommitId>>;
    /// Whether work is provably in a target.
    fn has_landed(&mut self, work: &CommitId, target: &CommitId) -> Result<bool>;
    /// Whether a branch that is there has a commit, had it before it was moved elsewhere, or keeps no log that tells.
    fn has_had(&mut self, name: &str, commit: &CommitId) -> Result<bool>;
}

/// What a workspace is to be held against now.
pub fn standing_on(lower: &Lower, record: &WorkspaceRecord, facts: &mut dyn Facts) -> Result<Standing> {
    let base = &record.base;
    let names: Vec<&String> = base.references().collect();
    let mut tips = Vec::new();
    for name in &names {
        let stale = is_stale(lower, record.branch.as_str(), record.made_at(), name);
        tips.push(if stale { Vec::new() } else { facts.tips(name)? });
    }
    // One that is gone is passed over; without any the last one is what there is to say something of.
    let there: Vec<usize> = (0..names.len()).filter(|at| !tips[*at].is_empty()).collect();
    let mut at = there.first().copied().unwrap_or(names.len() - 1);
    let again = is_stale(lower, record.branch.as_str(), record.made_at(), names[0]);
    let gone =
        (at > 0).then(|| format!("`{}` {}", names[0], if again { "was made again on top of it" } else { "is gone" }));
    let mut passed = None;
    // The work of the lower ones that it may have, what it was based on first.
    let mut work = vec![base.commit.clone()];
    for next in there.iter().skip(1) {
        // One that has not begun has not landed either.
        let idle = lower.get(names[at]).is_some_and(|one| tips[at] == [one.base.commit.clone()]);
        if idle || !all_landed(facts, &tips[at], &tips[*next])? {
            break;
        }
        passed = Some(names[at].as_str());
        work.extend(tips[at].iter().cloned());
        at = *next;
    }
    // What came to the branch it was based on is proved by that, also what was amended there before it landed.
    let by_branch = gone.is_none() && facts.has_had(names[0], &base.commit)?;
    let proved = by_branch || all_landed(facts, &work[..1], &tips[at])?;
    let why = why(gone.as_deref(), passed, names[at], proved);
    Ok(Standing { at, why, foreign: work.split_off(usize::from(!proved)) })
}

/// True when each of these is provably in one of those.
fn all_landed(facts: &mut dyn Facts, work: &[CommitId], targets: &[CommitId]) -> Result<bool> {
    for commit in work {
        let mut landed = false;
        for target in targets {
            landed = landed || facts.has_landed(commit, target)?;
        }
        if !landed {
            return Ok(false);
        }
    }
    Ok(true)
}

fn why(gone: Option<&str>, passed: Option<&str>, onto: &str, proved: bool) -> Option<String> {
    let kept = "the commits that it was based on are kept";
    match (gone, passed) {
        (Some(gone), _) if proved => Some(format!("its base {gone}; it stands on `{onto}` now")),
        (Some(gone), _) => {
            Some(format!("its base {gone} and is not known to have landed on `{onto}`, where it stands now: {kept}"))
        }
        (None, Some(passed)) if proved => {
            Some(format!("its base `{passed}` has landed on `{onto}`, where it stands now"))
        }
        (None, Some(passed)) => Some(format!(
            "its base `{passed}` has landed on `{onto}`, where it stands now, but was made again before that: {kept}"
        )),
        (None, None) if proved => None,
        (None, None) => Some(format!("its base `{onto}` was made again: {kept}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::record::{MadeAt, WorkspaceState};
    use crate::model::{BaseReport, BranchName, Timestamp, Token, WorkspaceName};
    use crate::worktree::links::LowerOne;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    /// Branches by name and tip, what has landed where, and which branch has had what.
    #[derive(Default)]
    struct Told {
        tips: BTreeMap<&'static str, char>,
        landed: Vec<(char, char)>,
        had: Vec<(&'static str, char)>,
    }

    impl Facts for Told {
        fn tips(&mut self, name: &str) -> Result<Vec<CommitId>> {
            Ok(self.tips.get(name).map(|digit| id(*digit)).into_iter().collect())
        }
        fn has_landed(&mut self, work: &CommitId, target: &CommitId) -> Result<bool> {
            Ok(work == target
                || self.landed.iter().any(|(from, to)| (id(*from), id(*to)) == (work.clone(), target.clone())))
        }
        fn has_had(&mut self, name: &str, commit: &CommitId) -> Result<bool> {
            Ok(self.had.iter().any(|(branch, digit)| *branch == name && id(*digit) == *commit))
        }
    }

    /// A workspace on `l` at 2, which is on `k`, which is on `main`.
    fn upper() -> WorkspaceRecord {
        let stack = vec!["k".to_owned(), "main".to_owned()];
        WorkspaceRecord {
            name: WorkspaceName::parse("u").expect("a name"),
            state: WorkspaceState::Ready,
            path: "/u".into(),
            branch: BranchName::parse("u").expect("a name"),
            base: BaseReport { stack, ..BaseReport::fixed("l", id('2')) },
            sealed: false,
            strategy: String::new(),
            strategy_why: String::new(),
            lease: Token::parse(&"0".repeat(32)).expect("a token"),
            created_at: Timestamp(0),
            order: 2,
            owner: None,
            imported: None,
            disk: None,
            sparse: Vec::new(),
        }
    }

    fn check(told: Told, at: usize, foreign: &[char], words: &str) {
        let lower = Lower::from([
            (
                "k".into(),
                LowerOne { base: BaseReport::fixed("main", id('a')), made_at: MadeAt { order: 0, at: Timestamp(0) } },
            ),
            (
                "l".into(),
                LowerOne { base: BaseReport::fixed("k", id('1')), made_at: MadeAt { order: 1, at: Timestamp(0) } },
            ),
        ]);
        let mut told = told;
        let standing = standing_on(&lower, &upper(), &mut told).expect("decided");
        let foreign: Vec<CommitId> = foreign.iter().map(|digit| id(*digit)).collect();
        assert_eq!((standing.at, &standing.foreign), (at, &foreign), "{words}");
        let why = standing.why.unwrap_or_default();
        assert!(if words.is_empty() { why.is_empty() } else { why.contains(words) }, "{words}: {why}");
    }

    fn tips<const N: usize>(all: [(&'static str, char); N]) -> BTreeMap<&'static str, char> {
        all.into()
    }

    #[test]
    fn what_a_lower_branch_brought_is_left_out_only_where_that_is_proved() {
        let all = || tips([("l", '3'), ("k", '4'), ("main", 'b')]);
        let had = || vec![("l", '2')];
        check(Told { tips: all(), had: had(), ..Told::default() }, 0, &['2'], "");
        check(Told { tips: all(), ..Told::default() }, 0, &[], "`l` was made again");
        check(Told { tips: all(), landed: vec![('2', '3')], ..Told::default() }, 0, &['2'], "");
        let landed = vec![('3', '4')];
        check(Told { tips: all(), had: had(), landed: landed.clone() }, 1, &['2', '3'], "`l` has landed on `k`");
        check(Told { tips: all(), had: vec![], landed }, 1, &['3'], "made again before that");
        let landed = vec![('3', '4'), ('4', 'b')];
        check(Told { tips: all(), had: had(), landed }, 2, &['2', '3', '4'], "`k` has landed on `main`");
    }

    #[test]
    fn what_a_branch_brought_that_is_gone_is_kept_unless_it_is_in_what_is_below() {
        let without = |landed: &[(char, char)]| Told {
            tips: tips([("k", '4'), ("main", 'b')]),
            landed: landed.to_vec(),
            had: vec![("l", '2')],
        };
        check(without(&[]), 1, &[], "`l` is gone and is not known to have landed on `k`");
        check(without(&[('2', '4')]), 1, &['2'], "`l` is gone; it stands on `k`");
        check(without(&[('4', 'b')]), 2, &['4'], "not known to have landed on `main`");
        check(without(&[('4', 'b'), ('2', 'b')]), 2, &['2', '4'], "`l` is gone; it stands on `main`");
        let gone = Told { tips: tips([("main", 'b')]), landed: vec![('2', 'b')], had: vec![] };
        check(gone, 2, &['2'], "`l` is gone; it stands on `main`");
        check(Told::default(), 2, &[], "`l` is gone and is not known");
    }

    #[test]
    fn a_branch_that_has_not_begun_has_not_landed() {
        let told = Told {
            tips: tips([("l", '1'), ("k", '4'), ("main", 'b')]),
            landed: vec![('1', '4')],
            had: vec![("l", '2')],
        };
        check(told, 0, &['2'], "");
    }
}
