//! Stories of results that wait for a person, and land when one says so.

use crate::support;

use serde_json::{Value, json};
use support::followed::Followed;
use support::{World, state};

fn task(id: &str, script: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n")
}

fn ran(world: &World, tasks: &str, flags: &[&str], code: i32) -> String {
    let run = world.run_tasks(tasks, flags).expect(code).json();
    run["run"].as_str().expect("an id").to_owned()
}

fn merge(world: &World, target: &str, code: i32) -> Value {
    world.treehand(&["merge", target, "--json"]).expect(code).json()
}

#[test]
fn what_was_left_to_a_person_lands_task_by_task_and_what_remains_at_once() {
    let world = World::new();
    let tasks = [task("a", "echo a > a"), task("b", "echo b > b"), task("c", "test -e b; echo c > c")].concat();
    let run = ran(&world, &format!("{tasks}needs = [\"b\"]\n"), &["--merge", "manual"], 0);
    let tip = world.git(&["rev-parse", "main"]);
    let refused = world.treehand(&["merge", &format!("{run}/c")]).expect(4);
    assert!(refused.stderr.contains("`c` builds on `b`, which has not landed"), "{}", refused.stderr);
    let one = merge(&world, &format!("{run}/a"), 0);
    assert_eq!((&one["before"], &one["target"], &one["rejected"]), (&json!(tip), &json!("main"), &json!([])));
    assert_eq!(one["after"], world.git(&["rev-parse", "main"]));
    assert_eq!(one["landed"], json!([{"task": "a", "commit": one["after"]}]));
    assert_eq!(world.treehand(&["show", &run, "--json"]).expect(0).json()["state"], "done", "the others wait");
    let text = world.treehand(&["merge", &run]).expect(0).stdout;
    assert!(text.contains("landed b on main as ") && text.contains("landed c on main as "), "{text}");
    assert_eq!(world.git(&["log", "--format=%s", "-3", "main"]), "c\nb\na");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert!(world.treehand(&["merge", &run]).expect(4).stderr.contains("none of its results waits"));
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "-2", "main"]), "b\na");
}

#[test]
fn what_needs_attention_lands_when_it_is_named_and_what_is_done_in_its_workspace_stays() {
    let world = World::new();
    let run = ran(&world, &task("a", "mkdir .husky; echo x > .husky/pre-commit"), &[], 9);
    assert!(world.treehand(&["merge", &run]).expect(4).stderr.contains("none of its results waits"));
    let tree = world.treehand(&["path", &format!("{run}/a")]).expect(0).stdout;
    let mine = std::path::Path::new(tree.trim_end()).join("mine");
    std::fs::write(&mine, "of a person").expect("written");
    merge(&world, &format!("{run}/a"), 0);
    assert_eq!(world.show("main", ".husky/pre-commit"), "x\n");
    assert_eq!(std::fs::read_to_string(&mine).expect("it is there"), "of a person");
}

#[test]
fn what_did_not_land_is_tried_once_more_through_its_gates() {
    let world = World::new();
    let tasks = ["gates = [\"test -e ok\"]\n".to_owned(), task("a", "echo a > a")].concat();
    let run = ran(&world, &tasks, &[], 7);
    let again = merge(&world, &run, 7);
    assert_eq!(again["rejected"][0]["reason"]["kind"], "gate");
    assert_eq!(again["gates"][0]["outcome"], "failed");
    world.commit("ok", &[("ok", "")]);
    assert_eq!(merge(&world, &run, 0)["gates"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.show("main", "a"), "a\n");
}

#[test]
fn what_a_rule_refused_and_a_branch_that_somebody_moved_do_not_land() {
    let world = World::new();
    let run = ran(&world, &format!("{}paths = [\"in/**\"]\n", task("a", "echo a > a")), &[], 4);
    let refused = world.treehand(&["merge", &format!("{run}/a")]).expect(4);
    let by_hand = format!("a rule refused the result of `a`: `git merge treehand/{run}/a` takes it by hand");
    assert!(refused.stderr.contains(&by_hand), "{}", refused.stderr);
    let run = ran(&world, &task("a", "echo a > a"), &["--merge", "manual"], 0);
    world.git(&["update-ref", &format!("refs/heads/treehand/{run}/a"), "main"]);
    let moved = world.treehand(&["merge", &run]).expect(4);
    assert!(moved.stderr.contains("has moved since its result was captured"), "{}", moved.stderr);
    world.git(&["update-ref", "-d", &format!("refs/heads/treehand/{run}/a")]);
    assert!(world.treehand(&["merge", &run]).expect(4).stderr.contains("is gone"));
    assert_eq!(world.treehand(&["show", &run, "--json"]).expect(0).json()["state"], "done", "nothing has changed");
}

#[test]
fn a_result_lands_while_the_rest_of_its_run_goes_on() {
    let world = World::new();
    let pipe = world.path().join("go").to_string_lossy().into_owned();
    world.shell(&format!("mkfifo '{pipe}'")).expect(0);
    let file = world.path().join("tasks.toml").to_string_lossy().into_owned();
    let tasks = [task("a", "echo a > a"), task("b", &format!("read line < '{pipe}'"))].concat();
    std::fs::write(&file, tasks).expect("written");
    let mut run = Followed::start(&world, &["--confine", "off", "--jobs", "2", "--merge", "manual", "--tasks", &file]);
    run.next("task.enqueue");
    let id = world.only_run();
    assert_eq!(merge(&world, &format!("{id}/a"), 0)["landed"][0]["task"], "a");
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!((state(&shown, "a"), state(&shown, "b")), ("landed", "running"));
    std::fs::write(&pipe, "go\n").expect("written");
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn two_who_merge_at_once_land_everything_once_and_both_hear_so() {
    let world = World::new();
    let tasks: String = (0..6).map(|n| task(&format!("t{n}"), &format!("echo {n} > f{n}"))).collect();
    let run = ran(&world, &tasks, &["--merge", "manual", "--confine", "off"], 0);
    let single = format!("{run}/t3");
    let others: Vec<_> = [&run, &single, &run]
        .map(|target| world.command(&["merge", target, "--json"]))
        .into_iter()
        .map(|mut merge| merge.stdout(std::process::Stdio::piped()).spawn().expect("started"))
        .collect();
    for other in others {
        let output = other.wait_with_output().expect("over");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // Whoever comes when all is done finds nothing to do.
        let nothing = said.contains("none of its results waits") || said.contains("has landed");
        assert!(output.status.success() || nothing, "{said}");
    }
    assert_eq!(world.treehand(&["show", &run, "--json"]).expect(0).json()["state"], "landed");
    assert_eq!(world.git(&["rev-list", "--count", "main"]), "7");
    world.treehand(&["retry", &run]).expect(4);
}
