//! Stories of `clean`, on real repositories: what goes, what stays and why, and that a second call finds nothing.
//!
//! Each has its repository and its state directory to itself.

use std::time::Duration;

use serde_json::json;

use super::cleaning::{self, CleanPlan, CleanPolicy, CleanReport, Kind, Outcome};
use crate::cleanup::remove::workspace_tests::make_a_mess;
use crate::cleanup::remove::{self, RemoveOptions};
use crate::cleanup::trash;
use crate::cleanup::undo::{self, recover};
use crate::model::operation::{RefFate, RemovedItem, UndoData};
use crate::model::record::{AttemptRecord, LandedRecord, RunRecord, TaskRecord, WorkspaceRecord, WorkspaceState};
use crate::model::{BranchName, CommitId, ProcId, RunState, Submodules, Timestamp, Token};
use crate::store::{Entry, EntryDraft};
use crate::sys::{clock, fs, proc};
use crate::worktree::fixture::{self, Fixture, TEMPLATE};
use crate::worktree::import::update_ref;
use crate::worktree::outputs::place;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{self, Identity, SealRequest, SealedPaths};
use crate::worktree::stock;

const DAY: i64 = 86_400_000;

pub fn policy(days_later: i64) -> CleanPolicy {
    CleanPolicy {
        all_branches: false,
        remote: None,
        min_age: Duration::from_secs(86_400),
        retention: Duration::from_secs(14 * 86_400),
        protect: Vec::new(),
        count_max: 0,
        disk_budget: None,
        template: TEMPLATE.into(),
        now: Timestamp(clock::now().0 + days_later * DAY),
        proven_now: Timestamp(clock::now().0 + days_later * DAY),
        only: None,
    }
}

fn planned(fixture: &Fixture, policy: &CleanPolicy) -> CleanPlan {
    cleaning::plan(&fixture.repo, &fixture.store, policy).expect("planned")
}

/// Plans and applies; everything must come out as planned, and a second plan be empty.
pub fn clean(fixture: &Fixture, policy: &CleanPolicy) -> CleanReport {
    let report = cleaning::apply(&fixture.repo, &fixture.store, planned(fixture, policy)).expect("applied");
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Done), "{:#?}", report.actions);
    assert_eq!(items(&planned(fixture, policy)), [] as [String; 0], "a second call still finds something");
    report
}

fn items(plan: &CleanPlan) -> Vec<String> {
    plan.actions.iter().map(|action| format!("{:?} {}", action.kind, action.item)).collect()
}

fn kept(plan: &CleanPlan, item: &str) -> String {
    plan.kept.iter().find(|kept| kept.item == item).map(|kept| kept.reason.clone()).unwrap_or_default()
}

fn dead() -> Option<ProcId> {
    proc::own().map(|own| ProcId { start_time: own.start_time + 1, ..own })
}

#[test]
fn only_clean_and_landed_workspaces_go_and_every_other_one_stays_with_its_reason() {
    let fixture = Fixture::new();
    let names = ["landed", "fresh", "open", "dirty", "locked", "detached", "guarded"];
    let trees: Vec<WorkspaceRecord> = names.iter().map(|name| fixture.workspace(name)).collect();
    for tree in trees.iter().filter(|tree| !["fresh", "open"].contains(&tree.name.as_str())) {
        fixture.commit_in(&tree.path, tree.name.as_str(), "x");
        fixture.git(&["merge", "-q", "--no-edit", tree.branch.as_str()]);
    }
    fixture.commit_in(&trees[2].path, "open", "x");
    std::fs::write(trees[3].path.join("new"), "x").expect("write");
    fixture.git(&["worktree", "lock", &trees[4].path.to_string_lossy()]);
    fixture.run_in(&trees[5].path, &["checkout", "-q", "--detach"]);
    fixture.commit_in(&trees[5].path, "loose", "x");
    let young = planned(&fixture, &policy(0));
    assert_eq!(items(&young), [] as [String; 0]);
    assert_eq!(kept(&young, "landed"), "younger than 1d");
    let policy = CleanPolicy { protect: vec!["gu*".into()], ..policy(2) };
    let plan = planned(&fixture, &policy);
    assert_eq!(items(&plan), ["Workspace landed"]);
    assert!(plan.actions[0].proof.contains("ancestor of `main`") && plan.actions[0].bytes > 0);
    assert_eq!(kept(&plan, "fresh"), "no work yet");
    assert_eq!(kept(&plan, "open"), "`open`: it has 1 commit that is not in `main`");
    assert!(kept(&plan, "dirty").contains("not committed: new"));
    assert!(kept(&plan, "locked").contains("locked"));
    assert_eq!(kept(&plan, "detached"), "the HEAD of `detached` is in no branch");
    assert_eq!(kept(&plan, "guarded"), "`guarded` is protected by `gu*`");
    let report = clean(&fixture, &policy);
    assert!(!trees[0].path.exists() && trees[1].path.exists() && report.freed_bytes > 0);
    assert_eq!(fixture.find("refs/heads/landed"), None);
    let undone = undo::undo(&fixture.repo, &fixture.store, report.op).expect("undone");
    assert_eq!(undone.kind, "clean");
    assert!(trees[0].path.join("landed").exists() && fixture.find("refs/heads/landed").is_some());
    assert_eq!(fixture.run_in(&trees[0].path, &["status", "--porcelain"]), "");
}

#[test]
fn a_directory_that_is_gone_counts_only_when_its_disk_is_there() {
    let fixture = Fixture::new();
    let (gone, away) = (fixture.workspace("gone"), fixture.workspace("away"));
    fixture.commit_in(&gone.path, "g", "x");
    fs::remove_tree(&gone.path).expect("removed");
    let elsewhere = fixture.dir.path().join("elsewhere");
    let record = WorkspaceRecord { path: elsewhere.join("disk/ws/work"), ..away.clone() };
    fixture.git(&["worktree", "remove", &away.path.to_string_lossy()]);
    fixture.store.put_workspace("test", &record).expect("stored");
    std::fs::create_dir(&elsewhere).expect("created");
    let plan = planned(&fixture, &policy(2));
    assert_eq!(items(&plan), ["Workspace gone"]);
    assert!(kept(&plan, "away").contains("may not be mounted"), "{:?}", plan.kept);
    let report = clean(&fixture, &policy(2));
    assert!(report.actions[0].reason.as_ref().is_some_and(|why| why.contains("kept")), "{:?}", report.actions);
    assert!(fixture.find("refs/heads/gone").is_some(), "an unmerged branch went");
    assert!(!fixture.git(&["worktree", "list"]).contains("trees"));
}

#[test]
fn what_died_while_being_made_or_removed_is_rolled_back() {
    let fixture = Fixture::new();
    let set = |record: &WorkspaceRecord, state, owner: Option<ProcId>| {
        let record = WorkspaceRecord { state, owner, ..record.clone() };
        fixture.store.put_workspace("test", &record).expect("stored");
    };
    let all: Vec<WorkspaceRecord> = ["half", "mine", "busy", "going"].iter().map(|n| fixture.workspace(n)).collect();
    std::fs::write(all[1].path.join("new"), "x").expect("write");
    set(&all[0], WorkspaceState::Creating, dead());
    set(&all[1], WorkspaceState::Creating, dead());
    set(&all[2], WorkspaceState::Creating, proc::own());
    set(&all[3], WorkspaceState::Removing, dead());
    let plan = planned(&fixture, &policy(0));
    assert_eq!(items(&plan), ["State going", "Workspace half"]);
    assert!(kept(&plan, "mine").contains("changes in it: new"));
    assert!(kept(&plan, "busy").contains("is working on it"));
    clean(&fixture, &policy(0));
    assert!(!all[0].path.exists() && all[1].path.exists() && all[3].path.exists());
    assert_eq!(fixture.find("refs/heads/half"), None);
    let going = fixture.store.workspace(&all[3].name).expect("read").expect("kept");
    assert_eq!((going.state, going.owner), (WorkspaceState::Ready, None));
}

#[test]
fn a_workspace_whose_maker_died_is_rolled_back_from_each_stage_of_its_making() {
    for stage in 0..4 {
        let fixture = Fixture::new();
        let record = fixture.workspace("torn");
        let git_dir = std::path::PathBuf::from(fixture.run_in(&record.path, &["rev-parse", "--absolute-git-dir"]));
        std::fs::write(git_dir.join("locked"), "initializing\n").expect("write");
        // The later a file is written, the earlier it is missing.
        let late = [vec!["index"], vec!["HEAD", "ORIG_HEAD", "logs", "refs"], vec!["commondir"], vec!["gitdir"]];
        for name in late.iter().take(stage + 1).flatten() {
            fs::remove_tree(&git_dir.join(name)).or_else(|_| fs::remove_file(&git_dir.join(name))).expect("removed");
        }
        fs::remove_file(&record.path.join("a")).expect("removed");
        if stage > 0 {
            fs::remove_file(&record.path.join(".gitignore")).expect("removed");
        }
        if stage > 1 {
            fs::remove_file(&record.path.join(".git")).expect("removed");
        }
        let torn = WorkspaceRecord { state: WorkspaceState::Creating, owner: dead(), ..record.clone() };
        fixture.store.put_workspace("test", &torn).expect("stored");
        clean(&fixture, &policy(2));
        assert!(!record.path.exists() && !git_dir.exists(), "stage {stage}");
        assert_eq!(fixture.find("refs/heads/torn"), None, "stage {stage}");
        assert!(fixture.store.open_intents().expect("read").is_empty(), "stage {stage}");
        undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
        clean(&fixture, &policy(2));
        assert!(!record.path.exists() && !git_dir.exists(), "stage {stage}, after an undo");
    }
}

#[test]
fn a_removal_that_died_half_way_is_put_back() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "x");
    std::fs::write(record.path.join("u"), "untracked").expect("write");
    let (before, tip) = (fixture.picture(&record.path), fixture.tip("refs/heads/w"));
    let git_dir = fixture.run_in(&record.path, &["rev-parse", "--absolute-git-dir"]);
    let place = trash::root(&fixture.repo).join(trash::stamp().expect("a stamp"));
    let items = |n: usize, from: &str| RemovedItem::Directory { from: from.into(), trash: place.join(n.to_string()) };
    let items = vec![
        items(1, &record.path.to_string_lossy()),
        items(2, &git_dir),
        RemovedItem::Ref { name: "refs/heads/w".into(), commit: tip.clone(), fate: RefFate::Deleted, traces: None },
        RemovedItem::Workspace { record: Box::new(record.clone()) },
    ];
    // As it stands when the process dies after the first rename and the deletion of the branch.
    let draft = EntryDraft::new("rm", json!({"items": items, "owner": dead()}));
    assert!(fixture.store.intend(&draft).is_ok());
    std::fs::create_dir_all(&place).expect("created");
    std::fs::rename(&record.path, place.join("1")).expect("moved");
    let removing = WorkspaceRecord { state: WorkspaceState::Removing, owner: dead(), ..record.clone() };
    fixture.store.put_workspace("test", &removing).expect("stored");
    update_ref(&fixture.repo, "refs/heads/w", None, Some(&tip), "x").expect("deleted");
    let report = clean(&fixture, &policy(0));
    assert_eq!(report.actions.len(), 1, "{:?}", report.actions);
    assert_eq!(fixture.picture(&record.path), before);
    assert_eq!(fixture.tip("refs/heads/w"), tip);
    assert_eq!(fixture.store.workspaces().expect("read"), [record]);
    assert!(open_removals(&fixture).is_empty());
    assert!(!place.exists());
}

fn open_removals(fixture: &Fixture) -> Vec<Entry> {
    fixture.store.open_intents().expect("read").into_iter().filter(|entry| entry.kind == "rm").collect()
}

/// Makes what this process left open look as if the process had died.
fn die(fixture: &Fixture) {
    for entry in open_removals(fixture) {
        let draft = EntryDraft::new("rm", json!({"items": entry.data["items"], "owner": dead()}));
        assert!(fixture.store.intend(&draft).is_ok());
        fixture.store.failed(entry.intent(), json!({})).expect("closed");
    }
    for record in fixture.store.workspaces().expect("read").into_iter().filter(|record| record.owner.is_some()) {
        fixture.store.put_workspace("test", &WorkspaceRecord { owner: dead(), ..record }).expect("stored");
    }
}

fn die_undoing(fixture: &Fixture) {
    let open = fixture.store.open_intents().expect("read").into_iter().filter(|entry| entry.kind == "undo");
    for entry in open {
        let draft = EntryDraft::new("undo", json!({"op": entry.data["op"], "owner": dead()}));
        assert!(fixture.store.intend(&draft).is_ok());
        fixture.store.failed(entry.intent(), json!({})).expect("closed");
    }
}

#[test]
fn an_undo_of_a_landing_that_died_with_the_files_behind_is_completed() {
    let fixture = Fixture::new();
    let before = fixture.tip("refs/heads/main");
    let after = fixture.commit("a", "two\n");
    let into = BranchName::parse("main").expect("a name");
    let undo = UndoData::Landing { into, before: before.clone(), after, run: None, task: None };
    let op = fixture.store.add_operation("land", clock::now(), "landed", undo).expect("stored");
    let draft = EntryDraft::new("undo", json!({"op": op, "owner": dead()}));
    assert!(fixture.store.intend(&draft).is_ok());
    fixture.git(&["update-ref", "refs/heads/main", before.as_str()]);
    assert_eq!(undo::undo(&fixture.repo, &fixture.store, None).expect("completed").op, op);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(fixture.root.join("a")).expect("there"), "one\n");
    assert!(
        fixture.store.operation(op).expect("read").undone && fixture.store.open_intents().expect("read").is_empty()
    );
}

#[test]
fn a_redo_that_died_is_recorded_although_the_branch_has_moved_on() {
    let fixture = Fixture::new();
    let before = fixture.tip("refs/heads/main");
    let after = fixture.commit("a", "two\n");
    let (into, store) = (BranchName::parse("main").expect("a name"), &fixture.store);
    let undo = UndoData::Landing { into, before, after: after.clone(), run: None, task: None };
    let op = store.add_operation("land", clock::now(), "landed", undo).expect("stored");
    undo::undo(&fixture.repo, store, None).expect("undone");
    assert!(store.intend(&EntryDraft::new("redo", json!({"op": op, "owner": dead()}))).is_ok());
    fixture.git(&["reset", "-q", "--hard", after.as_str()]);
    fixture.commit("b", "more\n");
    let settled = recover::recover(&fixture.repo, store).expect("recovered").recovered.settled;
    assert_eq!(settled, [format!("redo of operation {op}: completed")]);
    assert!(!store.operation(op).expect("read").undone);
}

#[test]
fn a_removal_cut_at_any_write_loses_nothing_and_converges() {
    let options = RemoveOptions { force_dirty: true, delete_unmerged: true };
    for cut in 0..7 {
        let fixture = Fixture::new();
        let record = fixture.workspace("w");
        let tip = fixture.commit_in(&record.path, "b", "x");
        make_a_mess(&fixture, &record.path);
        let before = fixture.picture(&record.path);
        let plan = remove::plan(&fixture.repo, &fixture.store, &record, &options).expect("planned");
        let store = fixture.repo.store().expect("a second handle");
        store.cut_after(cut);
        let done = remove::apply(&fixture.repo, &store, plan, TEMPLATE).is_ok();
        assert_eq!(done, cut > 4, "a removal has five writes");
        die(&fixture);
        clean(&fixture, &policy(0));
        if fixture.store.workspaces().expect("read").is_empty() {
            undo::undo(&fixture.repo, &fixture.store, None).unwrap_or_else(|error| panic!("cut after {cut}: {error}"));
        }
        assert_eq!(fixture.picture(&record.path), before, "cut after {cut}");
        assert_eq!(fixture.tip("refs/heads/w"), tip, "cut after {cut}");
        assert_eq!(fixture.store.workspaces().expect("read"), [record], "cut after {cut}");
        assert!(open_removals(&fixture).is_empty(), "cut after {cut}");
    }
}

#[test]
fn an_undo_that_died_is_completed_by_the_next() {
    for cut in 0..3 {
        let fixture = Fixture::new();
        let record = fixture.workspace("w");
        make_a_mess(&fixture, &record.path);
        let before = fixture.picture(&record.path);
        let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
        let plan = remove::plan(&fixture.repo, &fixture.store, &record, &options).expect("planned");
        remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE).expect("removed");
        let store = fixture.repo.store().expect("a second handle");
        store.cut_after(cut);
        assert!(undo::undo(&fixture.repo, &store, None).is_err());
        die_undoing(&fixture);
        undo::undo(&fixture.repo, &fixture.store, None).unwrap_or_else(|error| panic!("cut after {cut}: {error}"));
        assert_eq!(fixture.picture(&record.path), before, "cut after {cut}");
        assert_eq!(fixture.store.workspaces().expect("read"), [record], "cut after {cut}");
    }
}

#[test]
fn temporary_things_go_by_age_and_only_what_is_ours() {
    let fixture = Fixture::new();
    let state = fixture.repo.state_dir();
    let pack = fixture.repo.common_dir.join("objects/pack");
    std::fs::create_dir_all(state.join("quarantine/abc/objects")).expect("created");
    std::fs::create_dir_all(state.join("trash/run.task.1/box")).expect("created");
    std::fs::write(pack.join("pack-1.keep"), "treehand\n{\"pid\":1}").expect("write");
    std::fs::write(pack.join("pack-2.keep"), "somebody else\n").expect("write");
    let tip = fixture.tip("refs/heads/main");
    let history = stock::place(&fixture.repo).join(tip.as_str());
    let made = place::place(&fixture.repo).join(format!("{tip}-{tip}"));
    std::fs::create_dir_all(&history).and_then(|()| std::fs::create_dir_all(&made)).expect("created");
    let stamp = trash::stamp().expect("a stamp");
    for name in [format!("salvage/w/{stamp}/head"), format!("undo/{stamp}/heads/w"), "salvage/odd/name".to_owned()] {
        update_ref(&fixture.repo, &format!("refs/treehand/{name}"), Some(&tip), None, "x").expect("made");
    }
    assert_eq!(items(&planned(&fixture, &policy(0))), [] as [String; 0]);
    let report = clean(&fixture, &policy(2));
    assert_eq!(report.actions.iter().map(|a| a.kind).collect::<Vec<_>>(), [Kind::Temp, Kind::Lock]);
    assert_eq!(report.op, None, "what is not undone is no operation");
    assert!(
        pack.join("pack-2.keep").exists() && !pack.join("pack-1.keep").exists() && history.exists() && made.exists()
    );
    let report = clean(&fixture, &policy(15));
    let kinds = [Kind::Temp, Kind::Temp, Kind::Trash, Kind::State, Kind::State];
    assert_eq!(report.actions.iter().map(|a| a.kind).collect::<Vec<_>>(), kinds);
    assert!(!history.exists() && !made.exists(), "nobody took them for two weeks");
    assert_eq!(fixture.refs("refs/treehand/"), ["refs/treehand/salvage/odd/name"]);
    assert!(!state.join("trash").exists() || std::fs::read_dir(state.join("trash")).expect("read").next().is_none());
}

/// A clock that was set forward makes everything look old, one that was set back makes it look as if it were to come.
#[test]
fn a_clock_that_was_set_takes_nothing_that_is_in_use_and_makes_nothing_old() {
    const YEAR: i64 = 365;
    let fixture = Fixture::new();
    let used = Quarantine::create(&fixture.repo, &fixture.tip("HEAD")).expect("made");
    let left = fixture.repo.state_dir().join("quarantine/abc.4000000000.1.gone");
    std::fs::create_dir_all(&left).expect("created");
    let pack = fixture.repo.common_dir.join("objects/pack");
    let own = serde_json::to_string(&proc::own()).expect("written");
    std::fs::write(pack.join("pack-1.keep"), format!("treehand\n{own}")).expect("written");
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "x");
    fixture.git(&["merge", "-q", "w"]);
    std::fs::create_dir_all(fixture.repo.state_dir().join("trash/run.task.1/box")).expect("created");
    assert_eq!(items(&planned(&fixture, &policy(-YEAR))), [] as [String; 0], "nothing has an age yet");
    clean(&fixture, &CleanPolicy { retention: Duration::MAX, ..policy(YEAR) });
    assert!(used.git_dir().exists() && pack.join("pack-1.keep").exists(), "who uses them lives");
    assert!(!left.exists() && fixture.find("refs/heads/w").is_none());
    let undone = undo::undo(&fixture.repo, &fixture.store, None);
    assert!(undone.is_ok() && fixture.find("refs/heads/w").is_some(), "what was taken comes back: {undone:?}");
}

#[test]
fn a_name_that_looks_like_a_stamp_does_not_make_what_is_saved_old() {
    let fixture = Fixture::new();
    let tip = fixture.tip("refs/heads/main");
    let stamp = trash::stamp().expect("a stamp");
    for name in [format!("salvage/1234-deadbeef/{stamp}/head"), format!("undo/{stamp}/heads/1234-deadbeef")] {
        update_ref(&fixture.repo, &format!("refs/treehand/{name}"), Some(&tip), None, "x").expect("made");
    }
    assert_eq!(items(&planned(&fixture, &policy(2))), [] as [String; 0]);
    assert_eq!(items(&planned(&fixture, &policy(15))).len(), 2);
}

#[test]
fn an_expired_removal_is_not_undone() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "x");
    fixture.git(&["merge", "-q", "w"]);
    clean(&fixture, &policy(2));
    clean(&fixture, &policy(20));
    let error = undo::undo(&fixture.repo, &fixture.store, None).expect_err("it is gone");
    assert!(error.to_string().contains("no longer in the trash"), "{error}");
    assert_eq!(fixture.find("refs/heads/w"), None);
}

fn record(
    fixture: &Fixture,
    state: &str,
    task_state: &str,
    change: impl FnOnce(&mut TaskRecord),
) -> (RunRecord, TaskRecord) {
    let (run, mut task) = fixture::run(&fixture.base(), state, "t", task_state);
    change(&mut task);
    fixture.store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
    (run, task)
}

fn branch(fixture: &Fixture, branch: &BranchName, file: &str) -> CommitId {
    fixture.git(&["branch", branch.as_str(), "main"]);
    fixture.commit_on(branch.as_str(), &[(file, "x")])
}

#[test]
fn branches_of_runs_go_when_their_work_is_in_the_target() {
    let fixture = Fixture::new();
    let later = CleanPolicy { now: Timestamp(1_900_000_000_000), retention: Duration::MAX, ..policy(0) };
    let (_, rejected) = record(&fixture, "partial", "rejected", |_| {});
    let (_, merged) = record(&fixture, "partial", "rejected", |_| {});
    let (_, waiting) = record(&fixture, "done", "candidate", |_| {});
    let (run, idle) = record(&fixture, "landed", "no_change", |_| {});
    branch(&fixture, &rejected.branch, "rejected");
    branch(&fixture, &merged.branch, "merged");
    branch(&fixture, &waiting.branch, "waiting");
    fixture.git(&["branch", idle.branch.as_str(), "main"]);
    let pin = format!("refs/treehand/base/{}/t", run.id);
    fixture.git(&["update-ref", &pin, "main"]);
    fixture.git(&["merge", "-q", "--squash", merged.branch.as_str()]);
    fixture.git(&["commit", "-q", "-m", "by hand"]);
    let stray = format!("treehand/{}/gone", run.id);
    fixture.git(&["branch", &stray]);
    fixture.git(&["branch", "treehand/not-a-run/x"]);
    let plan = planned(&fixture, &later);
    assert_eq!(kept(&plan, &rejected.branch.full_ref()), "its work is not in `main`");
    assert_eq!(kept(&plan, &waiting.branch.full_ref()), "its result waits to be merged");
    clean(&fixture, &later);
    let left = fixture.refs("refs/heads/treehand/");
    let mut expected =
        vec![rejected.branch.full_ref(), waiting.branch.full_ref(), "refs/heads/treehand/not-a-run/x".into()];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(fixture.find(&pin), None);
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert!(fixture.find(&merged.branch.full_ref()).is_some() && fixture.find(&pin).is_some());
}

#[test]
fn a_landed_task_leaves_nothing_whatever_its_age_and_a_run_at_work_is_left_alone() {
    let fixture = Fixture::new();
    let landed = |fixture: &Fixture, state: &str| {
        let (run, task) = fixture::run(&fixture.base(), state, "t", "landed");
        let commit = branch(fixture, &task.branch, run.id.as_str());
        fixture.git(&["merge", "-q", "--squash", task.branch.as_str()]);
        fixture.git(&["commit", "-q", "-m", "landed"]);
        let landed =
            Some(LandedRecord { before: None, commit: fixture.tip("refs/heads/main"), order: 1, at: Timestamp(0) });
        let task = TaskRecord { commit: Some(commit), landed, ..task };
        let run = RunRecord { supervisor: proc::own(), ended_at: run.ended_at.map(|_| clock::now()), ..run };
        fixture.store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
        task.branch.full_ref()
    };
    let (over, at_work) = (landed(&fixture, "landed"), landed(&fixture, "running"));
    // Later work that undoes all of it on the target does not make the landing any less certain.
    fixture.git(&["rm", "-q", "-r", "."]);
    fixture.commit("other", "x");
    let report = clean(&fixture, &policy(0));
    assert_eq!(report.actions.len(), 1);
    assert!(report.actions[0].proof.starts_with("landed as "), "{}", report.actions[0].proof);
    assert_eq!((fixture.find(&over), fixture.find(&at_work).is_some()), (None, true));
}

#[test]
fn a_branch_that_somebody_works_on_stays() {
    let fixture = Fixture::new();
    let later = CleanPolicy { now: Timestamp(1_900_000_000_000), retention: Duration::MAX, ..policy(0) };
    let (_, task) = record(&fixture, "failed", "failed", |_| {});
    fixture.git(&["branch", task.branch.as_str()]);
    let plan = planned(&fixture, &later);
    assert_eq!(items(&plan).len(), 1);
    let place = fixture.dir.path().join("person");
    fixture.git(&["worktree", "add", "-q", &place.to_string_lossy(), task.branch.as_str()]);
    assert!(kept(&planned(&fixture, &later), &task.branch.full_ref()).contains("in use in"));
    let report = cleaning::apply(&fixture.repo, &fixture.store, plan).expect("applied");
    assert_eq!(report.actions[0].outcome, Outcome::Skipped, "{:?}", report.actions);
    assert_eq!(report.op, None);
    assert!(fixture.find(&task.branch.full_ref()).is_some());
}

#[test]
fn an_entry_without_a_box_goes_and_one_with_a_directory_stays() {
    let fixture = Fixture::new();
    let entries = fixture.repo.common_dir.join("worktrees");
    for name in ["gone", "there"] {
        let (entry, tree) = (entries.join(format!("treehand-{name}")), fixture.dir.path().join(name).join("work"));
        std::fs::create_dir_all(&entry).expect("created");
        std::fs::write(entry.join("gitdir"), format!("{}\n", tree.join(".git").display())).expect("write");
        std::fs::write(entry.join("HEAD"), "ref: refs/heads/main\n").expect("write");
        std::fs::write(entry.join("commondir"), "../..\n").expect("write");
    }
    std::fs::create_dir_all(fixture.dir.path().join("there/work")).expect("created");
    let only = CleanPolicy { only: Some(vec![Kind::Branch]), ..policy(2) };
    assert_eq!(items(&planned(&fixture, &only)), [] as [String; 0]);
    let report = clean(&fixture, &policy(2));
    assert_eq!(report.actions.len(), 1, "{:?}", report.actions);
    assert!(!entries.join("treehand-gone").exists() && entries.join("treehand-there").exists());
}

#[test]
fn the_document_says_what_the_contract_says() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "x");
    fixture.git(&["merge", "-q", "w"]);
    let value = serde_json::to_value(planned(&fixture, &policy(2)).into_report()).expect("serialised");
    assert_eq!((&value["applied"], &value["actions"][0]["kind"]), (&json!(false), &json!("workspace")));
    for field in ["item", "proof", "expect", "outcome", "reason", "bytes", "salvage"] {
        assert!(value["actions"][0].get(field).is_some(), "{field}");
    }
    assert_eq!(value["actions"][0]["outcome"], "planned");
    for word in Kind::WORDS {
        assert!(word.parse::<Kind>().is_ok(), "{word}");
    }
}

/// A box with a commit, a change and an untracked file, as a run that died leaves it.
pub fn abandoned_box(fixture: &Fixture, state: &str, task_state: &str) -> (RunRecord, TaskRecord, SealedPaths) {
    let (run, mut task) = fixture::run(&fixture.base(), state, "t", task_state);
    let paths = SealedPaths::of_task(&fixture.repo, TEMPLATE, &run.id, &task.id).expect("paths");
    let base = run.base.commit.clone();
    let lender = RunStore::open(&fixture.repo, &run.id, &base).expect("a store");
    lender.fetch(&fixture.repo.common_dir, &base).expect("fetched");
    fixture.git(&["branch", task.branch.as_str()]);
    let identity = Identity::of_user(&fixture.repo).expect("known");
    let request = SealRequest {
        base: &base,
        branch: &task.branch,
        base_name: None,
        lenders: &[lender.objects()],
        identity: &identity,
        lock_reason: Some("a task".into()),
        submodules: Submodules::Local,
        sparse: None,
        held: None,
    };
    sealed::create(&fixture.repo, &paths, &request).expect("sealed");
    fixture.commit_in(&paths.tree, "b", "committed\n");
    std::fs::write(paths.tree.join("u"), "untracked\n").expect("write");
    let attempt = json!({"n": 1, "token": Token::from_bytes([7; 16]), "process": null, "started_at": "2027-01-01T00:00:00Z",
        "ended_at": null, "exit": null, "signal": null, "error": null, "log": "/x"});
    let attempt: AttemptRecord = serde_json::from_value(attempt).expect("an attempt");
    (task.workspace, task.attempts) = (Some(paths.enclosure.clone()), vec![attempt]);
    fixture.store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
    (run, task, paths)
}

#[test]
fn the_box_of_a_dead_run_is_saved_and_goes_and_comes_back() {
    let fixture = Fixture::new();
    let later = CleanPolicy { now: Timestamp(1_900_000_000_000), retention: Duration::MAX, ..policy(0) };
    let (run, task, paths) = abandoned_box(&fixture, "running", "running");
    let soon = CleanPolicy { now: run.created_at, ..policy(0) };
    assert_eq!(items(&planned(&fixture, &soon)), [] as [String; 0]);
    let set_back = CleanPolicy { now: Timestamp(run.created_at.0 - DAY), min_age: Duration::ZERO, ..policy(0) };
    assert_eq!(items(&planned(&fixture, &set_back)), [] as [String; 0], "who recorded it lives");
    let report = clean(&fixture, &later);
    let saved = report.actions.iter().find_map(|action| action.salvage.first()).expect("something was saved");
    assert!(saved.starts_with(&format!("refs/treehand/salvage/{}/t/", run.id)), "{saved}");
    assert_eq!(fixture.git(&["show", &format!("{saved}:u")]), "untracked");
    assert_eq!(fixture.git(&["show", &format!("{saved}~1:b")]), "committed");
    assert!(!paths.enclosure.exists() && !fixture.repo.run_dir(&run.id).expect("a path").exists());
    assert_eq!(fixture.find(&task.branch.full_ref()), None, "an untouched branch stayed");
    assert_eq!(fixture.store.task(&run.id, &task.id).expect("read").workspace, None);
    assert!(!fixture.git(&["worktree", "list"]).contains("trees"));
    undo::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.store.task(&run.id, &task.id).expect("read").workspace, Some(paths.enclosure.clone()));
    assert!(fixture.run_in(&paths.tree, &["status", "--porcelain"]).contains("?? u"));
    assert!(fixture.find(&task.branch.full_ref()).is_some());
}

#[test]
fn the_box_of_a_landed_task_goes_at_once_and_that_of_a_failed_one_by_age() {
    let fixture = Fixture::new();
    let (landed, ..) = abandoned_box(&fixture, "landed", "landed");
    let (failed, _, paths) = abandoned_box(&fixture, "failed", "failed");
    let (waiting, ..) = abandoned_box(&fixture, "done", "candidate");
    let now = CleanPolicy { now: landed.ended_at.expect("ended"), retention: Duration::MAX, ..policy(0) };
    let plan = planned(&fixture, &now);
    let boxes = |plan: &CleanPlan| items(plan).into_iter().filter(|i| i.starts_with("Workspace")).collect::<Vec<_>>();
    assert_eq!(boxes(&plan), [format!("Workspace {}/t", landed.id)]);
    assert_eq!(kept(&plan, &format!("{}/t", failed.id)), "younger than 1d");
    assert_eq!(kept(&plan, &format!("{}/t", waiting.id)), "its result waits to be merged");
    clean(&fixture, &CleanPolicy { now: Timestamp(1_900_000_000_000), ..now });
    assert!(!paths.enclosure.exists());
    assert_eq!(fixture.store.run(&failed.id).expect("read").state, RunState::Failed);
}
