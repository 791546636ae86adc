//! Agents on the command line: what is known of each here, how that is listed, and what a check of one comes to.
//!
//! Looks only: runs are started by the verbs.

pub mod check;
pub mod listing;
pub mod seen;
