//! The board, driven by hand: what starts, waits, lands and ends in which order, and that every order of ends finishes the run.
//! No git, no processes: the events are made up here.

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
        paths: Vec::new(),
    };
    Board::new(tasks.iter().map(slot).collect(), jobs, merge, OverlapPolicy::Ignore)
}

/// Tasks that need nothing and declare one pattern each.
fn declared(tasks: &[(&str, &str)], jobs: u32, merge: MergePolicy, overlap: OverlapPolicy) -> Board {
    let slot = |(name, path): &(&str, &str)| Slot {
        id: id(name),
        state: TaskState::Queued,
        needs: Vec::new(),
        rests: false,
        accepted: false,
        paths: vec![(*path).to_owned()],
    };
    Board::new(tasks.iter().map(slot).collect(), jobs, merge, overlap)
}

const SAME: [(&str, &str); 3] = [("a", "src/**"), ("b", "src/x"), ("c", "docs/**")];

fn waits(task: &str, by: &str) -> Effect {
    Effect::Wait { task: id(task), by: Some(id(by)) }
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
        paths: Vec::new(),
    };
    let slots = vec![
        slot("a", TaskState::Landed, &[]),
        slot("b", TaskState::Running, &[]),
        slot("c", TaskState::Leased, &[]),
        slot("d", TaskState::Candidate, &["a"]),
        slot("e", TaskState::Queued, &["d"]),
        slot("f", TaskState::Queued, &[]),
    ];
    let mut board = Board::new(slots, 3, MergePolicy::Auto, OverlapPolicy::Ignore);
    let effects = board.handle_event(Event::Begin);
    let expected = [Effect::Resume(id("b")), Effect::Resume(id("c")), Effect::Start(id("e")), Effect::Land(id("d"))];
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
    let again = |board: &Board| Board::new(board.slots.clone(), 8, MergePolicy::Manual, OverlapPolicy::Ignore);
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

#[test]
fn with_wait_a_task_starts_when_what_changes_the_same_files_has_landed_and_says_so_once() {
    let mut board = declared(&SAME, 3, MergePolicy::Auto, OverlapPolicy::Wait);
    let effects = board.handle_event(Event::Begin);
    assert_eq!(effects, [Effect::Start(id("a")), Effect::Start(id("c")), waits("b", "a")]);
    assert_eq!(settled(&mut board, "c", TaskState::NoChange), []);
    assert_eq!(settled(&mut board, "a", TaskState::Candidate), [Effect::Land(id("a"))]);
    assert!(board.waits_for_a_landing());
    assert_eq!(settled(&mut board, "a", TaskState::Landed), [Effect::Start(id("b"))]);
    assert_eq!(settled(&mut board, "b", TaskState::NoChange), [Effect::Finish]);
}

#[test]
fn with_prefer_no_place_stays_free_and_who_meets_nobody_comes_first() {
    let mut board = declared(&SAME, 2, MergePolicy::Auto, OverlapPolicy::Prefer);
    assert_eq!(board.handle_event(Event::Begin), [Effect::Start(id("a")), Effect::Start(id("c"))]);
    assert_eq!(settled(&mut board, "c", TaskState::NoChange), [Effect::Start(id("b"))]);
}

#[test]
fn nobody_waits_for_what_waits_for_a_person() {
    let mut manual = declared(&SAME, 3, MergePolicy::Manual, OverlapPolicy::Wait);
    manual.handle_event(Event::Begin);
    assert_eq!(settled(&mut manual, "a", TaskState::Candidate), [Effect::Start(id("b"))]);
    let mut held = declared(&SAME, 3, MergePolicy::Auto, OverlapPolicy::Wait);
    held.handle_event(Event::Begin);
    settled(&mut held, "a", TaskState::Candidate);
    let obstructed = |board: &mut Board, tasks: &[&str]| {
        board.handle_event(Event::Obstructed(tasks.iter().map(|task| id(task)).collect()))
    };
    assert_eq!(obstructed(&mut held, &["a"]), [Effect::Start(id("b"))], "its place in the queue is held by a person");
    assert_eq!(settled(&mut held, "b", TaskState::Queued), [Effect::Start(id("b"))]);
    assert_eq!(settled(&mut held, "b", TaskState::Candidate), [Effect::Land(id("b"))]);
}

#[test]
fn a_task_that_rests_holds_up_nobody_and_waits_in_its_turn() {
    let mut board = declared(&SAME, 3, MergePolicy::Auto, OverlapPolicy::Wait);
    board.handle_event(Event::Begin);
    board.handle_event(Event::Rest(id("a")));
    assert_eq!(settled(&mut board, "a", TaskState::Queued), [Effect::Start(id("b"))]);
    assert_eq!(board.handle_event(Event::Rested(id("a"))), [waits("a", "b")]);
    let cancelled = board.handle_event(Event::CancelTask(id("a")));
    assert_eq!(cancelled, [Effect::Cancel(id("a"))]);
}

#[test]
fn a_successor_has_the_same_tasks_wait() {
    let mut board = declared(&SAME, 3, MergePolicy::Auto, OverlapPolicy::Wait);
    board.handle_event(Event::Begin);
    let mut again = Board::new(board.slots.clone(), 3, MergePolicy::Auto, OverlapPolicy::Wait);
    let effects = again.handle_event(Event::Begin);
    assert_eq!(effects, [Effect::Resume(id("a")), Effect::Resume(id("c")), waits("b", "a")]);
    assert_eq!(settled(&mut again, "a", TaskState::NoChange), [Effect::Start(id("b"))]);
}

#[test]
fn what_waits_only_for_a_place_does_not_say_that_it_waits_for_another_any_more() {
    let tasks = [("a", "src/**"), ("b", "src/x"), ("c", "docs/**"), ("d", "docs/d")];
    let mut board = declared(&tasks, 2, MergePolicy::Auto, OverlapPolicy::Wait);
    let effects = board.handle_event(Event::Begin);
    assert_eq!(effects, [Effect::Start(id("a")), Effect::Start(id("c")), waits("b", "a"), waits("d", "c")]);
    board.handle_event(Event::Moved { task: id("a"), state: TaskState::Waiting });
    board.handle_event(Event::Moved { task: id("a"), state: TaskState::Running });
    settled(&mut board, "a", TaskState::Failed);
    assert_eq!(settled(&mut board, "c", TaskState::Failed), [Effect::Start(id("d"))]);
}

/// What a task needs, directly or not.
fn all_needs(slots: &[Slot], task: &TaskId) -> BTreeSet<TaskId> {
    let (mut found, mut open) = (BTreeSet::new(), vec![task.clone()]);
    while let Some(next) = open.pop() {
        let needs = slots.iter().find(|slot| slot.id == next).map(|slot| slot.needs.clone()).unwrap_or_default();
        open.extend(needs.into_iter().filter(|need| found.insert(need.clone())));
    }
    found
}

proptest! {
    /// Whatever the ends of workers and landings are and in whatever order they come: never more than `jobs` at
    /// work, nothing started or handed in twice, nothing handed in before what it needs, nothing begun with `wait` beside
    /// what changes the same files, and the run ends.
    #[test]
    fn every_order_of_ends_finishes_the_run(
        edges in proptest::collection::vec(any::<u16>(), 1..9),
        jobs in 1u32..4,
        choices in proptest::collection::vec(any::<u8>(), 64),
        lists in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..3), 1..9),
        overlap in proptest::sample::select(vec![OverlapPolicy::Ignore, OverlapPolicy::Prefer, OverlapPolicy::Wait]),
    ) {
        let slots: Vec<Slot> = edges.iter().enumerate().map(|(n, mask)| Slot {
            id: id(&format!("t{n}")),
            state: TaskState::Queued,
            needs: (0..n).filter(|m| mask & (1 << m) != 0).map(|m| id(&format!("t{m}"))).collect(),
            rests: false,
            accepted: false,
            paths: lists[n % lists.len()].iter().map(|area| format!("area{area}/**")).collect(),
        }).collect();
        let all = slots.clone();
        let needs_of = |task: &TaskId| {
            all.iter().find(|slot| slot.id == *task).map(|slot| slot.needs.clone()).unwrap_or_default()
        };
        let place_of = |task: &TaskId| all.iter().position(|slot| slot.id == *task).unwrap_or_default();
        let mut declared = Board::new(all.clone(), jobs, MergePolicy::Auto, OverlapPolicy::Wait).overlaps;
        let (mut ended, mut rejected) = (BTreeSet::new(), BTreeSet::new());
        let mut board = Board::new(slots, jobs, MergePolicy::Auto, overlap);
        let (mut at_work, mut landing, mut over) = (Vec::new(), Vec::new(), false);
        let mut started = std::collections::BTreeSet::new();
        let mut landed = std::collections::BTreeSet::new();
        let mut effects = board.handle_event(Event::Begin);
        for choice in choices.iter().cycle().take(500) {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Start(task) => {
                        prop_assert!(started.insert(task.clone()), "{} started twice", task);
                        // What needs something that was rejected does not land either.
                        let lands = |other: &&TaskId| !all_needs(&all, other).iter().any(|need| rejected.contains(need));
                        let busy = at_work.iter().chain(landing.iter().filter(lands));
                        for other in busy.filter(|_| overlap == OverlapPolicy::Wait) {
                            prop_assert!(!declared.meet(place_of(&task), place_of(other)), "{} beside {}", task, other);
                        }
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
