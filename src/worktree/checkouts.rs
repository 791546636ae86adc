//! Scan: which worktrees there are, what each has checked out, and what it is in the middle of.
//!
//! Read from git's admin files (`gitrepository-layout(5)`), without a process but where refs are in tables. Unreadable is an
//! error, never absence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{Result, WorktreeError};
use super::repository::{Repository, bytes_path};
use crate::model::BranchName;
use crate::sys::fs;
use crate::sys::git::Reader;

/// One worktree of the repository, the main one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its git dir.
    pub git_dir: PathBuf,
    /// Its root; `None` in a bare repository.
    pub tree: Option<PathBuf>,
    /// The branch it has checked out.
    pub branch: Option<String>,
    /// Branches that an operation in progress holds, with the operation.
    pub held: Vec<(String, &'static str)>,
    /// Why it is locked.
    pub locked: Option<String>,
}

/// How a branch is used by the worktrees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchUse {
    /// Where it is checked out.
    pub checkouts: Vec<Checkout>,
    /// Operations in progress that hold it: worktree and operation.
    pub held: Vec<(PathBuf, &'static str)>,
}

/// Every worktree of the repository.
pub fn scan(repo: &Repository) -> Result<Vec<Checkout>> {
    let mut found = vec![checkout(repo, &repo.common_dir, repo.main_tree.clone())?];
    let admin = repo.common_dir.join("worktrees");
    let entries = match std::fs::read_dir(&admin) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(fs::at("read", &admin)(error).into()),
    };
    for entry in entries {
        let git_dir = entry.map_err(fs::at("read", &admin))?.path();
        let tree = read(&git_dir.join("gitdir"))?.and_then(|text| {
            let link = bytes_path(text.trim_end().as_bytes());
            let link = if link.is_absolute() { link } else { git_dir.join(link) };
            link.parent().map(Path::to_owned)
        });
        if tree.is_some() {
            found.push(checkout(repo, &git_dir, tree)?);
        }
    }
    Ok(found)
}

/// The worktree whose root this is.
pub fn at(repo: &Repository, tree: &Path) -> Result<Option<Checkout>> {
    Ok(find(&scan(repo)?, tree).cloned())
}

/// The same among those that are known. git has the real path, and who asks may have come through a link.
pub fn find<'a>(all: &'a [Checkout], tree: &Path) -> Option<&'a Checkout> {
    let at = |tree: &Path| all.iter().find(|checkout| checkout.tree.as_deref() == Some(tree));
    at(tree).or_else(|| at(&fs::without_links(tree)))
}

/// The worktrees that have each branch checked out, or are in the middle of something that will move it, by their numbers.
pub fn users(all: &[Checkout]) -> BTreeMap<String, Vec<usize>> {
    let mut users: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, checkout) in all.iter().enumerate() {
        let held = checkout.held.iter().map(|(held, _)| held);
        for branch in checkout.branch.iter().chain(held) {
            users.entry(branch.clone()).or_default().push(number);
        }
    }
    users
}

/// Where and how a branch is in use.
pub fn branch_use(repo: &Repository, branch: &BranchName) -> Result<BranchUse> {
    let mut answer = BranchUse::default();
    let reader = repo.reader();
    let sought = resolved(&reader, branch.as_str())?;
    let is_it = |name: &str| Ok::<_, WorktreeError>(name == sought || resolved(&reader, name)? == sought);
    for checkout in scan(repo)? {
        let place = checkout.tree.clone().unwrap_or_else(|| checkout.git_dir.clone());
        for (held, operation) in &checkout.held {
            if is_it(held)? {
                answer.held.push((place.clone(), operation));
            }
        }
        if checkout.tree.is_some() && checkout.branch.as_deref().map(is_it).transpose()? == Some(true) {
            answer.checkouts.push(checkout);
        }
    }
    Ok(answer)
}

/// The branch that this name stands for: a branch can be another name of one (`git symbolic-ref`).
fn resolved(reader: &Reader, name: &str) -> Result<String> {
    let mut name = name.to_owned();
    // git itself follows five.
    for _ in 0..5 {
        let target = reader.symbolic_target(&format!("refs/heads/{name}"))?;
        match target.as_deref().and_then(|target| target.strip_prefix("refs/heads/")) {
            Some(next) => name = next.to_owned(),
            None => break,
        }
    }
    Ok(name)
}

/// What the file HEAD holds where refs are in tables (reftable): the true one is among them.
const HEAD_ELSEWHERE: &str = "ref: refs/heads/.invalid";

fn checkout(repo: &Repository, git_dir: &Path, tree: Option<PathBuf>) -> Result<Checkout> {
    let mut head = read(&git_dir.join("HEAD"))?.unwrap_or_default();
    let tables = if head.trim_end() == HEAD_ELSEWHERE { Some(Reader::open(&repo.git, git_dir)) } else { None };
    if let Some(tables) = &tables {
        head = tables.symbolic_target("HEAD")?.map(|target| format!("ref: {target}")).unwrap_or_default();
    }
    let branch = head.trim_end().strip_prefix("ref: refs/heads/").map(str::to_owned);
    let locked = read(&git_dir.join("locked"))?.map(|reason| reason.trim_end().to_owned());
    let mut held = operations(git_dir, branch.as_deref())?;
    if let (Some(tables), Some(branch)) = (&tables, &branch) {
        for (name, operation) in PICKS {
            if tables.revision(name)?.is_some() {
                held.push((branch.clone(), operation));
            }
        }
    }
    Ok(Checkout { git_dir: git_dir.to_owned(), tree, branch, held, locked })
}

/// Operations on the branch that is checked out which git marks with a ref, a file only where refs are files.
const PICKS: [(&str, &str); 2] = [("CHERRY_PICK_HEAD", "a cherry-pick"), ("REVERT_HEAD", "a revert")];

/// Operations in progress and the branches they will move when they end.
fn operations(git_dir: &Path, branch: Option<&str>) -> Result<Vec<(String, &'static str)>> {
    let mut held = Vec::new();
    let short = |name: &str| name.trim_end().strip_prefix("refs/heads/").map(str::to_owned);
    for place in ["rebase-merge", "rebase-apply"] {
        let head_name = read(&git_dir.join(place).join("head-name"))?;
        held.extend(head_name.as_deref().and_then(short).map(|name| (name, "a rebase")));
    }
    // Triples of lines: ref, before, after (git-rebase's --update-refs).
    let update_refs = read(&git_dir.join("rebase-merge/update-refs"))?.unwrap_or_default();
    held.extend(update_refs.lines().step_by(3).filter_map(short).map(|name| (name, "a rebase with update-refs")));
    if let Some(start) = read(&git_dir.join("BISECT_START"))? {
        let start = start.trim_end();
        held.push((start.strip_prefix("refs/heads/").unwrap_or(start).to_owned(), "a bisect"));
    }
    let files = [("MERGE_HEAD", "a merge"), ("rebase-apply/applying", "applying mail")];
    for (file, operation) in files.into_iter().chain(PICKS).chain([("sequencer/todo", "a series of picks")]) {
        if let (Some(branch), true) = (branch, fs::exists(&git_dir.join(file))?) {
            held.push((branch.to_owned(), operation));
        }
    }
    Ok(held)
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(fs::at("read", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn a_worktree_that_was_recorded_through_a_link_is_found() {
        let fixture = Fixture::new();
        let root = fixture.root.parent().expect("a parent").to_owned();
        std::fs::create_dir(root.join("disk")).expect("made");
        std::os::unix::fs::symlink("disk", root.join("link")).expect("a link");
        fixture.git(&["worktree", "add", "-q", "-b", "w", "../link/w"]);
        for way in ["link/w", "disk/w"] {
            let found = at(&fixture.repo, &root.join(way)).expect("scanned").expect("found");
            assert_eq!(found.branch.as_deref(), Some("w"), "{way}");
        }
        assert_eq!(at(&fixture.repo, &root.join("link/x")).expect("scanned"), None);
    }
}
