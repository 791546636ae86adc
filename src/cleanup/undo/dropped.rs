//! Decision file: whether a result that was dropped from a queue can come back into it, and go again.
//!
//! It comes back as the commit that it was, to the branch that it was to land on, or not at all: what landed, was done again or was
//! handed in again since is not touched.

use crate::model::operation::{DroppedEntry, DroppedNow};
use crate::model::{BranchName, CommitId, Reason};

/// What keeps an entry from coming back.
pub fn hinders_back(one: &DroppedEntry, reason: &Reason, known: Option<&DroppedNow>) -> Option<String> {
    let DroppedEntry { number, entry } = one;
    let name = entry.name();
    let Some(DroppedNow { run, task, queued }) = known else {
        return Some(format!("{name} is not on record any more"));
    };
    if task.landed.is_some() {
        return Some(format!("{name} has landed since"));
    }
    if task.commit.as_ref() != Some(&entry.commit) {
        return Some(format!("the result of {name} is another one by now"));
    }
    if run.into != entry.target {
        return Some(format!("{name} is to land on `{}` by now", run.into));
    }
    match queued {
        Some(now) if now.number == *number && now.refused.as_ref() == Some(reason) => None,
        Some(_) => Some(format!("{name} is in the queue again")),
        None if known.is_some_and(|known| known.is_rejected_by_hand(reason)) => None,
        None => Some(format!("{name} is {} by now", task.state.word())),
    }
}

/// What keeps an entry that came back from going again.
pub fn hinders_again(one: &DroppedEntry, known: Option<&DroppedNow>) -> Option<String> {
    let name = one.entry.name();
    let Some(DroppedNow { task, queued, .. }) = known else { return Some(format!("{name} is not on record any more")) };
    match queued {
        Some(now) if (&now.commit, &now.target) != (&one.entry.commit, &one.entry.target) => {
            Some(format!("another result of {name} is in the queue"))
        }
        Some(_) => None,
        None if task.landed.is_some() => Some(format!("{name} has landed since")),
        None => Some(format!("{name} is in no queue any more")),
    }
}

/// What is wrong with the branch of a result; it has to hold that.
pub fn hinders_branch(branch: &BranchName, tip: Option<&CommitId>, commit: &CommitId) -> Option<String> {
    match tip {
        Some(tip) if tip == commit => None,
        Some(_) => Some(format!("the branch `{branch}` has moved since its result was captured")),
        None => Some(format!("the branch `{branch}` is gone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::LandedRecord;
    use crate::model::{BaseReport, QueueEntry, ReasonKind, TaskState, Timestamp};
    use crate::store::fixture;

    fn id(digit: &str) -> CommitId {
        CommitId::parse(&digit.repeat(40)).expect("an id")
    }

    fn dropped() -> (DroppedEntry, Reason, DroppedNow) {
        let (run, mut task) = fixture::run(&BaseReport::fixed("main", id("a")), "failed", "t", "rejected");
        let reason = Reason::new(ReasonKind::Cancelled, "it was dropped from the queue");
        (task.commit, task.reason) = (Some(id("b")), Some(reason.clone()));
        let entry = fixture::entry(&run, &task);
        (DroppedEntry { number: 3, entry }, reason, DroppedNow { run, task, queued: None })
    }

    #[test]
    fn what_was_dropped_comes_back_only_as_it_was() {
        let (one, reason, known) = dropped();
        let check = |change: &dyn Fn(&mut DroppedNow), expected: &str| {
            let mut known = known.clone();
            change(&mut known);
            let why = hinders_back(&one, &reason, Some(&known)).unwrap_or_default();
            assert!(if expected.is_empty() { why.is_empty() } else { why.contains(expected) }, "{why}");
        };
        let queued = |number: i64, refused: Option<Reason>| Some(QueueEntry { number, refused, ..one.entry.clone() });
        check(&|_| {}, "");
        check(&|known| known.queued = queued(3, Some(reason.clone())), "");
        check(&|known| known.queued = queued(3, None), "in the queue again");
        check(&|known| known.queued = queued(4, Some(reason.clone())), "in the queue again");
        check(&|known| known.task.commit = Some(id("c")), "another one by now");
        check(&|known| known.task.state = TaskState::Queued, "queued by now");
        check(&|known| known.task.reason = Some(Reason::new(ReasonKind::Gate, "no")), "rejected by now");
        check(&|known| known.run.into = BranchName::parse("next").expect("a name"), "land on `next`");
        let (before, commit, at) = (None, id("d"), Timestamp(1));
        check(
            &|known| {
                known.task.landed = Some(LandedRecord { before: before.clone(), commit: commit.clone(), order: 1, at })
            },
            "has landed",
        );
        assert!(hinders_back(&one, &reason, None).is_some_and(|why| why.contains("not on record")));
    }

    #[test]
    fn what_came_back_goes_again_while_it_waits() {
        let (one, _, mut known) = dropped();
        assert!(hinders_again(&one, Some(&known)).is_some_and(|why| why.contains("in no queue")));
        known.queued = Some(one.entry.clone());
        assert_eq!(hinders_again(&one, Some(&known)), None);
        known.queued = Some(QueueEntry { commit: id("c"), ..one.entry.clone() });
        assert!(hinders_again(&one, Some(&known)).is_some_and(|why| why.contains("another result")));
    }
}
