//! Decision file: in which order what waits for a branch lands, what of it cannot land yet, and what is tried together.
//!
//! What something needs comes before it, then what has the higher priority, then what came first. An entry lends its priority
//! to what it needs. Only what is judged in the same way, without anything else in between, is tried together.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{QueueEntry, RunId, TaskId};

/// An entry and what is around it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The entry.
    pub entry: QueueEntry,
    /// Who waits for it lives.
    pub attended: bool,
    /// A person paused its run.
    pub run_paused: bool,
    /// What it needs that has not landed.
    pub open_needs: Vec<TaskId>,
}

/// Why an entry is passed over for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It does not land; its owner is about to say so.
    Refused,
    /// A person holds it back, for this reason.
    Held(String),
    /// A person paused its run.
    RunPaused,
    /// Nobody waits for it.
    Unattended,
    /// This has to land first, and cannot yet.
    Needs(TaskId),
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The entry.
    pub entry: &'a QueueEntry,
    /// Why it cannot land yet.
    pub obstacle: Option<Obstacle>,
}

/// All of them in the order in which they land.
pub fn line(waiting: &[Waiting]) -> Vec<Place<'_>> {
    let index: Index<'_> = waiting.iter().enumerate().map(|(n, one)| ((&one.entry.run, &one.entry.task), n)).collect();
    let priorities = priorities(waiting, &index);
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|n| (std::cmp::Reverse(priorities[*n]), waiting[*n].entry.number));
    let mut line = Line { waiting, index: &index, seen: BTreeSet::new(), places: Vec::new() };
    order.into_iter().for_each(|n| line.put(n));
    line.places
}

/// What is tried at once: the first that can land, and what follows it and is judged in the same way; at most so many.
pub fn batch<'a>(line: &[Place<'a>], most: usize) -> Vec<&'a QueueEntry> {
    let mut ready = line.iter().filter(|place| place.obstacle.is_none()).map(|place| place.entry).peekable();
    let Some(first) = ready.peek().copied() else { return Vec::new() };
    ready.take_while(|entry| entry.terms == first.terms).take(most).collect()
}

type Index<'a> = BTreeMap<(&'a RunId, &'a TaskId), usize>;

/// The highest priority of an entry and of all that need it.
fn priorities(waiting: &[Waiting], index: &Index<'_>) -> Vec<i64> {
    let mut priorities: Vec<i64> = waiting.iter().map(|one| one.entry.priority).collect();
    // From the highest down: each entry is raised at most once, so that a circle ends, too.
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(waiting[*n].entry.priority));
    let mut raised = BTreeSet::new();
    for start in order {
        let mut left = vec![start];
        while let Some(n) = left.pop() {
            if raised.insert(n) {
                priorities[n] = priorities[n].max(priorities[start]);
                left.extend(needs_in(&waiting[n].entry, index));
            }
        }
    }
    priorities
}

/// Where in the queue the needs of an entry are, those that are there.
fn needs_in<'a>(entry: &'a QueueEntry, index: &'a Index<'_>) -> impl Iterator<Item = usize> + 'a {
    entry.needs.iter().filter_map(|need| index.get(&(&entry.run, need)).copied())
}

struct Line<'a, 'i> {
    waiting: &'a [Waiting],
    index: &'i Index<'a>,
    seen: BTreeSet<usize>,
    places: Vec<Place<'a>>,
}

impl<'a> Line<'a, '_> {
    /// Puts an entry behind what it needs.
    fn put(&mut self, n: usize) {
        // Each is left open while its needs are put; a long chain must not grow the stack.
        let mut open = vec![(n, false)];
        while let Some((n, needs_are_in)) = open.pop() {
            if needs_are_in {
                let one = &self.waiting[n];
                let obstacle = self.obstacle(one);
                self.places.push(Place { entry: &one.entry, obstacle });
            } else if self.seen.insert(n) {
                open.push((n, true));
                open.extend(needs_in(&self.waiting[n].entry, self.index).map(|need| (need, false)));
            }
        }
    }

    fn obstacle(&self, one: &Waiting) -> Option<Obstacle> {
        let entry = &one.entry;
        if entry.refused.is_some() {
            return Some(Obstacle::Refused);
        }
        if let Some(why) = &entry.held {
            return Some(Obstacle::Held(why.clone()));
        }
        if one.run_paused {
            return Some(Obstacle::RunPaused);
        }
        if !one.attended {
            return Some(Obstacle::Unattended);
        }
        let can_land = |need: &TaskId| {
            let before = self.places.iter().find(|place| place.entry.run == entry.run && place.entry.task == *need);
            before.is_some_and(|place| place.obstacle.is_none())
        };
        one.open_needs.iter().find(|need| !can_land(need)).map(|need| Obstacle::Needs(need.clone()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{BranchName, CommitId, Reason, ReasonKind, Timestamp};
    use proptest::prelude::*;

    /// An entry of a run with this number; its needs have not landed.
    pub fn waiting(run: u32, task: &str, number: i64, needs: &[&str]) -> Waiting {
        let id = |name: &str| TaskId::parse(name).expect("a task id");
        let entry = QueueEntry {
            number,
            target: BranchName::parse("main").expect("a name"),
            run: RunId::parse(&format!("{run:010}")).expect("a run id"),
            task: id(task),
            base: CommitId::parse(&"a".repeat(40)).expect("an id"),
            commit: CommitId::parse(&"b".repeat(40)).expect("an id"),
            needs: needs.iter().map(|need| id(need)).collect(),
            terms: "t".into(),
            priority: 0,
            submitted_at: Timestamp(number),
            owner: None,
            held: None,
            judged_since: None,
            refused: None,
        };
        let open_needs = entry.needs.clone();
        Waiting { entry, attended: true, run_paused: false, open_needs }
    }

    fn names(waiting: &[Waiting]) -> Vec<String> {
        line(waiting).iter().map(|place| place.entry.task.to_string()).collect()
    }

    fn tried(waiting: &[Waiting]) -> Vec<String> {
        batch(&line(waiting), 64).iter().map(|entry| entry.task.to_string()).collect()
    }

    #[test]
    fn needs_first_then_priority_then_submission() {
        let mut all =
            vec![waiting(1, "a", 1, &[]), waiting(1, "b", 2, &["c"]), waiting(1, "c", 3, &[]), waiting(2, "c", 4, &[])];
        assert_eq!(names(&all), ["a", "c", "b", "c"], "what is needed is before what needs it");
        all[3].entry.priority = 1;
        assert_eq!(line(&all)[0].entry.number, 4);
        all[1].entry.priority = 2;
        let numbers: Vec<i64> = line(&all).iter().map(|place| place.entry.number).collect();
        assert_eq!(numbers, [3, 2, 4, 1], "a need has the priority of what needs it");
    }

    #[test]
    fn what_cannot_land_holds_up_only_what_needs_it() {
        let mut all = vec![
            waiting(1, "a", 1, &[]),
            waiting(1, "b", 2, &["a"]),
            waiting(1, "c", 3, &[]),
            waiting(1, "d", 4, &["x"]),
        ];
        assert_eq!(tried(&all), ["a", "b", "c"]);
        let why = |all: &[Waiting], n: usize| line(all)[n].obstacle.clone();
        assert_eq!(why(&all, 3), Some(Obstacle::Needs(TaskId::parse("x").expect("an id"))));
        all[3].open_needs.clear();
        assert_eq!(tried(&all), ["a", "b", "c", "d"], "it has landed");
        type Change = fn(&mut Waiting);
        let changes: [(Change, Obstacle); 4] = [
            (|one| one.entry.held = Some("later".into()), Obstacle::Held("later".into())),
            (|one| one.attended = false, Obstacle::Unattended),
            (|one| one.run_paused = true, Obstacle::RunPaused),
            (|one| one.entry.refused = Some(Reason::new(ReasonKind::Gate, "no")), Obstacle::Refused),
        ];
        for (change, obstacle) in changes {
            let mut all = all.clone();
            change(&mut all[0]);
            assert_eq!((why(&all, 0), tried(&all)), (Some(obstacle), vec!["c".to_owned(), "d".to_owned()]));
            assert_eq!(why(&all, 1), Some(Obstacle::Needs(all[0].entry.task.clone())));
        }
    }

    #[test]
    fn what_is_judged_in_another_way_ends_a_batch_and_is_not_overtaken() {
        let mut all: Vec<Waiting> = (1..=4).map(|n| waiting(1, &format!("t{n}"), n, &[])).collect();
        all[2].entry.terms = "other".into();
        assert_eq!(tried(&all), ["t1", "t2"]);
        assert_eq!(batch(&line(&all), 1).len(), 1);
        assert_eq!(tried(&all[2..]), ["t3"]);
        assert_eq!(tried(&[]), Vec::<String>::new());
    }

    proptest! {
        /// Also where needs go round in a circle, which no run has.
        #[test]
        fn each_has_one_place_and_none_is_before_what_it_needs(
            rows in proptest::collection::vec((0_i64..4, proptest::collection::vec(0_usize..8, 0..3), any::<bool>()), 0..9)
        ) {
            let name = |n: usize| format!("t{n}");
            let all: Vec<Waiting> = rows.iter().enumerate().map(|(n, (priority, needs, held))| {
                let needs: Vec<String> = needs.iter().filter(|need| **need != n).map(|need| name(*need)).collect();
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                let mut one = waiting(1, &name(n), i64::try_from(n).unwrap_or(0), &needs);
                one.entry.priority = *priority;
                one.entry.held = held.then(String::new);
                one
            }).collect();
            let places = line(&all);
            let numbers: BTreeSet<i64> = places.iter().map(|place| place.entry.number).collect();
            prop_assert_eq!((places.len(), numbers.len()), (all.len(), all.len()));
            let mut landed: Vec<&TaskId> = Vec::new();
            for entry in batch(&places, 64) {
                for need in &entry.needs {
                    prop_assert!(landed.contains(&need), "{} before {need}", entry.task);
                }
                landed.push(&entry.task);
            }
        }
    }
}
