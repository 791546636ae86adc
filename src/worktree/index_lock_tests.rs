//! A worktree whose index is large is moved with a part of it, as one whose index is small is moved with all of it; and what matters
//! to git in either case.

use std::time::Duration;

use super::*;
use crate::model::BranchName;
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::fixture::Fixture;
use crate::worktree::import::changes;

/// A repository whose `main` has an index that is worth to be taken apart, and a branch `next` that changes `a`.
fn large() -> (Fixture, CommitId, CommitId) {
    let fixture = Fixture::new();
    let (directory, end) = (fixture.root.join("d".repeat(200)), "f".repeat(200));
    std::fs::create_dir(&directory).expect("made");
    (0..1500).for_each(|n| std::fs::write(directory.join(format!("{n}{end}")), "").expect("written"));
    fixture.git(&["add", "."]);
    fixture.git(&["commit", "-q", "-m", "many"]);
    fixture.git(&["branch", "next"]);
    let to = fixture.commit_on("next", &[("a", "two\n"), ("new", "two\n")]);
    let from = fixture.tip("refs/heads/main");
    (fixture, from, to)
}

fn moved(fixture: &Fixture, from: &CommitId, to: &CommitId) -> Advanced {
    let branch = BranchName::parse("main").expect("a name");
    let request = Advance { branch: &branch, from, to, message: "test", lock_wait: Duration::from_secs(10) };
    advance(&fixture.repo, &request).expect("moved")
}

#[test]
fn a_large_index_is_moved_by_its_part_and_all_else_stays() {
    let (fixture, from, to) = large();
    let moving = changes(fixture.repo.bare([] as [&str; 0]), &from, &to).expect("told").raw;
    let git_dir = fixture.root.join(".git");
    let deadline = Instant::now() + Duration::from_secs(10);
    let lock = IndexLock::take(&fixture.repo, &git_dir, &fixture.root, deadline).expect("taken");
    let mut lock = lock.expect("nobody has it");
    assert_eq!(lock.obstacle(&from, &to, &moving).expect("looked"), None);
    assert!(lock.part.is_some(), "git had to read all of it");
    drop(lock);
    std::fs::write(fixture.root.join(".gitignore"), "mine\n").expect("written");
    std::fs::write(fixture.root.join("other"), "mine\n").expect("written");
    assert_eq!(moved(&fixture, &from, &to), Advanced::Done);
    assert_eq!(fixture.git(&["status", "--porcelain"]), " M .gitignore\n?? other");
    assert_eq!(fixture.git(&["diff", "--cached", "--name-only"]), "");
    assert_eq!(std::fs::read(fixture.root.join("a")).expect("read"), b"two\n");
    assert!(!git_dir.join(COPY).exists() && !lock_path(&git_dir).exists());
    // And back, with what is staged: then git has all of it.
    fixture.git(&["add", ".gitignore"]);
    assert_eq!(moved(&fixture, &to, &from), Advanced::Done);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "M  .gitignore\n?? other");
}

#[test]
fn what_git_is_told_about_files_is_read_as_git_reads_it() {
    let check = |records: &[&str], (folds, filters, syncs): (bool, bool, bool)| {
        let told = settings(records.iter().map(|record| record.as_bytes()));
        assert_eq!(told, Settings { folds, filters, syncs }, "{records:?}");
    };
    check(&[], (false, false, false));
    check(&["core.ignorecase\ntrue"], (true, false, false));
    check(&["core.ignorecase"], (true, false, false));
    check(&["core.ignorecase\nYes", "core.ignorecase\nOff"], (false, false, false));
    check(&["filter.lfs.smudge\ngit-lfs smudge -- %f", "core.fsync\nall"], (false, false, true));
    check(&["filter.lfs.smudge\nmy-own %f"], (false, true, false));
    check(&["filter.lfs.clean\ngit-lfs clean -- %f", "filter.key.process\nkeys"], (false, true, false));
}

#[test]
fn a_filter_that_reads_the_index_gets_all_of_it() {
    let (fixture, _, _) = large();
    fixture.commit(".gitattributes", "a filter=key\n");
    fixture.git(&["branch", "-f", "next"]);
    let (from, to) = (fixture.tip("refs/heads/main"), fixture.commit_on("next", &[("a", "two\n")]));
    fixture.git(&["config", "filter.key.smudge", "cat && git cat-file blob :.gitignore"]);
    fixture.git(&["config", "filter.key.clean", "head -n 1"]);
    fixture.git(&["config", "filter.key.required", "true"]);
    assert_eq!(moved(&fixture, &from, &to), Advanced::Done);
    assert_eq!(std::fs::read(fixture.root.join("a")).expect("read"), b"two\n*.log\n");
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
}

#[test]
fn without_an_index_git_says_what_is_to_be_said() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "next"]);
    let (from, to) = (fixture.tip("refs/heads/main"), fixture.commit_on("next", &[("new", "two\n")]));
    // As after `git clone --no-checkout`.
    for path in [".git/index", "a", ".gitignore"] {
        std::fs::remove_file(fixture.root.join(path)).expect("removed");
    }
    assert_eq!(moved(&fixture, &from, &to), Advanced::Done);
    assert_eq!(std::fs::read(fixture.root.join("new")).expect("read"), b"two\n");
}

#[test]
fn the_index_is_as_open_as_git_makes_it() {
    use std::os::unix::fs::PermissionsExt;
    let (fixture, from, to) = large();
    fixture.git(&["config", "core.sharedRepository", "group"]);
    let index = fixture.root.join(".git/index");
    std::fs::set_permissions(&index, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(moved(&fixture, &from, &to), Advanced::Done);
    assert_eq!(index.metadata().expect("read").permissions().mode() & 0o060, 0o060);
}

#[test]
fn what_is_in_the_way_of_a_part_is_told_by_name() {
    let (fixture, from, to) = large();
    std::fs::write(fixture.root.join("a"), "mine\n").expect("written");
    let picture = fixture.picture(&fixture.root);
    let Advanced::InTheWay(obstacle) = moved(&fixture, &from, &to) else { panic!("it was moved") };
    assert_eq!(obstacle.paths, ["a"]);
    assert_eq!((fixture.picture(&fixture.root), fixture.tip("refs/heads/main")), (picture, from));
}
