//! Ids of runs and tasks, and random tokens.
//! Whatever parses is safe as one part of a path and of a ref name.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::Timestamp;

/// Crockford's alphabet in lower case: no `i l o u`, so an id can be read out and typed.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 2025-01-01, so that ids stay short: 41 bits of milliseconds last until the year 2094.
const EPOCH_MILLIS: i64 = 1_735_689_600_000;
/// Longest task id; keeps paths and ref names well under every file system's 255 bytes.
const TASK_ID_MAX: usize = 64;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a run id.
    #[error("`{0}` is not a run id")]
    Run(String),
    /// Not a task id.
    #[error("`{id}` is not a task id: {why}")]
    Task {
        /// The text that was given.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The id of a run: ten digits, of a millisecond and nine random bits, sorted by creation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Makes an id from a moment and nine random bits.
    pub fn new(at: Timestamp, random: u16) -> Self {
        let millis = u64::try_from(at.0.saturating_sub(EPOCH_MILLIS)).unwrap_or(0);
        let bits = (millis << 9) | u64::from(random & 0x1ff);
        let digit = |place: u32| char::from(ALPHABET[usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0)]);
        RunId((0..10).rev().map(digit).collect())
    }

    /// Parses a full id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let well_formed = text.len() == 10 && text.bytes().all(|b| ALPHABET.contains(&b));
        if well_formed { Ok(RunId(text.to_owned())) } else { Err(IdError::Run(text.to_owned())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a task within its run, chosen by the user: part of branch names and paths.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

impl TaskId {
    /// Parses an id: 1 to 64 of `[A-Za-z0-9._-]`, starting with a letter, digit or `_`, no `..`, no `.lock` or `.` at the end.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match task_id_fault(text) {
            None => Ok(TaskId(text.to_owned())),
            Some(why) => Err(IdError::Task { id: text.escape_debug().to_string(), why }),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn task_id_fault(text: &str) -> Option<&'static str> {
    let Some(first) = text.bytes().next() else { return Some("it is empty") };
    if text.len() > TASK_ID_MAX {
        Some("longer than 64 characters")
    } else if !(first.is_ascii_alphanumeric() || first == b'_') {
        Some("it must start with a letter, a digit or `_`")
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        Some("only letters, digits, `.`, `_` and `-` are allowed")
    } else if text.contains("..") || text.ends_with('.') || text.to_ascii_lowercase().ends_with(".lock") {
        Some("git allows no `..`, no `.` at the end and no `.lock` at the end of a branch name")
    } else {
        None
    }
}

/// One task of one run, written `RUN/TASK`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TaskRef {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
}

/// 128 random bits in hexadecimal: names a lease, an attempt or a landing beyond doubt.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Token(String);

impl Token {
    /// Makes a token from random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Token(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Reads a token back; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(digits)).then(|| Token(text.to_owned()))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits: enough for a file name that nothing else has.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

macro_rules! text_id {
    ($kind:ident) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $kind {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
        impl From<$kind> for String {
            fn from(id: $kind) -> Self {
                id.0
            }
        }
    };
}
text_id!(RunId);
text_id!(TaskId);

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_read_back() {
        let early = RunId::new(Timestamp(EPOCH_MILLIS + 1_000), 0x7fff);
        let late = RunId::new(Timestamp(EPOCH_MILLIS + 2_000), 0);
        assert!(early < late, "{early} must sort before {late}");
        assert_eq!(RunId::parse(late.as_str()), Ok(late));
        for wrong in [Timestamp(0), Timestamp(i64::MIN), Timestamp(i64::MAX)] {
            let id = RunId::new(wrong, 0);
            assert_eq!(RunId::parse(id.as_str()), Ok(id), "a clock that is wrong gives a name all the same");
        }
        assert!(RunId::parse("../../etc/x").is_err());
    }

    #[test]
    fn task_ids_are_safe_in_paths_and_refs() {
        for good in ["a", "lexer", "A1_b-c.d", "_x", &"x".repeat(64)] {
            assert!(TaskId::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["-rf", ".hidden", "a/b", "..", "a..b", "a.lock", "a.", "a b", "a\nb", "é", "a\0", &long] {
            assert!(TaskId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
