//! Stories of tasks that may not start yet: places that all runs of a user share, and room on the machine.

use crate::support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::Value;
use support::World;

/// A run of tasks of which each says that it has begun and waits until it is let go.
struct Held<'a> {
    world: &'a World,
    name: &'static str,
    client: Child,
    events: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// Events that nobody has asked for yet.
    seen: Vec<Value>,
}

impl<'a> Held<'a> {
    fn start(world: &'a World, name: &'static str, tasks: usize, flags: &[&str]) -> Held<'a> {
        for n in 0..tasks {
            world.shell(&format!("mkfifo \"$HOME/../{name}{n}.go\"")).expect(0);
        }
        let place = world.path().display();
        let task = |n: usize| {
            format!("[[task]]\nid = \"{name}{n}\"\ncommand = [\"sh\", \"-c\", \"read line < {place}/{name}{n}.go\"]\n")
        };
        let file = world.path().join(format!("{name}.toml"));
        std::fs::write(&file, (0..tasks).map(task).collect::<String>()).expect("written");
        let file = file.to_string_lossy().into_owned();
        let mut args = vec!["run", "--confine", "off", "--jobs", "50", "--events", "--tasks", &file];
        args.extend(flags);
        let mut client = world.command(&args).stdout(Stdio::piped()).spawn().expect("started");
        let events = BufReader::new(client.stdout.take().expect("piped")).lines();
        Held { world, name, client, events, seen: Vec::new() }
    }

    /// The next event of this kind.
    fn next(&mut self, kind: &str) -> Value {
        if let Some(place) = self.seen.iter().position(|event| event["kind"] == kind) {
            return self.seen.remove(place);
        }
        for line in self.events.by_ref().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if event["kind"] == kind {
                return event;
            }
            self.seen.push(event);
        }
        panic!("{} has no further {kind}", self.name)
    }

    fn let_go(&self, task: &str) {
        std::fs::write(self.world.path().join(format!("{task}.go")), "go\n").expect("it reads");
    }

    fn ends_well(mut self) {
        self.events.by_ref().for_each(drop);
        assert!(self.client.wait().expect("waited").success());
    }
}

const TWO: [&str; 2] = ["--set", "supervise.slots=2"];

#[test]
fn runs_share_the_places_of_the_machine_and_the_next_goes_to_who_has_fewest() {
    let world = World::new();
    let mut greedy = Held::start(&world, "g", 4, &TWO);
    let mut started: Vec<String> = (0..2).map(|_| task_of(&greedy.next("attempt.started"))).collect();
    let waits = greedy.next("task.waits");
    let why = waits["data"]["delay"]["why"].as_str().expect("why");
    assert!(
        why.starts_with("waits for a place of this machine: 2 of 2 are taken") && why.ends_with("(supervise.slots)"),
        "{why}"
    );
    let mut modest = Held::start(&world, "m", 1, &TWO);
    modest.next("task.waits");
    greedy.let_go(&started.remove(0));
    assert_eq!(task_of(&modest.next("attempt.started")), "m0", "it has none, and two of the other wait for longer");
    modest.let_go("m0");
    modest.ends_well();
    started.push(task_of(&greedy.next("attempt.started")));
    greedy.let_go(&started.remove(0));
    started.push(task_of(&greedy.next("attempt.started")));
    started.iter().for_each(|task| greedy.let_go(task));
    greedy.ends_well();
    let slots = world.path().join("state/treehand/slots/machine/waiting");
    assert_eq!(std::fs::read_dir(slots).expect("read").count(), 0, "no claim is left");
}

fn task_of(event: &Value) -> String {
    event["task"].as_str().expect("a task").to_owned()
}

#[test]
fn a_place_is_taken_for_as_long_as_its_command_runs_whatever_becomes_of_the_supervisor() {
    let world = World::new();
    let one = ["--set", "supervise.profile_slots=command=1"];
    let mut first = Held::start(&world, "f", 1, &one);
    first.next("attempt.started");
    let run = world.only_run();
    let supervisor = world.supervisor(&run);
    // Whoever follows would start a successor.
    support::signal("KILL", &first.client.id().to_string());
    first.client.wait().expect("killed");
    support::signal("KILL", &supervisor);
    world.wait_unsupervised(&run);
    let mut second = Held::start(&world, "s", 1, &one);
    let why = second.next("task.waits")["data"]["delay"]["why"].as_str().expect("why").to_owned();
    assert!(why.starts_with("waits for a place of profile command: 1 of 1 are taken"), "{why}");
    first.let_go("f0");
    second.next("attempt.started");
    second.let_go("s0");
    second.ends_well();
    assert_eq!(world.treehand(&["resume", &run, "--json"]).expect(0).json()["state"], "landed");
}

#[test]
fn a_task_that_waits_for_a_place_can_be_cancelled_and_does_not_start_in_a_pause() {
    let world = World::new();
    let one = ["--set", "supervise.slots=1"];
    let mut first = Held::start(&world, "f", 1, &one);
    first.next("attempt.started");
    let mut second = Held::start(&world, "s", 2, &one);
    second.next("task.waits");
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    let ids: Vec<&str> = runs["runs"].as_array().expect("runs").iter().filter_map(|run| run["run"].as_str()).collect();
    let of_second = |id: &&&str| {
        let shown = world.treehand(&["show", id, "--json"]).expect(0).json();
        shown["tasks"].as_array().map(Vec::len) == Some(2)
    };
    let id = *ids.iter().find(of_second).expect("the second run");
    world.treehand(&["cancel", &format!("{id}/s0")]).expect(0);
    world.treehand(&["pause", id]).expect(0);
    first.let_go("f0");
    first.ends_well();
    let shown = world.treehand(&["show", id, "--json"]).expect(0).json();
    let states: Vec<&str> = (0..2).filter_map(|n| shown["tasks"][n]["state"].as_str()).collect();
    assert_eq!(states, ["cancelled", "queued"]);
    world.treehand(&["resume", id, "--detach"]).expect(0);
    assert_eq!(task_of(&second.next("attempt.started")), "s1");
    second.let_go("s1");
    let mut rest = String::new();
    second.client.stderr.take().map(|mut stderr| stderr.read_to_string(&mut rest));
    second.events.by_ref().for_each(drop);
    assert_eq!(second.client.wait().expect("waited").code(), Some(130), "one task was cancelled");
}

#[test]
fn a_task_waits_for_disk_space_that_has_to_stay_free_and_says_so() {
    let world = World::new();
    let mut run = Held::start(&world, "d", 1, &["--set", "supervise.reserve_disk=1000T"]);
    let why = run.next("task.waits")["data"]["delay"]["why"].as_str().expect("why").to_owned();
    assert!(
        why.starts_with("waits for disk space: ") && why.ends_with("1000T have to be (supervise.reserve_disk)"),
        "{why}"
    );
    let id = world.only_run();
    let shown = world.treehand(&["show", &id]).expect(0).stdout;
    assert!(shown.contains("waits for disk space"), "{shown}");
    world.treehand(&["cancel", &id]).expect(0);
    run.events.by_ref().for_each(drop);
    assert_eq!(run.client.wait().expect("waited").code(), Some(130));
}

#[test]
fn memory_that_has_to_stay_free_holds_up_all_tasks_of_a_run_but_one() {
    let world = World::new();
    let mut run = Held::start(&world, "m", 2, &["--set", "supervise.reserve_memory=1000T"]);
    let started = task_of(&run.next("attempt.started"));
    let waits = run.next("task.waits");
    assert_ne!(task_of(&waits), started);
    assert!(waits["data"]["delay"]["why"].as_str().expect("why").starts_with("waits for memory: "));
    run.let_go(&started);
    let next = task_of(&run.next("attempt.started"));
    run.let_go(&next);
    run.ends_well();
}
