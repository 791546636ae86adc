//! Stories of runs as processes: what starts them and is refused, who supervises, waits, cancels, interrupts and kills them.
//! Each is a command of the user, and what is left after it.

#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

use crate::support;

use support::{World, state, task};

#[test]
fn a_deadline_ends_the_command_and_all_that_it_started() {
    let world = World::new();
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; exec sleep 1000' & sleep 1000";
    let tasks = format!("[[task]]\nid = \"t\"\ntimeout = \"300ms\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    let run = world.run_tasks(&tasks, &[]).expect(1).json();
    assert_eq!(task(&run, "t")["reason"]["kind"], "timeout", "{run}");
    let log = task(&run, "t")["attempts"][0]["log"].as_str().expect("a log").to_owned();
    assert!(std::path::Path::new(&log).exists());
    let marked = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let run = format!("TREEHAND_RUN={}", run["run"].as_str().unwrap_or_default());
        environ.split(|b| *b == 0).any(|pair| pair == run.as_bytes())
    });
    assert_eq!(marked.count(), 0, "a process of the attempt lives on");
}

#[test]
fn a_detached_run_is_waited_for_and_a_cancelled_one_ends() {
    let world = World::new();
    let run =
        world.treehand(&["run", "--json", "--confine", "off", "--detach", "--", "sh", "-c", "echo x > x"]).expect(0);
    let id = run.json()["run"].as_str().expect("an id").to_owned();
    world.treehand(&["wait", &id]).expect(0);
    assert_eq!(world.show("main", "x"), "x\n");
    let run = world.treehand(&["run", "--json", "--confine", "off", "--detach", "--", "sleep", "1000"]).expect(0);
    let id = run.json()["run"].as_str().expect("an id").to_owned();
    world.treehand(&["wait", &id, "--timeout", "50ms"]).expect(124);
    let cancelled = world.treehand(&["cancel", &id, "--json"]).expect(0).json();
    assert_eq!((cancelled["state"].as_str(), state(&cancelled, "sleep")), (Some("cancelled"), "cancelled"));
    world.treehand(&["wait", &id]).expect(130);
}

#[test]
fn the_file_is_checked_whole_before_anything_starts() {
    let world = World::new();
    let check = |tasks: &str, words: &[&str]| {
        let answer = world.run_tasks(tasks, &[]).expect(2);
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    };
    check("[[task]]\nid = \"a\"\nneed = [\"b\"]\ncommand = [\"true\"]\n", &["line 3", "need", "needs"]);
    check("[[task]]\nid = \"a\"\ncommand = [\"true\"]\n[[task]]\nid = \"a\"\ncommand = [\"true\"]\n", &["line 5"]);
    check("[[task]]\nid = \"../x\"\ncommand = [\"true\"]\n", &["line 2"]);
    check("[[task]]\nid = \"a\"\nneeds = [\"a\"]\ncommand = [\"true\"]\n", &["line 3"]);
    check("[[task]]\nid = \"a\"\ncommand = []\n", &["line 3"]);
    check("x = [", &["line 1"]);
    assert_eq!(world.treehand(&["ps", "--json"]).expect(0).json()["runs"], serde_json::json!([]));
    assert!(!world.trees().exists());
}

#[test]
fn the_supervisor_survives_its_client() {
    let world = World::new();
    let fifo = world.path().join("go");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()));
    let script = format!("read line < {}; echo done > done.txt", fifo.display());
    let mut client = world.command(&["run", "--events", "--confine", "off", "--", "sh", "-c", &script]);
    let mut client = client.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(client.stdout.take().expect("piped")));
    let started = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("attempt.started")));
    let event: serde_json::Value = serde_json::from_str(&started.expect("an event").expect("a line")).expect("JSON");
    client.kill().expect("killed");
    client.wait().expect("reaped");
    std::fs::write(&fifo, "go\n").expect("the task goes on");
    world.treehand(&["wait", event["run"].as_str().expect("a run")]).expect(0);
    assert_eq!(world.show("main", "done.txt"), "done\n");
    world.assert_nothing_left();
}

#[test]
fn hostile_task_files_are_refused_in_good_time() {
    let world = World::new();
    let file = world.path().join("hostile");
    let shown = file.to_string_lossy().into_owned();
    let refuse = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("written");
        let begun = std::time::Instant::now();
        let answer = world.treehand(&["run", "--json", "--confine", "off", "--tasks", &shown]);
        assert!([2, 3].contains(&answer.code), "{} {}", answer.code, answer.stderr);
        assert_eq!(answer.json()["schema"], "treehand/error/v1");
        assert!(begun.elapsed().as_secs() < 20, "too slow");
    };
    refuse(br#"{"task": [{"id": "a\u0000b", "command": ["true"]}]}"#);
    refuse(br#"{"task": [{"id": "a", "command": ["tr\u0000ue"]}]}"#);
    refuse(br#"{"task": [{"id": "-rf", "command": ["true"]}]}"#);
    refuse(br#"{"task": [{"id": "a\nb", "command": ["true"]}, {"id": "..", "command": ["true"]}]}"#);
    refuse(&[0xff, 0xfe, 0x00]);
    refuse("[".repeat(1_000_000).as_bytes());
    refuse(&vec![b'x'; 10 << 20]);
    let many: String = (0..200_000).map(|n| format!("[[task]]\nid = \"t{}\"\ncommand = [\"true\"]\n", n / 2)).collect();
    refuse(many.as_bytes());
    assert_eq!(world.treehand(&["ps", "--json"]).expect(0).json()["runs"], serde_json::json!([]));
}

#[test]
fn a_dry_run_prints_the_plan_and_makes_nothing() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"touch\", \"x\"]\n";
    let plan = world.run_tasks(tasks, &["--dry-run", "--into", "not-there-yet"]).expect(0).json();
    assert_eq!((plan["dry_run"].as_bool(), state(&plan, "t")), (Some(true), "queued"));
    assert_eq!(world.git(&["branch", "--list", "not-there-yet"]), "");
    assert!(!world.trees().exists());
}

#[test]
fn the_command_gets_an_explicit_environment_and_no_input() {
    let world = World::new();
    let script = "cat > input; env > env.txt; git rev-parse --is-inside-work-tree > inside";
    let mut command = world.command(&["run", "--confine", "off", "--", "sh", "-ec", script]);
    command.env("SECRET_TOKEN", "do-not-pass").env("GIT_DIR", "/nowhere").stdin(std::process::Stdio::null());
    command.env("GIT_INDEX_FILE", "/nowhere/index");
    let refused = command.output().expect("started");
    assert!(refused.status.success(), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(world.show("main", "input"), "");
    assert_eq!(world.show("main", "inside"), "true\n");
    let env = world.show("main", "env.txt");
    assert!(!env.contains("do-not-pass") && !env.contains("GIT_DIR="), "{env}");
    for name in [
        "PATH=",
        "HOME=",
        "TREEHAND_RUN=",
        "TREEHAND_TASK=sh",
        "TREEHAND_WORKSPACE=",
        "TREEHAND_PATH=",
        "TREEHAND_BRANCH=treehand/",
        "TREEHAND_REPO=repo",
        "TREEHAND_PORT=",
        "TMPDIR=",
    ] {
        assert!(env.lines().any(|line| line.starts_with(name)), "{name} is missing in {env}");
    }
}

#[test]
fn an_interrupt_without_a_terminal_cancels_and_exits_130() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let world = World::new();
        let mut command = world.command(&["run", "--events", "--confine", "off", "--", "sleep", "1000"]);
        let mut client = command.stdout(std::process::Stdio::piped()).spawn().expect("started");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(client.stdout.take().expect("piped")));
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("attempt.started"))));
        let sent = std::process::Command::new("kill").args([signal, &client.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("\"state\":\"cancelled\""))));
        assert_eq!(client.wait().expect("reaped").code(), Some(code));
        assert_eq!(world.treehand(&["ps", "--json"]).expect(0).json()["runs"][0]["state"], "cancelled");
    }
}

#[test]
fn what_nothing_enforces_is_accepted_only_with_a_warning() {
    let world = World::new();
    let tasks = r#"
        gates = ["true", { run = "test -e b", flaky = true, net = "none", timeout = "10m" }]
        [[task]]
        id = "a"
        command = ["sh", "-c", "echo b > b"]
        net = ["api.example.com:443"]
    "#;
    let answer = world.run_tasks(tasks, &[]).expect(0);
    assert!(answer.stderr.contains("`net` is not enforced"), "{}", answer.stderr);
    let full = tasks.replace("[\"api.example.com:443\"]", "\"full\"").replace("\"none\"", "\"full\"");
    assert!(!world.run_tasks(&full, &[]).expect(0).stderr.contains("`net`"));
    world.run_tasks(&tasks.replace("\"none\"", "\"some\""), &[]).expect(2);
}
