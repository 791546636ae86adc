//! Decision file: what of a run has to stop: nothing, some tasks, or everything.
//!
//! Who works on a task looks here before each step; who waits for a child is woken by it.

use std::collections::BTreeSet;

use crate::model::TaskId;

/// What has to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopping {
    all: bool,
    now: bool,
    paused: bool,
    tasks: BTreeSet<TaskId>,
}

impl Stopping {
    /// True when this task has to stop.
    pub fn wants(&self, task: &TaskId) -> bool {
        self.all || self.tasks.contains(task)
    }

    /// True when everything has to.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// True when this task may not start: it has to stop, or nothing new starts.
    pub fn hinders(&self, task: &TaskId) -> bool {
        self.paused || self.wants(task)
    }

    /// Nothing new starts, or it does again.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Everything has to stop.
    pub fn stop_all(&mut self) {
        self.all = true;
    }

    /// Everything has to stop, and without grace.
    pub fn kill_all(&mut self) {
        (self.all, self.now) = (true, true);
    }

    /// True when nothing is given any grace.
    pub fn is_now(&self) -> bool {
        self.now
    }

    /// This task has to stop.
    pub fn stop(&mut self, task: &TaskId) {
        self.tasks.insert(task.clone());
    }

    /// This task may run again: a person wants it done once more.
    pub fn release(&mut self, task: &TaskId) {
        self.tasks.remove(task);
    }
}
