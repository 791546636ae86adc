//! Decision file: the output of an agent, read as it comes: what of it is kept, and what it says, added up.
//!
//! Bounded in memory, whatever comes: a line that is too long is kept and not read. Nothing in it is an error; what is not understood
//! is counted.

use std::collections::VecDeque;

use serde_json::Value;

use super::lines::{Lines, Piece};
use super::output::{Format, Output};
use super::plain;
use super::pointer;
use super::tally::{TEXT_MAX, Tally};
use crate::model::agent::AgentReport;

/// So many of the last lines of a text are what an agent said last.
const LAST_LINES: usize = 20;

/// A line with more lists, objects and items than this is not read, for it would take much more memory than it is long.
const PARTS_MAX: usize = 200_000;

/// Reads the output of an agent.
#[derive(Debug)]
pub struct Digest {
    output: Output,
    lines: Lines,
    tally: Tally,
    last: Last,
    aside: Last,
}

impl Digest {
    /// Reads what follows these rules.
    pub fn new(output: Output) -> Digest {
        Digest {
            output,
            lines: Lines::default(),
            tally: Tally::default(),
            last: Last::default(),
            aside: Last::default(),
        }
    }

    /// Takes the next bytes. `keep` hears what is to be kept of them, in whole lines where it reads lines.
    pub fn feed(&mut self, bytes: &[u8], keep: &mut impl FnMut(&[u8])) {
        match self.output.format {
            Format::Text => {
                if !bytes.is_empty() {
                    keep(bytes);
                }
                self.last.feed(bytes);
                self.tally.report.text = self.last.text();
            }
            Format::Jsonl => {
                let Digest { output, lines, tally, .. } = self;
                lines.feed(bytes, |piece| read(output, tally, piece, keep));
            }
        }
    }

    /// Takes the next bytes of where errors go: words for a person, of which the last ones are known.
    pub fn feed_aside(&mut self, bytes: &[u8]) {
        self.aside.feed(bytes);
        self.tally.report.aside = self.aside.text();
    }

    /// There is no more: what is left is a line without its end, which it gets where lines are read.
    pub fn finish(&mut self, keep: &mut impl FnMut(&[u8])) {
        match self.output.format {
            Format::Text => {
                self.last.feed(b"\n");
                self.tally.report.text = self.last.text();
            }
            Format::Jsonl => {
                let Digest { output, lines, tally, .. } = self;
                lines.finish(|piece| read(output, tally, piece, keep));
            }
        }
    }

    /// What it said so far.
    pub fn report(&self) -> &AgentReport {
        &self.tally.report
    }
}

fn read(output: &Output, tally: &mut Tally, piece: Piece<'_>, keep: &mut impl FnMut(&[u8])) {
    let report = &mut tally.report;
    match piece {
        Piece::Long(part) => {
            report.unknown = report.unknown.saturating_add(1);
            keep(part);
        }
        Piece::More(part) => keep(part),
        Piece::Line(line) => {
            if take(output, tally, line) {
                keep(line);
            }
        }
    }
}

/// Takes in a line; whether it is to be kept.
fn take(output: &Output, tally: &mut Tally, line: &[u8]) -> bool {
    let is_empty = line.iter().all(u8::is_ascii_whitespace);
    let is_heavy = line.len() > PARTS_MAX && line.iter().filter(|byte| b"{[,".contains(byte)).count() > PARTS_MAX;
    if is_heavy {
        tally.report.unknown = tally.report.unknown.saturating_add(1);
    }
    if is_empty || is_heavy {
        return true;
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        tally.report.malformed = tally.report.malformed.saturating_add(1);
        return true;
    };
    let is_dropped = output.drop.iter().any(|condition| pointer::holds(condition, &value));
    if !tally.hear(&output.rules, &value) && !is_dropped {
        tally.report.unknown = tally.report.unknown.saturating_add(1);
    }
    !is_dropped
}

/// The last lines of a text that have something in them.
#[derive(Debug, Default)]
struct Last {
    begun: Vec<u8>,
    lines: VecDeque<String>,
    length: usize,
}

impl Last {
    fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let room = TEXT_MAX.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = plain::lines(&String::from_utf8_lossy(&self.begun), TEXT_MAX);
        self.begun.clear();
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.length += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LAST_LINES || (self.lines.len() > 1 && self.length > TEXT_MAX) {
            self.length -= self.lines.pop_front().map_or(0, |line| line.len() + 1);
        }
    }

    fn text(&self) -> Option<String> {
        let text = self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then_some(text)
    }
}
