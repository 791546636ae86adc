//! Agents in the tasks of a run: found once, given what they need, listened to, judged, and followed by another one or by themselves.
//!
//! What an agent is, is data (`agent::profile`). What it says of itself is believed as far as `agent::verdict` says, and what it asks
//! for concerns its own task alone. What it was lent of the user's is taken away at every end of an attempt.

pub mod clashes;
pub mod ears;
pub mod equip;
pub mod find;
pub mod instructions;
pub mod judge;
pub mod loan;
pub mod spent;
pub mod succession;
