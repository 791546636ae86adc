//! A repository of its own for a test, with whoever commits in it: what tests of this room have in common.
//! It goes with the value.

use std::path::Path;

use super::Git;
use crate::model::CommitId;

/// A repository and git.
pub(super) struct Place {
    pub dir: tempfile::TempDir,
    pub git: Git,
}

impl Place {
    /// One whose branch `main` has no commit yet.
    pub fn new() -> Place {
        Place::made(&["-b", "main"])
    }

    /// One that `git init` makes with these arguments.
    pub fn made(args: &[&str]) -> Place {
        let place = Place { dir: tempfile::tempdir().expect("a temp dir"), git: Git::open().expect("git") };
        place.run(&[&["init", "-q"], args].concat());
        place
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// What git says there.
    pub fn run(&self, args: &[&str]) -> String {
        self.run_in(self.root(), args)
    }

    /// What git says in another worktree.
    pub fn run_in(&self, place: &Path, args: &[&str]) -> String {
        let who = ["-c", "user.name=T", "-c", "user.email=t@example.com"];
        self.git.within(place, who).args(args).text().expect("git works")
    }

    /// Writes a file, and the directories that it is in.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Commits everything that is there.
    pub fn commit_all(&self, message: &str) -> CommitId {
        self.run(&["add", "--all"]);
        self.run(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// The commit that HEAD is at.
    pub fn head(&self) -> CommitId {
        CommitId::parse(&self.run(&["rev-parse", "HEAD"])).expect("an id")
    }
}
