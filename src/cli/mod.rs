//! The command line: arguments, one file per verb, human and JSON answers, exit codes.
//!
//! Promises: standard output is the answer, standard error the narration; with `--json` exactly one document, also when
//! the command fails; never a prompt. Decides nothing about git or runs: it asks the rooms and renders.

pub mod agents;
pub mod agents_args;
pub mod args;
pub mod clean_args;
pub mod complete;
pub mod config;
pub mod copied;
pub mod document;
pub mod entry;
pub mod error;
pub mod every_repository;
pub mod fit;
pub mod health;
pub mod listing;
pub mod mcp;
pub mod merge_args;
pub mod output;
mod queue_args;
pub mod run_args;
pub mod session;
pub mod setup;
pub mod submodules;
pub mod tasks_source;
pub mod trace;
pub mod uninstall_args;
pub mod verbs;

pub use entry::main;
