//! Which levels of confinement can be had here.
//! A level is granted whole or refused; there is no step down that nobody asked for.

use crate::model::record::ConfineLevel;

use super::selftest;

/// Confinement at the demanded level cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("confinement `{level}` is unavailable: {why}")]
pub struct Unavailable {
    /// What was demanded.
    pub level: ConfineLevel,
    /// The probe that failed, and how.
    pub why: String,
    /// What helps.
    pub remedy: String,
}

/// Proof that a level was checked: what starts a child asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted(ConfineLevel);

impl Granted {
    /// The level.
    pub fn level(self) -> ConfineLevel {
        self.0
    }

    /// For a self-test, which is the check itself, and for who acts on a record that was made after one.
    pub fn on_record(level: ConfineLevel) -> Granted {
        Granted(level)
    }
}

/// Grants a level, or says that it cannot be had. `off` and `external` are granted only because somebody asked for them
/// by name; the others after the real thing was tried against canaries.
pub fn require(level: ConfineLevel) -> Result<Granted, Unavailable> {
    match level {
        ConfineLevel::Off | ConfineLevel::External => {}
        ConfineLevel::Strict | ConfineLevel::Landlock => selftest::run(level)?,
    }
    Ok(Granted(level))
}

/// What is said, plainly, wherever a child runs at a level that is not the default.
pub fn caution(level: ConfineLevel) -> Option<&'static str> {
    match level {
        ConfineLevel::Strict => None,
        ConfineLevel::Landlock => Some(
            "confined by landlock alone: the commands can change modes and times of your files, see your processes' command \
             lines, and processes that they leave behind may outlive a killed treehand (--confine landlock)",
        ),
        ConfineLevel::External => {
            Some("treehand does not confine the commands: you say that something outside does (--confine external)")
        }
        ConfineLevel::Off => {
            Some("nothing confines the commands: they can read and change everything that you can (--confine off)")
        }
    }
}
