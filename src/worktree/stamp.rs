//! The part of a name that tells when something was put away: of trash, and of refs of salvage.
//! No two are the same.

use super::error::{Result, WorktreeError};
use crate::sys::{clock, random};

/// A new one: the moment, and a few random digits.
pub fn stamp() -> Result<String> {
    let token = random::token().map_err(WorktreeError::Random)?;
    Ok(format!("{}-{}", clock::now().0, token.short()))
}
