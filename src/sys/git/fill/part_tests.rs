//! A worktree that git moves with a part of its index is held against what git makes of all of it, in random repositories; and whatever
//! is a person's in it is never touched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::tests::{empty, fill_into, seen, two_of};
use super::*;
use crate::model::CommitId;
use crate::sys::git::fixture::Place as Repo;

/// A worktree in which somebody works, whose files are older than its index.
struct Desk<'a> {
    repo: &'a Repo,
    tree: PathBuf,
    admin: PathBuf,
    scratch: tempfile::TempDir,
}

impl<'a> Desk<'a> {
    fn at(repo: &'a Repo, name: &str, commit: &CommitId) -> Desk<'a> {
        repo.run(&["update-ref", "--no-deref", "HEAD", commit.as_str()]);
        let (tree, admin) = empty(repo, name);
        let filled = fill_into(repo, (&tree, &admin), &|| false);
        assert!(matches!(filled, Fill::Done { .. }), "{filled:?}");
        Desk { repo, tree, admin, scratch: tempfile::tempdir().expect("a temp dir") }
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.tree.join(path).parent().expect("a parent")).expect("made");
        std::fs::write(self.tree.join(path), text).expect("written");
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.tree.join(path)).expect("read")
    }

    fn index(&self) -> PathBuf {
        self.admin.join("index")
    }

    /// The part, where there is one.
    fn part(&self, from: &CommitId, to: &CommitId) -> Result<Part, String> {
        let place = tempfile::tempdir_in(self.scratch.path()).expect("a temp dir").keep();
        part(&self.repo.root().join(".git"), &self.index(), (from, to), &place).expect("looked")
    }

    /// What git makes of it.
    fn moves(&self, part: &Part, also: &[&str]) -> bool {
        let [from, to] = part.trees();
        let command = self.repo.git.within(&self.tree, ["read-tree", "-m", "-u"]).args(also).args([from, to]);
        let command = command.env("GIT_INDEX_FILE", part.index());
        command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", part.objects()).output().expect("git works").status.success()
    }

    fn follow(&self, from: &CommitId, to: &CommitId) {
        let part = self.part(from, to).expect("there is one");
        assert!(self.moves(&part, &["-n"]) && self.moves(&part, &[]));
        assert!(part.is_of(&self.index()));
        assert!(part.join(&self.index(), &self.admin.join("aside")).expect("joined"));
        std::fs::write(self.admin.join("HEAD"), format!("{to}\n")).expect("written");
    }

    fn status(&self) -> String {
        self.repo.run_in(&self.tree, &["status", "--porcelain"])
    }

    fn is_as_git_has_it(&self, to: &CommitId) {
        let theirs = self.repo.root().join(".git/theirs");
        self.repo.run(&["worktree", "add", "-q", "--detach", &theirs.to_string_lossy(), to.as_str()]);
        assert_eq!(seen(&self.tree), seen(&theirs));
        let listed = ["ls-files", "--stage", "-z", "-v"];
        assert_eq!(self.repo.run_in(&self.tree, &listed), self.repo.run_in(&theirs, &listed));
        let bytes = std::fs::read(self.index()).expect("read");
        let top = index::read(&bytes).and_then(|index| index.tree()).expect("all trees are known");
        let tree = self.repo.run(&["rev-parse", &format!("{to}^{{tree}}")]);
        assert_eq!(crate::sys::git::index::hex(&top), tree);
        assert_eq!(self.status(), "");
        assert_eq!(self.repo.run_in(&self.tree, &["write-tree"]), tree);
        assert_eq!(self.repo.run_in(&self.tree, &["fsck", "--no-dangling", "--cache"]), "");
        for tree in [&theirs, &self.tree] {
            self.repo.run(&["worktree", "remove", "--force", &tree.to_string_lossy()]);
        }
    }
}

fn set_time(path: &Path, time: SystemTime) {
    File::options().append(true).open(path).expect("opened").set_modified(time).expect("set");
}

fn time(path: &Path) -> SystemTime {
    path.metadata().expect("read").modified().expect("known")
}

/// Two commits: `d/a` and `d/b` change, `d/e/gone` goes, `d/f/new` comes, `c` stays.
fn two(repo: &Repo) -> (CommitId, CommitId) {
    for path in ["c", "d/a", "d/b", "d/e/gone"] {
        repo.write(path, "one\n");
    }
    repo.write(".gitignore", "*.o\n");
    let one = repo.commit_all("one");
    for path in ["d/a", "d/b", "d/f/new"] {
        repo.write(path, "two\n");
    }
    repo.run(&["rm", "-q", "d/e/gone"]);
    (one, repo.commit_all("two"))
}

#[test]
fn what_is_a_persons_stays_as_it_is() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let desk = Desk::at(&repo, "desk", &one);
    // Changes elsewhere, what is untracked and what is ignored, also in a directory that goes.
    desk.write("c", "mine\n");
    desk.write("d/untracked", "mine\n");
    desk.write("d/e/x.o", "mine\n");
    desk.follow(&one, &two);
    assert_eq!(desk.status(), " M c\n?? d/untracked");
    let all = ["c", "d/untracked", "d/e/x.o", "d/a", "d/f/new"].map(|path| desk.text(path));
    assert_eq!(all.concat(), "mine\nmine\nmine\ntwo\ntwo\n");
    assert!(!desk.tree.join("d/e/gone").exists());
    // Who builds goes by the time of a file.
    assert!(time(&desk.tree.join("d/a")) > time(&desk.tree.join(".gitignore")));
}

#[test]
fn what_is_in_the_way_is_gits_to_tell() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let check = |name: &str, act: &dyn Fn(&Desk<'_>)| {
        let desk = Desk::at(&repo, name, &one);
        act(&desk);
        let before = seen(&desk.tree);
        let part = desk.part(&one, &two).expect("there is one");
        assert!(!desk.moves(&part, &["-n"]) && !desk.moves(&part, &[]), "{name}");
        assert_eq!(seen(&desk.tree), before, "{name}");
    };
    check("changed", &|desk| desk.write("d/a", "mine\n"));
    check("gone-changed", &|desk| desk.write("d/e/gone", "mine\n"));
    check("untracked", &|desk| desk.write("d/f/new", "mine\n"));
    check("directory", &|desk| desk.write("d/f/new/other", "mine\n"));
    check("file", &|desk| desk.write("d/f", "mine\n"));
    check("link", &|desk| {
        std::fs::rename(desk.tree.join("d"), desk.tree.join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink("elsewhere", desk.tree.join("d")).expect("linked");
        desk.write("elsewhere/a", "mine\n");
    });
}

#[test]
fn an_index_that_says_more_than_the_commit_is_not_parted() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let check = |name: &str, act: &dyn Fn(&Desk<'_>)| {
        let desk = Desk::at(&repo, name, &one);
        act(&desk);
        assert!(desk.part(&one, &two).is_err(), "{name}");
    };
    let git = |desk: &Desk<'_>, args: &[&str]| drop(repo.run_in(&desk.tree, args));
    check("staged", &|desk| {
        desk.write("c", "mine\n");
        git(desk, &["add", "c"]);
    });
    check("another-tree", &|desk| git(desk, &["read-tree", two.as_str()]));
    check("flag", &|desk| git(desk, &["update-index", "--assume-unchanged", "c"]));
    check("sparse", &|desk| git(desk, &["update-index", "--skip-worktree", "c"]));
    check("version", &|desk| git(desk, &["update-index", "--index-version", "4"]));
    check("cache", &|desk| git(desk, &["update-index", "--untracked-cache"]));
    check("intent", &|desk| {
        desk.write("soon", "x\n");
        git(desk, &["add", "-N", "soon"]);
    });
    check("nothing", &|desk| std::fs::write(desk.index(), "").expect("written"));
}

#[test]
fn attributes_are_those_of_the_index() {
    let repo = Repo::new();
    repo.write("d/x.txt", "one\n");
    repo.write("d/y.txt", "one\n");
    repo.write(".gitattributes", "*.txt eol=crlf\n");
    let one = repo.commit_all("one");
    repo.write("d/x.txt", "two\n");
    let two = repo.commit_all("two");
    repo.write(".gitattributes", "*.txt eol=lf\n");
    repo.write("d/x.txt", "three\n");
    repo.write("d/.gitattributes", "y.txt eol=crlf\n");
    repo.write("d/y.txt", "three\n");
    let three = repo.commit_all("three");
    let desk = Desk::at(&repo, "desk", &one);
    // As git does it: what is in the worktree is not asked.
    std::fs::remove_file(desk.tree.join(".gitattributes")).expect("removed");
    desk.follow(&one, &two);
    assert_eq!(desk.text("d/x.txt"), "two\r\n");
    repo.run_in(&desk.tree, &["checkout", "-q", "--", ".gitattributes"]);
    desk.follow(&two, &three);
    assert_eq!((desk.text("d/x.txt"), desk.text("d/y.txt")), ("three\n".into(), "three\r\n".into()));
}

#[test]
fn a_change_in_the_second_of_the_index_is_not_hidden_by_the_next() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let desk = Desk::at(&repo, "desk", &one);
    // `c` is as new as the index, of the same size, and another than the index says; `.gitignore` is as new and as it was.
    let now = time(&desk.index()) + Duration::from_secs(3600);
    for path in ["c", ".gitignore"] {
        set_time(&desk.tree.join(path), now);
    }
    repo.run_in(&desk.tree, &["update-index", "-q", "--refresh"]);
    set_time(&desk.index(), now);
    desk.write("c", "two\n");
    set_time(&desk.tree.join("c"), now);
    desk.follow(&one, &two);
    assert_eq!(desk.status(), " M c", "{}", desk.text("c"));
}

#[test]
fn what_is_changed_as_soon_as_it_was_moved_is_seen() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let desk = Desk::at(&repo, "desk", &one);
    let part = desk.part(&one, &two).expect("there is one");
    assert!(desk.moves(&part, &[]));
    // In the second in which git wrote it, while the whole index is still to be written.
    let moved = time(&desk.tree.join("d/a"));
    desk.write("d/a", "our\n");
    set_time(&desk.tree.join("d/a"), moved);
    assert!(part.join(&desk.index(), &desk.admin.join("aside")).expect("joined"));
    std::fs::write(desk.admin.join("HEAD"), format!("{two}\n")).expect("written");
    assert_eq!(desk.status(), " M d/a");
}

#[test]
fn a_part_that_git_moved_elsewhere_is_not_joined() {
    let repo = Repo::new();
    let (one, two) = two(&repo);
    let desk = Desk::at(&repo, "desk", &one);
    let before = std::fs::read(desk.index()).expect("read");
    let part = desk.part(&one, &two).expect("there is one");
    assert!(!part.join(&desk.index(), &desk.admin.join("aside")).expect("looked"));
    assert_eq!(std::fs::read(desk.index()).expect("read"), before);
    let part = desk.part(&one, &two).expect("there is one");
    repo.run_in(&desk.tree, &["read-tree", one.as_str()]);
    assert!(!part.is_of(&desk.index()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Files, links and directories in the place of each other, with names that sort around slashes.
    #[test]
    fn random_trees_follow_as_git_does_it(
        entries in prop::collection::vec((0..3_u8, 0..9_usize, 0..3_usize, 0..3_u8), 0..30),
    ) {
        let repo = Repo::new();
        let [from, to] = two_of(&repo, &entries);
        let desk = Desk::at(&repo, "desk", &from);
        desk.follow(&from, &to);
        desk.is_as_git_has_it(&to);
    }
}
