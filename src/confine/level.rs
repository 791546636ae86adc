//! Which levels of confinement can be had here.
//! A level is granted whole or refused; there is no step down that nobody asked for.

use super::granted::{self, Granted, Unavailable};
use super::selftest::{self, Ground};
use crate::model::record::ConfineLevel;

/// What is to be said about a level on this machine, before anything is started at it.
pub fn caution(level: ConfineLevel) -> Option<&'static str> {
    granted::caution(level, has_landlock())
}

#[cfg(target_os = "linux")]
fn has_landlock() -> bool {
    super::sandbox::landlock_abi().is_ok_and(|abi| abi >= landlock::ABI::V1)
}

/// Elsewhere `strict` is refused with another word.
#[cfg(not(target_os = "linux"))]
fn has_landlock() -> bool {
    true
}

/// Grants a level, or says that it cannot be had. `off` and `external` are granted only because somebody asked for them
/// by name; the others after the real thing was tried against canaries on this ground.
pub fn require(level: ConfineLevel, ground: &Ground) -> Result<Granted, Unavailable> {
    match level {
        ConfineLevel::Off | ConfineLevel::External => {}
        ConfineLevel::Strict | ConfineLevel::Landlock => selftest::run(level, ground)?,
    }
    Ok(Granted(level))
}
