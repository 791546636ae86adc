//! What setup steps make and the next workspace can have without running them: installed dependencies, build caches.
//!
//! `decide` says what a step's result follows from, and how paths in it move along; `kept` brings results and keeps them, and `ages` sees
//! to it that builds go on from them and not too far. Whoever has a step to run asks here first, keeps what it made, and does without
//! where anything is wrong.

pub mod ages;
pub mod decide;
pub mod kept;
pub mod place;
mod search;
