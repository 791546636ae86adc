//! A run whose supervisor dies at any of its writes comes to the same end: random runs, with the store in memory.
//!
//! Board, records and store are the real ones. Git, shims and commands are a `World` that outlives every supervisor, as the
//! disk does: it knows what began, what ended and what is in the target, and it refuses to see anything done twice. What a
//! worker does to the real disk between two writes is for `tests/crash_matrix.rs`, which kills the real binary.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::acceptance;
use super::asking;
use super::board::{Board, Effect, Event};
use super::recover;
use super::same_files;
use super::supervisor::{beginning, slot};
use crate::model::record::{AttemptError, RunRecord, TaskRecord};
use crate::model::{
    BaseReport, CommitId, Delay, MergePolicy, OverlapPolicy, Reason, ReasonKind, RunId, RunState, TaskEvent, TaskId,
    TaskState, Timestamp,
};
use crate::store::{EntryDraft, Landing, Store, StoreError, fixture};

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Changes,
    NoChange,
    Fails,
}

/// A task as it is made up: what of those before it it needs, its attempts, and whether its result can land.
#[derive(Clone, Debug)]
struct Made {
    needs: Vec<usize>,
    ends: Vec<End>,
    lands: bool,
    /// The area of files that it declares.
    area: Option<u8>,
}

impl Made {
    fn end(&self, attempt: u32) -> End {
        let nth = usize::try_from(attempt).map_or(usize::MAX, |n| n - 1);
        *self.ends.get(nth).or(self.ends.last()).expect("an end")
    }
}

/// A run as it is made up.
#[derive(Clone, Debug)]
struct Plan {
    tasks: Vec<Made>,
    jobs: u32,
    merge: MergePolicy,
    overlap: OverlapPolicy,
    /// When it is over a person has everything land that can.
    accepted: bool,
    /// After so many steps of all its supervisors a person cancels it.
    cancelled_after: Option<u32>,
    /// Decides which of those at work comes next.
    order: u64,
}

/// What no supervisor takes with it when it dies.
#[derive(Default)]
struct World {
    began: BTreeSet<(TaskId, u32)>,
    ended: BTreeSet<(TaskId, u32)>,
    target: Vec<TaskId>,
    steps: u32,
}

/// The next thing that is done for a task.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lease,
    Record,
    Begin,
    End,
    Close,
    Conclude,
    Rest,
    Resume,
    Intend,
    Move,
}

enum Next {
    Do(Step),
    Settled(TaskState),
    Rested,
}

struct Supervisor<'a> {
    plan: &'a Plan,
    world: &'a mut World,
    store: &'a Store,
    run: &'a RunId,
    board: Board,
    at_work: Vec<(TaskId, Step)>,
    cancelled: bool,
    over: bool,
    random: u64,
}

fn id(n: usize) -> TaskId {
    TaskId::parse(&format!("t{n}")).expect("a task id")
}

fn commit(digit: char) -> CommitId {
    CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
}

fn records(plan: &Plan) -> (RunRecord, Vec<TaskRecord>) {
    let base = BaseReport::fixed("main", commit('a'));
    let (mut run, first) = fixture::run(&base, "queued", "t0", "queued");
    (run.jobs, run.merge, run.admission.overlap) = (plan.jobs, plan.merge, plan.overlap);
    let task = |(n, made): (usize, &Made)| {
        let mut task = first.clone();
        (task.id, task.ordinal) = (id(n), u32::try_from(n).expect("a few"));
        task.spec.id = id(n);
        task.spec.needs = made.needs.iter().map(|need| id(*need)).collect();
        task.spec.paths = made.area.iter().map(|area| format!("area{area}/**")).collect();
        task.spec.retries = u32::try_from(made.ends.len()).expect("a few") - 1;
        task
    };
    let tasks = plan.tasks.iter().enumerate().map(task).collect();
    (run, tasks)
}

impl<'a> Supervisor<'a> {
    /// Takes over as whoever starts one does: landings first, then the tasks as the journal has them.
    fn start(plan: &'a Plan, world: &'a mut World, store: &'a Store, run: &'a RunId) -> Result<Self, StoreError> {
        let (record, epoch) = store.take_over(run, (None, &Value::Null), Timestamp(7))?;
        for entry in store.open_intents()?.into_iter().filter(|entry| entry.kind == recover::KIND) {
            let task = TaskId::parse(entry.task.as_deref().expect("of a task")).expect("an id");
            if world.target.contains(&task) {
                land(store, &record, &task, Some(&entry.intent()))?;
            } else {
                store.failed(entry.intent(), json!({"why": "the branch never moved"}))?;
            }
        }
        let tasks = store.tasks(run)?;
        let board = Board::new(tasks.iter().map(slot).collect(), record.jobs, record.merge, record.overlap());
        let rests = tasks.iter().filter(|task| slot(task).rests).map(|task| (task.id.clone(), Step::Rest)).collect();
        let (over, cancelled, random) = (false, false, plan.order.wrapping_add(epoch) | 1);
        let mut supervisor = Supervisor { plan, world, store, run, board, at_work: rests, cancelled, over, random };
        let mut events = beginning(&record, &tasks);
        while let Some(event) = events.pop() {
            supervisor.take(event)?;
        }
        Ok(supervisor)
    }

    /// Works to the end of the run.
    fn work(mut self) -> Result<(), StoreError> {
        while !self.over {
            self.world.steps += 1;
            if self.plan.cancelled_after.is_some_and(|after| self.world.steps > after) && !self.cancelled {
                self.take(Event::Cancel)?;
                continue;
            }
            assert!(!self.at_work.is_empty(), "nobody works, and it is not over: {:?}", self.board);
            let nth = usize::try_from(self.any() % u64::try_from(self.at_work.len()).expect("a few")).expect("a few");
            let (task, step) = self.at_work.swap_remove(nth);
            match self.step(&task, step)? {
                Next::Do(next) => self.at_work.push((task, next)),
                Next::Rested => self.take(Event::Rested(task))?,
                Next::Settled(state) => {
                    let rests = slot(&self.store.task(self.run, &task)?).rests;
                    if rests {
                        self.at_work.push((task.clone(), Step::Rest));
                        self.take(Event::Rest(task.clone()))?;
                    }
                    self.take(Event::Settled { task, state })?;
                }
            }
        }
        let state = RunState::derive(&self.board.states(), self.cancelled);
        self.store.set_run_state(self.run, state).map(drop)
    }

    /// Xorshift, after G. Marsaglia, "Xorshift RNGs", 2003.
    fn any(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn take(&mut self, event: Event) -> Result<(), StoreError> {
        for effect in self.board.handle_event(event) {
            match effect {
                Effect::Start(task) => self.at_work.push((task, Step::Lease)),
                Effect::Resume(task) => self.at_work.push((task, Step::Resume)),
                Effect::Land(task) => self.at_work.push((task, Step::Intend)),
                Effect::Skip { task, .. } => self.end(&task, TaskEvent::Skip, ReasonKind::Skipped).map(drop)?,
                Effect::RejectDependent { task, .. } => {
                    self.end(&task, TaskEvent::Reject, ReasonKind::Skipped).map(drop)?;
                }
                Effect::Cancel(task) => self.end(&task, TaskEvent::Cancel, ReasonKind::Cancelled).map(drop)?,
                Effect::Wait { task, by } => same_files::note(self.store, self.run, &task, by.as_ref())?,
                Effect::StopAll => {
                    asking::note_cancel(self.store, self.run)?;
                    self.cancelled = true;
                }
                Effect::Stop(task) => unreachable!("nobody stops {task} alone"),
                Effect::Finish => self.over = true,
            }
        }
        Ok(())
    }

    fn end(&self, task: &TaskId, event: TaskEvent, kind: ReasonKind) -> Result<TaskState, StoreError> {
        let reason = Reason::new(kind, "it ended");
        Ok(self.store.move_task(self.run, task, event, json!({}), |task| task.reason = Some(reason))?.state)
    }

    fn made(&self, task: &TaskId) -> &'a Made {
        let nth: usize = task.as_str()[1..].parse().expect("a number");
        &self.plan.tasks[nth]
    }

    /// One step, in the order of writes and effects that workers, landings and successors have.
    fn step(&mut self, id: &TaskId, step: Step) -> Result<Next, StoreError> {
        let (store, run) = (self.store, self.run);
        let task = store.task(run, id)?;
        let attempt = task.attempts.last().map(|attempt| (id.clone(), attempt.n));
        let known = || attempt.clone().expect("an attempt is on record");
        Ok(match step {
            Step::Lease => {
                store.move_task(run, id, TaskEvent::Lease, json!({}), |task| task.delay = None)?;
                Next::Do(Step::Record)
            }
            Step::Record if self.cancelled => Next::Settled(self.end(id, TaskEvent::Cancel, ReasonKind::Cancelled)?),
            Step::Record => {
                let n = u32::try_from(task.attempts.len()).expect("a few") + 1;
                store
                    .move_task(run, id, TaskEvent::Start, json!({}), |task| task.attempts.push(fixture::attempt(n)))?;
                Next::Do(Step::Begin)
            }
            Step::Begin => {
                assert!(self.world.began.insert(known()), "{:?} is started twice", known());
                store.edit_task(run, id, "attempt.started", json!({}), |_| {})?;
                Next::Do(Step::End)
            }
            Step::End => {
                self.world.ended.insert(known());
                Next::Do(Step::Close)
            }
            Step::Close => {
                assert!(self.world.ended.contains(&known()), "{:?} is judged while it runs", known());
                let error = (self.made(id).end(known().1) == End::Fails).then(failed);
                store.edit_task(run, id, "attempt.ended", json!({}), |task| {
                    let attempt = task.attempts.last_mut().expect("an attempt");
                    (attempt.ended_at, attempt.error) = (Some(Timestamp(9)), error);
                })?;
                Next::Do(Step::Conclude)
            }
            Step::Conclude => Next::Settled(self.conclude(&task, known().1)?),
            Step::Rest => Next::Rested,
            Step::Resume => self.resume(&task, attempt)?,
            Step::Intend => match self.needs_of(&task)? {
                Some(true) if !self.made(id).lands => {
                    Next::Settled(self.end(id, TaskEvent::Reject, ReasonKind::Conflict)?)
                }
                Some(false) => Next::Settled(self.end(id, TaskEvent::Reject, ReasonKind::Skipped)?),
                // The queue lands that first.
                None => Next::Do(Step::Intend),
                Some(true) => {
                    let _open = store.intend(&EntryDraft::new(recover::KIND, json!({})).of_task(run, id))?;
                    Next::Do(Step::Move)
                }
            },
            Step::Move => {
                assert!(!self.world.target.contains(id), "{id} lands twice");
                self.world.target.push(id.clone());
                let intent = store
                    .open_intents()?
                    .iter()
                    .find(|entry| entry.task.as_deref() == Some(id.as_str()))
                    .map(|entry| entry.intent());
                Next::Settled(land(store, &store.run(run)?, id, intent.as_ref())?)
            }
        })
    }

    /// True when all that it needs has landed, false when something of it never will.
    fn needs_of(&self, task: &TaskRecord) -> Result<Option<bool>, StoreError> {
        let mut all = Some(true);
        for need in &task.spec.needs {
            match self.store.task(self.run, need)?.state {
                TaskState::Landed | TaskState::NoChange => {}
                state if state.is_terminal() => return Ok(Some(false)),
                _ => all = None,
            }
        }
        Ok(all)
    }

    fn conclude(&self, task: &TaskRecord, attempt: u32) -> Result<TaskState, StoreError> {
        let (store, run, id) = (self.store, self.run, &task.id);
        let policy = store.run(run)?.retry;
        Ok(match self.made(id).end(attempt) {
            End::NoChange => store.move_task(run, id, TaskEvent::NothingChanged, json!({}), |_| {})?.state,
            End::Changes => {
                let events = [(TaskEvent::Capture, json!({})), (TaskEvent::Enqueue, json!({}))];
                store.move_task_through(run, id, &events, |task| task.commit = Some(commit('c')))?.state
            }
            End::Fails if task.may_try_again(&policy) && !self.cancelled => {
                let until = Timestamp(4_102_444_800_000);
                // Every other one rests, longer than any test.
                let rest = attempt.is_multiple_of(2).then(|| Delay {
                    why: "rests".into(),
                    since: Timestamp(9),
                    until: Some(until),
                });
                store.move_task(run, id, TaskEvent::TryAgain, json!({}), |task| task.delay = rest)?.state
            }
            End::Fails => self.end(id, TaskEvent::Fail, ReasonKind::Failed)?,
        })
    }

    fn resume(&self, task: &TaskRecord, attempt: Option<(TaskId, u32)>) -> Result<Next, StoreError> {
        let (store, run) = (self.store, self.run);
        let release = |change: &dyn Fn(&mut TaskRecord)| {
            store.move_task(run, &task.id, TaskEvent::Release, json!({}), change).map(|task| Next::Settled(task.state))
        };
        match (task.state, attempt) {
            (TaskState::Leased, _) => release(&|_| {}),
            (TaskState::Running, Some(_)) if task.attempts.last().is_some_and(|last| last.ended_at.is_some()) => {
                Ok(Next::Do(Step::Conclude))
            }
            // Its shim lives, or has left a record: it is followed to its end.
            (TaskState::Running, Some(known)) if self.world.began.contains(&known) => Ok(Next::Do(Step::End)),
            (TaskState::Running, Some((_, n))) => release(&|task| task.attempts.retain(|recorded| recorded.n != n)),
            (state, _) => panic!("a crash leaves {} as {}", task.id, state.word()),
        }
    }
}

fn land(
    store: &Store,
    run: &RunRecord,
    task: &TaskId,
    intent: Option<&crate::store::Intent>,
) -> Result<TaskState, StoreError> {
    let (before, after) = (commit('a'), commit('b'));
    let landing = Landing { run: &run.id, task, into: &run.into, before: &before, after: &after, at: Timestamp(10) };
    Ok(store.record_landings(&[landing], intent)?.remove(0).state)
}

fn failed() -> AttemptError {
    AttemptError { kind: "exit".into(), message: "exited with 1".into(), class: None, retry_after: None }
}

/// What a run came to: what each task is and why, how many attempts it had, and what is in the target.
#[derive(Debug, PartialEq, Eq)]
struct CameTo {
    run: RunState,
    tasks: BTreeMap<TaskId, Ended>,
    landed: BTreeSet<TaskId>,
}

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    As(TaskState, Option<ReasonKind>, usize),
    /// Something that it needs did not end well: whether it had begun by then is a matter of time.
    HeldUp,
}

fn how(task: &TaskRecord, all: &[TaskRecord]) -> Ended {
    let fell = |id: &TaskId| {
        let need = all.iter().find(|task| task.id == *id).expect("a need");
        let bad = matches!(need.state, TaskState::Failed | TaskState::Rejected | TaskState::Skipped);
        bad || how(need, all) == Ended::HeldUp
    };
    match task.reason.as_ref().map(|reason| reason.kind) {
        _ if task.spec.needs.iter().any(fell) => Ended::HeldUp,
        kind => Ended::As(task.state, kind, task.attempts.len()),
    }
}

/// Brings a run to its end, with supervisors that die after so many writes, one after the other. What it came to, and how many
/// of them died.
fn bring_to_its_end(plan: &Plan, cuts: &[u64]) -> (CameTo, usize) {
    let store = Store::in_memory().expect("a store");
    let (run, tasks) = records(plan);
    store.create_run(&run, &tasks).expect("stored");
    let mut world = World::default();
    let mut died = supervise(plan, &mut world, &store, &run.id, cuts);
    check(plan, &world, &store, &run.id);
    let tasks = store.tasks(&run.id).expect("read");
    if let Some(chosen) = acceptance::choose(&tasks, &[]).ok().filter(|_| plan.accepted) {
        asking::reopen_to_land(&store, &run.id, &chosen).expect("written");
        died += supervise(plan, &mut world, &store, &run.id, cuts);
        check(plan, &world, &store, &run.id);
        let tasks = store.tasks(&run.id).expect("read");
        assert!(!tasks.iter().any(|task| chosen.contains(&task.id) && task.state == TaskState::Candidate), "{tasks:?}");
    }
    let tasks = store.tasks(&run.id).expect("read");
    let ended = tasks.iter().map(|task| (task.id.clone(), how(task, &tasks))).collect();
    let run = store.run(&run.id).expect("read").state;
    (CameTo { run, tasks: ended, landed: world.target.into_iter().collect() }, died)
}

/// Works with supervisors that die after so many writes, one after the other, and one that does not. How many died.
fn supervise(plan: &Plan, world: &mut World, store: &Store, run: &RunId, cuts: &[u64]) -> usize {
    let mut died = 0;
    for cut in cuts.iter().map(Some).chain([None]) {
        store.cut_after(cut.copied().unwrap_or(u64::MAX));
        match Supervisor::start(plan, world, store, run).and_then(Supervisor::work) {
            Ok(()) => break,
            Err(StoreError::Cut) => died += 1,
            Err(error) => panic!("{error}"),
        }
    }
    store.cut_after(u64::MAX);
    died
}

/// What holds of every run that is over, whatever died.
fn check(plan: &Plan, world: &World, store: &Store, run: &RunId) {
    assert!(store.run(run).expect("read").state.is_terminal());
    assert_eq!(store.open_intents().expect("read"), []);
    assert_eq!(store.operations().expect("read").len(), world.target.len(), "each landing has its operation");
    for (n, task) in store.tasks(run).expect("read").into_iter().enumerate() {
        let kept = task.state == TaskState::Candidate && plan.merge == MergePolicy::Manual;
        assert!(task.state.is_terminal() || kept, "{task:?}");
        assert!(task.attempts.len() <= plan.tasks[n].ends.len(), "{task:?}");
        let began = world.began.iter().filter(|(began, _)| *began == task.id).count();
        assert_eq!(began, task.attempts.len(), "every attempt that began is on record, and no other: {task:?}");
        assert_eq!(task.state == TaskState::Landed, world.target.contains(&task.id), "{task:?}");
        let place = |id: &TaskId| world.target.iter().position(|landed| landed == id);
        for need in task.spec.needs.iter().filter(|_| task.state == TaskState::Landed) {
            assert!(place(need) < place(&task.id), "{} landed before {need}, which it needs", task.id);
        }
    }
}

fn plan(tasks: &[(&[usize], &[End], bool)]) -> Plan {
    let made = |(needs, ends, lands): &(&[usize], &[End], bool)| Made {
        needs: needs.to_vec(),
        ends: ends.to_vec(),
        lands: *lands,
        area: None,
    };
    let tasks = tasks.iter().map(made).collect();
    Plan {
        tasks,
        jobs: 2,
        merge: MergePolicy::Auto,
        overlap: OverlapPolicy::Wait,
        accepted: false,
        cancelled_after: None,
        order: 7,
    }
}

/// Cuts a run after each of its writes, and its successor once more after every fifth of those that it has left, in turn.
fn cut_everywhere(plan: &Plan) -> usize {
    let (expected, died) = bring_to_its_end(plan, &[]);
    assert_eq!(died, 0);
    for first in 0.. {
        let (came_to, died) = bring_to_its_end(plan, &[first]);
        assert_eq!(came_to, expected, "cut after {first} writes");
        if died == 0 {
            return usize::try_from(first).expect("a few");
        }
        for second in (first % 5..).step_by(5) {
            let (came_to, died) = bring_to_its_end(plan, &[first, second]);
            assert_eq!(came_to, expected, "cut after {first} writes and {second} more");
            if died == 1 {
                break;
            }
        }
    }
    unreachable!("a run has an end")
}

#[test]
fn a_run_with_a_diamond_a_retry_a_conflict_and_landings_is_cut_after_each_of_its_writes_twice() {
    use End::{Changes, Fails};
    let plan = plan(&[
        (&[], &[Changes], true),
        (&[0], &[Changes], true),
        (&[0], &[Fails, Fails, Changes], true),
        (&[1, 2], &[Changes], true),
        (&[], &[Fails, Fails], true),
        (&[4], &[Changes], true),
        (&[0], &[Changes], false),
        (&[6], &[Changes], true),
    ]);
    let areas = [Some(0), Some(1), Some(1), None, Some(1), None, Some(1), Some(0)];
    let tasks = plan.tasks.iter().zip(areas).map(|(made, area)| Made { area, ..made.clone() }).collect();
    let plan = Plan { tasks, ..plan };
    let (came_to, _) = bring_to_its_end(&plan, &[]);
    let landed = |attempts| Ended::As(TaskState::Landed, None, attempts);
    let expected = [
        landed(1),
        landed(1),
        landed(3),
        landed(1),
        Ended::As(TaskState::Failed, Some(ReasonKind::Failed), 2),
        Ended::HeldUp,
        Ended::As(TaskState::Rejected, Some(ReasonKind::Conflict), 1),
        Ended::HeldUp,
    ];
    assert_eq!(came_to.tasks.into_values().collect::<Vec<_>>(), expected);
    assert!(cut_everywhere(&plan) > 40, "it writes that often");
}

fn plans() -> impl Strategy<Value = Plan> {
    let end = prop_oneof![3 => Just(End::Changes), 1 => Just(End::NoChange), 2 => Just(End::Fails)];
    let made = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::collection::vec(end, 1..4),
        prop::bool::weighted(0.8),
        prop::option::of(0..3u8),
    );
    let made = made.prop_map(|(needs, ends, lands, area)| (needs, Made { needs: Vec::new(), ends, lands, area }));
    let tasks = prop::collection::vec(made, 1..7).prop_map(|tasks| {
        let made = |(n, (needs, made)): (usize, (Vec<prop::sample::Index>, Made))| {
            let needs: BTreeSet<usize> = needs.iter().filter(|_| n > 0).map(|need| need.index(n)).collect();
            Made { needs: needs.into_iter().collect(), ..made }
        };
        tasks.into_iter().enumerate().map(made).collect::<Vec<_>>()
    });
    let merge = prop_oneof![3 => Just(MergePolicy::Auto), 1 => Just(MergePolicy::Manual)];
    let overlap = prop::sample::select(vec![OverlapPolicy::Ignore, OverlapPolicy::Prefer, OverlapPolicy::Wait]);
    (tasks, 1..4u32, (merge, overlap), any::<bool>(), any::<u64>()).prop_map(
        |(tasks, jobs, (merge, overlap), accepted, order)| Plan {
            tasks,
            jobs,
            merge,
            overlap,
            accepted,
            cancelled_after: None,
            order,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_run_comes_to_the_same_end_whenever_its_supervisors_die(
        plan in plans(),
        cuts in prop::collection::vec(0..40u64, 1..6),
    ) {
        let expected = bring_to_its_end(&plan, &[]).0;
        prop_assert_eq!(bring_to_its_end(&plan, &cuts).0, expected);
    }

    #[test]
    fn a_run_that_a_person_cancels_ends_with_nothing_done_twice_whenever_its_supervisors_die(
        plan in plans(),
        after in 0..60u32,
        cuts in prop::collection::vec(0..40u64, 0..6),
    ) {
        bring_to_its_end(&Plan { cancelled_after: Some(after), ..plan }, &cuts);
    }
}
