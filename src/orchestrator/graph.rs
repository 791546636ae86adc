//! Decisions on the graph of a run's tasks: is it free of circles, what may start, what will never start.
//!
//! Promises: pure functions of their arguments, linear in tasks and needs, deterministic in file order.
//! Does not: read or write states; a decision is applied through [`TaskState::next`], which can still refuse it.

use std::collections::HashMap;

use crate::model::{TaskId, TaskSpec, TaskState};

/// Finds tasks that need each other: a closed path `a, b, …, a` in which each needs the next, or `None`.
///
/// Of several circles it gives the one that the first stuck task of the file leads into, starting from its first task
/// in the file. Needs that no task has as its id are ignored.
pub fn find_cycle(tasks: &[TaskSpec]) -> Option<Vec<TaskId>> {
    let needs = needs_by_index(tasks);
    let open = open_needs(&needs);
    let stuck = |n: &usize| open.get(*n).is_some_and(|count| *count > 0);
    let mut path = Vec::new();
    let mut places = HashMap::new();
    let mut here = (0..tasks.len()).find(stuck)?;
    // Every stuck task needs a stuck one, so following them must come back to where it has been.
    while !places.contains_key(&here) {
        places.insert(here, path.len());
        path.push(here);
        here = needs.get(here)?.iter().copied().find(stuck)?;
    }
    let mut circle = path.split_off(*places.get(&here)?);
    let first = circle.iter().enumerate().min_by_key(|(_, task)| **task)?.0;
    circle.rotate_left(first);
    circle.push(*circle.first()?);
    circle.into_iter().map(|n| tasks.get(n).map(|task| task.id.clone())).collect()
}

/// How a queued task stands to what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a task that is not ready must not start"]
pub enum Readiness {
    /// All that it needs has a usable result.
    Ready,
    /// Something that it needs is still under way.
    Blocked,
    /// Something that it needs did not end well, so it can never start.
    Doomed {
        /// The first such need.
        by: TaskId,
    },
}

/// Whether a task with these needs may start: a result can be built on as soon as it is a candidate, whatever the merge
/// policy is. A need without a state counts as under way.
pub fn readiness(needs: &[TaskId], state_of: impl Fn(&TaskId) -> Option<TaskState>) -> Readiness {
    let mut all_usable = true;
    for need in needs {
        match state_of(need).map_or(Usability::Open, usability) {
            Usability::Usable => {}
            Usability::Open => all_usable = false,
            Usability::Never => return Readiness::Doomed { by: need.clone() },
        }
    }
    if all_usable { Readiness::Ready } else { Readiness::Blocked }
}

/// What to do with the queued tasks of a run now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "an admission that is not applied starts nothing"]
pub struct Admission {
    /// The places in the file of the tasks that may start, in order.
    pub ready: Vec<usize>,
    /// How many of them there is room for.
    pub places: usize,
    /// Tasks that can never start, each with the need that is to blame.
    pub skip: Vec<(TaskId, TaskId)>,
}

/// Sorts the tasks of a run, given in the order of the file: which are ready, for how many of them there is room while no more than
/// `jobs` are active, and which are doomed. Only queued tasks count; one that is parked with a question leaves its place to others.
pub fn admit(order: &[(TaskId, TaskState, Readiness)], jobs: u32) -> Admission {
    let active = order.iter().filter(|(_, state, _)| state.is_active() && *state != TaskState::Waiting).count();
    let places = usize::try_from(jobs).unwrap_or(usize::MAX).saturating_sub(active);
    let mut admission = Admission { places, ..Admission::default() };
    for (n, (task, _, readiness)) in order.iter().enumerate().filter(|(_, (_, state, _))| *state == TaskState::Queued) {
        match readiness {
            Readiness::Ready => admission.ready.push(n),
            Readiness::Blocked => {}
            Readiness::Doomed { by } => admission.skip.push((task.clone(), by.clone())),
        }
    }
    admission
}

/// What a need's state means to those that need it.
enum Usability {
    Usable,
    Open,
    Never,
}

fn usability(state: TaskState) -> Usability {
    use TaskState as S;
    match state {
        S::Candidate | S::Landed | S::NoChange => Usability::Usable,
        S::Queued | S::Waiting | S::Leased | S::Running | S::Captured => Usability::Open,
        // A rejected result did not land, so what builds on it cannot land either.
        S::Rejected | S::Failed | S::Cancelled | S::NeedsAttention | S::Skipped => Usability::Never,
    }
}

fn needs_by_index(tasks: &[TaskSpec]) -> Vec<Vec<usize>> {
    let mut indexes: HashMap<&TaskId, usize> = HashMap::with_capacity(tasks.len());
    for (n, task) in tasks.iter().enumerate() {
        indexes.entry(&task.id).or_insert(n);
    }
    let needs_of = |task: &TaskSpec| task.needs.iter().filter_map(|need| indexes.get(need).copied()).collect();
    tasks.iter().map(needs_of).collect()
}

/// Per task, how many of its needs can never be done first; all zero when there is no circle.
fn open_needs(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (task, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| needed_by[*need].push(task));
    }
    let mut done: Vec<usize> = (0..needs.len()).filter(|task| open[*task] == 0).collect();
    while let Some(task) = done.pop() {
        for dependent in &needed_by[task] {
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                done.push(*dependent);
            }
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState as S;
    use proptest::prelude::*;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).expect("a task id")
    }

    fn task(name: &str, needs: &[&str]) -> TaskSpec {
        let needs = needs.iter().map(|need| id(need)).collect();
        TaskSpec { needs, ..TaskSpec::plain(id(name), "command", vec!["true".into()]) }
    }

    fn cycle_of(tasks: &[(&str, &[&str])]) -> String {
        let tasks: Vec<_> = tasks.iter().map(|(name, needs)| task(name, needs)).collect();
        let cycle = find_cycle(&tasks).unwrap_or_default();
        cycle.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn circles_start_from_their_first_task_in_the_file() {
        assert_eq!(cycle_of(&[]), "");
        assert_eq!(cycle_of(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]), "");
        assert_eq!(cycle_of(&[("a", &["a"])]), "a a");
        assert_eq!(cycle_of(&[("a", &["b"]), ("b", &["a"])]), "a b a");
        assert_eq!(cycle_of(&[("x", &["c"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]), "a b c a");
        assert_eq!(cycle_of(&[("a", &["gone", "b", "b"]), ("b", &[])]), "");
        assert_eq!(cycle_of(&[("d", &["e"]), ("e", &[]), ("a", &["e", "b"]), ("b", &["d", "a"])]), "a b a");
    }

    #[test]
    fn a_long_chain_takes_no_deep_stack() {
        let name = |n: usize| format!("t{n}");
        let chain: Vec<_> = (0..50_000).map(|n| task(&name(n), &[&name(n + 1)])).collect();
        assert_eq!(find_cycle(&chain), None);
    }

    #[test]
    fn readiness_by_the_state_of_one_need() {
        let expected = |state| match state {
            S::Candidate | S::Landed | S::NoChange => Readiness::Ready,
            S::Queued | S::Waiting | S::Leased | S::Running | S::Captured => Readiness::Blocked,
            _ => Readiness::Doomed { by: id("a") },
        };
        {
            for state in TaskState::ALL {
                assert_eq!(readiness(&[id("a")], |_| Some(state)), expected(state), "{state:?}");
            }
            assert_eq!(readiness(&[id("a")], |_| None), Readiness::Blocked);
            assert_eq!(readiness(&[], |_| None), Readiness::Ready);
        }
    }

    #[test]
    fn one_bad_need_dooms_however_the_others_stand() {
        let check = |states: [S; 3], expected: Readiness| {
            let needs = [id("a"), id("b"), id("c")];
            let state_of = |need: &TaskId| needs.iter().position(|n| n == need).map(|n| states[n]);
            assert_eq!(readiness(&needs, state_of), expected, "{states:?}");
        };
        check([S::Landed, S::NoChange, S::Candidate], Readiness::Ready);
        check([S::Landed, S::Running, S::Candidate], Readiness::Blocked);
        check([S::Running, S::Failed, S::Landed], Readiness::Doomed { by: id("b") });
        check([S::Queued, S::Skipped, S::Rejected], Readiness::Doomed { by: id("b") });
    }

    #[test]
    fn admission_takes_queued_tasks_in_order_while_slots_are_free() {
        let doomed = || Readiness::Doomed { by: id("c") };
        let order = [
            (id("a"), S::Running, Readiness::Ready),
            (id("b"), S::Queued, Readiness::Blocked),
            (id("c"), S::Failed, Readiness::Ready),
            (id("d"), S::Queued, doomed()),
            (id("e"), S::Queued, Readiness::Ready),
            (id("f"), S::Waiting, Readiness::Ready),
            (id("g"), S::Queued, Readiness::Ready),
            (id("h"), S::Skipped, doomed()),
        ];
        let check = |jobs: u32, start: &[&str]| {
            let admission = admit(&order, jobs);
            let started: Vec<&str> =
                admission.ready.iter().take(admission.places).map(|n| order[*n].0.as_str()).collect();
            assert_eq!(started, start, "jobs {jobs}");
            assert_eq!(admission.skip, [(id("d"), id("c"))], "jobs {jobs}");
        };
        check(0, &[]);
        check(1, &[]);
        check(2, &["e"]);
        check(3, &["e", "g"]);
        check(u32::MAX, &["e", "g"]);
    }

    fn any_graph() -> impl Strategy<Value = Vec<TaskSpec>> {
        let needs = prop::collection::vec(prop::collection::vec(0usize..14, 0..4), 0..14);
        needs.prop_map(|needs| {
            let name = |n: &usize| format!("t{n}");
            let names = |needs: &[usize]| needs.iter().map(name).collect::<Vec<_>>();
            let named = needs.iter().enumerate().map(|(n, needs)| (name(&n), names(needs)));
            named.map(|(own, needs)| task(&own, &needs.iter().map(String::as_str).collect::<Vec<_>>())).collect()
        })
    }

    fn any_standing() -> impl Strategy<Value = (TaskState, Readiness)> {
        let readiness =
            prop_oneof![Just(Readiness::Ready), Just(Readiness::Blocked), Just(Readiness::Doomed { by: id("bad") })];
        (prop::sample::select(TaskState::ALL.to_vec()), readiness)
    }

    proptest! {
        #[test]
        fn a_circle_is_real_and_without_one_there_is_an_order(tasks in any_graph()) {
            let needs_of = |id: &TaskId| tasks.iter().find(|task| task.id == *id).map(|task| task.needs.clone());
            match find_cycle(&tasks) {
                Some(cycle) => {
                    prop_assert!(cycle.len() > 1 && cycle.first() == cycle.last());
                    for pair in cycle.windows(2) {
                        prop_assert!(needs_of(&pair[0]).is_some_and(|needs| needs.contains(&pair[1])));
                    }
                }
                None => {
                    let exists = |need: &&TaskId| tasks.iter().any(|task| task.id == **need);
                    let mut done: Vec<&TaskId> = Vec::new();
                    for _ in 0..tasks.len() {
                        let can = |task: &&TaskSpec| task.needs.iter().filter(exists).all(|need| done.contains(&need));
                        let next = tasks.iter().filter(|task| !done.contains(&&task.id)).find(can);
                        done.extend(next.map(|task| &task.id));
                    }
                    prop_assert_eq!(done.len(), tasks.len());
                }
            }
        }

        #[test]
        fn admission_never_exceeds_the_slots_and_leaves_none_idle(
            standings in prop::collection::vec(any_standing(), 0..20), jobs in 0u32..6
        ) {
            let order: Vec<_> =
                standings.into_iter().enumerate().map(|(n, (state, ready))| (id(&format!("t{n}")), state, ready)).collect();
            let admission = admit(&order, jobs);
            let count = |test: &dyn Fn(&TaskState, &Readiness) -> bool| order.iter().filter(|(_, s, r)| test(s, r)).count();
            let slots = (jobs as usize).saturating_sub(count(&|state, _| state.is_active() && *state != TaskState::Waiting));
            let ready = count(&|state, ready| *state == S::Queued && *ready == Readiness::Ready);
            prop_assert_eq!((admission.ready.len(), admission.places), (ready, slots));
            let doomed = count(&|state, ready| *state == S::Queued && matches!(ready, Readiness::Doomed { .. }));
            prop_assert_eq!(admission.skip.len(), doomed);
            prop_assert!(admission.ready.is_sorted());
        }
    }
}
