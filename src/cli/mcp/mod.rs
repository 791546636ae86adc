//! Tools over MCP: for an agent at work on a task, each call handed to its attempt's endpoint; for a person's own assistant, each call our own
//! program with `--json`.
//!
//! Only `server` and `transport` know the protocol's library; what a tool takes and which command it becomes is decided without it.

pub mod endpoint;
pub mod errand;
pub mod loosened;
pub mod person;
pub mod server;
pub mod task;
pub mod tool;
pub mod transport;
pub mod unsent;
pub mod wire;
