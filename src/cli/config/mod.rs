//! The layered configuration: built-in defaults, the user's file, the project's file, the environment, `--set`.
//!
//! Promises: a later layer wins; the project's file can tighten what the user set, never loosen it; a key that is not
//! known is warned about, a value that cannot be read is an error that says where it stands and what was expected; no
//! text makes it panic. Texts come in and values go out: it reads no file and no environment, and flags of a command
//! are the caller's business. A new key is a field in `settings` and one entry of the table in `keys`.

mod commands;
mod error;
mod forms;
mod keys;
mod layers;
mod lists;
mod nearest;
mod settings;
#[cfg(test)]
mod tests;

pub use error::{BadValue, ConfigError, Place};
pub use layers::{Resolved, ShownValue, Sources, resolve};
pub use nearest::nearest;
pub use settings::{
    CleanSettings, ConfineSettings, Jobs, Limits, MergeSettings, Settings, SuperviseSettings, WorktreeSettings,
};
