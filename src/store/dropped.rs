//! What was taken out of a queue by a person: that it went, that it is back as it was, that it went again, each with the operation
//! that says so in one transaction.
//!
//! Whether it may come back is decided by who asks, on what is on record within the same transaction.

use rusqlite::Transaction;
use serde_json::json;

use super::journal::{EntryDraft, Phase, append};
use super::operations::{insert_operation, make_again, take_back};
use super::queue::{insert, read, write};
use super::runs::{edit_run, move_through, read_run, read_task};
use super::{Store, StoreError};
use crate::model::operation::{DroppedEntry, DroppedNow, PutBack, UndoData};
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{QueueEntry, Reason, RunId, TaskEvent, TaskId};
use crate::sys::clock;

impl Store {
    /// Takes those of these out of their queue that are still in it, and records that; `None` where none is. A task for which
    /// somebody waits is rejected by them.
    pub fn drop_from_queue(
        &self,
        entries: &[QueueEntry],
        reason: &Reason,
        is_attended: impl Fn(&QueueEntry) -> bool,
    ) -> Result<Option<i64>, StoreError> {
        self.write(|transaction| {
            let mut dropped = Vec::new();
            for QueueEntry { run, task, number, .. } in entries {
                let Some(entry) = read(transaction, run, task)?.filter(|entry| entry.number == *number) else {
                    continue;
                };
                take_out(transaction, &entry, reason, is_attended(&entry))?;
                dropped.push(DroppedEntry { number: *number, entry });
            }
            if dropped.is_empty() {
                return Ok(None);
            }
            let summary = summary(&dropped);
            let undo = UndoData::Dropped { entries: dropped, reason: reason.clone() };
            insert_operation(transaction, "drop", clock::now(), &summary, undo).map(Some)
        })
    }

    /// Puts dropped entries back as they were, and marks their operation as taken back, unless something is told to be in the way:
    /// then that is the answer, and nothing has changed. Runs that are over begin again.
    pub fn put_back_in_queue(
        &self,
        op: i64,
        entries: &[DroppedEntry],
        hinders: impl Fn(&DroppedEntry, Option<&DroppedNow>) -> Option<String>,
    ) -> Result<Result<(), String>, StoreError> {
        self.write(|transaction| {
            if let Some(why) = first_hindrance(transaction, entries, hinders)? {
                return Ok(Err(why));
            }
            for one in entries {
                put_in(transaction, one)?;
            }
            take_back(transaction, op, None, PutBack::default())?;
            Ok(Ok(()))
        })
    }

    /// Takes entries out of their queue again, and marks their operation as in effect, unless something is in the way.
    pub fn drop_again(
        &self,
        op: i64,
        (entries, reason): (&[DroppedEntry], &Reason),
        is_attended: impl Fn(&QueueEntry) -> bool,
        hinders: impl Fn(&DroppedEntry, Option<&DroppedNow>) -> Option<String>,
    ) -> Result<Result<(), String>, StoreError> {
        self.write(|transaction| {
            if let Some(why) = first_hindrance(transaction, entries, hinders)? {
                return Ok(Err(why));
            }
            let mut dropped = Vec::new();
            for DroppedEntry { entry: QueueEntry { run, task, .. }, .. } in entries {
                let Some(entry) = read(transaction, run, task)? else { continue };
                take_out(transaction, &entry, reason, is_attended(&entry))?;
                dropped.push(DroppedEntry { number: entry.number, entry });
            }
            make_again(transaction, op, |record| {
                record.undo = UndoData::Dropped { entries: dropped, reason: reason.clone() };
            })?;
            Ok(Ok(()))
        })
    }

    /// Rejects a task whose entry is still refused for this reason, with what may be told of it; `None` where it is not any more.
    pub fn reject_refused(
        &self,
        (run, task): (&RunId, &TaskId),
        refused: &Reason,
        told: Reason,
    ) -> Result<Option<TaskRecord>, StoreError> {
        self.write(|transaction| {
            let entry = read(transaction, run, task)?;
            if entry.and_then(|entry| entry.refused).as_ref() != Some(refused) {
                return Ok(None);
            }
            reject(transaction, (run, task), told).map(Some)
        })
    }
}

fn summary(dropped: &[DroppedEntry]) -> String {
    let one = |dropped: &DroppedEntry| format!("{} from the queue of {}", dropped.entry.name(), dropped.entry.target);
    format!("dropped {}", dropped.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Where somebody waits for it, it is only marked: they reject it. Where nobody does, its task is rejected at once; one that came to
/// another end meanwhile stays as it is.
fn take_out(
    transaction: &Transaction<'_>,
    entry: &QueueEntry,
    reason: &Reason,
    attended: bool,
) -> Result<(), StoreError> {
    let QueueEntry { run, task, .. } = entry;
    write(transaction, &QueueEntry { refused: Some(reason.clone()), ..entry.clone() })?;
    let draft = EntryDraft::new("queue.dropped", json!({"reason": reason})).of_task(run, task);
    append(transaction, &draft, Phase::Note, None)?;
    if !attended && read_task(transaction, run, task)?.state.next(TaskEvent::Reject).is_ok() {
        reject(transaction, (run, task), reason.clone())?;
    }
    Ok(())
}

fn reject(
    transaction: &Transaction<'_>,
    (run, task): (&RunId, &TaskId),
    reason: Reason,
) -> Result<TaskRecord, StoreError> {
    let events = [(TaskEvent::Reject, json!({"reason": reason}))];
    move_through(transaction, (run, task), &events, |task| task.reason = Some(reason))
}

fn put_in(transaction: &Transaction<'_>, DroppedEntry { number, entry }: &DroppedEntry) -> Result<(), StoreError> {
    let QueueEntry { run, task, .. } = entry;
    match read(transaction, run, task)? {
        // Who waits for it has not heard yet that it went.
        Some(now) => {
            let (refused, judged_since) = (entry.refused.clone(), None);
            write(transaction, &QueueEntry { refused, judged_since, ..now })?;
        }
        None => {
            let wanted = |task: &mut TaskRecord| (task.accepted, task.reason, task.stop) = (true, None, None);
            move_through(transaction, (run, task), &[(TaskEvent::Merge, json!({}))], wanted)?;
            insert(transaction, &QueueEntry { judged_since: None, ..entry.clone() }, Some(*number))?;
            if read_run(transaction, run)?.is_some_and(|run| run.state.is_terminal()) {
                edit_run(transaction, run, "run.merge", json!({"tasks": [task]}), RunRecord::begin_again)?;
            }
        }
    }
    let data = json!({"target": entry.target, "number": number, "commit": entry.commit});
    append(transaction, &EntryDraft::new("queue.restored", data).of_task(run, task), Phase::Note, None)?;
    Ok(())
}

fn first_hindrance(
    transaction: &Transaction<'_>,
    entries: &[DroppedEntry],
    hinders: impl Fn(&DroppedEntry, Option<&DroppedNow>) -> Option<String>,
) -> Result<Option<String>, StoreError> {
    for one in entries {
        let known = look(transaction, &one.entry)?;
        if let Some(why) = hinders(one, known.as_ref()) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn look(transaction: &Transaction<'_>, entry: &QueueEntry) -> Result<Option<DroppedNow>, StoreError> {
    let Some(run) = read_run(transaction, &entry.run)? else { return Ok(None) };
    let task = match read_task(transaction, &entry.run, &entry.task) {
        Ok(task) => task,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let queued = read(transaction, &entry.run, &entry.task)?;
    Ok(Some(DroppedNow { run, task, queued }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BaseReport, CommitId, ReasonKind, RunState, TaskState};
    use crate::store::fixture;

    fn waiting() -> (Store, QueueEntry, Reason) {
        let store = Store::in_memory().expect("a store");
        let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
        let (run, task) = fixture::run(&base, "running", "t", "candidate");
        store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
        let entry = store.enter_queue(&fixture::entry(&run, &task)).expect("entered");
        let first = |entry: &mut QueueEntry| (entry.priority, entry.held) = (7, Some("wait".into()));
        let entry = store.edit_queue(&[entry], "queue.bumped", &json!({}), first).expect("done").remove(0);
        (store, entry, Reason::new(ReasonKind::Cancelled, "dropped"))
    }

    fn dropped(store: &Store, op: i64) -> Vec<DroppedEntry> {
        match store.operation(op).expect("read").undo {
            UndoData::Dropped { entries, .. } => entries,
            other => panic!("another operation: {other:?}"),
        }
    }

    #[test]
    fn what_nobody_waits_for_goes_and_comes_back_as_it_was_with_a_run_that_is_over() {
        let (store, entry, reason) = waiting();
        let (run, task) = (&entry.run, &entry.task);
        let drop = || store.drop_from_queue(std::slice::from_ref(&entry), &reason, |_| false);
        store.cut_after(0);
        drop().expect_err("cut");
        assert_eq!(
            (store.queued(run, task).expect("read"), store.operations().expect("read").len()),
            (Some(entry.clone()), 0)
        );
        store.cut_after(99);
        let op = drop().expect("dropped").expect("an operation");
        assert_eq!(drop().expect("looked"), None, "it is in no queue");
        assert_eq!(store.task(run, task).expect("read").state, TaskState::Rejected);
        store.set_run_state(run, RunState::Failed).expect("over");
        let entries = dropped(&store, op);
        let refused = store.put_back_in_queue(op, &entries, |_, _| Some("no".into())).expect("looked");
        assert_eq!((refused, store.queued(run, task).expect("read")), (Err("no".to_owned()), None));
        store.put_back_in_queue(op, &entries, |_, _| None).expect("done").expect("back");
        assert_eq!(store.queued(run, task).expect("read"), Some(entry.clone()));
        assert_eq!(store.task(run, task).expect("read").reason, None);
        assert_eq!(store.run(run).expect("read").state, RunState::Queued);
        store.drop_again(op, (&entries, &reason), |_| false, |_, _| None).expect("done").expect("gone");
        assert_eq!((store.queued(run, task).expect("read"), dropped(&store, op)), (None, entries));
    }

    #[test]
    fn an_owner_rejects_what_is_refused_at_that_moment_and_nothing_that_came_back() {
        let (store, entry, reason) = waiting();
        let drop = || store.drop_from_queue(std::slice::from_ref(&entry), &reason, |_| true).expect("dropped");
        let op = drop().expect("an operation");
        store.put_back_in_queue(op, &dropped(&store, op), |_, _| None).expect("done").expect("back");
        let reject = || store.reject_refused((&entry.run, &entry.task), &reason, reason.clone()).expect("looked");
        assert_eq!(reject(), None);
        assert_eq!(store.queued(&entry.run, &entry.task).expect("read"), Some(entry.clone()));
        drop();
        assert_eq!(reject().map(|task| task.state), Some(TaskState::Rejected));
        assert_eq!(store.queued(&entry.run, &entry.task).expect("read"), None);
    }
}
