//! Decision file: which of the tasks that could start do so, and which let others go first or wait, since they would change the same
//! files as something that is not over.
//!
//! Promises: with `prefer` no place stays free that a task could have; with `wait` a task waits only for what ends by itself, and
//! none that comes later in the file takes the files that it waits for. What needs each other never meets: that is ordered already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::overlap::{Pattern, meet, pairs, patterns};
use crate::model::OverlapPolicy;

/// What each task declares, by its place in the file, and who meets whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlaps {
    policy: OverlapPolicy,
    needs: Vec<Vec<usize>>,
    /// Which of the lists each task has; `None` where it declares nothing.
    list_of: Vec<Option<usize>>,
    lists: Vec<Vec<Pattern>>,
    /// What was asked of two lists, the smaller number first.
    known: HashMap<(usize, usize), bool>,
}

/// Who starts, and who waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a choice that is not applied starts nothing"]
pub struct Choice {
    /// Those that start, in this order.
    pub start: Vec<usize>,
    /// Those that wait, each with the first that it waits for.
    pub waits: Vec<(usize, usize)>,
}

impl Overlaps {
    /// Of the tasks of a run, in the order of the file: their `paths`, and where in the file what they need is.
    pub fn new(policy: OverlapPolicy, tasks: &[(&[String], Vec<usize>)]) -> Overlaps {
        let needs = tasks.iter().map(|(_, needs)| needs.clone()).collect();
        let mut overlaps =
            Overlaps { policy, needs, list_of: vec![None; tasks.len()], lists: Vec::new(), known: HashMap::new() };
        if policy == OverlapPolicy::Ignore {
            return overlaps;
        }
        let mut lists: BTreeMap<&[String], usize> = BTreeMap::new();
        for (task, (paths, _)) in tasks.iter().enumerate().filter(|(_, (paths, _))| !paths.is_empty()) {
            let next = lists.len();
            let list = *lists.entry(paths).or_insert(next);
            if list == next {
                overlaps.lists.push(patterns(paths));
            }
            overlaps.list_of[task] = Some(list);
        }
        overlaps
    }

    /// Whether two tasks may change the same file, and neither needs the other.
    pub fn meet(&mut self, one: usize, other: usize) -> bool {
        let (Some(mine), Some(theirs)) = (self.list_of[one], self.list_of[other]) else { return false };
        let key = (mine.min(theirs), mine.max(theirs));
        let lists = &self.lists;
        let met = *self.known.entry(key).or_insert_with(|| meet(&lists[key.0], &lists[key.1]));
        met && one != other && !self.needs_in_turn(one, other) && !self.needs_in_turn(other, one)
    }

    /// By which of their patterns two tasks meet, by the places of these in their lists.
    pub fn pairs(&self, one: usize, other: usize) -> Vec<(usize, usize)> {
        match (self.list_of[one], self.list_of[other]) {
            (Some(mine), Some(theirs)) => pairs(&self.lists[mine], &self.lists[theirs]),
            _ => Vec::new(),
        }
    }

    /// Whether a task needs another, directly or not.
    fn needs_in_turn(&self, task: usize, need: usize) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), self.needs[task].clone());
        while let Some(next) = open.pop() {
            if next == need {
                return true;
            }
            if seen.insert(next) {
                open.extend(&self.needs[next]);
            }
        }
        false
    }

    /// Chooses among those that are ready, in the order of the file, for so many free places. `busy` is what is at work, or about to
    /// land by itself.
    pub fn choose(&mut self, ready: &[usize], places: usize, busy: &[usize]) -> Choice {
        match self.policy {
            OverlapPolicy::Ignore => Choice { start: ready.iter().take(places).copied().collect(), waits: Vec::new() },
            OverlapPolicy::Prefer => self.prefer(ready, places, busy),
            OverlapPolicy::Wait => self.wait(ready, places, busy),
        }
    }

    fn prefer(&mut self, ready: &[usize], places: usize, busy: &[usize]) -> Choice {
        let (mut start, mut passed): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for task in ready {
            if start.len() == places {
                break;
            }
            let meets = self.first_met(*task, busy.iter().chain(&start)).is_some();
            if meets { &mut passed } else { &mut start }.push(*task);
        }
        let left = places - start.len();
        start.extend(passed.into_iter().take(left));
        Choice { start, waits: Vec::new() }
    }

    fn wait(&mut self, ready: &[usize], places: usize, busy: &[usize]) -> Choice {
        let (mut choice, mut waiting): (Choice, Vec<usize>) = (Choice::default(), Vec::new());
        for task in ready {
            let full = choice.start.len() == places;
            let at_work = busy.iter().chain(&choice.start);
            // What waits for those files already comes first. Where no place is free, it is a place that is waited for.
            let earlier = waiting.iter().filter(|_| !full);
            match self.first_met(*task, at_work.chain(earlier)) {
                Some(met) => {
                    choice.waits.push((*task, met));
                    waiting.push(*task);
                }
                None if !full => choice.start.push(*task),
                None => {}
            }
        }
        choice
    }

    fn first_met<'a>(&mut self, task: usize, others: impl Iterator<Item = &'a usize>) -> Option<usize> {
        self.list_of[task]?;
        others.copied().find(|other| self.meet(task, *other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn overlaps(policy: OverlapPolicy, tasks: &[(&[&str], &[usize])]) -> Overlaps {
        let owned: Vec<(Vec<String>, Vec<usize>)> = tasks
            .iter()
            .map(|(paths, needs)| (paths.iter().map(|path| (*path).to_owned()).collect(), needs.to_vec()))
            .collect();
        let tasks: Vec<(&[String], Vec<usize>)> =
            owned.iter().map(|(paths, needs)| (&paths[..], needs.clone())).collect();
        Overlaps::new(policy, &tasks)
    }

    const FOUR: [(&[&str], &[usize]); 4] = [(&["src/**"], &[]), (&["src/a/**"], &[]), (&["docs/**"], &[]), (&[], &[])];

    #[test]
    fn a_need_is_no_overlap_however_far_away_and_neither_is_a_task_that_declares_nothing() {
        let mut all =
            overlaps(OverlapPolicy::Wait, &[(&["a"], &[]), (&["a"], &[0]), (&["a"], &[1]), (&["a"], &[]), (&[], &[])]);
        let met: Vec<(usize, usize)> = (0..5)
            .flat_map(|one| (0..5).map(move |other| (one, other)))
            .filter(|(one, other)| all.meet(*one, *other))
            .collect();
        assert_eq!(met, [(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)]);
    }

    #[test]
    fn those_that_meet_nobody_start_first_and_the_others_only_where_a_place_is_left() {
        let mut prefer = overlaps(OverlapPolicy::Prefer, &FOUR);
        let start = |prefer: &mut Overlaps, places, busy: &[usize]| prefer.choose(&[1, 2, 3], places, busy).start;
        assert_eq!(start(&mut prefer, 1, &[0]), [2]);
        assert_eq!(start(&mut prefer, 2, &[0]), [2, 3]);
        assert_eq!(start(&mut prefer, 3, &[0]), [2, 3, 1]);
        assert_eq!(start(&mut prefer, 2, &[]), [1, 2]);
        assert_eq!(prefer.choose(&[0, 1, 2], 2, &[]).start, [0, 2], "also among those that start together");
    }

    #[test]
    fn with_wait_a_place_stays_free_rather_and_what_waits_is_not_overtaken_by_who_wants_its_files() {
        let mut wait = overlaps(OverlapPolicy::Wait, &FOUR);
        assert_eq!(wait.choose(&[1, 2, 3], 3, &[0]), Choice { start: vec![2, 3], waits: vec![(1, 0)] });
        let mut wait = overlaps(
            OverlapPolicy::Wait,
            &[(&["a"], &[]), (&["a", "b"], &[]), (&["b", "c"], &[]), (&["c"], &[]), (&["d"], &[])],
        );
        let choice = wait.choose(&[1, 2, 3, 4], 3, &[0]);
        assert_eq!(choice, Choice { start: vec![4], waits: vec![(1, 0), (2, 1), (3, 2)] });
        let choice = wait.choose(&[1, 2, 3], 3, &[4]);
        assert_eq!(choice, Choice { start: vec![1], waits: vec![(2, 1), (3, 2)] }, "what waits reserves its files");
        assert_eq!(wait.choose(&[1, 2, 3], 0, &[0]), Choice { start: vec![], waits: vec![(1, 0)] }, "no place is free");
    }

    proptest! {
        /// Whatever is declared: `prefer` leaves no place free, `wait` starts nothing that meets what is at work or started with
        /// it, and what waits has something at work, or started now, that it waits for in the end.
        #[test]
        fn no_place_is_left_free_for_nothing_and_nobody_waits_for_himself(
            lists in prop::collection::vec(prop::collection::vec(0u8..5, 0..3), 1..9),
            busy in prop::collection::btree_set(0usize..9, 0..4),
            places in 0usize..5,
        ) {
            let lists: Vec<Vec<String>> =
                lists.iter().map(|list| list.iter().map(|letter| format!("d{letter}/**")).collect()).collect();
            let tasks: Vec<(&[String], Vec<usize>)> = lists.iter().map(|list| (&list[..], Vec::new())).collect();
            let busy: Vec<usize> = busy.into_iter().filter(|task| *task < lists.len()).collect();
            let ready: Vec<usize> = (0..lists.len()).filter(|task| !busy.contains(task)).collect();
            let mut prefer = Overlaps::new(OverlapPolicy::Prefer, &tasks);
            prop_assert_eq!(prefer.choose(&ready, places, &busy).start.len(), ready.len().min(places));
            let mut wait = Overlaps::new(OverlapPolicy::Wait, &tasks);
            let choice = wait.choose(&ready, places, &busy);
            prop_assert!(choice.start.len() <= places);
            let waits: BTreeMap<usize, usize> = choice.waits.iter().copied().collect();
            for (nth, task) in choice.start.iter().enumerate() {
                prop_assert!(!busy.iter().chain(&choice.start[..nth]).any(|other| wait.meet(*task, *other)));
                prop_assert!(!waits.contains_key(task));
                prop_assert!(!waits.keys().any(|other| other < task && wait.meet(*task, *other)), "overtaken");
            }
            for task in waits.keys() {
                let mut at = *task;
                while let Some(next) = waits.get(&at) {
                    prop_assert!(wait.meet(at, *next) && (*next < at || !waits.contains_key(next)));
                    at = *next;
                }
                prop_assert!(busy.contains(&at) || choice.start.contains(&at));
            }
        }
    }
}
