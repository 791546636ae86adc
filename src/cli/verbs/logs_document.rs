//! Logs as one JSON document, written out while they are read: a log of any size takes a buffer and no more.
//!
//! The fields are in the order of their names, as in every other document. What cannot be read is left out and warned of.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::model::{RunId, TaskId};

/// How much of a log is in memory at once.
const PIECE: usize = 64 * 1024;

/// The answer of `logs --json`.
#[derive(Serialize)]
pub struct Document<'a> {
    /// The logs, in the order of attempts.
    pub logs: Vec<Log>,
    /// The run.
    pub run: &'a RunId,
    /// The form of this document.
    pub schema: &'static str,
}

/// One log with what it is of.
#[derive(Serialize)]
pub struct Log {
    /// The attempt.
    pub attempt: u32,
    /// Why the setup step failed.
    pub error: Option<String>,
    /// Where the log is.
    pub path: String,
    /// The setup step's command.
    pub setup: Option<String>,
    /// The task.
    pub task: TaskId,
    /// What is in it.
    pub text: Text,
}

/// The content of a file, read when it is written out, with a sign in the place of each thing that is no text.
pub struct Text {
    path: PathBuf,
    failed: RefCell<Option<std::io::Error>>,
}

impl Text {
    /// The content of this file.
    pub fn of(path: &Path) -> Text {
        Text { path: path.to_owned(), failed: RefCell::new(None) }
    }

    /// Why it was not read to its end; nothing for a file that is not there.
    pub fn failure(&self) -> Option<String> {
        self.failed.borrow().as_ref().map(|error| format!("cannot read {}: {error}", self.path.display()))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match File::open(&self.path) {
            Ok(file) => {
                let (end, written) = write_text(file, f);
                *self.failed.borrow_mut() = end.err();
                written
            }
            Err(error) => {
                *self.failed.borrow_mut() = Some(error).filter(|error| error.kind() != ErrorKind::NotFound);
                Ok(())
            }
        }
    }
}

/// Writes what can be read; how the reading ended, and how the writing did.
fn write_text(mut from: impl Read, to: &mut impl Write) -> (std::io::Result<()>, fmt::Result) {
    let (mut buffer, mut filled) = (vec![0u8; PIECE], 0);
    loop {
        let read = match from.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other,
        };
        filled += read.as_ref().copied().unwrap_or(0);
        let is_end = !matches!(read, Ok(1..));
        let whole = if is_end { filled } else { filled - unfinished(&buffer[..filled]) };
        let written = buffer[..whole].utf8_chunks().try_for_each(|chunk| {
            to.write_str(chunk.valid())?;
            if chunk.invalid().is_empty() { Ok(()) } else { to.write_char(char::REPLACEMENT_CHARACTER) }
        });
        if is_end || written.is_err() {
            return (read.map(|_| ()), written);
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// How many bytes at the end begin a character whose rest is not here yet.
fn unfinished(bytes: &[u8]) -> usize {
    let begins = |back: &usize| bytes.len().checked_sub(*back).is_some_and(|at| bytes[at] & 0xc0 != 0x80);
    let Some(back) = (1..=3).find(begins) else { return 0 };
    let cut = std::str::from_utf8(&bytes[bytes.len() - back..]);
    if cut.is_err_and(|error| error.error_len().is_none()) { back } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use proptest::prelude::*;

    /// A reader that gives as many bytes at once as it is told, over and over.
    struct InPieces<'a>(&'a [u8], usize);

    impl Read for InPieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    fn text_of(bytes: &[u8], piece: usize) -> String {
        let mut text = String::new();
        let (end, written) = write_text(InPieces(bytes, piece), &mut text);
        end.expect("read");
        written.expect("written");
        text
    }

    proptest! {
        #[test]
        fn in_pieces_it_is_the_text_that_it_is_as_a_whole(
            parts in proptest::collection::vec(prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                any::<char>().prop_map(|c| c.to_string().into_bytes()),
                any::<char>().prop_map(|c| { let mut cut = c.to_string().into_bytes(); cut.pop(); cut }),
            ], 0..60),
            piece in 1..9usize,
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(text_of(&bytes, piece), String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn the_document_is_the_same_as_one_made_in_memory() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        // A character lies across the end of the first piece.
        let bytes = [&vec![b'x'; PIECE - 1][..], "ü\"\\\n\u{1b}[m\u{7f}".as_bytes(), b"\xff\xf0\x9f"].concat();
        std::fs::write(&path, &bytes).expect("written");
        let (run, task) = (RunId::new(Timestamp(0), 1), TaskId::parse("t").expect("an id"));
        let log = |path: &Path| Log {
            attempt: 1,
            error: None,
            path: path.display().to_string(),
            setup: Some("make".into()),
            task: task.clone(),
            text: Text::of(path),
        };
        let gone = dir.path().join("gone");
        let logs = vec![log(&path), log(&gone), log(dir.path())];
        let document = Document { logs, run: &run, schema: "treehand/logs/v1" };
        let told = serde_json::to_string(&document).expect("written");
        let failures: Vec<bool> = document.logs.iter().map(|log| log.text.failure().is_some()).collect();
        assert_eq!(failures, [false, false, true], "a directory is no log");
        let in_memory = |path: &Path| {
            serde_json::json!({"task": task, "attempt": 1, "setup": "make", "error": null, "path": path,
                "text": String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default())})
        };
        let logs = [in_memory(&path), in_memory(&gone), in_memory(dir.path())];
        let expected =
            crate::cli::output::with_schema("treehand/logs/v1", serde_json::json!({"run": run, "logs": logs}));
        assert_eq!(told, expected.to_string());
    }
}
