//! Stories of removing and bringing back, on real repositories.
//!
//! Each has its repository and its state directory to itself.

use std::path::Path;

use super::workspace::{self, BranchOutcome, RemoveOptions, Removed};
use crate::cleanup::{CleanupError, Result, undo};
use crate::model::operation::UndoData;
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, CommitId, RunId, Timestamp};
use crate::sys::standing::Processes;
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::fixture::{Fixture, TEMPLATE};

const PLAIN: RemoveOptions = RemoveOptions { force_dirty: false, delete_unmerged: false };
const DIRTY: RemoveOptions = RemoveOptions { force_dirty: true, delete_unmerged: false };
const UNMERGED: RemoveOptions = RemoveOptions { force_dirty: false, delete_unmerged: true };

fn rm(fixture: &Fixture, record: &WorkspaceRecord, options: RemoveOptions) -> Result<Removed> {
    let plan = workspace::plan(&fixture.repo, &fixture.store, record, &options)?;
    workspace::apply(&fixture.repo, &fixture.store, plan, TEMPLATE)
}

fn refusal(result: Result<impl std::fmt::Debug>) -> String {
    match result {
        Err(CleanupError::Refused { message, .. }) => message,
        other => panic!("not refused: {other:?}"),
    }
}

fn write(tree: &Path, path: &str, content: &str) {
    std::fs::write(tree.join(path), content).expect("write");
}

/// Staged, unstaged, deleted, renamed, untracked and ignored, with an executable and a link.
pub fn make_a_mess(fixture: &Fixture, tree: &Path) {
    write(tree, "staged", "staged\n");
    write(tree, "both", "one\n");
    fixture.run_in(tree, &["add", "staged", "both"]);
    write(tree, "both", "two\n");
    write(tree, "a", "changed\n");
    write(tree, "untracked", "u\n");
    write(tree, "noise.log", "ignored\n");
    std::fs::create_dir(tree.join("empty")).expect("created");
    std::os::unix::fs::symlink("a", tree.join("link")).expect("link");
}

#[test]
fn a_clean_workspace_goes_with_its_merged_branch_and_comes_back() {
    let fixture = Fixture::new();
    let record = fixture.workspace("feature/x");
    fixture.commit_in(&record.path, "b", "two\n");
    let tip = fixture.tip("refs/heads/feature/x");
    fixture.git(&["merge", "-q", "--ff-only", "feature/x"]);
    let (before, files) = (fixture.picture(&record.path), fixture.git(&["worktree", "list", "--porcelain"]));
    let removed = rm(&fixture, &record, PLAIN).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Deleted);
    assert_eq!(removed.reason, "ancestor of `main`");
    assert!(removed.salvage.is_empty());
    assert!(!record.path.exists() && !fixture.dir.path().join("work.trees").exists());
    assert_eq!(fixture.find("refs/heads/feature/x"), None);
    assert_eq!(fixture.store.workspaces().expect("read"), []);
    assert!(!fixture.git(&["worktree", "list"]).contains("trees"));
    let undone = undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(Some(undone.op), removed.op);
    assert_eq!(fixture.tip("refs/heads/feature/x"), tip);
    assert_eq!(fixture.picture(&record.path), before);
    assert_eq!(fixture.git(&["worktree", "list", "--porcelain"]), files);
    assert_eq!(fixture.store.workspaces().expect("read"), [record]);
    assert!(matches!(undo::undo(&fixture.repo, &fixture.store, None), Err(CleanupError::NothingToUndo)));
    assert!(refusal(undo::undo(&fixture.repo, &fixture.store, removed.op)).contains("already"));
}

#[test]
fn a_dirty_workspace_is_refused_then_saved_and_comes_back_byte_for_byte() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    let message = refusal(rm(&fixture, &record, PLAIN));
    assert!(message.contains("not committed") && message.contains("untracked"), "{message}");
    assert_eq!(fixture.picture(&record.path), before, "looking changed something");
    let removed = rm(&fixture, &record, DIRTY).expect("removed");
    let (head, index, worktree) = (&removed.salvage[0], &removed.salvage[1], &removed.salvage[2]);
    assert!(head.starts_with("refs/treehand/salvage/w/") && head.ends_with("/head"), "{head}");
    let shown = |rev: &str, path: &str| fixture.git(&["show", &format!("{rev}:{path}")]);
    assert_eq!((shown(index, "both"), shown(worktree, "both")), ("one".into(), "two".into()));
    assert_eq!((shown(index, "a"), shown(worktree, "a")), ("one".into(), "changed".into()));
    assert_eq!(shown(worktree, "untracked"), "u");
    assert!(!fixture.git(&["ls-tree", "-r", "--name-only", worktree]).contains("noise.log"));
    fixture.git(&["fsck", "--strict", "--no-dangling"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
    assert!(record.path.join("noise.log").exists() && record.path.join("empty").is_dir());
}

#[test]
fn what_was_saved_survives_a_gc_that_keeps_nothing() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    rm(&fixture, &record, DIRTY).expect("removed");
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn an_unmerged_branch_is_kept_with_the_reason_and_goes_only_when_asked_for() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.workspace("one"), fixture.workspace("two"));
    let kept = fixture.commit_in(&first.path, "b", "1\n");
    let gone = fixture.commit_in(&second.path, "b", "2\n");
    let removed = rm(&fixture, &first, PLAIN).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Kept);
    assert_eq!(removed.reason, "it has 1 commit that is not in `main`");
    assert_eq!(fixture.tip("refs/heads/one"), kept);
    let removed = rm(&fixture, &second, UNMERGED).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Deleted);
    assert_eq!(fixture.find("refs/heads/two"), None);
    assert_eq!(fixture.tip(&removed.salvage[0]), gone);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.tip("refs/heads/two"), gone);
}

#[test]
fn a_detached_head_that_nothing_holds_is_refused_then_saved() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.run_in(&record.path, &["checkout", "-q", "--detach"]);
    let loose = fixture.commit_in(&record.path, "b", "loose\n");
    assert!(rm(&fixture, &record, PLAIN).is_err(), "its commits are in no branch");
    let removed = rm(&fixture, &record, RemoveOptions { force_dirty: false, delete_unmerged: true }).expect("removed");
    assert_eq!(fixture.tip(&removed.salvage[0]), loose);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.run_in(&record.path, &["rev-parse", "HEAD"]), loose.to_string());
}

#[test]
fn a_squash_merged_branch_comes_back_after_a_gc() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let tip = fixture.commit_in(&record.path, "b", "two\n");
    fixture.git(&["merge", "-q", "--squash", "w"]);
    fixture.git(&["commit", "-q", "-m", "squashed"]);
    let removed = rm(&fixture, &record, PLAIN).expect("removed");
    assert_eq!(removed.reason, "same-tree of `main`");
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.tip("refs/heads/w"), tip);
}

#[test]
fn files_that_flags_hide_from_git_count_as_changes() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.run_in(&record.path, &["update-index", "--assume-unchanged", "a"]);
    write(&record.path, "a", "hidden\n");
    assert!(fixture.run_in(&record.path, &["status", "--porcelain"]).is_empty());
    assert!(refusal(rm(&fixture, &record, PLAIN)).contains("not committed: a"));
    let before = fixture.picture(&record.path);
    let removed = rm(&fixture, &record, DIRTY).expect("removed");
    let worktree = removed.salvage.last().expect("saved");
    assert_eq!(fixture.git(&["show", &format!("{worktree}:a")]), "hidden");
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn a_change_in_the_same_tick_and_of_the_same_size_counts_and_is_saved() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    // Only the index's own time tells git to look into the file.
    fixture.git(&["config", "core.trustctime", "false"]);
    let git_dir = fixture.run_in(&record.path, &["rev-parse", "--absolute-git-dir"]);
    let file = record.path.join("a");
    let tick = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let set = |path: &Path| {
        let file = std::fs::File::options().write(true).open(path).expect("there");
        file.set_modified(tick).expect("set");
    };
    set(&file);
    fixture.run_in(&record.path, &["update-index", "--refresh"]);
    std::fs::write(&file, "two\n").expect("write");
    set(&file);
    set(&Path::new(&git_dir).join("index"));
    assert_eq!(fixture.run_in(&record.path, &["status", "--porcelain"]), " M a");
    assert!(refusal(rm(&fixture, &record, PLAIN)).contains("not committed: a"));
    let removed = rm(&fixture, &record, DIRTY).expect("removed");
    let worktree = removed.salvage.last().expect("saved");
    assert_eq!(fixture.git(&["show", &format!("{worktree}:a")]), "two");
}

#[test]
fn a_conflicted_merge_is_refused_then_saved() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "a", "theirs\n");
    let main = fixture.commit("a", "ours\n");
    let merge = fixture.repo.git.within(&record.path, ["merge", "-q", "main"]).output().expect("started");
    assert!(!merge.status.success());
    let before = fixture.picture(&record.path);
    assert!(refusal(rm(&fixture, &record, PLAIN)).contains("in the middle of a merge"));
    let removed = rm(&fixture, &record, DIRTY).expect("removed");
    let merged = removed.salvage.iter().find(|name| name.ends_with("/MERGE_HEAD")).expect("saved");
    assert_eq!(fixture.tip(merged), main);
    let worktree = removed.salvage.iter().find(|name| name.ends_with("/worktree")).expect("saved");
    assert!(fixture.git(&["show", &format!("{worktree}:a")]).contains("<<<<<<<"));
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn what_cannot_be_saved_stops_the_removal() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let nested = record.path.join("nested");
    std::fs::create_dir(&nested).expect("created");
    fixture.run_in(&nested, &["init", "-q"]);
    fixture.run_in(&nested, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]);
    let message = refusal(rm(&fixture, &record, DIRTY));
    assert!(message.contains("another repository") && message.contains("nested"), "{message}");
    assert!(nested.join(".git").exists());
    assert_eq!(fixture.refs("refs/treehand/salvage/"), [] as [String; 0], "nothing was removed");
    assert_eq!(fixture.store.workspaces().expect("read"), [record]);
    assert_eq!(fixture.store.operations().expect("read"), []);
}

#[test]
fn a_workspace_that_changed_after_the_plan_is_left_alone() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let plan = || workspace::plan(&fixture.repo, &fixture.store, &record, &PLAIN).expect("planned");
    let (clean, committed) = (plan(), plan());
    write(&record.path, "new", "x");
    let message = refusal(workspace::apply(&fixture.repo, &fixture.store, clean, TEMPLATE));
    assert!(message.contains("changes now: new"), "{message}");
    fixture.commit_in(&record.path, "new", "x");
    let message = refusal(workspace::apply(&fixture.repo, &fixture.store, committed, TEMPLATE));
    assert!(message.contains("other commits"), "{message}");
    assert_eq!(fixture.store.workspaces().expect("read"), [record]);
}

#[test]
fn where_somebody_stands_and_what_is_locked_stays() {
    let mut fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.git(&["worktree", "lock", "--reason", "on a stick", &record.path.to_string_lossy()]);
    assert!(refusal(rm(&fixture, &record, PLAIN)).contains("locked (on a stick)"));
    fixture.git(&["worktree", "unlock", &record.path.to_string_lossy()]);
    fixture.repo = crate::worktree::Repository::discover(&fixture.repo.git, &record.path).expect("found");
    assert!(refusal(rm(&fixture, &record, DIRTY)).contains("you stand in"));
}

#[test]
fn a_workspace_in_which_a_process_works_stays() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let sleeper = fixture.repo.git.within(&record.path, ["-c", "alias.nap=!exec sleep 60", "nap"]);
    let sleeper = sleeper.deadline(std::time::Duration::from_secs(3));
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| sleeper.output());
        let refused = loop {
            match workspace::plan(&fixture.repo, &fixture.store, &record, &DIRTY) {
                Err(error) => break error.to_string(),
                Ok(_) if sleeping.is_finished() => panic!("the process was not seen"),
                Ok(_) => {}
            }
        };
        assert!(refused.contains("processes work in `w`") && refused.contains("pid "), "{refused}");
    });
    // The kernel takes a moment to end what was killed with the command.
    while workspace::plan(&fixture.repo, &fixture.store, &record, &PLAIN).is_err() {
        assert!(
            Processes::scan().expect("readable").inside(&record.path).iter().all(|process| process.name == "sleep")
        );
    }
    rm(&fixture, &record, PLAIN).expect("nobody is in it any more");
}

#[test]
fn a_directory_that_is_not_the_workspace_any_more_is_left_alone() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    std::fs::rename(&record.path, record.path.with_extension("moved")).expect("moved");
    fixture.git(&["clone", "-q", ".", &record.path.to_string_lossy()]);
    assert!(refusal(rm(&fixture, &record, DIRTY)).contains("is not the workspace"));
    assert!(record.path.join(".git").is_dir());
}

#[test]
fn a_directory_that_is_gone_leaves_no_trace_and_undo_brings_the_rest_back() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    crate::sys::fs::remove_tree(&record.path).expect("removed");
    let removed = rm(&fixture, &record, PLAIN).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Deleted);
    assert!(!fixture.git(&["worktree", "list"]).contains("trees"));
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.store.workspaces().expect("read"), [record]);
    assert!(fixture.find("refs/heads/w").is_some());
}

#[test]
fn undo_is_refused_when_something_is_in_the_way_and_then_nothing_moves() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    rm(&fixture, &record, PLAIN).expect("removed");
    let again = fixture.workspace("w");
    let before = fixture.git(&["for-each-ref"]);
    let message = refusal(undo::undo(&fixture.repo, &fixture.store, None));
    assert!(message.contains("is there again") && message.contains("another workspace"), "{message}");
    assert_eq!(fixture.git(&["for-each-ref"]), before);
    assert_eq!(fixture.store.workspaces().expect("read"), [again]);
}

#[test]
fn a_git_dir_whose_name_was_taken_comes_back_under_another() {
    let fixture = Fixture::new();
    let record = fixture.workspace("one");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    rm(&fixture, &record, DIRTY).expect("removed");
    let other = fixture.workspace("two");
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
    assert!(fixture.run_in(&other.path, &["status", "--porcelain"]).is_empty());
    assert!(fixture.run_in(&record.path, &["rev-parse", "--abbrev-ref", "HEAD"]).contains("one"));
    rm(&fixture, &record, DIRTY).expect("it can be removed again");
}

fn land(fixture: &Fixture, to: &CommitId) -> i64 {
    let (into, before) = (BranchName::parse("main").expect("a name"), fixture.tip("refs/heads/main"));
    let lock_wait = std::time::Duration::from_secs(5);
    let request = Advance { branch: &into, from: &before, to, message: "land", lock_wait };
    assert_eq!(advance(&fixture.repo, &request).expect("advanced"), Advanced::Done);
    let run = Some(RunId::new(Timestamp(1_800_000_000_000), 7));
    let undo = UndoData::Landing { into, before, after: to.clone(), run, task: None };
    fixture.store.add_operation("land", Timestamp(1), "landed", undo).expect("recorded")
}

#[test]
fn a_landing_goes_back_with_the_worktree_that_has_it() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let before = fixture.tip("refs/heads/main");
    let to = fixture.commit_on("side", &[("landed", "x")]);
    let op = land(&fixture, &to);
    write(&fixture.root, "mine", "local\n");
    assert!(fixture.root.join("landed").exists());
    let undone = undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(undone.op, op);
    assert_eq!(fixture.tip("refs/heads/main"), before);
    assert!(!fixture.root.join("landed").exists());
    assert_eq!(fixture.git(&["status", "--porcelain"]), "?? mine");
}

#[test]
fn a_landing_that_was_built_upon_stays_and_the_commits_are_named() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let before = fixture.tip("refs/heads/main");
    let to = fixture.commit_on("side", &[("landed", "x")]);
    let op = land(&fixture, &to);
    write(&fixture.root, "more", "x");
    fixture.git(&["add", "more"]);
    fixture.git(&["commit", "-q", "-m", "more\n\nTreehand-Task: other"]);
    let message = refusal(undo::undo(&fixture.repo, &fixture.store, Some(op)));
    assert!(message.contains(" more (task other)"), "{message}");
    fixture.git(&["reset", "-q", "--hard", before.as_str()]);
    undo::undo(&fixture.repo, &fixture.store, Some(op)).expect("it is back already");
    assert!(fixture.store.operation(op).expect("read").undone);
}

#[test]
fn a_landing_with_local_changes_in_the_way_stays() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let to = fixture.commit_on("side", &[("a", "landed\n")]);
    land(&fixture, &to);
    write(&fixture.root, "a", "mine\n");
    let message = refusal(undo::undo(&fixture.repo, &fixture.store, None));
    assert!(message.contains("in the way"), "{message}");
    assert_eq!(fixture.tip("refs/heads/main"), to);
    assert_eq!(std::fs::read_to_string(fixture.root.join("a")).expect("read"), "mine\n");
    assert_eq!(fixture.refs("refs/treehand/undo/"), [] as [String; 0]);
}

#[test]
fn a_sealed_workspace_is_imported_and_comes_back() {
    let fixture = Fixture::new();
    let record = fixture.new_workspace("s", true);
    fixture.commit_in(&record.path, "b", "committed\n");
    write(&record.path, "u", "untracked\n");
    let removed = rm(&fixture, &record, PLAIN).expect("removed");
    assert_eq!(removed.branch_outcome, BranchOutcome::Kept, "{removed:?}");
    assert_eq!(fixture.git(&["show", "s:u"]), "untracked");
    assert_eq!(fixture.git(&["show", "s~1:b"]), "committed");
    assert!(!record.path.exists() && !fixture.git(&["worktree", "list"]).contains("trees"));
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(std::fs::read_to_string(record.path.join("u")).expect("back"), "untracked\n");
    assert!(fixture.run_in(&record.path, &["status", "--porcelain"]).contains("?? u"));
    let back = fixture.store.workspaces().expect("read").remove(0);
    assert_eq!(back.imported, Some(fixture.tip("refs/heads/s")));
    let removed = rm(&fixture, &back, UNMERGED).expect("removed again");
    assert_eq!(removed.branch_outcome, BranchOutcome::Deleted);
    assert_eq!(removed.salvage.len(), 1);
}
