//! What an index file says before git looks at a worktree (`gitformat-index(5)`, versions 2 to 4 with ids of 20 bytes).
//!
//! Reads the entries once and keeps next to nothing: of a hundred thousand files that takes a hundredth of what git itself needs
//! to list them. Whatever is not as that page says, or is somewhere else (split and sparse indexes), is git's to read.

use std::path::Path;

use crate::model::CommitId;

/// What there is to know of an index file before git looks at a worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexFacts {
    /// A flag of an entry may hide a changed file from git (assume-unchanged, skip-worktree).
    pub hides: bool,
    /// The gitlinks that a sparse checkout does not leave out, with the commits that they record.
    pub gitlinks: Vec<(Vec<u8>, CommitId)>,
}

/// Reads an index file; `None` where git has to be asked.
pub fn index_facts(index: &Path) -> Option<IndexFacts> {
    facts(&std::fs::read(index).ok()?)
}

const ASSUME_UNCHANGED: u16 = 1 << 15;
const EXTENDED: u16 = 1 << 14;
const SKIP_WORKTREE: u16 = 1 << 14;
const NAME_LENGTH: u16 = 0xfff;
pub(super) const GITLINK: u32 = 0o160_000;
const DIRECTORY: u32 = 0o040_000;

/// An id, and the sum at the end.
const ID: usize = 20;

fn facts(bytes: &[u8]) -> Option<IndexFacts> {
    let (body, _sum) = bytes.split_at_checked(bytes.len().checked_sub(ID)?)?;
    let mut rest = Bytes(body.strip_prefix(b"DIRC")?);
    let (version, count) = (rest.number()?, rest.number()?);
    if !(2..=4).contains(&version) {
        return None;
    }
    let (mut facts, mut path) = (IndexFacts::default(), Vec::new());
    for _ in 0..count {
        let before = rest.0.len();
        rest.take(24)?;
        let mode = rest.number()?;
        rest.take(12)?;
        let id = rest.take(ID)?;
        let flags = rest.short()?;
        let skipped = flags & EXTENDED != 0 && rest.short()? & SKIP_WORKTREE != 0;
        let length = Some(usize::from(flags & NAME_LENGTH)).filter(|length| *length < usize::from(NAME_LENGTH));
        if version == 4 {
            path.truncate(path.len().checked_sub(rest.varying()?)?);
            path.extend_from_slice(rest.until_zero()?);
        } else {
            let name = rest.until_zero()?;
            // Zeros up to a multiple of eight, one of which is taken already.
            rest.take((8 - (before - rest.0.len()) % 8) % 8)?;
            path.clear();
            path.extend_from_slice(name);
        }
        if mode & 0o170_000 == DIRECTORY || length.is_some_and(|length| length != path.len()) {
            return None;
        }
        facts.hides |= skipped || flags & ASSUME_UNCHANGED != 0;
        if mode == GITLINK && !skipped {
            facts.gitlinks.push((path.clone(), CommitId::parse(&hex(id)).ok()?));
        }
    }
    // Extensions: four letters and a length. One that begins with a small letter changes what the entries mean.
    while !rest.0.is_empty() {
        if !rest.take(4)?.first()?.is_ascii_uppercase() {
            return None;
        }
        let length = rest.number()?;
        rest.take(usize::try_from(length).ok()?)?;
    }
    Some(facts)
}

/// Bytes as git shows ids.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is left to read.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What is before the next zero, which is taken, too.
    pub fn until_zero(&mut self) -> Option<&'a [u8]> {
        self.until(0)
    }

    /// What is before the next of these bytes, which is taken, too.
    pub fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == end)?;
        let (taken, _) = (self.take(length)?, self.take(1)?);
        Some(taken)
    }

    /// A number as in the offsets of a pack: seven bits a byte, one added for each byte that follows.
    fn varying(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        loop {
            let byte = *self.take(1)?.first()?;
            value = value.checked_add(usize::from(byte & 0x7f))?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            value = value.checked_add(1)?.checked_mul(128)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::git::Git;

    #[test]
    fn every_version_is_read_and_what_is_elsewhere_is_not() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        run(&["init", "-q"]);
        let long = ["a".repeat(200), "b".repeat(200)].join("/");
        for name in ["one", "two/three", "two/threes", &long] {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(file, "x").expect("written");
        }
        let id = "4".repeat(40);
        run(&["add", "."]);
        run(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},two/link")]);
        let index = dir.path().join(".git/index");
        let link = (b"two/link".to_vec(), CommitId::parse(&id).expect("an id"));
        let facts = |hides| Some(IndexFacts { hides, gitlinks: vec![link.clone()] });
        for version in ["2", "4", "3"] {
            run(&["update-index", "--index-version", version]);
            assert_eq!(index_facts(&index), facts(false), "{version}");
            for flag in ["assume-unchanged", "skip-worktree"] {
                run(&["update-index", &format!("--{flag}"), &long]);
                assert_eq!(index_facts(&index), facts(true), "{version} {flag}");
                run(&["update-index", &format!("--no-{flag}"), &long]);
            }
        }
        let whole = std::fs::read(&index).expect("read");
        for cut in 0..whole.len() {
            assert_eq!(super::facts(&whole[..cut]), None, "{cut}");
        }
        run(&["update-index", "--skip-worktree", "two/link"]);
        assert_eq!(index_facts(&index), Some(IndexFacts { hides: true, gitlinks: Vec::new() }));
        run(&["update-index", "--no-skip-worktree", "two/link"]);
        run(&["update-index", "--split-index"]);
        assert_eq!(index_facts(&index), None);
    }

    #[test]
    fn an_index_with_longer_ids_is_gits_to_read() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        run(&["init", "-q", "--object-format=sha256"]);
        for name in ["one", "two", "three"] {
            std::fs::write(dir.path().join(name), name).expect("written");
            run(&["add", "."]);
            assert_eq!(index_facts(&dir.path().join(".git/index")), None);
        }
    }
}
