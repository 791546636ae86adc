//! JSON with places. `serde_json` decides whether the text is JSON, which also bounds the nesting; a second pass,
//! which can rely on that, finds where keys and values start.
//!
//! Promises: duplicate keys are faults (`serde_json` would silently take the last); the second pass never panics, even
//! if it should disagree with the first.

use std::borrow::Cow;
use std::collections::HashMap;

use super::fault::{Faults, shown};
use super::tree::{DEPTH_MAX, Entry, Node, Value, push_too_deep};

/// Reads a JSON text; `None` after a syntax error.
pub(super) fn read<'t>(text: &'t str, faults: &mut Faults<'t>) -> Option<Node<'t>> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        push_syntax_error(text, &error, faults);
        return None;
    }
    let mut scan = Scan { text, at: 0, faults };
    let tree = scan.value(0);
    if tree.is_none() {
        let at = scan.at;
        faults.push(at, "not a JSON document");
    }
    tree
}

fn push_syntax_error(text: &str, error: &serde_json::Error, faults: &mut Faults<'_>) {
    let full = error.to_string();
    let message = full.split(" at line ").next().unwrap_or(&full);
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    faults.push(line_start + error.column().saturating_sub(1), message);
}

struct Scan<'s, 't> {
    text: &'t str,
    at: usize,
    faults: &'s mut Faults<'t>,
}

impl<'t> Scan<'_, 't> {
    fn value(&mut self, depth: usize) -> Option<Node<'t>> {
        let first = self.peek()?;
        let at = self.at;
        if depth == DEPTH_MAX + 1 && matches!(first, b'{' | b'[') {
            push_too_deep(self.faults, at);
        }
        let value = match first {
            b'{' => Value::Table(self.object(depth)?),
            b'[' => Value::List(self.array(depth)?),
            b'"' => Value::Text(self.string()?),
            _ => self.word()?,
        };
        Some(Node { at, value })
    }

    fn object(&mut self, depth: usize) -> Option<Vec<Entry<'t>>> {
        let mut entries = Vec::new();
        self.at += 1;
        while self.peek()? != b'}' {
            self.skip_if(b',');
            self.peek()?;
            let (at, key) = (self.at, self.string()?);
            self.skip_if(b':').then_some(())?;
            entries.push(Entry { key, at, value: self.value(depth + 1)? });
        }
        self.at += 1;
        self.check_duplicates(&entries);
        Some(entries)
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Node<'t>>> {
        let mut items = Vec::new();
        self.at += 1;
        while self.peek()? != b']' {
            self.skip_if(b',');
            items.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Some(items)
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        let rest = self.text.get(self.at..)?;
        let mut bytes = rest.bytes().enumerate().skip(1);
        let end = loop {
            match bytes.next()? {
                (end, b'"') => break end,
                (_, b'\\') => drop(bytes.next()?),
                _ => {}
            }
        };
        self.at += end + 1;
        let inner = rest.get(1..end)?;
        if inner.contains('\\') {
            serde_json::from_str(rest.get(..=end)?).map(Cow::Owned).ok()
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    fn word(&mut self) -> Option<Value<'t>> {
        let rest = self.text.get(self.at..)?;
        let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
        let word = rest.get(..end).filter(|word| !word.is_empty())?;
        self.at += end;
        Some(match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Other("null"),
            number => number.parse().map_or(Value::Other("a float"), Value::Integer),
        })
    }

    /// The next byte that is not blank; the scan stands on it.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_if(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn check_duplicates(&mut self, entries: &[Entry<'t>]) {
        let mut firsts: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let first = *firsts.entry(&entry.key).or_insert(entry.at);
            if first != entry.at {
                let line = self.faults.line_of(first);
                self.faults.push(entry.at, format!("duplicate key `{}`, first on line {line}", shown(&entry.key)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faults_of(text: &str) -> String {
        let mut faults = Faults::new(text);
        let tree = read(text, &mut faults);
        faults.finish(tree.map(drop)).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn syntax_errors_and_duplicates_have_their_place() {
        let deep = format!("{}{}", "[".repeat(17), "]".repeat(17));
        let abyss = "[".repeat(1_000_000);
        let check = |text: &str, expected: &str| {
            let faults = faults_of(text);
            assert!(faults.contains(expected), "{faults}\nlacks\n{expected}");
        };
        check("{\"a\": }", "line 1, column 7: expected value");
        check("{\n \"ü\": \"ö\" x}", "line 2, column 11: expected `,` or `}`");
        check("{\"a\": 1}\n{", "line 2, column 1: trailing characters");
        check("", "line 1, column 1: EOF while parsing a value");
        check("{\"a\": \"\\ud800\"}", "line 1");
        check("{\"a\": 1,\n \"\\u0061\": 2}", "line 2, column 2: duplicate key `a`, first on line 1");
        check(&format!("[{deep}]"), "line 1, column 18: nested deeper than 16 levels");
        check(&abyss, "column 128: recursion limit exceeded");
    }

    /// Text that is mostly made of JSON's own characters.
    fn jsonish() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\n\"", "1", "-2.5e3", "null", " ", "\n", "ü", "\"",
        ]);
        prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn the_passes_agree_on_what_is_json(text in jsonish()) {
            let mut faults = Faults::new(&text);
            let tree = read(&text, &mut faults);
            let sound = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(tree.is_some(), sound);
        }

        #[test]
        fn every_document_is_read_whole(numbers in prop::collection::vec(any::<i64>(), 0..9), text in any::<String>()) {
            let document = serde_json::json!({ text.clone(): numbers, "x": { "y": [text] } }).to_string();
            prop_assert_eq!(faults_of(&document), "");
        }
    }
}
