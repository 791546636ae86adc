//! Decision file: how the commits of open results stand to each other, by what each has beyond the target.
//!
//! A result that is in another's history is part of that one: the two are no pair. Two that share commits which the target has
//! not were made from a common piece of work; only their own history has the base that fits. All others have nothing in
//! common but the target.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::CommitId;

/// What the target has not: each commit with its parents.
pub type Parents = HashMap<CommitId, Vec<CommitId>>;

/// How two results stand to each other, where it is not only by the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// One is part of the other, or the same.
    Nested,
    /// They share work that the target has not.
    Shared,
}

/// How one result stands to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The target has it.
    Within,
    /// The target's tip is in its history.
    Ahead,
    /// Both have commits of their own.
    Beside,
    /// They have nothing in common.
    Unrelated,
}

/// What is known of some results and a target.
#[derive(Debug)]
pub struct Family {
    /// How each result stands to the target.
    pub standings: Vec<Standing>,
    /// The only commit of the target's history that each is on, where there is one only.
    pub forks: Vec<Option<CommitId>>,
    /// The pairs that share something beyond it, by their places, the smaller first.
    pub kin: BTreeMap<(usize, usize), Kin>,
}

impl Family {
    /// Looks at them.
    pub fn of(target: &CommitId, beyond: &Parents, tips: &[&CommitId]) -> Family {
        let owned: Vec<HashSet<&CommitId>> = tips.iter().map(|tip| own(beyond, tip)).collect();
        let left: Vec<HashSet<&CommitId>> = owned.iter().map(|own| left(beyond, own)).collect();
        let standings = owned.iter().zip(&left).map(|(own, left)| standing(target, own, left)).collect();
        let only =
            |left: &HashSet<&CommitId>| left.iter().next().filter(|_| left.len() == 1).map(|only| (*only).clone());
        let forks = left.iter().map(only).collect();
        let mut owners: HashMap<&CommitId, Vec<usize>> = HashMap::new();
        for (at, own) in owned.iter().enumerate() {
            own.iter().for_each(|commit| owners.entry(commit).or_default().push(at));
        }
        let mut kin = BTreeMap::new();
        // Commits that the same results have say the same.
        let groups: HashSet<Vec<usize>> = owners.into_values().filter(|owners| owners.len() > 1).collect();
        for group in groups {
            for (place, one) in group.iter().enumerate() {
                for other in &group[place + 1..] {
                    let nested = owned[*one].contains(tips[*other]) || owned[*other].contains(tips[*one]);
                    kin.insert((*one, *other), if nested { Kin::Nested } else { Kin::Shared });
                }
            }
        }
        Family { standings, forks, kin }
    }
}

fn own<'a>(beyond: &'a Parents, tip: &'a CommitId) -> HashSet<&'a CommitId> {
    let (mut seen, mut waiting) = (HashSet::new(), vec![tip]);
    while let Some(commit) = waiting.pop() {
        if let Some(parents) = beyond.get(commit).filter(|_| !seen.contains(commit)) {
            seen.insert(commit);
            waiting.extend(parents);
        }
    }
    seen
}

/// Where own commits meet the target's history.
fn left<'a>(beyond: &'a Parents, own: &HashSet<&CommitId>) -> HashSet<&'a CommitId> {
    let parents = own.iter().filter_map(|commit| beyond.get(*commit)).flatten();
    parents.filter(|parent| !own.contains(parent)).collect()
}

fn standing(target: &CommitId, own: &HashSet<&CommitId>, left: &HashSet<&CommitId>) -> Standing {
    match (own.is_empty(), left.is_empty()) {
        (true, _) => Standing::Within,
        (false, true) => Standing::Unrelated,
        (false, false) if left.contains(target) => Standing::Ahead,
        (false, false) => Standing::Beside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> CommitId {
        CommitId::parse(&letter.to_string().repeat(40)).expect("an id")
    }

    #[test]
    fn results_beside_upon_and_within_each_other() {
        // The target is `0`, on `9`. `1` is on it, `2` on `1`, `3` on `1`, too; `4` is on `9`; `5` is a root; `6` merges `4` and `0`.
        let lines = ["10", "21", "31", "49", "5", "640"];
        let entry = |line: &&str| {
            let mut ids = line.chars().map(id);
            (ids.next().expect("a commit"), ids.collect())
        };
        let beyond: Parents = lines.iter().map(entry).collect();
        let letters = ['1', '2', '3', '4', '5', '6', '0', '2'];
        let tips = letters.map(id);
        let family = Family::of(&id('0'), &beyond, &tips.iter().collect::<Vec<_>>());
        use Standing::{Ahead, Beside, Unrelated, Within};
        assert_eq!(family.standings, [Ahead, Ahead, Ahead, Beside, Unrelated, Ahead, Within, Ahead]);
        let forks = [Some('0'), Some('0'), Some('0'), Some('9'), None, None, None, Some('0')];
        assert_eq!(family.forks, forks.map(|fork| fork.map(id)));
        let nested = [(0, 1), (0, 2), (0, 7), (1, 7), (3, 5)];
        let shared = [(1, 2), (2, 7)];
        let mut expected: BTreeMap<(usize, usize), Kin> = nested.into_iter().map(|pair| (pair, Kin::Nested)).collect();
        expected.extend(shared.map(|pair| (pair, Kin::Shared)));
        assert_eq!(family.kin, expected);
    }
}
