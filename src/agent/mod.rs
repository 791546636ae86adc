//! What a coding agent is, seen from outside: how it is started, how its output is read, and what counts as its success.
//!
//! A profile says all of that as data; the embedded ones are `profiles/*.toml`, and a user's own stand over them. Pure: no IO.

pub mod command;
pub mod digest;
pub mod extension;
pub mod invocation;
pub mod output;
pub mod profile;
pub mod registry;
