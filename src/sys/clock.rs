//! The wall clock, and the one that runs from the start of the machine. Decisions never read them: they are handed `now`.
//! Milliseconds; a clock before 1970 reads as 1970.

use std::time::{Duration, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::proc;
use crate::model::{Reading, Timestamp};

/// The current moment.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the clock")]
pub fn now() -> Timestamp {
    let elapsed = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// What both clocks say in one moment.
pub fn reading() -> Reading {
    let up = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    Reading { wall: now(), boot_id: proc::boot_id(), up_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX) }
}
