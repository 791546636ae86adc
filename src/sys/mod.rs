//! The gateways to the outside: git, processes, files, locks, sockets, the clock, the environment, randomness.
//!
//! Promises: each outside thing has one gateway, hardened once; whatever is not here is not reached from elsewhere
//! (`clippy.toml` bans the raw calls). Knows nothing of workspaces or runs. Uses `model` only.

pub mod alike;
mod aside;
pub mod at_once;
pub mod background;
pub mod carry;
pub mod clock;
pub mod crew;
pub mod env;
pub mod footprint;
pub mod fs;
pub mod git;
pub mod interrupt;
pub mod lock;
pub mod lock_holders;
pub mod machine;
pub mod marks;
pub mod notify;
pub mod own_program;
pub mod proc;
pub mod random;
pub mod removal;
pub mod scope;
pub mod small;
pub mod socket;
pub mod standing;
pub mod units;
pub mod walk;
pub mod watch;
