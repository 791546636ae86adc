//! What a coding agent is, seen from outside: how it is started, how its output is read, and what counts as its success.
//!
//! A profile says all of that as data; the embedded ones are `profiles/*.toml`, and a user's own stand over them. Pure: no IO.

pub mod command;
pub mod digest;
pub mod invocation;
pub mod lines;
pub mod output;
pub mod plain;
pub mod pointer;
pub mod profile;
pub mod registry;
pub mod render;
pub mod tally;
pub mod verdict;

#[cfg(test)]
mod digest_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod render_tests;
#[cfg(test)]
mod starts_tests;
#[cfg(test)]
mod verdict_tests;
