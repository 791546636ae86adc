//! Stories of a run's life: whatever dies, at whatever moment, the run comes to its end, and nothing is done twice.

use crate::support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;
use support::World;

/// A run whose task waits until it is let go, and what it says first.
struct Waiting {
    world: World,
    run: String,
}

impl Waiting {
    /// Starts `script` with `$GO`, a pipe to read from, and waits until it has begun.
    fn start(script: &str, flags: &[&str]) -> Waiting {
        let world = World::new();
        world.shell("mkfifo \"$HOME/../go\" \"$HOME/../begun\"").expect(0);
        let waiting = Waiting { world, run: String::new() };
        let (go, begun) = (waiting.place("go"), waiting.place("begun"));
        let script = format!("GO='{go}'; echo yes > '{begun}'; {script}");
        let mut args = vec!["run", "--detach", "--confine", "off"];
        args.extend(flags);
        args.extend(["--", "sh", "-c", &script]);
        waiting.world.treehand(&args).expect(0);
        let run = waiting.world.only_run();
        waiting.has_begun();
        Waiting { run, ..waiting }
    }

    fn place(&self, name: &str) -> String {
        self.world.path().join(name).to_string_lossy().into_owned()
    }

    /// Waits until the script says that it has begun.
    fn has_begun(&self) {
        assert_eq!(std::fs::read_to_string(self.place("begun")).expect("a pipe"), "yes\n");
    }

    fn let_go(&self) {
        std::fs::write(self.place("go"), "go\n").expect("somebody waits");
    }

    fn kill_supervisor(&self) {
        support::signal("KILL", &self.world.supervisor(&self.run));
        self.world.wait_unsupervised(&self.run);
    }

    fn show(&self) -> Value {
        self.world.treehand(&["show", &self.run, "--json"]).expect(0).json()
    }

    fn attempts(&self) -> Vec<Value> {
        self.show()["tasks"][0]["attempts"].as_array().expect("attempts").clone()
    }

    /// The shim of the attempt that has begun, known by its mark.
    fn shim(&self) -> String {
        let store = rusqlite::Connection::open(self.world.repo().join(".git/treehand/state.db")).expect("a store");
        let sql =
            "SELECT json_extract(data, '$.detail.token') FROM journal WHERE kind = 'task.start' ORDER BY seq DESC";
        let token: String = store.query_row(sql, [], |row| row.get(0)).expect("an attempt");
        support::shim(&token)
    }
}

const READ: &str = "read line < \"$GO\"; echo done > done.txt";

#[test]
fn a_successor_goes_on_with_a_living_attempt_and_lands_what_it_made() {
    let waiting = Waiting::start(READ, &[]);
    waiting.kill_supervisor();
    let runs = waiting.world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(runs["runs"][0]["supervisor"], "dead", "looking starts nobody: {runs}");
    assert!(waiting.world.treehand(&["show", &waiting.run]).expect(0).stderr.contains("supervisor: dead"));
    let mut follower = waiting.world.command(&["wait", &waiting.run]).spawn().expect("started");
    waiting.let_go();
    assert_eq!(follower.wait().expect("over").code(), Some(0));
    assert_eq!(waiting.world.show("main", "done.txt"), "done\n");
    assert_eq!(waiting.attempts().len(), 1);
    waiting.world.assert_nothing_left();
}

#[test]
fn an_attempt_that_ends_while_nobody_supervises_is_taken_by_its_record() {
    let waiting = Waiting::start(READ, &[]);
    let shim = waiting.shim();
    waiting.kill_supervisor();
    waiting.let_go();
    wait_gone(&shim);
    waiting.world.treehand(&["resume", &waiting.run]).expect(0);
    assert_eq!(waiting.world.show("main", "done.txt"), "done\n");
    assert_eq!((waiting.attempts().len(), &waiting.attempts()[0]["exit"]), (1, &serde_json::json!(0)));
    waiting.world.assert_nothing_left();
}

#[test]
fn a_killed_shim_is_a_crash_and_nothing_of_its_attempt_is_left() {
    let waiting = Waiting::start(READ, &[]);
    support::signal("KILL", &waiting.shim());
    waiting.world.treehand(&["wait", &waiting.run]).expect(1);
    assert_eq!(waiting.attempts()[0]["error"]["kind"], "crashed", "{:?}", waiting.attempts());
    let looked = waiting.world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(looked["workspaces"][0]["processes"], serde_json::json!([]), "{looked}");
}

#[test]
fn supervisor_and_shim_killed_together_are_one_crash_that_a_retry_makes_good() {
    let waiting = Waiting::start(READ, &[]);
    let shim = waiting.shim();
    support::signal("STOP", &waiting.world.supervisor(&waiting.run));
    support::signal("KILL", &shim);
    support::signal("KILL", &waiting.world.supervisor(&waiting.run));
    waiting.world.wait_unsupervised(&waiting.run);
    waiting.world.treehand(&["resume", &waiting.run]).expect(1);
    assert_eq!(waiting.attempts()[0]["error"]["kind"], "crashed");
    let mut again = waiting.world.command(&["retry", &waiting.run]).spawn().expect("started");
    waiting.has_begun();
    waiting.let_go();
    assert_eq!(again.wait().expect("over").code(), Some(0));
    assert_eq!(waiting.attempts().len(), 2);
    assert_eq!(waiting.world.show("main", "done.txt"), "done\n");
    waiting.world.treehand(&["retry", &waiting.run]).expect(4);
    waiting.world.assert_nothing_left();
}

#[test]
fn without_a_successor_an_attempt_ends_after_its_grace() {
    let waiting = Waiting::start(READ, &["--set", "supervise.orphan_grace=100ms"]);
    let shim = waiting.shim();
    waiting.kill_supervisor();
    wait_gone(&shim);
    waiting.world.treehand(&["resume", &waiting.run]).expect(1);
    assert_eq!(waiting.attempts()[0]["error"]["kind"], "orphaned", "{:?}", waiting.attempts());
}

#[test]
fn a_run_whose_supervisor_is_dead_is_cancelled_by_a_successor() {
    let waiting = Waiting::start(READ, &[]);
    waiting.kill_supervisor();
    let cancelled = waiting.world.treehand(&["cancel", &waiting.run, "--json"]).expect(0).json();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    let looked = waiting.world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(looked["workspaces"][0]["processes"], serde_json::json!([]), "the command was ended too: {looked}");
    waiting.world.git(&["fsck", "--full"]);
    let doctor = waiting.world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).expect(0).json();
    assert_eq!(doctor["ok"], true);
}

#[test]
fn who_follows_a_run_hears_of_its_end_although_its_supervisor_dies() {
    let world = World::new();
    world.shell("mkfifo \"$HOME/../go\"").expect(0);
    let script = format!("read line < '{}'; echo done > done.txt", world.path().join("go").display());
    let mut client = world.command(&["run", "--events", "--confine", "off", "--", "sh", "-c", &script]);
    let mut client = client.stdout(Stdio::piped()).spawn().expect("started");
    let run = after(&mut client, "attempt.started")["run"].as_str().expect("a run").to_owned();
    let first = world.supervisor(&run);
    support::signal("KILL", &first);
    std::fs::write(world.path().join("go"), "go\n").expect("the task waits");
    assert_eq!(client.wait().expect("over").code(), Some(0));
    assert_ne!(world.supervisor(&run), first);
    assert_eq!(world.show("main", "done.txt"), "done\n");
}

#[test]
fn supervisors_that_die_again_and_again_of_what_they_do_next_are_given_up() {
    let world = World::new();
    let mut client = world.command(&["run", "--confine", "off", "--", "true"]);
    // Each of them writes something before that.
    client.env("TREEHAND_CRASH_AT", "after:4");
    let given_up = support::answer(client).expect(1);
    assert!(given_up.stderr.contains("treehand cancel"), "{}", given_up.stderr);
    // Without what kills them it comes to its end.
    world.treehand(&["resume", &world.only_run(), "--json"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn a_pause_starts_nothing_new_and_a_resume_goes_on() {
    let world = World::new();
    world.shell("mkfifo \"$HOME/../go\" \"$HOME/../begun\"").expect(0);
    let (go, begun) = (world.path().join("go"), world.path().join("begun"));
    let tasks = format!(
        "[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", \"echo yes > '{}'; read x < '{}'; echo a > a\"]\n\
         [[task]]\nid = \"b\"\nneeds = [\"a\"]\ncommand = [\"sh\", \"-c\", \"echo b > b\"]\n",
        begun.display(),
        go.display()
    );
    world.run_tasks(&tasks, &["--detach"]).expect(0);
    let run = world.only_run();
    assert_eq!(std::fs::read_to_string(&begun).expect("begun"), "yes\n");
    let paused = world.treehand(&["pause", &run, "--json"]).expect(0).json();
    assert_eq!(paused["paused"], true, "{paused}");
    let events = world.command(&["wait", &run, "--timeout", "0s"]).status().expect("asked");
    assert_eq!(events.code(), Some(124));
    std::fs::write(&go, "go\n").expect("the task waits");
    // A task that was asked to be paused about lands only after the resume; killed meanwhile, the run stays paused.
    support::signal("KILL", &world.supervisor(&run));
    world.wait_unsupervised(&run);
    let resumed = world.treehand(&["resume", &run, "--json"]).expect(0).json();
    assert_eq!((&resumed["state"], &resumed["paused"]), (&"landed".into(), &false.into()), "{resumed}");
    assert_eq!(world.show("main", "b"), "b\n");
    world.assert_nothing_left();
}

#[test]
fn one_task_is_cancelled_with_its_words_and_the_rest_goes_on() {
    let world = World::new();
    world.shell("mkfifo \"$HOME/../begun\"").expect(0);
    let begun = world.path().join("begun");
    let tasks = format!(
        "[[task]]\nid = \"stuck\"\ncommand = [\"sh\", \"-c\", \"echo yes > '{}'; sleep 1000\"]\n\
         [[task]]\nid = \"after\"\nneeds = [\"stuck\"]\ncommand = [\"true\"]\n\
         [[task]]\nid = \"other\"\ncommand = [\"sh\", \"-c\", \"echo o > o\"]\n",
        begun.display()
    );
    world.run_tasks(&tasks, &["--detach"]).expect(0);
    let run = world.only_run();
    assert_eq!(std::fs::read_to_string(&begun).expect("begun"), "yes\n");
    world.treehand(&["cancel", &format!("{run}/stuck"), "--reason", "it hangs"]).expect(0);
    world.treehand(&["wait", &run]).expect(130);
    let ended = world.treehand(&["show", &run, "--json"]).expect(0).json();
    assert_eq!(support::state(&ended, "stuck"), "cancelled");
    assert_eq!(support::task(&ended, "stuck")["reason"]["message"], "it was cancelled: it hangs");
    assert_eq!((support::state(&ended, "after"), support::state(&ended, "other")), ("skipped", "landed"));
    world.treehand(&["cancel", &format!("{run}/other")]).expect(0);
}

#[test]
fn who_says_and_does_nothing_ends_and_who_works_or_waits_for_a_program_does_not() {
    let world = World::new();
    let run = |script: &str| {
        let idle = ["--set", "supervise.idle=300ms", "--json", "--confine", support::level()];
        let args = [&["run"][..], &idle, &["--", "sh", "-c", script]].concat();
        world.treehand(&args)
    };
    let hangs = run("exec sleep 1000").expect(1).json();
    let task = &hangs["tasks"][0];
    assert_eq!(
        (&task["attempts"][0]["error"]["kind"], &task["reason"]["kind"]),
        (&"idle".into(), &"timeout".into()),
        "{task}"
    );
    run("sleep 1; true").expect(0);
    run("end=$(($(date +%s%N) + 1000000000)); while [ $(date +%s%N) -lt $end ]; do :; done").expect(0);
}

#[test]
fn a_rejected_result_is_saved_before_its_task_is_done_again() {
    let world = World::new();
    let gate = world.path().join("open");
    let tasks = format!(
        "gates = [\"test -e '{}'\"]\n[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo $TREEHAND_ATTEMPT_NUMBER > n\"]\n\
         [[task]]\nid = \"after\"\nneeds = [\"t\"]\ncommand = [\"sh\", \"-c\", \"cp n m\"]\n",
        gate.display()
    );
    let run = world.run_tasks(&tasks, &[]).expect(7).json()["run"].as_str().expect("a run").to_owned();
    world.treehand(&["retry", &run]).expect(4);
    std::fs::write(&gate, "").expect("opened");
    world.treehand(&["retry", &format!("{run}/t")]).expect(0);
    assert_eq!((world.show("main", "n"), world.show("main", "m")), ("2\n".into(), "2\n".into()));
    let saved = world.treehand(&["salvage", "ls", "--json"]).expect(0).json();
    let names: Vec<&str> =
        saved["salvage"].as_array().expect("saved").iter().filter_map(|s| s["from"].as_str()).collect();
    assert_eq!(names.len(), 2, "{saved}");
    let first = saved["salvage"].as_array().expect("saved").iter().find(|s| s["from"] == format!("{run}/t"));
    let commit = first.expect("the first result")["commit"].as_str().expect("a commit");
    assert_eq!(world.show(commit, "n"), "1\n");
}

#[test]
fn what_is_asked_of_a_task_that_is_elsewhere_by_now_is_refused_and_the_run_goes_on() {
    use std::io::Write;
    let waiting = Waiting::start(READ, &["--name", "t"]);
    let ask = |command: &str| -> Value {
        let socket = waiting.world.path().join(format!("state/treehand/sockets/{}.sock", waiting.run));
        let mut line = std::os::unix::net::UnixStream::connect(socket).expect("a supervisor");
        writeln!(line, "{{\"version\":1,\"ask\":{{\"do\":{command}}}}}").expect("asked");
        let mut answer = String::new();
        BufReader::new(line).read_line(&mut answer).expect("answered");
        serde_json::from_str(&answer).expect("JSON")
    };
    let running = ask("{\"retry\":{\"tasks\":[\"t\"]}}");
    assert!(running["error"].as_str().is_some_and(|why| why.ends_with("/t is running by now")), "{running}");
    for unknown in ["{\"retry\":{\"tasks\":[\"x\"]}}", "{\"cancel_task\":{\"task\":\"x\",\"words\":\"\"}}"] {
        let answer = ask(unknown);
        assert!(answer["error"].as_str().is_some_and(|why| why.ends_with("has no task `x`")), "{answer}");
    }
    waiting.let_go();
    waiting.world.treehand(&["wait", &waiting.run]).expect(0);
    assert_eq!(waiting.world.show("main", "done.txt"), "done\n");
}

#[test]
fn a_stopped_supervisor_is_a_run_that_waits_and_goes_on_when_it_does() {
    let waiting = Waiting::start(READ, &[]);
    let supervisor = waiting.world.supervisor(&waiting.run);
    support::signal("STOP", &supervisor);
    waiting.let_go();
    waiting.world.treehand(&["wait", &waiting.run, "--timeout", "200ms"]).expect(124);
    assert_eq!(waiting.world.supervisor(&waiting.run), supervisor, "nobody takes its place");
    support::signal("CONT", &supervisor);
    waiting.world.treehand(&["wait", &waiting.run]).expect(0);
    assert_eq!(waiting.world.show("main", "done.txt"), "done\n");
}

/// The first event of this kind that a client tells of; what it tells later is read by nobody, and does not stop it.
fn after(client: &mut Child, kind: &str) -> Value {
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let line =
        lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(kind))).expect("an event").expect("a line");
    std::thread::spawn(move || lines.count());
    serde_json::from_str(&line).expect("JSON")
}

/// Waits until a process that is not a child of ours is gone.
fn wait_gone(pid: &str) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).expect("it ends");
}

/// Fills the disk while the command waits, lets it end, and gives room again.
const FULL_DISK: &str = r#"
disk="$HOME/../disk"
mkdir -p "$disk" && mount -t tmpfs -o size=8M none "$disk" || exit 90
export XDG_STATE_HOME="$disk/state"
mkdir "$disk/repo" && cd "$disk/repo" && git init -q -b main && mkfifo "$HOME/go" "$HOME/begun"
git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first
git config user.name a && git config user.email a@b
treehand run --detach --confine off -- sh -c "echo made > made.txt; echo > $HOME/begun; read line < $HOME/go" || exit 91
run=$(treehand ps | awk 'NR == 2 { print $1 }')
timeout 60 sh -c 'read line < "$HOME/begun"' || { treehand show "$run"; exit 96; }
dd if=/dev/zero of="$disk/fill" bs=512 2> "$HOME/dd" && exit 92
timeout 60 sh -c 'echo > "$HOME/go"' || exit 97
treehand wait "$run" --timeout 6s; [ $? = 124 ] || exit 93
treehand ps | grep -q "waits for room" || { treehand ps; cat ".git/treehand/locks/run-$run"; exit 94; }
rm "$disk/fill"
treehand wait "$run" || { treehand show "$run"; exit 95; }
git show main:made.txt && git fsck --full --strict && [ ! -e ../repo.trees ]
"#;

#[test]
fn a_full_disk_is_waited_for_and_the_run_goes_on_when_there_is_room() {
    if support::level() == "off" {
        return;
    }
    let world = World::new();
    let shell = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-u"];
    let told = world.in_shell(&shell, FULL_DISK).expect("unshare is where namespaces are").expect(0);
    assert!(told.stdout.contains("made"), "{}", told.stdout);
}

/// In a pid namespace the leaders of our session and group may be outside, and have no number: so it is after `docker exec`.
#[test]
fn a_run_in_a_pid_namespace_whose_session_began_outside_is_supervised() {
    if support::level() == "off" {
        return;
    }
    let world = World::new();
    let shell = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-ue"];
    let script = r#"
treehand run -- sh -c 'echo made > made.txt'
git show main:made.txt
treehand run --confine off -- sh -c 'echo off > off.txt'
git show main:off.txt
treehand new one --sealed && treehand exec one -- sh -c 'echo "$TREEHAND_ATTEMPT_NUMBER"inside'
"#;
    let told = world.in_shell(&shell, script).expect("unshare is where namespaces are").expect(0);
    assert!(["made", "off", "inside"].iter().all(|line| told.stdout.contains(line)), "{}", told.stdout);
}
