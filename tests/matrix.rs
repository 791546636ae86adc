//! The git matrix: each kind of repository that people have, made by a script and used with the real binary.
//! `docs/git.md` says row by row what happens; a row is a test, so that a failure names it.

#![expect(clippy::disallowed_methods, reason = "rows start programs as a user does")]

mod support;

#[path = "matrix/content.rs"]
mod content;
#[path = "matrix/drive.rs"]
mod drive;
#[path = "matrix/filters.rs"]
mod filters;
#[path = "matrix/formats.rs"]
mod formats;
#[path = "matrix/people.rs"]
mod people;
#[path = "matrix/places.rs"]
mod places;
#[path = "matrix/states.rs"]
mod states;
