//! Scan: names that are one where the file system does not tell case apart (`core.ignorecase`).
//!
//! Of two such names git writes both into one file, and the worktree looks changed from then on. Names are compared in lower
//! case; that some file systems take composed and decomposed letters for the same is not looked for.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Result;
use super::repository::Repository;
use super::result_policy::{RawChange, Refusal};
use crate::model::CommitId;

/// True where git was told, or found out, that case does not count.
pub fn folds(repo: &Repository) -> Result<bool> {
    Ok(repo.bare([] as [&str; 0]).flag("core.ignorecase")?.unwrap_or(false))
}

/// The name that all spellings of a path have in common.
pub fn fold(path: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(path) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => path.to_ascii_lowercase(),
    }
}

/// Refuses a result that brings a name which is another one's here.
pub fn refuse_twins(repo: &Repository, commit: &CommitId, changes: &[RawChange]) -> Result<Option<Refusal>> {
    let new: BTreeSet<&[u8]> =
        changes.iter().filter(|change| change.is_new()).map(|change| change.path.as_slice()).collect();
    if new.is_empty() || !folds(repo)? {
        return Ok(None);
    }
    let names = repo.bare(["ls-tree", "-r", "-z", "--name-only", commit.as_str()]).run()?;
    let twins = twins(&new, names.records());
    let message = || "the result has names that are one here, where case does not count".to_owned();
    Ok((!twins.is_empty()).then(|| Refusal { message: message(), paths: twins }))
}

/// The spellings of all names that a new one shares with another; directories count, for they are made once.
fn twins<'a>(new: &BTreeSet<&[u8]>, names: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let wanted: BTreeSet<Vec<u8>> = new.iter().flat_map(|path| prefixes(path)).map(fold).collect();
    let mut spellings: BTreeMap<Vec<u8>, BTreeSet<&[u8]>> = BTreeMap::new();
    for prefix in names.flat_map(prefixes) {
        let folded = fold(prefix);
        if wanted.contains(&folded) {
            spellings.entry(folded).or_default().insert(prefix);
        }
    }
    let several = spellings.into_values().filter(|spellings| spellings.len() > 1).flatten();
    several.map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

/// The directories of a path, and itself.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    ends.chain([path.len()]).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_that_is_anothers_here_is_found_with_both_spellings() {
        let check = |new: &[&str], names: &[&str], expected: &[&str]| {
            let new = new.iter().map(|path| path.as_bytes()).collect();
            assert_eq!(twins(&new, names.iter().map(|path| path.as_bytes())), expected);
        };
        check(&["b"], &["A", "a", "b"], &[]);
        check(&["a"], &["A", "a", "b"], &["A", "a"]);
        check(&["A"], &["A", "b"], &[]);
        check(&["src/x"], &["Src/y", "src/x"], &["Src", "src"]);
        check(&["src/x"], &["src/y", "src/x"], &[]);
        check(&["Ärger"], &["Ärger", "ärger"], &["Ärger", "ärger"]);
    }
}
