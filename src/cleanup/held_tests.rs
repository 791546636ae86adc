//! Stories of what only the git dir of a removed worktree holds: it survives any gc, and where it does not, undo says so.
//!
//! Each has its repository and its state directory to itself.

use std::path::{Path, PathBuf};

use super::clean::cleaning_tests::{clean, policy};
use super::remove::{self, RemoveOptions, Removed};
use super::undo::{self, redo};
use super::{CleanupError, salvage};
use crate::model::BranchName;
use crate::model::record::WorkspaceRecord;
use crate::worktree::fixture::{Fixture, TEMPLATE};
use crate::worktree::import::update_ref;

fn rm(fixture: &Fixture, record: &WorkspaceRecord) -> Removed {
    let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
    let plan = remove::plan(&fixture.repo, &fixture.store, record, &options).expect("planned");
    remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE).expect("removed")
}

fn collect(fixture: &Fixture) {
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    fixture.git(&["fsck", "--strict", "--no-dangling"]);
}

fn git_dir(fixture: &Fixture, record: &WorkspaceRecord) -> PathBuf {
    PathBuf::from(fixture.run_in(&record.path, &["rev-parse", "--absolute-git-dir"]))
}

/// Lets go of everything that keeps objects of a removed worktree.
fn let_all_go(fixture: &Fixture) {
    for name in fixture.refs("refs/treehand/") {
        let tip = fixture.tip(&name);
        update_ref(&fixture.repo, &name, None, Some(&tip), "test").expect("deleted");
    }
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
}

/// A merge in conflict, with another file that is staged in one form and lies there in another.
fn conflicted(fixture: &Fixture) -> WorkspaceRecord {
    let record = fixture.workspace("w");
    let tree = &record.path;
    fixture.commit_in(tree, "b", "base\n");
    fixture.run_in(tree, &["checkout", "-q", "-b", "t"]);
    fixture.commit_in(tree, "b", "theirs\n");
    fixture.run_in(tree, &["checkout", "-q", "w"]);
    fixture.commit_in(tree, "b", "ours\n");
    let merge = fixture.repo.git.within(tree, ["merge", "-q", "t"]).output().expect("started");
    assert!(!merge.status.success());
    std::fs::write(tree.join("a"), "staged\n").expect("written");
    fixture.run_in(tree, &["add", "a"]);
    std::fs::write(tree.join("a"), "worktree\n").expect("written");
    record
}

#[test]
fn what_was_staged_beside_a_conflict_was_saved_nowhere() {
    let fixture = Fixture::new();
    let record = conflicted(&fixture);
    let before = fixture.picture(&record.path);
    let removed = rm(&fixture, &record);
    let part = |name: &str| removed.salvage.iter().find(|saved| saved.ends_with(name)).expect("saved").clone();
    let shown = |part: &str, path: &str| fixture.git(&["show", &format!("{part}:{path}")]);
    assert_eq!((shown(&part("/index"), "a"), shown(&part("/index"), "b")), ("staged".into(), "ours".into()));
    let conflict = part("/conflict");
    for (side, content) in [("base", "base"), ("ours", "ours"), ("theirs", "theirs")] {
        assert_eq!(shown(&conflict, &format!("{side}/b")), content);
    }
    let salvage = salvage::listed::scan(&fixture.repo).expect("read");
    let extent = salvage.extent(&salvage.saved[0], std::time::Duration::from_secs(1));
    assert_eq!(extent.files, 2, "the sides of a conflict are no more files than those in conflict");
    let made = salvage.restore(&fixture.repo, &salvage.saved[0], &BranchName::parse("again").expect("a name"));
    let made: Vec<String> = made.expect("restored").iter().map(|made| made.branch.to_string()).collect();
    assert_eq!(made, ["again", "again-index", "again-conflict"]);
    for branch in made {
        fixture.git(&["branch", "-q", "-D", &branch]);
    }
    for name in ["t", "w"] {
        fixture.git(&["branch", "-q", "-D", name]);
    }
    collect(&fixture);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    // The branch `t` is gone, as somebody wished; what it held is not.
    assert_eq!(fixture.picture(&record.path), before);
    collect(&fixture);
    fixture.run_in(&record.path, &["checkout", "--theirs", "b"]);
}

#[test]
fn what_is_saved_of_a_conflict_may_be_dropped_and_undo_does_without() {
    let fixture = Fixture::new();
    let record = conflicted(&fixture);
    let before = fixture.picture(&record.path);
    rm(&fixture, &record);
    let salvage = salvage::listed::scan(&fixture.repo).expect("read");
    salvage::listed::discard(&fixture.repo, &fixture.store, &salvage.saved.iter().collect::<Vec<_>>())
        .expect("dropped");
    collect(&fixture);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn a_file_that_is_in_conflict_with_a_directory_is_saved_too() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let id = fixture.git(&["rev-parse", "main:a"]);
    let lines = format!("100644 {id} 2\td\n100644 {id} 3\td/f\n100644 {id} 0\td/g\n");
    let index = fixture.repo.git.within(&record.path, ["update-index", "--index-info"]).stdin(lines);
    index.run().expect("written");
    let before = fixture.run_in(&record.path, &["ls-files", "--stage"]);
    let removed = rm(&fixture, &record);
    let conflict = removed.salvage.iter().find(|saved| saved.ends_with("/conflict")).expect("saved");
    assert_eq!(fixture.git(&["ls-tree", "-r", "--name-only", conflict]), "ours/d\ntheirs/d/f");
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.run_in(&record.path, &["ls-files", "--stage"]), before);
}

#[test]
fn what_only_reflog_and_own_refs_of_a_worktree_held_was_gone_after_a_gc() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let tree = &record.path;
    fixture.run_in(tree, &["checkout", "-q", "--detach"]);
    let (first, second) = (fixture.commit_in(tree, "b", "1\n"), fixture.commit_in(tree, "b", "2\n"));
    fixture.run_in(tree, &["reset", "-q", "--hard", "main"]);
    let own = fixture.commit_in(tree, "c", "1\n");
    fixture.run_in(tree, &["update-ref", "refs/worktree/own", own.as_str()]);
    std::fs::write(tree.join("../blob"), "held by nothing else\n").expect("written");
    let blob = fixture.run_in(tree, &["hash-object", "-w", "../blob"]);
    std::fs::remove_file(tree.join("../blob")).expect("removed");
    fixture.run_in(tree, &["update-ref", "refs/worktree/blob", &blob]);
    fixture.run_in(tree, &["tag", "-a", "-m", "a tag", "tag", own.as_str()]);
    fixture.run_in(tree, &["update-ref", "refs/worktree/tag", "tag"]);
    fixture.run_in(tree, &["tag", "-d", "tag"]);
    fixture.run_in(tree, &["checkout", "-q", "w"]);
    let refs = || fixture.run_in(tree, &["for-each-ref", "refs/worktree"]);
    let before = (refs(), fixture.run_in(tree, &["reflog"]));
    assert!(rm(&fixture, &record).salvage.is_empty(), "a clean workspace");
    for _ in 0..2 {
        collect(&fixture);
        undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
        assert_eq!((refs(), fixture.run_in(tree, &["reflog"])), before);
        fixture.git(&["fsck", "--strict", "--no-dangling"]);
        for commit in [&first, &second, &own] {
            fixture.run_in(tree, &["cat-file", "-e", commit.as_str()]);
        }
        redo::redo(&fixture.repo, &fixture.store).expect("made again");
    }
    assert!(fixture.refs("refs/treehand/undo/").iter().any(|name| name.contains("/tag-")));
    clean(&fixture, &policy(15));
    assert_eq!(fixture.refs("refs/treehand/"), [] as [String; 0], "its time is over");
}

#[test]
fn a_rebase_in_progress_goes_on_after_any_gc() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let tree = &record.path;
    fixture.run_in(tree, &["config", "core.editor", "true"]);
    for content in ["one", "two", "three"] {
        fixture.commit_in(tree, "a", content);
    }
    fixture.commit("a", "other\n");
    std::fs::write(tree.join(".gitignore"), "put away\n").expect("written");
    let rebase = fixture.repo.git.within(tree, ["rebase", "-q", "--autostash", "main"]).output().expect("started");
    assert!(!rebase.status.success());
    let stash = std::fs::read_to_string(git_dir(&fixture, &record).join("rebase-merge/autostash")).expect("put away");
    let before = fixture.picture(tree);
    let removed = rm(&fixture, &record);
    let saved = removed.salvage.iter().find(|saved| saved.ends_with("/autostash")).expect("saved");
    assert_eq!(fixture.tip(saved).as_str(), stash.trim());
    fixture.git(&["branch", "-q", "-D", "w"]);
    collect(&fixture);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(tree), before);
    fixture.run_in(tree, &["rebase", "--abort"]);
    assert_eq!(std::fs::read_to_string(tree.join(".gitignore")).expect("back"), "put away\n");
}

#[test]
fn undo_says_what_is_missing_and_puts_nothing_back() {
    let check = |make: &dyn Fn(&Fixture) -> WorkspaceRecord| {
        let fixture = Fixture::new();
        let record = make(&fixture);
        rm(&fixture, &record);
        let_all_go(&fixture);
        let before = fixture.git(&["for-each-ref"]);
        match undo::undo(&fixture.repo, &fixture.store, None) {
            Err(CleanupError::Refused { message, .. }) => assert!(message.contains(" needs the object "), "{message}"),
            other => panic!("not refused: {other:?}"),
        }
        assert_eq!(fixture.git(&["for-each-ref"]), before);
        assert_eq!(fixture.store.open_intents().expect("read"), []);
        assert!(!record.path.exists());
    };
    check(&conflicted);
    check(&|fixture| {
        let record = fixture.workspace("w");
        fixture.run_in(&record.path, &["checkout", "-q", "--detach"]);
        fixture.commit_in(&record.path, "b", "loose\n");
        fixture.run_in(&record.path, &["checkout", "-q", "w"]);
        record
    });
}

#[test]
fn what_was_missing_before_the_removal_is_no_reason_to_keep_a_workspace_away() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let gone = "1234567890123456789012345678901234567890";
    let dir = git_dir(&fixture, &record);
    std::fs::write(dir.join("ORIG_HEAD"), format!("{gone}\n")).expect("written");
    rm(&fixture, &record);
    collect(&fixture);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(std::fs::read_to_string(dir.join("ORIG_HEAD")).expect("back").trim(), gone);
}

#[test]
fn a_history_with_a_hole_is_not_held_and_collecting_goes_on() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let tree = &record.path;
    fixture.run_in(tree, &["checkout", "-q", "--detach"]);
    let lower = fixture.commit_in(tree, "b", "1\n");
    fixture.commit_in(tree, "b", "2\n");
    fixture.run_in(tree, &["checkout", "-q", "w"]);
    let (directory, file) = lower.as_str().split_at(2);
    let object = fixture.repo.common_dir.join("objects").join(directory).join(file);
    crate::sys::fs::remove_file(Path::new(&object)).expect("removed");
    rm(&fixture, &record);
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("it is as whole as it was");
}

#[test]
fn where_refs_are_in_tables_the_own_ones_are_held_too() {
    let fixture = Fixture::new();
    crate::sys::fs::remove_tree(&fixture.repo.common_dir.join("logs")).expect("removed");
    let migrate = ["refs", "migrate", "--ref-format=reftable"];
    if !fixture.repo.git.within(&fixture.root, migrate).output().expect("run").status.success() {
        // This git has no tables, or cannot migrate to them.
        return;
    }
    let record = fixture.workspace("w");
    let tree = &record.path;
    fixture.run_in(tree, &["checkout", "-q", "--detach"]);
    let own = fixture.commit_in(tree, "b", "1\n");
    fixture.run_in(tree, &["update-ref", "refs/worktree/own", own.as_str()]);
    fixture.run_in(tree, &["checkout", "-q", "w"]);
    rm(&fixture, &record);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.run_in(tree, &["rev-parse", "refs/worktree/own^{tree}"]).len(), 40);
    assert_eq!(fixture.run_in(tree, &["status", "--porcelain"]), "");
}
