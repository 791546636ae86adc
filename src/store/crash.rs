//! Where a process is to die, for crash tests of the real binary: before the n-th write to the store, or right after it.
//!
//! Written `before:N` or `after:N`. What is between two writes is what a successor has to find its way in.

use std::cell::Cell;

use super::Store;
use crate::sys::proc;

/// Counts the writes of one store.
#[derive(Debug, Default)]
pub(super) struct Crash {
    at: Cell<Option<Moment>>,
    writes: Cell<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before(u64),
    After(u64),
}

impl Crash {
    /// A write is about to begin.
    pub(super) fn wanted(&self) {
        self.writes.set(self.writes.get() + 1);
        self.die_at(Moment::Before(self.writes.get()));
    }

    /// It is on the disk.
    pub(super) fn passed(&self) {
        self.die_at(Moment::After(self.writes.get()));
    }

    fn die_at(&self, now: Moment) {
        if self.at.get() == Some(now) {
            proc::die();
        }
    }
}

impl Store {
    /// Lets this process die at a moment, as written; what is no moment never comes.
    pub fn die_at(&self, text: &str) {
        let moment = text.split_once(':').and_then(|(when, number)| match (when, number.parse()) {
            ("before", Ok(number)) => Some(Moment::Before(number)),
            ("after", Ok(number)) => Some(Moment::After(number)),
            _ => None,
        });
        self.crash.at.set(moment);
    }
}
