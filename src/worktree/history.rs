//! Scan: the whole history of one commit in memory, for questions that would each cost git a walk.
//!
//! Loaded by one process and never written. Who asks only a few questions asks git itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::error::Result;
use super::repository::Repository;
use crate::model::CommitId;

/// The place of a commit in a history; every commit has a smaller one than its parents.
pub type Place = usize;

/// A commit with all that it descends from.
#[derive(Debug, Default)]
pub struct History {
    ids: Vec<CommitId>,
    parents: Vec<Vec<Place>>,
    by_id: Vec<Place>,
    /// The line of first parents, the oldest first.
    line: Vec<Place>,
    /// For each commit the place on the line of the first one there that has it.
    brought: Vec<usize>,
}

impl History {
    /// Loads it.
    pub fn load(repo: &Repository, tip: &CommitId) -> Result<History> {
        let args = ["rev-list", "--topo-order", "--parents", tip.as_str(), "--"];
        let text = repo.bare(args).run()?.stdout;
        let ids = |line: &[u8]| -> Vec<CommitId> {
            let text = String::from_utf8_lossy(line);
            text.split(' ').filter_map(|id| CommitId::parse(id).ok()).collect()
        };
        Ok(History::of(text.split(|byte| *byte == b'\n').map(ids)))
    }

    /// Of commits, each with its parents after it, every one before its parents.
    fn of(commits: impl Iterator<Item = Vec<CommitId>>) -> History {
        let mut history = History::default();
        let mut parents = Vec::new();
        for mut ids in commits.filter(|ids| !ids.is_empty()) {
            parents.push(ids.split_off(1));
            history.ids.append(&mut ids);
        }
        history.by_id = (0..history.ids.len()).collect();
        history.by_id.sort_by(|one, other| history.ids[*one].cmp(&history.ids[*other]));
        // What a shallow history has cut off has no place.
        history.parents = parents.iter().map(|ids| ids.iter().filter_map(|id| history.place(id)).collect()).collect();
        history.find_the_line();
        history
    }

    fn find_the_line(&mut self) {
        let mut next = if self.ids.is_empty() { None } else { Some(0) };
        while let Some(place) = next {
            self.line.push(place);
            next = self.parents[place].first().copied();
        }
        self.line.reverse();
        self.brought = vec![usize::MAX; self.ids.len()];
        for (number, place) in self.line.iter().enumerate() {
            let mut waiting = vec![*place];
            while let Some(place) = waiting.pop() {
                if self.brought[place] == usize::MAX {
                    self.brought[place] = number;
                    waiting.extend_from_slice(&self.parents[place]);
                }
            }
        }
    }

    /// Where a commit is; `None` when it is not in this history.
    pub fn place(&self, id: &CommitId) -> Option<Place> {
        let found = self.by_id.binary_search_by(|place| self.ids[*place].cmp(id)).ok()?;
        Some(self.by_id[found])
    }

    /// The commit at a place.
    pub fn id(&self, place: Place) -> &CommitId {
        &self.ids[place]
    }

    /// True for a merge.
    pub fn is_merge(&self, place: Place) -> bool {
        self.parents[place].len() > 1
    }

    /// The number, on the line of first parents, of the oldest commit there that has this one.
    pub fn brought_by(&self, place: Place) -> usize {
        self.brought[place]
    }

    /// True for a commit on the line of first parents: the tip was there once.
    pub fn is_on_line(&self, place: Place) -> bool {
        self.line.get(self.brought[place]) == Some(&place)
    }

    /// What the line had before it took this commit; `None` when it began with it.
    pub fn before(&self, place: Place) -> Option<Place> {
        self.line.get(self.brought[place].checked_sub(1)?).copied()
    }

    /// Everything that `place` has and `without` has not.
    pub fn beyond(&self, place: Place, without: Option<Place>) -> Vec<Place> {
        // By place, so that each commit comes after everything that descends from it.
        let mut hidden: HashMap<Place, bool> = HashMap::from([(place, false)]);
        let mut waiting = BinaryHeap::from([Reverse(place)]);
        if let Some(without) = without {
            waiting.extend(hidden.insert(without, true).is_none().then_some(Reverse(without)));
        }
        let (mut wanted, mut found) = (hidden.values().filter(|hidden| !**hidden).count(), Vec::new());
        while let (Some(Reverse(place)), true) = (waiting.pop(), wanted > 0) {
            let is_hidden = hidden.get(&place).copied().unwrap_or(true);
            if !is_hidden {
                wanted -= 1;
                found.push(place);
            }
            for parent in &self.parents[place] {
                match hidden.insert(*parent, is_hidden || hidden.get(parent) == Some(&true)) {
                    None => {
                        wanted += usize::from(!is_hidden);
                        waiting.push(Reverse(*parent));
                    }
                    Some(false) if is_hidden => wanted -= 1,
                    Some(_) => {}
                }
            }
        }
        found
    }

    /// True when a commit is this one or one that it descends from.
    pub fn is_ancestor(&self, ancestor: Place, of: Place) -> bool {
        if self.brought[ancestor] > self.brought[of] || ancestor < of {
            return false;
        }
        let (mut seen, mut waiting) = (std::collections::HashSet::new(), vec![of]);
        while let Some(place) = waiting.pop() {
            if place == ancestor {
                return true;
            }
            if place < ancestor && seen.insert(place) {
                waiting.extend_from_slice(&self.parents[place]);
            }
        }
        false
    }

    /// Of some commits the one that all others are or descend to: the best common ancestor of this tip and who has just them.
    /// `None` when there is none, or it cannot be told without a walk.
    pub fn newest(&self, of: &[Place]) -> Option<Place> {
        let newest = of.iter().copied().max_by_key(|place| (self.brought[*place], self.is_on_line(*place)))?;
        let covers =
            |place: &Place| *place == newest || self.is_on_line(newest) && self.brought[*place] <= self.brought[newest];
        of.iter().all(covers).then_some(newest)
    }

    /// Every commit that the line took after this one, merges of two lines left out.
    pub fn taken_since(&self, place: Place) -> impl Iterator<Item = Place> + '_ {
        let since = self.brought[place];
        (0..self.ids.len()).filter(move |other| self.brought[*other] >= since && !self.is_merge(*other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> CommitId {
        CommitId::parse(&letter.to_string().repeat(40)).expect("an id")
    }

    /// `a` and `b` on the line, `c` and `d` beside it (from `a`), merged by `e`; `f` is the tip.
    fn history() -> History {
        let lines = ["fe", "ebd", "dc", "ca", "ba", "a"];
        History::of(lines.iter().map(|line| line.chars().map(id).collect()))
    }

    #[test]
    fn the_line_of_first_parents_and_what_each_commit_on_it_took() {
        let history = history();
        let at = |letter| history.place(&id(letter)).expect("there");
        assert_eq!(history.place(&id('9')), None);
        for (letter, number, on_line) in
            [('a', 0, true), ('b', 1, true), ('c', 2, false), ('d', 2, false), ('e', 2, true), ('f', 3, true)]
        {
            assert_eq!((history.brought_by(at(letter)), history.is_on_line(at(letter))), (number, on_line), "{letter}");
        }
        assert_eq!((history.before(at('d')), history.before(at('a'))), (Some(at('b')), None));
        assert!(history.is_merge(at('e')) && !history.is_merge(at('f')));
    }

    #[test]
    fn what_one_has_and_the_other_has_not() {
        let history = history();
        let at = |letter| history.place(&id(letter)).expect("there");
        let check = |of: char, without: Option<char>, expected: &str| {
            let mut found: Vec<Place> = history.beyond(at(of), without.map(at));
            found.sort_unstable();
            let mut expected: Vec<Place> = expected.chars().map(at).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{of} without {without:?}");
        };
        check('d', Some('a'), "dc");
        check('d', Some('b'), "dc");
        check('d', Some('d'), "");
        check('e', Some('b'), "edc");
        check('e', Some('d'), "eb");
        check('b', Some('f'), "");
        check('d', None, "dca");
        for (ancestor, of, expected) in [
            ('a', 'd', true),
            ('b', 'd', false),
            ('d', 'b', false),
            ('c', 'f', true),
            ('f', 'f', true),
            ('f', 'a', false),
        ] {
            assert_eq!(history.is_ancestor(at(ancestor), at(of)), expected, "{ancestor} of {of}");
        }
    }

    #[test]
    fn the_best_of_several_common_ancestors_where_one_covers_the_others() {
        let history = history();
        let at = |letter| history.place(&id(letter)).expect("there");
        let newest = |of: &str| history.newest(&of.chars().map(at).collect::<Vec<_>>());
        assert_eq!((newest("ab"), newest("aeb"), newest("c")), (Some(at('b')), Some(at('e')), Some(at('c'))));
        assert_eq!((newest("bc"), newest("")), (None, None), "it takes a walk to tell");
    }
}
