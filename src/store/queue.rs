//! The queue table: what waits to land on each branch, and branches on which nothing lands for now.
//!
//! An entry leaves with the same write that brings its task to an end, so that none is ever left over. Decides nothing.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::{Value, json};

use super::journal::{EntryDraft, Phase, append};
use super::runs::{parse, render};
use super::{Store, StoreError};
use crate::model::{BranchName, QueueEntry, QueuePause, RunId, TaskId};

impl Store {
    /// Puts a result into the queue of its branch; one that is there already keeps its place, its priority and what a person
    /// said of it.
    pub fn enter_queue(&self, entry: &QueueEntry) -> Result<QueueEntry, StoreError> {
        self.write(|transaction| {
            let known = read(transaction, &entry.run, &entry.task)?;
            let same = known.as_ref().filter(|known| known.commit == entry.commit && known.target == entry.target);
            let mut entry = entry.clone();
            if let Some(known) = same {
                let QueueEntry { number, priority, submitted_at, held, .. } = known.clone();
                entry = QueueEntry { number, priority, submitted_at, held, ..entry };
                write(transaction, &entry)?;
            } else {
                leave(transaction, &entry.run, &entry.task)?;
                entry.number = insert(transaction, &entry, None)?;
            }
            let data = json!({"target": entry.target, "number": entry.number, "commit": entry.commit});
            let draft = EntryDraft::new("queue.entered", data).of_task(&entry.run, &entry.task);
            append(transaction, &draft, Phase::Note, None)?;
            Ok(entry)
        })
    }

    /// What waits to land on a branch, or on any, in the order of submission.
    pub fn queue(&self, target: Option<&BranchName>) -> Result<Vec<QueueEntry>, StoreError> {
        let sql = "SELECT number, record FROM queue WHERE ?1 IS NULL OR target = ?1 ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([target.map(BranchName::as_str)], numbered)?;
        rows.map(|row| entry(row?)).collect()
    }

    /// One entry; `None` when it is in no queue.
    pub fn queued(&self, run: &RunId, task: &TaskId) -> Result<Option<QueueEntry>, StoreError> {
        read(&self.connection, run, task)
    }

    /// Changes entries that are still there, each in the same way, in one step; `kind` names the change in the journal.
    pub fn edit_queue(
        &self,
        entries: &[QueueEntry],
        kind: &str,
        data: &Value,
        change: impl Fn(&mut QueueEntry),
    ) -> Result<Vec<QueueEntry>, StoreError> {
        self.write(|transaction| {
            let mut changed = Vec::new();
            for QueueEntry { number, run, task, .. } in entries {
                let Some(mut entry) = read(transaction, run, task)?.filter(|entry| entry.number == *number) else {
                    continue;
                };
                change(&mut entry);
                entry.number = *number;
                write(transaction, &entry)?;
                append(transaction, &EntryDraft::new(kind, data.clone()).of_task(run, task), Phase::Note, None)?;
                changed.push(entry);
            }
            Ok(changed)
        })
    }

    /// Branches on which nothing lands for now.
    pub fn queue_pauses(&self) -> Result<Vec<QueuePause>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT record FROM queue_pause ORDER BY target")?;
        let texts: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        texts.iter().map(|text| parse("queue pause", text)).collect()
    }

    /// Lets nothing land on a branch from now on.
    pub fn pause_queue(&self, pause: &QueuePause) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO queue_pause (target, record) VALUES (?1, ?2)";
            transaction.execute(sql, params![pause.target.as_str(), render("queue pause", pause)?])?;
            let data = json!({"target": pause.target, "reason": pause.reason});
            append(transaction, &EntryDraft::new("queue.paused", data), Phase::Note, None)?;
            Ok(())
        })
    }

    /// Lets things land on it again; false when it was not paused.
    pub fn resume_queue(&self, target: &BranchName) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let gone = transaction.execute("DELETE FROM queue_pause WHERE target = ?1", [target.as_str()])?;
            if gone > 0 {
                append(transaction, &EntryDraft::new("queue.resumed", json!({"target": target})), Phase::Note, None)?;
            }
            Ok(gone > 0)
        })
    }
}

/// Writes an entry that is in no queue, under this number or the next one; that is the answer.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    entry: &QueueEntry,
    number: Option<i64>,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO queue (number, target, run, task, record) VALUES (?1, ?2, ?3, ?4, ?5)";
    let text = render("queue entry", entry)?;
    let row = params![number, entry.target.as_str(), entry.run.as_str(), entry.task.as_str(), text];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(transaction.last_insert_rowid())
}

/// Takes a task out of whatever queue it is in.
pub(super) fn leave(transaction: &Transaction<'_>, run: &RunId, task: &TaskId) -> Result<(), StoreError> {
    let sql = "DELETE FROM queue WHERE run = ?1 AND task = ?2";
    transaction.prepare_cached(sql)?.execute(params![run.as_str(), task.as_str()])?;
    Ok(())
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn entry((number, text): (i64, String)) -> Result<QueueEntry, StoreError> {
    Ok(QueueEntry { number, ..parse("queue entry", &text)? })
}

pub(super) fn read(connection: &Connection, run: &RunId, task: &TaskId) -> Result<Option<QueueEntry>, StoreError> {
    let sql = "SELECT number, record FROM queue WHERE run = ?1 AND task = ?2";
    let row = connection.prepare_cached(sql)?.query_row(params![run.as_str(), task.as_str()], numbered).optional()?;
    row.map(entry).transpose()
}

pub(super) fn write(transaction: &Transaction<'_>, entry: &QueueEntry) -> Result<(), StoreError> {
    let sql = "UPDATE queue SET target = ?2, record = ?3 WHERE number = ?1";
    let row = params![entry.number, entry.target.as_str(), render("queue entry", entry)?];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BaseReport, CommitId, Reason, ReasonKind, TaskEvent, Timestamp};
    use crate::store::fixture;

    fn commit(digit: &str) -> CommitId {
        CommitId::parse(&digit.repeat(40)).expect("an id")
    }

    fn store_with(names: &[&str]) -> (Store, Vec<QueueEntry>) {
        let store = Store::in_memory().expect("a store");
        let rows: Vec<(&str, &str, &[&str])> = names.iter().map(|name| (*name, "candidate", &[][..])).collect();
        let (run, task) = fixture::run(&BaseReport::fixed("main", commit("a")), "running", "t", "candidate");
        store.create_run(&run, &fixture::tasks(&rows)).expect("stored");
        let entry = |name: &&str| QueueEntry {
            task: TaskId::parse(name).expect("an id"),
            commit: commit("b"),
            terms: "none".into(),
            ..fixture::entry(&run, &task)
        };
        let entries = names.iter().map(entry).collect();
        (store, entries)
    }

    #[test]
    fn an_entry_keeps_its_place_and_leaves_with_its_task() {
        let (store, entries) = store_with(&["a", "b"]);
        let [a, b] = entries.as_slice() else { panic!("two") };
        let a = store.enter_queue(a).expect("entered");
        store.enter_queue(b).expect("entered");
        store
            .edit_queue(std::slice::from_ref(&a), "queue.bumped", &json!({}), |entry| entry.priority = 7)
            .expect("done");
        let again = store.enter_queue(&QueueEntry { submitted_at: Timestamp(9), ..a.clone() }).expect("entered");
        assert_eq!((again.number, again.priority, again.submitted_at), (a.number, 7, Timestamp(1)));
        let other = BranchName::parse("other").expect("a name");
        assert_eq!(store.queue(Some(&other)).expect("read"), []);
        let names = || store.queue(Some(&a.target)).expect("read").iter().map(QueueEntry::name).collect::<Vec<_>>();
        assert_eq!(names(), [a.name(), b.name()]);
        store.move_task(&a.run, &a.task, TaskEvent::Reject, json!({}), |_| {}).expect("rejected");
        assert_eq!(names(), [b.name()]);
        let refuse = |entry: &mut QueueEntry| entry.refused = Some(Reason::new(ReasonKind::Gate, "no"));
        assert_eq!(store.edit_queue(&[a], "queue.refused", &json!({}), refuse).expect("looked"), []);
    }

    #[test]
    fn a_new_commit_is_another_entry_at_the_end() {
        let (store, entries) = store_with(&["a", "b"]);
        let [a, b] = entries.as_slice() else { panic!("two") };
        let (a, b) = (store.enter_queue(a).expect("entered"), store.enter_queue(b).expect("entered"));
        let newer = store.enter_queue(&QueueEntry { commit: commit("c"), ..a.clone() }).expect("entered");
        assert!(newer.number > b.number);
        assert_eq!(store.queued(&a.run, &a.task).expect("read"), Some(newer));
        assert_eq!(
            store.edit_queue(&[a], "queue.judged", &json!({}), |_| {}).expect("looked"),
            [],
            "it is not that one"
        );
    }

    #[test]
    fn a_branch_is_paused_until_it_is_resumed() {
        let (store, _) = store_with(&[]);
        let pause = |reason: &str| QueuePause {
            target: BranchName::parse("main").expect("a name"),
            reason: reason.into(),
            at: Timestamp(1),
        };
        store.pause_queue(&pause("red")).expect("paused");
        store.pause_queue(&pause("redder")).expect("paused");
        assert_eq!(store.queue_pauses().expect("read"), [pause("redder")]);
        assert!(store.resume_queue(&pause("").target).expect("resumed"));
        assert!(!store.resume_queue(&pause("").target).expect("looked"));
    }
}
