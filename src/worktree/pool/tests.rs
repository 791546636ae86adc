//! Slots on real repositories: taken once, whatever happens around them; never handed out when anything in them was changed; and the same
//! as files that were written.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::claim::{Claim, claim};
use super::decide::Terms;
use super::filler::make_ready;
use super::slot::{directory, ready};
use super::wanted::{failure, want};
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::fill::{BY_GIT, Place};
use crate::worktree::abandoned;
use crate::worktree::fixture::Fixture;

const TERMS: Terms = Terms { size: 2, free: 0, age: Duration::from_secs(3600) };

fn with_slots(terms: Terms) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.repo.pool = Some(terms);
    std::fs::create_dir_all(fixture.root.join("d/e")).expect("made");
    fixture.commit("d/e/f", "f\n");
    std::os::unix::fs::symlink("d/e", fixture.root.join("link")).expect("linked");
    fixture.git(&["add", "link"]);
    fixture.git(&["commit", "-q", "-m", "a link"]);
    fill(&fixture);
    fixture
}

fn fill(fixture: &Fixture) {
    want(&fixture.repo, &fixture.tip("HEAD")).expect("noted");
    make_ready(&fixture.repo).expect("made");
}

fn count(fixture: &Fixture) -> usize {
    ready(&fixture.repo).expect("read").len()
}

/// The only slot's directory, among those that are ready.
fn slots(fixture: &Fixture) -> Vec<PathBuf> {
    let all = std::fs::read_dir(directory(&fixture.repo)).expect("read").map(|entry| entry.expect("read").path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    all.sort();
    all
}

/// A worktree without files at a commit, filled from a slot.
fn claimed(fixture: &Fixture, name: &str, commit: &CommitId) -> (PathBuf, Claim) {
    let tree = fixture.root.with_file_name(name);
    fixture.git(&["worktree", "add", "-q", "--no-checkout", "--detach", &tree.to_string_lossy(), commit.as_str()]);
    let admin = fixture.repo.common_dir.join("worktrees").join(name);
    let program = &fixture.repo.git;
    let git = |args: &[&str]| program.within(&tree, args);
    let place = Place {
        git_dir: &fixture.repo.common_dir,
        admin: &admin,
        tree: &tree,
        git: &git,
        beside: None,
        by_git: Some(&BY_GIT),
        called_off: &|| false,
    };
    let claimed = claim(&fixture.repo, &place, commit);
    (tree, claimed)
}

/// All that there is is as git has it, and git need not read any of it.
fn is_right(fixture: &Fixture, tree: &Path) {
    let output = fixture.repo.git.within(tree, ["diff-files", "--exit-code"]).output().expect("git works");
    assert_eq!((output.code(), output.stdout.is_empty()), (0, true));
    assert_eq!(fixture.run_in(tree, &["status", "--porcelain", "--ignored"]), "");
    fixture.run_in(tree, &["fsck", "--no-dangling"]);
    let listed = fixture.run_in(tree, &["ls-files"]);
    assert!(listed.lines().count() > 3 && listed.lines().all(|name| tree.join(name).symlink_metadata().is_ok()));
}

#[test]
fn a_slot_becomes_a_worktree_and_another_takes_its_place() {
    let fixture = with_slots(TERMS);
    assert_eq!((count(&fixture), failure(&fixture.repo)), (2, None));
    let inside = slots(&fixture)[0].join("sealed");
    assert_eq!(inside.metadata().expect("read").permissions().mode() & 0o7777, 0);
    let (tree, claimed) = claimed(&fixture, "one", &fixture.tip("HEAD"));
    assert_eq!(claimed, Claim::Done("a slot was ready".into()));
    is_right(&fixture, &tree);
    assert_eq!(std::fs::read(tree.join("link/f")).expect("read"), b"f\n");
    let mode = tree.metadata().expect("read").permissions().mode();
    assert_eq!(mode, fixture.root.metadata().expect("read").permissions().mode(), "as open as any worktree");
    assert_eq!((count(&fixture), slots(&fixture).len()), (1, 1));
    fill(&fixture);
    assert_eq!(count(&fixture), 2);
    // git does not know of them, so it cannot take anything away.
    fixture.git(&["worktree", "prune"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(fixture.git(&["worktree", "list"]).lines().count(), 2);
    assert_eq!(count(&fixture), 2);
}

#[test]
fn a_base_that_has_moved_is_caught_up_with_by_who_takes_it_or_before() {
    let fixture = with_slots(TERMS);
    let old = fixture.tip("HEAD");
    fixture.commit("d/e/f", "other\n");
    fixture.commit("new", "new\n");
    fixture.git(&["rm", "-q", "link"]);
    fixture.git(&["commit", "-q", "-m", "no link"]);
    let new = fixture.tip("HEAD");
    let (tree, taken) = claimed(&fixture, "late", &new);
    assert_eq!(taken, Claim::Done(format!("a slot was ready, brought from {}", old.short())));
    is_right(&fixture, &tree);
    assert_eq!(std::fs::read(tree.join("d/e/f")).expect("read"), b"other\n");
    assert!(!tree.join("link").exists() && tree.join("new").exists());
    fill(&fixture);
    assert!(ready(&fixture.repo).expect("read").iter().all(|slot| slot.record.commit == new));
    // Back, as for a base that somebody names.
    let (tree, taken) = claimed(&fixture, "back", &old);
    assert!(matches!(taken, Claim::Done(_)), "{taken:?}");
    is_right(&fixture, &tree);
}

#[test]
fn one_slot_is_never_handed_to_two() {
    let fixture = with_slots(Terms { size: 3, ..TERMS });
    let got = AtomicUsize::new(0);
    let repo = &fixture.repo;
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for slot in ready(repo).expect("read") {
                    if let Some(taken) = slot.take().expect("tried") {
                        got.fetch_add(1, Ordering::Relaxed);
                        // It stays in our hands.
                        std::mem::forget(taken);
                    }
                }
            });
        }
    });
    assert_eq!((got.into_inner(), count(&fixture)), (3, 0));
}

#[test]
fn a_slot_that_was_brought_forward_meanwhile_was_taken_for_what_it_had_been() {
    let fixture = with_slots(Terms { size: 1, ..TERMS });
    let before = ready(&fixture.repo).expect("read").pop().expect("one");
    fixture.commit("d/e/f", "other\n");
    fill(&fixture);
    assert!(before.take().expect("tried").is_none(), "it has another name now");
    assert_eq!(count(&fixture), 1);
    // Who opens one that is another tree than its record says gets nothing.
    let slot = slots(&fixture).pop().expect("one");
    let record = std::fs::read_to_string(slot.join("slot.json")).expect("read");
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]);
    assert!(record.contains(tree.trim()), "{record}");
    std::fs::write(
        slot.join("slot.json"),
        record.replace(tree.trim(), &"0".repeat(40)).replace("\"boot\":\"", "\"boot\":\"x"),
    )
    .expect("written");
    let (_, taken) = claimed(&fixture, "other", &fixture.tip("HEAD"));
    assert_eq!(taken, Claim::Not("a slot was no use: it is another tree".into()));
}

#[test]
fn what_somebody_has_locked_is_not_the_deads() {
    let fixture = with_slots(Terms { size: 1, ..TERMS });
    let taken = ready(&fixture.repo).expect("read").pop().expect("one").take().expect("tried").expect("taken");
    // As a process of another container, which is not to be found here.
    let slot = slots(&fixture).pop().expect("one");
    let foreign = directory(&fixture.repo).join("0123.4000000000.1.gone");
    std::fs::rename(&slot, &foreign).expect("moved");
    abandoned::sweep(&fixture.repo).expect("swept");
    assert!(foreign.exists());
    drop(taken);
    abandoned::sweep(&fixture.repo).expect("swept");
    assert!(!foreign.exists());
}

#[test]
fn what_a_dead_process_had_in_hand_goes_and_is_nobodys() {
    let fixture = with_slots(TERMS);
    let [one, other] = <[PathBuf; 2]>::try_from(slots(&fixture)).expect("two");
    let dead = |slot: &Path| PathBuf::from(format!("{}.4000000000.1.gone", slot.display()));
    // Taken, and taken and opened and half moved.
    std::fs::rename(&one, dead(&one)).expect("moved");
    let inside = other.join("sealed");
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::remove_file(inside.join("tree/a")).expect("removed");
    std::fs::write(inside.join("tree/.git"), "gitdir: nowhere\n").expect("written");
    std::fs::rename(&other, dead(&other)).expect("moved");
    let (tree, taken) = claimed(&fixture, "none", &fixture.tip("HEAD"));
    assert_eq!(taken, Claim::Not("no slot is ready".into()));
    assert_eq!(std::fs::read_dir(&tree).expect("read").count(), 1, "only its link");
    abandoned::sweep(&fixture.repo).expect("swept");
    assert_eq!(slots(&fixture), [] as [PathBuf; 0]);
    fill(&fixture);
    assert_eq!(count(&fixture), 2);
}

#[test]
fn a_slot_that_was_changed_by_hand_is_handed_to_nobody() {
    let fixture = with_slots(Terms { size: 1, ..TERMS });
    let head = fixture.tip("HEAD");
    let changes: [&dyn Fn(&Path); 5] = [
        &|inside| std::fs::write(inside.join("tree/d/e/f"), "g\n").expect("written"),
        &|inside| std::fs::write(inside.join("tree/d/untracked"), "x\n").expect("written"),
        &|inside| std::fs::remove_file(inside.join("tree/link")).expect("removed"),
        &|inside| std::fs::write(inside.join("index"), "no index").expect("written"),
        &|inside| fs::remove_tree(&inside.join("tree")).expect("removed"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        fill(&fixture);
        let [slot] = <[PathBuf; 1]>::try_from(slots(&fixture)).expect("one");
        let inside = slot.join("sealed");
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o700)).expect("set");
        change(&inside);
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o000)).expect("set");
        let (tree, taken) = claimed(&fixture, &format!("changed-{number}"), &head);
        assert!(matches!(&taken, Claim::Not(why) if why.starts_with("a slot was no use: ")), "{number}: {taken:?}");
        assert_eq!(std::fs::read_dir(&tree).expect("read").count(), 1, "only its link");
        assert_eq!(count(&fixture), 0, "{number}");
        abandoned::sweep(&fixture.repo).expect("swept");
        assert_eq!(slots(&fixture), [] as [PathBuf; 0], "{number}");
    }
    // One that was only looked into is as good as before.
    fill(&fixture);
    let inside = slots(&fixture)[0].join("sealed");
    let before = inside.metadata().expect("read").ctime_nsec();
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o700)).expect("set");
    assert_ne!(inside.metadata().expect("read").ctime_nsec(), before, "who opens it leaves a trace");
    let (tree, taken) = claimed(&fixture, "looked-into", &head);
    assert!(matches!(taken, Claim::Done(_)), "{taken:?}");
    is_right(&fixture, &tree);
}

#[test]
fn settings_that_have_come_since_are_obeyed() {
    let fixture = with_slots(TERMS);
    let head = fixture.tip("HEAD");
    fixture.git(&["config", "core.autocrlf", "true"]);
    let (_, taken) = claimed(&fixture, "crlf", &head);
    assert_eq!(taken, Claim::Not("core.autocrlf is true".into()));
    assert_eq!(count(&fixture), 2, "they stay for who wants them");
    fixture.git(&["config", "core.autocrlf", "false"]);
    std::fs::create_dir_all(fixture.repo.common_dir.join("info")).expect("made");
    std::fs::write(fixture.repo.common_dir.join("info/attributes"), "* eol=crlf\n").expect("written");
    let (_, taken) = claimed(&fixture, "attributes", &head);
    assert_eq!(taken, Claim::Not("attributes outside the tree change files".into()));
}

#[test]
fn what_cannot_be_a_slot_is_told_and_not_tried_again_for_the_same_commit() {
    let mut fixture = Fixture::new();
    fixture.repo.pool = Some(TERMS);
    fixture.commit(".gitattributes", "*.txt eol=crlf\n");
    fill(&fixture);
    let told = failure(&fixture.repo).expect("told");
    assert_eq!((told.why.as_str(), told.lasts), (".gitattributes changes files", true));
    assert_eq!(slots(&fixture), [] as [PathBuf; 0]);
    assert!(!want(&fixture.repo, &fixture.tip("HEAD")).expect("noted"), "nobody is called");
    fixture.git(&["rm", "-q", ".gitattributes"]);
    fixture.git(&["commit", "-q", "-m", "without"]);
    assert!(want(&fixture.repo, &fixture.tip("HEAD")).expect("noted"));
    fill(&fixture);
    assert_eq!((count(&fixture), failure(&fixture.repo)), (2, None));
    assert!(!want(&fixture.repo, &fixture.tip("HEAD")).expect("noted"), "all is there");
}

#[test]
fn fewer_are_wanted_and_none() {
    let mut fixture = with_slots(Terms { size: 3, ..TERMS });
    assert_eq!(count(&fixture), 3);
    fixture.repo.pool = Some(Terms { size: 1, ..TERMS });
    fill(&fixture);
    assert_eq!(count(&fixture), 1);
    // Who does not know the configuration keeps to what was said last.
    fixture.repo.pool = None;
    fill(&fixture);
    assert_eq!(count(&fixture), 1);
    fixture.repo.pool = Some(Terms { size: 0, ..TERMS });
    assert!(want(&fixture.repo, &fixture.tip("HEAD")).expect("noted"));
    fill(&fixture);
    assert!(!directory(&fixture.repo).exists());
    assert!(!want(&fixture.repo, &fixture.tip("HEAD")).expect("noted"));
    assert!(!directory(&fixture.repo).exists(), "who never wanted any has nothing of it");
}

#[test]
fn what_somebody_put_into_the_worktree_meanwhile_stays() {
    let fixture = with_slots(TERMS);
    let head = fixture.tip("HEAD");
    let tree = fixture.root.with_file_name("busy");
    fixture.git(&["worktree", "add", "-q", "--no-checkout", "--detach", &tree.to_string_lossy(), head.as_str()]);
    std::fs::write(tree.join("mine"), "mine\n").expect("written");
    let admin = fixture.repo.common_dir.join("worktrees/busy");
    let program = &fixture.repo.git;
    let git = |args: &[&str]| program.within(&tree, args);
    let git_dir = &fixture.repo.common_dir;
    let place =
        Place { git_dir, admin: &admin, tree: &tree, git: &git, beside: None, by_git: None, called_off: &|| false };
    let taken = claim(&fixture.repo, &place, &head);
    assert!(matches!(taken, Claim::Not(_)), "{taken:?}");
    assert_eq!(std::fs::read(tree.join("mine")).expect("read"), b"mine\n");
    assert!(!tree.join("a").exists() && tree.join(".git").exists());
}
