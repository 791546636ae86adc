//! Where words go: the answer to standard output, the narration to standard error, nothing else anywhere.
//!
//! What came from outside (names, subjects, paths) is printed without its control characters.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use super::args::{ColorChoice, Global};

/// How to speak.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    color: bool,
}

/// Colours of the narration.
#[derive(Clone, Copy, Debug)]
pub enum Paint {
    /// Good news.
    Green,
    /// Bad news.
    Red,
    /// Worth a look.
    Yellow,
    /// Less important.
    Dim,
}

impl Output {
    /// As the flags say.
    pub fn new(global: &Global) -> Output {
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => std::io::stderr().is_terminal() && std::io::stdout().is_terminal(),
        };
        Output { json: global.json, quiet: global.quiet, color }
    }

    /// True when a person reads standard output.
    pub fn on_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// True when nothing is wanted but the answer and errors.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// True when the answer is one JSON document.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer: a document with its schema, or text for people.
    pub fn answer(&self, schema: &str, document: Value, text: impl FnOnce() -> String) -> std::io::Result<()> {
        if self.json { print(&format!("{}\n", with_schema(schema, document))) } else { print(&text()) }
    }

    /// Prints one line of a stream of events.
    pub fn event(&self, document: &Value) -> std::io::Result<()> {
        print(&format!("{document}\n"))
    }

    /// Says what is going on.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            narrate(line.as_ref());
        }
    }

    /// Says what the user should know.
    pub fn warn(&self, line: impl AsRef<str>) {
        if !self.quiet {
            narrate(&format!("{} {}", self.paint(Paint::Yellow, "warning:"), lines(line.as_ref())));
        }
    }

    /// Says what went wrong.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        narrate(&format!("{} {}", self.paint(Paint::Red, "error:"), lines(message)));
        if let Some(hint) = hint {
            narrate(&format!("{} {}", self.paint(Paint::Dim, "hint:"), lines(hint)));
        }
    }

    /// Columns and lines of the terminal that the answer goes to; `None` where it goes elsewhere, or nobody knows.
    pub fn terminal_size(&self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
        (size.ws_col > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Shows one line on a terminal in the place of the last one; an empty one takes it away.
    pub fn progress(&self, line: &str) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        if let Err(error) = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()) {
            tracing::trace!(%error, "nobody listens");
        }
    }

    /// Colours a word when colours are wanted.
    pub fn paint(&self, paint: Paint, word: &str) -> String {
        let code = match paint {
            Paint::Green => "32",
            Paint::Red => "31",
            Paint::Yellow => "33",
            Paint::Dim => "2",
        };
        if self.color { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// A document with its schema in front.
pub fn with_schema(schema: &str, document: Value) -> Value {
    let mut map = Map::new();
    map.insert("schema".into(), Value::String(schema.into()));
    match document {
        Value::Object(fields) => map.extend(fields),
        other => {
            map.insert("value".into(), other);
        }
    }
    Value::Object(map)
}

/// Text from outside, safe for a terminal and in one line.
pub fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if steers(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Characters that move the cursor, or change in which order the others are shown.
/// The same for text that may have several lines.
fn lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Prints to standard output. A reader that went away is no error: there is nobody to tell.
pub fn print(text: &str) -> std::io::Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub fn print_bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a document as it is written out, for one that is too big to be made first.
pub fn print_document(document: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = serde_json::to_writer(&mut out, document).map_err(std::io::Error::from);
    match written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Says a line to the person who looks on.
pub fn narrate(line: &str) {
    // Where standard error is closed there is nobody to tell that it is.
    if let Err(error) = writeln!(std::io::stderr().lock(), "{line}") {
        tracing::trace!(%error, "nobody listens");
    }
}

/// An amount of disk in one unit, rounded up.
pub fn size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >> shift > 0);
    unit.map_or(format!("{bytes}"), |(unit, shift)| format!("{}{unit}", bytes.div_ceil(1 << shift)))
}

/// How long ago, in one unit, rounded down.
pub fn age(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let unit = units.iter().find(|(_, length)| seconds >= *length);
    unit.map_or(format!("{seconds}s"), |(unit, length)| format!("{}{unit}", seconds / length))
}

/// Columns of text, each as wide as its widest cell.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cell = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
        let line = row.iter().zip(&widths).map(cell).collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_one_unit() {
        assert_eq!([size(0), size(1023), size(1025), size(5 << 30)], ["0", "1023", "2K", "5G"]);
        assert_eq!([age(59), age(60), age(7199), age(86_400 * 400)], ["59s", "1m", "1h", "400d"]);
    }

    #[test]
    fn terminal_escapes_from_outside_are_shown_not_obeyed() {
        assert_eq!(plain("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(plain("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(plain("grün"), "grün");
    }
}
