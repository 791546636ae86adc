//! Files that get older: which do, what git says of them, and what it has to read for that.
//! A file that somebody changed has to show as changed afterwards.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::tests::{empty, fill_into};
use super::*;
use crate::sys::git::fixture::Place as Repo;

struct Desk {
    repo: Repo,
    tree: PathBuf,
    admin: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let repo = Repo::new();
        for path in ["a", "b", "d/a", "d/e/a"] {
            repo.write(path, "text\n");
        }
        std::os::unix::fs::symlink("a", repo.root().join("link")).expect("linked");
        repo.commit_all("c");
        let (tree, admin) = empty(&repo, "desk");
        assert_eq!(fill_into(&repo, (&tree, &admin), &|| false), Fill::Done { as_stored: true });
        Desk { repo, tree, admin }
    }

    fn time(&self, path: &str) -> i64 {
        self.tree.join(path).symlink_metadata().expect("there").mtime()
    }

    fn age(&self, changed: &[&str], before: i64) -> bool {
        let changed: BTreeSet<Vec<u8>> = changed.iter().map(|path| path.as_bytes().to_vec()).collect();
        age(&self.tree, &self.admin, &changed, u32::try_from(before).expect("a second")).expect("aged")
    }

    fn ages(&self) -> Option<(u32, u32)> {
        ages(&std::fs::read(self.admin.join("index")).expect("read"))
    }

    fn status(&self) -> String {
        self.repo.run_in(&self.tree, &["status", "--porcelain"])
    }
}

#[test]
fn what_is_unchanged_gets_older_than_the_second_and_git_reads_none_of_it() {
    let desk = Desk::new();
    let (files, before) = (["a", "b", "d/a", "d/e/a"], desk.time("a") - 1000);
    let times = |desk: &Desk| files.map(|path| desk.time(path));
    let (was, link, kept) = (times(&desk), desk.time("link"), desk.time("b"));
    assert!(desk.age(&["b"], before));
    let now = times(&desk);
    assert!((0..4).filter(|at| *at != 1).all(|at| now[at] < before), "{now:?}");
    assert_eq!((now[1], desk.time("link")), (kept, link));
    let by: BTreeSet<i64> = (0..4).filter(|at| *at != 1).map(|at| was[at] - now[at]).collect();
    assert_eq!(by.len(), 1, "by as much, so that they differ as before");
    let said: Vec<String> =
        (0..2).map(|_| desk.repo.run_in(&desk.tree, &["ls-files", "--debug", "a", "d/a"])).collect();
    assert_eq!(desk.status(), "");
    // A git that had read anything would have written down that it need not do so again.
    assert_eq!(desk.repo.run_in(&desk.tree, &["ls-files", "--debug", "a", "d/a"]), said[1]);
    assert_eq!(
        desk.ages().map(|(oldest, newest)| (i64::from(oldest), i64::from(newest))),
        Some((now.iter().copied().min().expect("some"), kept))
    );
    // What turns out to be changed against another result is new again.
    assert!(desk.age(&["b", "a"], before));
    assert!(desk.time("a") > was[0] && desk.time("d/a") == now[2]);
    assert_eq!(desk.status(), "");
}

#[test]
fn what_somebody_changed_shows_as_changed() {
    let desk = Desk::new();
    std::fs::write(desk.tree.join("a"), "TEXT\n").expect("written");
    std::fs::write(desk.tree.join("d/a"), "longer text\n").expect("written");
    assert!(desk.age(&[], desk.time("b") - 1000));
    assert_eq!(desk.status(), " M a\n M d/a");
    assert!(desk.time("b") < desk.time("a"));
}

#[test]
fn an_index_of_another_kind_is_left_to_git() {
    let desk = Desk::new();
    let before = desk.time("a");
    desk.repo.run_in(&desk.tree, &["update-index", "--index-version=4"]);
    assert!(!desk.age(&[], before - 1000));
    assert_eq!((desk.time("a"), desk.ages()), (before, None));
    assert!(age(&desk.tree, Path::new("/nowhere"), &BTreeSet::new(), 0).is_err());
}
