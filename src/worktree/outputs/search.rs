//! Scan: what is in a file that is kept: the path of the workspace that made it, or the value of a secret.
//!
//! Secrets are looked for everywhere, in names, too; the path only in files below a megabyte: no script is as large, and no file of settings.

use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use aho_corasick::AhoCorasick;

use super::decide::moved;
use crate::sys::fs;
use crate::worktree::error::{Result, WorktreeError};

/// Larger files are not searched for the path.
const SEARCHED: u64 = 1 << 20;

/// What files are searched for.
pub(super) struct Search<'a> {
    tree: &'a Path,
    path: AhoCorasick,
    secrets: Option<AhoCorasick>,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Neither.
    Nothing,
    /// The path of the tree.
    Path,
    /// The value of a secret.
    Secret,
}

impl Search<'_> {
    /// Looks for these secrets in files of this tree.
    pub(super) fn new<'a>(tree: &'a Path, secrets: &[String]) -> Result<Search<'a>> {
        let build = |words: Vec<&[u8]>| {
            let built = AhoCorasick::new(words);
            built.map_err(|error| WorktreeError::refused(error.to_string(), "let the steps do without so many secrets"))
        };
        let values: Vec<&[u8]> = secrets.iter().filter(|value| !value.is_empty()).map(String::as_bytes).collect();
        let path = build(vec![tree.as_os_str().as_bytes()])?;
        let secrets = if values.is_empty() { None } else { Some(build(values)?) };
        Ok(Search { tree, path, secrets })
    }

    /// Looks at a file or a link of the tree.
    pub(super) fn look(&self, relative: &Path) -> Result<Seen> {
        let full = self.tree.join(relative);
        let meta = std::fs::symlink_metadata(&full).map_err(fs::at("look at", &full))?;
        let content = if meta.is_symlink() {
            std::fs::read_link(&full).map_err(fs::at("read", &full))?.into_os_string().into_vec()
        } else {
            let Some((mut file, meta)) = fs::open_beneath(self.tree, relative, u64::MAX)? else {
                return Ok(Seen::Nothing);
            };
            if meta.len() > SEARCHED {
                return Ok(if self.is_secret(relative, &mut file, &full)? { Seen::Secret } else { Seen::Nothing });
            }
            let mut content = Vec::new();
            file.read_to_end(&mut content).map_err(fs::at("read", &full))?;
            content
        };
        if self.is_secret(relative, &mut content.as_slice(), &full)? {
            return Ok(Seen::Secret);
        }
        let tree = self.tree.as_os_str().as_bytes();
        Ok(if self.path.is_match(&content) && moved(&content, tree, b"").is_some() {
            Seen::Path
        } else {
            Seen::Nothing
        })
    }

    fn is_secret(&self, relative: &Path, content: &mut dyn Read, full: &Path) -> Result<bool> {
        let Some(secrets) = &self.secrets else { return Ok(false) };
        let found = match secrets.stream_find_iter(content).next() {
            Some(found) => found.map(|_| true).map_err(fs::at("read", full))?,
            None => false,
        };
        Ok(found || secrets.is_match(relative.as_os_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_names_links_and_large_files_and_the_path_in_small_ones() {
        let tree = tempfile::tempdir().expect("a temp dir");
        let at = |name: &str| tree.path().join(name);
        let here = tree.path().to_string_lossy().into_owned();
        let large = format!("{}{}", "x".repeat(usize::try_from(SEARCHED).expect("small")), "s3cret");
        for (name, text) in [
            ("plain", "text"),
            ("small", "a s3cret here"),
            ("large", &large),
            ("a-s3cret", ""),
            ("path", &format!("{here}/x")),
        ] {
            std::fs::write(at(name), text).expect("written");
        }
        std::os::unix::fs::symlink("to/s3cret", at("link")).expect("linked");
        std::os::unix::fs::symlink(at("plain"), at("absolute")).expect("linked");
        let search = Search::new(tree.path(), &["s3cret".to_owned(), String::new()]).expect("built");
        let look = |name: &str| search.look(Path::new(name)).expect("looked");
        assert_eq!(["small", "large", "a-s3cret", "link"].map(look), [Seen::Secret; 4]);
        assert_eq!(["path", "absolute"].map(look), [Seen::Path; 2]);
        assert_eq!(look("plain"), Seen::Nothing);
        let free = Search::new(tree.path(), &[]).expect("built");
        assert_eq!(free.look(Path::new("small")).expect("looked"), Seen::Nothing);
    }
}
