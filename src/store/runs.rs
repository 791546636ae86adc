//! Runs, tasks and gate results. A task changes only here, inside the transaction that reads it.
//! Reads give whole records; a write is one transaction with its journal entry.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::journal::{Entry, EntryDraft, Phase, append};
use super::{Store, StoreError, queue};
use crate::model::record::{GateRecord, RunRecord, TaskRecord};
use crate::model::{CommitId, ProcId, RunId, RunState, TaskEvent, TaskId, TaskState};
use crate::sys::proc;

pub(super) fn parse<T: DeserializeOwned>(kind: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Record { kind, source })
}

pub(super) fn render<T: Serialize>(kind: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Record { kind, source })
}

/// The line that says that a run was recorded, and by which process.
const CREATED: &str = "run.created";

impl Store {
    /// Records a new run with all its tasks; refused when the name is taken.
    pub fn create_run(&self, run: &RunRecord, tasks: &[TaskRecord]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO run (id, state, record) VALUES (?1, ?2, ?3)";
            if transaction.execute(sql, params![run.id.as_str(), run.state.word(), render("run", run)?])? == 0 {
                return Err(StoreError::Exists { kind: "run", id: run.id.to_string() });
            }
            for task in tasks {
                let sql = "INSERT INTO task (run, id, ordinal, state, record) VALUES (?1, ?2, ?3, ?4, ?5)";
                let record = render("task", task)?;
                let row = params![run.id.as_str(), task.id.as_str(), task.ordinal, task.state.word(), record];
                transaction.execute(sql, row)?;
            }
            let data = json!({"tasks": tasks.len(), "base": run.base, "into": run.into, "confine": run.confine,
                "owner": proc::own()});
            append(transaction, &EntryDraft::new(CREATED, data).of_run(&run.id), Phase::Note, None)?;
            Ok(())
        })
    }

    /// One run.
    pub fn run(&self, id: &RunId) -> Result<RunRecord, StoreError> {
        let text: Option<String> = self
            .connection
            .prepare_cached("SELECT record FROM run WHERE id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        parse("run", &text.ok_or_else(|| StoreError::NotFound { kind: "run", id: id.to_string() })?)
    }

    /// The process that recorded a run, which starts its supervisor; `None` for one that an older treehand recorded.
    pub fn creator(&self, run: &RunId) -> Result<Option<ProcId>, StoreError> {
        let entries = self.entries_after(0, Some(run))?;
        Ok(entries.iter().find(|entry| entry.kind == CREATED).and_then(Entry::owner))
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT record FROM run ORDER BY id")?;
        let texts: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        texts.iter().map(|text| parse("run", text)).collect()
    }

    /// Every run that is not over, oldest first.
    pub fn runs_under_way(&self) -> Result<Vec<RunRecord>, StoreError> {
        let open = [RunState::Queued, RunState::Running, RunState::Landing].map(RunState::word);
        let sql = "SELECT record FROM run WHERE state IN (?1, ?2, ?3) ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let texts: Vec<String> = statement.query_map(open, |row| row.get(0))?.collect::<Result<_, _>>()?;
        texts.iter().map(|text| parse("run", text)).collect()
    }

    /// The tasks of a run in the order of its file.
    pub fn tasks(&self, run: &RunId) -> Result<Vec<TaskRecord>, StoreError> {
        read_tasks(&self.connection, run)
    }

    /// One task.
    pub fn task(&self, run: &RunId, id: &TaskId) -> Result<TaskRecord, StoreError> {
        read_task(&self.connection, run, id)
    }

    /// Changes a run; `kind` names the change in the journal.
    pub fn update_run(
        &self,
        id: &RunId,
        kind: &str,
        data: Value,
        change: impl FnOnce(&mut RunRecord),
    ) -> Result<RunRecord, StoreError> {
        self.write(|transaction| edit_run(transaction, id, kind, data, change))
    }

    /// Moves a task by an event; the state machine decides whether it may, inside the transaction.
    pub fn move_task(
        &self,
        run: &RunId,
        task: &TaskId,
        event: TaskEvent,
        data: Value,
        change: impl FnOnce(&mut TaskRecord),
    ) -> Result<TaskRecord, StoreError> {
        self.move_task_through(run, task, &[(event, data)], change)
    }

    /// Moves a task by several events at once: no crash can leave it between them.
    pub fn move_task_through(
        &self,
        run: &RunId,
        task: &TaskId,
        events: &[(TaskEvent, Value)],
        change: impl FnOnce(&mut TaskRecord),
    ) -> Result<TaskRecord, StoreError> {
        self.write(|transaction| move_through(transaction, (run, task), events, change))
    }

    /// Changes what is known of a task without moving it.
    pub fn edit_task(
        &self,
        run: &RunId,
        task: &TaskId,
        kind: &str,
        data: Value,
        change: impl FnOnce(&mut TaskRecord),
    ) -> Result<TaskRecord, StoreError> {
        self.write(|transaction| {
            edit(transaction, run, task, |record| {
                let state = record.state;
                change(record);
                record.state = state;
                Ok((kind.to_owned(), data))
            })
        })
    }

    /// Sets a run's state, and its end when the state is terminal.
    pub fn set_run_state(&self, id: &RunId, state: RunState) -> Result<RunRecord, StoreError> {
        let at = crate::sys::clock::now();
        self.update_run(id, "run.state", json!({"state": state}), |run| {
            run.state = state;
            if state.is_terminal() {
                run.ended_at = Some(at);
            }
        })
    }

    /// The result of a gate on a tree, when it ran before. Only passes are kept: a failure may have been the machine's.
    pub fn gate_result(&self, tree: &CommitId, gate: &str) -> Result<Option<GateRecord>, StoreError> {
        let sql = "SELECT record FROM gate_result WHERE tree = ?1 AND gate = ?2";
        let text: Option<String> =
            self.connection.prepare_cached(sql)?.query_row([tree.as_str(), gate], |row| row.get(0)).optional()?;
        text.map(|text| parse("gate", &text)).transpose()
    }

    /// Keeps the pass of a gate on a tree.
    pub fn keep_gate_result(&self, gate: &str, record: &GateRecord) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO gate_result (tree, gate, record) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![record.tree.as_str(), gate, render("gate", record)?])?;
            Ok(())
        })
    }
}

pub(super) fn read_tasks(connection: &Connection, run: &RunId) -> Result<Vec<TaskRecord>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM task WHERE run = ?1 ORDER BY ordinal")?;
    let texts: Vec<String> = statement.query_map([run.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    texts.iter().map(|text| parse("task", text)).collect()
}

pub(super) fn move_through(
    transaction: &Transaction<'_>,
    (run, task): (&RunId, &TaskId),
    events: &[(TaskEvent, Value)],
    change: impl FnOnce(&mut TaskRecord),
) -> Result<TaskRecord, StoreError> {
    let mut record = read_task(transaction, run, task)?;
    let before = record.state;
    change(&mut record);
    record.state = before;
    for (event, data) in events {
        record.state = record.state.next(*event)?;
        let kind = format!("task.{}", event_word(*event)?);
        let data = json!({"state": record.state, "detail": data});
        append(transaction, &EntryDraft::new(&kind, data).of_task(run, task), Phase::Note, None)?;
    }
    write_task(transaction, run, &record)?;
    Ok(record)
}

pub(super) fn read_run(connection: &Connection, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
    let sql = "SELECT record FROM run WHERE id = ?1";
    let text: Option<String> = connection.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| parse("run", &text)).transpose()
}

pub(super) fn edit_run(
    transaction: &Transaction<'_>,
    id: &RunId,
    kind: &str,
    data: Value,
    change: impl FnOnce(&mut RunRecord),
) -> Result<RunRecord, StoreError> {
    let missing = || StoreError::NotFound { kind: "run", id: id.to_string() };
    let mut run = read_run(transaction, id)?.ok_or_else(missing)?;
    change(&mut run);
    let sql = "UPDATE run SET state = ?2, record = ?3 WHERE id = ?1";
    transaction.execute(sql, params![id.as_str(), run.state.word(), render("run", &run)?])?;
    append(transaction, &EntryDraft::new(kind, data).of_run(id), Phase::Note, None)?;
    Ok(run)
}

fn event_word(event: TaskEvent) -> Result<String, StoreError> {
    let value = serde_json::to_value(event).map_err(|source| StoreError::Record { kind: "event", source })?;
    Ok(value.as_str().unwrap_or("event").to_owned())
}

pub(super) fn read_task(connection: &Connection, run: &RunId, id: &TaskId) -> Result<TaskRecord, StoreError> {
    let sql = "SELECT record FROM task WHERE run = ?1 AND id = ?2";
    let row: Option<String> =
        connection.prepare_cached(sql)?.query_row([run.as_str(), id.as_str()], |row| row.get(0)).optional()?;
    parse("task", &row.ok_or_else(|| StoreError::NotFound { kind: "task", id: format!("{run}/{id}") })?)
}

fn write_task(transaction: &Transaction<'_>, run: &RunId, record: &TaskRecord) -> Result<(), StoreError> {
    let sql = "UPDATE task SET state = ?3, record = ?4 WHERE run = ?1 AND id = ?2";
    let row = params![run.as_str(), record.id.as_str(), record.state.word(), render("task", record)?];
    transaction.prepare_cached(sql)?.execute(row)?;
    // Back in the queue of the run, it has no result to land either.
    if record.state.is_terminal() || record.state == TaskState::Queued {
        queue::leave(transaction, run, &record.id)?;
    }
    Ok(())
}

pub(super) fn edit(
    transaction: &Transaction<'_>,
    run: &RunId,
    task: &TaskId,
    change: impl FnOnce(&mut TaskRecord) -> Result<(String, Value), StoreError>,
) -> Result<TaskRecord, StoreError> {
    let mut record = read_task(transaction, run, task)?;
    let (kind, data) = change(&mut record)?;
    write_task(transaction, run, &record)?;
    append(transaction, &EntryDraft::new(&kind, data).of_task(run, task), Phase::Note, None)?;
    Ok(record)
}
