//! Completion of words on the command line: what is wanted where the cursor stands, and the names that fit there.
//!
//! Everything follows from the arguments as clap knows them, so a new flag needs nothing here; `kinds` names what a value
//! stands for. Promises: only looks, prints no error, makes nothing.

pub mod candidates;
pub mod kinds;
pub mod line;
pub mod place;
