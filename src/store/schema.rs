//! Opening the store: file, version, pragmas, errors, and the fuse that tests crashes.
//! Makes the tables once, under a lock; changes nothing in a file that it does not understand.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::crash::Crash;
use super::supervision::Fence;
use crate::model::state::Illegal;
use crate::sys::fs;

/// The version of the schema that this program writes. A file with a higher one is refused.
pub const SCHEMA_VERSION: i64 = 3;

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What version 2 added: who supervised a run last, counted.
const SUPERVISION: &str = "CREATE TABLE supervision (run TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;";

/// What version 3 added: what waits to land, and branches on which nothing lands for now.
const QUEUE: &str = "
CREATE TABLE queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    run    TEXT NOT NULL,
    task   TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (run, task)
) STRICT;
CREATE INDEX queue_target ON queue (target, number);
CREATE TABLE queue_pause (target TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
";

const SCHEMA: &str = "
CREATE TABLE journal (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    run    TEXT,
    task   TEXT,
    kind   TEXT NOT NULL,
    phase  TEXT NOT NULL,
    intent INTEGER,
    data   TEXT NOT NULL
) STRICT;
CREATE INDEX journal_run ON journal (run, seq);
CREATE INDEX journal_intent ON journal (intent) WHERE intent IS NOT NULL;
CREATE TABLE run (id TEXT PRIMARY KEY, state TEXT NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE task (
    run     TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    id      TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    state   TEXT NOT NULL,
    record  TEXT NOT NULL,
    PRIMARY KEY (run, id)
) STRICT;
CREATE TABLE workspace (name TEXT PRIMARY KEY, state TEXT NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE operation (op INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, undone INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE gate_result (tree TEXT NOT NULL, gate TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (tree, gate)) STRICT;
";

/// What SQLite can open: its own 512, less what it appends for its journals.
const PATH_MAX: usize = 504;

/// The store of one repository.
pub struct Store {
    pub(super) connection: Connection,
    /// Writes that are still allowed; `None` means any number. Lets a test stop the world after the n-th.
    fuse: Cell<Option<u64>>,
    /// Writes are those of a supervisor, and good for as long as nobody took its run over.
    pub(super) fence: RefCell<Option<Fence>>,
    /// Where this process is to die, for crash tests of the real thing.
    pub(super) crash: Crash,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged.
    #[error("the store {} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A newer treehand wrote it.
    #[error("the store {} has version {found}; this treehand knows {SCHEMA_VERSION}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// It belongs to somebody else.
    #[error("the store {} belongs to user {owner}", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The owner's uid.
        owner: u32,
    },
    /// SQLite opens no file at such a path.
    #[error("the path of the repository is too long for the store: {} has {} bytes, and SQLite takes {PATH_MAX}", .0.display(), .0.as_os_str().len())]
    PathTooLong(PathBuf),
    /// Another process held it for too long.
    #[error("the store is busy: another treehand has been writing for {} s", BUSY_TIMEOUT.as_secs())]
    Busy,
    /// Anything else that SQLite says (a full disk among them).
    #[error("the store cannot be used")]
    Sqlite(#[source] rusqlite::Error),
    /// The directory could not be made.
    #[error(transparent)]
    Fs(#[from] fs::FsError),
    /// A record cannot be read.
    #[error("a record of kind {kind} in the store cannot be read")]
    Record {
        /// The table.
        kind: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// The state machine refuses.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// There is no such record.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// `run`, `task`, …
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// The record is there already.
    #[error("there is a {kind} `{id}` already")]
    Exists {
        /// `workspace`, …
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// Another supervisor has taken the run over: this one does nothing any more.
    #[error("run {run} has another supervisor since: this one was its {epoch}.")]
    Superseded {
        /// The run.
        run: String,
        /// The number of the one that wanted to write.
        epoch: u64,
    },
    /// The fuse of a crash test has burnt.
    #[error("cut by a crash test")]
    Cut,
}

impl StoreError {
    /// True when the file is damaged.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Sqlite(error) => is_corruption(error),
            _ => false,
        }
    }
}

impl StoreError {
    /// True when the disk would not take or give what was asked of it: full, failing, read-only.
    pub fn is_disk(&self) -> bool {
        let codes = [ErrorCode::DiskFull, ErrorCode::SystemIoFailure, ErrorCode::ReadOnly];
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code().is_some_and(|code| codes.contains(&code)))
    }
}

fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            _ => StoreError::Sqlite(error),
        }
    }
}

impl Store {
    /// The file of the store in this directory.
    pub fn file_in(dir: &Path) -> PathBuf {
        dir.join("state.db")
    }

    /// False where the path of the store would be longer than SQLite takes.
    pub fn fits(dir: &Path) -> bool {
        Store::file_in(dir).as_os_str().len() <= PATH_MAX
    }

    /// Opens the store in this state directory, making it when it is new.
    pub fn open(state_dir: &Path) -> Result<Store, StoreError> {
        let path = Store::file_in(state_dir);
        if !Store::fits(state_dir) {
            return Err(StoreError::PathTooLong(path));
        }
        fs::create_dir_all(state_dir)?;
        refuse_foreign(&path)?;
        // SQLite's own word for it is a number.
        fs::require_writable(state_dir)?;
        if fs::exists(&path)? {
            fs::require_writable(&path)?;
        }
        let deadline = Instant::now() + BUSY_TIMEOUT;
        let mut pause = Duration::from_millis(1);
        loop {
            match Store::open_once(&path) {
                // The switch to WAL, and the last to leave it, lock others out without letting them wait.
                Err(StoreError::Busy) if Instant::now() < deadline => std::thread::sleep(pause),
                other => return other,
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn open_once(path: &Path) -> Result<Store, StoreError> {
        let connection = Connection::open(path).map_err(|error| diagnose(path, error))?;
        Store::prepare(connection, path).map_err(|error| match error {
            StoreError::Sqlite(source) => diagnose(path, source),
            other => other,
        })
    }

    /// Opens the store; `None` when there is none yet.
    pub fn open_existing(state_dir: &Path) -> Result<Option<Store>, StoreError> {
        let path = Store::file_in(state_dir);
        if fs::exists(&path)? { Store::open(state_dir).map(Some) } else { Ok(None) }
    }

    /// A store in memory.
    pub fn in_memory() -> Result<Store, StoreError> {
        let connection = Connection::open_with_flags(":memory:", OpenFlags::default())?;
        Store::prepare(connection, Path::new(":memory:"))
    }

    /// Lets `writes` more transactions through and fails every later one, as if the process had died there.
    pub fn cut_after(&self, writes: u64) {
        self.fuse.set(Some(writes));
    }

    fn prepare(mut connection: Connection, path: &Path) -> Result<Store, StoreError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        let version = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        if version(&connection)? < SCHEMA_VERSION {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Asked again inside: of two processes that open a new store at once, one makes the tables.
            let found = version(&transaction)?;
            if found == 0 {
                transaction.execute_batch(SCHEMA)?;
            }
            if found < 2 {
                transaction.execute_batch(SUPERVISION)?;
            }
            if found < 3 {
                transaction.execute_batch(QUEUE)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            transaction.commit()?;
        }
        match version(&connection)? {
            found if found > SCHEMA_VERSION => Err(StoreError::Newer { path: path.to_owned(), found }),
            _ => Ok(Store { connection, fuse: Cell::new(None), fence: RefCell::new(None), crash: Crash::default() }),
        }
    }

    /// Runs SQLite's own check; the answer is its findings, empty when all is well.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check(20)")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let findings: Vec<String> = rows.collect::<Result<_, _>>()?;
        Ok(findings.into_iter().filter(|line| line != "ok").collect())
    }

    /// Runs `work` in one transaction that no other writer interleaves with.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.crash.wanted();
        match self.fuse.get() {
            Some(0) => return Err(StoreError::Cut),
            Some(left) => self.fuse.set(Some(left - 1)),
            None => {}
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        if let Some(fence) = &*self.fence.borrow() {
            fence.require(&transaction)?;
        }
        let value = work(&transaction)?;
        transaction.commit()?;
        self.crash.passed();
        Ok(value)
    }
}

fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(path) {
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
            Err(StoreError::NotOurs { path: path.to_owned(), owner: meta.uid() })
        }
        _ => Ok(()),
    }
}

fn diagnose(path: &Path, error: rusqlite::Error) -> StoreError {
    if is_corruption(&error) {
        return StoreError::Corrupt { path: path.to_owned(), detail: error.to_string() };
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let store = Store::open(dir.path()).expect("a new store");
        store.connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("pragma");
        drop(store);
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Newer { found, .. }) if found == SCHEMA_VERSION + 1));
    }

    #[test]
    fn a_store_of_the_first_version_is_brought_up() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let store = Store::open(dir.path()).expect("a new store");
        let old = "DROP TABLE supervision; DROP TABLE queue; DROP TABLE queue_pause; PRAGMA user_version = 1;";
        store.connection.execute_batch(old).expect("as it was");
        drop(store);
        let store = Store::open(dir.path()).expect("opened");
        for table in ["supervision", "queue", "queue_pause"] {
            let count = format!("SELECT count(*) FROM {table}");
            let rows: i64 = store.connection.query_row(&count, [], |row| row.get(0)).expect("the table is there");
            assert_eq!(rows, 0, "{table}");
        }
    }

    #[test]
    fn a_store_that_may_not_be_written_is_named_with_the_systems_word_and_can_be_looked_at() {
        let dir = tempfile::tempdir().expect("a temp dir");
        drop(Store::open(dir.path()).expect("a new store"));
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
        };
        mode(&Store::file_in(dir.path()), 0o444);
        mode(dir.path(), 0o555);
        let (opened, looked) = (Store::open(dir.path()), Store::look(dir.path()));
        mode(dir.path(), 0o755);
        assert_eq!(looked.expect("looked at").workspaces().expect("read"), []);
        // root may write everywhere.
        if !rustix::process::geteuid().is_root() {
            let refused = opened.err().map(|error| crate::model::cause::chain(&error)).unwrap_or_default();
            assert!(
                refused.contains("Permission denied") && refused.contains(&*dir.path().to_string_lossy()),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_corrupt_store_is_refused_with_its_name_and_left_alone() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("state.db");
        let garbage = vec![b'x'; 8192];
        std::fs::write(&path, &garbage).expect("write");
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Corrupt { .. })));
        assert_eq!(std::fs::read(&path).expect("read"), garbage);
    }

    #[test]
    fn eight_openers_at_once_make_one_store() {
        // More than once: that one of them was told "busy" without having waited was a matter of microseconds.
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("a temp dir");
            std::thread::scope(|scope| {
                let open = |_| scope.spawn(|| Store::open(dir.path()).map(|_| ()));
                let openers: Vec<_> = (0..8).map(open).collect();
                for opener in openers {
                    opener.join().expect("no panic").expect("opened");
                }
            });
        }
    }
}
