//! Stories of agents in tasks: what they are told, what counts as their success, what follows from their failures, who takes over,
//! and what is left of what they were lent. A stand-in does what real ones do.

use crate::support;

use serde_json::Value;
use support::World;
use support::followed::Followed;
use support::stub::{self, task};

fn world() -> World {
    let world = World::new();
    stub::install(&world);
    world
}

/// Runs a tasks file to its end.
fn run(world: &World, tasks: &str) -> Value {
    let flags = ["--confine", support::level()];
    world.run_tasks(tasks, &flags).json()
}

fn begin(world: &World, tasks: &str) -> Followed {
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, tasks).expect("written");
    Followed::start(world, &["--confine", support::level(), "--tasks", &file.to_string_lossy()])
}

fn errors(task: &Value) -> Vec<(&str, &str)> {
    let attempts = task["attempts"].as_array().expect("attempts").iter();
    attempts
        .map(|attempt| {
            let error = &attempt["error"];
            (error["kind"].as_str().unwrap_or("none"), error["class"].as_str().unwrap_or("none"))
        })
        .collect()
}

#[test]
fn an_agent_is_told_its_task_and_what_it_made_lands_with_what_it_said() {
    let world = world();
    let prompt = "printf '%s' \"$prompt\" > told.txt; uses 12000; submit done 'made it'; finish";
    let answer =
        world.treehand(&["run", "--json", "--confine", support::level(), "--agent", "stub:m1", "--name", "a", prompt]);
    let document = answer.expect(0).json();
    let (done, attempt) = (&document["tasks"][0], &document["tasks"][0]["attempts"][0]);
    assert_eq!(
        (&document["state"], &done["state"], &done["agent"]),
        (&"landed".into(), &"landed".into(), &"stub".into())
    );
    assert_eq!((&attempt["agent"]["version"], &attempt["agent"]["model"]), (&"stub 1.0".into(), &"m1".into()));
    assert_eq!(attempt["agent"]["submission"]["summary"], "made it");
    assert_eq!((&attempt["usage"]["tokens"], &document["usage"]["turns"]), (&12_000.into(), &1.into()));
    let told = world.show("main", "told.txt");
    assert!(
        told.contains("on the branch treehand/") && told.contains("lands on main") && told.contains("submit_result"),
        "{told}"
    );
    let run = document["run"].as_str().expect("a run");
    let logs = world.treehand(&["logs", run]).expect(0).stdout;
    assert!(logs.contains("I am at work") && !logs.contains("\"type\""), "{logs}");
    assert!(world.treehand(&["logs", run, "--raw"]).expect(0).stdout.contains("\"type\":\"text\""));
    let shown = world.treehand(&["show", run]).expect(0).stdout;
    assert!(shown.contains("made it") && shown.contains("12k tokens"), "{shown}");
}

#[test]
fn a_dry_run_shows_what_agents_would_be_told_and_starts_nothing() {
    let world = world();
    let answer = world.treehand(&[
        "run",
        "--dry-run",
        "--confine",
        support::level(),
        "--agent",
        "second,stub",
        "--name",
        "a",
        "touch x",
    ]);
    let shown = answer.expect(0).stdout;
    assert!(
        shown.contains("a: second, then stub") && shown.contains("a is told:") && shown.contains("  | touch x"),
        "{shown}"
    );
    let none = world.treehand(&["run", "--dry-run", "--agent", "sutb", "x"]).expect(2);
    assert!(
        none.stderr.contains("there is no agent `sutb`") && none.stderr.contains("did you mean `stub`"),
        "{}",
        none.stderr
    );
}

#[test]
fn an_exit_code_alone_is_no_success() {
    let world = world();
    let tasks = [
        ("fault", "fault 'boom' 400", "failed"),
        ("cut", "echo x > cut.txt", "failed"),
        ("nothing", "finish", "failed"),
        ("gave-up", "echo x > up.txt; submit failed 'cannot'; finish", "failed"),
        ("idle", "submit nothing_to_do 'is so already'; finish", "no_change"),
        ("code", "echo x > code.txt; finish; exit 3", "failed"),
        ("fine", "echo x > fine.txt; finish", "landed"),
    ];
    let text: String = tasks.iter().map(|(id, prompt, _)| task(id, "'stub'", prompt) + "retries = 0\n").collect();
    let document = run(&world, &text);
    for (id, _, state) in tasks {
        let task = document["tasks"].as_array().expect("tasks").iter().find(|task| task["id"] == id).expect("a task");
        assert_eq!(task["state"], state, "{task}");
    }
    let kinds: Vec<Value> = document["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|task| task["attempts"][0]["error"]["kind"].clone())
        .collect();
    assert_eq!(
        kinds,
        ["agent".into(), "cut".into(), "no_result".into(), "gave_up".into(), Value::Null, "exit".into(), Value::Null]
    );
}

#[test]
fn who_is_not_let_in_gives_way_to_the_next_and_the_reason_is_shown() {
    let world = world();
    let prompt = "if [ -e left.txt ]; then echo seen > seen.txt; fi
        if [ \"$TREEHAND_ATTEMPT_NUMBER\" = 1 ]; then echo 1 > left.txt; fault 'Invalid API key' 401; exit 0; fi
        echo 2 > right.txt; finish";
    let agents = "['stub', 'second']";
    let fresh = task("fresh", agents, prompt);
    let plants = "[ -e \"$HOME/planted\" ] && exit 9; echo x > \"$HOME/planted\"; ";
    let goes_on =
        task("goes-on", agents, &format!("{plants}{}", prompt.replace(".txt", ".md"))) + "handover = 'continue'\n";
    let document = run(&world, &(fresh + &goes_on));
    assert_eq!(document["state"], "landed", "{document}");
    for done in document["tasks"].as_array().expect("tasks") {
        assert_eq!(errors(done), [("auth", "auth"), ("none", "none")], "{done}");
        let by = |n: usize| done["attempts"][n]["agent"]["name"].clone();
        assert_eq!((by(0), by(1)), ("stub".into(), "second".into()));
    }
    assert_eq!(world.git(&["ls-files", "main", "left.txt", "seen.txt", "right.txt"]), "right.txt", "it began anew");
    assert_eq!(world.git(&["ls-files", "left.md", "seen.md", "right.md"]), "left.md\nright.md\nseen.md", "it went on");
    let shown = world.treehand(&["show", document["run"].as_str().expect("a run")]).expect(0).stdout;
    assert!(shown.contains("second after stub") && shown.contains("Invalid API key"), "{shown}");
}

#[test]
fn an_agent_that_is_not_installed_gives_way_and_alone_it_is_refused_with_how_to_get_it() {
    let world = world();
    let profile = "extends = \"stub\"\nprogram = \"no-such-agent\"\n";
    std::fs::write(world.path().join("home/.config/treehand/agents/absent.toml"), profile).expect("written");
    let prompt = "echo x > x.txt; finish";
    let alone = world.treehand(&["run", "--agent", "absent", prompt]).expect(1);
    assert!(alone.stderr.contains("absent") && alone.stderr.contains("copy it from the tests"), "{}", alone.stderr);
    let document = run(&world, &task("a", "['absent', 'stub']", prompt));
    assert_eq!(
        (&document["state"], errors(&document["tasks"][0])),
        (&"landed".into(), vec![("missing", "missing"), ("none", "none")])
    );
}

#[test]
fn a_retry_finds_the_agent_that_was_installed_meanwhile() {
    let world = world();
    let program = world.path().join("programs/late");
    let profile = format!("extends = \"stub\"\nprogram = '{}'\n", program.display());
    std::fs::write(world.path().join("home/.config/treehand/agents/late.toml"), profile).expect("written");
    let prompt = "if [ \"$TREEHAND_ATTEMPT_NUMBER\" != 3 ]; then exit 3; fi; echo x > x.txt; finish";
    let failed = run(&world, &(task("a", "['late', 'stub']", prompt) + "retries = 0\n"));
    assert_eq!(errors(&failed["tasks"][0]), [("missing", "missing"), ("exit", "failure")], "{failed}");
    std::fs::copy(world.path().join("programs/stub"), &program).expect("installed");
    let run = failed["run"].as_str().expect("a run");
    let again = world.treehand(&["retry", run, "--json"]).expect(0).json();
    assert_eq!(
        (&again["state"], &again["tasks"][0]["attempts"][2]["agent"]["name"]),
        (&"landed".into(), &"late".into())
    );
}

#[test]
fn an_interrupted_agent_goes_on_with_its_conversation_in_the_same_workspace() {
    let world = world();
    let prompt = "if [ -z \"$resumed\" ]; then uses 10; echo one > one.txt; kill -9 $$; fi
        echo \"$resumed\" > resumed.txt; finish";
    let document = run(&world, &task("a", "'stub'", prompt));
    let attempts = &document["tasks"][0]["attempts"];
    assert_eq!(
        (&document["state"], errors(&document["tasks"][0])[0]),
        (&"landed".into(), ("signal", "crash")),
        "{document}"
    );
    assert_eq!(attempts[0]["agent"]["session"], attempts[1]["agent"]["resumed"]);
    assert_eq!(world.show("main", "resumed.txt").trim(), attempts[0]["agent"]["session"].as_str().expect("a session"));
    assert_eq!(world.show("main", "one.txt"), "one\n");
}

#[test]
fn a_question_by_a_tool_parks_the_task_until_it_is_answered() {
    let world = world();
    let prompt = "tool ask '{\"question\":\"Which port?\",\"default\":\"80\",\"deadline\":\"1h\"}'
        printf '%s' \"$answer\" > answer.json; finish";
    let mut run = begin(&world, &task("a", "'stub'", prompt));
    run.next("task.ask");
    let target = format!("{}/a", world.only_run());
    let shown = world.treehand(&["show", &target, "--json"]).expect(0).json();
    assert_eq!(
        (&shown["tasks"][0]["state"], &shown["tasks"][0]["question"]["text"]),
        (&"waiting".into(), &"Which port?".into())
    );
    world.treehand(&["answer", &target, "8080"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    assert!(world.show("main", "answer.json").contains("8080"), "{}", world.show("main", "answer.json"));
}

#[test]
fn what_an_agent_may_use_up_ends_it_and_it_is_not_tried_again() {
    let world = world();
    let prompt = "uses 850; uses 100; uses 100; sleep 1000";
    let text = task("a", "'stub'", prompt) + "budget = { tokens = 1000 }\n";
    let document = run(&world, &text);
    assert_eq!(errors(&document["tasks"][0]), [("budget", "policy")], "{document}");
    let events = world.treehand(&["show", document["run"].as_str().expect("a run")]).expect(0).stdout;
    assert!(events.contains("tokens"), "{events}");
}

#[test]
fn three_at_once_that_use_up_the_budget_of_their_run_go_on_to_their_ends_and_nothing_new_starts() {
    let world = world();
    let prompt =
        |id: &str| format!("uses 400; tool ask '{{\"question\":\"go on?\"}}'; echo > {id}; submit done ok; finish");
    let three: String = ["a", "b", "c"].map(|id| task(id, "'stub'", &prompt(id))).concat();
    let after = task("d", "'stub'", "echo > d; finish") + "needs = [\"a\", \"b\", \"c\"]\n";
    let mut run = begin(&world, &format!("jobs = 3\nbudget = {{ tokens = 1000 }}\n{three}{after}"));
    // A place is free again while somebody asks, so that all of them have begun before the first goes on.
    for _ in ["a", "b", "c"] {
        run.next("task.ask");
    }
    for id in ["a", "b", "c"] {
        world.treehand(&["answer", &format!("{}/{id}", world.only_run()), "yes"]).expect(0);
    }
    let warned = run.rest().filter(|event| event["kind"] == "run.budget").count();
    assert_eq!((warned, run.ends()), (1, Some(1)));
    let document = world.treehand(&["show", &world.only_run(), "--json"]).json();
    let tasks = document["tasks"].as_array().expect("tasks");
    let states: Vec<&str> = tasks.iter().filter_map(|task| task["state"].as_str()).collect();
    assert_eq!(states, ["landed", "landed", "landed", "failed"], "{document}");
    assert_eq!((errors(&tasks[3]), &document["usage"]["tokens"]), (vec![("budget", "policy")], &1_200.into()));
}

#[test]
fn what_an_agent_was_lent_is_gone_afterwards_and_what_it_refreshed_came_back() {
    let mut world = world();
    world.set("STUB_KEY", "sk-very-secret-key");
    let own = world.path().join("home/.stub/auth.json");
    std::fs::create_dir_all(own.parent().expect("a parent")).expect("made");
    std::fs::write(&own, r#"{"token":"old-token-old-token"}"#).expect("written");
    let prompt = "say \"key $STUB_KEY, token $(cat $HOME/.stub/auth.json)\"; echo \"$STUB_KEY\" > key.txt
        printf '{\"token\":\"new-token-new-token\"}' > $HOME/.stub/auth.json; touch .stub-history; submit failed \"the key is $STUB_KEY\"; finish";
    let document = run(&world, &(task("a", "'stub'", prompt) + "retries = 0\n"));
    assert_eq!(errors(&document["tasks"][0])[0].0, "gave_up", "{document}");
    assert_eq!(std::fs::read_to_string(&own).expect("there"), r#"{"token":"new-token-new-token"}"#);
    let home = std::path::PathBuf::from(document["tasks"][0]["workspace"].as_str().expect("a box")).join("home");
    assert!(home.is_dir() && !home.join(".stub/auth.json").exists());
    let log =
        std::fs::read_to_string(document["tasks"][0]["attempts"][0]["log"].as_str().expect("a log")).expect("read");
    assert!(log.contains("key ") && !log.contains("very-secret") && !log.contains("old-token"), "{log}");
    let found = world.shell("grep -rl very-secret .git/treehand || true").expect(0).stdout;
    assert_eq!(found, "", "no secret is kept anywhere");
}

#[test]
fn what_an_agent_handed_in_while_nobody_supervised_it_is_not_lost() {
    let world = world();
    let prompt = "echo x > x.txt; echo begun; until [ -e \"$TREEHAND_MAIL/inbox/0001-steer.txt\" ]; do sleep 0.05; done; submit done 'made alone'; finish";
    let mut run = begin(&world, &task("a", "'stub'", prompt));
    run.next("attempt.started");
    let id = world.only_run();
    world.treehand(&["steer", &format!("{id}/a"), "go"]).expect(0);
    run.abandon(&world, &id);
    world.treehand(&["resume", &id]).expect(0);
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!(
        (&shown["state"], &shown["tasks"][0]["attempts"][0]["agent"]["submission"]["summary"]),
        (&"landed".into(), &"made alone".into()),
        "{shown}"
    );
}

#[test]
fn five_tasks_by_three_agents_land_and_none_speaks_for_another() {
    let world = world();
    let tasks: String = [("a", "stub"), ("b", "second"), ("c", "third"), ("d", "stub"), ("e", "second")]
        .map(|(id, agent)| {
            task(id, &format!("'{agent}'"), &format!("echo {id} > {id}.txt; ls -A \"$(dirname \"$endpoint\")\" | wc -l > {id}.count; submit done 'by {id}'; finish"))
        })
        .concat();
    let document = run(&world, &tasks);
    assert_eq!(document["state"], "landed", "{document}");
    for task in document["tasks"].as_array().expect("tasks") {
        let id = task["id"].as_str().expect("an id");
        assert_eq!(task["attempts"][0]["agent"]["submission"]["summary"], format!("by {id}"));
        assert_eq!(world.show("main", &format!("{id}.txt")), format!("{id}\n"));
        if support::level() == "strict" {
            assert_eq!(world.show("main", &format!("{id}.count")).trim(), "1", "{id} sees its own endpoint alone");
        }
    }
}

#[test]
fn an_agent_sees_by_tools_what_others_change_and_what_it_was_told() {
    let world = world();
    let looks =
        "echo a > both.txt; until tool conflicts '{}'; case $answer in *both.txt*) true;; *) false;; esac; do :; done
        printf '%s\n' \"$answer\" > answers.txt; rm both.txt; tool progress '{\"message\":\"half of it\"}'
        for one in fresh task_context inbox; do tool $one '{}'; printf '%s\n' \"$answer\" >> answers.txt; done
        tool nonsense '{}'; printf '%s\n' \"$answer\" >> answers.txt; finish";
    let writes = "echo b > both.txt; until [ -e \"$TREEHAND_MAIL/inbox/0001-steer.txt\" ]; do sleep 0.05; done; rm both.txt; echo b > b.txt; finish";
    let both = task("a", "'stub'", looks) + "paths = ['*.txt']\n" + &task("b", "'second'", writes);
    let mut run = begin(&world, &format!("jobs = 2\ngoal = 'all of it'\n{both}"));
    run.next("attempt.progress");
    world.treehand(&["steer", &format!("{}/b", world.only_run()), "go on"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    let answers = world.show("main", "answers.txt");
    for part in
        ["/b", "both.txt", "at work", "\"state\": \"fresh\"", "all of it", "*.txt", "\"messages\": []", "nonsense"]
    {
        assert!(answers.replace("\\n", "").replace("\\\"", "\"").contains(part), "{part}: {answers}");
    }
    let shown = world.treehand(&["show", &world.only_run(), "--json"]).expect(0).json();
    assert_eq!(shown["tasks"][0]["attempts"][0]["agent"]["progress"], "half of it");
}

#[test]
fn a_question_by_a_tool_outlives_who_supervised_it() {
    let world = world();
    let prompt = "tool ask '{\"question\":\"Which port?\"}'; printf '%s' \"$answer\" > answer.json; finish";
    let mut run = begin(&world, &task("a", "'stub'", prompt));
    run.next("task.ask");
    let id = world.only_run();
    run.abandon(&world, &id);
    world.treehand(&["resume", "--detach", &id]).expect(0);
    world.treehand(&["answer", &format!("{id}/a"), "8080"]).expect(0);
    world.treehand(&["wait", &id]).expect(0);
    assert!(world.show("main", "answer.json").contains("8080"));
}

#[test]
fn a_server_of_tools_that_is_killed_in_the_middle_of_a_call_loses_nothing_and_the_next_one_goes_on() {
    let world = world();
    let ask = "ask '{\"question\":\"Which port?\"}'";
    let submit = "submit_result '{\"status\":\"done\",\"summary\":\"made it\"}'";
    let prompt = format!(
        "begin {ask}; until [ -e \"$TREEHAND_MAIL/inbox/0001-steer.txt\" ]; do sleep 0.05; done; kill_server
        tool {ask}; printf '%s' \"$answer\" > answer.json
        begin {submit}; kill_server; tool {submit}; tool {submit}; printf '%s' \"$answer\" > submitted.json; finish"
    );
    let mut run = begin(&world, &task("a", "'stub'", &prompt));
    run.next("task.ask");
    let target = format!("{}/a", world.only_run());
    world.treehand(&["steer", &target, "your server is killed now"]).expect(0);
    run.next("task.asked_again");
    world.treehand(&["answer", &target, "8080"]).expect(0);
    assert_eq!(run.rest().filter(|event| event["kind"] == "task.ask").count(), 0, "nobody is asked twice");
    assert_eq!(run.ends(), Some(0));
    let told = (world.show("main", "answer.json"), world.show("main", "submitted.json"));
    assert!(told.0.contains("8080") && told.1.contains("stored"), "{told:?}");
    let shown = world.treehand(&["show", &target, "--json"]).expect(0).json();
    assert_eq!(shown["tasks"][0]["attempts"][0]["agent"]["submission"]["summary"], "made it", "{shown}");
}

#[test]
fn an_agent_that_hangs_with_its_helpers_is_ended_and_one_that_waits_for_a_tool_is_not() {
    let world = world();
    let profile = "extends = \"stub\"\n[limits]\nidle = \"1s\"\n";
    std::fs::write(world.path().join("home/.config/treehand/agents/patient.toml"), profile).expect("written");
    let hangs = "sleep 1000 & exec sleep 1000";
    // While a model thinks there is no tool: without a process of its own, that takes a processor here.
    let think =
        "think() { i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; }; for n in 1 2 3 4; do uses 1; think; done";
    let hangs_later = format!("sleep 1000 & {think}; exec sleep 1000");
    let waits = format!("{think}; sleep 4; echo x > waited.txt; finish");
    let tasks = [("hangs", hangs), ("later", &hangs_later), ("waits", &waits)];
    let text: String = tasks.iter().map(|(id, prompt)| task(id, "'patient'", prompt) + "retries = 0\n").collect();
    let document = run(&world, &text);
    let came_to = |n: usize| errors(&document["tasks"][n]);
    assert_eq!((came_to(0), came_to(1)), (vec![("idle", "timeout")], vec![("idle", "timeout")]), "{document}");
    assert_eq!((came_to(2), &document["tasks"][2]["state"]), (vec![("none", "none")], &"landed".into()), "{document}");
}

#[test]
fn who_tries_again_until_its_deadline_gives_way_for_what_it_was_refused_for() {
    let world = world();
    let prompt = "if [ \"$TREEHAND_ATTEMPT_NUMBER\" = 1 ]; then fault 'slow down' 429; exec sleep 1000; fi; echo x > x.txt; finish";
    let document = run(&world, &(task("a", "['stub', 'second']", prompt) + "timeout = '2s'\n"));
    assert_eq!(
        (&document["state"], errors(&document["tasks"][0])),
        (&"landed".into(), vec![("timeout", "rate_limit"), ("none", "none")]),
        "{document}"
    );
}

#[test]
fn an_agent_whose_time_is_nearly_over_is_told_of_once() {
    let world = world();
    let text = task("a", "'stub'", "exec sleep 1000") + "timeout = '2s'\nretries = 0\n";
    let mut run = begin(&world, &text);
    let warned = run.next("attempt.budget");
    assert_eq!(warned["data"]["nearly_used_up"], "time", "{warned}");
    let ended = run.next("attempt.ended");
    assert_eq!(ended["data"]["error"]["kind"], "timeout", "{ended}");
}
