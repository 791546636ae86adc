//! What makes a configuration unusable, with its place and its remedy; and how texts from outside are shown.
//!
//! Promises: a message is one line that a terminal acts on nowhere, whatever the file holds. Decides no exit code.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest text from outside that a message repeats.
const SHOWN_MAX: usize = 80;

/// Why there are no settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is not TOML.
    #[error("{place}: this is not TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A value has the wrong type, or cannot be read.
    #[error("{0}")]
    Value(Box<BadValue>),
    /// The text after `--set` assigns nothing.
    #[error("`--set {text}` assigns nothing")]
    Assignment {
        /// The text.
        text: String,
    },
}

/// A value that cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: `{key}` must be {expected}: {reason}")]
pub struct BadValue {
    /// Where.
    pub place: Place,
    /// The key, or the section.
    pub key: String,
    /// What it must be.
    pub expected: String,
    /// What was found instead.
    pub reason: String,
    /// How it could read there.
    pub example: String,
}

impl From<BadValue> for ConfigError {
    fn from(bad: BadValue) -> Self {
        ConfigError::Value(Box::new(bad))
    }
}

impl ConfigError {
    /// The remedy, for a line of its own.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } => "correct the file; strings stand in quotes: stale = \"warn\"".to_owned(),
            Self::Value(bad) => format!("for example: {}", bad.example),
            Self::Assignment { .. } => "write --set SECTION.KEY=VALUE".to_owned(),
        })
    }
}

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A file, with line and column from 1 where they are known.
    File {
        /// The file.
        path: PathBuf,
        /// Line and column.
        at: Option<(usize, usize)>,
    },
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Set,
}

impl Place {
    /// The place of these bytes of a file's text.
    pub(super) fn in_file(path: &Path, text: &str, span: Option<Range<usize>>) -> Place {
        Place::File { path: path.to_owned(), at: span.map(|span| line_and_column(text, span.start)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, at } => {
                f.write_str(&escaped(&path.display().to_string()))?;
                at.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
            }
            Self::Environment(name) => write!(f, "environment {}", shown(name)),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// Line and column of a byte, counted from 1, the column in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let is_first_of_character = |byte: &&u8| **byte & 0xC0 != 0x80;
    (line, 1 + before[line_start..].iter().filter(is_first_of_character).count())
}

/// Text from outside in one line, short and without anything that a terminal would act on.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
        None => escaped(text),
    }
}

/// The same without a limit.
pub(super) fn escaped(text: &str) -> String {
    let stands_for_itself = |c: char| matches!(c, '"' | '\'' | '\\');
    let one = |c: char| if stands_for_itself(c) { c.to_string() } else { c.escape_debug().to_string() };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        assert_eq!(line_and_column("", 0), (1, 1));
        assert_eq!(line_and_column("ab\ncd", 4), (2, 2));
        assert_eq!(line_and_column("é = 1", "é = ".len()), (1, 5));
        assert_eq!(line_and_column("a\n", 99), (2, 1), "an offset beyond the end is the end");
    }

    #[test]
    fn texts_from_outside_cannot_steer_a_terminal_or_flood_it() {
        assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown("C:\\\"x\""), "C:\\\"x\"");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN_MAX + 1);
    }
}
