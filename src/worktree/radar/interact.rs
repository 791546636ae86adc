//! Decision file: which sides, changed from one and the same base, a merge could find anything at all between.
//!
//! A pair that is not named merges clean, whatever git's settings; one that is named has to be merged to know. That follows from
//! how git's `merge-ort` works (`merge-ort.c`):
//!
//! - `collect_merge_info_callback` goes through base and sides at once. A file that only one side has changed is resolved to that
//!   side's version; nothing of it is looked at again unless renames have to do with it.
//! - A rename is found among what one side removed and added. `add_pair` has a source count (`relevant_sources`) only where the other
//!   side changed that very file, or where the directory is one for which it asks below; without one that counts on either
//!   side, `possible_side_renames` leaves all of renames out. A renamed file is a removed and an added one here, so that the
//!   first is a path that both changed.
//! - A directory counts as renamed only when it is gone altogether on that side (`dirs_removed`), and is asked for only when the
//!   other side has added a file in it (`dir_rename_mask` in `collect_rename_info`), at any depth. The answer may be a file that
//!   moves along, a conflict over its place, or one over where the directory went.
//! - A file and a directory are in each other's way (`df_conflict`) where one side has changed a path and the other a path
//!   below that.
//!
//! Attributes matter only where contents are merged, thus only for a path that both changed. A side that changes them is named with every other all the
//! same: which attributes count is more than a reader should have to follow.

use std::collections::{BTreeSet, HashMap};

/// What one side has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    files: BTreeSet<Vec<u8>>,
    removed: BTreeSet<Vec<u8>>,
    attributes: bool,
    unknown: bool,
}

/// git's mode of a directory, and of what is not there.
const DIRECTORY: &[u8] = b"040000";
const ABSENT: &[u8] = b"000000";

impl Changed {
    /// What is not known: there may be something between it and any other.
    pub fn unknown() -> Changed {
        Changed { unknown: true, ..Changed::default() }
    }

    /// True when it is known to be nothing.
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty() && !self.unknown
    }

    /// True when it may have changed attributes.
    pub fn may_have_other_attributes(&self) -> bool {
        self.attributes || self.unknown
    }

    /// Takes in one change: the modes before and after, and the path, without renames and with directories (`diff-tree -r -t`).
    pub fn add(&mut self, before: &[u8], after: &[u8], path: &[u8]) {
        match (before, after) {
            (DIRECTORY, ABSENT) => drop(self.removed.insert(path.to_owned())),
            (DIRECTORY, _) | (_, DIRECTORY) => {}
            _ => {
                self.attributes |= path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
                self.files.insert(path.to_owned());
            }
        }
    }
}

/// The pairs that have to be merged, by their places, the smaller first.
pub fn interacting(sides: &[&Changed]) -> BTreeSet<(usize, usize)> {
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, side) in sides.iter().enumerate() {
        for place in side.files.iter().chain(&side.removed) {
            places.entry(place).or_default().push(at);
        }
    }
    let mut found = BTreeSet::new();
    for (at, side) in sides.iter().enumerate() {
        let touched = side.files.iter().flat_map(|path| self_and_above(path));
        let others = touched.filter_map(|place| places.get(place)).flatten().copied();
        let everybody = 0..if side.may_have_other_attributes() { sides.len() } else { 0 };
        found.extend(others.chain(everybody).filter(|other| *other != at).map(|other| (at.min(other), at.max(other))));
    }
    found
}

/// A path, and each directory that it is in.
fn self_and_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    ends.chain([path.len()]).filter_map(|end| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+path` is added, `-path` removed, `path` changed; what ends in `/` is a directory.
    fn side(changes: &str) -> Changed {
        let mut changed = Changed::default();
        for change in changes.split_whitespace() {
            let (path, kind) = match change.strip_suffix('/') {
                Some(path) => (path, DIRECTORY),
                None => (change, b"100644".as_slice()),
            };
            match path.split_at(1) {
                ("+", path) => changed.add(ABSENT, kind, path.as_bytes()),
                ("-", path) => changed.add(kind, ABSENT, path.as_bytes()),
                _ => changed.add(kind, kind, path.as_bytes()),
            }
        }
        changed
    }

    #[test]
    fn what_a_merge_may_find_something_between() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other) = (side(one), side(other));
            assert_eq!(!interacting(&[&one, &other]).is_empty(), expected, "{one:?} {other:?}");
            assert_eq!(!interacting(&[&other, &one]).is_empty(), expected, "{other:?} {one:?}");
        };
        check("a", "b", false);
        check("a", "a", true);
        check("d/a d/", "d/b d/", false);
        // A rename on one side, an edit, a removal or another rename of the same file on the other.
        check("-a +b", "a", true);
        check("-a +b", "-a", true);
        check("-a +b", "-a +c", true);
        check("-a +b", "c", false);
        check("-a +b", "-c +b", true);
        // A file where the other has a directory.
        check("+d", "+d/x", true);
        check("+d", "+d/e/x", true);
        check("+d", "+dx/x", false);
        check("-d/ -d/y +d", "d/y", true);
        check("-d/ -d/y +d", "+d/z", true);
        // A directory that is gone, and a file that is new in it, or in one in it; one of which something is left.
        check("-d/ -d/y +e/y", "+d/z", true);
        check("-d/ -d/y +e/y", "+d/f/ +d/f/z", true);
        check("d/ -d/y +e/y", "+d/z", false);
        check("-d/ -d/y +e/y", "-f/ -f/x +d/x", true);
        check("-d/ -d/y +e/y", "+e/z", false);
        check("-d/e/ -d/e/y +y", "+d/z", false);
        assert!(!interacting(&[&side("a"), &Changed::unknown()]).is_empty());
        // Attributes.
        check("+d/.gitattributes", "b", true);
        check("+d/x.gitattributes", "b", false);
        check("", "+d/.gitattributes", true);
    }

    #[test]
    fn many_sides_are_told_what_each_two_are() {
        let texts = ["a", "a b", "-d/ -d/y +e/y", "+d/z", "+e/z", "+b/x", ".gitattributes", "c", "c"];
        let sides: Vec<Changed> = texts.iter().map(|text| side(text)).collect();
        let found = interacting(&sides.iter().collect::<Vec<_>>());
        for one in 0..sides.len() {
            for other in one + 1..sides.len() {
                let alone = !interacting(&[&sides[one], &sides[other]]).is_empty();
                assert_eq!(found.contains(&(one, other)), alone, "{} and {}", texts[one], texts[other]);
            }
        }
    }
}
