//! Decision file: the supervisor's mind. `handle_event` takes what happened and says what to do next; it does no IO.
//!
//! The board mirrors the states of the tasks. Effects are carried out by the executor in `supervisor`, which answers
//! each with another event. Start and landing are handed out here alone, so nothing is started or landed twice.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{self, Readiness};
use super::precedence::{Choice, Overlaps};
use crate::model::{MergePolicy, OverlapPolicy, TaskId, TaskState};

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
    /// The patterns of what it may change; none where nothing is declared.
    pub paths: Vec<String>,
}

/// All tasks of a run, in the order of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    slots: Vec<Slot>,
    index: BTreeMap<TaskId, usize>,
    jobs: u32,
    merge: MergePolicy,
    overlaps: Overlaps,
    /// In the queue of the target.
    landing: BTreeSet<TaskId>,
    /// What of that waits for a person.
    obstructed: BTreeSet<TaskId>,
    /// Who is said to wait for whom, by their places.
    told: BTreeMap<usize, usize>,
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
    /// These results wait in the queue for a person; no others do.
    Obstructed(BTreeSet<TaskId>),
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
    /// It could start, and waits for that one, which changes the same files; for nobody any more, where that is empty.
    Wait {
        /// The task.
        task: TaskId,
        /// What it waits for.
        by: Option<TaskId>,
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
    pub fn new(slots: Vec<Slot>, jobs: u32, merge: MergePolicy, overlap: OverlapPolicy) -> Board {
        let index: BTreeMap<TaskId, usize> = slots.iter().enumerate().map(|(n, slot)| (slot.id.clone(), n)).collect();
        let needs = |slot: &Slot| slot.needs.iter().filter_map(|need| index.get(need).copied()).collect();
        let declared: Vec<(&[String], Vec<usize>)> = slots.iter().map(|slot| (&slot.paths[..], needs(slot))).collect();
        let overlaps = Overlaps::new(overlap, &declared);
        Board {
            slots,
            index,
            jobs: jobs.max(1),
            merge,
            overlaps,
            landing: BTreeSet::new(),
            obstructed: BTreeSet::new(),
            told: BTreeMap::new(),
            cancelled: false,
            paused: false,
            finished: false,
        }
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
            Event::Obstructed(tasks) => self.obstructed = tasks,
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
            let admission = graph::admit(&rows, self.jobs);
            let holds_back = self.paused || self.lands_too_slowly();
            let choice = if holds_back { None } else { Some(self.choose(&admission)) };
            let start = choice.as_ref().map_or(&[][..], |choice| &choice.start);
            let idle = start.is_empty() && admission.skip.is_empty();
            for (task, by) in admission.skip {
                self.set(&task, TaskState::Skipped);
                effects.push(Effect::Skip { task, by });
            }
            for task in start {
                self.slots[*task].state = TaskState::Leased;
                effects.push(Effect::Start(self.slots[*task].id.clone()));
            }
            if idle {
                self.tell(choice, effects);
                break;
            }
        }
        if !self.paused {
            self.land_all(effects);
        }
    }

    fn choose(&mut self, admission: &graph::Admission) -> Choice {
        let busy = self.busy();
        self.overlaps.choose(&admission.ready, admission.places, &busy)
    }

    /// What is at work, and what lands by itself: it may, and all that it needs has landed or lands by itself.
    fn busy(&self) -> Vec<usize> {
        let all = || self.slots.iter().enumerate();
        let lands = |slot: &Slot| {
            slot.state == TaskState::Candidate && self.may_land(slot) && !self.obstructed.contains(&slot.id)
        };
        let mut landing: BTreeSet<&TaskId> = all().filter(|(_, slot)| lands(slot)).map(|(_, slot)| &slot.id).collect();
        loop {
            let holds = |need: &TaskId| {
                landing.contains(need) || matches!(self.state_of(need), Some(TaskState::Landed | TaskState::NoChange))
            };
            let needs = |id: &TaskId| self.index.get(id).map_or(&[][..], |n| &self.slots[*n].needs[..]);
            let kept: BTreeSet<&TaskId> = landing.iter().copied().filter(|id| needs(id).iter().all(holds)).collect();
            if kept.len() == landing.len() {
                break;
            }
            landing = kept;
        }
        let busy = |slot: &Slot| slot.state.is_active() || landing.contains(&slot.id);
        all().filter(|(_, slot)| busy(slot)).map(|(n, _)| n).collect()
    }

    /// Says who waits for whom where that is another than it was. Without a choice it is as it was.
    fn tell(&mut self, choice: Option<Choice>, effects: &mut Vec<Effect>) {
        let queued = |n: &usize| self.slots[*n].state == TaskState::Queued;
        let Some(choice) = choice else {
            self.told = self.told.iter().map(|(n, by)| (*n, *by)).filter(|(n, _)| queued(n)).collect();
            return;
        };
        let waits: BTreeMap<usize, usize> = choice.waits.into_iter().collect();
        let id = |n: usize| self.slots[n].id.clone();
        let over = self.told.keys().filter(|n| !waits.contains_key(n) && queued(n));
        effects.extend(over.map(|n| Effect::Wait { task: id(*n), by: None }));
        let news = waits.iter().filter(|(n, by)| self.told.get(n) != Some(by));
        effects.extend(news.map(|(n, by)| Effect::Wait { task: id(*n), by: Some(id(*by)) }));
        self.told = waits;
    }

    /// True when these are the results that are known to wait for a person.
    pub fn has_obstructed(&self, tasks: &BTreeSet<TaskId>) -> bool {
        self.obstructed == *tasks
    }

    /// True when a task waits for a result to land.
    pub fn waits_for_a_landing(&self) -> bool {
        self.told.values().any(|by| self.slots[*by].state == TaskState::Candidate) || !self.obstructed.is_empty()
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
#[path = "board_tests.rs"]
mod tests;
