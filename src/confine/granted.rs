//! What was asked of confinement and what was got: the proof that a level was checked, and the refusal.
//!
//! Decision file: types and words alone; `level` does the checking.

use crate::model::record::ConfineLevel;

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
pub struct Granted(pub(super) ConfineLevel);

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

/// What is said, plainly, wherever a child runs at a level that is not the default, or that is less here than elsewhere.
/// `landlock` is whether the kernel has it.
pub fn caution(level: ConfineLevel, landlock: bool) -> Option<&'static str> {
    match level {
        ConfineLevel::Strict if landlock => None,
        ConfineLevel::Strict => {
            Some("this kernel has no Landlock: namespaces and the filter hold the commands without it")
        }
        ConfineLevel::Landlock => Some(
            "confined by landlock alone: the commands can change modes and times of your files and see your processes' command \
             lines, what they leave behind may outlive a killed treehand, and where a run has no scope, memory is bounded for each \
             process alone and for root the number of processes is not (--confine landlock)",
        ),
        ConfineLevel::External => {
            Some("treehand does not confine the commands: you say that something outside does (--confine external)")
        }
        ConfineLevel::Off => {
            Some("nothing confines the commands: they can read and change everything that you can (--confine off)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_of_the_default_is_not_commented_on() {
        let silent = |level, landlock| caution(level, landlock).is_none();
        assert!(silent(ConfineLevel::Strict, true));
        assert!(!silent(ConfineLevel::Strict, false));
        assert!(
            [ConfineLevel::Landlock, ConfineLevel::External, ConfineLevel::Off]
                .iter()
                .all(|level| !silent(*level, true))
        );
    }
}
