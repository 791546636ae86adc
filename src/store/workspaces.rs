//! Workspaces that people asked for. A name is claimed by inserting it: of two claimers one is refused.
//! Whether the directory is there is asked of the file system, never of this table.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::journal::{EntryDraft, Intent, Phase, append};
use super::runs::{parse, render};
use super::{Store, StoreError};
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, WorkspaceName};

fn read(connection: &Connection, name: &WorkspaceName) -> Result<Option<WorkspaceRecord>, StoreError> {
    let sql = "SELECT record FROM workspace WHERE name = ?1";
    let text: Option<String> =
        connection.prepare_cached(sql)?.query_row([name.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| parse("workspace", &text)).transpose()
}

fn put(transaction: &Transaction<'_>, kind: &str, record: &WorkspaceRecord) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO workspace (name, state, record) VALUES (?1, ?2, ?3)";
    transaction.execute(sql, params![record.name.as_str(), "known", render("workspace", record)?])?;
    let data = json!({"name": record.name, "state": record.state, "base": record.base.commit});
    append(transaction, &EntryDraft::new(kind, data), Phase::Note, None)?;
    Ok(())
}

/// Puts another base on record; a workspace that is gone needs none.
pub(super) fn set_base(
    transaction: &Transaction<'_>,
    name: &WorkspaceName,
    base: BaseReport,
) -> Result<(), StoreError> {
    match read(transaction, name)? {
        Some(record) => put(transaction, "workspace.base", &WorkspaceRecord { base, ..record }),
        None => Ok(()),
    }
}

impl Store {
    /// Claims the name and records the workspace; refused when the name is taken. The intent is closed by the caller.
    pub fn claim_workspace(&self, record: &WorkspaceRecord) -> Result<Intent, StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO workspace (name, state, record) VALUES (?1, ?2, ?3)";
            let row = params![record.name.as_str(), "claimed", render("workspace", record)?];
            if transaction.execute(sql, row)? == 0 {
                return Err(StoreError::Exists { kind: "workspace", id: record.name.to_string() });
            }
            let data =
                json!({"name": record.name, "path": record.path, "branch": record.branch, "lease": record.lease});
            let draft = EntryDraft::new("workspace.create", data);
            let seq = append(transaction, &draft, Phase::Intent, None)?;
            Ok(Intent::opened(seq, &draft))
        })
    }

    /// Replaces what is known of a workspace.
    pub fn put_workspace(&self, kind: &str, record: &WorkspaceRecord) -> Result<(), StoreError> {
        self.write(|transaction| put(transaction, kind, record))
    }

    /// Forgets a workspace that is gone.
    pub fn forget_workspace(&self, name: &WorkspaceName, why: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM workspace WHERE name = ?1", [name.as_str()])?;
            let data = json!({"name": name, "why": why});
            append(transaction, &EntryDraft::new("workspace.gone", data), Phase::Note, None)?;
            Ok(())
        })
    }

    /// One workspace.
    pub fn workspace(&self, name: &WorkspaceName) -> Result<Option<WorkspaceRecord>, StoreError> {
        read(&self.connection, name)
    }

    /// Every workspace, by name.
    pub fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT record FROM workspace ORDER BY name")?;
        let texts: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        texts.iter().map(|text| parse("workspace", text)).collect()
    }
}
