//! What a child may reach, and how it is started.
//!
//! Promises: a level that this version cannot enforce is an error that names the way out, never a silent fallback; a
//! child gets an explicit environment, its own session, no standard input. Knows nothing of runs or git.

pub mod environment;
pub mod launch;
pub mod level;

pub use launch::{Launch, LaunchError};
pub use level::{Unavailable, require};
