//! Stories of tasks that would change the same files: who goes first, who waits, and that what waited builds on what it waited for.

use crate::support;

use serde_json::{Value, json};
use support::World;
use support::followed::Followed;

/// A task that says that it has begun, and does its work when it is let go.
fn held(world: &World, id: &str, script: &str, more: &str) -> String {
    world.shell(&format!("mkfifo ../{id}.go")).expect(0);
    task(id, &format!("read line < {}/{id}.go\n{script}", world.path().display()), more)
}

fn task(id: &str, script: &str, more: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n{more}\n")
}

fn let_go(world: &World, id: &str) {
    std::fs::write(world.path().join(format!("{id}.go")), "go\n").expect("it reads");
}

fn file(world: &World, name: &str, tasks: &[String]) -> String {
    let file = world.path().join(name);
    std::fs::write(&file, tasks.concat()).expect("written");
    file.to_string_lossy().into_owned()
}

fn start(world: &World, tasks: &str, policy: &str, flags: &[&str]) -> Followed {
    let policy = format!("supervise.overlap={policy}");
    Followed::start(world, &[&["--confine", "off", "--set", &policy, "--tasks", tasks], flags].concat())
}

fn task_of(event: &Value) -> String {
    event["task"].as_str().expect("a task").to_owned()
}

fn two_begin(run: &mut Followed) -> [String; 2] {
    let mut begun = [task_of(&run.next("attempt.started")), task_of(&run.next("attempt.started"))];
    begun.sort();
    begun
}

#[test]
fn with_wait_two_tasks_that_change_one_line_land_one_after_the_other_and_a_third_runs_beside() {
    let world = World::new();
    let first = held(&world, "first", "sed -i '1s/$/ first/' a.txt", "paths = [\"a.txt\"]");
    let second = task("second", "sed -i '1s/$/ second/' a.txt", "paths = [\"*.txt\"]");
    let beside = held(&world, "beside", "echo more >> src/lib.txt", "paths = [\"src/**\"]");
    // Merged as they were captured, what the first made would conflict with itself: the second began with it as it landed.
    let after = task("after", "grep 'first second' a.txt\necho after > after.txt", "needs = [\"first\", \"second\"]");
    let tasks = file(&world, "tasks.toml", &[first, second, beside, after]);
    let line = world.show("main", "a.txt").lines().next().expect("a line").to_owned();

    let plan = ["run", "--dry-run", "--set", "supervise.overlap=wait", "--confine", "off", "--tasks", &tasks];
    let planned = world.treehand(&[&plan[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(planned["overlap"]["policy"], "wait");
    let met = json!({"count": 1, "with": [{"task": "second", "paths": [["a.txt", "*.txt"]]}]});
    assert_eq!(planned["overlap"]["tasks"]["first"], met);
    assert_eq!(planned["overlap"]["tasks"]["beside"], Value::Null);
    let told = world.treehand(&plan).expect(0).stdout;
    assert!(told.contains("  second meets first by *.txt and a.txt\n"), "{told}");

    let mut run = start(&world, &tasks, "wait", &["--jobs", "3"]);
    let (mut waits, mut begun) = (Value::Null, Vec::new());
    while waits.is_null() || begun.len() < 2 {
        let event = run.rest().next().expect("a further event");
        match event["kind"].as_str() {
            Some("task.waits") => waits = event,
            Some("attempt.started") => begun.push(task_of(&event)),
            _ => {}
        }
    }
    begun.sort();
    assert_eq!(begun, ["beside", "first"]);
    let why = waits["data"]["delay"]["why"].as_str().expect("why");
    let id = waits["run"].as_str().expect("a run").to_owned();
    let expected = format!("waits for {id}/first, which may change the same files (supervise.overlap)");
    assert_eq!((task_of(&waits).as_str(), why), ("second", expected.as_str()));
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!(support::task(&shown, "second")["waits_for"]["why"], expected);
    let_go(&world, "beside");
    assert_eq!(task_of(&run.next("task.land")), "beside");
    let_go(&world, "first");
    let order: Vec<String> = run
        .rest()
        .filter(|event| {
            matches!(event["kind"].as_str(), Some("task.land" | "attempt.started")) && event["task"] != "after"
        })
        .map(|event| format!("{} {}", event["kind"].as_str().expect("a kind"), task_of(&event)))
        .collect();
    assert_eq!(order, ["task.land first", "attempt.started second", "task.land second"]);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "a.txt").lines().next(), Some(format!("{line} first second").as_str()));
}

#[test]
fn with_prefer_who_meets_nobody_comes_first_and_every_place_is_used() {
    let world = World::new();
    let tasks = [
        held(&world, "a", "sed -i 1s/^/a/ a.txt", "paths = [\"a.txt\"]"),
        held(&world, "b", "sed -i 3s/^/b/ a.txt", "paths = [\"a.txt\"]"),
        held(&world, "c", "echo c > c.txt", "paths = [\"c.txt\"]"),
    ];
    let mut run = start(&world, &file(&world, "tasks.toml", &tasks), "prefer", &["--jobs", "2"]);
    assert_eq!(two_begin(&mut run), ["a", "c"]);
    let_go(&world, "c");
    assert_eq!(task_of(&run.next("attempt.started")), "b", "a is at work still");
    let_go(&world, "a");
    let_go(&world, "b");
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn nobody_waits_for_a_result_that_a_person_has_wait() {
    let world = World::new();
    world.treehand(&["queue", "pause", "release"]).expect(0);
    let tasks = [
        task("a", "sed -i 1s/^/a/ a.txt", "paths = [\"a.txt\"]"),
        task("b", "sed -i 3s/^/b/ a.txt", "paths = [\"a.txt\"]"),
    ];
    let mut run = start(&world, &file(&world, "tasks.toml", &tasks), "wait", &["--jobs", "2"]);
    assert_eq!(two_begin(&mut run), ["a", "b"], "what waits to land is not about to");
    world.treehand(&["queue", "resume"]).expect(0);
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn a_task_waits_for_the_result_of_another_run_that_changes_its_files_and_starts_from_what_landed() {
    let world = World::new();
    world.shell("mkfifo ../gate.go").expect(0);
    let gate = format!("read line < {}/gate.go", world.path().display());
    let undeclared = file(&world, "one.toml", &[task("undeclared", "sed -i '1s/$/ one/' a.txt", "")]);
    let mut one = start(&world, &undeclared, "wait", &["--gate", &gate]);
    let entered = one.next("queue.entered");
    let id = entered["run"].as_str().expect("a run");
    let declared = file(&world, "two.toml", &[task("declared", "sed -i '1s/$/ two/' a.txt", "paths = [\"a.*\"]")]);
    let mut two = start(&world, &declared, "wait", &[]);
    let why = two.next("task.waits")["data"]["delay"]["why"].clone();
    assert_eq!(why, format!("waits for {id}/undeclared, which changes a.txt, too (supervise.overlap)"));
    let_go(&world, "gate");
    assert_eq!((one.ends(), two.ends()), (Some(0), Some(0)));
    assert!(world.show("main", "a.txt").lines().next().is_some_and(|line| line.ends_with(" one two")));
}
