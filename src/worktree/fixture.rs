//! A repository in a temporary directory, for the tests of this room and of those above it.
//!
//! Hermetic: its own identity and branch name; nothing in it reaches outside the temporary directory.

use std::path::{Path, PathBuf};

use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, BranchName, CommitId, Submodules, WorkspaceName};
use crate::store::Store;
use crate::sys::git::Git;
use crate::worktree::Repository;
use crate::worktree::plain::{self, NewWorkspace};

pub use crate::store::fixture::{TEMPLATE, run};

pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub root: PathBuf,
    pub repo: Repository,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a temp dir");
        let root = dir.path().canonicalize().expect("canonical").join("work");
        std::fs::create_dir(&root).expect("created");
        let git = Git::open().expect("git is there");
        git.within(&root, ["init", "-q", "-b", "main"]).run().expect("init");
        git.within(&root, ["config", "user.name", "Someone"]).run().expect("config");
        git.within(&root, ["config", "user.email", "someone@example.org"]).run().expect("config");
        std::fs::write(root.join("a"), "one\n").expect("write");
        std::fs::write(root.join(".gitignore"), "*.log\n").expect("write");
        git.within(&root, ["add", "."]).run().expect("add");
        git.within(&root, ["commit", "-q", "-m", "first"]).run().expect("commit");
        let mut repo = Repository::discover(&git, &root).expect("found");
        repo.state_home = Some(dir.path().join("state"));
        let store = repo.store().expect("a store");
        Fixture { dir, root, repo, store }
    }

    pub fn run_in(&self, directory: &Path, args: &[&str]) -> String {
        self.repo.git.within(directory, args).text().expect("git works")
    }

    pub fn git(&self, args: &[&str]) -> String {
        self.run_in(&self.root, args)
    }

    pub fn tip(&self, reference: &str) -> CommitId {
        self.find(reference).expect("the ref is there")
    }

    pub fn find(&self, reference: &str) -> Option<CommitId> {
        self.repo.reader().ref_commit(reference).expect("readable")
    }

    pub fn refs(&self, prefix: &str) -> Vec<String> {
        let found = self.repo.reader().refs_below(prefix).expect("readable");
        found.into_iter().map(|(name, _)| name).collect()
    }

    /// Commits a file on the main worktree's branch.
    pub fn commit(&self, path: &str, content: &str) -> CommitId {
        self.commit_in(&self.root, path, content)
    }

    pub fn commit_in(&self, tree: &Path, path: &str, content: &str) -> CommitId {
        std::fs::write(tree.join(path), content).expect("write");
        self.run_in(tree, &["add", path]);
        self.run_in(tree, &["commit", "-q", "-m", &format!("change {path}")]);
        CommitId::parse(&self.run_in(tree, &["rev-parse", "HEAD"])).expect("an id")
    }

    /// Commits files on a branch that nothing has checked out.
    pub fn commit_on(&self, branch: &str, files: &[(&str, &str)]) -> CommitId {
        let spare = self.dir.path().join("spare");
        self.git(&["worktree", "add", "-q", &spare.to_string_lossy(), branch]);
        let tip = files.iter().map(|(path, content)| self.commit_in(&spare, path, content)).last();
        self.git(&["worktree", "remove", &spare.to_string_lossy()]);
        tip.expect("at least one file")
    }

    /// Commits the tree of another branch on a branch.
    pub fn commit_on_tree(&self, branch: &str, other: &str) -> CommitId {
        let (tree, parent) = (format!("{other}^{{tree}}"), self.tip(&format!("refs/heads/{branch}")));
        let commit = self.git(&["commit-tree", &tree, "-p", parent.as_str(), "-m", "the same tree"]);
        self.git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
        CommitId::parse(&commit).expect("an id")
    }

    pub fn base(&self) -> BaseReport {
        BaseReport::fixed("main", self.tip("refs/heads/main"))
    }

    pub fn workspace(&self, name: &str) -> WorkspaceRecord {
        self.new_workspace(name, false)
    }

    pub fn new_workspace(&self, name: &str, sealed: bool) -> WorkspaceRecord {
        let (name, branch) = (WorkspaceName::parse(name).expect("a name"), BranchName::parse(name).expect("a name"));
        let request = NewWorkspace {
            name: &name,
            branch: &branch,
            base: self.base(),
            template: TEMPLATE,
            sealed,
            submodules: Submodules::Local,
            copy: &[],
            sparse: &[],
            settings: None,
        };
        plain::create(&self.repo, &self.store, &request, &|_| {}).expect("created").record
    }

    /// Everything that can be seen of a worktree: status, HEAD, staged and unstaged changes.
    pub fn picture(&self, tree: &Path) -> String {
        let status = self.run_in(tree, &["status", "--porcelain=v2", "--branch", "--ignored", "--untracked-files=all"]);
        let staged = self.run_in(tree, &["diff", "--cached"]);
        let unstaged = self.run_in(tree, &["diff"]);
        let index = self.run_in(tree, &["ls-files", "-s", "-v"]);
        format!("{status}\n{staged}\n{unstaged}\n{index}")
    }
}
