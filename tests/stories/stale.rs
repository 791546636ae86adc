//! Stories of tasks whose target moves while they run, or while their results wait.

use crate::support;

use serde_json::{Value, json};
use support::followed::Followed;
use support::{World, state};

/// A pipe on which tasks wait until somebody writes a line into it.
fn pipe(world: &World, name: &str) -> String {
    let pipe = world.path().join(name).to_string_lossy().into_owned();
    world.shell(&format!("mkfifo '{pipe}'")).expect(0);
    pipe
}

fn task(id: &str, script: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n")
}

fn start(world: &World, tasks: &str, flags: &[&str]) -> Followed {
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, tasks).expect("written");
    let file = file.to_string_lossy().into_owned();
    Followed::start(world, &[&["--confine", "off", "--tasks", &file], flags].concat())
}

fn shown(world: &World) -> Value {
    world.treehand(&["show", &world.only_run(), "--json"]).json()
}

#[test]
fn a_task_at_work_is_stale_when_its_target_moves_and_says_which_of_its_files_that_concerns() {
    let world = World::with_remote();
    let (begun, go) = (pipe(&world, "begun"), pipe(&world, "go"));
    let script = format!("echo mine > a.txt; echo mine > mine.txt; echo > '{begun}'; read line < '{go}'");
    let mut run = start(&world, &task("a", &script), &["--merge", "manual"]);
    run.next("attempt.started");
    std::fs::read(&begun).expect("it has begun");
    let name = format!("{}/a", world.only_run());
    let fresh = json!({"state": "fresh", "missing": [], "touches": []});
    assert_eq!(shown(&world)["tasks"][0]["fresh"], fresh);
    assert_eq!(world.treehand(&["ls", "--json"]).expect(0).json()["workspaces"][0]["fresh"], fresh);
    world.commit("theirs", &[("a.txt", "theirs\n"), ("src/lib.txt", "theirs\n")]);
    let stale = json!({"state": "stale", "missing": ["theirs"], "touches": null});
    assert_eq!(shown(&world)["tasks"][0]["fresh"], stale);
    assert_eq!(world.treehand(&["ls", "--json"]).expect(0).json()["workspaces"][0]["fresh"], stale);
    let listed = world.treehand(&["ls"]).expect(0).stdout;
    assert!(listed.contains("stale") && listed.contains("main -1"), "{listed}");
    let told = world.treehand(&["fresh", &name, "--check", "--json"]).expect(6).json();
    let (run_id, tip) = (world.only_run(), world.git(&["rev-parse", "main"]));
    let expected = json!({"run": run_id, "task": "a", "state": "stale", "missing": ["theirs"], "touches": ["a.txt"],
        "target": "main", "tip": tip});
    assert_eq!(told["tasks"], json!([expected]));
    let text = world.treehand(&["fresh", &name, "--offline"]).expect(0).stdout;
    assert!(text.contains("changes files that these change too: a.txt"), "{text}");
    world.treehand(&["fresh", &name, "--update", "rebase"]).expect(4);
    std::fs::write(&go, "go\n").expect("written");
    run.ends();
    let waits = shown(&world);
    assert_eq!((state(&waits, "a"), &waits["tasks"][0]["fresh"]["touches"]), ("candidate", &json!(["a.txt"])));
    let text = world.treehand(&["show", &run_id]).expect(0).stdout;
    assert!(text.contains("stale: `main` has 1 commit that it lacks: theirs; both change a.txt"), "{text}");
}

#[test]
fn what_the_remote_of_the_target_has_is_missing_once_it_is_known_here() {
    let world = World::with_remote();
    let run = world.run_tasks(&task("a", "echo mine > mine.txt"), &["--merge", "manual"]).expect(0).json();
    let name = format!("{}/a", run["run"].as_str().expect("an id"));
    assert_eq!(run["tasks"][0]["fresh"]["state"], "fresh");
    world.commit_upstream("theirs", "theirs.txt", "theirs\n");
    assert_eq!(shown(&world)["tasks"][0]["fresh"]["state"], "fresh", "nobody asked the remote");
    let asked = world.treehand(&["fresh", &name, "--json"]).expect(0).json();
    assert_eq!((&asked["tasks"][0]["state"], &asked["tasks"][0]["missing"]), (&json!("stale"), &json!(["theirs"])));
    assert_eq!(shown(&world)["tasks"][0]["fresh"]["missing"], json!(["theirs"]));
}

/// Shell words: waits until what the task is told of its base has this in it, and keeps that.
fn hear(words: &str) -> String {
    format!(
        "until grep -q '{words}' \"$TREEHAND_MAIL/fresh.json\"; do sleep 0.02; done; cp \"$TREEHAND_MAIL/fresh.json\" .\n"
    )
}

#[test]
fn a_task_at_work_is_told_when_its_target_moves_and_when_a_fetch_brings_something() {
    let world = World::with_remote();
    let (begun, go) = (pipe(&world, "begun"), pipe(&world, "go"));
    let wait = format!("echo > '{begun}'; read line < '{go}'");
    let script =
        format!("{}{wait}\n{}echo mine > a.txt; {wait}\n{}", hear("\"fresh\""), hear("\"ours\""), hear("\"theirs\""));
    let mut run = start(&world, &task("a", &script), &["--merge", "manual"]);
    std::fs::read(&begun).expect("it was told that its base is fresh");
    let before = world.git(&["rev-parse", "main"]);
    std::fs::write(&go, "go\n").expect("written");
    let ours = world.commit("ours", &[("ours.txt", "ours\n")]);
    std::fs::read(&begun).expect("it was told of the commit");
    world.commit_upstream("theirs", "a.txt", "theirs\n");
    std::fs::write(&go, "go\n").expect("written");
    world.git(&["fetch", "-q", "origin"]);
    let stale: Vec<Value> = run.rest().filter(|event| event["kind"] == "task.stale").collect();
    assert_eq!(stale.len(), 1, "only a change of state is told: {stale:?}");
    assert_eq!((&stale[0]["data"]["state"], &stale[0]["data"]["missing"]), (&json!("stale"), &json!(["ours"])));
    let told: Value = serde_json::from_str(&world.show(&format!("treehand/{}/a", world.only_run()), "fresh.json"))
        .expect("a document");
    assert_eq!(
        (&told["state"], &told["touches"], &told["target"]),
        (&json!("stale"), &json!(["a.txt"]), &json!("main"))
    );
    let mut missing: Vec<&str> = told["missing"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["ours", "theirs"]);
    assert_ne!(before, ours);
    assert_eq!(told["tip"], ours);
}

/// Runs a task that writes these files while its target gets a commit with those, and says how the run ended.
fn overtaken(world: &World, script: &str, theirs: &[(&str, &str)], flags: &[&str]) -> Option<i32> {
    let (begun, go) = (pipe(world, "begun"), pipe(world, "go"));
    let script = format!("{script}; echo > '{begun}'; read line < '{go}'");
    let run = start(world, &task("a", &script), flags);
    std::fs::read(&begun).expect("it has begun");
    world.commit("theirs", theirs);
    std::fs::write(&go, "go\n").expect("written");
    run.ends()
}

#[test]
fn under_block_a_result_whose_base_has_become_stale_is_rejected_and_lands_when_a_person_says_so() {
    let world = World::new();
    let theirs = [("theirs.txt", "theirs\n"), ("src/lib.txt", "theirs\n")];
    assert_eq!(overtaken(&world, "echo mine > mine.txt", &theirs, &["--stale", "block"]), Some(6));
    let run = shown(&world);
    let reason = &run["tasks"][0]["reason"];
    assert_eq!((state(&run, "a"), &reason["kind"]), ("rejected", &json!("stale")));
    assert_eq!(reason["message"], "its base is stale: `main` has 1 commit that it lacks: theirs");
    let id = world.only_run();
    assert_eq!(world.show(&format!("treehand/{id}/a"), "mine.txt"), "mine\n");
    let text = world.treehand(&["show", &id]).expect(0).stdout;
    assert!(text.contains(&format!("`treehand merge {id}/a` lands it")), "{text}");
    world.treehand(&["merge", &format!("{id}/a")]).expect(0);
    assert_eq!(
        (world.show("main", "mine.txt"), world.show("main", "theirs.txt")),
        ("mine\n".into(), "theirs\n".into())
    );
}

#[test]
fn what_a_run_has_landed_itself_makes_none_of_its_results_stale() {
    let world = World::new();
    let go = pipe(&world, "go");
    let tasks = [task("a", "echo a > a.txt"), task("b", &format!("read line < '{go}'; echo b > b.txt"))].concat();
    let mut run = start(&world, &tasks, &["--stale", "block", "--jobs", "2"]);
    run.next("task.land");
    std::fs::write(&go, "go\n").expect("written");
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "b.txt"), "b\n");
}

#[test]
fn the_policy_of_a_task_stands_over_that_of_its_run() {
    let world = World::new();
    let (begun, go) = (pipe(&world, "begun"), pipe(&world, "go"));
    let tasks = task("a", &format!("echo mine > mine.txt; echo > '{begun}'; read line < '{go}'"));
    let run = start(&world, &format!("stale = \"block\"\n{tasks}stale = \"warn\"\n"), &[]);
    std::fs::read(&begun).expect("it has begun");
    world.commit("theirs", &[("theirs.txt", "theirs\n")]);
    std::fs::write(&go, "go\n").expect("written");
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "mine.txt"), "mine\n");
}

#[test]
fn under_update_a_result_is_brought_forward_and_as_it_was_captured_it_is_kept() {
    let world = World::new();
    let script = "echo one > one.txt; git add -A; git commit -q -m one; echo two > two.txt";
    let flags = ["--stale", "update", "--merge", "manual"];
    assert_eq!(overtaken(&world, script, &[("theirs.txt", "theirs\n")], &flags), Some(0));
    let (run, id, tip) = (shown(&world), world.only_run(), world.git(&["rev-parse", "main"]));
    let task = &run["tasks"][0];
    assert_eq!((state(&run, "a"), &task["base"], &task["files_changed"]), ("candidate", &json!(tip), &json!(2)));
    let branch = format!("treehand/{id}/a");
    assert_eq!(task["commit"], world.git(&["rev-parse", &branch]));
    assert_eq!(world.git(&["log", "--format=%s", &format!("main..{branch}")]).lines().last(), Some("one"));
    assert_eq!(world.show(&branch, "theirs.txt"), "theirs\n");
    assert_eq!(task["fresh"], json!({"state": "fresh", "missing": [], "touches": []}));
    let captured = format!("refs/treehand/merged/{id}/a.captured");
    assert_eq!(world.git(&["ls-tree", "--name-only", &captured]), "a.txt\none.txt\nsrc\ntwo.txt");
    let patch = world.treehand(&["diff", &branch["treehand/".len()..], "--json"]).expect(0).json();
    assert_eq!(patch["files"].as_array().map(Vec::len), Some(2));
    world.treehand(&["merge", &id, "--strategy", "ff"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "main"]), task["commit"].as_str().expect("an id"));
    world.git(&["fsck", "--strict"]);
}

#[test]
fn a_result_that_conflicts_with_the_tip_stays_as_it_was_and_goes_on() {
    let world = World::new();
    let flags = ["--stale", "update"];
    let script = "echo mine > a.txt";
    let base = world.git(&["rev-parse", "main"]);
    assert_eq!(overtaken(&world, script, &[("a.txt", "theirs\n")], &flags), Some(5), "the queue says so");
    let run = shown(&world);
    assert_eq!((state(&run, "a"), &run["tasks"][0]["base"]), ("rejected", &json!(base)));
    assert_eq!(run["tasks"][0]["reason"]["kind"], "conflict");
    assert_eq!(run["tasks"][0]["fresh"]["touches"], json!(["a.txt"]));
}
