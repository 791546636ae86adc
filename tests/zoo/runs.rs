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

fn unknown(world: &World, _: &str) -> Vec<Verdict> {
    let id = std::fs::read_to_string(world.repo().join(".git/treehand/id")).expect("an id");
    let place = world.path().join("state/treehand/sealed").join(id.trim()).join("0w253tzej6");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("precious"), "precious\n").expect("written");
    vec![Kept("state", "/0w253tzej6".into(), "no run of this id is recorded"), Untouched(place)]
}

/// Of a run that died before it was on record: what its tasks were to borrow from, and no task.
fn unknown_and_empty(world: &World, _: &str) -> Vec<Verdict> {
    let id = std::fs::read_to_string(world.repo().join(".git/treehand/id")).expect("an id");
    let sealed = world.path().join("state/treehand/sealed").join(id.trim());
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
