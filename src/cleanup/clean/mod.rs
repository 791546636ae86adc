//! `clean`: looks at everything, decides, and takes away what may go, here and on remotes.
//!
//! `scan*` gather, `decide` and what it calls decide, `act` and what it calls act; `types` is what they hand to each other.

mod act;
mod ahead;
mod boxes;
mod branches;
mod cleaning;
pub(super) mod decide;
pub mod facts;
mod locks;
mod look;
mod refs;
mod remote;
mod remote_apply;
mod remote_asked;
mod remote_grace;
pub mod report;
pub mod report_files;
mod runs;
pub(super) mod scan;
mod scan_branches;
mod scan_remote;
mod scan_runs;
mod scan_unrecorded;
pub mod types;
mod unrecorded;
mod whole;

#[cfg(test)]
pub(super) mod cleaning_tests;
#[cfg(test)]
mod remote_tests;

pub use cleaning::{CleanPlan, CleanPolicy, CleanReport, Kept, Kind, Outcome, apply, clean, plan};
