//! The wall clock. Decisions never read it: they are handed `now`.
//! Milliseconds; a clock before 1970 reads as 1970.

use crate::model::Timestamp;
use std::time::UNIX_EPOCH;

/// The current moment.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the clock")]
pub fn now() -> Timestamp {
    let elapsed = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
