//! Which process it is, beyond the number that the kernel will use again.
//! Identity only; how it is read and signalled is `sys::proc`'s business.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A process on this machine: a pid is reused, the triple is not.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProcId {
    /// The kernel's process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// The boot it belongs to (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

impl fmt::Display for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)
    }
}

/// A process that stands in a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Standing {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub name: String,
}
