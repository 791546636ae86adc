//! Seeing a worktree as it is: git's shortcuts switched off, the flags that hide changed files taken off an index.
//!
//! Works on a copy of an index that the caller hands over through its git commands; a worktree's own index is not touched.

use std::path::Path;

use super::error::Result;
use super::repository::bytes_path;
use crate::sys::fs;
use crate::sys::git::{GitCommand, GitOutput};

/// Settings under which git trusts no cache of what is untracked, writes whole indexes, and keeps its advice to itself.
pub const SETTINGS: [&str; 10] = [
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.splitIndex=false",
    "-c",
    "index.sparse=false",
    "-c",
    "core.safecrlf=false",
    "-c",
    "advice.addEmbeddedRepo=false",
];

/// Asks for every entry of the index with its flags; the answer is what [`unhide`] reads.
pub const LIST: [&str; 3] = ["ls-files", "-v", "-z"];

/// True when a flag of any entry may hide a changed file.
pub fn hides(listed: &GitOutput) -> bool {
    let flagged = |tag: &u8| tag.is_ascii_lowercase() || tag.eq_ignore_ascii_case(&b'S');
    listed.records().any(|record| record.first().is_some_and(flagged))
}

/// Takes off the flags that hide changed files from git (assume-unchanged, skip-worktree), except from files that a sparse
/// checkout left out.
pub fn unhide(listed: &GitOutput, tree: &Path, git: impl Fn([&str; 4]) -> GitCommand) -> Result<()> {
    let (mut assumed, mut skipped) = (Vec::new(), Vec::new());
    for record in listed.records() {
        let (Some(tag), Some(path)) = (record.first(), record.get(2..)) else { continue };
        if tag.is_ascii_lowercase() {
            assumed.extend_from_slice(path);
            assumed.push(0);
        }
        if tag.eq_ignore_ascii_case(&b'S') && fs::exists(&tree.join(bytes_path(path)))? {
            skipped.extend_from_slice(path);
            skipped.push(0);
        }
    }
    for (flag, list) in [("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)] {
        if !list.is_empty() {
            git(["update-index", flag, "-z", "--stdin"]).stdin(list).run()?;
        }
    }
    Ok(())
}
