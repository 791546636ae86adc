//! Apply: sparse checkouts. Sees to it that the directories asked for are there, and gives a worktree that has no files yet the patterns
//! that git fills it by.
//!
//! Plain worktrees have them where git itself keeps them (`info/sparse-checkout` and `config.worktree` of the worktree), so that
//! `git sparse-checkout` goes on from there. Private git dirs have the settings in their own configuration. What lies in a tree
//! that has files is not touched here.

use std::path::Path;
use std::time::Instant;

use super::error::{Result, WorktreeError};
use super::patience::Waiting;
use super::repository::Repository;
use crate::model::sparse::Patterns;
use crate::model::{CommitId, Directory};
use crate::sys::fs;
use crate::sys::git::Git;

/// Where git reads the patterns of a worktree, below its own part of the git dir.
const FILE: &str = "info/sparse-checkout";
/// Largest file of patterns that is read where others may have written it; what git itself writes for a cone has 40 bytes a directory.
const LARGEST: u64 = 16 << 20;

/// Those of the worktree where one stands, where that is sparse.
pub fn of_here(repo: &Repository) -> Result<Option<Patterns>> {
    let file = repo.git_dir.join(FILE);
    if !fs::exists(&file)? || !is_set(repo, "core.sparseCheckout")? {
        return Ok(None);
    }
    let lines = std::fs::read(&file).map_err(fs::at("read", &file))?;
    Ok(Some(Patterns { cone: is_set(repo, "core.sparseCheckoutCone")?, lines }))
}

fn is_set(repo: &Repository, key: &str) -> Result<bool> {
    Ok(repo.git.bare(&repo.git_dir, [""; 0]).flag(key)?.unwrap_or(false))
}

/// The settings, as lines of a configuration file.
pub(super) fn settings(patterns: &Patterns) -> String {
    format!("[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = {}\n", patterns.cone)
}

/// The settings, as git takes them before a command.
pub(super) fn flags(patterns: &Patterns) -> [String; 4] {
    let cone = format!("core.sparseCheckoutCone={}", patterns.cone);
    ["-c".into(), "core.sparseCheckout=true".into(), "-c".into(), cone]
}

/// Puts the patterns where git reads them.
pub(super) fn put(patterns: &Patterns, admin: &Path) -> Result<()> {
    fs::create_dir_all(&admin.join("info"))?;
    Ok(fs::write_atomic(&admin.join(FILE), &patterns.lines)?)
}

/// What a private git dir says of its tree, whose processes may have changed the patterns; `scratch` is a git dir of ours.
pub(super) fn of_private(git: &Git, git_dir: &Path, scratch: &Path) -> Result<Option<Patterns>> {
    let Some(lines) = fs::read_beneath(git_dir, &Path::new("worktrees/wt").join(FILE), LARGEST)? else {
        return Ok(None);
    };
    let config = git_dir.join("config");
    let asked = git.bare(scratch, ["config", "--file"]).arg(&config);
    let asked = asked.args(["-z", "--type=bool", "--get-regexp", r"^core\.sparsecheckout"]);
    let name = asked.name();
    let said = asked.output()?;
    if !matches!(said.code(), 0 | 1) {
        return Err(said.into_error(name).into());
    }
    let says = |line: &[u8]| said.records().any(|record| record == line);
    let cone = says(b"core.sparsecheckoutcone\ntrue");
    Ok(says(b"core.sparsecheckout\ntrue").then_some(Patterns { cone, lines }))
}

/// Refuses a directory that a commit does not have.
pub fn require(repo: &Repository, commit: &CommitId, directories: &[Directory]) -> Result<()> {
    if directories.is_empty() {
        return Ok(());
    }
    // A line for each, in order.
    let asked: String = directories.iter().map(|directory| format!("{commit}:{directory}\n")).collect();
    let said = repo.git.bare(&repo.git_dir, ["cat-file", "--batch-check=%(objecttype)"]).stdin(asked).run()?;
    let mut kinds = said.stdout.split(|byte| *byte == b'\n');
    match directories.iter().find(|_| kinds.next() != Some(b"tree")) {
        Some(missing) => Err(WorktreeError::NotFound { kind: "directory in the base", name: missing.to_string() }),
        None => Ok(()),
    }
}

/// Makes a worktree sparse that was just registered and has neither files nor an index. The first one of a repository has git turn on
/// settings of single worktrees, so this is for one process at a time.
pub(super) fn set(repo: &Repository, tree: &Path, admin: &Path, patterns: &Patterns) -> Result<()> {
    let mut waiting = Waiting::until(&repo.patience, Instant::now() + repo.patience.limit);
    let lock = repo.common_dir.join("config.lock");
    let mode = if patterns.cone { "--cone" } else { "--no-cone" };
    let init = || repo.git.within(tree, ["sparse-checkout", "init", mode]).run();
    while let Err(error) = init() {
        if !fs::exists(&lock)? {
            // It may have been given up in between: once more.
            init()?;
            break;
        } else if !waiting.moment(&lock) {
            tracing::debug!(%error, "git's configuration is locked");
            return Err(WorktreeError::Locked { lock });
        }
    }
    put(patterns, admin)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::worktree::fixture::Fixture;

    fn fixture(files: &[&str]) -> Fixture {
        let fixture = Fixture::new();
        for file in files {
            let path = fixture.root.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, file).expect("written");
        }
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "files"]);
        fixture
    }

    fn directories(names: &[&str]) -> Vec<Directory> {
        names.iter().map(|name| Directory::parse(name).expect("a directory")).collect()
    }

    #[test]
    fn the_patterns_are_those_that_git_writes() {
        let fixture = fixture(&["p/b/c/d", "p/x", "p-b/c/d", "o*/[x]/y", "q\\r/s", "ü/v w/z"]);
        let sets: [&[&str]; 5] =
            [&["p/b"], &["p/b", "p", "p-b/c"], &["o*/[x]", "q\\r"], &["ü/v w", "p/b/c"], &["p-b", "p"]];
        for set in sets {
            let names: Vec<&str> =
                ["sparse-checkout", "set", "--cone", "--skip-checks"].iter().chain(set).copied().collect();
            fixture.git(&names);
            let gits = std::fs::read(fixture.repo.git_dir.join(FILE)).expect("written by git");
            let ours = of_here(&fixture.repo).expect("readable");
            assert_eq!(ours, Some(Patterns { cone: true, lines: gits }));
            assert_eq!(ours, Some(Patterns::of(&directories(set))), "{set:?}");
        }
        fixture.git(&["sparse-checkout", "disable"]);
        assert_eq!(of_here(&fixture.repo).expect("readable"), None);
    }

    #[test]
    fn a_directory_has_to_be_in_the_commit() {
        let fixture = fixture(&["p/b/c", "o*/x"]);
        let tip = fixture.tip("refs/heads/main");
        for names in [["p"].as_slice(), &["p/b", "o*"], &[]] {
            require(&fixture.repo, &tip, &directories(names)).expect("they are there");
        }
        // A file is none, and nothing is a pattern.
        for name in ["a", "p/b/c", "p/*", "o?"] {
            let refused = require(&fixture.repo, &tip, &directories(&["p", name]));
            assert!(matches!(&refused, Err(WorktreeError::NotFound { name: said, .. }) if said == name), "{refused:?}");
        }
    }

    #[test]
    fn a_locked_configuration_is_waited_for_and_named() {
        let mut fixture = fixture(&["p/b"]);
        let tree = fixture.dir.path().join("tree");
        fixture.git(&["worktree", "add", "-q", "--no-checkout", &tree.to_string_lossy(), "-b", "x"]);
        let (admin, lock) =
            (fixture.repo.common_dir.join("worktrees/tree"), fixture.repo.common_dir.join("config.lock"));
        let patterns = Patterns::of(&directories(&["p"]));
        std::fs::write(&lock, "").expect("held");
        fixture.repo.patience.limit = Duration::ZERO;
        let refused = set(&fixture.repo, &tree, &admin, &patterns);
        assert!(matches!(&refused, Err(WorktreeError::Locked { lock: named }) if *named == lock), "{refused:?}");
        fixture.repo.patience.limit = Duration::from_secs(60);
        fixture.repo.patience.tell = Arc::new(|lock| std::fs::remove_file(lock).expect("given up"));
        set(&fixture.repo, &tree, &admin, &patterns).expect("it was waited for");
        fixture.run_in(&tree, &["reset", "-q", "--hard"]);
        assert_eq!(fixture.run_in(&tree, &["sparse-checkout", "list"]), "p");
    }
}
