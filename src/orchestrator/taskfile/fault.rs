//! Faults of a tasks file: collected by byte offset, handed out by line and column.
//!
//! Promises: at most [`FAULTS_MAX`] are kept, sorted by place; the places of all are found in one pass over the text.

use std::fmt;

/// Most faults that are listed; the rest is only counted.
pub const FAULTS_MAX: usize = 50;
/// Most characters of the user's text that a message repeats.
const SHOWN_MAX: usize = 60;

/// One thing that is wrong with a tasks file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; `None` when the fault is about the whole file.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// All that is wrong with a tasks file, one fault per line when printed; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TaskFileError {
    faults: Vec<Fault>,
    more: usize,
}

impl TaskFileError {
    /// The faults in the order of the file, at least one and at most [`FAULTS_MAX`].
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many faults there are beyond those listed.
    pub fn more(&self) -> usize {
        self.more
    }

    /// The remedies, each once.
    pub fn hints(&self) -> Vec<&str> {
        let mut hints = Vec::new();
        for hint in self.faults.iter().filter_map(|fault| fault.hint.as_deref()) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints
    }
}

impl fmt::Display for TaskFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

/// Collects faults while a text is read and checked.
pub(super) struct Faults<'t> {
    text: &'t str,
    found: Vec<Found>,
    more: usize,
}

struct Found {
    at: Option<usize>,
    message: String,
    hint: Option<String>,
}

impl<'t> Faults<'t> {
    /// No faults in `text` so far.
    pub fn new(text: &'t str) -> Self {
        Faults { text, found: Vec::new(), more: 0 }
    }

    /// Adds a fault at a byte offset, or about the whole file.
    pub fn push(&mut self, at: impl Into<Option<usize>>, message: impl Into<String>) {
        self.add(at.into(), message.into(), None);
    }

    /// Adds a fault with its remedy.
    pub fn push_hinted(&mut self, at: impl Into<Option<usize>>, message: impl Into<String>, hint: &str) {
        self.add(at.into(), message.into(), Some(hint.to_owned()));
    }

    /// True when further faults are only counted, so that their messages need no care.
    pub fn is_full(&self) -> bool {
        self.found.len() >= FAULTS_MAX
    }

    /// The line of a byte offset, from 1; 0 when [`Faults::is_full`], because nobody will read it.
    pub fn line_of(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        if self.is_full() { 0 } else { 1 + before.iter().filter(|b| **b == b'\n').count() }
    }

    /// The outcome: `spec` if it is there and nothing was found. Whoever gives none has pushed a fault.
    pub fn finish<T>(self, spec: Option<T>) -> Result<T, TaskFileError> {
        match spec {
            Some(spec) if self.found.is_empty() => Ok(spec),
            _ => Err(self.into_error()),
        }
    }

    fn add(&mut self, at: Option<usize>, message: String, hint: Option<String>) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.found.push(Found { at, message, hint });
        }
    }

    fn into_error(mut self) -> TaskFileError {
        self.found.sort_by_key(|found| found.at);
        let mut place = Place { text: self.text, at: 0, line: 1, column: 1 };
        let located = |found: Found| {
            let (line, column) = found.at.map(|at| place.advance(at)).unzip();
            Fault { line, column, message: found.message, hint: found.hint }
        };
        TaskFileError { faults: self.found.into_iter().map(located).collect(), more: self.more }
    }
}

/// A place in the text that only moves forward.
struct Place<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl Place<'_> {
    fn advance(&mut self, to: usize) -> (usize, usize) {
        let mut to = to.min(self.text.len());
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        let passed = self.text.get(self.at..to).unwrap_or_default();
        self.at = self.at.max(to);
        match passed.rfind('\n') {
            Some(end) => {
                self.line += passed.bytes().filter(|b| *b == b'\n').count();
                self.column = 1 + passed[end + 1..].chars().count();
            }
            None => self.column += passed.chars().count(),
        }
        (self.line, self.column)
    }
}

/// A text as messages show it: control characters escaped, cut when it is long.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters_from_one_in_the_order_of_the_file() {
        let mut faults = Faults::new("ab\nüß x\n");
        faults.push(8, "x");
        faults.push(None, "whole");
        faults.push_hinted(0, "start", "do so");
        faults.push(usize::MAX, "end");
        let error = faults.finish(Some(())).expect_err("faults were found");
        assert_eq!(error.to_string(), "whole\nline 1, column 1: start\nline 2, column 4: x\nline 3, column 1: end");
        assert_eq!(error.hints(), ["do so"]);
    }

    #[test]
    fn faults_beyond_the_limit_are_counted() {
        let mut faults = Faults::new("");
        (0..FAULTS_MAX + 7).for_each(|n| faults.push(0, format!("fault {n}")));
        let error = faults.finish(Some(())).expect_err("faults were found");
        assert_eq!((error.faults().len(), error.more()), (FAULTS_MAX, 7));
        assert!(error.to_string().ends_with("fault 49\nand 7 more"), "{error}");
    }

    #[test]
    fn a_text_is_shown_escaped_and_cut() {
        assert_eq!(shown("a\0\n"), "a\\0\\n");
        assert_eq!(shown(&"ü".repeat(100)), format!("{}…", "ü".repeat(60)));
    }
}
