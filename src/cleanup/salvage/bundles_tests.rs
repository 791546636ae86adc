//! Stories of what is saved beyond `clean.salvage_max`, on real repositories: a bundle takes the place of refs in everything.
//!
//! Each has its repository and its state directory to itself.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bundles;
use super::listed::{self, Salvage};
use super::saved::Saved;
use crate::cleanup::CleanupError;
use crate::cleanup::clean::cleaning_tests::{abandoned_box, clean, policy};
use crate::cleanup::clean::{self, CleanPolicy, Outcome};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::remove::workspace_tests::make_a_mess;
use crate::cleanup::remove::{self, BranchOutcome, RemoveOptions, Removed};
use crate::cleanup::undo::redo_tests::{everything, redo, rm, undo};
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, ByteSize, CommitId, Timestamp};
use crate::sys::fs;
use crate::worktree::fixture::{Fixture, TEMPLATE};

/// Files of this size are beyond the cap.
const BIG: usize = 300 << 10;

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.repo.salvage_max = ByteSize(64 << 10);
    fixture
}

/// Bytes that cannot be packed smaller.
fn noise() -> Vec<u8> {
    let mut bytes = vec![0; BIG];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("noise");
    bytes
}

fn make_a_big_mess(fixture: &Fixture, tree: &Path) -> Vec<u8> {
    let bytes = noise();
    make_a_mess(fixture, tree);
    std::fs::write(tree.join("big"), &bytes).expect("written");
    bytes
}

fn scan(fixture: &Fixture) -> Salvage {
    listed::scan(&fixture.repo).expect("read")
}

fn parts(saved: &Saved) -> Vec<String> {
    saved.parts().map(|part| part.part.clone()).collect()
}

fn bundles_of(fixture: &Fixture) -> Vec<PathBuf> {
    bundles::places(&fixture.repo).expect("read").into_iter().map(|dir| dir.path).collect()
}

fn has(fixture: &Fixture, commit: &CommitId) -> bool {
    fixture.repo.reader().has_commit(commit).expect("read")
}

fn nothing_half_made(fixture: &Fixture) {
    let left = std::fs::read_dir(fixture.repo.state_dir().join("quarantine")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "quarantines are left");
    fixture.git(&["fsck", "--strict", "--no-dangling"]);
}

fn gc(fixture: &Fixture) {
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
}

fn file_at(fixture: &Fixture, rev: &str, path: &str) -> Vec<u8> {
    fixture.repo.bare(["cat-file", "blob", &format!("{rev}:{path}")]).run().expect("there").stdout
}

#[test]
fn the_bundle_of_a_plain_workspace_has_the_parts_that_refs_would_have() {
    let told = |most: u64| {
        let mut fixture = fixture();
        fixture.repo.salvage_max = ByteSize(most);
        let record = fixture.workspace("feature/w");
        make_a_big_mess(&fixture, &record.path);
        let removed = rm(&fixture, &record);
        let salvage = scan(&fixture);
        let [saved] = &salvage.saved[..] else { panic!("{:?}", salvage.saved) };
        let (_, changes) = salvage.changes(&fixture.repo, saved).expect("read");
        let files: Vec<String> = changes.files.iter().map(|file| format!("{} {}", file.status, file.path)).collect();
        let extent = salvage.extent(saved, Duration::ZERO);
        let uncommitted: Vec<bool> = saved.parts().map(|part| part.uncommitted).collect();
        let ends: Vec<String> =
            removed.salvage.iter().map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        nothing_half_made(&fixture);
        assert_eq!(saved.bundle().is_some(), most < 1 << 20, "{saved:?}");
        assert_eq!(has(&fixture, &saved.main.commit), most >= 1 << 20);
        assert!(removed.salvage.iter().all(|name| saved.parts().any(|part| part.reference == *name)));
        (saved.from.clone(), parts(saved), uncommitted, extent.commits, extent.files, files, ends)
    };
    let bundled = told(64 << 10);
    assert_eq!(bundled, told(1 << 30));
    assert_eq!(bundled.1, ["worktree", "index", "head"]);
}

#[test]
fn undo_and_redo_need_nothing_of_a_bundle_and_keep_it() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    make_a_big_mess(&fixture, &record.path);
    let before = everything(&fixture, &record.path);
    rm(&fixture, &record);
    let first = bundles_of(&fixture);
    gc(&fixture);
    undo(&fixture);
    assert_eq!(everything(&fixture, &record.path), before);
    assert_eq!(bundles_of(&fixture), first, "it stays, as refs do");
    redo(&fixture);
    let stamp = fixture.store.operations().expect("read")[0].stamp.clone().expect("a stamp");
    let anew = bundles_of(&fixture);
    assert_eq!(anew.len(), 1);
    assert!(anew[0].ends_with(&stamp) && anew != first, "it is as old as the removal: {anew:?}");
    assert!(fixture.refs(SALVAGE_PREFIX).iter().all(|name| name.contains(&stamp)));
    gc(&fixture);
    undo(&fixture);
    assert_eq!(everything(&fixture, &record.path), before);
    fs::remove_tree(&anew[0]).expect("gone");
    let refused = crate::cleanup::undo::redo::redo(&fixture.repo, &fixture.store);
    assert!(format!("{refused:?}").contains("which was saved before the removal, is gone"), "{refused:?}");
}

#[test]
fn what_a_bundle_holds_is_restored_whatever_became_of_the_branch_below_it() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "mine", "mine\n");
    let bytes = make_a_big_mess(&fixture, &record.path);
    assert_eq!(rm(&fixture, &record).branch_outcome, BranchOutcome::Deleted);
    for reference in fixture.refs("refs/treehand/undo/") {
        fixture.git(&["update-ref", "-d", &reference]);
    }
    gc(&fixture);
    let salvage = scan(&fixture);
    assert_eq!(salvage.extent(&salvage.saved[0], Duration::ZERO).commits, 1);
    let branch = |name: &str| BranchName::parse(name).expect("a name");
    let refused = salvage.restore(&fixture.repo, &salvage.saved[0], &branch("main"));
    assert!(matches!(refused, Err(CleanupError::Refused { .. })), "{refused:?}");
    assert!(!has(&fixture, &salvage.saved[0].main.commit), "nothing came in");
    let made = salvage.restore(&fixture.repo, &salvage.saved[0], &branch("again")).expect("restored");
    let names: Vec<&str> = made.iter().map(|made| made.branch.as_str()).collect();
    assert_eq!(names, ["again", "again-index"]);
    gc(&fixture);
    assert_eq!(file_at(&fixture, "again", "big"), bytes);
    assert_eq!(file_at(&fixture, "again", "mine"), b"mine\n");
    assert_eq!(file_at(&fixture, "again-index", "both"), b"one\n");
    nothing_half_made(&fixture);
    let salvage = scan(&fixture);
    assert_eq!(salvage.extent(&salvage.saved[0], Duration::ZERO).commits, 0, "a branch holds all of it");
    assert_eq!(bundles_of(&fixture).len(), 1, "it stays saved");
    let (base, changes) = salvage.changes(&fixture.repo, &salvage.saved[0]).expect("read");
    assert!(base.is_some() && changes.files.iter().any(|file| file.path == "big"));
}

#[test]
fn what_is_dropped_is_in_the_trash_until_the_retention_ends() {
    let fixture = fixture();
    for name in ["v", "w"] {
        let record = fixture.workspace(name);
        make_a_big_mess(&fixture, &record.path);
        rm(&fixture, &record);
    }
    let salvage = scan(&fixture);
    listed::discard(&fixture.repo, &fixture.store, &salvage.saved.iter().collect::<Vec<_>>()).expect("dropped");
    assert!(bundles_of(&fixture).is_empty() && scan(&fixture).saved.is_empty());
    assert_eq!(fixture.refs(SALVAGE_PREFIX), [] as [String; 0]);
    let noted =
        fixture.store.entries_after(0, None).expect("read").into_iter().filter(|entry| entry.kind == "salvage.drop");
    let places: Vec<PathBuf> = noted
        .flat_map(|entry| entry.data["bundles"].as_array().expect("a list").clone())
        .map(|place| PathBuf::from(place.as_str().expect("a path")))
        .collect();
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|place| place.join("saved.bundle").is_file()), "{places:?}");
    clean(&fixture, &CleanPolicy { min_age: Duration::ZERO, ..policy(20) });
    assert!(places.iter().all(|place| !place.exists()));
}

#[test]
fn a_bundle_ends_with_the_retention_and_counts_for_the_disk_budget() {
    let fixture = fixture();
    for name in ["one", "two"] {
        let record = fixture.new_workspace(name, name == "two");
        make_a_big_mess(&fixture, &record.path);
        rm(&fixture, &record);
    }
    let lies = bundles_of(&fixture);
    assert_eq!(lies.len(), 2);
    let budget = |size: u64| CleanPolicy { disk_budget: Some(ByteSize(size)), min_age: Duration::ZERO, ..policy(1) };
    let plan = clean::plan(&fixture.repo, &fixture.store, &budget(100 << 20)).expect("planned");
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    let report = clean(&fixture, &budget(0));
    let bundles: Vec<_> = report.actions.iter().filter(|action| action.item.contains("/salvage/")).collect();
    assert_eq!(bundles.len(), 2, "{:?}", report.actions);
    for action in bundles {
        assert!(action.proof.starts_with("a bundle of what was saved, the oldest of "), "{}", action.proof);
        assert!(action.bytes >= BIG as u64 && action.outcome == Outcome::Done, "{action:?}");
    }
    assert!(bundles_of(&fixture).is_empty() && !fixture.repo.state_dir().join("salvage").exists());
    let left: Vec<Vec<String>> = scan(&fixture).saved.iter().map(parts).collect();
    assert_eq!(left, [["head".to_owned()]], "what the other was built on is nothing that was saved");

    let record = fixture.workspace("three");
    make_a_big_mess(&fixture, &record.path);
    rm(&fixture, &record);
    assert_eq!(bundles_of(&fixture).len(), 1);
    clean(&fixture, &CleanPolicy { min_age: Duration::ZERO, ..policy(20) });
    assert!(bundles_of(&fixture).is_empty() && scan(&fixture).saved.is_empty());
    assert_eq!(fixture.refs("refs/treehand/"), [] as [String; 0]);
}

fn attempt(fixture: &Fixture, record: &WorkspaceRecord) -> crate::cleanup::Result<Removed> {
    let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
    let plan = remove::plan(&fixture.repo, &fixture.store, record, &options)?;
    remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE)
}

#[test]
fn a_workspace_whose_bundle_cannot_be_written_stays_as_it_is() {
    for sealed in [false, true] {
        let fixture = fixture();
        let record = fixture.new_workspace("w", sealed);
        make_a_big_mess(&fixture, &record.path);
        let before = fixture.picture(&record.path);
        let place = fixture.repo.state_dir().join("salvage");
        std::fs::write(&place, "in the way").expect("written");
        let refused = attempt(&fixture, &record).map(|removed| removed.salvage);
        let Err(CleanupError::Refused { message, hint }) = refused else { panic!("{refused:?}") };
        assert!(message.starts_with("what has to be saved is more than 64K (clean.salvage_max)"), "{message}");
        assert!(hint.is_some_and(|hint| hint.contains("clean.salvage_max=")));
        assert_eq!(fixture.picture(&record.path), before);
        assert_eq!(fixture.refs("refs/treehand/"), [] as [String; 0]);
        nothing_half_made(&fixture);
        std::fs::remove_file(&place).expect("removed");
        attempt(&fixture, &record).expect("removed");
        assert_eq!(bundles_of(&fixture).len(), 1);
    }
}

#[test]
fn a_removal_that_does_not_happen_leaves_no_bundle() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    make_a_big_mess(&fixture, &record.path);
    // What is in the trash's place takes no directory.
    std::fs::write(fixture.repo.state_dir().join("trash"), "in the way").expect("written");
    assert!(attempt(&fixture, &record).is_err());
    assert!(record.path.join("big").exists());
    assert!(bundles_of(&fixture).is_empty() && !fixture.repo.state_dir().join("salvage").exists());
    assert_eq!(fixture.refs(SALVAGE_PREFIX), [] as [String; 0]);
}

#[test]
fn the_work_of_a_sealed_workspace_is_in_a_bundle_and_its_branch_stays_where_it_is() {
    let fixture = fixture();
    let record = fixture.new_workspace("s", true);
    let base = fixture.tip("refs/heads/s");
    fixture.commit_in(&record.path, "b", "committed\n");
    let bytes = noise();
    std::fs::write(record.path.join("u"), &bytes).expect("written");
    fixture.run_in(&record.path, &["branch", "aside"]);
    fixture.run_in(&record.path, &["checkout", "-q", "aside"]);
    let aside = fixture.commit_in(&record.path, "aside", "aside\n");
    fixture.run_in(&record.path, &["checkout", "-q", "s"]);
    let removed = attempt(&fixture, &record).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Kept);
    assert!(removed.reason.contains("more than clean.salvage_max"), "{}", removed.reason);
    assert_eq!(fixture.tip("refs/heads/s"), base);
    let salvage = scan(&fixture);
    let [saved] = &salvage.saved[..] else { panic!("{:?}", salvage.saved) };
    let part = format!("private-{}-heads-aside", aside.short());
    assert_eq!(parts(saved), ["worktree".to_owned(), part.clone(), "base".to_owned()]);
    assert_eq!(salvage.extent(saved, Duration::ZERO).commits, 2, "one is made of changes");
    assert!(!has(&fixture, &saved.main.commit));
    // Nobody holds the base any more, but what was saved.
    fixture.git(&["checkout", "-q", "--orphan", "fresh"]);
    fixture.git(&["commit", "-q", "--allow-empty", "-m", "anew"]);
    fixture.git(&["branch", "-D", "main", "s"]);
    for reference in fixture.refs("refs/treehand/undo/") {
        fixture.git(&["update-ref", "-d", &reference]);
    }
    gc(&fixture);
    let salvage = scan(&fixture);
    let branch = BranchName::parse("again").expect("a name");
    let made = salvage.restore(&fixture.repo, &salvage.saved[0], &branch).expect("restored");
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!((file_at(&fixture, "again", "u"), file_at(&fixture, "again~1", "b")), (bytes, b"committed\n".to_vec()));
    assert_eq!(fixture.tip(&format!("refs/heads/again-{part}")), aside);
    nothing_half_made(&fixture);
}

#[test]
fn a_sealed_workspace_with_a_bundle_comes_back_and_goes_within_the_cap() {
    let mut fixture = fixture();
    let record = fixture.new_workspace("s", true);
    let bytes = noise();
    std::fs::write(record.path.join("u"), &bytes).expect("written");
    rm(&fixture, &record);
    assert_eq!((bundles_of(&fixture).len(), fixture.find("refs/heads/s")), (1, None), "its branch was as its base");
    undo(&fixture);
    assert_eq!(std::fs::read(record.path.join("u")).expect("back"), bytes);
    assert!(fixture.run_in(&record.path, &["status", "--porcelain"]).contains("?? u"));
    fixture.repo.salvage_max = ByteSize(1 << 30);
    let back = fixture.store.workspaces().expect("read").remove(0);
    let removed = attempt(&fixture, &back).expect("removed");
    assert_eq!((removed.branch_outcome, removed.salvage.len()), (BranchOutcome::Kept, 0));
    assert_eq!(file_at(&fixture, "s", "u"), bytes);
}

#[test]
fn the_box_of_a_dead_run_is_saved_in_a_bundle() {
    let fixture = fixture();
    let later = CleanPolicy { now: Timestamp(1_900_000_000_000), retention: Duration::MAX, ..policy(0) };
    let (run, _, paths) = abandoned_box(&fixture, "running", "running");
    let bytes = noise();
    std::fs::write(paths.tree.join("big"), &bytes).expect("written");
    let report = clean(&fixture, &later);
    let saved = report.actions.iter().find_map(|action| action.salvage.first()).expect("something was saved");
    assert!(saved.starts_with(&format!("refs/treehand/salvage/{}/t/", run.id)), "{saved}");
    assert_eq!(fixture.find(saved), None, "no ref holds it");
    let salvage = scan(&fixture);
    assert_eq!(salvage.saved[0].from, format!("{}/t", run.id));
    let branch = BranchName::parse("again").expect("a name");
    salvage.restore(&fixture.repo, &salvage.saved[0], &branch).expect("restored");
    assert_eq!((file_at(&fixture, "again", "big"), file_at(&fixture, "again", "u")), (bytes, b"untracked\n".to_vec()));
    undo(&fixture);
    assert!(fixture.run_in(&paths.tree, &["status", "--porcelain"]).contains("?? u"));
    nothing_half_made(&fixture);
}

#[test]
fn a_bundle_of_a_workspace_without_a_commit_needs_nothing() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    fixture.run_in(&record.path, &["checkout", "-q", "--orphan", "void"]);
    std::fs::write(record.path.join("big"), noise()).expect("written");
    attempt(&fixture, &record).expect("removed");
    let salvage = scan(&fixture);
    let [saved] = &salvage.saved[..] else { panic!("{:?}", salvage.saved) };
    assert!(!parts(saved).contains(&"head".to_owned()) && saved.bundle().is_some(), "{saved:?}");
    let made = salvage.restore(&fixture.repo, saved, &BranchName::parse("again").expect("a name")).expect("restored");
    assert_eq!(fixture.git(&["rev-list", "--count", made[0].branch.as_str()]), "1");
}

#[test]
fn what_the_repository_has_already_is_not_counted() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    std::fs::write(record.path.join("big"), noise()).expect("written");
    fixture.run_in(&record.path, &["add", "big"]);
    std::fs::write(record.path.join("small"), "s\n").expect("written");
    rm(&fixture, &record);
    assert!(bundles_of(&fixture).is_empty(), "what is staged is among the repository's objects");
    let saved = scan(&fixture).saved.remove(0);
    assert!(saved.bundle().is_none() && has(&fixture, &saved.main.commit));
}

#[test]
fn a_bundle_that_nobody_can_tell_of_is_in_no_list_and_ends_with_the_retention() {
    let fixture = fixture();
    let record = fixture.workspace("w");
    make_a_big_mess(&fixture, &record.path);
    rm(&fixture, &record);
    let lies = bundles_of(&fixture).remove(0);
    std::fs::write(lies.join("about.json"), "{\"version\": 99}").expect("written");
    assert_eq!(scan(&fixture).saved.iter().map(parts).collect::<Vec<_>>(), [["head".to_owned()]]);
    let refs = crate::cleanup::uninstall::scan::refs(&fixture.repo).expect("read");
    assert!(
        refs.iter().any(|fact| fact.alone && fact.name.ends_with("/saved.bundle")),
        "it is in the way of uninstall"
    );
    clean(&fixture, &CleanPolicy { min_age: Duration::ZERO, ..policy(20) });
    assert!(!lies.exists());
}
