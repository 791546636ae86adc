//! Stories of how attempts are: who falls silent, who hangs, who works on unheard, and who is gone.

use crate::support;

use std::process::Stdio;

use serde_json::Value;
use support::World;
use support::followed::Followed;

/// Spans that a story can wait for.
const SHORT: [&str; 4] = ["--set", "supervise.quiet=200ms", "--set", "supervise.stalled=600ms"];

fn start(world: &World, flags: &[&str], script: &str) -> Followed {
    Followed::start(world, &[&SHORT, flags, &["--", "sh", "-c", script]].concat())
}

/// How its attempt is next.
fn next_level(run: &mut Followed) -> String {
    run.next("attempt.health")["data"]["level"].as_str().expect("a level").to_owned()
}

/// The levels that it goes through to its end, and the exit code.
fn levels_to_the_end(mut run: Followed) -> (Vec<String>, i32) {
    let health = run.rest().filter(|event| event["kind"] == "attempt.health");
    let levels = health.map(|event| event["data"]["level"].as_str().expect("a level").to_owned()).collect();
    (levels, run.ends().expect("a code"))
}

/// A pipe for the script of a story, and its path.
fn pipe(world: &World, name: &str) -> String {
    let path = world.path().join(name).to_string_lossy().into_owned();
    world.shell(&format!("mkfifo '{path}'")).expect(0);
    path
}

fn health(world: &World, run: &str) -> Value {
    let shown = world.treehand(&["show", run, "--json"]).expect(0).json();
    shown["tasks"][0]["attempts"][0]["health"].clone()
}

#[test]
fn a_sleeper_gets_quiet_then_stalled_is_shown_so_and_what_it_says_makes_it_healthy() {
    let world = World::new();
    let go = pipe(&world, "go");
    // Opened once: a second opening could still meet the first writer, and read its end.
    let script = format!("exec 3<> '{go}'; echo begun; read line <&3; echo awake; read line <&3; echo done > done.txt");
    let mut followed = start(&world, &["--confine", "off"], &script);
    let quiet = followed.next("attempt.health");
    assert_eq!(quiet["data"]["level"], "quiet");
    assert!(quiet["data"]["silent_ms"].as_u64().is_some_and(|ms| ms >= 200), "{quiet}");
    assert!(quiet["data"]["last_output_at"].is_string() && quiet["data"]["processes"] == 1, "{quiet}");
    assert_eq!(next_level(&mut followed), "stalled");
    let run = world.only_run();
    let shown = health(&world, &run);
    assert!(shown["level"] == "stalled" && shown["silent_ms"].as_u64().is_some_and(|ms| ms >= 600), "{shown}");
    assert!(shown["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0) && shown["cpu_ms"].is_u64(), "{shown}");
    for verb in ["ps", "show"] {
        let target = if verb == "ps" { &[verb][..] } else { &[verb, &run] };
        let text = world.treehand(target).expect(0).stdout;
        assert!(text.contains("running (stalled "), "{text}");
    }
    assert!(world.treehand(&["ls", "--quick"]).expect(0).stdout.contains("running (stalled "));
    let listed = world.treehand(&["ls", "--json", "--quick"]).expect(0).json();
    assert_eq!(listed["workspaces"][0]["health"]["level"], "stalled", "{listed}");
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(runs["runs"][0]["attempts"][0]["health"]["level"], "stalled", "{runs}");
    std::fs::write(&go, "go\n").expect("it waits");
    assert_eq!(next_level(&mut followed), "healthy");
    assert_eq!(next_level(&mut followed), "quiet");
    std::fs::write(&go, "go\n").expect("it waits");
    assert_eq!(levels_to_the_end(followed).1, 0);
    assert_eq!(health(&world, &run), Value::Null, "it has ended");
}

#[test]
fn who_works_silently_or_waits_for_a_program_is_quiet_and_never_stalled() {
    let world = World::new();
    let level = ["--confine", support::level()];
    let busy = "end=$(($(date +%s%N) + 2000000000)); while [ $(date +%s%N) -lt $end ]; do :; done";
    for script in [busy, "sleep 2; true"] {
        assert_eq!(levels_to_the_end(start(&world, &level, script)), (vec!["quiet".into()], 0), "{script}");
    }
}

#[test]
fn in_a_sandbox_who_only_sleeps_is_stalled_too() {
    let world = World::new();
    let mut followed = start(&world, &["--confine", support::level()], "exec sleep 1000");
    assert_eq!((next_level(&mut followed), next_level(&mut followed)), ("quiet".into(), "stalled".into()));
    let run = world.only_run();
    let shown = health(&world, &run);
    assert_eq!((&shown["processes"], &shown["last_output_at"]), (&1.into(), &Value::Null), "{shown}");
    world.treehand(&["cancel", &run]).expect(0);
    followed.client.wait().expect("over");
}

#[test]
fn who_lost_its_shim_is_dead_for_whoever_looks_although_its_supervisor_sleeps() {
    let world = World::new();
    let mut followed = start(&world, &["--confine", "off"], "exec sleep 1000");
    let started = followed.next("attempt.started");
    assert_eq!(next_level(&mut followed), "quiet");
    let (run, shim) = (world.only_run(), started["data"]["process"]["pid"].to_string());
    let supervisor = world.supervisor(&run);
    support::signal("STOP", &supervisor);
    let gone = support::handle(&shim);
    support::signal("KILL", &shim);
    gone.wait();
    let text = world.treehand(&["ps"]).expect(0).stdout;
    assert!(text.contains("running (dead)"), "{text}");
    let shown = health(&world, &run);
    assert!(shown["level"] == "dead" && shown["silent_ms"].is_null(), "{shown}");
    support::signal("CONT", &supervisor);
    assert_eq!(followed.client.wait().expect("over").code(), Some(1));
    assert_eq!(health(&world, &run), Value::Null);
}

#[test]
fn a_successor_knows_how_an_attempt_is_and_whoever_looks_is_no_successor() {
    let world = World::new();
    let go = pipe(&world, "go");
    let script = format!("read line < '{go}'; echo done > done.txt");
    let flags = ["--confine", "off", "--set", "supervise.stalled=1h", "--set", "supervise.orphan_grace=30s"];
    let mut followed = start(&world, &flags, &script);
    followed.next("attempt.started");
    let run = world.only_run();
    // The one that supervises sleeps through the change and dies: nothing is on record.
    support::signal("STOP", &world.supervisor(&run));
    followed.abandon(&world, &run);
    while health(&world, &run)["level"] != "quiet" {
        std::thread::yield_now();
    }
    let before = world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(before["runs"][0]["supervisor"], "dead", "looking starts nobody and is none: {before}");
    let mut resumed = world.command(&["resume", &run]).stdout(Stdio::null()).spawn().expect("started");
    let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
    let sql = "SELECT count(*) FROM journal WHERE kind = 'attempt.health' AND data LIKE '%quiet%'";
    while store.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a journal") == 0 {
        std::thread::yield_now();
    }
    std::fs::write(&go, "go\n").expect("it waits");
    assert_eq!(resumed.wait().expect("over").code(), Some(0));
    assert_eq!(world.show("main", "done.txt"), "done\n");
    world.assert_nothing_left();
}

#[test]
fn an_agent_that_only_tells_of_its_tools_is_healthy_and_which_was_the_last_is_known_whoever_died() {
    let world = World::new();
    let hear = "hear() { until [ -e \"$TREEHAND_MAIL/inbox/$1-steer.txt\" ]; do sleep 0.02; done; }";
    let script = format!(
        "{hear}; hear 0001; echo \"grep $A_SECRET\" > \"$TREEHAND_MAIL/tool\"; hear 0002; \
         echo 'cargo test' > \"$TREEHAND_MAIL/tool\"; hear 0003; echo done > done.txt"
    );
    let secret = ["--secret", "A_SECRET", "--set", "supervise.orphan_grace=30s", "--confine", support::level()];
    let args = [&["run", "--events", "--name", "t"], &SHORT[..2], &secret, &["--", "sh", "-c", &script]].concat();
    let mut command = world.command(&args);
    command.env("A_SECRET", "not-for-everybody");
    let mut followed = Followed::of(command);
    let steer = |run: &str, text: &str| world.treehand(&["steer", &format!("{run}/t"), text]).expect(0);
    assert_eq!(next_level(&mut followed), "quiet");
    let run = world.only_run();
    assert_eq!(health(&world, &run)["last_tool"], Value::Null);
    steer(&run, "one");
    let healthy = followed.next("attempt.health");
    let tool = &healthy["data"]["last_tool"];
    assert_eq!((&healthy["data"]["level"], &tool["name"]), (&"healthy".into(), &"grep ***".into()), "{healthy}");
    assert!(tool["at"].is_string() && healthy["data"]["last_output_at"].is_null(), "{healthy}");
    assert_eq!(next_level(&mut followed), "quiet");
    followed.abandon(&world, &run);
    assert_eq!(health(&world, &run)["last_tool"]["name"], "grep ***");
    let mut resume = world.command(&["resume", "--detach", &run]);
    resume.env("A_SECRET", "not-for-everybody");
    support::answer(resume).expect(0);
    steer(&run, "two");
    while health(&world, &run)["last_tool"]["name"] != "cargo test" {
        std::thread::yield_now();
    }
    let text = world.treehand(&["show", &run]).expect(0).stdout;
    assert!(text.contains("last tool: cargo test, ") && text.contains(" ago"), "{text}");
    steer(&run, "three");
    world.treehand(&["wait", &run]).expect(0);
    assert_eq!(world.show("main", "done.txt"), "done\n");
    world.assert_nothing_left();
}

#[test]
fn looking_does_not_lengthen_the_grace_of_who_waits_for_a_successor() {
    let world = World::new();
    let flags = ["--confine", "off", "--set", "supervise.orphan_grace=700ms"];
    let mut followed = start(&world, &flags, "exec sleep 1000");
    let started = followed.next("attempt.started");
    let (run, shim) = (world.only_run(), started["data"]["process"]["pid"].to_string());
    let gone = support::handle(&shim);
    followed.abandon(&world, &run);
    // Whoever looks all the time: if that counted, it would never end.
    while !gone.is_over() {
        world.treehand(&["show", &run]).expect(0);
    }
    world.treehand(&["resume", &run]).expect(1);
    let ended = world.treehand(&["show", &run, "--json"]).expect(0).json();
    assert_eq!(ended["tasks"][0]["attempts"][0]["error"]["kind"], "orphaned", "{ended}");
}

#[test]
fn who_says_nothing_within_its_start_is_ended_and_one_word_is_enough() {
    let world = World::new();
    let run = |script: &str| {
        let start = ["--set", "supervise.start=400ms", "--json", "--confine", support::level()];
        world.treehand(&[&["run"][..], &start, &["--", "sh", "-c", script]].concat())
    };
    let silent = run("end=$(($(date +%s) + 1000)); while [ $(date +%s) -lt $end ]; do :; done").expect(1).json();
    let task = &silent["tasks"][0];
    assert_eq!(task["attempts"][0]["error"]["kind"], "no_start", "{task}");
    assert_eq!(task["reason"]["kind"], "timeout", "{task}");
    let message = task["reason"]["message"].as_str().expect("words");
    assert!(message.contains("said nothing within supervise.start"), "{message}");
    run("echo here; sleep 1").expect(0);
    run("echo grep > \"$TREEHAND_MAIL/tool\"; sleep 1").expect(0);
    let shown = world.treehand(&["config", "show", "--set", "supervise.start=30s"]).expect(0).stdout;
    assert!(shown.contains("supervise.start") && shown.contains("30s"), "{shown}");
}
