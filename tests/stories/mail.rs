//! Stories of what a person says to a task at work, and of what it asks.

use crate::support;

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;
use support::World;
use support::followed::Followed;

/// Shell words: waits for a message and prints it into a file; asks.
const HEAR: &str = "hear() { until [ -e \"$TREEHAND_MAIL/inbox/$1\" ]; do sleep 0.02; done; cat \"$TREEHAND_MAIL/inbox/$1\" > \"$2\"; }; ";

fn start(world: &World, tasks: &str, flags: &[&str]) -> Followed {
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, tasks).expect("written");
    let file = file.to_string_lossy().into_owned();
    Followed::start(world, &[&["--confine", support::level(), "--tasks", &file], flags].concat())
}

fn task(command: &str) -> String {
    format!("[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-ec\", '''{HEAR}{command}''']\n")
}

fn shown(world: &World) -> Value {
    world.treehand(&["show", &world.only_run(), "--json"]).json()
}

fn ask(question: &str) -> String {
    format!("echo '{question}' > \"$TREEHAND_MAIL/question.json\"")
}

#[test]
fn what_a_person_says_comes_into_the_inbox_in_order() {
    let world = World::new();
    let mut run = start(&world, &task("hear 0001-steer.txt one.txt; hear 0002-steer.txt two.txt"), &[]);
    run.next("attempt.started");
    let target = format!("{}/a", world.only_run());
    world.treehand(&["steer", &target, "mind the gap\n"]).expect(0);
    let piped = format!("echo 'and the platform' | treehand steer {target} -");
    world.in_shell(&["sh"], &piped).expect("there is a shell").expect(0);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "one.txt"), "mind the gap\n");
    assert_eq!(world.show("main", "two.txt"), "and the platform\n");
    let over = world.treehand(&["steer", &target, "too late"]).expect(4);
    assert!(over.stderr.contains("does not run: it is landed"), "{}", over.stderr);
    world.treehand(&["steer", &world.only_run(), "to whom?"]).expect(2);
}

#[test]
fn what_was_said_is_there_for_the_next_attempt_too() {
    let world = World::new();
    let tasks = task("hear 0001-steer.txt said.txt; test $TREEHAND_ATTEMPT_NUMBER = 2");
    let mut run = start(&world, &format!("{tasks}retries = 1\n"), &[]);
    run.next("attempt.started");
    world.treehand(&["steer", &format!("{}/a", world.only_run()), "mind"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "said.txt"), "mind");
}

#[test]
fn a_task_that_asks_is_parked_leaves_its_place_to_another_and_goes_on_with_the_answer() {
    let world = World::new();
    let asks = task(&format!("{}; hear 0001-answer.txt port.txt", ask(r#"{"question": "Which port?"}"#)));
    let other = "[[task]]\nid = \"other\"\ncommand = [\"sh\", \"-c\", \"echo made > other.txt\"]\n";
    let mut run = start(&world, &format!("jobs = 1\n{asks}{other}"), &[]);
    run.next("task.land");
    let id = world.only_run();
    let target = format!("{id}/a");
    let parked = shown(&world);
    assert_eq!(parked["tasks"][0]["state"], "waiting");
    assert_eq!(parked["tasks"][0]["question"]["text"], "Which port?");
    assert!(world.treehand(&["show", &id]).expect(0).stdout.contains("asks: Which port?"));
    let refused = world.treehand(&["answer", &format!("{id}/other"), "x"]).expect(4);
    assert!(refused.stderr.contains("asks nothing"), "{}", refused.stderr);
    world.treehand(&["answer", &target, "8080\n"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "port.txt"), "8080\n");
    let over = shown(&world);
    assert_eq!((&over["tasks"][0]["state"], &over["tasks"][0]["question"]), (&"landed".into(), &Value::Null));
}

#[test]
fn a_task_that_asks_leaves_its_place_on_the_machine_to_other_runs_and_has_it_again() {
    let world = World::new();
    let one = ["--set", "supervise.slots=1"];
    let asks =
        task(&format!("{}; hear 0001-answer.txt port.txt; hear 0002-steer.txt go.txt", ask(r#"{"question": "?"}"#)));
    let mut first = start(&world, &asks, &one);
    first.next("task.ask");
    let target = format!("{}/a", world.only_run());
    let place = world.path().join("state/treehand/slots/machine/0");
    // Both wait for the only place; whoever has it waits for a person.
    let second = start(&world, "[[task]]\nid = \"b\"\ncommand = [\"true\"]\n", &one);
    assert_eq!(second.ends(), Some(0), "its place was free");
    world.treehand(&["answer", &target, "8080"]).expect(0);
    first.next("task.answer");
    let run = target.trim_end_matches("/a");
    while std::fs::read_to_string(&place).expect("a place") != run {
        std::thread::yield_now();
    }
    let mut third = start(&world, "[[task]]\nid = \"c\"\ncommand = [\"true\"]\n", &one);
    let waits = third.next("task.waits")["data"]["delay"]["why"].to_string();
    assert!(waits.contains("1 of 1 are taken"), "{waits}");
    world.treehand(&["steer", &target, "go"]).expect(0);
    assert_eq!((first.ends(), third.ends()), (Some(0), Some(0)));
}

#[test]
fn a_question_that_nobody_answers_in_time_has_its_default_for_an_answer() {
    let world = World::new();
    let question = ask(r#"{"question": "Which port?", "default": "80", "deadline": "50ms"}"#);
    let run = start(&world, &task(&format!("{question}; hear 0001-answer.txt port.txt")), &[]);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "port.txt"), "80");
}

#[test]
fn without_a_default_a_person_has_to_look_and_may_have_it_done_again() {
    let world = World::new();
    let question = ask(r#"{"question": "May I?", "deadline": "50ms"}"#);
    let command = format!("echo half > half.txt; test -e \"$HOME/../../../again\" || {{ {question}; sleep 1000; }}");
    let run = start(&world, &task(&command.replace("$HOME/../../../again", "$AGAIN")), &["--env", "AGAIN"]);
    assert_eq!(run.ends(), Some(9));
    let over = shown(&world);
    assert_eq!(over["tasks"][0]["state"], "needs_attention");
    assert_eq!(over["tasks"][0]["reason"]["message"], "nobody answered in time: May I?");
    let kept = std::path::PathBuf::from(over["tasks"][0]["workspace"].as_str().expect("it is kept"));
    assert!(kept.exists());
    let again = world.treehand(&["retry", &format!("{}/a", world.only_run()), "--detach"]).expect(0);
    assert!(again.stdout.contains("queued") || again.stdout.contains("running"), "{}", again.stdout);
    world.treehand(&["cancel", &world.only_run()]).expect(0);
}

#[test]
fn what_was_made_before_a_question_that_nobody_answered_lands_when_a_person_accepts_it() {
    let world = World::new();
    let asks = ask(r#"{"question": "May I go on?", "deadline": "50ms"}"#);
    let run = start(&world, &task(&format!("echo half > half.txt; {asks}; sleep 1000")), &[]);
    assert_eq!(run.ends(), Some(9));
    let over = shown(&world);
    let held = &over["tasks"][0];
    assert_eq!((&held["state"], &held["files_changed"]), (&"needs_attention".into(), &1.into()), "{held}");
    assert!(held["commit"].is_string() && world.git(&["log", "--format=%s", "main"]) == "first", "{held}");
    let text = world.treehand(&["show", &world.only_run()]).expect(0).stdout;
    assert!(text.contains(&format!("`treehand merge {}/a` lands it", world.only_run())), "{text}");
    world.treehand(&["merge", &world.only_run()]).expect(4);
    world.treehand(&["merge", &format!("{}/a", world.only_run())]).expect(0);
    assert_eq!(world.show("main", "half.txt"), "half\n");
}

#[test]
fn an_unanswered_task_that_made_nothing_or_what_a_rule_refuses_has_no_result_and_says_why() {
    let asks = ask(r#"{"question": "May I?", "deadline": "50ms"}"#);
    for (makes, why) in [("true", ""), ("echo x > out.txt", "; what it made so far does not land: ")] {
        let world = World::new();
        let tasks = format!("{}paths = [\"in/**\"]\n", task(&format!("{makes}; {asks}; sleep 1000")));
        assert_eq!(start(&world, &tasks, &[]).ends(), Some(9));
        let over = shown(&world);
        let held = &over["tasks"][0];
        let message = held["reason"]["message"].as_str().expect("words");
        assert!(message.starts_with(&format!("nobody answered in time: May I?{why}")), "{message}");
        assert_eq!((&held["state"], &held["commit"]), (&"needs_attention".into(), &Value::Null), "{held}");
        let refused = world.treehand(&["merge", &format!("{}/a", world.only_run())]).expect(4);
        assert!(refused.stderr.contains("retry"), "{}", refused.stderr);
    }
}

#[test]
fn a_question_that_was_overdue_while_its_command_did_not_end_was_written_down_once() {
    let world = World::new();
    let question = ask(r#"{"question": "May I?", "deadline": "50ms"}"#);
    let command = format!("trap '' TERM; {question}; while :; do sleep 0.1; done");
    let mut run = start(&world, &task(&command), &[]);
    let told = run.rest().filter(|event| event["kind"] == "task.unanswered").count();
    assert_eq!((told, run.ends()), (1, Some(9)), "it has a grace of five seconds");
}

#[test]
fn an_answer_reaches_a_task_whose_supervisor_died_while_it_was_parked() {
    let world = World::new();
    let asks = task(&format!("{}; hear 0001-answer.txt port.txt", ask(r#"{"question": "Which port?"}"#)));
    let mut run = start(&world, &asks, &[]);
    run.next("task.ask");
    let id = world.only_run();
    run.abandon(&world, &id);
    assert_eq!(shown(&world)["tasks"][0]["state"], "waiting");
    world.treehand(&["answer", &format!("{id}/a"), "443"]).expect(0);
    assert_eq!(world.treehand(&["wait", &id, "--json"]).expect(0).json()["runs"][0]["state"], "landed");
    assert_eq!(world.show("main", "port.txt"), "443");
}

#[test]
#[cfg(target_os = "linux")]
fn a_supervisor_that_held_its_lock_and_had_no_socket_yet_was_called_silent() {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    let world = World::new();
    let mut run = start(&world, &task("hear 0001-steer.txt said.txt"), &["--set", "supervise.orphan_grace=60s"]);
    run.next("attempt.started");
    let id = world.only_run();
    run.abandon(&world, &id);
    let place = world.lock_of(&id);
    let lock = std::fs::File::open(&place).expect("a lock");
    lock.lock().expect("locked");
    let opened = inotify::init(CreateFlags::CLOEXEC).expect("a watch");
    inotify::add_watch(&opened, &place, WatchFlags::OPEN).expect("watched");
    let mut steer = world.command(&["steer", &format!("{id}/a"), "mind"]).spawn().expect("started");
    // It has knocked before it looks at the lock.
    rustix::io::read(&opened, &mut [0_u8; 512][..]).expect("it looks at the lock");
    let socket = world.path().join(format!("state/treehand/sockets/{id}.sock"));
    std::fs::remove_file(&socket).expect("the dead one's");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    listener.set_nonblocking(true).expect("set");
    let mut client = loop {
        if let Ok((client, _)) = listener.accept() {
            break client;
        }
        assert_eq!(steer.try_wait().expect("looked"), None, "it knocks again");
        std::thread::yield_now();
    };
    client.set_nonblocking(false).expect("set");
    let mut asked = String::new();
    BufReader::new(&client).read_line(&mut asked).expect("read");
    assert!(asked.contains("mind"), "{asked}");
    client.write_all(b"{\"ok\":true,\"error\":null}\n").expect("answered");
    assert_eq!(steer.wait().expect("over").code(), Some(0));
    drop((listener, lock));
    world.treehand(&["steer", &format!("{id}/a"), "mind"]).expect(0);
    world.treehand(&["wait", &id]).expect(0);
}

#[test]
fn a_question_that_cannot_be_understood_is_answered_with_what_is_wrong_and_a_parked_task_can_be_cancelled() {
    let world = World::new();
    let wrong = task(&format!("{}; hear 0001-error.txt wrong.txt", ask(r#"{"question": 7}"#)));
    assert_eq!(start(&world, &wrong, &[]).ends(), Some(0));
    assert!(world.show("main", "wrong.txt").starts_with("question.json is not understood: "));
    let world = World::new();
    let mut run = start(&world, &task(&format!("{}; sleep 1000", ask(r#"{"question": "Well?"}"#))), &[]);
    run.next("task.ask");
    world.treehand(&["cancel", &format!("{}/a", world.only_run())]).expect(0);
    assert_eq!(run.ends(), Some(130));
    assert_eq!(shown(&world)["tasks"][0]["state"], "cancelled");
}

#[test]
fn who_waits_for_a_person_is_not_idle() {
    let world = World::new();
    let question = ask(r#"{"question": "Which port?"}"#);
    // One process that takes next to no time: without its question it would be ended.
    let waits = format!(
        "mkfifo \"$TREEHAND_MAIL/never\"; exec 3<> \"$TREEHAND_MAIL/never\"; {question}; \
         until [ -e \"$TREEHAND_MAIL/inbox/0001-answer.txt\" ]; do read -r -t 0.1 -u 3 || true; done; echo done > done.txt"
    );
    let tasks = format!("[[task]]\nid = \"a\"\ncommand = [\"bash\", \"-ec\", '''{waits}''']\n");
    let spans = ["supervise.idle=300ms", "supervise.quiet=200ms", "supervise.stalled=1500ms"];
    let flags: Vec<&str> = spans.iter().flat_map(|span| ["--set", span]).collect();
    let mut run = start(&world, &tasks, &flags);
    run.next("task.ask");
    while run.next("attempt.health")["data"]["level"] != "stalled" {}
    world.treehand(&["answer", &format!("{}/a", world.only_run()), "8080"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(world.show("main", "done.txt"), "done\n");
}
