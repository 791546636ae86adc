//! What runs leave: boxes, branches and private directories of tasks that ended in every way, and of runs that nobody looks after.
//!
//! They belong to their run: what did not land is saved, what waits for a person stays.

use serde_json::Value;

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict};
use crate::support::World;
use crate::support::followed::Followed;

/// One task by this script, whose run ends with this code.
fn run(world: &World, name: &str, script: &str, flags: &[&str], code: i32) -> String {
    let args = [&["run", "--json", "--confine", "off", "--name", name], flags, &["--", "sh", "-c", script]].concat();
    id(&world.treehand(&args).expect(code).json())
}

fn id(run: &Value) -> String {
    run["run"].as_str().expect("an id").to_owned()
}

fn box_goes(run: &str, task: &str, state: &'static str) -> Verdict {
    Goes("workspace", format!("{run}/{task}"), state)
}

fn branch(run: &str, task: &str) -> String {
    format!("refs/heads/treehand/{run}/{task}")
}

fn private_dir_goes(run: &str) -> Verdict {
    Goes("state", format!("/{run}"), "")
}

fn landed(world: &World, name: &str) -> Vec<Verdict> {
    run(world, name, "echo landed > landed.txt", &[], 0);
    Vec::new()
}

fn without_a_change(world: &World, name: &str) -> Vec<Verdict> {
    run(world, name, "true", &[], 0);
    Vec::new()
}

fn waits(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, "echo waits > waits.txt", &["--merge", "manual"], 0);
    vec![Kept("workspace", format!("{run}/{name}"), "its result waits to be merged")]
}

fn asks(world: &World, name: &str) -> Vec<Verdict> {
    let script = "echo asks > asks.txt; echo '{\"question\": \"May I?\", \"deadline\": \"10ms\"}' > \
                  \"$TREEHAND_MAIL/question.json\"; exec sleep 1000";
    let run = run(world, name, script, &[], 9);
    vec![Kept("workspace", format!("{run}/{name}"), "a person has to look at it")]
}

fn failed_with_something(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, "echo half > half.txt; mkdir -p ro; echo x > ro/x; chmod 555 ro; exit 1", &[], 1);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), ""), private_dir_goes(&run)]
}

fn failed_with_commits(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, "echo c > c; git add c; git commit -q -m own; git rm -q c; exit 1", &[], 1);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), ""), private_dir_goes(&run)]
}

fn failed_with_nothing(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, "exit 1", &[], 1);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), ""), private_dir_goes(&run)]
}

fn refused(world: &World, name: &str) -> Vec<Verdict> {
    let tasks = format!(
        "[[task]]\nid = \"{name}\"\npaths = [\"src/**\"]\ncommand = [\"sh\", \"-c\", \"echo x > outside.txt\"]\n\
         [[task]]\nid = \"next\"\nneeds = [\"{name}\"]\ncommand = [\"true\"]\n"
    );
    let run = id(&world.run_tasks(&tasks, &[]).expect(4).json());
    let reason = "its work is not in `main`";
    vec![box_goes(&run, name, "run"), Kept("branch", branch(&run, name), reason), private_dir_goes(&run)]
}

fn with_files_that_git_cannot_see(world: &World, name: &str) -> Vec<Verdict> {
    let script = "mkfifo pipe; ln -s loop loop; ln -s / root; mkdir empty; printf x > \"$(printf 'a\\nb')\"; exit 1";
    let run = run(world, name, script, &[], 1);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), ""), private_dir_goes(&run)]
}

fn moved_branch(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, "echo half > half.txt; exit 1", &[], 1);
    let tree = world.git(&["rev-parse", "main^{tree}"]);
    let commit = world.git(&["commit-tree", &tree, "-p", "main", "-m", "a person's"]);
    world.git(&["update-ref", &branch(&run, name), &commit]);
    let on = world.commit("main goes on", &[("onward.txt", "on\n")]);
    assert_ne!(on, commit);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), "no-diff"), private_dir_goes(&run)]
}

/// Where private directories of runs are.
fn sealed(world: &World) -> std::path::PathBuf {
    let id = std::fs::read_to_string(world.repo().join(".git/treehand/id")).expect("an id");
    world.path().join("state/treehand/sealed").join(id.trim())
}

fn unknown(world: &World, _: &str) -> Vec<Verdict> {
    let place = sealed(world).join("0w253tzej6");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("precious"), "precious\n").expect("written");
    vec![Kept("state", "/0w253tzej6".into(), "it holds what is no task's: precious"), Untouched(place)]
}

/// A run of one task whose records are lost, as with a store that somebody deleted.
fn forgotten(world: &World, name: &str, script: &str) -> String {
    let run = run(world, name, script, &[], 1);
    let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
    store.execute("DELETE FROM run WHERE id = ?1", [&run]).expect("forgotten");
    store.execute("DELETE FROM task WHERE run = ?1", [&run]).expect("forgotten");
    run
}

fn long_ago(world: &World, run: &str, name: &str) {
    let tree = world.trees().join(format!("{run}.{name}"));
    let places = format!("'{}' '{}'", sealed(world).join(run).display(), tree.display());
    world.shell(&format!("find {places} -exec touch -h -d '3 days ago' {{}} +")).expect(0);
}

const HALF: &str =
    "echo c > c; git add c; git commit -q -m own; git branch aside; git rm -q c; echo half > half.txt; exit 1";

fn of_no_run(world: &World, name: &str) -> Vec<Verdict> {
    let run = forgotten(world, name, HALF);
    long_ago(world, &run, name);
    vec![
        box_goes(&run, name, "no run of this id is recorded; what no branch holds"),
        Goes("branch", branch(&run, name), "no task is recorded for it, "),
        private_dir_goes(&run),
    ]
}

/// Whose box is gone, and with it what was not committed.
fn of_no_run_without_a_box(world: &World, name: &str) -> Vec<Verdict> {
    let run = forgotten(world, name, HALF);
    std::fs::remove_dir_all(world.trees().join(format!("{run}.{name}"))).expect("removed");
    world.shell(&format!("mkdir -p '{}'", world.trees().display())).expect(0);
    let place = sealed(world).join(&run).display().to_string();
    world.shell(&format!("find '{place}' -exec touch -h -d '3 days ago' {{}} +")).expect(0);
    vec![
        box_goes(&run, name, "no run of this id is recorded; what no branch holds"),
        Goes("branch", branch(&run, name), "no task is recorded for it, "),
        private_dir_goes(&run),
    ]
}

fn of_no_run_just_now(world: &World, name: &str) -> Vec<Verdict> {
    let run = forgotten(world, name, HALF);
    vec![
        Kept("workspace", format!("{run}/{name}"), "no run of this id is recorded, and it is younger than 1h"),
        Kept("branch", branch(&run, name), "it is in use in"),
        Untouched(sealed(world).join(run)),
    ]
}

fn of_no_run_without_objects(world: &World, name: &str) -> Vec<Verdict> {
    let run = forgotten(world, name, HALF);
    std::fs::remove_dir_all(sealed(world).join(&run).join("base.git")).expect("removed");
    long_ago(world, &run, name);
    vec![
        Kept("workspace", format!("{run}/{name}"), "the objects that it borrows from are gone"),
        Kept("branch", branch(&run, name), "it is in use in"),
        Untouched(sealed(world).join(run)),
    ]
}

fn of_no_run_elsewhere(world: &World, name: &str) -> Vec<Verdict> {
    let run = forgotten(world, name, HALF);
    let (tree, to) = (world.trees().join(format!("{run}.{name}/repo")), world.path().join("elsewhere"));
    std::fs::rename(&tree, &to).expect("moved");
    let admin = sealed(world).join(&run).join(name).join("common.git/worktrees/wt/gitdir");
    std::fs::write(admin, format!("{}/.git\n", to.display())).expect("written");
    long_ago(world, &run, name);
    vec![
        Kept("workspace", format!("{run}/{name}"), "its tree is not where the template puts it"),
        Kept("branch", branch(&run, name), "it is in use in"),
        Untouched(to),
        Untouched(sealed(world).join(run)),
    ]
}

/// A person's sealed workspace of which nobody knows: with its tree it may be worked in, without it is what a removal left.
fn of_no_workspace(world: &World, name: &str) -> Vec<Verdict> {
    let lost = format!("{name}-lost");
    for name in [name, &lost] {
        world.treehand(&["new", "--sealed", name]).expect(0);
        std::fs::write(world.tree(name).join("half.txt"), "half\n").expect("written");
        world.git_in(&world.tree(name), &["add", "--all"]);
        world.git_in(&world.tree(name), &["commit", "-q", "-m", "inside"]);
        let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
        store.execute("DELETE FROM workspace WHERE name = ?1", [name]).expect("forgotten");
    }
    std::fs::remove_dir_all(world.trees().join(&lost)).expect("removed");
    let place = sealed(world).join("named").display().to_string();
    world.shell(&format!("find '{place}' -exec touch -h -d '3 days ago' {{}} +")).expect(0);
    vec![
        Kept("workspace", name.to_owned(), "no workspace of this name is recorded, and its tree is there"),
        Untouched(world.trees().join(name)),
        Goes("workspace", lost, "no workspace of this name is recorded; what no branch holds"),
    ]
}

/// Of a run that died before it was on record: what its tasks were to borrow from, and no task.
fn unknown_and_empty(world: &World, _: &str) -> Vec<Verdict> {
    let sealed = sealed(world);
    let (old, young) = (sealed.join("0w253tzej7"), sealed.join("0w253tzej8"));
    for place in [&old, &young] {
        std::fs::create_dir_all(place.join("base.git/objects")).expect("made");
    }
    world.shell(&format!("touch -d '3 days ago' '{}'", old.display())).expect(0);
    vec![Goes("state", "/0w253tzej7".into(), "no run of this id is recorded, and no task"), Untouched(young)]
}

/// Its supervisor is killed in the middle of a task, and what held that too.
fn abandoned(world: &World, name: &str) -> Vec<Verdict> {
    let id = Followed::leave_behind(world, name, "echo half > half.txt");
    vec![
        Goes("process", format!("{id}/{name} attempt 1: sleep*"), "the supervisor of run"),
        box_goes(&id, name, "the supervisor of run"),
        Goes("branch", branch(&id, name), ""),
        private_dir_goes(&id),
    ]
}

/// Whose box is more than what a repository takes in.
const BIG: &str = "head -c 300000 /dev/urandom > big; echo half > half.txt";

fn failed_beyond_the_cap(world: &World, name: &str) -> Vec<Verdict> {
    let run = run(world, name, &format!("{BIG}; git branch aside; exit 1"), &[], 1);
    vec![box_goes(&run, name, "run"), Goes("branch", branch(&run, name), ""), private_dir_goes(&run)]
}

fn abandoned_beyond_the_cap(world: &World, name: &str) -> Vec<Verdict> {
    let id = Followed::leave_behind(world, name, BIG);
    vec![
        Goes("process", format!("{id}/{name} attempt 1: sleep*"), "the supervisor of run"),
        box_goes(&id, name, "the supervisor of run"),
        Goes("branch", branch(&id, name), ""),
        private_dir_goes(&id),
    ]
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("landed", landed),
    ("no-change", without_a_change),
    ("waits", waits),
    ("asks", asks),
    ("failed-dirty", failed_with_something),
    ("failed-commits", failed_with_commits),
    ("failed-clean", failed_with_nothing),
    ("refused", refused),
    ("unseen", with_files_that_git_cannot_see),
    ("moved-branch", moved_branch),
    ("unknown", unknown),
    ("unknown-and-empty", unknown_and_empty),
    ("of-no-run", of_no_run),
    ("of-no-run-boxless", of_no_run_without_a_box),
    ("of-no-run-young", of_no_run_just_now),
    ("of-no-run-bare", of_no_run_without_objects),
    ("of-no-run-moved", of_no_run_elsewhere),
    ("of-no-workspace", of_no_workspace),
    ("abandoned", abandoned),
];

#[test]
fn what_runs_left_goes_saved_and_what_waits_stays() {
    Pen::fill(World::new(), ALL).judge(&["--min-age", "0s"]);
}

/// What of runs is saved, some of it beyond the cap that goes with it.
const SAVED: &[Specimen] = &[
    ("failed-dirty", failed_with_something),
    ("failed-commits", failed_with_commits),
    ("unseen", with_files_that_git_cannot_see),
    ("failed-beyond", failed_beyond_the_cap),
    ("abandoned-beyond", abandoned_beyond_the_cap),
];

const CAPPED: [&str; 4] = ["--min-age", "0s", "--set", "clean.salvage_max=64K"];

#[test]
fn what_is_more_than_the_repository_takes_in_goes_saved_in_bundles() {
    Pen::fill(World::new(), SAVED).judge(&CAPPED);
}

#[test]
fn each_bundle_is_one_that_git_reads_and_the_rest_is_in_refs() {
    let world = World::new();
    for (name, build) in SAVED {
        build(&world, name);
    }
    world.treehand(&[&["clean", "--yes"], &CAPPED[..]].concat()).expect(0);
    world.git(&["gc", "-q", "--prune=now"]);
    let all = world.treehand(&["salvage", "ls", "--json"]).expect(0).json();
    let mut bundles = Vec::new();
    for saved in all["salvage"].as_array().expect("a list") {
        let rev = match saved["bundle"].as_str() {
            Some(bundle) => {
                bundles.push(saved["from"].as_str().expect("a name").rsplit('/').next().expect("a task").to_owned());
                world.git(&["fetch", "-q", bundle, "worktree"]);
                "FETCH_HEAD"
            }
            None => saved["ref"].as_str().expect("a ref"),
        };
        assert_eq!(world.git(&["rev-parse", rev]), saved["commit"].as_str().expect("an id"));
    }
    bundles.sort();
    assert_eq!(bundles, ["abandoned-beyond", "failed-beyond"]);
    assert_eq!(all["salvage"].as_array().map(Vec::len), Some(SAVED.len()), "{all}");
}

#[test]
fn what_was_done_in_a_box_that_is_not_on_record_is_saved() {
    let world = World::new();
    of_no_run(&world, "t");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    let saved = &world.treehand(&["salvage", "ls", "--json"]).expect(0).json()["salvage"];
    let [one] = saved.as_array().expect("a list").as_slice() else { panic!("{saved}") };
    assert!(one["from"].as_str().expect("a name").ends_with("/t"), "{one}");
    let worktree = one["ref"].as_str().expect("a ref");
    assert_eq!(world.git(&["show", &format!("{worktree}:half.txt")]), "half");
    assert_eq!(world.git(&["show", &format!("{worktree}~:c")]), "c", "its own commit is below");
}

#[test]
fn what_a_run_at_work_has_or_needs_is_not_looked_at() {
    let world = World::new();
    world.git(&["switch", "-q", "-c", "side"]);
    world.commit("of the side", &[("side.txt", "side\n")]);
    world.git(&["switch", "-q", "main"]);
    world.git(&["merge", "-q", "--no-ff", "-m", "merged side", "side"]);
    world.shell("mkfifo ../begun ../go").expect(0);
    let place = world.path().display();
    let script = format!("echo at-work > at-work.txt; echo > '{place}/begun'; read line < '{place}/go'");
    let args = ["-q", "--name", "t", "--base", "side", "--confine", "off", "--", "sh", "-c", &script];
    let mut run = Followed::start(&world, &args);
    run.next("attempt.started");
    std::fs::read(world.path().join("begun")).expect("it has begun");
    let id = world.only_run();
    let tree = world.trees().join(format!("{id}.t"));
    let verdicts =
        vec![("base", Kept("branch", "refs/heads/side".into(), "is based on it")), ("box", Untouched(tree.clone()))];
    let pen = Pen::of(world, verdicts);
    pen.judge_what_is_not_undone(&["--branches", "all", "--min-age", "0s"]);
    std::fs::write(pen.world.path().join("go"), "go\n").expect("it waits");
    assert_eq!(run.ends(), Some(0));
    assert_eq!(pen.world.show("side", "at-work.txt"), "at-work\n");
}
