//! Decision file: whether what a removal saves goes into the repository's objects or into a bundle, where that is, and what is
//! kept beside it.
//!
//! A bundle is a directory of its own, `salvage/FROM/STAMP` in treehand's own, as the refs are `FROM/STAMP` below their prefix. A
//! slash in FROM is `~` there, which git allows in no ref, so that each is read back from the other. What can be told of the
//! commits without reading the bundle is beside it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::trash::stamped_at;
use crate::model::{ByteSize, CommitId, Timestamp};

/// The directory of all bundles, in treehand's own.
pub const PLACE: &str = "salvage";

/// The bundle, in its directory.
pub const FILE: &str = "saved.bundle";

/// What is said of it, beside it.
pub const ABOUT: &str = "about.json";

/// The part that is a ref to what a bundle builds on: as long as that is there, the bundle can be read.
pub const BASE: &str = "base";

/// The version of what is said of a bundle.
const VERSION: u32 = 1;

/// Where saved commits are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// In the repository's objects, held by refs.
    Refs,
    /// In a bundle.
    Bundle,
}

/// Which it is, where the repository would have to take in so many bytes.
pub fn holder(bytes: u64, most: ByteSize) -> Holder {
    if bytes > most.0 { Holder::Bundle } else { Holder::Refs }
}

/// One part of what a bundle holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BundledPart {
    /// Its name, as that of a ref of salvage ends.
    pub part: String,
    /// What it is.
    pub commit: CommitId,
    /// The subject of that commit.
    pub subject: String,
    /// How many files that commit changes.
    pub files: usize,
}

/// What is said of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    version: u32,
    /// What it holds.
    pub parts: Vec<BundledPart>,
    /// Every commit in it with its parents, as lines of `rev-list --parents`.
    pub commits: Vec<String>,
    /// Refs in submodules hold what belongs to it.
    pub submodules: bool,
}

impl About {
    /// What is to be said of a bundle.
    pub fn new(parts: Vec<BundledPart>, commits: Vec<String>, submodules: bool) -> About {
        About { version: VERSION, parts, commits, submodules }
    }

    /// Reads it; what is wrong with it otherwise.
    pub fn parse(bytes: &[u8]) -> Result<About, String> {
        let about: About = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match about.version {
            VERSION => Ok(about),
            other => Err(format!("it has the form {other}, which a newer treehand reads")),
        }
    }

    /// The commits in it.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.commits.iter().filter_map(|line| line.split(' ').next())
    }
}

/// The directory of the bundle of what is saved below this prefix of refs; `None` for one that is no `FROM/STAMP`.
pub fn place(root: &Path, prefix: &str) -> Option<PathBuf> {
    let (from, stamp) = prefix.strip_prefix(SALVAGE_PREFIX)?.rsplit_once('/')?;
    stamped_at(stamp).map(|_| root.join(from.replace('/', "~")).join(stamp))
}

/// The prefix of refs that such a directory stands for, and its moment; `None` for one that is not of ours.
pub fn prefix(directory: &Path) -> Option<(String, Timestamp)> {
    let stamp = directory.file_name()?.to_str()?;
    let from = directory.parent()?.file_name()?.to_str()?.replace('~', "/");
    Some((format!("{SALVAGE_PREFIX}{from}/{stamp}"), stamped_at(stamp)?))
}

/// The ref to what the bundle in such a directory builds on.
pub fn base(directory: &Path) -> Option<String> {
    prefix(directory).map(|(prefix, _)| format!("{prefix}/{BASE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_than_the_most_goes_into_a_bundle() {
        let check = |bytes: u64, most: u64, expected: Holder| {
            assert_eq!(holder(bytes, ByteSize(most)), expected, "{bytes} of {most}");
        };
        check(0, 0, Holder::Refs);
        check(1, 0, Holder::Bundle);
        check(65_536, 65_536, Holder::Refs);
        check(65_537, 65_536, Holder::Bundle);
        check(u64::MAX, u64::MAX, Holder::Refs);
    }

    #[test]
    fn place_and_prefix_are_read_back_from_each_other() {
        let root = Path::new("/r/.git/treehand/salvage");
        let stamp = "1000-0123abcd";
        for from in ["w", "a/b", "0w253tzej6/t", "a/1000-0123abcd", "1000-0123abcd", "x.bundle", "tür/ß", "a-b_c"] {
            let refs = format!("{SALVAGE_PREFIX}{from}/{stamp}");
            let directory = place(root, &refs).expect("a place");
            assert_eq!(directory.parent().and_then(Path::parent), Some(root), "{from}");
            assert_eq!(base(&directory), Some(format!("{refs}/base")), "{from}");
            assert_eq!(prefix(&directory), Some((refs, Timestamp(1000))), "{from}");
        }
        assert_ne!(
            place(root, "refs/treehand/salvage/a/b/1-0123abcd"),
            place(root, "refs/treehand/salvage/a-b/1-0123abcd")
        );
        for other in ["refs/heads/w/1000-0123abcd", "refs/treehand/salvage/w/of-a-person", "refs/treehand/salvage/w"] {
            assert_eq!(place(root, other), None, "{other}");
        }
        assert_eq!(prefix(Path::new("/r/.git/treehand/salvage/w/somebodys")), None);
    }

    #[test]
    fn what_is_said_of_a_bundle_reads_back_and_a_newer_form_is_refused() {
        let commit = CommitId::parse(&"a".repeat(40)).expect("an id");
        let part = BundledPart { part: "worktree".into(), commit, subject: "s".into(), files: 2 };
        let line = format!("{} {}", "a".repeat(40), "b".repeat(40));
        let about = About::new(vec![part], vec![line], false);
        let mut json = serde_json::to_value(&about).expect("written");
        let read = |json: &serde_json::Value| About::parse(json.to_string().as_bytes());
        assert_eq!(read(&json), Ok(about.clone()));
        assert_eq!(about.ids().collect::<Vec<_>>(), ["a".repeat(40)]);
        json["version"] = 2.into();
        assert!(read(&json).is_err_and(|why| why.contains("newer")));
        assert!(About::parse(b"{").is_err());
    }
}
