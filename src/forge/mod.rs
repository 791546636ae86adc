//! Forges: where pull requests are. What a remote's address says of one, and what it answers.
//!
//! Asks through the forge's own program, with the account that the user has there; without it nothing is known, and nothing is
//! taken for absent.

pub mod address;
pub mod asking;
pub mod requests;
