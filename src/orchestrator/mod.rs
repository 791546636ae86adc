//! Runs and tasks: what was asked for, who works on it, what comes of it, and how it lands.
//!
//! Promises: a run belongs to its supervisor, not to the client; every start consumes an attempt; nothing lands but the
//! tree that the gates saw; a result that does not land keeps its branch. Cleans up after its own tasks only.

pub mod acceptance;
pub mod admission;
pub mod again;
pub mod agents;
pub mod asking;
pub mod attempt;
pub mod backoff;
pub mod behind;
pub mod board;
pub mod client;
pub mod context;
pub mod control;
pub mod discard;
pub mod ending;
pub mod error;
pub mod extent;
pub mod failure;
pub mod follow;
pub mod foresight;
pub mod forward;
pub mod gates;
pub mod graph;
pub mod health;
pub mod kept;
pub mod lookout;
pub mod mail;
pub mod message_template;
pub mod messages;
pub mod offer;
pub mod overlap;
pub mod post;
pub mod precedence;
pub mod queue;
pub mod recover;
pub mod refusal;
pub mod resolve;
pub mod result;
pub mod resumption;
pub mod room;
pub mod same_files;
pub mod scoped;
pub mod setup;
pub mod shares;
pub mod slots;
pub mod sockets;
pub mod stale;
pub mod start;
pub mod stopping;
pub mod supervisor;
pub mod task_attempt;
pub mod task_branch;
pub mod taskfile;
pub mod template;
pub mod worker;

#[cfg(test)]
mod convergence_tests;
