//! Reading the HEAD of a sealed workspace, or of a submodule in it, without running git in a directory that its child could write.
//!
//! Files are opened beneath the private dir, without following links, capped; what is not a plain ref file is refused.

use std::path::{Path, PathBuf};

use super::error::{Result, WorktreeError};
use crate::model::CommitId;
use crate::sys::fs;

const REF_MAX: u64 = 4096;
const PACKED_MAX: u64 = 16 << 20;

/// Where the HEAD and the refs of a worktree are, as paths beneath the private dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadPlace {
    /// The file `HEAD`.
    pub head: PathBuf,
    /// The directory in which `refs/` is.
    pub refs: PathBuf,
    /// The packed refs. In the private dir `packed-refs` itself is a link that the layout made; what it points to is opened by
    /// its own name.
    pub packed: PathBuf,
}

impl HeadPlace {
    /// Those of a sealed tree.
    pub fn of_tree() -> HeadPlace {
        let (head, packed) = (PathBuf::from("worktrees/wt/HEAD"), PathBuf::from("rw/packed-refs"));
        HeadPlace { head, refs: PathBuf::new(), packed }
    }

    /// Those of a submodule in it, whose git dir this is.
    pub fn of_submodule(git_dir: &Path) -> HeadPlace {
        HeadPlace { head: git_dir.join("HEAD"), refs: git_dir.to_owned(), packed: git_dir.join("packed-refs") }
    }
}

/// The commit that HEAD names, through one branch at most.
pub fn head_beneath(private: &Path, place: &HeadPlace) -> Result<CommitId> {
    let head = text(private, &place.head, REF_MAX)?.ok_or_else(|| bad("the workspace has no HEAD any more"))?;
    match head.trim_end().strip_prefix("ref: ") {
        None => object(&head),
        Some(name) => branch(private, place, name),
    }
}

/// The file that says where HEAD is: of its branch, or HEAD itself where that is on none.
pub fn head_file(private: &Path, place: &HeadPlace) -> Result<PathBuf> {
    head_beneath(private, place)?;
    let head = text(private, &place.head, REF_MAX)?.unwrap_or_default();
    Ok(match head.trim_end().strip_prefix("ref: ") {
        Some(name) => place.refs.join(name),
        None => place.head.clone(),
    })
}

fn branch(private: &Path, place: &HeadPlace, name: &str) -> Result<CommitId> {
    let safe = name.starts_with("refs/") && !name.contains("..") && !name.chars().any(char::is_control);
    if !safe {
        return Err(bad(format!("HEAD names `{}`, which is no branch", name.escape_debug())));
    }
    if let Some(value) = text(private, &place.refs.join(name), REF_MAX)? {
        return object(&value);
    }
    let packed = text(private, &place.packed, PACKED_MAX)?.unwrap_or_default();
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
