//! The life of a task and of a run: one total transition function each.
//!
//! `next` is the only way from one state to another; what it refuses is an error value. Terminal states absorb
//! everything but an explicit retry or landing. The store applies it inside its transaction, so no caller can skip it.

use serde::{Deserialize, Serialize};

use super::ReasonKind;

/// States of a task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for a slot or for what it needs.
    Queued,
    /// Parked with a question.
    Waiting,
    /// Its workspace is being made.
    Leased,
    /// An attempt runs.
    Running,
    /// The attempt ended well; its result is committed and imported.
    Captured,
    /// The result waits to land.
    Candidate,
    /// The result is in the target.
    Landed,
    /// It ended well and changed nothing.
    NoChange,
    /// The result did not land; its branch is kept.
    Rejected,
    /// Its attempts failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A person has to look.
    NeedsAttention,
    /// Something that it needs did not end well.
    Skipped,
}

/// What can happen to a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEvent {
    /// Admission gave it a slot.
    Lease,
    /// Its attempt started; consumes an attempt.
    Start,
    /// Whoever worked on it died before its attempt began: it waits for a slot again.
    Release,
    /// The attempt failed and another one is allowed.
    TryAgain,
    /// The attempt failed and was the last, or the workspace could not be made.
    Fail,
    /// It asks something, and is parked until it has an answer.
    Ask,
    /// It has an answer, or does not wait for one any more.
    Answer,
    /// The result was captured and imported.
    Capture,
    /// The attempt ended well without a change.
    NothingChanged,
    /// The result goes to the queue.
    Enqueue,
    /// The result landed.
    Land,
    /// The result was refused.
    Reject,
    /// The result waits for a person.
    Hold,
    /// Something that it needs did not end well.
    Skip,
    /// A person or the run's end cancelled it.
    Cancel,
    /// The result conflicts with its target, and its agent gets that to resolve.
    Resolve,
    /// A person wants it done again.
    Retry,
    /// A person wants its result to land.
    Merge,
}

/// A transition that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state:?} cannot take {event:?}")]
pub struct Illegal {
    /// The state it is in.
    pub state: TaskState,
    /// The event that came.
    pub event: TaskEvent,
}

impl TaskState {
    /// Every state, for tests and help.
    pub const ALL: [TaskState; 13] = [
        Self::Queued,
        Self::Waiting,
        Self::Leased,
        Self::Running,
        Self::Captured,
        Self::Candidate,
        Self::Landed,
        Self::NoChange,
        Self::Rejected,
        Self::Failed,
        Self::Cancelled,
        Self::NeedsAttention,
        Self::Skipped,
    ];

    /// True when nothing but a person can move it any more.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Landed
                | Self::NoChange
                | Self::Rejected
                | Self::Failed
                | Self::Cancelled
                | Self::NeedsAttention
                | Self::Skipped
        )
    }

    /// True when its process, workspace or result is being worked on, also while that is parked.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Waiting | Self::Leased | Self::Running | Self::Captured)
    }

    /// The state after `event`.
    pub fn next(self, event: TaskEvent) -> Result<TaskState, Illegal> {
        use TaskEvent as E;
        use TaskState as S;
        let after = match (self, event) {
            (S::Queued, E::Lease) => S::Leased,
            (S::Leased, E::Start) => S::Running,
            (S::Leased | S::Running, E::Release) => S::Queued,
            (S::Running, E::TryAgain) => S::Queued,
            (S::Leased | S::Running | S::Captured, E::Fail) => S::Failed,
            (S::Running, E::Ask) => S::Waiting,
            (S::Waiting, E::Answer) => S::Running,
            (S::Running, E::Capture) => S::Captured,
            (S::Running, E::NothingChanged) => S::NoChange,
            (S::Captured, E::Enqueue) => S::Candidate,
            (S::Candidate, E::Land) => S::Landed,
            (S::Candidate, E::Resolve) => S::Queued,
            (S::Leased | S::Running | S::Captured | S::Candidate, E::Reject) => S::Rejected,
            (S::Running | S::Captured, E::Hold) => S::NeedsAttention,
            (S::Queued, E::Skip) => S::Skipped,
            (S::Rejected | S::NeedsAttention | S::Candidate, E::Merge) => S::Candidate,
            (S::Failed | S::Cancelled | S::Skipped | S::Rejected | S::NeedsAttention, E::Retry) => S::Queued,
            (state, E::Cancel) if !state.is_terminal() => S::Cancelled,
            (state, event) => return Err(Illegal { state, event }),
        };
        Ok(after)
    }

    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Captured => "captured",
            Self::Candidate => "candidate",
            Self::Landed => "landed",
            Self::NoChange => "no_change",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NeedsAttention => "needs_attention",
            Self::Skipped => "skipped",
        }
    }
}

/// States of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Recorded; its supervisor has not begun.
    Queued,
    /// Tasks run.
    Running,
    /// All tasks are done running; results land.
    Landing,
    /// Everything that had a change landed.
    Landed,
    /// Some landed, some did not.
    Partial,
    /// All tasks ended well; landing is left to a person.
    Done,
    /// Nothing landed and something failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A person has to look.
    NeedsAttention,
}

impl RunState {
    /// True when the run is over.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Landing)
    }

    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Landing => "landing",
            Self::Landed => "landed",
            Self::Partial => "partial",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NeedsAttention => "needs_attention",
        }
    }

    /// The state that the states of its tasks amount to: derived, so that it cannot disagree with them.
    pub fn derive(tasks: &[TaskState], cancelled: bool) -> RunState {
        use TaskState as T;
        let any = |state: T| tasks.contains(&state);
        let unfinished = |state: &T| matches!(state, T::Queued | T::Waiting | T::Leased | T::Running | T::Captured);
        let bad = tasks.iter().any(|s| matches!(s, T::Failed | T::Rejected | T::Skipped | T::Cancelled));
        if tasks.iter().any(unfinished) {
            return RunState::Running;
        }
        match (any(T::NeedsAttention), any(T::Candidate), any(T::Landed), bad) {
            _ if cancelled && any(T::Cancelled) => RunState::Cancelled,
            (true, ..) => RunState::NeedsAttention,
            (_, true, _, false) => RunState::Done,
            (_, true, _, true) => RunState::Partial,
            (_, false, true, true) => RunState::Partial,
            (_, false, false, true) => RunState::Failed,
            (_, false, _, false) => RunState::Landed,
        }
    }
}

/// The exit code of a run that is over: the first that applies, in the order of the contract.
pub fn run_exit_code(reasons: &[ReasonKind]) -> u8 {
    const ORDER: [u8; 8] = [130, 1, 7, 5, 4, 6, 8, 9];
    let codes: Vec<u8> = reasons.iter().filter_map(|kind| kind.exit_code()).collect();
    ORDER.into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [TaskEvent; 18] = [
        TaskEvent::Lease,
        TaskEvent::Release,
        TaskEvent::Start,
        TaskEvent::TryAgain,
        TaskEvent::Fail,
        TaskEvent::Ask,
        TaskEvent::Answer,
        TaskEvent::Capture,
        TaskEvent::NothingChanged,
        TaskEvent::Enqueue,
        TaskEvent::Land,
        TaskEvent::Reject,
        TaskEvent::Hold,
        TaskEvent::Skip,
        TaskEvent::Cancel,
        TaskEvent::Resolve,
        TaskEvent::Retry,
        TaskEvent::Merge,
    ];

    #[test]
    fn terminal_states_absorb_everything_but_a_persons_merge_or_retry_of_what_did_not_end_well() {
        for state in TaskState::ALL.into_iter().filter(|s| s.is_terminal()) {
            for event in EVENTS {
                let did_not_land = matches!(state, TaskState::Rejected | TaskState::NeedsAttention);
                let well = matches!(state, TaskState::Landed | TaskState::NoChange);
                let expected = did_not_land && event == TaskEvent::Merge || !well && event == TaskEvent::Retry;
                assert_eq!(state.next(event).is_ok(), expected, "{state:?} + {event:?}");
            }
        }
    }

    #[test]
    fn every_open_state_can_be_cancelled() {
        for state in TaskState::ALL.into_iter().filter(|s| !s.is_terminal()) {
            assert_eq!(state.next(TaskEvent::Cancel), Ok(TaskState::Cancelled));
        }
    }

    #[test]
    fn what_a_run_amounts_to() {
        use TaskState as T;
        let check = |tasks: &[T], expected| assert_eq!(RunState::derive(tasks, false), expected, "{tasks:?}");
        check(&[T::Landed, T::NoChange], RunState::Landed);
        check(&[T::NoChange], RunState::Landed);
        check(&[T::Landed, T::Rejected], RunState::Partial);
        check(&[T::Candidate, T::NoChange], RunState::Done);
        check(&[T::Failed, T::Skipped], RunState::Failed);
        check(&[T::Landed, T::Running], RunState::Running);
        check(&[T::Candidate, T::Failed], RunState::Partial);
        assert_eq!(RunState::derive(&[T::Landed, T::Cancelled], true), RunState::Cancelled);
    }

    #[test]
    fn the_first_exit_code_that_applies_wins() {
        use ReasonKind as R;
        assert_eq!(run_exit_code(&[]), 0);
        assert_eq!(run_exit_code(&[R::Conflict, R::Gate]), 7);
        assert_eq!(run_exit_code(&[R::Conflict, R::Skipped, R::Policy]), 5);
        assert_eq!(run_exit_code(&[R::Gate, R::Timeout]), 1);
        assert_eq!(run_exit_code(&[R::Failed, R::Cancelled]), 130);
    }

    proptest! {
        #[test]
        fn no_sequence_of_events_starts_a_task_more_than_it_tries_again_plus_one(
            events in proptest::collection::vec(0usize..EVENTS.len(), 0..60)
        ) {
            let (mut state, mut starts, mut tries) = (TaskState::Queued, 0, 0);
            for event in events.into_iter().map(|n| EVENTS[n]) {
                if let Ok(after) = state.next(event) {
                    prop_assert!(!state.is_terminal() || matches!(event, TaskEvent::Merge | TaskEvent::Retry));
                    starts += u32::from(event == TaskEvent::Start);
                    let again = [TaskEvent::TryAgain, TaskEvent::Retry, TaskEvent::Release, TaskEvent::Resolve];
                    let again = again.contains(&event);
                    tries += u32::from(again && state != TaskState::Leased);
                    state = after;
                }
            }
            prop_assert!(starts <= tries + 1, "{} starts after {} retries", starts, tries);
        }
    }
}
