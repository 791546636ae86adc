//! Recording that a workspace was brought up to its base: operation, base and journal in one transaction, so that no crash
//! leaves a branch that moved and cannot be taken back. Repeating it changes nothing.

use rusqlite::Transaction;
use serde_json::json;

use super::journal::{Intent, Phase, append_closing};
use super::operations::{insert_operation, last_of};
use super::workspaces::set_base;
use super::{Store, StoreError};
use crate::model::Timestamp;
use crate::model::operation::{UndoData, UpdateRecord};

impl Store {
    /// Records an update and closes its intent, if it is whole. One that moved no branch only puts the base on record.
    pub fn record_update(
        &self,
        update: &UpdateRecord,
        at: Timestamp,
        summary: &str,
        intent: Option<&Intent>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            if update.before != update.after && !is_recorded(transaction, update)? {
                let undo = UndoData::Update(Box::new(update.clone()));
                insert_operation(transaction, "update", at, summary, undo)?;
            }
            set_base(transaction, &update.workspace, update.base_after.clone())?;
            if let Some(intent) = intent {
                append_closing(transaction, intent, Phase::Done, &json!({"after": update.after}))?;
            }
            Ok(())
        })
    }
}

/// True when the last update of all is this one: it was recorded before its files were whole.
fn is_recorded(transaction: &Transaction<'_>, update: &UpdateRecord) -> Result<bool, StoreError> {
    let last = last_of(transaction, "update")?;
    Ok(last.is_some_and(|last| !last.undone && matches!(last.undo, UndoData::Update(known) if *known == *update)))
}
