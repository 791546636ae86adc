//! Which levels of confinement can be had here.
//! A level is granted whole or refused; there is no step down that nobody asked for.

use super::granted::{Granted, Unavailable};
use super::selftest::{self, Ground};
use crate::model::record::ConfineLevel;

/// Grants a level, or says that it cannot be had. `off` and `external` are granted only because somebody asked for them
/// by name; the others after the real thing was tried against canaries on this ground.
pub fn require(level: ConfineLevel, ground: &Ground) -> Result<Granted, Unavailable> {
    match level {
        ConfineLevel::Off | ConfineLevel::External => {}
        ConfineLevel::Strict | ConfineLevel::Landlock => selftest::run(level, ground)?,
    }
    Ok(Granted(level))
}
