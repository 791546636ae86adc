//! The queue of a branch: what is captured waits here, of whichever run, and lands in order, several at once where they go
//! together, after the gates have passed on exactly the tree that lands.
//!
//! Whoever has the turn (`turn`) lands what is first (`round`), in the order of `order`, on the tip of the branch (`stack`); a red
//! batch is searched for what fails (`search`). `attend` is the part of a supervisor in it.

pub mod asked;
pub mod attend;
pub mod bell;
mod clash;
pub mod order;
pub mod place;
mod put;
pub mod round;
pub mod scan;
pub mod search;
pub mod stack;
pub mod terms;
pub mod turn;
pub mod wording;
