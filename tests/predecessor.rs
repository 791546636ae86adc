//! What broke in the predecessor of treehand, and may not break here: each test is named after the bug, and asserts the rule
//! that makes it impossible. `machine` has what a machine does to runs besides.
//!
//! Held by other tests:
//! - 007, events do not stop with who told them: `stories::supervision::who_follows_a_run_hears_of_its_end_although_its_supervisor_dies`,
//!   and none is left out: `stories::run::a_run_waited_for_a_lock_without_a_word`.
//! - 009, only a result completes: `stories::run::a_task_that_changes_nothing_is_no_change_and_failures_skip_only_their_dependents`.
//! - 010, what is missing fails before anything starts: `stories::secrets::a_secret_that_is_not_set_or_is_written_down_is_refused_before_anything_is_made`;
//!   nothing is passed on by accident: `stories::life::the_command_gets_an_explicit_environment_and_no_input`.
//! - 013, a pid alone proves nothing: `sys/proc::we_are_alive_and_our_pid_with_another_start_time_is_not`; workers outlive who
//!   supervises them: `stories::supervision::a_successor_goes_on_with_a_living_attempt_and_lands_what_it_made`; memory:
//!   `escape/limits::the_memory_of_all_processes_together_counts`.
//! - 014, 020, readiness: `orchestrator/graph::readiness_by_the_state_of_one_need`; starts are bounded:
//!   `model/state::no_sequence_of_events_starts_a_task_more_than_it_tries_again_plus_one`, `orchestrator/board::every_order_of_ends_finishes_the_run`.
//! - 015, 017a, only `cancel` ends a run: `stories::life::the_supervisor_survives_its_client`.
//! - 019, who is dead is not running: `stories::supervision::a_successor_goes_on_with_a_living_attempt_and_lands_what_it_made` (its `ps`).
//! - 026, a full disk is named and waited for: `stories::supervision::a_full_disk_is_waited_for_and_the_run_goes_on_when_there_is_room`.
//! - 027, 028, the terminal absorbs: `model/state::terminal_states_absorb_everything_but_a_persons_merge_or_retry_of_what_did_not_end_well`;
//!   a late writer is refused: `store/supervision::who_was_superseded_writes_nothing_any_more`.
//! - lock steal, a lock goes with its holder alone: `sys/lock::a_held_lock_names_its_holder_and_is_free_after_drop`.
//! - trust, nothing of a repository runs by itself: `stories::hooks::no_hook_reaches_outside_by_default_and_a_project_cannot_change_that`,
//!   `stories::setup::a_project_cannot_loosen_what_its_steps_get`, `stories::submodules::what_a_submodules_configuration_starts_is_not_started`.
//! - T3, T4, only the own tree is written and only the own paths land: `escape` (its table), `stories::run::changes_outside_paths_are_refused_and_named`.
#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

#[path = "predecessor/held.rs"]
mod held;
#[path = "predecessor/machine.rs"]
mod machine;
mod support;

use std::process::Stdio;

use held::{Held, place, session_and_group, store, wait_gone};
use support::{World, state, task};

/// Waits, and makes something.
const MAKES: &str = "echo > \"$BEGUN\"; read line < \"$GO\"; echo done > done.txt";

#[test]
fn bug_003_the_log_of_a_worker_that_died_was_empty() {
    let script = "echo out; echo err >&2; echo > \"$BEGUN\"; read line < \"$GO\"; echo later; kill -KILL $$";
    let held = Held::start(script, &["--name", "t"]);
    held.kill_supervisor();
    Held::let_go(&held.world);
    held.world.treehand(&["resume", &held.run]).expect(1);
    let attempt = &held.attempts()[0];
    assert_eq!((&attempt["signal"], attempt["error"]["kind"].as_str()), (&9.into(), Some("signal")), "{attempt}");
    let log = std::fs::read_to_string(attempt["log"].as_str().expect("a log")).expect("readable");
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "later", "out"]);
}

#[test]
fn bug_005_what_watched_a_run_watched_for_ever() {
    let held = Held::start("echo seen; echo > \"$BEGUN\"; read line < \"$GO\"", &["--name", "t"]);
    let mut watchers = held.world.command(&["logs", "-f", &held.run]);
    let watcher = watchers.stdout(Stdio::piped()).spawn().expect("started");
    Held::let_go(&held.world);
    let told = watcher.wait_with_output().expect("it ends with the run");
    assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).contains("seen"), "{told:?}");
    let later = held.world.treehand(&["logs", "-f", &held.run]).expect(0);
    assert!(later.stdout.contains("seen"), "{}", later.stdout);
}

#[test]
fn bug_006_a_run_was_over_with_nothing_when_another_began() {
    let held = Held::start(MAKES, &["--name", "slow"]);
    let (supervisor, shim) = (held.world.supervisor(&held.run), held.shim());
    let other = ["run", "--json", "--confine", "off", "--name", "quick", "--", "sh", "-c", "echo quick > quick.txt"];
    let other = held.world.treehand(&other).expect(0).json();
    assert_eq!(state(&other, "quick"), "landed");
    assert_eq!(held.show()["state"], "running");
    assert_eq!(held.world.supervisor(&held.run), supervisor);
    let own = session_and_group("self");
    assert!(session_and_group(&supervisor).0 != own.0 && session_and_group(&shim).0 != own.0, "no session is shared");
    Held::let_go(&held.world);
    held.world.treehand(&["wait", &held.run]).expect(0);
    assert_eq!(held.world.show("main", "done.txt") + &held.world.show("main", "quick.txt"), "done\nquick\n");
    held.world.assert_nothing_left();
}

#[test]
fn bug_009_unfinished_work_was_called_completed() {
    for end in ["exit 1", "kill -TERM $$", "kill -KILL $$"] {
        let world = World::new();
        let tasks = format!(
            "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo half > half.txt; {end}\"]\n\
             [[task]]\nid = \"after\"\nneeds = [\"t\"]\ncommand = [\"true\"]\n"
        );
        let run = world.run_tasks(&tasks, &[]).expect(1).json();
        assert_eq!((state(&run, "t"), state(&run, "after")), ("failed", "skipped"), "{end}: {run}");
        assert_eq!(world.git(&["rev-list", "--count", "main"]), "1", "{end}");
        let name = format!("{}/t", run["run"].as_str().expect("a run"));
        let diff = world.treehand(&["diff", &name, "--json"]).expect(0).json();
        assert_eq!(diff["files"][0]["path"], "half.txt", "{end}: what it did is there to be looked at");
    }
}

#[test]
fn bug_010_a_key_that_a_worker_was_to_have_was_taken_away_for_its_name() {
    let world = World::new();
    let script = "test \"$SOME_API_KEY\" = value-of-key && test -z \"$OTHER_API_KEY\" && echo had > had.txt";
    let mut command = world.command(&["run", "--confine", "off", "--env", "SOME_API_KEY", "--", "sh", "-c", script]);
    command.env("SOME_API_KEY", "value-of-key").env("OTHER_API_KEY", "not-asked-for");
    let answer = support::answer(command).expect(0);
    assert_eq!(world.show("main", "had.txt"), "had\n", "{}", answer.stderr);
}

#[test]
fn bug_011_a_successor_with_another_path_did_not_find_the_program() {
    let world = Held::world();
    let tool = "#!/bin/sh\necho \"$HOME\" > tool.txt\n";
    world
        .shell("mkdir \"$HOME/bin\" && cat > \"$HOME/bin/tool-of-mine\" && chmod +x \"$HOME/bin/tool-of-mine\"")
        .expect(0);
    std::fs::write(world.path().join("home/bin/tool-of-mine"), tool).expect("written");
    let tasks = format!(
        "[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", '''{}{MAKES}''']\n\
         [[task]]\nid = \"b\"\nneeds = [\"a\"]\ncommand = [\"tool-of-mine\"]\n",
        Held::pipes(&world)
    );
    std::fs::write(world.path().join("tasks.toml"), tasks).expect("written");
    let mut begin = world.command(&["run", "--detach", "--confine", "off", "--tasks", "../tasks.toml"]);
    let path = std::env::var("PATH").expect("a PATH");
    begin.env("PATH", format!("{}:{path}", place(&world, "home/bin")));
    support::answer(begin).expect(0);
    Held::has_begun(&world);
    let held = Held { run: world.only_run(), world };
    held.kill_supervisor();
    Held::let_go(&held.world);
    let mut elsewhere = held.world.command(&["resume", &held.run]);
    std::fs::create_dir(held.world.path().join("other-home")).expect("made");
    elsewhere.env("LC_ALL", "C").env("HOME", place(&held.world, "other-home"));
    support::answer(elsewhere).expect(0);
    assert_eq!(held.world.show("main", "tool.txt").trim_end(), place(&held.world, "home"));
    held.world.assert_nothing_left();
}

#[test]
fn bug_011_a_person_who_mended_the_path_could_not_try_again() {
    let world = World::new();
    let run =
        world.treehand(&["run", "--json", "--confine", "off", "--name", "t", "--", "tool-of-mine"]).expect(1).json();
    let reason = task(&run, "t")["reason"]["message"].as_str().expect("words");
    assert!(reason.contains("`tool-of-mine`") && reason.contains("No such file or directory"), "{reason}");
    world.shell("mkdir \"$HOME/bin\" && printf '#!/bin/sh\\necho x > x' > \"$HOME/bin/tool-of-mine\" && chmod +x \"$HOME\"/bin/*").expect(0);
    let mut again = world.command(&["retry", run["run"].as_str().expect("a run")]);
    again.env("PATH", format!("{}:{}", place(&world, "home/bin"), std::env::var("PATH").expect("a PATH")));
    support::answer(again).expect(0);
    assert_eq!(world.show("main", "x"), "x\n");
}

#[test]
fn bug_012_a_worker_had_no_path_where_the_parent_had_none() {
    let world = World::new();
    let script =
        "test -n \"$PATH\" && test -d \"$HOME\" && test -d \"$TMPDIR\" && git --version > git.txt && env > env.txt";
    let mut command = world.command(&["run", "--confine", "off", "--", "sh", "-c", script]);
    command.env_clear().env("HOME", world.path().join("home")).env("GIT_CONFIG_NOSYSTEM", "1");
    let answer = support::answer(command).expect(0);
    let env = world.show("main", "env.txt");
    assert!(env.lines().any(|line| line.starts_with("PATH=/")), "{env} {}", answer.stderr);
}

#[test]
fn bug_014_a_task_whose_every_attempt_died_was_started_without_end() {
    let tasks = |world: &World| {
        let pipes = Held::pipes(world);
        format!("[[task]]\nid = \"t\"\nretries = 2\ncommand = [\"sh\", \"-c\", '''{pipes}{MAKES}''']\n")
    };
    let world = Held::world();
    world.run_tasks(&tasks(&world), &["--detach"]).expect(0);
    Held::has_begun(&world);
    let held = Held { run: world.only_run(), world };
    for attempt in 1..=3 {
        assert_eq!(held.attempts().len(), attempt, "each start is counted, whoever supervises");
        held.kill_everything();
        let mut successor = held.begin(&["resume", &held.run]);
        if attempt < 3 {
            Held::has_begun(&held.world);
            successor.kill().expect("killed");
            successor.wait().expect("reaped");
        } else {
            assert_eq!(successor.wait().expect("over").code(), Some(1));
        }
    }
    let kinds: Vec<_> = held.attempts().iter().map(|attempt| attempt["error"]["kind"].clone()).collect();
    assert_eq!(kinds, ["crashed"; 3]);
    held.world.treehand(&["resume", &held.run]).expect(1);
    assert_eq!((held.attempts().len(), state(&held.show(), "t")), (3, "failed"), "nothing starts it again by itself");
}

#[test]
fn bug_015_017_what_ended_the_client_ended_the_run() {
    let world = Held::world();
    let script = Held::pipes(&world) + MAKES;
    let binary = env!("CARGO_BIN_EXE_treehand");
    let mut command = std::process::Command::new("setsid");
    world.clean(&mut command);
    command.args([binary, "run", "--confine", "off", "--", "sh", "-c", &script]);
    command.current_dir(world.repo()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = command.spawn().expect("started");
    Held::has_begun(&world);
    let held = Held { run: world.only_run(), world };
    let (supervisor, shim) = (held.world.supervisor(&held.run), held.shim());
    let session = client.id().to_string();
    assert_eq!(session_and_group(&session), (session.clone(), session.clone()));
    for process in [&supervisor, &shim] {
        let (its_session, its_group) = session_and_group(process);
        assert!(its_session != session && its_group != session, "{process} is in the client's session or group");
    }
    for signal in ["HUP", "INT"] {
        support::signal(signal, &supervisor);
    }
    let killed = held.world.shell(&format!("kill -s KILL -- -{session}"));
    assert_eq!(killed.code, 0, "{}", killed.stderr);
    client.wait().expect("reaped");
    assert_eq!(held.show()["state"], "running");
    assert_eq!(held.world.supervisor(&held.run), supervisor);
    Held::let_go(&held.world);
    held.world.treehand(&["wait", &held.run]).expect(0);
    assert_eq!(held.world.show("main", "done.txt"), "done\n");
}

#[test]
fn bug_018_a_worker_never_hangs_on_a_pipe_that_nobody_closes() {
    let world = World::new();
    // It reads its input, and leaves a program behind that holds its output open.
    let script = "cat > input.txt; sleep 1000 & echo made > made.txt";
    let args =
        ["run", "--detach", "--confine", "off", "--gate", "cat", "--gate", "sleep 1000 &", "--", "sh", "-c", script];
    let mut client = world.command(&args).stdin(Stdio::piped()).spawn().expect("started");
    assert_eq!(client.wait().expect("over").code(), Some(0));
    world.treehand(&["wait", &world.only_run(), "--timeout", "60s"]).expect(0);
    assert_eq!((world.show("main", "input.txt"), world.show("main", "made.txt")), (String::new(), "made\n".into()));
    drop(client.stdin.take());
}

#[test]
fn bug_023_029_one_place_by_two_names_was_taken_for_two() {
    let mut world = World::new();
    world
        .shell("mkdir \"$HOME/../real-state\" && ln -s real-state \"$HOME/../state\" && ln -s repo \"$HOME/../linked\"")
        .expect(0);
    world.shell("mkdir \"$HOME/../real-tmp\" && ln -s real-tmp \"$HOME/../tmp\"").expect(0);
    world.set("TMPDIR", "../tmp");
    let linked = world.path().join("linked");
    let tasks = "[[task]]\nid = \"one\"\ncommand = [\"sh\", \"-c\", \"echo 1 > one.txt\"]\n\
                 [[task]]\nid = \"two\"\nneeds = [\"one\"]\ncommand = [\"sh\", \"-c\", \"cp one.txt two.txt\"]\n";
    std::fs::write(world.path().join("tasks.toml"), tasks).expect("written");
    let run = ["run", "--json", "--confine", "off", "--tasks", "../tasks.toml"];
    let run = world.treehand_at(&linked, &run).expect(0).json();
    assert_eq!((state(&run, "one"), state(&run, "two")), ("landed", "landed"));
    assert_eq!(world.show("main", "two.txt"), "1\n");
    let id = run["run"].as_str().expect("a run");
    for name in [&linked, &world.repo()] {
        assert_eq!(world.treehand_at(name, &["show", id, "--json"]).expect(0).json()["state"], "landed");
    }
    world.treehand_at(&linked, &["new", "w"]).expect(0);
    world.treehand(&["rm", "w"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn bug_026_words_alone_were_a_result_and_the_systems_word_was_lost() {
    let world = World::new();
    let run = |command: &[&str], code: i32| {
        let args = [&["run", "--json", "--confine", "off", "--name", "t", "--"], command].concat();
        world.treehand(&args).expect(code).json()
    };
    let words = run(&["sh", "-c", "echo all is done >&2"], 0);
    assert_eq!((state(&words, "t"), task(&words, "t")["commit"].as_str()), ("no_change", None), "{words}");
    world.write("not-a-program", "text");
    let place = place(&world, "repo/not-a-program");
    for (command, word) in [("no-such-program", "No such file or directory"), (place.as_str(), "Permission denied")] {
        let failed = run(&[command], 1);
        let reason = task(&failed, "t")["reason"]["message"].as_str().expect("words");
        assert!(reason.contains(word), "{reason}");
    }
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    let told = runs["runs"].as_array().expect("runs").iter().filter(|run| run["supervisor"] == "dead").count();
    assert_eq!(told, 0, "a supervisor whose run is over did not die: {runs}");
}

#[test]
fn bug_027_a_run_that_was_over_came_alive_again() {
    let world = World::new();
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo x > x"]).expect(0);
    let run = world.only_run();
    let seen = || -> (i64, String, i64) {
        let sql =
            "SELECT (SELECT max(seq) FROM journal), (SELECT record FROM run), (SELECT max(epoch) FROM supervision)";
        store(&world).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("a journal")
    };
    let before = seen();
    for (verb, code) in [("wait", 0), ("resume", 0), ("pause", 4), ("cancel", 0), ("retry", 4), ("wait", 0)] {
        let answer = world.treehand(&[verb, &run]);
        assert_eq!(answer.code, code, "{verb}: {}", answer.stderr);
    }
    assert_eq!(seen(), before, "nothing was written, and nobody took it over");
    world.wait_unsupervised(&run);
}

#[test]
fn bug_h1_a_flood_of_output_swallowed_the_end_of_its_worker() {
    let world = World::new();
    let flood = "head -c 4000000 /dev/zero | tr '\\0' x; head -c 4000000 /dev/zero | tr '\\0' y >&2; echo last; exit 3";
    let limit = ["--set", "confine.limits.output=64K"];
    let args =
        [&["run", "--events", "--confine", "off", "--name", "t"][..], &limit, &["--", "sh", "-c", flood]].concat();
    let answer = world.treehand(&args).expect(1);
    let events: Vec<serde_json::Value> =
        answer.stdout.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let is_last = |event: &&serde_json::Value| event["kind"] == "run.state" && event["data"]["state"] == "failed";
    assert!(events.iter().rfind(is_last).is_some(), "{:?}", events.last());
    let run = world.treehand(&["show", &world.only_run(), "--json"]).expect(0).json();
    let attempt = &task(&run, "t")["attempts"][0];
    assert_eq!(attempt["exit"], 3);
    let log = std::fs::read(attempt["log"].as_str().expect("a log")).expect("readable");
    assert!(log.len() < 3 * (64 << 10), "the log has {} bytes", log.len());
    assert_eq!(String::from_utf8_lossy(&log).matches("the rest is dropped").count(), 2);
}

#[test]
fn bug_two_supervisors_had_one_run() {
    let held = Held::start(MAKES, &[]);
    held.kill_supervisor();
    let mut clients: Vec<_> = (0..6).map(|_| held.begin(&["wait", &held.run])).collect();
    Held::let_go(&held.world);
    for client in &mut clients {
        assert_eq!(client.wait().expect("over").code(), Some(0));
    }
    // Who came late may find it over; nobody does anything of it twice.
    let sql = "SELECT (SELECT count(*) FROM journal WHERE kind = 'task.start'), (SELECT count(*) FROM operation)";
    let done: (i64, i64) =
        store(&held.world).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a journal");
    assert_eq!((done, held.attempts().len()), ((1, 1), 1));
    assert_eq!(held.world.git(&["rev-list", "--count", "main"]), "2");
    held.world.assert_nothing_left();
}

#[test]
fn bug_another_project_saw_and_killed_and_resumed_what_was_not_its_own() {
    let held = Held::start(MAKES, &[]);
    let other = held.world.path().join("other");
    held.world.git_in(held.world.path(), &["init", "-q", "-b", "main", "other"]);
    held.world.git_in(&other, &["commit", "-q", "--allow-empty", "-m", "first"]);
    let there = |args: &[&str]| held.world.treehand_at(&other, args);
    assert_eq!(there(&["ps", "--json"]).expect(0).json()["runs"], serde_json::json!([]));
    for verb in ["show", "cancel", "pause", "resume", "retry", "wait", "logs"] {
        let answer = there(&[verb, &held.run]);
        assert!(answer.code != 0 && answer.stderr.contains(&held.run), "{verb}: {} {}", answer.code, answer.stderr);
    }
    there(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    assert_eq!(held.show()["state"], "running");
    Held::let_go(&held.world);
    held.world.treehand(&["wait", &held.run]).expect(0);
    assert_eq!(held.world.show("main", "done.txt"), "done\n");
}

#[test]
fn bug_44_an_option_of_the_client_reached_the_worker_and_the_chain_failed_without_a_word() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"one\"\ncommand = [\"sh\", \"-c\", \"env > env.txt; exit 7\"]\n\
                 [[task]]\nid = \"two\"\nneeds = [\"one\"]\ncommand = [\"true\"]\n";
    std::fs::write(world.path().join("tasks.toml"), tasks).expect("written");
    let mut command = world.command(&["run", "--confine", "off", "--tasks", "../tasks.toml"]);
    command.env("TREEHAND_MERGE__STRATEGY", "rebase").env("TREEHAND_SUPERVISE__JOBS", "1");
    let answer = support::answer(command).expect(1);
    assert!(answer.stderr.contains("failed one") && answer.stdout.contains('7'), "{}{}", answer.stderr, answer.stdout);
    assert!(answer.stdout.contains("two  skipped"), "{}", answer.stdout);
    let tree = world.treehand(&["path", &format!("{}/one", world.only_run())]).expect(0).stdout;
    let env = std::fs::read_to_string(std::path::Path::new(tree.trim_end()).join("env.txt")).expect("written");
    assert!(!env.contains("TREEHAND_MERGE__STRATEGY") && !env.contains("TREEHAND_SUPERVISE"), "{env}");
}

#[test]
fn bug_what_was_removed_came_back_by_a_late_write() {
    let script = "trap '' TERM; echo > \"$BEGUN\"; read line < \"$GO\"";
    let held = Held::start(script, &["--name", "t", "--set", "supervise.orphan_grace=500ms"]);
    let shim = held.shim();
    support::signal("STOP", &shim);
    held.kill_supervisor();
    let logs = held.world.repo().join(".git/treehand/logs").join(&held.run);
    for gone in [&logs, &held.world.trees()] {
        std::fs::remove_dir_all(gone).expect("removed");
    }
    // It ends its command, writes down how, and goes.
    support::signal("CONT", &shim);
    wait_gone(&shim);
    assert!(!logs.exists() && !held.world.trees().exists(), "a late writer made it again");
}
