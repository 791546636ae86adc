//! What a child may reach, and how it is started.
//!
//! Promises: a level that cannot be enforced here is an error that names the cause and the way out, never a silent fallback;
//! a child gets an explicit environment, its own session, no standard input. Knows nothing of runs or git.

pub mod descriptor;
mod disk;
pub mod environment;
pub mod granted;
pub mod launch;
pub mod leaf;
mod leaf_plan;
pub mod level;
pub mod limits;
pub mod machine;
pub mod mask;
pub mod policy;
pub mod ports;
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod selftest;
pub mod shim;
pub mod view;

pub use granted::Unavailable;
pub use launch::{Launch, LaunchError};
pub use level::require;
pub use selftest::Ground;
