//! What the children of a run may use up and reach beyond their workspace: decided when it starts, kept with its record.
//! Says what was asked for; `confine` enforces it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::ConfineLevel;
use super::{ByteSize, Network, Variable};

/// How far everything is confined that a repository brings, and what of the user it may read all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The level.
    pub level: ConfineLevel,
    /// What may be read beside the system and the toolchains.
    pub read: Vec<PathBuf>,
}

/// Limits and reach of children. A limit of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Processes and threads at once.
    pub processes: u64,
    /// Memory of all processes of a child together.
    pub memory: ByteSize,
    /// Size of one file.
    pub file_size: ByteSize,
    /// Open files of one process.
    pub open_files: u64,
    /// Disk space of one workspace.
    pub disk: ByteSize,
    /// What they may read beside their workspace, the system and the toolchains.
    pub read: Vec<PathBuf>,
    /// What of the network they may reach, unless a task or a gate says.
    pub network: Network,
    /// Variables that they get beyond those that every command has.
    #[serde(default)]
    pub env: Vec<Variable>,
}
