//! The tasks file: TOML or JSON text in, a checked [`RunSpec`](crate::model::RunSpec) out.
//!
//! Promises: a file is checked whole before anything starts, every fault is reported with its place (up to
//! [`FAULTS_MAX`], the rest is counted), and no text makes it panic, overflow the stack or take quadratic time.
//! Does not: read files, look at the repository, or apply defaults that depend on it (base, target, number of jobs).
//!
//! ```text
//! text ─tree─► nodes with byte offsets ─check─► RunSpec
//!        └───────── fault ◄───────────┘          offsets become lines and columns once, at the end
//! ```

mod check;
mod fault;
mod fields;
mod json;
mod tree;
mod work;

pub use check::{SIZE_MAX, parse};
pub use fault::{FAULTS_MAX, Fault, TaskFileError};
pub use tree::Format;
