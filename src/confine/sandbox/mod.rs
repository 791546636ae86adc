//! The sandbox of level `strict` on Linux: namespaces, a minimal root, Landlock, seccomp, limits, a trusted pid 1.
//!
//! Everything here runs in the single-threaded shim or in its descendants. Promises: a step that fails stops the child
//! before its program starts, and names itself; nothing is left out silently.

mod channel;
mod fence;
mod filter;
mod init;
mod mounts;
mod network;
mod raw;
mod root;
mod sleepers;
mod spawn;
mod target;
mod terminal;
mod usage;
mod watch;

pub use channel::{Ended, Message, receive, send};
pub use fence::abi as landlock_abi;
pub use raw::close_on_exec_from;
pub use spawn::{Sandbox, spawn};
pub use target::enter_fence;
