//! Operations: what can be taken back, newest first.
//! Kept until the retention ends; what an operation needs to be undone is in its record.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::journal::{EntryDraft, Phase, append};
use super::runs::{parse, render};
use super::workspaces::set_base;
use super::{Store, StoreError};
use crate::model::Timestamp;
use crate::model::record::{OperationRecord, RemovedItem, UndoData};

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
    let data = json!({"op": op, "kind": kind, "summary": summary});
    let seq = append(transaction, &EntryDraft::new("operation", data), Phase::Done, None)?;
    let (kind, summary) = (kind.into(), summary.into());
    let record = OperationRecord { op, kind, at, summary, undone: false, seq, undone_seq: None, undo };
    let text = render("operation", &record)?;
    transaction.execute("UPDATE operation SET record = ?2 WHERE op = ?1", params![op, text])?;
    Ok(op)
}

fn read(connection: &Connection, op: i64) -> Result<OperationRecord, StoreError> {
    let sql = "SELECT record FROM operation WHERE op = ?1";
    let text: Option<String> = connection.prepare_cached(sql)?.query_row([op], |row| row.get(0)).optional()?;
    parse("operation", &text.ok_or_else(|| StoreError::NotFound { kind: "operation", id: op.to_string() })?)
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

    /// Adds what one more step of a removal took to its operation.
    pub fn grow_removal(&self, op: i64, more: &[RemovedItem], summary: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            edit(transaction, op, |record| {
                if let UndoData::Removal { items } = &mut record.undo {
                    items.extend_from_slice(more);
                }
                record.summary = summary.to_owned();
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

    /// Marks an operation as taken back; with an update, the workspace has its former base on record again.
    pub fn mark_undone(&self, op: i64) -> Result<(), StoreError> {
        self.write(|transaction| {
            let seq = append(transaction, &EntryDraft::new("undo", json!({"op": op})), Phase::Done, None)?;
            edit(transaction, op, |record| (record.undone, record.undone_seq) = (true, Some(seq)))?;
            if let UndoData::Update(update) = read(transaction, op)?.undo {
                set_base(transaction, &update.workspace, update.base_before)?;
            }
            Ok(())
        })
    }

    /// Marks an operation as done again; with an update, the workspace has its later base on record again.
    pub fn mark_redone(&self, op: i64) -> Result<(), StoreError> {
        self.write(|transaction| {
            edit(transaction, op, |record| (record.undone, record.undone_seq) = (false, None))?;
            if let UndoData::Update(update) = read(transaction, op)?.undo {
                set_base(transaction, &update.workspace, update.base_after)?;
            }
            append(transaction, &EntryDraft::new("redo", json!({"op": op})), Phase::Done, None)?;
            Ok(())
        })
    }

    /// Makes what a later operation did the doing of an earlier one that was taken back: a removal made again.
    pub fn adopt_operation(&self, op: i64, later: i64) -> Result<(), StoreError> {
        self.write(|transaction| {
            let undo = read(transaction, later)?.undo;
            edit(transaction, op, |record| {
                (record.undone, record.undone_seq, record.undo) = (false, None, undo);
            })?;
            transaction.execute("DELETE FROM operation WHERE op = ?1", [later])?;
            append(transaction, &EntryDraft::new("redo", json!({"op": op, "as": later})), Phase::Done, None)?;
            Ok(())
        })
    }

    /// Changes what is known of every operation, in one transaction.
    pub fn edit_operations(&self, kind: &str, change: impl Fn(&mut OperationRecord)) -> Result<(), StoreError> {
        let all = self.operations()?;
        self.write(|transaction| {
            for operation in &all {
                edit(transaction, operation.op, &change)?;
            }
            append(transaction, &EntryDraft::new(kind, json!({"operations": all.len()})), Phase::Note, None)?;
            Ok(())
        })
    }
}
