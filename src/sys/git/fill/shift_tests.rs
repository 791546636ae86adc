//! What is moved from one commit to another is held against what git checks out there, in random repositories; and what
//! is not as it was is told.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::tests::{empty, fill_into, seen, two_of};
use super::*;
use crate::model::CommitId;
use crate::sys::git::fixture::Place as Repo;

/// A tree of files with its index, as a commit has them, that git knows nothing of.
struct Spare<'a> {
    repo: &'a Repo,
    tree: PathBuf,
    admin: PathBuf,
}

impl<'a> Spare<'a> {
    fn new(repo: &'a Repo, name: &str) -> Spare<'a> {
        let (tree, admin) = empty(repo, name);
        assert_eq!(fill_into(repo, (&tree, &admin), &|| false), Fill::Done { as_stored: true });
        Spare { repo, tree, admin }
    }

    fn place<'p>(
        &'p self,
        git_dir: &'p Path,
        git: &'p (dyn Fn(&[&str]) -> crate::sys::git::GitCommand + Sync),
    ) -> Place<'p> {
        Place {
            git_dir,
            admin: &self.admin,
            tree: &self.tree,
            git,
            beside: None,
            by_git: Some(&BY_GIT),
            called_off: &|| false,
        }
    }

    fn shift(&self, from: &CommitId, to: &CommitId) -> Shifted {
        let git_dir = self.repo.root().join(".git");
        let git = |args: &[&str]| self.repo.git.within(&self.tree, args);
        let way = Way { from, to, also: None, most: 1000 };
        shift(&self.place(&git_dir, &git), &way).expect("moved")
    }

    /// What is wrong with it; where it leads is no file of its own.
    fn verify(&self) -> Option<String> {
        let (link, aside) = (self.tree.join(".git"), self.admin.join("link"));
        std::fs::rename(&link, &aside).expect("moved");
        let verified = verify(&self.tree, &self.admin.join("index")).expect("looked");
        std::fs::rename(&aside, &link).expect("moved");
        match verified {
            Looked::Whole { .. } => None,
            Looked::Odd(what) => Some(what),
        }
    }
}

/// Moves from one commit to the other and holds it against what git has there.
fn same_as_git(repo: &Repo, from: &CommitId, to: &CommitId) {
    repo.run(&["update-ref", "--no-deref", "HEAD", from.as_str()]);
    let spare = Spare::new(repo, "spare");
    assert_eq!(spare.verify(), None);
    assert_eq!(spare.shift(from, to), Shifted::Done);
    assert_eq!(spare.verify(), None);
    // Where it is said to be.
    std::fs::write(spare.admin.join("HEAD"), format!("{to}\n")).expect("written");
    let theirs = repo.root().join(".git/theirs");
    repo.run(&["worktree", "add", "-q", "--detach", &theirs.to_string_lossy(), to.as_str()]);
    assert_eq!(seen(&spare.tree), seen(&theirs));
    let listed = ["ls-files", "--stage", "-z", "-v"];
    assert_eq!(repo.run_in(&spare.tree, &listed), repo.run_in(&theirs, &listed));
    let output = repo.git.within(&spare.tree, ["diff-files", "--exit-code"]).output().expect("git works");
    assert_eq!((output.code(), output.stdout.is_empty()), (0, true));
    assert_eq!(repo.run_in(&spare.tree, &["status", "--porcelain", "--ignored"]), "");
    assert_eq!(repo.run_in(&spare.tree, &["write-tree"]), repo.run(&["rev-parse", &format!("{to}^{{tree}}")]));
    assert_eq!(repo.run_in(&spare.tree, &["fsck", "--no-dangling", "--cache"]), "");
    for tree in [&theirs, &spare.tree] {
        repo.run(&["worktree", "remove", "--force", &tree.to_string_lossy()]);
    }
}

#[test]
fn everything_can_become_everything_else() {
    let repo = Repo::new();
    for (path, text) in
        [("same", "same\n"), ("a/b/c", "c\n"), ("a/d", "d\n"), ("file", "f\n"), ("run", "r\n"), ("g/h", "h\n")]
    {
        repo.write(path, text);
    }
    std::os::unix::fs::symlink("a/b", repo.root().join("link")).expect("linked");
    let one = repo.commit_all("one");
    repo.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{one},module")]);
    repo.run(&["commit", "-q", "-m", "one"]);
    let one = repo.head();
    repo.run(&["rm", "-q", "-r", "-f", "--cached", "."]);
    for path in ["a", "g"] {
        crate::sys::fs::remove_tree(&repo.root().join(path)).expect("removed");
    }
    for path in ["file", "link", "run"] {
        std::fs::remove_file(repo.root().join(path)).expect("removed");
    }
    // A directory that is a file now, a file and a link that are directories, a submodule that is a file.
    for (path, text) in [("a", "a\n"), ("file/x/y", "y\n"), ("link/z", "z\n"), ("run", "other\n"), ("module", "m\n")] {
        repo.write(path, text);
    }
    std::os::unix::fs::symlink("a", repo.root().join("g")).expect("linked");
    let two = repo.commit_all("two");
    same_as_git(&repo, &one, &two);
    same_as_git(&repo, &two, &one);
    same_as_git(&repo, &one, &one);
}

#[test]
fn what_is_not_as_it_was_is_not_touched() {
    let repo = Repo::new();
    for path in ["d/a", "d/b", "d/e/f", "c"] {
        repo.write(path, "one\n");
    }
    let one = repo.commit_all("one");
    repo.write("d/a", "two\n");
    repo.write("d/b", "two\n");
    let two = repo.commit_all("two");
    repo.run(&["checkout", "-q", "--detach", one.as_str()]);
    let spare = Spare::new(&repo, "changed");
    std::fs::write(spare.tree.join("d/b"), "mine\n").expect("written");
    assert_eq!(spare.shift(&one, &two), Shifted::NotBegun("d/b is not as it was".into()));
    assert_eq!(std::fs::read(spare.tree.join("d/a")).expect("read"), b"one\n");
    let spare = Spare::new(&repo, "in-the-way");
    let add = repo.root().join(".git/in-the-way/d/e/new");
    std::fs::write(&add, "untracked\n").expect("written");
    repo.write("d/e/new", "tracked\n");
    let three = repo.commit_all("three");
    assert!(matches!(spare.shift(&one, &three), Shifted::Spoiled(_)));
    assert_eq!(std::fs::read(&add).expect("read"), b"untracked\n");
}

#[test]
fn what_shift_does_not_do_is_told_before_it_begins() {
    let repo = Repo::new();
    repo.write("a", "a\n");
    let one = repo.commit_all("one");
    repo.write(".gitattributes", "* eol=crlf\n");
    let two = repo.commit_all("two");
    repo.run(&["rm", "-q", ".gitattributes"]);
    (0..1001).for_each(|number| repo.write(&format!("many/{number}"), "x\n"));
    let three = repo.commit_all("three");
    repo.run(&["checkout", "-q", "--detach", one.as_str()]);
    let spare = Spare::new(&repo, "spare");
    for to in [&two, &three] {
        assert!(matches!(spare.shift(&one, to), Shifted::NotBegun(_)));
        assert_eq!(spare.verify(), None);
    }
    let nowhere = CommitId::parse(&"1".repeat(40)).expect("an id");
    assert!(matches!(spare.shift(&nowhere, &one), Shifted::NotBegun(_)));
    // An index with a flag, with a conflict, cut off, and none.
    let index = spare.admin.join("index");
    repo.run_in(&spare.tree, &["update-index", "--assume-unchanged", "a"]);
    assert!(spare.verify().is_some());
    assert!(matches!(spare.shift(&two, &one), Shifted::NotBegun(_)));
    let whole = std::fs::read(&index).expect("read");
    std::fs::write(&index, &whole[..whole.len() - 1]).expect("written");
    assert!(spare.verify().is_some());
}

#[test]
fn whatever_was_done_to_a_tree_is_seen() {
    let repo = Repo::new();
    for path in ["d/a", "d/e/f", "c"] {
        repo.write(path, "one\n");
    }
    let head = repo.commit_all("one");
    repo.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub")]);
    repo.run(&["commit", "-q", "-m", "a submodule"]);
    let seen = |number: usize, act: &dyn Fn(&Path)| {
        let spare = Spare::new(&repo, &format!("spare-{number}"));
        assert_eq!(spare.verify(), None);
        act(&spare.tree);
        assert!(spare.verify().is_some(), "{number}");
    };
    let write = |tree: &Path, path: &str| std::fs::write(tree.join(path), "two\n").expect("written");
    seen(0, &|tree| write(tree, "d/e/f"));
    seen(1, &|tree| write(tree, "d/new"));
    seen(2, &|tree| write(tree, "new"));
    seen(3, &|tree| write(tree, "sub/new"));
    seen(4, &|tree| std::fs::remove_file(tree.join("d/a")).expect("removed"));
    seen(5, &|tree| crate::sys::fs::remove_tree(&tree.join("d/e")).expect("removed"));
    seen(6, &|tree| std::fs::create_dir(tree.join("d/empty")).expect("made"));
    seen(7, &|tree| std::fs::remove_dir(tree.join("sub")).expect("removed"));
    seen(8, &|tree| {
        std::fs::rename(tree.join("d/a"), tree.join("d/b")).expect("moved");
    });
    seen(9, &|tree| {
        // The same content with the time that it had, in its place.
        let file = tree.join("c");
        let time = file.metadata().expect("read").modified().expect("known");
        std::fs::rename(&file, tree.join("aside")).expect("moved");
        write(tree, "c");
        std::fs::File::open(&file).expect("opened").set_modified(time).expect("set");
        std::fs::remove_file(tree.join("aside")).expect("removed");
    });
    seen(10, &|tree| {
        std::fs::rename(tree.join("d"), tree.join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink("elsewhere", tree.join("d")).expect("linked");
    });
    use std::os::unix::fs::PermissionsExt;
    seen(11, &|tree| {
        std::fs::set_permissions(tree.join("c"), std::fs::Permissions::from_mode(0o755)).expect("set");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Files, links and directories in the place of each other, with names that sort around slashes.
    #[test]
    fn random_trees_become_each_other_as_git_does_it(
        entries in prop::collection::vec((0..3_u8, 0..9_usize, 0..3_usize, 0..3_u8), 0..30),
    ) {
        let repo = Repo::new();
        let commits = two_of(&repo, &entries);
        same_as_git(&repo, &commits[0], &commits[1]);
    }
}
