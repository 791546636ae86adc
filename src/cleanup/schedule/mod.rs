//! `clean` by itself, at night: a timer of the user's systemd manager.
//!
//! `when` and `units` decide what is said to it, `timer` installs, shows and removes it.

mod timer;
pub mod units;
pub mod when;

pub use timer::{Removed, Schedule, ScheduleError, install, look, remove};
