//! The text of a tasks file as a tree that knows where each key and value stands.
//!
//! Promises: TOML and JSON give the same tree, entries in the order of the file; a syntax error is a fault and no
//! tree; nesting is bounded. Does not know which keys a tasks file has.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Faults;

/// Deepest nesting that is taken; a tasks file needs six levels.
pub(super) const DEPTH_MAX: usize = 16;
/// Longest TOML text of which all syntax errors are listed; in a longer one only the first, to bound the memory.
const RECOVERY_MAX: usize = 256 * 1024;

/// The two languages of a tasks file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// JSON, without extensions.
    Json,
}

impl Format {
    /// Guesses the language from what stands first: `{` can only be JSON, and so can `[` before a value or its end.
    pub fn guess(text: &str) -> Format {
        let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let after_bracket = start.strip_prefix('[').map(|rest| rest.trim_start());
        let json_array = after_bracket.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', ']', '"']));
        // In TOML a quoted table name ends in `]` on its line and a value never stands there.
        let quoted_table = after_bracket.is_some_and(|rest| rest.starts_with('"') && is_table_header(rest));
        if start.starts_with('{') || json_array && !quoted_table { Format::Json } else { Format::Toml }
    }
}

fn is_table_header(rest: &str) -> bool {
    rest.lines().next().is_some_and(|line| line.trim_end().ends_with(']') && !line.contains(','))
}

/// A value and the byte offset where it starts.
pub(super) struct Node<'t> {
    pub at: usize,
    pub value: Value<'t>,
}

/// A value.
pub(super) enum Value<'t> {
    Text(Cow<'t, str>),
    Integer(i128),
    Bool(bool),
    List(Vec<Node<'t>>),
    Table(Vec<Entry<'t>>),
    /// Something that no key takes, by the name that messages give it.
    Other(&'static str),
}

/// A key and its value.
pub(super) struct Entry<'t> {
    pub key: Cow<'t, str>,
    pub at: usize,
    pub value: Node<'t>,
}

impl Value<'_> {
    /// What it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Bool(_) => "a boolean",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Says that `at` is nested too deep.
pub(super) fn push_too_deep(faults: &mut Faults<'_>, at: usize) {
    faults.push(at, format!("nested deeper than {DEPTH_MAX} levels"));
}

/// Reads TOML; `None` after a syntax error.
pub(super) fn read_toml<'t>(text: &'t str, faults: &mut Faults<'t>) -> Option<Node<'t>> {
    match DeTable::parse(text) {
        Ok(document) => Some(Node { at: 0, value: Value::Table(entries(document.into_inner(), 1, faults)) }),
        Err(first) => {
            push_syntax_errors(text, first, faults);
            None
        }
    }
}

/// Lists the first error of each line: what follows it there is mostly its echo.
fn push_syntax_errors(text: &str, first: toml::de::Error, faults: &mut Faults<'_>) {
    let mut errors = if text.len() > RECOVERY_MAX { vec![first] } else { DeTable::parse_recoverable(text).1 };
    let start = |error: &toml::de::Error| error.span().map(|span| span.start);
    errors.sort_by_key(start);
    let mut last: Option<usize> = None;
    for error in errors {
        let at = start(&error);
        let between = last.zip(at).and_then(|(last, at)| text.get(last..at));
        if between.is_none_or(|between| between.contains('\n')) {
            faults.push(at, error.message());
        }
        last = at;
    }
}

fn entries<'t>(table: DeTable<'t>, depth: usize, faults: &mut Faults<'t>) -> Vec<Entry<'t>> {
    let mut entries: Vec<Entry<'t>> = Vec::with_capacity(table.len());
    for (key, value) in table {
        let at = key.span().start;
        entries.push(Entry { key: key.into_inner(), at, value: node(value, depth, faults) });
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn node<'t>(value: Spanned<DeValue<'t>>, depth: usize, faults: &mut Faults<'t>) -> Node<'t> {
    let at = value.span().start;
    let too_deep = depth > DEPTH_MAX;
    let value = match value.into_inner() {
        DeValue::Array(_) | DeValue::Table(_) if too_deep => {
            push_too_deep(faults, at);
            Value::Other("a nested value")
        }
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, depth + 1, faults)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, depth + 1, faults)),
        DeValue::String(text) => Value::Text(text),
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number out of range"), Value::Integer),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { at, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_shows_in_the_first_character() {
        for json in ["{", " \n\t{\"goal\": 1}", "\u{feff}{"] {
            assert_eq!(Format::guess(json), Format::Json, "{json:?}");
        }
        for toml in ["", "# {", "goal = 1", "[[task]]"] {
            assert_eq!(Format::guess(toml), Format::Toml, "{toml:?}");
        }
    }

    /// A tree as one line: keys, kinds and offsets.
    fn sketch(node: &Node<'_>) -> String {
        let inside = match &node.value {
            Value::List(items) => items.iter().map(sketch).collect::<Vec<_>>().join(" "),
            Value::Table(entries) => {
                let entry = |e: &Entry<'_>| format!("{}@{}={}", e.key, e.at, sketch(&e.value));
                entries.iter().map(entry).collect::<Vec<_>>().join(" ")
            }
            Value::Text(text) => text.to_string(),
            Value::Integer(number) => number.to_string(),
            other => return format!("{}@{}", other.kind(), node.at),
        };
        format!("({inside})@{}", node.at)
    }

    fn check(text: &str, expected: &str) {
        let mut faults = Faults::new(text);
        let tree = match Format::guess(text) {
            Format::Json => crate::orchestrator::taskfile::json::read(text, &mut faults),
            Format::Toml => read_toml(text, &mut faults),
        };
        let tree = tree.expect("a well-formed text");
        assert_eq!(sketch(&tree), expected, "{text}");
        assert_eq!(faults.finish(Some(())), Ok(()), "{text}");
    }

    #[test]
    fn both_languages_give_one_tree_in_the_order_of_the_file() {
        check("b = 'x'\na = [1, 2.5]\n", "(b@0=(x)@4 a@8=((1)@13 a float@16)@12)@0");
        check("{\"b\":\"x\",\"a\":[1, 2.5]}", "(b@1=(x)@5 a@9=((1)@14 a float@17)@13)@0");
        check("{ \"\\u00e4\\\"\" : null, \"\": \"\\n\" }", "(ä\"@2=null@15 @21=(\n)@25)@0");
        check("[[t]]\nx = 0x10\n[[t]]\ny = true", "(t@2=((x@6=(16)@10)@0 (y@21=a boolean@25)@15)@0)@0");
    }

    #[test]
    fn toml_syntax_errors_are_one_per_line_with_their_place() {
        let text = "goal = \nü = \"x\nbase = \"m\"\nbase = \"n\"\n";
        let mut faults = Faults::new(text);
        assert!(read_toml(text, &mut faults).is_none());
        let error = faults.finish::<()>(None).expect_err("syntax errors");
        let lines: Vec<_> = error.faults().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [Some(1), Some(2), Some(4)], "{error}");
    }
}
