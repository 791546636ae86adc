//! Decision file: which local changes stand in the way when a checked-out branch moves.
//!
//! A path is in the way when it changes between the two commits and is also changed locally, or when something that git
//! does not track (ignored or not) lies where the new commit wants to write. A file is replaced by a new one, so that it
//! is its directory that must be writable.

use std::collections::BTreeSet;

use super::folding::fold;
use super::result_policy::{GITLINK, RawChange};

/// What lies at a place in the worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Nothing,
    /// A file or a link.
    File,
    /// A directory with these files beneath it, as full paths.
    Directory(Vec<Vec<u8>>),
}

impl Present {
    fn holds_files(&self) -> bool {
        matches!(self, Present::Directory(files) if !files.is_empty())
    }
}

/// The paths in the way, sorted; empty means that the move touches nothing of the user's. Where names fold, a file that the
/// move takes away under another spelling is none.
pub fn in_the_way(
    changes: &[RawChange],
    locally_changed: &BTreeSet<Vec<u8>>,
    folds: bool,
    mut present: impl FnMut(&[u8]) -> Present,
) -> Vec<Vec<u8>> {
    let name = |path: &[u8]| if folds { fold(path) } else { path.to_vec() };
    let moving: BTreeSet<Vec<u8>> = changes.iter().map(|change| name(&change.path)).collect();
    let leaving: BTreeSet<Vec<u8>> =
        changes.iter().filter(|change| folds && change.is_removal()).map(|change| name(&change.path)).collect();
    let mut blocked = BTreeSet::new();
    for change in changes {
        if locally_changed.contains(&change.path) {
            blocked.insert(change.path.clone());
        }
        if is_replaced(change, changes) && present(&change.path).holds_files() {
            blocked.insert(change.path.clone());
        }
        if !change.is_new() {
            continue;
        }
        match present(&change.path) {
            Present::Nothing => {}
            // A submodule that was taken out and comes in again: git leaves such a directory as it is.
            Present::Directory(files) if change.new_mode == GITLINK && files.contains(&git_of(&change.path)) => {}
            Present::File if leaving.contains(&name(&change.path)) => {}
            Present::File => {
                blocked.insert(change.path.clone());
            }
            Present::Directory(files) => {
                blocked.extend(files.into_iter().filter(|file| !moving.contains(&name(file))));
            }
        }
        // A file where the new path needs a directory is fine only when the same move takes it away.
        for parent in parents(&change.path) {
            if present(parent) == Present::File && !moving.contains(&name(parent)) {
                blocked.insert(parent.to_vec());
            }
        }
    }
    blocked.into_iter().collect()
}

/// The directories in which the move makes, replaces or removes something.
pub fn directories(changes: &[RawChange]) -> BTreeSet<&[u8]> {
    // A submodule's own worktree stays where it stands.
    let touches = |change: &&RawChange| change.old_mode != GITLINK || change.new_mode != GITLINK;
    let directory = |change: &RawChange| change.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    changes.iter().filter(touches).map(|change| &change.path[..directory(change)]).collect()
}

/// True for a submodule that gives way to something else. git would take its whole worktree away, whatever is in it.
fn is_replaced(change: &RawChange, changes: &[RawChange]) -> bool {
    let below = |other: &RawChange| {
        other.is_new() && other.path.strip_prefix(&change.path[..]).is_some_and(|rest| rest.starts_with(b"/"))
    };
    let leaves = change.old_mode == GITLINK && change.new_mode != GITLINK;
    leaves && (!change.is_removal() || changes.iter().any(below))
}

/// What makes a directory a repository.
fn git_of(path: &[u8]) -> Vec<u8> {
    [path, b"/.git"].concat()
}

fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old_mode: &str, new_mode: &str, path: &str) -> RawChange {
        RawChange { old_mode: old_mode.into(), new_mode: new_mode.into(), id: String::new(), path: path.into() }
    }

    fn check(changes: &[RawChange], local: &[&str], files: &[&str], expected: &[&str]) {
        let local = local.iter().map(|path| path.as_bytes().to_vec()).collect();
        let present = |path: &[u8]| {
            let path = String::from_utf8_lossy(path).into_owned();
            let below: Vec<Vec<u8>> =
                files.iter().filter(|f| f.starts_with(&format!("{path}/"))).map(|f| f.as_bytes().to_vec()).collect();
            match (files.contains(&path.as_str()), below.is_empty()) {
                (true, _) => Present::File,
                (_, false) => Present::Directory(below),
                _ => Present::Nothing,
            }
        };
        let blocked: Vec<String> = in_the_way(changes, &local, false, present)
            .into_iter()
            .map(|path| String::from_utf8_lossy(&path).into_owned())
            .collect();
        assert_eq!(blocked, expected);
    }

    #[test]
    fn what_is_in_the_way() {
        let (edit, add, gone) =
            (change("100644", "100644", "a"), change("000000", "100644", "d/n"), change("100644", "000000", "d"));
        check(std::slice::from_ref(&edit), &["b"], &["a", "b"], &[]);
        check(std::slice::from_ref(&edit), &["a"], &["a"], &["a"]);
        check(std::slice::from_ref(&add), &[], &["d/n"], &["d/n"]);
        check(std::slice::from_ref(&add), &[], &["d/other"], &[]);
        check(std::slice::from_ref(&add), &[], &["d"], &["d"]);
        check(&[gone, add], &[], &["d"], &[]);
    }

    #[test]
    fn directories_are_named_once() {
        let changes = [("100644", "100644", "a"), ("000000", "100644", "d/e/n"), ("100644", "000000", "d/e/g")];
        let submodule = change(GITLINK, GITLINK, "mod/s");
        let changes: Vec<_> =
            changes.iter().map(|(old, new, path)| change(old, new, path)).chain([submodule]).collect();
        assert_eq!(directories(&changes), BTreeSet::from([&b""[..], b"d/e"]));
    }

    #[test]
    fn a_submodule_with_files_gives_way_to_nothing_and_may_come_back() {
        let (gone, comes) = (change(GITLINK, "000000", "d"), change("000000", GITLINK, "d"));
        let (linked, below) = (change(GITLINK, "120000", "d"), change("000000", "100644", "d/n"));
        let files = ["d/.git", "d/a"];
        check(std::slice::from_ref(&gone), &[], &files, &[]);
        check(std::slice::from_ref(&linked), &[], &files, &["d"]);
        check(std::slice::from_ref(&linked), &[], &[], &[]);
        check(&[gone, below], &[], &files, &["d"]);
        check(std::slice::from_ref(&comes), &[], &files, &[]);
        check(&[comes], &[], &["d/a"], &["d/a"]);
    }

    #[test]
    fn a_change_of_case_alone_is_not_in_its_own_way() {
        let changes = [change("100644", "000000", "a"), change("000000", "100644", "A")];
        let there = |_: &[u8]| Present::File;
        assert_eq!(in_the_way(&changes, &BTreeSet::new(), true, there), Vec::<Vec<u8>>::new());
        assert_eq!(in_the_way(&changes, &BTreeSet::new(), false, there), [b"A".to_vec()]);
        assert_eq!(in_the_way(&changes[1..], &BTreeSet::new(), true, there), [b"A".to_vec()]);
    }

    #[test]
    fn a_directory_in_the_way_names_what_is_untracked_in_it() {
        let to_file = change("000000", "100644", "d");
        let gone = change("100644", "000000", "d/tracked");
        check(&[to_file, gone], &[], &["d/tracked", "d/ignored"], &["d/ignored"]);
    }
}
