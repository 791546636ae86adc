//! When a task starts: what a run shares with the other runs of its user (places for tasks, what of the machine stays free), and
//! what it means that two tasks change the same files.
//!
//! Plain data: who gets a place, and when there is room, is decided in `orchestrator::shares`, who starts before whom in
//! `orchestrator::precedence`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::{ByteSize, Share};

/// How many tasks of one agent profile run at once, of all runs of the user together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileSlots {
    /// The profile: letters, digits, `-` and `_`.
    pub profile: String,
    /// At least one.
    pub slots: u64,
}

impl FromStr for ProfileSlots {
    type Err = String;
    fn from_str(text: &str) -> Result<ProfileSlots, String> {
        let plain = |profile: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !profile.is_empty() && profile.len() <= 64 && profile.chars().all(fits)
        };
        let parsed = text.split_once('=').and_then(|(profile, slots)| Some((profile, slots.parse().ok()?)));
        match parsed {
            Some((profile, slots)) if plain(profile) && slots > 0 => {
                Ok(ProfileSlots { profile: profile.to_owned(), slots })
            }
            _ => Err(format!("`{}` is not PROFILE=NUMBER, such as codex=4", text.escape_debug())),
        }
    }
}

impl fmt::Display for ProfileSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.profile, self.slots)
    }
}

impl TryFrom<String> for ProfileSlots {
    type Error = String;
    fn try_from(text: String) -> Result<ProfileSlots, String> {
        text.parse()
    }
}

impl From<ProfileSlots> for String {
    fn from(slots: ProfileSlots) -> String {
        slots.to_string()
    }
}

/// What it means for the start of a task that another which is not over changes the same files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlapPolicy {
    /// Nothing.
    #[default]
    Ignore,
    /// Others start first, as long as there are others.
    Prefer,
    /// It starts when the other is over.
    Wait,
}

super::text_enum!(OverlapPolicy { Ignore = "ignore", Prefer = "prefer", Wait = "wait" });

/// How much there is of something, and how much of it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// So many bytes, or whatever it is counted in.
    pub free: u64,
    /// Of so many.
    pub total: u64,
}

/// When a task may start, beside what its run says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdmissionPolicy {
    /// How many tasks at once, of all runs of the user together; 0 is no limit.
    pub slots: u64,
    /// The same of single agent profiles.
    pub profile_slots: Vec<ProfileSlots>,
    /// How much memory stays free.
    pub reserve_memory: Share,
    /// How much disk space stays free.
    pub reserve_disk: Share,
    /// What it means that tasks change the same files.
    #[serde(default)]
    pub overlap: OverlapPolicy,
}

/// What runs of the first versions have: nothing is shared, nothing has to stay free, nobody looks at files.
impl Default for AdmissionPolicy {
    fn default() -> AdmissionPolicy {
        let nothing = Share::Bytes(ByteSize(0));
        AdmissionPolicy {
            slots: 0,
            profile_slots: Vec::new(),
            reserve_memory: nothing,
            reserve_disk: nothing,
            overlap: OverlapPolicy::Ignore,
        }
    }
}

impl AdmissionPolicy {
    /// How many tasks of this profile at once; `None` for no limit.
    pub fn of_profile(&self, profile: &str) -> Option<u64> {
        self.profile_slots.iter().find(|slots| slots.profile == profile).map(|slots| slots.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_profile_read_back_as_they_print_and_name_no_path() {
        assert_eq!("codex=4".parse::<ProfileSlots>().map(|slots| slots.to_string()).as_deref(), Ok("codex=4"));
        for text in ["", "codex", "=4", "codex=0", "codex=-1", "../x=1", "a b=1", "codex=4=5"] {
            assert!(text.parse::<ProfileSlots>().is_err(), "{text}");
        }
    }
}
