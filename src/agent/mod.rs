//! What a coding agent is, seen from outside: how it is started and what counts as its success.
//!
//! In this version there is one profile, `command`: a plain command, whose exit code is the answer. Pure: no IO.

pub mod profile;
