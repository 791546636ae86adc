//! The journal: what was meant, what was done, in order. `intent` comes before an effect, `done` after it, so that
//! whoever finds an intent without done knows where to look.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{Store, StoreError};
use crate::model::{ProcId, RunId, TaskId, Timestamp};
use crate::sys::clock;

/// Which part of an action an entry speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is about to happen.
    Intent,
    /// It happened.
    Done,
    /// It did not happen.
    Failed,
    /// Something was noted; no effect outside the store.
    Note,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Note => "note",
        }
    }

    fn from_word(word: &str) -> Phase {
        match word {
            "intent" => Self::Intent,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Note,
        }
    }
}

/// One line of the journal.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Entry {
    /// Its number.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The run it belongs to.
    pub run: Option<String>,
    /// The task it belongs to.
    pub task: Option<String>,
    /// What it is about: `task.start`, `workspace.create`, `land`, …
    pub kind: String,
    /// Which part.
    pub phase: Phase,
    /// The number of the intent that this entry closes.
    pub closes: Option<i64>,
    /// Details.
    pub data: Value,
}

/// A line about to be written.
#[derive(Clone, Debug)]
pub struct EntryDraft<'a> {
    /// The run.
    pub run: Option<&'a RunId>,
    /// The task.
    pub task: Option<&'a TaskId>,
    /// What it is about.
    pub kind: &'a str,
    /// Details.
    pub data: Value,
}

/// An open intent; it is closed by [`Store::done`] or [`Store::failed`].
#[derive(Debug, Clone)]
#[must_use = "an intent is closed with done or failed"]
pub struct Intent {
    seq: i64,
    run: Option<String>,
    task: Option<String>,
    kind: String,
}

impl Intent {
    /// The intent of a line that another transaction wrote with its own change.
    pub(super) fn opened(seq: i64, draft: &EntryDraft<'_>) -> Intent {
        Intent {
            seq,
            run: draft.run.map(ToString::to_string),
            task: draft.task.map(ToString::to_string),
            kind: draft.kind.to_owned(),
        }
    }
}

impl Entry {
    /// The process that opened it, where its line says.
    pub fn owner(&self) -> Option<ProcId> {
        serde_json::from_value(self.data["owner"].clone()).ok()
    }

    /// The intent that this line opened, for whoever closes it in the place of a process that died.
    pub fn intent(&self) -> Intent {
        let Entry { seq, run, task, kind, .. } = self.clone();
        Intent { seq, run, task, kind }
    }
}

impl<'a> EntryDraft<'a> {
    /// A line about the repository as a whole.
    pub fn new(kind: &'a str, data: Value) -> Self {
        EntryDraft { run: None, task: None, kind, data }
    }

    /// The same line about a run.
    pub fn of_run(mut self, run: &'a RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// The same line about a task.
    pub fn of_task(mut self, run: &'a RunId, task: &'a TaskId) -> Self {
        (self.run, self.task) = (Some(run), Some(task));
        self
    }
}

pub(super) fn append(
    transaction: &Transaction<'_>,
    draft: &EntryDraft<'_>,
    phase: Phase,
    intent: Option<i64>,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO journal (at, run, task, kind, phase, intent, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (run, task) = (draft.run.map(RunId::as_str), draft.task.map(TaskId::as_str));
    let row = params![clock::now().0, run, task, draft.kind, phase.word(), intent, draft.data.to_string()];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(transaction.last_insert_rowid())
}

/// Writes the line that closes an intent.
pub(super) fn append_closing(
    transaction: &Transaction<'_>,
    intent: &Intent,
    phase: Phase,
    data: &Value,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO journal (at, run, task, kind, phase, intent, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Intent { seq, run, task, kind } = intent;
    let row = params![clock::now().0, run, task, kind, phase.word(), seq, data.to_string()];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

impl Store {
    /// Writes one line that stands for itself.
    pub fn note(&self, draft: &EntryDraft<'_>) -> Result<i64, StoreError> {
        self.write(|transaction| append(transaction, draft, Phase::Note, None))
    }

    /// Writes down what is about to happen, before it does.
    pub fn intend(&self, draft: &EntryDraft<'_>) -> Result<Intent, StoreError> {
        let seq = self.write(|transaction| append(transaction, draft, Phase::Intent, None))?;
        Ok(Intent::opened(seq, draft))
    }

    /// Closes an intent: it happened.
    pub fn done(&self, intent: Intent, data: Value) -> Result<(), StoreError> {
        self.close(intent, Phase::Done, data)
    }

    /// Closes an intent: it did not happen, and nothing of it is left.
    pub fn failed(&self, intent: Intent, data: Value) -> Result<(), StoreError> {
        self.close(intent, Phase::Failed, data)
    }

    fn close(&self, intent: Intent, phase: Phase, data: Value) -> Result<(), StoreError> {
        self.write(|transaction| append_closing(transaction, &intent, phase, &data))
    }

    /// Lines after `seq`, of one run or of all, oldest first.
    pub fn entries_after(&self, seq: i64, run: Option<&RunId>) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT seq, at, run, task, kind, phase, intent, data FROM journal
                   WHERE seq > ?1 AND (?2 IS NULL OR run = ?2) ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![seq, run.map(RunId::as_str)], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The number and the moment of the newest line.
    pub fn newest_entry(&self) -> Result<Option<(i64, Timestamp)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT seq, at FROM journal ORDER BY seq DESC LIMIT 1")?;
        Ok(statement.query_row([], |row| Ok((row.get(0)?, Timestamp(row.get(1)?)))).optional()?)
    }

    /// How many lines there are about a run.
    pub fn count_entries(&self, run: &RunId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM journal WHERE run = ?1";
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Intents that nothing closed, oldest first: where a process died.
    pub fn open_intents(&self) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT seq, at, run, task, kind, phase, intent, data FROM journal AS opened
                   WHERE phase = 'intent' AND NOT EXISTS (SELECT 1 FROM journal WHERE intent = opened.seq) ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let data: String = row.get(7)?;
    Ok(Entry {
        seq: row.get(0)?,
        at: Timestamp(row.get(1)?),
        run: row.get(2)?,
        task: row.get(3)?,
        kind: row.get(4)?,
        phase: Phase::from_word(&row.get::<_, String>(5)?),
        closes: row.get(6)?,
        data: serde_json::from_str(&data).unwrap_or(Value::String(data)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_intent_is_open_until_it_is_closed() {
        let store = Store::in_memory().expect("a store");
        let first = store.intend(&EntryDraft::new("a", json!({"x": 1}))).expect("written");
        let second = store.intend(&EntryDraft::new("b", json!({}))).expect("written");
        store.done(first, json!({})).expect("closed");
        let open: Vec<String> = store.open_intents().expect("read").into_iter().map(|e| e.kind).collect();
        assert_eq!(open, ["b"]);
        store.failed(second, json!({})).expect("closed");
        assert_eq!(store.open_intents().expect("read"), []);
        assert_eq!(store.entries_after(2, None).expect("read").len(), 2);
    }

    #[test]
    fn nothing_is_written_after_the_cut() {
        let store = Store::in_memory().expect("a store");
        store.cut_after(1);
        store.note(&EntryDraft::new("kept", json!({}))).expect("the first one passes");
        assert!(matches!(store.note(&EntryDraft::new("lost", json!({}))), Err(StoreError::Cut)));
        assert_eq!(store.entries_after(0, None).expect("read").len(), 1);
    }
}
