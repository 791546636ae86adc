//! Stories of results that conflict with what landed before them: with `merge.conflicts = "agent"` each task's own agent gets the
//! conflict, in its workspace, and what it makes of it goes into the queue again; so often and no more.

use crate::support;

use std::path::PathBuf;

use serde_json::Value;
use support::{World, state};

const AGENT: [&str; 4] = ["--set", "merge.conflicts=agent", "--confine", "off"];

/// Two tasks that write the same line of `a`; the second one lands after the first, and gets this to do with the conflict.
fn two(world: &World, resolve: &str) -> String {
    let task = |id: &str, before: &str, script: &str| {
        let script = format!("if test \"$TREEHAND_CONFLICT\"; then\n{script}\nexit; fi; {before} echo {id} > a");
        format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n")
    };
    let landed = format!("until grep -q first '{}/a'; do sleep 0.01; done;", world.repo().display());
    task("first", "", "false") + &task("second", &landed, resolve)
}

fn run(world: &World, file: &str, flags: &[&str], code: i32) -> Value {
    world.run_tasks(file, &[&AGENT[..], flags].concat()).expect(code).json()
}

fn stage() -> World {
    let world = World::new();
    world.commit("zero", &[("a", "zero\n")]);
    world
}

fn told(world: &World) -> PathBuf {
    world.path().join("told")
}

fn task<'a>(run: &'a Value, id: &str) -> &'a Value {
    let tasks = run["tasks"].as_array().expect("tasks");
    tasks.iter().find(|task| task["id"] == id).expect("the task")
}

#[test]
fn the_agent_gets_the_conflict_as_git_lays_it_out_and_what_it_makes_lands() {
    let world = stage();
    let told = told(&world);
    let (at, resolve) = (told.display(), "echo one and two > a; git add a; git commit -q -m resolved");
    let look = format!(
        "cat \"$TREEHAND_CONFLICT\" > '{at}'; git status --porcelain >> '{at}'; cat a >> '{at}'; git show :1:a :2:a :3:a >> '{at}'"
    );
    let (before, run) =
        (world.git(&["show", "main:a"]), run(&world, &two(&world, &format!("{look}; {resolve}")), &[], 0));
    assert_eq!((state(&run, "first"), state(&run, "second")), ("landed", "landed"));
    assert_eq!(task(&run, "second")["resolving"], Value::Null);
    assert_eq!(world.git(&["show", "main:a"]), "one and two");
    assert_eq!(world.git(&["log", "--format=%s", "-2", "main"]).lines().count(), 2);
    let told = std::fs::read_to_string(told).expect("told");
    let (document, rest) = told.split_once('\n').expect("lines");
    let document: Value = serde_json::from_str(document).expect("a document");
    assert_eq!(
        (&document["files"][0], &document["into"], &document["round"]),
        (&"a".into(), &"main".into(), &1.into())
    );
    let id = run["run"].as_str().expect("an id");
    assert!(rest.starts_with("UU a\n<<<<<<< main\nfirst\n||||||| "), "{rest}");
    assert!(
        rest.contains(&format!("\nzero\n=======\nsecond\n>>>>>>> {id}/second\n{before}\nfirst\nsecond\n")),
        "{rest}"
    );
    assert_eq!(task(&run, "second")["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_still_has_marks_does_not_land_and_the_result_is_as_it_was() {
    let world = stage();
    let run = run(&world, &two(&world, "git add a"), &[], 5);
    assert_eq!((state(&run, "first"), state(&run, "second")), ("landed", "rejected"));
    let reason = &task(&run, "second")["reason"];
    let message = reason["message"].as_str().expect("a message");
    assert!(message.contains("conflict with `main`") && message.contains("conflict marks are left in a"), "{reason}");
    assert_eq!((&reason["kind"], &reason["paths"][0]), (&"conflict".into(), &"a".into()));
    let branch = task(&run, "second")["branch"].as_str().expect("a branch");
    assert_eq!(world.git(&["show", &format!("{branch}:a")]), "second");
    assert_eq!(world.git(&["show", "main:a"]), "first");
    // What it tried is kept, too.
    let saved = world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand/salvage"]);
    assert!(saved.lines().any(|name| world.git(&["show", &format!("{name}:a")]).contains(">>>>>>>")), "{saved}");
}

#[test]
fn one_that_fails_at_it_is_rejected_for_the_conflict_and_one_that_lets_go_has_changed_nothing() {
    let world = stage();
    let failed = run(&world, &two(&world, "exit 3"), &[], 5);
    let message = task(&failed, "second")["reason"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("tried in vain: the command ended with exit code 3"), "{message}");
    let branch = task(&failed, "second")["branch"].as_str().expect("a branch").to_owned();
    assert_eq!(world.git(&["show", &format!("{branch}:a")]), "second");
    let world = stage();
    let let_go = run(&world, &two(&world, "git checkout -q HEAD -- a"), &[], 0);
    assert_eq!(state(&let_go, "second"), "no_change");
}

#[test]
fn there_are_so_many_rounds_and_no_more() {
    let world = stage();
    // Whoever lands meanwhile is in the way again each time.
    let again = format!(
        "echo x >> '{at}'; echo \"two $(wc -l < '{at}')\" > a; git add a; \
         cd '{root}'; echo \"theirs $(wc -l < '{at}')\" > a; git commit -q -a -m theirs",
        at = told(&world).display(),
        root = world.repo().display()
    );
    let run = run(&world, &two(&world, &again), &["--set", "merge.conflict_rounds=3"], 5);
    assert_eq!(state(&run, "second"), "rejected");
    assert_eq!(std::fs::read_to_string(told(&world)).expect("told").lines().count(), 3);
    assert_eq!(world.git(&["show", "main:a"]), "theirs 3");
    let branch = task(&run, "second")["branch"].as_str().expect("a branch");
    assert_eq!(world.git(&["show", &format!("{branch}:a")]), "two 3");
}

#[test]
fn without_that_a_conflict_is_told_with_its_places_and_both_sides() {
    let world = stage();
    let run = world.run_tasks(&two(&world, "false"), &["--confine", "off"]).expect(5).json();
    let reason = &task(&run, "second")["reason"];
    let message = reason["message"].as_str().expect("a message");
    assert!(message.contains("first` there against") && message.ends_with("second` here, in 1 place"), "{message}");
    let places = std::fs::read_to_string(reason["log"].as_str().expect("a log")).expect("written");
    assert!(places.contains("\n+<<<<<<< ") && places.contains("\n+second\n+>>>>>>> "), "{places}");
}

#[test]
fn one_that_is_cancelled_while_it_resolves_has_its_result_as_it_was() {
    let world = stage();
    let file = world.path().join("tasks.toml");
    let resolve = format!("echo > '{}'; exec sleep 1000", told(&world).display());
    std::fs::write(&file, two(&world, &resolve)).expect("written");
    let flags = ["run", "--detach", "--tasks", &file.to_string_lossy()];
    world.treehand(&[&flags[..], &AGENT].concat()).expect(0);
    world.shell(&format!("until test -e '{}'; do sleep 0.01; done", told(&world).display())).expect(0);
    let id = world.only_run();
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!(task(&shown, "second")["resolving"]["kind"], "conflict");
    world.treehand(&["cancel", &id]).expect(0);
    let over = world.treehand(&["wait", &id, "--json"]);
    assert_eq!(over.code, 130, "{}", over.stderr);
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    let second = task(&shown, "second");
    assert_eq!((&second["state"], &second["resolving"]), (&"cancelled".into(), &Value::Null));
    let branch = second["branch"].as_str().expect("a branch");
    assert_eq!(world.git(&["show", &format!("{branch}:a")]), "second");
    assert_eq!(world.git(&["rev-parse", branch]), second["commit"].as_str().expect("a commit"));
}
