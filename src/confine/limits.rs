//! Decision file: what a child may use up, and which of it can end one.
//! Plain data; who keeps a limit is said where it is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Bounds;

/// What a child may use up. Sizes in bytes; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Memory of all processes together.
    pub memory: Option<u64>,
    /// Size of one file.
    pub file_size: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Disk space below these directories, all together.
    pub disk: Option<DiskLimit>,
}

impl Limits {
    /// The limits that bounds come to; `directory` is what of the disk is bounded.
    pub fn of(bounds: &Bounds, directory: &Path) -> Limits {
        let some = |value: u64| (value > 0).then_some(value);
        let directory = directory.to_owned();
        Limits {
            processes: some(bounds.processes),
            memory: some(bounds.memory.0),
            file_size: some(bounds.file_size.0),
            open_files: some(bounds.open_files),
            disk: some(bounds.disk.0).map(|bytes| DiskLimit { directory, bytes }),
        }
    }
}

/// A bound on what a child leaves on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskLimit {
    /// The directory.
    pub directory: PathBuf,
    /// Most bytes in it.
    pub bytes: u64,
}

/// A limit that ends a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// `confine.limits.memory`.
    Memory,
    /// `confine.limits.disk`.
    Disk,
    /// `confine.limits.file_size`.
    FileSize,
}
