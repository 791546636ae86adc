//! Agents on the command line: what is known of each here, how that is listed, what a check of one comes to,
//! and what is said of those of a run.
//!
//! Looks only: runs are started by the verbs.

pub mod check;
pub mod in_runs;
pub mod listing;
pub mod seen;
