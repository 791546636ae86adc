//! Decision file: the supervisor's mind. `handle_event` takes what happened and says what to do next; it does no IO.
//!
//! The board mirrors the states of the tasks. Effects are carried out by the executor in `supervisor`, which answers
//! each with another event. Start and landing are handed out here alone, so nothing is started or landed twice.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{self, Readiness};
use crate::model::{MergePolicy, TaskId, TaskState};

/// So many results for each job wait to land at most before nothing new starts.
const BACKLOG: usize = 4;

/// One task as the supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its id.
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// What it needs.
    pub needs: Vec<TaskId>,
    /// It rests before its next attempt.
    pub rests: bool,
    /// A person wants its result to land.
    pub accepted: bool,
}

/// All tasks of a run, in the order of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    slots: Vec<Slot>,
    index: BTreeMap<TaskId, usize>,
    jobs: u32,
    merge: MergePolicy,
    /// In the queue of the target.
    landing: BTreeSet<TaskId>,
    cancelled: bool,
    paused: bool,
    finished: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The supervisor is ready.
    Begin,
    /// A task came to rest in this state: its worker or its landing is over.
    Settled {
        /// The task.
        task: TaskId,
        /// Its state now.
        state: TaskState,
    },
    /// A person wants the result of a task to land that is over, or waits for that.
    Accepted(TaskId),
    /// A task that comes back into the queue rests first.
    Rest(TaskId),
    /// It has rested.
    Rested(TaskId),
    /// A task that is worked on is parked, or is not any more.
    Moved {
        /// The task.
        task: TaskId,
        /// Its state now.
        state: TaskState,
    },
    /// A person wants it to stop.
    Cancel,
    /// A person wants one task to stop.
    CancelTask(TaskId),
    /// Nothing new starts or lands from now on; what runs goes on.
    Pause,
    /// It goes on.
    Unpause,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Give it a workspace and run it.
    Start(TaskId),
    /// An earlier supervisor was working on it: go on from there.
    Resume(TaskId),
    /// It can never start, because of that one.
    Skip {
        /// The task.
        task: TaskId,
        /// What it needs that did not end well.
        by: TaskId,
    },
    /// Hand its result in to the queue.
    Land(TaskId),
    /// What it builds on did not land: refuse its result.
    RejectDependent {
        /// The task.
        task: TaskId,
        /// What it needs.
        by: TaskId,
    },
    /// It has not begun: cancel it.
    Cancel(TaskId),
    /// Stop what is done for it.
    Stop(TaskId),
    /// Stop what runs.
    StopAll,
    /// The run is over.
    Finish,
}

impl Board {
    /// A board as the journal has it: nobody works on anything yet.
    pub fn new(slots: Vec<Slot>, jobs: u32, merge: MergePolicy) -> Board {
        let index = slots.iter().enumerate().map(|(n, slot)| (slot.id.clone(), n)).collect();
        let (landing, jobs) = (BTreeSet::new(), jobs.max(1));
        Board { slots, index, jobs, merge, landing, cancelled: false, paused: false, finished: false }
    }

    /// The states in the order of the file.
    pub fn states(&self) -> Vec<TaskState> {
        self.slots.iter().map(|slot| slot.state).collect()
    }

    /// True when no task is left to run and one lands.
    pub fn is_landing(&self) -> bool {
        let open = |slot: &Slot| slot.state.is_active() || slot.state == TaskState::Queued;
        !self.landing.is_empty() && !self.slots.iter().any(open)
    }

    fn state_of(&self, id: &TaskId) -> Option<TaskState> {
        self.index.get(id).map(|n| self.slots[*n].state)
    }

    fn set(&mut self, id: &TaskId, state: TaskState) {
        if let Some(n) = self.index.get(id) {
            self.slots[*n].state = state;
            self.slots[*n].rests &= !state.is_terminal();
        }
    }

    fn set_resting(&mut self, id: &TaskId, rests: bool) {
        if let Some(n) = self.index.get(id) {
            self.slots[*n].rests = rests;
        }
    }

    /// Takes in what happened and says what to do, in order.
    pub fn handle_event(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Begin => {
                let active = self.slots.iter().filter(|slot| slot.state.is_active());
                effects.extend(active.map(|slot| Effect::Resume(slot.id.clone())));
            }
            Event::Accepted(task) => {
                if let Some(n) = self.index.get(&task) {
                    (self.slots[*n].state, self.slots[*n].accepted) = (TaskState::Candidate, true);
                }
            }
            Event::Rest(task) => self.set_resting(&task, true),
            Event::Rested(task) => self.set_resting(&task, false),
            Event::Moved { task, state } => {
                // Its worker may have come to an end meanwhile.
                if self.state_of(&task).is_some_and(TaskState::is_active) {
                    self.set(&task, state);
                }
            }
            Event::Pause => self.paused = true,
            Event::Unpause => self.paused = false,
            Event::CancelTask(task) => effects.extend(self.cancel_task(&task)),
            Event::Settled { task, state } => {
                self.landing.remove(&task);
                self.set(&task, state);
            }
            Event::Cancel if self.cancelled => {}
            Event::Cancel => {
                self.cancelled = true;
                effects.push(Effect::StopAll);
            }
        }
        if self.finished {
            return Vec::new();
        }
        if self.cancelled {
            self.cancel_idle(&mut effects)
        } else {
            self.advance(&mut effects)
        }
        if self.is_over() {
            self.finished = true;
            effects.push(Effect::Finish);
        }
        effects
    }

    /// One that waits is cancelled at once; one that is worked on answers by itself when it is stopped.
    fn cancel_task(&mut self, task: &TaskId) -> Option<Effect> {
        let state = self.state_of(task)?;
        if state.is_active() || self.landing.contains(task) {
            return Some(Effect::Stop(task.clone()));
        }
        (!state.is_terminal()).then(|| {
            self.set(task, TaskState::Cancelled);
            Effect::Cancel(task.clone())
        })
    }

    /// Cancels what no worker holds; what runs answers by itself when it is stopped.
    fn cancel_idle(&mut self, effects: &mut Vec<Effect>) {
        for slot in &mut self.slots {
            let idle = matches!(slot.state, TaskState::Queued | TaskState::Candidate);
            if idle && !self.landing.contains(&slot.id) {
                (slot.state, slot.rests) = (TaskState::Cancelled, false);
                effects.push(Effect::Cancel(slot.id.clone()));
            }
        }
    }

    fn advance(&mut self, effects: &mut Vec<Effect>) {
        // A skip can doom what comes after it, so it is repeated until nothing changes: at most once per task.
        loop {
            let rows: Vec<(TaskId, TaskState, Readiness)> = self.slots.iter().map(|slot| self.row(slot)).collect();
            let mut admission = graph::admit(&rows, self.jobs);
            if self.paused || self.lands_too_slowly() {
                admission.start.clear();
            }
            let idle = admission.start.is_empty() && admission.skip.is_empty();
            for (task, by) in admission.skip {
                self.set(&task, TaskState::Skipped);
                effects.push(Effect::Skip { task, by });
            }
            for task in admission.start {
                self.set(&task, TaskState::Leased);
                effects.push(Effect::Start(task));
            }
            if idle {
                break;
            }
        }
        if !self.paused {
            self.land_all(effects);
        }
    }

    /// True while so many results wait to land that more of them would only pile up, each with a workspace. The first of them can
    /// always land: what it needs is before it.
    fn lands_too_slowly(&self) -> bool {
        let waiting = self.slots.iter().filter(|slot| slot.state == TaskState::Candidate).count();
        self.merge == MergePolicy::Auto
            && waiting >= usize::try_from(self.jobs).unwrap_or(usize::MAX).saturating_mul(BACKLOG)
    }

    fn row(&self, slot: &Slot) -> (TaskId, TaskState, Readiness) {
        let readiness = match graph::readiness(&slot.needs, |id| self.state_of(id)) {
            Readiness::Ready if slot.rests => Readiness::Blocked,
            readiness => readiness,
        };
        (slot.id.clone(), slot.state, readiness)
    }

    /// Everything that may land goes into the queue, in the order of the file, what is needed before what needs it.
    fn land_all(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let lands = |slot: &&Slot| {
                slot.state == TaskState::Candidate && self.may_land(slot) && !self.landing.contains(&slot.id)
            };
            let Some(effect) = self.slots.iter().filter(lands).find_map(|slot| self.landing_of(slot)) else { return };
            match &effect {
                Effect::RejectDependent { task, .. } => {
                    let task = task.clone();
                    self.set(&task, TaskState::Rejected);
                }
                Effect::Land(task) => {
                    self.landing.insert(task.clone());
                }
                _ => {}
            }
            effects.push(effect);
        }
    }

    fn may_land(&self, slot: &Slot) -> bool {
        self.merge == MergePolicy::Auto || slot.accepted
    }

    fn landing_of(&self, slot: &Slot) -> Option<Effect> {
        for need in &slot.needs {
            match self.state_of(need) {
                Some(TaskState::Landed | TaskState::NoChange) => {}
                // The queue lands it first, or refuses both.
                Some(TaskState::Candidate) if self.landing.contains(need) => {}
                Some(state) if state.is_terminal() => {
                    return Some(Effect::RejectDependent { task: slot.id.clone(), by: need.clone() });
                }
                _ => return None,
            }
        }
        Some(Effect::Land(slot.id.clone()))
    }

    fn is_over(&self) -> bool {
        // One that may land and does not, although nothing lands and nothing pauses, builds on another that waits.
        let waits = |slot: &Slot| self.merge == MergePolicy::Manual && !(self.paused && slot.accepted);
        let at_rest = |slot: &Slot| slot.state.is_terminal() || (slot.state == TaskState::Candidate && waits(slot));
        self.landing.is_empty() && self.slots.iter().all(at_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(name: &str) -> TaskId {
        TaskId::parse(name).expect("a task id")
    }

    fn board(tasks: &[(&str, &[&str])], jobs: u32, merge: MergePolicy) -> Board {
        let slot = |(name, needs): &(&str, &[&str])| Slot {
            id: id(name),
            state: TaskState::Queued,
            needs: needs.iter().map(|need| id(need)).collect(),
            rests: false,
            accepted: false,
        };
        Board::new(tasks.iter().map(slot).collect(), jobs, merge)
    }

    fn settled(board: &mut Board, task: &str, state: TaskState) -> Vec<Effect> {
        board.handle_event(Event::Settled { task: id(task), state })
    }

    #[test]
    fn a_diamond_starts_per_need_and_lands_in_order() {
        let tasks: [(&str, &[&str]); 4] = [("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];
        let mut board = board(&tasks, 8, MergePolicy::Auto);
        assert_eq!(board.handle_event(Event::Begin), [Effect::Start(id("a"))]);
        let effects = settled(&mut board, "a", TaskState::Candidate);
        assert_eq!(effects, [Effect::Start(id("b")), Effect::Start(id("c")), Effect::Land(id("a"))]);
        assert_eq!(settled(&mut board, "c", TaskState::Candidate), [Effect::Land(id("c"))], "behind a, in the queue");
        assert_eq!(settled(&mut board, "a", TaskState::Landed), []);
        let effects = settled(&mut board, "b", TaskState::Candidate);
        assert_eq!(effects, [Effect::Start(id("d")), Effect::Land(id("b"))]);
        assert_eq!(settled(&mut board, "c", TaskState::Landed), []);
        assert_eq!(settled(&mut board, "b", TaskState::Landed), []);
        assert_eq!(settled(&mut board, "d", TaskState::NoChange), [Effect::Finish]);
    }

    #[test]
    fn a_failure_skips_only_what_needs_it() {
        let tasks: [(&str, &[&str]); 4] = [("a", &[]), ("b", &["a"]), ("c", &["b"]), ("x", &[])];
        let mut board = board(&tasks, 8, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        let effects = settled(&mut board, "a", TaskState::Failed);
        let skip = |task, by| Effect::Skip { task: id(task), by: id(by) };
        assert_eq!(effects, [skip("b", "a"), skip("c", "b")]);
        assert_eq!(settled(&mut board, "x", TaskState::NoChange), [Effect::Finish]);
    }

    #[test]
    fn what_builds_on_a_rejected_result_is_rejected_too() {
        let mut board = board(&[("a", &[]), ("b", &["a"])], 8, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        settled(&mut board, "a", TaskState::Candidate);
        assert_eq!(settled(&mut board, "a", TaskState::Rejected), [], "b is at work");
        let reject = Effect::RejectDependent { task: id("b"), by: id("a") };
        assert_eq!(settled(&mut board, "b", TaskState::Candidate), [reject, Effect::Finish]);
    }

    #[test]
    fn a_cancel_stops_what_runs_and_ends_when_it_has_stopped() {
        let mut board = board(&[("a", &[]), ("b", &["a"])], 8, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        assert_eq!(board.handle_event(Event::Cancel), [Effect::StopAll, Effect::Cancel(id("b"))]);
        assert_eq!(settled(&mut board, "a", TaskState::Cancelled), [Effect::Finish]);
    }

    #[test]
    fn a_successor_goes_on_with_what_was_worked_on_and_starts_nothing_twice() {
        let slot = |name: &str, state, needs: &[&str]| Slot {
            id: id(name),
            state,
            needs: needs.iter().map(|need| id(need)).collect(),
            rests: false,
            accepted: false,
        };
        let slots = vec![
            slot("a", TaskState::Landed, &[]),
            slot("b", TaskState::Running, &[]),
            slot("c", TaskState::Leased, &[]),
            slot("d", TaskState::Candidate, &["a"]),
            slot("e", TaskState::Queued, &["d"]),
            slot("f", TaskState::Queued, &[]),
        ];
        let mut board = Board::new(slots, 3, MergePolicy::Auto);
        let effects = board.handle_event(Event::Begin);
        let expected =
            [Effect::Resume(id("b")), Effect::Resume(id("c")), Effect::Start(id("e")), Effect::Land(id("d"))];
        assert_eq!(effects, expected, "three at once, and f waits");
        assert_eq!(settled(&mut board, "c", TaskState::Queued), [Effect::Start(id("c"))], "it is made anew");
    }

    #[test]
    fn a_pause_starts_and_lands_nothing_until_it_ends() {
        let mut board = board(&[("a", &[]), ("b", &["a"])], 8, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        assert_eq!(board.handle_event(Event::Pause), []);
        assert_eq!(settled(&mut board, "a", TaskState::Candidate), []);
        assert_eq!(board.handle_event(Event::Unpause), [Effect::Start(id("b")), Effect::Land(id("a"))]);
    }

    #[test]
    fn what_a_person_accepted_lands_in_order_also_where_nothing_lands_by_itself() {
        let mut board = board(&[("a", &[]), ("b", &["a"]), ("c", &["a"])], 8, MergePolicy::Manual);
        board.handle_event(Event::Begin);
        for task in ["a", "b", "c"] {
            settled(&mut board, task, TaskState::Candidate);
        }
        // Whoever is asked when a run is over is a supervisor that has just begun.
        let again = |board: &Board| Board::new(board.slots.clone(), 8, MergePolicy::Manual);
        let accept = |board: &mut Board, task: &str| board.handle_event(Event::Accepted(id(task)));
        let mut board = again(&board);
        assert_eq!(accept(&mut board, "b"), [Effect::Finish], "what it builds on waits");
        let mut board = again(&board);
        assert_eq!(board.handle_event(Event::Pause), [], "it goes on after the pause");
        assert_eq!(accept(&mut board, "a"), []);
        assert_eq!(board.handle_event(Event::Unpause), [Effect::Land(id("a")), Effect::Land(id("b"))]);
        assert_eq!(settled(&mut board, "a", TaskState::Landed), []);
        assert_eq!(settled(&mut board, "b", TaskState::Rejected), [Effect::Finish], "c waits for a person");
        let mut board = again(&board);
        assert_eq!(accept(&mut board, "b"), [Effect::Land(id("b"))], "once more");
    }

    #[test]
    fn one_task_is_cancelled_at_once_when_it_waits_and_stopped_when_it_runs_and_the_rest_goes_on() {
        let mut board = board(&[("a", &[]), ("b", &[]), ("c", &["b"]), ("x", &[])], 2, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        assert_eq!(board.handle_event(Event::CancelTask(id("x"))), [Effect::Cancel(id("x"))]);
        assert_eq!(board.handle_event(Event::CancelTask(id("b"))), [Effect::Stop(id("b"))]);
        let skip = Effect::Skip { task: id("c"), by: id("b") };
        assert_eq!(settled(&mut board, "b", TaskState::Cancelled), [skip]);
        assert_eq!(board.handle_event(Event::CancelTask(id("b"))), [], "it is over");
        assert_eq!(settled(&mut board, "a", TaskState::NoChange), [Effect::Finish]);
    }

    #[test]
    fn a_task_that_rests_gives_its_place_to_another_and_starts_when_it_has_rested() {
        let mut board = board(&[("a", &[]), ("b", &[])], 1, MergePolicy::Auto);
        assert_eq!(board.handle_event(Event::Begin), [Effect::Start(id("a"))]);
        assert_eq!(board.handle_event(Event::Rest(id("a"))), []);
        assert_eq!(settled(&mut board, "a", TaskState::Queued), [Effect::Start(id("b"))]);
        assert_eq!(settled(&mut board, "b", TaskState::NoChange), [], "the run is not over");
        assert_eq!(board.handle_event(Event::Rested(id("a"))), [Effect::Start(id("a"))]);
        assert_eq!(board.handle_event(Event::Rested(id("a"))), [], "it is at work");
    }

    #[test]
    fn a_task_that_was_cancelled_while_it_rested_starts_at_once_when_a_person_wants_it_again() {
        let mut board = board(&[("a", &[]), ("b", &[])], 2, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        board.handle_event(Event::Rest(id("a")));
        settled(&mut board, "a", TaskState::Queued);
        assert_eq!(board.handle_event(Event::CancelTask(id("a"))), [Effect::Cancel(id("a"))]);
        assert_eq!(settled(&mut board, "a", TaskState::Queued), [Effect::Start(id("a"))]);
    }

    #[test]
    fn results_do_not_pile_up_faster_than_they_land() {
        let names: Vec<String> = (0..7).map(|n| format!("t{n}")).collect();
        let tasks: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
        let mut board = board(&tasks, 1, MergePolicy::Auto);
        board.handle_event(Event::Begin);
        for name in &names[..BACKLOG - 1] {
            let effects = settled(&mut board, name, TaskState::Candidate);
            assert!(effects.iter().any(|effect| matches!(effect, Effect::Start(_))), "{name}: {effects:?}");
        }
        assert_eq!(settled(&mut board, "t3", TaskState::Candidate), [Effect::Land(id("t3"))], "four wait to land");
        assert_eq!(settled(&mut board, "t0", TaskState::Landed), [Effect::Start(id("t4"))]);
    }

    #[test]
    fn a_task_that_is_parked_leaves_its_place_and_is_stopped_like_one_that_runs() {
        let mut board = board(&[("a", &[]), ("b", &[]), ("c", &[])], 1, MergePolicy::Auto);
        let moved = |board: &mut Board, state| board.handle_event(Event::Moved { task: id("a"), state });
        assert_eq!(board.handle_event(Event::Begin), [Effect::Start(id("a"))]);
        assert_eq!(moved(&mut board, TaskState::Waiting), [Effect::Start(id("b"))]);
        assert_eq!(moved(&mut board, TaskState::Running), []);
        assert_eq!(settled(&mut board, "b", TaskState::NoChange), [], "a has its place again");
        moved(&mut board, TaskState::Waiting);
        assert_eq!(board.handle_event(Event::Cancel), [Effect::StopAll], "its worker answers, and so does that of c");
        settled(&mut board, "c", TaskState::Cancelled);
        assert_eq!(settled(&mut board, "a", TaskState::Cancelled), [Effect::Finish]);
        assert_eq!(moved(&mut board, TaskState::Running), [], "it is over");
        assert_eq!(board.states()[0], TaskState::Cancelled);
    }

    #[test]
    fn manual_runs_end_with_candidates() {
        let mut board = board(&[("a", &[])], 1, MergePolicy::Manual);
        board.handle_event(Event::Begin);
        assert_eq!(settled(&mut board, "a", TaskState::Candidate), [Effect::Finish]);
    }

    proptest! {
        /// Whatever the ends of workers and landings are and in whatever order they come: never more than `jobs` at
        /// work, nothing started or handed in twice, nothing handed in before what it needs, and the run ends.
        #[test]
        fn every_order_of_ends_finishes_the_run(
            edges in proptest::collection::vec(any::<u16>(), 1..9),
            jobs in 1u32..4,
            choices in proptest::collection::vec(any::<u8>(), 64),
        ) {
            let slots: Vec<Slot> = edges.iter().enumerate().map(|(n, mask)| Slot {
                id: id(&format!("t{n}")),
                state: TaskState::Queued,
                needs: (0..n).filter(|m| mask & (1 << m) != 0).map(|m| id(&format!("t{m}"))).collect(),
                rests: false,
            accepted: false,
            }).collect();
            let all = slots.clone();
            let needs_of = |task: &TaskId| {
                all.iter().find(|slot| slot.id == *task).map(|slot| slot.needs.clone()).unwrap_or_default()
            };
            let (mut ended, mut rejected) = (BTreeSet::new(), BTreeSet::new());
            let mut board = Board::new(slots, jobs, MergePolicy::Auto);
            let (mut at_work, mut landing, mut over) = (Vec::new(), Vec::new(), false);
            let mut started = std::collections::BTreeSet::new();
            let mut landed = std::collections::BTreeSet::new();
            let mut effects = board.handle_event(Event::Begin);
            for choice in choices.iter().cycle().take(500) {
                for effect in effects.drain(..) {
                    match effect {
                        Effect::Start(task) => {
                            prop_assert!(started.insert(task.clone()), "{} started twice", task);
                            at_work.push(task);
                        }
                        Effect::Land(task) => {
                            prop_assert!(landed.insert(task.clone()), "{} landed twice", task);
                            let needs = needs_of(&task);
                            let ready = needs.iter().all(|need| landed.contains(need) || ended.contains(need));
                            prop_assert!(ready, "{} before what it needs", task);
                            landing.push(task);
                        }
                        Effect::Finish => over = true,
                        _ => {}
                    }
                }
                prop_assert!(at_work.len() <= jobs as usize);
                let from_landing = choice % 2 == 0 && !landing.is_empty() || at_work.is_empty();
                let place = usize::from(*choice);
                let (task, state) = match (from_landing, landing.is_empty(), at_work.is_empty()) {
                    (_, true, true) => break,
                    (true, false, _) => {
                        let task: TaskId = landing.remove(0);
                        let lost = choice % 3 == 0 || needs_of(&task).iter().any(|need| rejected.contains(need));
                        if lost {
                            rejected.insert(task.clone());
                        }
                        (task, if lost { TaskState::Rejected } else { TaskState::Landed })
                    }
                    _ => {
                        let ends = [TaskState::Candidate, TaskState::Failed, TaskState::NoChange, TaskState::Candidate];
                        let task: TaskId = at_work.remove(place % at_work.len());
                        if ends[place % 4] == TaskState::NoChange {
                            ended.insert(task.clone());
                        }
                        (task, ends[place % 4])
                    }
                };
                effects = board.handle_event(Event::Settled { task, state });
            }
            prop_assert!(over && at_work.is_empty() && landing.is_empty());
        }
    }
}
