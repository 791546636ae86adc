//! Stories of the queue of a branch: what waits lands several at once, judged once on exactly what lands; what fails is found and
//! named, and a person has the last word on the order.

use crate::support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::followed::Followed;
use support::{World, state, task as task_of};

fn task(id: &str, script: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n")
}

/// A gate that says so each time it is run, and then does this.
fn gate(world: &World, script: &str) -> String {
    format!("echo \"$TREEHAND_GATE\" >> '{}'; {script}", judged_at(world).display())
}

fn judged_at(world: &World) -> PathBuf {
    world.path().join("judged")
}

/// What the gate was run on so far, each time.
fn judged(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(judged_at(world)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A run whose results wait, with this gate.
fn waiting(world: &World, tasks: &[String], gate: &str, flags: &[&str]) -> String {
    let file = format!("gates = [{{ run = '''{gate}''' {} }}]\n{}", flags.first().unwrap_or(&""), tasks.concat());
    let run = world.run_tasks(&file, &["--merge", "manual", "--confine", "off"]).expect(0).json();
    run["run"].as_str().expect("an id").to_owned()
}

fn merge(world: &World, run: &str, code: i32) -> Value {
    world.treehand(&["merge", run, "--json"]).expect(code).json()
}

fn rejected<'a>(merged: &'a Value, id: &str) -> &'a Value {
    let all = merged["rejected"].as_array().expect("a list").iter();
    let one = all.into_iter().find(|one| one["task"] == id);
    &one.unwrap_or_else(|| panic!("{id} is not rejected: {merged}"))["reason"]
}

fn subjects(world: &World, count: usize) -> String {
    world.git(&["log", "--reverse", "--format=%s", &format!("-{count}"), "main"]).replace('\n', " ")
}

fn eight(script: impl Fn(usize) -> String) -> Vec<String> {
    (1..=8).map(|n| task(&format!("t{n}"), &script(n))).collect()
}

#[test]
fn what_goes_together_is_judged_once_and_lands_by_one_move() {
    let world = World::new();
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, "test -e f1 -a -e f8"), &[]);
    let before = world.git(&["rev-parse", "main"]);
    let merged = merge(&world, &run, 0);
    assert_eq!(judged(&world), ["t1 t2 t3 t4 t5 t6 t7 t8"], "{merged}");
    assert_eq!(merged["gates"].as_array().map(Vec::len), Some(1), "{merged}");
    assert_eq!(merged["gates"][0]["tree"], world.git(&["rev-parse", "main^{tree}"]), "what was judged is what landed");
    assert_eq!(subjects(&world, 8), "t1 t2 t3 t4 t5 t6 t7 t8");
    assert_eq!(world.git(&["reflog", "main", "-1", "--format=%gs"]).matches(&run).count(), 8, "by one move");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the checkout came along");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(subjects(&world, 7), "t1 t2 t3 t4 t5 t6 t7", "each can be taken back by itself");
    (1..8).for_each(|_| drop(world.treehand(&["undo"]).expect(0)));
    assert_eq!(world.git(&["rev-parse", "main"]), before);
}

#[test]
fn a_culprit_in_the_middle_is_found_and_everything_else_lands() {
    let world = World::new();
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, "echo looked; ! test -e f5"), &[]);
    let merged = merge(&world, &run, 7);
    let reason = rejected(&merged, "t5");
    assert_eq!((&reason["kind"], merged["landed"].as_array().map(Vec::len)), (&json!("gate"), Some(7)), "{merged}");
    let message = reason["message"].as_str().expect("words");
    assert!(message.contains("ended with exit code 1") && !message.contains("go together"), "{message}");
    let log = std::fs::read_to_string(reason["log"].as_str().expect("a log")).expect("it is there");
    assert!(log.contains("looked"), "{log}");
    assert_eq!(subjects(&world, 7), "t1 t2 t3 t4 t6 t7 t8");
    assert!(judged(&world).len() <= 6, "all, three halves, the culprit alone, the rest: {:?}", judged(&world));
    let tree = world.git(&["rev-parse", "main^{tree}"]);
    let passed = merged["gates"].as_array().expect("gates").iter().rfind(|gate| gate["outcome"] == "passed");
    assert_eq!(passed.expect("one passed")["tree"], tree);
}

#[test]
fn two_that_do_not_go_together_are_both_named() {
    let world = World::new();
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, "! test -e f2 -a -e f6"), &[]);
    let merged = merge(&world, &run, 7);
    let message = rejected(&merged, "t6")["message"].as_str().expect("words").to_owned();
    assert!(message.contains(&format!("it passes without {run}/t2, which lands before it")), "{message}");
    assert_eq!(subjects(&world, 7), "t1 t2 t3 t4 t5 t7 t8");
}

#[test]
fn what_conflicts_lands_nothing_of_itself_and_holds_up_nobody() {
    let world = World::new();
    let same = |n: usize| if n.is_multiple_of(4) { format!("echo {n} > same") } else { format!("echo {n} > f{n}") };
    let run = waiting(&world, &eight(same), &gate(&world, "true"), &[]);
    let merged = merge(&world, &run, 5);
    let reason = rejected(&merged, "t8");
    assert_eq!((&reason["kind"], &reason["paths"]), (&json!("conflict"), &json!(["same"])));
    assert!(reason["message"].as_str().expect("words").contains("t4`"), "{reason}");
    assert_eq!(subjects(&world, 7), "t1 t2 t3 t4 t5 t6 t7");
}

#[test]
fn a_gate_that_is_declared_flaky_is_tried_once_more_before_anything_is_searched() {
    let world = World::new();
    let marker = world.path().join("failed-once");
    let script = format!("test -e '{0}' || {{ touch '{0}'; exit 1; }}", marker.display());
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, &script), &[", flaky = true"]);
    let merged = merge(&world, &run, 0);
    assert_eq!((judged(&world).len(), &merged["gates"][0]["outcome"]), (2, &json!("flaky")), "{merged}");
    assert_eq!(subjects(&world, 8), "t1 t2 t3 t4 t5 t6 t7 t8");
}

#[test]
fn a_target_that_moves_under_a_gate_is_merged_with_anew() {
    let world = World::new();
    let (begun, go) = (world.path().join("begun"), world.path().join("go"));
    world.shell(&format!("mkfifo '{}' '{}'", begun.display(), go.display())).expect(0);
    let script = format!("test -e by-hand || {{ echo > '{}'; read line < '{}'; }}", begun.display(), go.display());
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, &script), &[]);
    let mut merging = world.command(&["merge", &run, "--json"]);
    let merging = merging.stdout(std::process::Stdio::piped()).spawn().expect("started");
    std::fs::read(&begun).expect("it is judged");
    let mine = world.commit("by hand", &[("by-hand", "mine\n")]);
    std::fs::write(&go, "go\n").expect("it waits");
    assert!(merging.wait_with_output().expect("over").status.success());
    assert_eq!(judged(&world).len(), 2, "judged anew on what lands");
    assert_eq!(subjects(&world, 9), "by hand t1 t2 t3 t4 t5 t6 t7 t8");
    assert_eq!(world.git(&["rev-parse", "main~8"]), mine);
    assert_eq!(world.show("main", "by-hand"), "mine\n");
}

/// Its objects are held by that branch alone, and what lands is made of them.
#[test]
fn a_branch_that_is_gone_when_its_result_lands_leaves_no_hole_in_what_landed() {
    for collects in [false, true] {
        let world = World::new();
        let repo = world.repo().display().to_string();
        let collect = if collects { "git gc --quiet --prune=now; " } else { "" };
        let take = "git for-each-ref --format='delete %(refname)' refs/heads/treehand/ | git update-ref --stdin";
        let script = format!("cd '{repo}'; unset GIT_DIR; {take}; {collect}true");
        let tasks = [task("a", "mkdir -p d/e; seq 99 > d/e/a"), task("b", "seq 98 > b")];
        let run = waiting(&world, &tasks, &gate(&world, &script), &[]);
        std::fs::write(world.repo().join("other"), "of a person").expect("written");
        world.git(&["add", "other"]);
        world.git(&["commit", "-q", "-m", "other"]);
        let before = world.git(&["rev-parse", "main"]);
        let merged = merge(&world, &run, i32::from(collects));
        assert!(!judged(&world).is_empty());
        world.git(&["fsck", "--connectivity-only", "--no-dangling", "main"]);
        assert_eq!(world.git(&["rev-parse", "main"]) == before, collects, "{merged}");
    }
}

#[test]
fn a_local_change_in_the_way_stops_what_it_is_in_the_way_of_and_nothing_else() {
    let world = World::new();
    world.commit("base", &[("f3", "base\n"), ("other", "base\n")]);
    let run = waiting(&world, &eight(|n| format!("echo {n} > f{n}")), &gate(&world, "true"), &[]);
    world.write("f3", "of a person\n");
    world.write("other", "of a person\n");
    let merged = merge(&world, &run, 4);
    assert_eq!(
        (&rejected(&merged, "t3")["kind"], &rejected(&merged, "t3")["paths"]),
        (&json!("in_the_way"), &json!(["f3"]))
    );
    assert_eq!(subjects(&world, 7), "t1 t2 t4 t5 t6 t7 t8");
    assert_eq!(world.git(&["status", "--porcelain"]), " M f3\n M other");
    world.git(&["checkout", "--", "f3"]);
    merge(&world, &run, 0);
    assert_eq!(world.show("main", "f3"), "3\n");
}

/// A run that is followed until its result waits.
fn handed_in(world: &World, name: &str, gate: &str) -> Followed {
    let script = format!("echo {name} > {name}");
    let args = ["--confine", "off", "--gate", gate, "--name", name, "--", "sh", "-c", &script];
    let mut run = Followed::start(world, &args);
    run.next("queue.entered");
    run
}

fn queue(world: &World, args: &[&str]) -> Value {
    world.treehand(&[&["queue"], args, &["--json"]].concat()).expect(0).json()
}

fn entries(world: &World) -> Vec<Value> {
    let all = queue(world, &["ls"]);
    all["queues"][0]["entries"].as_array().cloned().unwrap_or_default()
}

#[test]
fn runs_that_judge_alike_are_judged_together() {
    let world = World::new();
    let gate = gate(&world, "true");
    queue(&world, &["pause", "closed for now"]);
    let (first, second, third) =
        (handed_in(&world, "a", &gate), handed_in(&world, "b", &gate), handed_in(&world, "c", &gate));
    assert_eq!(queue(&world, &["ls"])["queues"][0]["paused"]["reason"], "closed for now");
    let tasks: Vec<Value> = entries(&world).iter().map(|entry| entry["task"].clone()).collect();
    assert_eq!(tasks, ["a", "b", "c"]);
    queue(&world, &["resume"]);
    for run in [first, second, third] {
        assert_eq!(run.ends(), Some(0));
    }
    let names = judged(&world);
    let [once] = names.as_slice() else { panic!("{names:?}") };
    assert_eq!(once.split(' ').count(), 3, "{once}");
    assert_eq!(subjects(&world, 3), "a b c");
    for run in world.treehand(&["ps", "--json"]).expect(0).json()["runs"].as_array().expect("runs") {
        let shown = world.treehand(&["show", run["run"].as_str().expect("an id"), "--json"]).expect(0).json();
        assert_eq!((&shown["state"], shown["gates"].as_array().map(Vec::len)), (&json!("landed"), Some(1)), "{shown}");
        assert_eq!(shown["gates"][0]["entries"].as_array().map(Vec::len), Some(1), "its own: {shown}");
    }
    assert_eq!(queue(&world, &["ls"])["queues"], json!([]));
}

#[test]
fn a_person_puts_one_first_holds_one_back_and_drops_one() {
    let world = World::new();
    let gate = gate(&world, "true");
    queue(&world, &["pause"]);
    let runs: Vec<Followed> = ["a", "b", "c", "d"].into_iter().map(|name| handed_in(&world, name, &gate)).collect();
    let number = |name: &str| {
        let of = entries(&world).into_iter().find(|entry| entry["task"] == name).expect("it waits");
        of["entry"].to_string()
    };
    let (b, c, d) = (number("b"), number("c"), number("d"));
    queue(&world, &["bump", &c]);
    let order: Vec<Value> = entries(&world).iter().map(|entry| entry["task"].clone()).collect();
    assert_eq!(order, ["c", "a", "b", "d"]);
    let held = queue(&world, &["hold", &b, "--reason", "until tuesday"]);
    let entry = &held["queues"][0]["entries"][0];
    assert_eq!((&entry["state"], &entry["reason"]), (&json!("held"), &json!("until tuesday")));
    queue(&world, &["drop", &d, "--reason", "not wanted"]);
    queue(&world, &["resume"]);
    let mut codes = Vec::new();
    let mut runs: Vec<Option<Followed>> = runs.into_iter().map(Some).collect();
    for n in [0, 2, 3] {
        codes.push(runs[n].take().and_then(Followed::ends));
    }
    assert_eq!(subjects(&world, 2), "c a", "b waits, and d is gone");
    assert_eq!(&codes[..2], [Some(0), Some(0)]);
    let text = world.treehand(&["queue", "ls"]).expect(0).stdout;
    assert!(text.contains("until tuesday"), "{text}");
    queue(&world, &["resume", &b]);
    assert_eq!(runs[1].take().and_then(Followed::ends), Some(0));
    assert_eq!(subjects(&world, 3), "c a b");
    let dropped = world.treehand(&["ps", "--json"]).expect(0).json();
    let dropped = dropped["runs"].as_array().expect("runs").iter().find(|run| run["state"] != "landed").expect("one");
    let dropped = world.treehand(&["show", dropped["run"].as_str().expect("an id"), "--json"]).expect(0).json();
    assert_eq!(state(&dropped, "d"), "rejected");
    assert!(task_of(&dropped, "d")["reason"]["message"].as_str().expect("words").contains("not wanted"), "{dropped}");
    world.treehand(&["queue", "show", &b]).expect(3);
}

#[test]
fn what_a_dead_supervisor_left_in_the_queue_holds_up_nobody_and_lands_with_its_successor() {
    let world = World::new();
    let gate = gate(&world, "true");
    queue(&world, &["pause"]);
    let mut first = handed_in(&world, "a", &gate);
    let id = world.only_run();
    first.abandon(&world, &id);
    let second = handed_in(&world, "b", &gate);
    assert_eq!(entries(&world)[0]["state"], "unattended");
    queue(&world, &["resume"]);
    assert_eq!(second.ends(), Some(0));
    assert_eq!(subjects(&world, 1), "b");
    world.treehand(&["resume", &id]).expect(0);
    assert_eq!(subjects(&world, 2), "b a");
}

#[test]
fn what_was_dropped_comes_back_as_it_was_goes_again_and_lands_in_the_end() {
    let world = World::new();
    let gate = gate(&world, "true");
    queue(&world, &["pause"]);
    let [kept, mut dropped] = ["a", "d"].map(|name| handed_in(&world, name, &gate));
    let of = |task: &str| entries(&world).into_iter().find(|entry| entry["task"] == task);
    let number = of("d").expect("it waits")["entry"].to_string();
    queue(&world, &["bump", &number]);
    let before = of("d").expect("it waits");
    let run = before["run"].as_str().expect("an id").to_owned();
    queue(&world, &["drop", &number, "--reason", "not now"]);
    dropped.rest().for_each(drop);
    assert_eq!(dropped.ends(), Some(130));
    assert_eq!(of("d"), None);
    let log = world.treehand(&["log", "--json"]).expect(0).json();
    assert_eq!(log["operations"][0]["kind"], "drop", "{log}");
    assert_eq!(log["operations"][0]["summary"], format!("dropped {run}/d from the queue of main"));

    let undone = world.treehand(&["undo", "--json"]).expect(0).json();
    assert_eq!(undone["restored"], json!([format!("{run}/d in the queue of main")]));
    let now = of("d").expect("it waits again");
    for same in ["entry", "position", "base", "commit", "priority", "submitted_at"] {
        assert_eq!(now[same], before[same], "{same}");
    }
    world.treehand(&["redo"]).expect(0);
    assert_eq!(world.treehand(&["wait", &run]).code, 130);
    assert_eq!(of("d"), None);
    world.treehand(&["undo"]).expect(0);
    queue(&world, &["resume"]);
    world.treehand(&["wait", &run]).expect(0);
    assert_eq!(kept.ends(), Some(0));
    assert_eq!(subjects(&world, 2), "d a", "it was put first");
}

#[test]
fn what_was_dropped_and_landed_or_lost_its_branch_since_does_not_come_back() {
    let world = World::new();
    let gate = gate(&world, "true");
    queue(&world, &["pause"]);
    let mut first = handed_in(&world, "a", &gate);
    let id = world.only_run();
    first.abandon(&world, &id);
    let entry = entries(&world).remove(0);
    queue(&world, &["drop", &id]);
    world.treehand(&["undo"]).expect(0);
    assert_eq!((&entries(&world)[0]["state"], &entries(&world)[0]["entry"]), (&json!("unattended"), &entry["entry"]));
    world.treehand(&["redo"]).expect(0);
    assert_eq!(entries(&world), Vec::<Value>::new());
    let branch = format!("treehand/{id}/a");
    let commit = world.git(&["rev-parse", &branch]);
    world.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
    let refused = world.treehand(&["undo"]).expect(4);
    assert!(refused.stderr.contains(&format!("`{branch}` is gone")), "{}", refused.stderr);
    world.git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
    queue(&world, &["resume"]);
    world.treehand(&["resume", &id]);
    world.treehand(&["merge", &format!("{id}/a")]).expect(0);
    let operation = world.treehand(&["log", "--json"]).expect(0).json()["operations"][1]["op"].to_string();
    let refused = world.treehand(&["undo", &operation]).expect(4);
    assert!(refused.stderr.contains("has landed since"), "{}", refused.stderr);
}
