//! Stories of tasks that are tried again: when, how often, and what they wait for.

use crate::support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use support::World;

/// The moments at which the attempts of a run's first task began, and those at which they ended.
fn moments(run: &Value) -> Vec<(jiff::Timestamp, jiff::Timestamp)> {
    let at = |attempt: &Value, name: &str| attempt[name].as_str().and_then(|text| text.parse().ok()).expect("a moment");
    let attempts = run["tasks"][0]["attempts"].as_array().expect("attempts");
    attempts.iter().map(|attempt| (at(attempt, "started_at"), at(attempt, "ended_at"))).collect()
}

fn one(command: &str, retries: u32, flags: &[&str]) -> Value {
    let world = World::new();
    let tasks = format!("[[task]]\nid = \"a\"\nretries = {retries}\ncommand = [\"sh\", \"-c\", '''{command}''']\n");
    let answer = world.run_tasks(&tasks, flags);
    assert!([0, 1].contains(&answer.code), "{}", answer.stderr);
    answer.json()
}

#[test]
fn a_service_that_names_a_time_is_left_alone_for_that_long() {
    let command = "test $TREEHAND_ATTEMPT_NUMBER = 2 || { echo 'HTTP/1.1 429 Too Many Requests'; echo 'Retry-After: 1'; exit 1; }";
    let run = one(command, 1, &["--set", "supervise.backoff=1ms"]);
    assert_eq!(run["tasks"][0]["state"], "no_change");
    let error = &run["tasks"][0]["attempts"][0]["error"];
    assert_eq!((&error["class"], &error["retry_after"]), (&"rate_limit".into(), &"1s".into()));
    let moments = moments(&run);
    let rested = moments[1].0.duration_since(moments[0].1).as_millis();
    assert!((1_000..10_000).contains(&rested), "{rested} ms");
}

#[test]
fn a_failure_for_no_known_reason_is_tried_again_at_once_and_one_of_a_service_after_a_rest() {
    let rested = |exit: u32| {
        let command = format!("test $TREEHAND_ATTEMPT_NUMBER = 2 || exit {exit}");
        let moments = moments(&one(&command, 1, &["--set", "supervise.backoff=2s"]));
        moments[1].0.duration_since(moments[0].1).as_millis()
    };
    let (failure, unavailable) = (rested(1), rested(75));
    assert!(unavailable >= 1_000, "{unavailable} ms after EX_TEMPFAIL");
    assert!(failure < unavailable, "{failure} ms after a failure, {unavailable} after EX_TEMPFAIL");
}

#[test]
fn what_another_attempt_cannot_mend_is_not_tried_again_and_nothing_more_often_than_the_cap() {
    let attempts = |run: &Value| run["tasks"][0]["attempts"].as_array().map(Vec::len);
    let refused = one("exit 77", 5, &[]);
    assert_eq!((attempts(&refused), &refused["tasks"][0]["state"]), (Some(1), &"failed".into()));
    assert_eq!(refused["tasks"][0]["attempts"][0]["error"]["class"], "auth");
    let capped = one("exit 1", 9, &["--set", "supervise.attempts=3", "--set", "supervise.backoff=1ms"]);
    assert_eq!((attempts(&capped), &capped["tasks"][0]["state"]), (Some(3), &"failed".into()));
}

#[test]
fn a_task_that_rests_gives_its_place_to_others_and_show_says_why_and_a_successor_knows() {
    let world = World::new();
    let tasks = r#"
jobs = 1
[[task]]
id = "limited"
retries = 1
command = ["sh", "-c", "test $TREEHAND_ATTEMPT_NUMBER = 2 || { echo 'retry-after: 3'; exit 1; }"]
[[task]]
id = "other"
command = ["sh", "-c", "echo made > made.txt"]
"#;
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, tasks).expect("written");
    let mut client = world.command(&["run", "--confine", "off", "--events", "--tasks", &file.to_string_lossy()]);
    let mut client = client.stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines().map_while(Result::ok);
    lines.find(|line| line.contains("task.land")).expect("the other one took its place");
    let run = world.only_run();
    let shown = world.treehand(&["show", &run, "--json"]).expect(0).json();
    assert_eq!(shown["tasks"][0]["state"], "queued");
    let waits = &shown["tasks"][0]["waits_for"];
    assert_eq!(waits["why"], "rests before attempt 2: rate limit");
    let until = waits["until"].as_str().expect("until when").to_owned();
    assert!(world.treehand(&["show", &run]).expect(0).stdout.contains(&format!("rate limit, until {until}")));
    support::signal("KILL", &world.supervisor(&run));
    lines.for_each(drop);
    assert!(client.wait().expect("waited").success(), "the client started a successor");
    let run = world.treehand(&["show", &run, "--json"]).expect(0).json();
    assert_eq!(run["tasks"][0]["state"], "no_change");
    let began = &run["tasks"][0]["attempts"][1]["started_at"];
    assert!(began.as_str().expect("began") >= until.as_str(), "{began} and not before {until}");
}
