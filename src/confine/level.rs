//! Which levels of confinement can be had here.
//! A level is granted whole or refused; there is no step down that nobody asked for.

use crate::model::record::ConfineLevel;

/// Confinement at the demanded level cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("confinement `{level}` is unavailable: this version of treehand has no sandbox yet")]
pub struct Unavailable {
    /// What was demanded.
    pub level: ConfineLevel,
}

/// Proof that a level was checked: what starts a child asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted(ConfineLevel);

impl Granted {
    /// The level.
    pub fn level(self) -> ConfineLevel {
        self.0
    }
}

/// Grants a level, or says that it cannot be had. `off` is granted only because somebody asked for it by name.
pub fn require(level: ConfineLevel) -> Result<Granted, Unavailable> {
    match level {
        ConfineLevel::Off => Ok(Granted(level)),
        ConfineLevel::Strict | ConfineLevel::Landlock | ConfineLevel::External => Err(Unavailable { level }),
    }
}

/// What is said, plainly, wherever a child runs unconfined.
pub const NOTHING_CONFINES: &str =
    "nothing confines the commands: they can read and change everything that you can (--confine off)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_off_is_granted_while_there_is_no_sandbox() {
        for level in [ConfineLevel::Strict, ConfineLevel::Landlock, ConfineLevel::External] {
            assert_eq!(require(level), Err(Unavailable { level }));
        }
        assert_eq!(require(ConfineLevel::Off).map(Granted::level), Ok(ConfineLevel::Off));
    }
}
