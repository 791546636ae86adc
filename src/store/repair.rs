//! Mending a damaged store: the file is set aside, never deleted, and every record that can still be read is carried over
//! into a new one.
//!
//! Refs and worktrees are not in the store, so that nothing of the user's depends on what is lost here. A file of a newer
//! version, or of another owner, is left alone.

use std::path::{Path, PathBuf};

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::{Store, StoreError};
use crate::sys::{clock, fs};

/// The tables, each with its columns in order. A child table comes after the one it refers to.
const TABLES: [(&str, &str); 9] = [
    ("run", "id, state, record"),
    ("task", "run, id, ordinal, state, record"),
    ("supervision", "run, epoch"),
    ("workspace", "name, state, record"),
    ("operation", "op, kind, undone, record"),
    ("gate_result", "tree, gate, record"),
    ("queue", "number, target, run, task, record"),
    ("queue_pause", "target, record"),
    ("journal", "seq, at, run, task, kind, phase, intent, data"),
];

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Where the damaged file is.
    pub set_aside: PathBuf,
    /// How many records were carried over.
    pub carried: usize,
}

impl Store {
    /// Mends the store in this directory; `None` when it is whole, or not there.
    pub fn repair(state_dir: &Path) -> Result<Option<Repaired>, StoreError> {
        match Store::open_existing(state_dir) {
            Ok(None) => return Ok(None),
            Ok(Some(store)) => match store.check() {
                Ok(findings) if findings.is_empty() => return Ok(None),
                Ok(_) => {}
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            },
            Err(error) if error.is_corrupt() => {}
            Err(error) => return Err(error),
        }
        let set_aside = set_aside(state_dir)?;
        let store = Store::open(state_dir)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // What cannot even be opened has nothing to give.
        let carried = match Connection::open_with_flags(&set_aside, flags) {
            Ok(damaged) => carry_over(&damaged, &store)?,
            Err(_) => 0,
        };
        Ok(Some(Repaired { set_aside, carried }))
    }
}

fn set_aside(state_dir: &Path) -> Result<PathBuf, StoreError> {
    let place = state_dir.join(format!("state.db.damaged-{}", clock::now().0));
    for suffix in ["-wal", "-shm", ""] {
        let from = state_dir.join(format!("state.db{suffix}"));
        if fs::exists(&from)? {
            fs::move_path(&from, &PathBuf::from(format!("{}{suffix}", place.display())))?;
        }
    }
    Ok(place)
}

fn carry_over(damaged: &Connection, store: &Store) -> Result<usize, StoreError> {
    store.connection.pragma_update(None, "foreign_keys", "OFF")?;
    let mut carried = 0;
    for (table, columns) in TABLES {
        let marks = columns.split(", ").map(|_| "?").collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})");
        // From both ends, for a damaged page stops each walk.
        for order in ["ASC", "DESC"] {
            let rows = readable(damaged, &format!("SELECT {columns} FROM {table} ORDER BY rowid {order}"));
            carried += store.write(|transaction| {
                let mut statement = transaction.prepare(&insert)?;
                let mut inserted = 0;
                for row in &rows {
                    // A row that the new table refuses is part of the damage.
                    inserted += statement.execute(params_from_iter(row)).unwrap_or(0);
                }
                Ok(inserted)
            })?;
        }
    }
    store.connection.execute("DELETE FROM task WHERE run NOT IN (SELECT id FROM run)", [])?;
    store.connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(carried)
}

/// The rows that can be read before the first error, those whose record is no record left out.
fn readable(damaged: &Connection, query: &str) -> Vec<Vec<Cell>> {
    let Ok(mut statement) = damaged.prepare(query) else { return Vec::new() };
    let (width, record) = (statement.column_count(), statement.column_index("record").ok());
    let cells = move |row: &Row<'_>| (0..width).map(|n| row.get(n)).collect::<rusqlite::Result<Vec<Cell>>>();
    let Ok(rows) = statement.query_map([], cells) else { return Vec::new() };
    let whole = |row: &Vec<Cell>| match record.and_then(|n| row.get(n)) {
        Some(Cell::Text(text)) => serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object()),
        Some(_) => false,
        None => true,
    };
    rows.map_while(Result::ok).filter(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EntryDraft;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_can_be_read_is_carried_over_and_the_damaged_file_is_kept() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let store = Store::open(dir.path()).expect("a store");
        for n in 0..2000 {
            store.note(&EntryDraft::new("line", serde_json::json!({"n": n}))).expect("written");
        }
        store.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("checkpoint");
        drop(store);
        let path = dir.path().join("state.db");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
        let middle = std::fs::metadata(&path).expect("there").len() / 2 / 4096 * 4096;
        file.write_all_at(&[0xff; 8192], middle).expect("damaged");
        let damaged = std::fs::read(&path).expect("read");
        let repaired = Store::repair(dir.path()).expect("mended").expect("it was damaged");
        assert_eq!(std::fs::read(&repaired.set_aside).expect("kept").len(), damaged.len());
        let store = Store::open(dir.path()).expect("it opens");
        assert_eq!(store.check().expect("checked"), Vec::<String>::new());
        let entries = store.entries_after(0, None).expect("read");
        assert!(entries.len() > 1000 && entries.len() == repaired.carried, "{} of 2000", entries.len());
        assert_eq!(
            (entries[0].data["n"].as_i64(), entries.last().expect("last").data["n"].as_i64()),
            (Some(0), Some(1999))
        );
        assert_eq!(Store::repair(dir.path()).expect("looked"), None, "a whole one is left alone");
    }

    #[test]
    fn a_file_that_is_no_store_is_set_aside_and_a_newer_one_left_alone() {
        let dir = tempfile::tempdir().expect("a temp dir");
        std::fs::write(dir.path().join("state.db"), vec![b'x'; 9000]).expect("written");
        let repaired = Store::repair(dir.path()).expect("mended").expect("it was damaged");
        assert_eq!((std::fs::read(&repaired.set_aside).expect("kept").len(), repaired.carried), (9000, 0));
        let store = Store::open(dir.path()).expect("it opens");
        store.connection.pragma_update(None, "user_version", 99).expect("pragma");
        drop(store);
        assert!(matches!(Store::repair(dir.path()), Err(StoreError::Newer { .. })));
    }
}
