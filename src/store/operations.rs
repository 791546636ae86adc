//! Operations: what can be taken back, newest first.
//! Kept until the retention ends; what an operation needs to be undone is in its record.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::{Value, json};

use super::journal::{EntryDraft, Intent, Phase, append, append_closing};
use super::runs::{parse, render};
use super::workspaces::set_base;
use super::{Store, StoreError};
use crate::model::operation::{OperationRecord, PutBack, RemovedItem, TakenBack, UndoData};
use crate::model::{RunId, TaskState, Timestamp};
use crate::sys::clock;

/// Writes an operation and its line in the journal; the answer is its number.
pub(super) fn insert_operation(
    transaction: &Transaction<'_>,
    kind: &str,
    at: Timestamp,
    summary: &str,
    undo: UndoData,
) -> Result<i64, StoreError> {
    transaction.execute("INSERT INTO operation (kind, undone, record) VALUES (?1, 0, '')", [kind])?;
    let op = transaction.last_insert_rowid();
    let (kind, summary) = (kind.to_owned(), summary.to_owned());
    let (stamp, saved, reverts, taken_back) = (None, Vec::new(), None, None);
    let record = OperationRecord { op, kind, at, summary, undone: false, undo, stamp, saved, reverts, taken_back };
    let text = render("operation", &record)?;
    transaction.execute("UPDATE operation SET record = ?2 WHERE op = ?1", params![op, text])?;
    let data = json!({"op": op, "kind": record.kind, "summary": record.summary});
    let draft = EntryDraft::new("operation", data);
    let draft = match &record.undo {
        // Who follows the run misses no line of it.
        UndoData::Landing { run: Some(run), task: Some(task), .. } => draft.of_task(run, task),
        _ => draft,
    };
    append(transaction, &draft, Phase::Done, None)?;
    Ok(op)
}

fn read(connection: &Connection, op: i64) -> Result<OperationRecord, StoreError> {
    find(connection, op)?.ok_or_else(|| StoreError::NotFound { kind: "operation", id: op.to_string() })
}

/// One operation, if it is still on record.
pub(super) fn find(connection: &Connection, op: i64) -> Result<Option<OperationRecord>, StoreError> {
    let sql = "SELECT record FROM operation WHERE op = ?1";
    let text: Option<String> = connection.prepare_cached(sql)?.query_row([op], |row| row.get(0)).optional()?;
    text.map(|text| parse("operation", &text)).transpose()
}

/// Writes that a commit took back an operation, which is one itself; the answer is its number.
pub(super) fn insert_revert(
    transaction: &Transaction<'_>,
    original: i64,
    at: Timestamp,
    summary: &str,
    undo: UndoData,
) -> Result<i64, StoreError> {
    let op = insert_operation(transaction, "revert", at, summary, undo)?;
    edit(transaction, op, |record| record.reverts = Some(original))?;
    take_back(transaction, original, Some(op), PutBack::default())?;
    Ok(op)
}

/// The newest operation of a kind.
pub(super) fn last_of(connection: &Connection, kind: &str) -> Result<Option<OperationRecord>, StoreError> {
    let sql = "SELECT record FROM operation WHERE kind = ?1 ORDER BY op DESC LIMIT 1";
    let text: Option<String> = connection.prepare_cached(sql)?.query_row([kind], |row| row.get(0)).optional()?;
    text.map(|text| parse("operation", &text)).transpose()
}

fn edit(transaction: &Transaction<'_>, op: i64, change: impl FnOnce(&mut OperationRecord)) -> Result<(), StoreError> {
    let mut record = read(transaction, op)?;
    change(&mut record);
    let sql = "UPDATE operation SET undone = ?2, record = ?3 WHERE op = ?1";
    transaction.execute(sql, params![op, record.undone, render("operation", &record)?])?;
    Ok(())
}

impl Store {
    /// Records an operation that has happened and gives its number.
    pub fn add_operation(&self, kind: &str, at: Timestamp, summary: &str, undo: UndoData) -> Result<i64, StoreError> {
        self.write(|transaction| insert_operation(transaction, kind, at, summary, undo))
    }

    /// Adds what one more step of a removal took to its operation, and all that was saved before it so far.
    pub fn grow_removal(
        &self,
        op: i64,
        more: &[RemovedItem],
        summary: &str,
        saved: Vec<String>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            edit(transaction, op, |record| {
                if let UndoData::Removal { items } = &mut record.undo {
                    items.extend_from_slice(more);
                }
                (record.summary, record.saved) = (summary.to_owned(), saved);
            })
        })
    }

    /// Every operation, newest first.
    pub fn operations(&self) -> Result<Vec<OperationRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT record FROM operation ORDER BY op DESC")?;
        let texts: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        texts.iter().map(|text| parse("operation", text)).collect()
    }

    /// One operation.
    pub fn operation(&self, op: i64) -> Result<OperationRecord, StoreError> {
        read(&self.connection, op)
    }

    /// The run that is about to take back an operation by a commit that waits to land.
    pub fn being_reverted(&self, op: i64) -> Result<Option<RunId>, StoreError> {
        let sql = "SELECT run, state FROM task WHERE json_extract(record, '$.reverts') = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([op], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
        for (run, _) in rows.iter().filter(|(_, state)| state == TaskState::Candidate.word()) {
            let Ok(id) = RunId::parse(run) else { continue };
            if !self.run(&id)?.state.is_terminal() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Records a removal that has happened, with the name of its trash and what was saved before it, and gives its number.
    pub fn add_removal(
        &self,
        kind: &str,
        at: Timestamp,
        summary: &str,
        items: &[RemovedItem],
        stamp: &str,
        saved: Vec<String>,
    ) -> Result<i64, StoreError> {
        self.write(|transaction| {
            let undo = UndoData::Removal { items: items.to_vec() };
            let op = insert_operation(transaction, kind, at, summary, undo)?;
            edit(transaction, op, |record| (record.stamp, record.saved) = (Some(stamp.to_owned()), saved))?;
            Ok(op)
        })
    }

    /// Marks an operation as taken back and closes the intent; with an update, the workspace has its former base on record
    /// again, and what the operation itself had reverted is in effect again.
    pub fn mark_undone(&self, op: i64, put_back: PutBack, intent: Option<&Intent>) -> Result<(), StoreError> {
        self.write(|transaction| {
            let record = take_back(transaction, op, None, put_back)?;
            if let UndoData::Update(update) = record.undo {
                set_base(transaction, &update.workspace, update.base_before)?;
            }
            if let Some(original) = record.reverts {
                edit(transaction, original, |record| (record.undone, record.taken_back) = (false, None))?;
            }
            close(transaction, intent, op)
        })
    }

    /// Changes what is known of every operation, in one transaction.
    /// A note of this kind in the journal says so.
    pub fn edit_operations(
        &self,
        kind: &str,
        note: Value,
        change: impl Fn(&mut OperationRecord),
    ) -> Result<(), StoreError> {
        let all = self.operations()?;
        self.write(|transaction| {
            for operation in &all {
                edit(transaction, operation.op, &change)?;
            }
            append(transaction, &EntryDraft::new(kind, note), Phase::Note, None)?;
            Ok(())
        })
    }

    /// Marks an operation as in effect again and closes the intent, with what it takes to undo it now and the name of its
    /// trash, where those are others.
    pub fn mark_redone(
        &self,
        op: i64,
        removal: Option<(Vec<RemovedItem>, String)>,
        intent: Option<&Intent>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let record = make_again(transaction, op, |record| {
                if let Some((items, stamp)) = removal {
                    let old = record.stamp.replace(stamp.clone()).unwrap_or_default();
                    record.saved.iter_mut().for_each(|name| *name = name.replace(&old, &stamp));
                    record.undo = UndoData::Removal { items };
                }
            })?;
            if let UndoData::Update(update) = record.undo {
                set_base(transaction, &update.workspace, update.base_after)?;
            }
            if let Some(original) = record.reverts {
                take_back(transaction, original, Some(op), PutBack::default())?;
            }
            close(transaction, intent, op)
        })
    }

    /// Records that an operation was taken back by a commit: that is an operation too, whose number is the answer.
    pub fn record_revert(
        &self,
        original: i64,
        undo: UndoData,
        summary: &str,
        intent: Option<&Intent>,
    ) -> Result<i64, StoreError> {
        self.write(|transaction| {
            let known = last_of(transaction, "revert")?
                .filter(|last| !last.undone && last.reverts == Some(original) && last.undo == undo);
            let op = match known {
                Some(known) => known.op,
                None => insert_revert(transaction, original, clock::now(), summary, undo)?,
            };
            close(transaction, intent, op)?;
            Ok(op)
        })
    }
}

/// Marks an operation as in effect again, otherwise perhaps than before; its record is the answer.
pub(super) fn make_again(
    transaction: &Transaction<'_>,
    op: i64,
    change: impl FnOnce(&mut OperationRecord),
) -> Result<OperationRecord, StoreError> {
    edit(transaction, op, |record| {
        (record.undone, record.taken_back) = (false, None);
        change(record);
    })?;
    append(transaction, &EntryDraft::new("redo", json!({"op": op})), Phase::Done, None)?;
    read(transaction, op)
}

/// Marks an operation as taken back; its record is the answer.
pub(super) fn take_back(
    transaction: &Transaction<'_>,
    op: i64,
    by: Option<i64>,
    put_back: PutBack,
) -> Result<OperationRecord, StoreError> {
    let order = append(transaction, &EntryDraft::new("undo", json!({"op": op, "by": by})), Phase::Done, None)?;
    let newest = transaction.query_row("SELECT max(op) FROM operation", [], |row| row.get(0))?;
    let how = TakenBack { order, newest, at: clock::now(), by, put_back };
    edit(transaction, op, |record| (record.undone, record.taken_back) = (true, Some(how)))?;
    read(transaction, op)
}

fn close(transaction: &Transaction<'_>, intent: Option<&Intent>, op: i64) -> Result<(), StoreError> {
    match intent {
        Some(intent) => append_closing(transaction, intent, Phase::Done, &json!({"op": op})),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BranchName, CommitId};

    fn landing(from: &str, to: &str) -> UndoData {
        let id = |digit: &str| CommitId::parse(&digit.repeat(40)).expect("an id");
        let into = BranchName::parse("main").expect("a name");
        UndoData::Landing { into, before: id(from), after: id(to), run: None, task: None }
    }

    #[test]
    fn an_operation_of_the_first_version_can_be_read() {
        let old = r#"{"op":1,"kind":"rm","at":"2027-01-01T00:00:00Z","summary":"s","undone":true,
            "undo":{"what":"removal","items":[]}}"#;
        let record: OperationRecord = serde_json::from_str(old).expect("read");
        assert_eq!((record.stamp, record.reverts, record.taken_back), (None, None, None));
    }

    #[test]
    fn what_reverts_an_operation_takes_it_back_in_the_same_transaction() {
        let store = Store::in_memory().expect("a store");
        let op = store.add_operation("land", Timestamp(1), "landed", landing("a", "b")).expect("stored");
        store.cut_after(0);
        store.record_revert(op, landing("c", "d"), "reverted", None).expect_err("cut");
        assert!(!store.operation(op).expect("read").undone);
        store.cut_after(9);
        let state = || store.operation(op).map(|record| (record.undone, record.taken_back.and_then(|how| how.by)));
        let revert = store.record_revert(op, landing("c", "d"), "reverted", None).expect("recorded");
        assert_eq!(store.record_revert(op, landing("c", "d"), "reverted", None).expect("once"), revert);
        assert_eq!(state().expect("read"), (true, Some(revert)));
        store.mark_undone(revert, PutBack::default(), None).expect("undone");
        assert_eq!(state().expect("read"), (false, None));
        store.mark_redone(revert, None, None).expect("redone");
        assert_eq!(state().expect("read"), (true, Some(revert)));
    }
}
