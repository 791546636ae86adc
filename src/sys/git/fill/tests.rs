//! What is written is held against what git writes, in random repositories and with everything that a checkout can be about.
//!
//! The same bytes, modes and links; an index that git takes as its own, with the trees in it; nothing that git has to read again.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::model::CommitId;
use crate::sys::git::fixture::Place as Repo;

/// A worktree without files, and its part of the git dir.
pub(super) fn empty(place: &Repo, name: &str) -> (PathBuf, PathBuf) {
    let tree = place.root().join(".git").join(name);
    place.run(&["worktree", "add", "-q", "--no-checkout", "--detach", &tree.to_string_lossy()]);
    (tree, place.root().join(".git/worktrees").join(name))
}

/// Fills that with the files of HEAD.
pub(super) fn fill_into(repo: &Repo, (tree, admin): (&Path, &Path), called_off: &(dyn Fn() -> bool + Sync)) -> Fill {
    let git_dir = repo.root().join(".git");
    let git = |args: &[&str]| repo.git.within(tree, args);
    let place = Place { git_dir: &git_dir, admin, tree, git: &git, beside: None, by_git: Some(&BY_GIT), called_off };
    fill(&place, repo.git.version(), &repo.head()).expect("written")
}

fn filled(place: &Repo, name: &str) -> (PathBuf, Fill) {
    let (tree, admin) = empty(place, name);
    let filled = fill_into(place, (&tree, &admin), &|| false);
    (tree, filled)
}

/// Fills one, has git fill another, and holds them against each other.
fn same_as_git(place: &Repo, is_plain: bool) {
    let (ours, filled) = filled(place, "ours");
    assert_eq!(filled, Fill::Done { as_stored: is_plain });
    let theirs = place.root().join(".git/theirs");
    place.run(&["worktree", "add", "-q", "--detach", &theirs.to_string_lossy()]);
    assert_eq!(seen(&ours), seen(&theirs));
    let listed = ["ls-files", "--stage", "-z", "-v"];
    assert_eq!(place.run_in(&ours, &listed), place.run_in(&theirs, &listed));
    // Before git has looked at it once, it knows the trees, and of each file that it is as it was.
    let index = place.root().join(".git/worktrees/ours/index");
    let before = std::fs::read(&index).expect("read");
    assert!(before.windows(4).any(|four| four == b"TREE"));
    let written = index.metadata().expect("read").mtime();
    assert!(!is_plain || times(&ours).all(|time| time < written), "git would have to read what is as new as the index");
    for check in [&["diff-files", "--exit-code"][..], &["diff-index", "--exit-code", "--cached", "HEAD"]] {
        let output = place.git.within(&ours, check).output().expect("git works");
        assert_eq!((output.code(), output.stdout.is_empty()), (0, true), "{check:?}");
    }
    assert_eq!(place.run_in(&ours, &["status", "--porcelain", "--ignored"]), "");
    let tree = place.run(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!(place.run_in(&ours, &["write-tree"]), tree);
    assert_eq!(place.run_in(&ours, &["fsck", "--no-dangling", "--cache"]), "");
    place.run(&["worktree", "remove", "--force", &theirs.to_string_lossy()]);
    place.run(&["worktree", "remove", "--force", &ours.to_string_lossy()]);
}

/// When the files below a directory were changed, in seconds. (A link is read again in no time.)
fn times(tree: &Path) -> impl Iterator<Item = i64> {
    let entries = walkdir::WalkDir::new(tree).min_depth(1).into_iter().map(|entry| entry.expect("read"));
    let files =
        entries.filter(|entry| entry.file_type().is_file() && entry.path().file_name() != Some(".git".as_ref()));
    files.map(|entry| entry.metadata().expect("read").mtime())
}

/// Everything below a directory: mode, and content or target.
pub(super) fn seen(tree: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    use std::os::unix::ffi::OsStrExt;
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(tree).min_depth(1).follow_links(false) {
        let entry = entry.expect("read");
        let (path, meta) = (entry.path(), entry.metadata().expect("read"));
        let content = if meta.is_symlink() {
            std::fs::read_link(path).expect("read").as_os_str().as_bytes().to_vec()
        } else if meta.is_file() {
            std::fs::read(path).expect("read")
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(tree).expect("below").to_owned();
        // It leads somewhere else in each.
        if name != Path::new(".git") {
            found.insert(name, (meta.mode(), content));
        }
    }
    found
}

/// Two commits with these entries in one or both of them: files, links and directories in the place of each other, with names that sort
/// around slashes.
pub(super) fn two_of(repo: &Repo, entries: &[(u8, usize, usize, u8)]) -> [CommitId; 2] {
    // git knows that one without having it.
    repo.run(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    [0, 1].map(|side| {
        repo.run(&["read-tree", "--empty"]);
        for (_, path, mode, content) in entries.iter().filter(|(of, ..)| *of == side || *of == 2) {
            let path = ["a", "a/b", "a/b/c", "a-b", "d", "d/e", "a.b", "d/e/f/g", "d/e.f"][*path];
            let mode = ["100644", "100755", "120000"][*mode];
            let name = repo.root().join(".git/content");
            std::fs::write(&name, content.to_string()).expect("written");
            let id = repo.run(&["hash-object", "-w", &name.to_string_lossy()]);
            repo.run(&["update-index", "--add", "--replace", "--cacheinfo", &format!("{mode},{id},{path}")]);
        }
        let tree = repo.run(&["write-tree"]);
        CommitId::parse(&repo.run(&["commit-tree", "-m", "m", &tree])).expect("an id")
    })
}

#[test]
fn all_that_a_commit_can_hold_is_written_as_git_writes_it() {
    let place = Repo::new();
    place.write("plain", "text\n");
    place.write("empty", "");
    place.write("a/b/c/deep", "deep\n");
    place.write("a-b", "sorts between a and a/b\n");
    place.write("a.b/c", "too\n");
    place.write("näme with\ttab", b"\xff\xfe binary \0\n");
    place.write("run", "#!/bin/sh\n");
    place.write(&format!("{}/{}", "d".repeat(200), "f".repeat(250)), "long\n");
    place.write("big", vec![b'x'; 3 << 20]);
    place.write(".gitignore", "*.o\n");
    place.write(".gitattributes", "* text=auto\n*.png binary\n");
    place.write(".github/x", "x\n");
    let run = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.root().join("run"), run).expect("set");
    std::os::unix::fs::symlink("../plain", place.root().join("a/link")).expect("linked");
    std::os::unix::fs::symlink("nowhere/at all", place.root().join("dangling")).expect("linked");
    place.commit_all("c");
    let head = place.head();
    place.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub/module")]);
    place.run(&["commit", "-q", "-m", "a submodule"]);
    same_as_git(&place, true);
}

#[test]
fn what_is_large_is_left_to_git_and_nothing_else_is() {
    let place = Repo::new();
    place.write("large", vec![0; 65 << 20]);
    place.write("small", "small\n");
    place.commit_all("c");
    same_as_git(&place, false);
}

#[test]
fn a_file_in_the_place_of_another_with_its_time_is_seen_at_once() {
    let place = Repo::new();
    for (name, text) in [("a", "one\n"), ("b", "two\n"), ("d/c", "six\n")] {
        place.write(name, text);
    }
    place.commit_all("c");
    let (tree, _) = filled(&place, "copied");
    // As `cp -p a b` does it.
    for to in ["b", "d/c"] {
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(tree.join(to)).expect("opened");
        std::io::Write::write_all(&mut &file, b"one\n").expect("written");
        file.set_modified(tree.join("a").metadata().expect("read").modified().expect("known")).expect("set");
    }
    assert_eq!(place.run_in(&tree, &["diff-files", "--name-only"]), "b\nd/c");
}

#[test]
fn an_index_that_somebody_else_made_meanwhile_stays() {
    let place = Repo::new();
    place.write("x", "x\n");
    place.commit_all("c");
    let (tree, admin) = empty(&place, "busy");
    std::fs::write(admin.join("index"), "of another").expect("written");
    assert!(matches!(fill_into(&place, (&tree, &admin), &|| false), Fill::Git(_)));
    assert_eq!(std::fs::read(admin.join("index")).expect("read"), b"of another");
    assert!(!admin.join("index.filled").exists());
}

#[test]
fn what_is_called_off_ends_before_its_end() {
    let place = Repo::new();
    place.write("a/b/c", "deep\n");
    place.commit_all("c");
    let (tree, admin) = empty(&place, "off");
    let called_off = || tree.join("a").exists();
    assert!(fill_into(&place, (&tree, &admin), &called_off) == Fill::CalledOff);
    assert!(!tree.join("a/b/c").exists() && !admin.join("index").exists());
}

#[test]
fn an_empty_commit_is_an_empty_directory() {
    let place = Repo::new();
    place.commit_all("c");
    same_as_git(&place, true);
}

#[test]
fn what_attributes_change_is_written_by_git() {
    let place = Repo::new();
    place.run(&["config", "filter.up.clean", "tr A-Z a-z"]);
    place.run(&["config", "filter.up.smudge", "tr a-z A-Z"]);
    place.write(
        ".gitattributes",
        "*.up filter=up\n*.crlf text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n",
    );
    place.write("d/.gitattributes", "*.txt eol=crlf\n");
    for name in ["x.up", "x.crlf", "x.id", "d/x.txt", "x.txt", "d/e/y.txt"] {
        place.write(name, "abc $Id$\n");
    }
    place.write("x.u16", b"a\0b\0\n\0");
    place.commit_all("c");
    same_as_git(&place, false);
    let (tree, _) = filled(&place, "again");
    assert_eq!(std::fs::read(tree.join("x.up")).expect("read"), b"ABC $ID$\n");
    assert_eq!(std::fs::read(tree.join("d/e/y.txt")).expect("read"), b"abc $Id$\r\n");
}

#[test]
fn attributes_outside_the_tree_count() {
    let place = Repo::new();
    place.write("x.txt", "one\n");
    place.commit_all("c");
    place.write(".git/info/attributes", "*.txt eol=crlf\n");
    same_as_git(&place, false);
    std::fs::remove_file(place.root().join(".git/info/attributes")).expect("removed");
    let own = place.root().join(".git/own-attributes");
    place.write(".git/own-attributes", "*.txt eol=crlf\n");
    place.run(&["config", "core.attributesFile", &own.to_string_lossy()]);
    same_as_git(&place, false);
}

#[test]
fn what_git_alone_can_do_is_left_to_it() {
    let place = Repo::new();
    place.write("x.txt", "one\n");
    let first = place.commit_all("c");
    let refused = |name: &str| matches!(filled(&place, name).1, Fill::Git(_));
    for (at, (key, value)) in
        [("core.autocrlf", "true"), ("core.symlinks", "false"), ("core.sparseCheckout", "true")].into_iter().enumerate()
    {
        place.run(&["config", key, value]);
        assert!(refused(&format!("setting-{at}")), "{key}");
        place.run(&["config", "--unset", key]);
    }
    place.write("x.txt", "two\n");
    let second = place.commit_all("c");
    place.run(&["replace", second.as_str(), first.as_str()]);
    assert!(refused("replaced"));
    place.run(&["replace", "-d", second.as_str()]);
    assert!(!refused("plain"));
    // A tree that git itself would not make: it says what is wrong with it.
    let blob = place.run(&["rev-parse", "HEAD:x.txt"]);
    for (at, name) in [".GIT", "git~1", ".."].into_iter().enumerate() {
        let lines = format!("100644 blob {blob}\t{name}\n");
        let tree = place.git.within(place.root(), ["mktree"]).stdin(lines).text().expect("made");
        let made = place.run(&["commit-tree", "-m", "bad", &tree]);
        place.run(&["update-ref", "HEAD", &made]);
        let (tree, filled) = filled(&place, &format!("bad-{at}"));
        assert!(matches!(filled, Fill::Git(_)), "{name}");
        assert_eq!(seen(&tree), BTreeMap::new(), "{name}");
    }
}

#[test]
fn what_is_there_already_is_not_written_over() {
    let place = Repo::new();
    place.write("d/x", "ours\n");
    place.commit_all("c");
    let (tree, admin) = empty(&place, "taken");
    std::os::unix::fs::symlink(place.root(), tree.join("d")).expect("linked");
    assert!(matches!(fill_into(&place, (&tree, &admin), &|| false), Fill::Git(_)));
    assert!(!place.root().join("x").exists() && !admin.join("index").exists());
}

#[test]
fn an_object_that_is_missing_is_for_git_to_tell() {
    let place = Repo::new();
    place.write("x", "here\n");
    place.commit_all("c");
    let blob = place.run(&["rev-parse", "HEAD:x"]);
    let (start, rest) = blob.split_at(2);
    std::fs::remove_file(place.root().join(".git/objects").join(start).join(rest)).expect("removed");
    assert!(matches!(filled(&place, "missing").1, Fill::Git(_)));
}

#[test]
fn an_edit_in_the_second_of_the_checkout_is_seen() {
    let place = Repo::new();
    place.write("x", "one\n");
    place.commit_all("c");
    let (tree, filled) = filled(&place, "edited");
    assert_eq!(filled, Fill::Done { as_stored: true });
    std::fs::write(tree.join("x"), "two\n").expect("written");
    assert_eq!(place.run_in(&tree, &["status", "--porcelain"]).trim(), "M x");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Names that sort around slashes, directories in directories, links and modes.
    #[test]
    fn random_trees_are_written_as_git_writes_them(
        files in prop::collection::vec(("[a.0-]{1,2}(/[a.0-]{1,2}){0,3}", 0..4_u8, 0..40_usize), 0..30),
    ) {
        let place = Repo::new();
        for (path, kind, size) in files {
            let full = place.root().join(&path);
            let odd = path.split('/').any(|part| part == "." || part == "..");
            let parent = full.parent().expect("a parent");
            // What is in the place of another is left out.
            if odd || full.symlink_metadata().is_ok() || std::fs::create_dir_all(parent).is_err() {
                continue;
            }
            match kind {
                0 => std::os::unix::fs::symlink("t".repeat(size + 1), &full).expect("linked"),
                kind => {
                    place.write(&path, "line\n".repeat(size));
                    let mode = if kind == 1 { 0o755 } else { 0o644 };
                    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).expect("set");
                }
            }
        }
        place.commit_all("c");
        same_as_git(&place, true);
    }
}
