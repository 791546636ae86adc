//! Proof that `undo` brings each kind of operation back exactly and `redo` makes it again, or that they refuse and say why.
//!
//! Exactly is: index with flags, bytes and modes of every file, links, empty directories, HEAD, branches and git's status.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::redo::{self, Redone};
use super::taking_back;
use crate::cleanup::clean::{self, CleanPolicy};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::remove::workspace_tests::make_a_mess;
use crate::cleanup::remove::{self, RemoveOptions};
use crate::cleanup::{CleanupError, Result};
use crate::model::operation::{UndoData, UpdateRecord};
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, CommitId, RunId, TaskId, Timestamp};
use crate::sys::clock;
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::fixture::{Fixture, TEMPLATE};
use crate::worktree::import::update_ref;

const ANYWAY: RemoveOptions = RemoveOptions { force_dirty: true, delete_unmerged: true };

/// Everything that undo promises to bring back of a worktree and of the repository's branches.
pub fn everything(fixture: &Fixture, tree: &Path) -> String {
    let mut text = format!("{}\n", fixture.git(&["for-each-ref", "refs/heads", "refs/tags"]));
    for entry in walkdir::WalkDir::new(tree).sort_by_file_name().into_iter().map(|entry| entry.expect("read")) {
        let (path, meta) = (entry.path(), entry.metadata().expect("there"));
        let content = match meta.file_type() {
            kind if kind.is_file() => format!("{:?}", std::fs::read(path).expect("read")),
            kind if kind.is_symlink() => format!("{:?}", std::fs::read_link(path).expect("read")),
            _ => String::new(),
        };
        if !path.starts_with(tree.join(".git")) {
            text.push_str(&format!("{} {:o} {content}\n", path.display(), meta.permissions().mode()));
        }
    }
    let head = std::fs::read_to_string(Path::new(&git_dir(fixture, tree)).join("HEAD")).expect("a HEAD");
    let config = std::fs::read_to_string(fixture.repo.common_dir.join("config")).expect("read");
    format!("{text}{config}{head}{}", fixture.picture(tree))
}

fn git_dir(fixture: &Fixture, tree: &Path) -> String {
    fixture.run_in(tree, &["rev-parse", "--absolute-git-dir"])
}

pub fn rm(fixture: &Fixture, record: &WorkspaceRecord) -> remove::Removed {
    let plan = remove::plan(&fixture.repo, &fixture.store, record, &ANYWAY).expect("planned");
    remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE).expect("removed")
}

pub fn undo(fixture: &Fixture) -> i64 {
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone").op
}

pub fn redo(fixture: &Fixture) -> Redone {
    redo::redo(&fixture.repo, &fixture.store).expect("redone")
}

pub fn refusal(result: Result<impl std::fmt::Debug>) -> String {
    match result {
        Err(CleanupError::Refused { message, .. }) => message,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn refused(fixture: &Fixture) -> String {
    refusal(redo::redo(&fixture.repo, &fixture.store))
}

pub fn write(tree: &Path, path: &str, content: &str) {
    std::fs::write(tree.join(path), content).expect("written");
}

/// A state in which a workspace may be removed, and what makes it.
type State = (&'static str, fn(&Fixture, &Path));

fn states() -> Vec<State> {
    vec![
        ("clean", |_, _| {}),
        ("with commits", |fixture, tree| {
            fixture.commit_in(tree, "b", "two\n");
        }),
        ("a mess", |fixture, tree| make_a_mess(fixture, tree)),
        ("modes and links", |fixture, tree| {
            write(tree, "tool", "#!/bin/sh\n");
            fixture.run_in(tree, &["add", "tool"]);
            fixture.run_in(tree, &["commit", "-q", "-m", "tool"]);
            let mode = |path: &str, mode| {
                std::fs::set_permissions(tree.join(path), std::fs::Permissions::from_mode(mode)).expect("set");
            };
            mode("tool", 0o755);
            write(tree, "secret", "s");
            mode("secret", 0o600);
            std::fs::create_dir_all(tree.join("deep/er")).expect("made");
            write(tree, "deep/er/file", "x");
            mode("deep", 0o700);
            std::os::unix::fs::symlink("nowhere", tree.join("dangling")).expect("link");
            std::fs::remove_file(tree.join("a")).expect("removed");
            std::os::unix::fs::symlink("tool", tree.join("a")).expect("link");
        }),
        ("hidden and half added", |fixture, tree| {
            fixture.commit_in(tree, "skipped", "one\n");
            fixture.run_in(tree, &["update-index", "--assume-unchanged", "a"]);
            fixture.run_in(tree, &["update-index", "--skip-worktree", "skipped"]);
            write(tree, "a", "hidden\n");
            write(tree, "skipped", "hidden too\n");
            write(tree, "later", "l\n");
            fixture.run_in(tree, &["add", "--intent-to-add", "later"]);
        }),
        ("a conflict", |fixture, tree| {
            fixture.commit_in(tree, "a", "theirs\n");
            fixture.commit("a", "ours\n");
            let merge = fixture.repo.git.within(tree, ["merge", "-q", "main"]).output().expect("started");
            assert!(!merge.status.success());
        }),
        ("detached", |fixture, tree| {
            fixture.run_in(tree, &["checkout", "-q", "--detach"]);
            fixture.commit_in(tree, "b", "loose\n");
        }),
    ]
}

#[test]
fn a_removed_workspace_comes_back_exactly_goes_again_and_comes_back_again() {
    for (state, make) in states() {
        let fixture = Fixture::new();
        let record = fixture.workspace("feature/w");
        make(&fixture, &record.path);
        let before = everything(&fixture, &record.path);
        let op = rm(&fixture, &record).op.expect("an operation");
        let gone = fixture.git(&["for-each-ref", "refs/heads"]);
        for round in 0..2 {
            assert_eq!(undo(&fixture), op, "{state}");
            assert_eq!(everything(&fixture, &record.path), before, "{state}, round {round}");
            assert_eq!(fixture.store.workspaces().expect("read"), std::slice::from_ref(&record), "{state}");
            assert_eq!(redo(&fixture).op, op);
            assert!(!record.path.exists() && !fixture.dir.path().join("work.trees").exists(), "{state}");
            assert_eq!(fixture.git(&["for-each-ref", "refs/heads"]), gone, "{state}");
            assert_eq!(fixture.store.workspaces().expect("read"), [], "{state}");
            assert!(!fixture.git(&["worktree", "list"]).contains("trees"), "{state}");
        }
        assert!(matches!(redo::redo(&fixture.repo, &fixture.store), Err(CleanupError::NothingToRedo)), "{state}");
        fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
        fixture.git(&["gc", "-q", "--prune=now"]);
        undo(&fixture);
        assert_eq!(everything(&fixture, &record.path), before, "{state}, after a gc");
        assert_eq!(fixture.store.open_intents().expect("read"), [], "{state}");
    }
}

#[test]
fn a_sealed_workspace_goes_again_and_comes_back_again() {
    let fixture = Fixture::new();
    let record = fixture.new_workspace("s", true);
    fixture.commit_in(&record.path, "b", "committed\n");
    write(&record.path, "u", "untracked\n");
    let op = rm(&fixture, &record).op.expect("an operation");
    for _ in 0..2 {
        assert_eq!(undo(&fixture), op);
        assert_eq!(std::fs::read_to_string(record.path.join("u")).expect("back"), "untracked\n");
        assert_eq!(fixture.git(&["show", "s:u"]), "untracked");
        assert_eq!(redo(&fixture).op, op);
        assert!(!record.path.exists() && fixture.find("refs/heads/s").is_none());
        assert!(!fixture.git(&["worktree", "list"]).contains("trees"));
    }
    undo(&fixture);
    assert!(fixture.run_in(&record.path, &["status", "--porcelain"]).contains("?? u"));
    fixture.commit_in(&record.path, "more", "m\n");
    assert!(refused(&fixture).contains("has changed since"));
}

#[test]
fn what_git_refreshes_is_no_change_and_what_was_saved_goes_on_being_kept() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    make_a_mess(&fixture, &record.path);
    let saved = rm(&fixture, &record).salvage;
    let held: Vec<CommitId> = saved.iter().map(|name| fixture.tip(name)).collect();
    undo(&fixture);
    fixture.run_in(&record.path, &["status"]);
    fixture.run_in(&record.path, &["update-index", "-q", "--really-refresh"]);
    redo(&fixture);
    let anew = fixture.refs(SALVAGE_PREFIX);
    assert_eq!(anew.iter().map(|name| fixture.tip(name)).collect::<Vec<_>>(), held);
    assert!(anew.iter().all(|name| !saved.contains(name)), "kept from now on, not from then: {anew:?}");
    let stamp = fixture.store.operations().expect("read")[0].stamp.clone().expect("a stamp");
    assert!(anew.iter().all(|name| name.contains(&stamp)));
}

#[test]
fn what_changed_since_the_undo_is_named_and_stays() {
    let check = |change: &dyn Fn(&Fixture, &WorkspaceRecord), expected: &str| {
        let fixture = Fixture::new();
        let record = fixture.workspace("w");
        make_a_mess(&fixture, &record.path);
        std::fs::create_dir(record.path.join("dir")).expect("made");
        write(&record.path, "dir/old", "old");
        rm(&fixture, &record);
        undo(&fixture);
        // The times of files are those of the kernel's last tick.
        let at = fixture.store.operations().expect("read")[0].taken_back.clone().expect("on record").at;
        while !written_after(&fixture, at) {}
        change(&fixture, &record);
        let before = everything(&fixture, &record.path);
        let message = refused(&fixture);
        assert!(message.contains(expected), "{message}");
        assert_eq!(everything(&fixture, &record.path), before);
        assert_eq!(fixture.store.open_intents().expect("read"), []);
    };
    check(&|_, record| write(&record.path, "untracked", "v\n"), "has changed since: untracked");
    check(&|_, record| write(&record.path, "dir/new", "n"), "has changed since: dir/new");
    check(
        &|_, record| std::fs::remove_file(record.path.join("dir/old")).expect("removed"),
        "has changed since: what is in dir/",
    );
    check(&|_, record| write(&record.path, "noise.log", "another"), "has changed since: noise.log");
    check(&|fixture, record| drop(fixture.run_in(&record.path, &["add", "a"])), "has changed since: what is staged");
    check(
        &|fixture, record| drop(fixture.run_in(&record.path, &["commit", "-q", "-m", "more"])),
        "refs/heads/w is at ",
    );
    check(
        &|fixture, _| {
            for name in fixture.refs(SALVAGE_PREFIX) {
                let tip = fixture.tip(&name);
                update_ref(&fixture.repo, &name, None, Some(&tip), "test").expect("deleted");
            }
        },
        "which was saved before the removal, is gone",
    );
    check(
        &|fixture, record| {
            let path = record.path.to_string_lossy();
            fixture.git(&["worktree", "lock", &path]);
        },
        "has changed since: locked",
    );
}

/// True when a file that is written now is newer than this moment.
fn written_after(fixture: &Fixture, at: Timestamp) -> bool {
    use std::os::unix::fs::MetadataExt;
    let probe = fixture.dir.path().join("probe");
    std::fs::write(&probe, "").expect("written");
    let meta = std::fs::metadata(&probe).expect("there");
    meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000 > at.0
}

#[test]
fn a_git_dir_that_came_back_under_another_name_is_the_one_that_goes_again() {
    let fixture = Fixture::new();
    let record = fixture.workspace("one");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    let op = rm(&fixture, &record).op;
    let other = fixture.dir.path().join("other");
    fixture.git(&["worktree", "add", "-q", "--detach", &other.to_string_lossy()]);
    let other = fixture.dir.path().join("x/work");
    fixture.git(&["worktree", "add", "-q", "--detach", &other.to_string_lossy()]);
    taking_back::undo(&fixture.repo, &fixture.store, op).expect("undone");
    assert_eq!(fixture.picture(&record.path), before);
    let renamed = git_dir(&fixture, &record.path);
    redo(&fixture);
    assert!(!record.path.exists() && !Path::new(&renamed).exists());
    assert_eq!(fixture.run_in(&other, &["status", "--porcelain"]), "");
    undo(&fixture);
    assert_eq!(fixture.picture(&record.path), before);
}

fn main_branch() -> BranchName {
    BranchName::parse("main").expect("a name")
}

/// Lands a commit that is there already and records it.
pub fn land(fixture: &Fixture, to: &CommitId) -> i64 {
    let (into, before) = (main_branch(), fixture.tip("refs/heads/main"));
    let lock_wait = Duration::from_secs(5);
    let request = Advance { branch: &into, from: &before, to, message: "land", lock_wait };
    assert_eq!(advance(&fixture.repo, &request).expect("advanced"), Advanced::Done);
    let (run, task) = (Some(RunId::new(Timestamp(1_800_000_000_000), 7)), TaskId::parse("t").ok());
    let undo = UndoData::Landing { into, before, after: to.clone(), run, task };
    fixture.store.add_operation("land", Timestamp(1), "landed", undo).expect("recorded")
}

/// What the four strategies put on `main` of two commits on another branch: name and tip.
pub fn landings(fixture: &Fixture) -> Vec<(&'static str, CommitId)> {
    fixture.git(&["branch", "side"]);
    fixture.commit("m", "on main\n");
    let side = fixture.commit_on("side", &[("new", "n\n"), ("a", "landed\n")]);
    let made = |args: &[&str]| {
        let spare = fixture.dir.path().join("spare");
        let shown = spare.to_string_lossy();
        fixture.git(&["worktree", "add", "-q", "--detach", &shown, "main"]);
        fixture.run_in(&spare, args);
        if args.contains(&"--squash") {
            fixture.run_in(&spare, &["commit", "-q", "-m", "squashed"]);
        }
        let tip = fixture.run_in(&spare, &["rev-parse", "HEAD"]);
        fixture.git(&["worktree", "remove", "--force", &shown]);
        CommitId::parse(&tip).expect("an id")
    };
    vec![
        ("squash", made(&["merge", "-q", "--squash", "side"])),
        ("merge", made(&["merge", "-q", "--no-ff", "-m", "merged", "side"])),
        ("rebase", made(&["cherry-pick", &format!("{side}~2..{side}")])),
    ]
}

#[test]
fn a_landing_of_every_strategy_goes_back_and_forth_with_the_files_and_nothing_else() {
    let local = |fixture: &Fixture| {
        write(&fixture.root, "mine", "local\n");
        write(&fixture.root, ".gitignore", "*.log\nlocal\n");
        write(&fixture.root, "staged", "s\n");
        fixture.git(&["add", "staged"]);
    };
    let check = |fixture: &Fixture, strategy: &str, tip: &CommitId| {
        local(fixture);
        let before = everything(fixture, &fixture.root);
        let op = land(fixture, tip);
        let after = everything(fixture, &fixture.root);
        assert!(after.contains("/new ") && after != before, "{strategy}");
        for round in 0..2 {
            assert_eq!(undo(fixture), op, "{strategy}");
            assert_eq!(everything(fixture, &fixture.root), before, "{strategy}, undone, round {round}");
            assert_eq!(redo(fixture).op, op, "{strategy}");
            assert_eq!(everything(fixture, &fixture.root), after, "{strategy}, redone, round {round}");
        }
        assert_eq!(fixture.store.open_intents().expect("read"), []);
        undo(fixture);
        fixture.git(&["gc", "-q", "--prune=now"]);
        redo(fixture);
        assert_eq!(everything(fixture, &fixture.root), after, "{strategy}, redone after a gc");
    };
    for n in 0..3 {
        let fixture = Fixture::new();
        let (strategy, tip) = landings(&fixture).remove(n);
        check(&fixture, strategy, &tip);
    }
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let tip = fixture.commit_on("side", &[("new", "n\n"), ("a", "landed\n")]);
    check(&fixture, "ff", &tip);
}

#[test]
fn undos_and_redos_nest_as_in_an_editor_and_end_where_something_new_begins() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let first = fixture.commit_on("side", &[("one", "1\n")]);
    let second = fixture.commit_on("side", &[("two", "2\n")]);
    let begin = fixture.tip("refs/heads/main");
    let (one, two) = (land(&fixture, &first), land(&fixture, &second));
    assert_eq!((undo(&fixture), undo(&fixture)), (two, one));
    assert_eq!(fixture.tip("refs/heads/main"), begin);
    assert_eq!((redo(&fixture).op, redo(&fixture).op), (one, two));
    assert_eq!(fixture.tip("refs/heads/main"), second);
    assert_eq!((undo(&fixture), redo(&fixture).op, undo(&fixture), undo(&fixture)), (two, two, two, one));
    let third = land(&fixture, &first);
    let message = refused(&fixture);
    assert!(
        message.contains(&format!("operation {one} (landed) cannot be made again: operation {third}")),
        "{message}"
    );
    assert_eq!(undo(&fixture), third);
    assert_eq!(redo(&fixture).op, third, "what was undone since can be");
}

#[test]
fn a_landing_goes_forward_again_only_from_where_the_undo_left_the_branch() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let (before, to) = (fixture.tip("refs/heads/main"), fixture.commit_on("side", &[("a", "landed\n")]));
    land(&fixture, &to);
    undo(&fixture);
    write(&fixture.root, "a", "mine\n");
    assert!(refused(&fixture).contains("in the way: a"));
    assert_eq!(fixture.tip("refs/heads/main"), before, "nothing moved");
    fixture.git(&["checkout", "-q", "a"]);
    let more = fixture.commit("more", "m\n");
    assert!(refused(&fixture).contains("where the undo left it"));
    assert_eq!(fixture.tip("refs/heads/main"), more);
    fixture.git(&["reset", "-q", "--hard", "HEAD~1"]);
    redo(&fixture);
    assert_eq!(fixture.tip("refs/heads/main"), to);
}

fn update(fixture: &Fixture, record: &WorkspaceRecord, to: &CommitId) -> UpdateRecord {
    let before = fixture.tip(&record.branch.full_ref());
    let lock_wait = Duration::from_secs(5);
    let request = Advance { branch: &record.branch, from: &before, to, message: "update", lock_wait };
    assert_eq!(advance(&fixture.repo, &request).expect("advanced"), Advanced::Done);
    let (workspace, branch) = (record.name.clone(), record.branch.clone());
    let (base_before, base_after) = (record.base.clone(), fixture.base());
    let update = UpdateRecord { workspace, branch, before, after: to.clone(), base_before, base_after, sealed: None };
    fixture.store.record_update(&update, clock::now(), "brought w up to main", None).expect("recorded");
    update
}

#[test]
fn an_update_goes_back_and_forth_with_files_and_base() {
    for strategy in ["rebase", "merge"] {
        let fixture = Fixture::new();
        let record = fixture.workspace("w");
        let own = fixture.commit_in(&record.path, "own", "w\n");
        fixture.commit("theirs", "m\n");
        let spare = fixture.dir.path().join("spare");
        fixture.git(&["worktree", "add", "-q", "--detach", &spare.to_string_lossy(), own.as_str()]);
        fixture.run_in(&spare, &[strategy, "-q", "main"]);
        let to = CommitId::parse(&fixture.run_in(&spare, &["rev-parse", "HEAD"])).expect("an id");
        fixture.git(&["worktree", "remove", &spare.to_string_lossy()]);
        write(&record.path, "untracked", "u\n");
        let before = everything(&fixture, &record.path);
        let base = || fixture.store.workspace(&record.name).expect("read").expect("there").base;
        let update = update(&fixture, &record, &to);
        let after = everything(&fixture, &record.path);
        assert!(after.contains("/theirs ") && base() == update.base_after);
        for _ in 0..2 {
            undo(&fixture);
            assert_eq!((everything(&fixture, &record.path), base()), (before.clone(), update.base_before.clone()));
            redo(&fixture);
            assert_eq!((everything(&fixture, &record.path), base()), (after.clone(), update.base_after.clone()));
        }
        undo(&fixture);
        let known = fixture.store.workspace(&record.name).expect("read").expect("there");
        let other = WorkspaceRecord { base: update.base_after.clone(), ..known.clone() };
        fixture.store.put_workspace("test", &other).expect("stored");
        assert!(refused(&fixture).contains("has another base by now"));
        fixture.store.put_workspace("test", &known).expect("stored");
        redo(&fixture);
        fixture.commit_in(&record.path, "more", "x\n");
        let refused = refusal(taking_back::undo(&fixture.repo, &fixture.store, None));
        assert!(refused.contains("`w` was built upon") && refused.contains("change more"), "{strategy}: {refused}");
    }
}

#[test]
fn what_a_clean_took_comes_back_goes_again_and_comes_back_again() {
    let fixture = Fixture::new();
    let (landed, gone) = (fixture.workspace("landed"), fixture.workspace("gone"));
    fixture.commit_in(&landed.path, "b", "two\n");
    fixture.git(&["merge", "-q", "--ff-only", "landed"]);
    crate::sys::fs::remove_tree(&gone.path).expect("removed");
    let before = everything(&fixture, &landed.path);
    let policy = CleanPolicy {
        all_branches: false,
        remote: None,
        min_age: Duration::ZERO,
        retention: Duration::from_secs(86_400),
        protect: Vec::new(),
        count_max: 0,
        disk_budget: None,
        template: TEMPLATE.into(),
        now: Timestamp(clock::now().0 + 120_000),
        proven_now: Timestamp(clock::now().0 + 120_000),
        only: None,
    };
    let plan = clean::plan(&fixture.repo, &fixture.store, &policy).expect("planned");
    let op = clean::apply(&fixture.repo, &fixture.store, plan).expect("applied").op.expect("an operation");
    assert_eq!(fixture.store.workspaces().expect("read"), []);
    for _ in 0..2 {
        assert_eq!(undo(&fixture), op);
        assert_eq!(everything(&fixture, &landed.path), before);
        assert_eq!(fixture.store.workspaces().expect("read").len(), 2);
        redo(&fixture);
        assert!(!landed.path.exists() && fixture.find("refs/heads/landed").is_none());
        assert_eq!(fixture.store.workspaces().expect("read"), []);
    }
}
