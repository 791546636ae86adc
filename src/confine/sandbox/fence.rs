//! The Landlock fence around a child: which files it may read or change, whatever else it can see.
//!
//! Under `strict` it is the second wall behind the mounts; under `landlock` it is the only one. Promises: the newest
//! rights that both the kernel and this code know are handled, and the kernel says that all of them are enforced.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use rustix::fs::FileType;

use super::raw;

/// What may be touched.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    /// Read and executed, with all below.
    pub read: Vec<PathBuf>,
    /// Changed as well; no devices can be made there.
    pub write: Vec<PathBuf>,
    /// Terminals and other devices: read, written, controlled.
    pub devices: Vec<PathBuf>,
    /// No connection to anywhere, and none from there.
    pub no_network: bool,
    /// Everything that can be seen may be read: only changes are looked at.
    ///
    /// Where a root of its own shows nothing but what may be read, asking again at each open of a file costs a sixth of a
    /// job that reads many, and holds back nothing more, unless a descriptor of a file outside was handed in.
    pub reading_is_free: bool,
}

/// The newest version of Landlock that both the kernel and this code know.
pub fn abi() -> io::Result<ABI> {
    Ok(match raw::landlock_version()? {
        ..=0 => ABI::Unsupported,
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        6 => ABI::V6,
        7 => ABI::V7,
        8 => ABI::V8,
        9 => ABI::V9,
        _ => ABI::V10,
    })
}

/// Puts the fence around this process and everything that it starts.
pub fn enter(fence: &Fence, abi: ABI) -> io::Result<()> {
    let all = AccessFs::from_all(abi) & !if fence.reading_is_free { free(abi) } else { BitFlags::EMPTY };
    let read = AccessFs::from_read(abi) & all;
    let no_devices: BitFlags<AccessFs> = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all).map_err(other)?;
    if abi >= ABI::V6 {
        rules = rules.scope(Scope::from_all(abi)).map_err(other)?;
    }
    if fence.no_network && abi >= ABI::V4 {
        rules = rules.handle_access(AccessNet::from_all(abi)).map_err(other)?;
    }
    let mut rules = rules.create().map_err(other)?;
    let device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let groups = [(&fence.read, read), (&fence.write, all & !no_devices), (&fence.devices, device & all)];
    for (paths, access) in groups.into_iter().filter(|(_, access)| !access.is_empty()) {
        for path in paths {
            let opened = open(path)?;
            let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode).is_dir();
            let access = if is_directory { access } else { access & AccessFs::from_file(abi) };
            rules = rules.add_rule(PathBeneath::new(opened, access)).map_err(other)?;
        }
    }
    let status = rules.restrict_self().map_err(other)?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(io::Error::other(format!("the kernel enforces only a part of it: {:?}", status.ruleset)));
    }
    Ok(())
}

/// What is not looked at where reading is free. Truncating belongs to it, because the kernel looks for that right at each
/// open of a file, too; what is shown for reading only is on a mount that cannot be written.
fn free(abi: ABI) -> BitFlags<AccessFs> {
    AccessFs::from_read(abi) | (AccessFs::from_all(abi) & AccessFs::Truncate)
}

fn open(path: &Path) -> io::Result<PathFd> {
    PathFd::new(path).map_err(|error| match error {
        PathFdError::OpenCall { source, .. } => io::Error::new(source.kind(), format!("{}: {source}", path.display())),
        error => io::Error::other(error.to_string()),
    })
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
