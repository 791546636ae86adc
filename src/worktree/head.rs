//! Reading the HEAD of a sealed workspace without running git in a directory that its child could write.
//!
//! Files are opened beneath the private dir, without following links, capped; what is not a plain ref file is refused.

use std::path::Path;

use super::error::{Result, WorktreeError};
use super::sealed::SealedPaths;
use crate::model::CommitId;
use crate::sys::fs;

const REF_MAX: u64 = 4096;
const PACKED_MAX: u64 = 16 << 20;

/// The commit that HEAD of the tree names, through one branch at most.
pub fn sealed_head(paths: &SealedPaths) -> Result<CommitId> {
    let head = text(&paths.git_dir, Path::new("worktrees/wt/HEAD"), REF_MAX)?
        .ok_or_else(|| bad("the workspace has no HEAD any more"))?;
    match head.trim_end().strip_prefix("ref: ") {
        None => object(&head),
        Some(name) => branch(paths, name),
    }
}

fn branch(paths: &SealedPaths, name: &str) -> Result<CommitId> {
    let safe = name.starts_with("refs/") && !name.contains("..") && !name.chars().any(char::is_control);
    if !safe {
        return Err(bad(format!("HEAD names `{}`, which is no branch", name.escape_debug())));
    }
    if let Some(value) = text(&paths.git_dir, Path::new(name), REF_MAX)? {
        return object(&value);
    }
    // `packed-refs` itself is a link that the layout made; what it points to is opened by its own name.
    let packed = text(&paths.git_dir, Path::new("rw/packed-refs"), PACKED_MAX)?.unwrap_or_default();
    let line = packed.lines().find_map(|line| line.split_once(' ').filter(|(_, packed_name)| *packed_name == name));
    match line {
        Some((value, _)) => object(value),
        None => Err(bad(format!("HEAD names `{}`, which has no commit", name.escape_debug()))),
    }
}

fn object(value: &str) -> Result<CommitId> {
    CommitId::parse(value.trim_end()).map_err(|_| bad("a ref of the workspace holds no object id"))
}

fn text(root: &Path, relative: &Path, limit: u64) -> Result<Option<String>> {
    let bytes = fs::read_beneath(root, relative, limit).map_err(|error| bad(format!("{error}: {}", error.source)))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn bad(message: impl Into<String>) -> WorktreeError {
    WorktreeError::BadResult { message: message.into(), paths: Vec::new() }
}
