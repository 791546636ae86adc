//! What went through a proxy: per host, port and verdict, how often and how many bytes.
//! Bounded, whatever a child asks for: what comes after so many hosts is counted together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many hosts are told apart.
const HOSTS_MAX: usize = 1000;

/// The account of one child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    lines: BTreeMap<(String, u16, bool), (u64, u64, u64)>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The host; empty for what was counted together.
    pub host: String,
    /// The port.
    pub port: u16,
    /// It was let through.
    pub allowed: bool,
    /// How often it was asked for.
    pub count: u64,
    /// Bytes that went there.
    pub sent: u64,
    /// Bytes that came from there.
    pub received: u64,
}

impl Ledger {
    /// Counts one connection.
    pub fn count(&mut self, host: &str, port: u16, allowed: bool, (sent, received): (u64, u64)) {
        let known = |key: &(String, u16, bool)| self.lines.contains_key(key);
        let key = (host.to_owned(), port, allowed);
        let key = if known(&key) || self.lines.len() < HOSTS_MAX { key } else { (String::new(), 0, allowed) };
        let line = self.lines.entry(key).or_default();
        *line = (line.0 + 1, line.1.saturating_add(sent), line.2.saturating_add(received));
    }

    /// All lines, by host.
    pub fn lines(&self) -> Vec<Line> {
        let line = |((host, port, allowed), (count, sent, received)): (&(String, u16, bool), &(u64, u64, u64))| {
            let (port, allowed, count, sent, received) = (*port, *allowed, *count, *sent, *received);
            Line { host: host.clone(), port, allowed, count, sent, received }
        };
        self.lines.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_hosts_does_not_grow_it() {
        let mut ledger = Ledger::default();
        for n in 0..5000 {
            ledger.count(&format!("h{n}"), 1, false, (0, 0));
        }
        ledger.count("h1", 1, false, (3, 4));
        let lines = ledger.lines();
        assert_eq!(lines.len(), HOSTS_MAX + 1);
        assert_eq!(lines[0].count, 4000, "counted together");
        assert!(lines.iter().any(|line| line.host == "h1" && (line.count, line.sent, line.received) == (2, 3, 4)));
    }
}
