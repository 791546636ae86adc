//! Updates of workspaces: against git's own rebase and merge on random histories, and case by case.
//!
//! `PROPTEST_CASES=500 cargo test update_tests` looks longer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::Fixture;
use super::update::{Foreign, UpdateRequest, Updated, recover, update};
use crate::model::operation::{PutBack, UndoData};
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, CommitId, UpdateBy};
use crate::store::EntryDraft;

/// One commit of a random history. Of few files with few lines, so that conflicts come often.
#[derive(Clone, Debug)]
enum Step {
    /// Replaces a line.
    Edit { file: usize, line: usize, text: u8 },
    /// Adds or removes a file.
    Toggle { file: usize },
    /// Moves a file.
    Rename { file: usize },
    /// Makes a file executable, or not.
    Mode { file: usize },
    /// Changes nothing.
    Empty,
    /// Takes the last commit of the other side.
    Pick,
    /// Merges the other side.
    Merge,
    /// Takes back the last commit.
    Revert,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..8_usize, 0..3_u8).prop_map(|(file, line, text)| Step::Edit { file, line, text }),
        2 => (0..6_usize).prop_map(|file| Step::Toggle { file }),
        1 => (0..4_usize).prop_map(|file| Step::Rename { file }),
        1 => (0..4_usize).prop_map(|file| Step::Mode { file }),
        1 => Just(Step::Empty),
        1 => Just(Step::Pick),
        1 => Just(Step::Merge),
        1 => Just(Step::Revert),
    ]
}

/// A commit on one side at a time; `true` is the workspace's.
fn history() -> impl Strategy<Value = Vec<(bool, Step)>> {
    prop::collection::vec((any::<bool>(), step()), 3..9)
}

struct Sides {
    fixture: Fixture,
    workspace: WorkspaceRecord,
}

impl Sides {
    fn new() -> Sides {
        let fixture = Fixture::new();
        let lines: String = (0..8).map(|n| format!("line {n}\n\n\n\n")).collect();
        for n in 0..4 {
            std::fs::write(fixture.root.join(format!("f{n}")), format!("{n}\n{lines}")).expect("written");
        }
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "files"]);
        let workspace = fixture.workspace("w");
        Sides { fixture, workspace }
    }

    fn tree(&self, own: bool) -> PathBuf {
        if own { self.workspace.path.clone() } else { self.fixture.root.clone() }
    }

    fn play(&self, steps: &[(bool, Step)]) {
        for (n, (own, step)) in steps.iter().enumerate() {
            let tree = self.tree(*own);
            if self.change(&tree, *own, step) {
                let message = format!("{} {n}\n\nbody of {n}", if *own { "own" } else { "upstream" });
                let author = format!("Author {n} <a{n}@example.org>");
                let at = format!("@{} +0130", 1_700_000_000 + n);
                self.fixture.run_in(&tree, &["add", "--all"]);
                let args = ["commit", "-q", "--allow-empty", "-m", &message, "--author", &author, "--date", &at];
                self.fixture.run_in(&tree, &args);
            }
        }
    }

    /// Changes files; false when the step made its own commit, or none.
    fn change(&self, tree: &Path, own: bool, step: &Step) -> bool {
        let path = |file: usize| tree.join(format!("f{file}"));
        let other = if own { "main" } else { "w" };
        match *step {
            Step::Edit { file, line, text } => {
                let Ok(old) = std::fs::read_to_string(path(file)) else { return false };
                let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
                let at = (1 + line * 4).min(lines.len().saturating_sub(1));
                lines[at] = format!("changed to {text}");
                std::fs::write(path(file), lines.join("\n") + "\n").expect("written");
                true
            }
            Step::Toggle { file } if path(file).exists() => std::fs::remove_file(path(file)).is_ok(),
            Step::Toggle { file } => std::fs::write(path(file), format!("new {file}\n{own}\n")).is_ok(),
            Step::Rename { file } => std::fs::rename(path(file), tree.join(format!("moved{file}"))).is_ok(),
            Step::Mode { file } => {
                use std::os::unix::fs::PermissionsExt;
                let executable = std::fs::Permissions::from_mode(0o755);
                path(file).exists() && std::fs::set_permissions(path(file), executable).is_ok()
            }
            Step::Empty => true,
            Step::Pick => {
                self.try_or_abort(tree, "cherry-pick", &["cherry-pick", "--allow-empty", "-m1", other])
                    || self.try_or_abort(tree, "cherry-pick", &["cherry-pick", "--allow-empty", other])
            }
            Step::Merge => self.try_or_abort(tree, "merge", &["merge", "-q", "--no-edit", other]),
            Step::Revert => self.try_or_abort(tree, "revert", &["revert", "--no-edit", "HEAD"]),
        }
    }

    /// A command that makes its own commit; what it cannot do is taken back. Never asks for another commit.
    fn try_or_abort(&self, tree: &Path, operation: &str, args: &[&str]) -> bool {
        let output = self.fixture.repo.git.within(tree, args).output().expect("git starts");
        if !output.status.success() {
            self.fixture.repo.git.within(tree, [operation, "--abort"]).output().expect("git starts");
        }
        false
    }

    fn base(&self) -> BaseReport {
        self.fixture.base()
    }

    fn update(&self, by: UpdateBy) -> Updated {
        let record = self.fixture.store.workspace(&self.workspace.name).expect("read").expect("there");
        let base = self.base();
        let (foreign, lock_wait) = (Foreign::of(&record), Duration::from_secs(5));
        let request = UpdateRequest { record: &record, base: &base, foreign: &foreign, by, lock_wait };
        update(&self.fixture.repo, &self.fixture.store, &request).expect("answered")
    }

    fn tip(&self) -> CommitId {
        self.fixture.tip("refs/heads/w")
    }

    fn log(&self, range: &str) -> String {
        // A merge is compared by what it holds; it is made now, into another branch.
        let merges = self.fixture.git(&["log", "--merges", "--topo-order", "--format=%T %an %ae", range, "--"]);
        let format = "--format=%T %an %ae %ad %s%n%b";
        merges + &self.fixture.git(&["log", "--no-merges", "--topo-order", format, range, "--"])
    }
}

/// What git itself does to a copy of the workspace's branch: the new tip, or the files in conflict.
fn by_git(sides: &Sides, by: UpdateBy) -> Result<(), Vec<String>> {
    let fixture = &sides.fixture;
    let place = fixture.dir.path().join("by-git");
    let place_text = place.to_string_lossy().into_owned();
    fixture.git(&["worktree", "add", "-q", "-b", "g", &place_text, "w"]);
    let args: &[&str] = match by {
        UpdateBy::Rebase => &["rebase", "-q", "--no-fork-point", "main"],
        UpdateBy::Merge => &["merge", "-q", "--no-edit", "main"],
    };
    if fixture.repo.git.within(&place, args).output().expect("git starts").status.success() {
        return Ok(());
    }
    let listed =
        fixture.repo.git.within(&place, ["diff", "--name-only", "--diff-filter=U", "-z"]).run().expect("listed");
    Err(listed.records().map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    // 256 is what comes when nobody asked.
    let cases = if asked.cases == 256 { 8 } else { asked.cases };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}

fn agrees_with_git(steps: &[(bool, Step)], by: UpdateBy) {
    let sides = Sides::new();
    sides.play(steps);
    let before = (sides.tip(), sides.fixture.picture(&sides.workspace.path));
    let expected = by_git(&sides, by);
    match (sides.update(by), expected) {
        (Updated::Conflict { paths, .. }, Err(theirs)) => {
            assert_eq!(paths, theirs, "other files are in conflict");
            assert_eq!(
                (sides.tip(), sides.fixture.picture(&sides.workspace.path)),
                before,
                "a conflict left something"
            );
        }
        (Updated::Done { after, .. }, Ok(())) => {
            assert_eq!(after, sides.tip());
            assert_eq!(sides.log("main..w"), sides.log("main..g"), "another history");
            let tree = |branch: &str| sides.fixture.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
            assert_eq!(tree("w"), tree("g"), "another tree");
            let status = sides.fixture.run_in(&sides.workspace.path, &["status", "--porcelain"]);
            assert_eq!(status, "", "the files are not those of the branch");
        }
        // Where nothing is to be brought in nothing is rewritten, though git's rebase would make merges of it straight.
        (Updated::Already, _) => {
            sides.fixture.git(&["merge-base", "--is-ancestor", "main", "w"]);
            assert_eq!((sides.tip(), sides.fixture.picture(&sides.workspace.path)), before);
        }
        (ours, theirs) => panic!("ours: {ours:?}, git's: {theirs:?}"),
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_rebase_is_what_git_makes_of_it(steps in history()) {
        agrees_with_git(&steps, UpdateBy::Rebase);
    }

    #[test]
    fn a_merge_is_what_git_makes_of_it(steps in history()) {
        agrees_with_git(&steps, UpdateBy::Merge);
    }
}

fn edit(file: usize, line: usize, text: u8) -> Step {
    Step::Edit { file, line, text }
}

#[test]
fn local_changes_stay_and_one_in_the_way_stops_the_update() {
    let sides = Sides::new();
    sides.play(&[(true, edit(0, 0, 1)), (false, edit(1, 0, 1))]);
    let file = |name: &str| sides.workspace.path.join(name);
    std::fs::write(file("f2"), "mine\n").expect("written");
    std::fs::write(file("untracked"), "mine too\n").expect("written");
    assert!(matches!(sides.update(UpdateBy::Rebase), Updated::Done { .. }));
    assert_eq!(std::fs::read_to_string(file("f2")).expect("there"), "mine\n");
    assert_eq!(sides.fixture.run_in(&sides.workspace.path, &["status", "--porcelain"]), " M f2\n?? untracked");

    sides.play(&[(false, edit(2, 3, 2))]);
    let before = (sides.tip(), sides.fixture.picture(&sides.workspace.path));
    let Updated::InTheWay(obstacle) = sides.update(UpdateBy::Rebase) else { panic!("it moved over a local change") };
    assert_eq!(obstacle.paths, ["f2"]);
    assert_eq!((sides.tip(), sides.fixture.picture(&sides.workspace.path)), before);
}

#[test]
fn a_base_that_was_forced_elsewhere_does_not_come_back_with_the_update() {
    for by in [UpdateBy::Rebase, UpdateBy::Merge] {
        let sides = Sides::new();
        sides.play(&[(false, edit(0, 0, 1))]);
        assert_eq!(sides.update(by), Updated::Done { before: sides.base_of_all(), after: sides.tip() });
        sides.play(&[(true, edit(1, 1, 1))]);
        sides.fixture.git(&["reset", "-q", "--hard", "HEAD~1"]);
        sides.play(&[(false, edit(0, 0, 2))]);
        assert!(matches!(sides.update(by), Updated::Done { .. }), "{by}");
        let text = std::fs::read_to_string(sides.workspace.path.join("f0")).expect("there");
        assert!(text.contains("changed to 2") && !text.contains("changed to 1"), "{by}: {text}");
        let mine = std::fs::read_to_string(sides.workspace.path.join("f1")).expect("there");
        assert!(mine.contains("changed to 1"), "{by}: {mine}");
    }
}

impl Sides {
    fn base_of_all(&self) -> CommitId {
        self.workspace.base.commit.clone()
    }
}

#[test]
fn an_update_is_on_record_with_what_it_takes_to_undo_it() {
    let sides = Sides::new();
    sides.play(&[(true, edit(0, 0, 1)), (false, edit(1, 0, 1))]);
    let before = sides.tip();
    assert!(matches!(sides.update(UpdateBy::Merge), Updated::Done { .. }));
    let store = &sides.fixture.store;
    let operation = store.operations().expect("read").remove(0);
    let UndoData::Update(record) = operation.undo else { panic!("another operation") };
    assert_eq!((&record.before, &record.after), (&before, &sides.tip()));
    assert_eq!(record.base_before, sides.workspace.base);
    assert_eq!(store.workspace(&sides.workspace.name).expect("read").expect("there").base, record.base_after);
    assert_eq!(store.open_intents().expect("read"), []);
}

#[test]
fn an_update_whose_process_died_after_the_branch_moved_is_completed() {
    let sides = Sides::new();
    sides.play(&[(true, edit(0, 0, 1)), (false, edit(1, 0, 1))]);
    let before = sides.tip();
    assert!(matches!(sides.update(UpdateBy::Merge), Updated::Done { .. }));
    let store = &sides.fixture.store;
    let UndoData::Update(record) = store.operations().expect("read").remove(0).undo else { panic!("another") };
    // As if it had died between the branch and the files: the files are those of before, the records too.
    sides.fixture.run_in(&sides.workspace.path, &["read-tree", "-u", "--reset", before.as_str()]);
    store.mark_undone(1, PutBack::default(), None).expect("written");
    let mut data = serde_json::json!(record);
    data["owner"] = serde_json::json!({"pid": 1, "start_time": 1, "boot_id": "gone"});
    let _stays_open = store.intend(&EntryDraft::new(super::update::KIND, data)).expect("written");
    let recovered = recover(&sides.fixture.repo, store).expect("recovered");
    assert_eq!((recovered.settled, recovered.blocked), (vec!["update of w: completed".to_owned()], vec![]));
    assert_eq!(sides.fixture.run_in(&sides.workspace.path, &["status", "--porcelain"]), "");
    assert_eq!(store.open_intents().expect("read"), []);
    assert_eq!(store.operations().expect("read").iter().filter(|operation| !operation.undone).count(), 1);
}
