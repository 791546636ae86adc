//! Scan: what is in a file that is kept: the path of the workspace that made it, or the value of a secret.
//!
//! Files of a megabyte and more are not looked into: no script is as large, and no file of settings.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aho_corasick::AhoCorasick;

use super::decide::moved;
use crate::worktree::error::{Result, WorktreeError};

/// Larger files are not searched.
const SEARCHED: u64 = 1 << 20;

/// What files are searched for.
pub(super) struct Search {
    pub(super) tree: Vec<u8>,
    /// The tree first, then the secrets.
    pub(super) words: AhoCorasick,
}

/// What is in a file.
pub(super) struct Seen {
    pub(super) tree: bool,
    pub(super) secret: bool,
}

impl Search {
    pub(super) fn new(tree: &Path, secrets: &[String]) -> Result<Search> {
        let tree = tree.as_os_str().as_bytes().to_vec();
        let words = std::iter::once(tree.as_slice()).chain(secrets.iter().map(String::as_bytes));
        let words = AhoCorasick::new(words)
            .map_err(|error| WorktreeError::refused(error.to_string(), "let the step do without so many secrets"))?;
        Ok(Search { words, tree })
    }

    pub(super) fn look(&self, at: &Path, meta: &std::fs::Metadata) -> std::io::Result<Seen> {
        let content = match meta.is_symlink() {
            true => std::fs::read_link(at)?.as_os_str().as_bytes().to_vec(),
            false if meta.len() <= SEARCHED => std::fs::read(at)?,
            false => return Ok(Seen { tree: false, secret: false }),
        };
        let mut words = self.words.find_overlapping_iter(&content).map(|found| found.pattern().as_usize());
        let mut seen = Seen { tree: false, secret: false };
        while let Some(word) = words.next().filter(|_| !seen.secret) {
            seen.tree |= word == 0;
            seen.secret |= word > 0;
        }
        seen.tree = seen.tree && moved(&content, &self.tree, b"").is_some();
        Ok(seen)
    }
}
