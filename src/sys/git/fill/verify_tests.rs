//! What is called untouched is held against what git says and what a walk finds, after whatever people do in a worktree.
//! To call touched what is not costs time and is no fault; the other way round is one.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::tests::{empty, fill_into};
use super::*;
use crate::sys::git::fixture::Place as Repo;
use crate::sys::walk::{Sizes, walk};

/// A worktree with files, links and directories, as its commit has them.
struct Desk {
    repo: Repo,
    tree: PathBuf,
    admin: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let repo = Repo::new();
        for path in ["a", "b", "d/a", "d/e/a", "d/e.f", "z/y/x"] {
            repo.write(path, "text\n");
        }
        repo.write(".gitignore", "*.o\nbuilt\n");
        symlink("a", repo.root().join("link")).expect("linked");
        symlink("nowhere", repo.root().join("d/link")).expect("linked");
        std::fs::set_permissions(repo.root().join("b"), Permissions::from_mode(0o755)).expect("set");
        repo.commit_all("c");
        let (tree, admin) = empty(&repo, "desk");
        assert_eq!(fill_into(&repo, (&tree, &admin), &|| false), Fill::Done { as_stored: true });
        Desk { repo, tree, admin }
    }

    fn git(&self, args: &[&str]) -> String {
        self.repo.run_in(&self.tree, args)
    }

    /// The same where git may refuse: it adds no repository that has no commit, which another act may have left.
    fn add(&self, args: &[&str]) {
        drop(self.repo.git.within(&self.tree, ["add"]).args(args).output().expect("git starts"));
    }

    fn untouched(&self, sizes: Sizes) -> Option<u64> {
        let tree = self.git(&["rev-parse", "HEAD^{tree}"]);
        untouched(&self.tree, &self.admin.join("index"), &tree, sizes).expect("looked")
    }

    fn is_clean_to_all(&self) -> bool {
        let said = self.git(&["status", "--porcelain", "--ignored", "--untracked-files=all"]);
        said.is_empty() && walk(&self.tree, Sizes::Left).repositories.is_empty()
    }

    fn write(&self, path: &str, text: &str) {
        // What a link or a file is in the place of is none any more.
        if let Some(around) = self.tree.join(path).parent() {
            drop(std::fs::create_dir_all(around));
        }
        drop(std::fs::write(self.tree.join(path), text));
    }

    fn act(&self, number: usize) {
        let at = |path: &str| self.tree.join(path);
        let time = |path: &Path| path.symlink_metadata().ok().and_then(|meta| meta.modified().ok());
        match number {
            0 => self.write("a", "longer text\n"),
            1 => self.write("d/a", "next\n"),
            2 => {
                // The same size and time.
                let before = time(&at("d/e/a"));
                self.write("d/e/a", "TEXT\n");
                let file = File::options().append(true).open(at("d/e/a"));
                file.ok().zip(before).map_or(Ok(()), |(file, time)| file.set_modified(time)).expect("set");
            }
            3 => drop(std::fs::remove_file(at("z/y/x"))),
            4 => drop(std::fs::set_permissions(at("b"), Permissions::from_mode(0o644))),
            5 => self.write("new", "x"),
            6 => self.write("d/e/x.o", "x"),
            7 => self.write("built/of/it", "x"),
            8 => drop(std::fs::create_dir_all(at("empty/one"))),
            9 => drop(std::fs::remove_file(at("link")).and_then(|()| symlink("b", at("link")))),
            10 => drop(std::fs::rename(at("a"), at("d/moved"))),
            11 => drop(std::fs::rename(at("z"), at("y"))),
            12 => drop(std::fs::remove_file(at("d/e.f")).and_then(|()| std::fs::create_dir(at("d/e.f")))),
            13 => drop(self.git(&["init", "-q", "d/nested"])),
            14 => drop(self.git(&["init", "-q", "built/nested"])),
            15 => {
                self.write("a", "staged\n");
                self.add(&["--all"]);
            }
            16 => drop(self.git(&["rm", "-q", "--cached", "--ignore-unmatch", "b"])),
            17 => drop(self.git(&["update-index", "--assume-unchanged", "--", ".gitignore"])),
            18 => self.add(&["-N", "."]),
            19 => {
                self.add(&["--all"]);
                self.git(&["commit", "-q", "--allow-empty", "-m", "more"]);
            }
            20 => drop(self.git(&["commit", "-q", "--allow-empty", "-m", "same"])),
            21 => drop(self.git(&["update-ref", "--no-deref", "HEAD", "HEAD"])),
            23 => {
                // A mode that only the index was told, and that is committed.
                self.git(&["update-index", "--chmod=+x", "--", "d/a"]);
                self.git(&["commit", "-q", "--allow-empty", "-m", "mode"]);
            }
            24 => {
                drop(std::fs::set_permissions(at("d/a"), Permissions::from_mode(0o755)));
                self.git(&["-c", "core.fileMode=false", "update-index", "-q", "--refresh"]);
            }
            22 => drop(std::fs::rename(at("z"), at("w")).and_then(|()| symlink("w", at("z")))),
            _ => drop(self.git(&["update-index", "-q", "--refresh"]).len()),
        }
    }
}

#[test]
fn what_nobody_touched_is_untouched_and_its_bytes_are_those_of_a_walk() {
    let desk = Desk::new();
    assert!(desk.is_clean_to_all());
    assert_eq!(desk.untouched(Sizes::Left), Some(0));
    assert_eq!(desk.untouched(Sizes::Counted), Some(walk(&desk.tree, Sizes::Counted).bytes));
}

#[test]
fn whatever_is_done_is_seen() {
    for act in 0..25 {
        let desk = Desk::new();
        desk.act(act);
        let harmless = [19, 20, 21].contains(&act);
        assert_eq!(desk.untouched(Sizes::Left).is_some(), harmless, "{act}");
    }
}

#[test]
fn what_is_as_new_as_the_index_is_not_believed() {
    let desk = Desk::new();
    let index = desk.admin.join("index");
    let now = index.metadata().expect("read").modified().expect("known");
    let file = desk.tree.join("a");
    File::options().append(true).open(&file).expect("opened").set_modified(now).expect("set");
    desk.git(&["update-index", "-q", "--refresh"]);
    File::options().append(true).open(&index).expect("opened").set_modified(now).expect("set");
    assert!(desk.is_clean_to_all());
    assert_eq!(desk.untouched(Sizes::Left), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_untouched_is_clean_to_git_and_holds_no_repository(acts in prop::collection::vec(0..26_usize, 0..4)) {
        let desk = Desk::new();
        acts.iter().for_each(|act| desk.act(*act));
        if desk.untouched(Sizes::Left).is_some() {
            prop_assert!(desk.is_clean_to_all(), "{acts:?}");
        }
    }
}

#[test]
fn an_index_is_the_tree_of_head_only_where_git_finds_nothing_else_in_it() {
    let desk = Desk::new();
    let says = || tree_of(&desk.admin.join("index")).expect("readable");
    let head = desk.git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!(says(), Some(head.clone()));
    desk.write("a", "staged\n");
    desk.git(&["add", "a"]);
    assert_ne!(says(), Some(head.clone()));
    desk.git(&["reset", "-q", "--hard"]);
    desk.git(&["update-index", "--assume-unchanged", "a"]);
    assert_eq!(says(), None, "a flag");
    desk.git(&["update-index", "--no-assume-unchanged", "a"]);
    // Both sides of a conflict that was resolved are remembered, also where it came to what was there before.
    let side =
        desk.repo.git.within(&desk.tree, ["hash-object", "-w", "--stdin"]).stdin("side\n").text().expect("written");
    let sides = format!("100644 {side} 1\ta\n100644 {side} 2\ta\n100644 {side} 3\ta\n");
    let staged = desk
        .repo
        .git
        .within(&desk.tree, ["update-index", "--index-info"])
        .stdin(format!("0 {} 0\ta\n{sides}", "0".repeat(40)));
    staged.run().expect("staged");
    assert_eq!(says(), None, "a conflict");
    desk.git(&["add", "a"]);
    desk.git(&["write-tree"]);
    assert_eq!(desk.git(&["diff-index", "--cached", "HEAD"]), "");
    assert!(!desk.git(&["ls-files", "--resolve-undo"]).is_empty(), "git remembers the sides");
    assert_eq!(says(), None, "what is remembered of a conflict");
}
