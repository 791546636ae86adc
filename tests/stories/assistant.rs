//! Stories of a person's own assistant, which is given treehand as tools over MCP.

use crate::support;

use serde_json::{Value, json};
use support::World;
use support::mcp::Client;
use treehand::sys::proc;

fn begun(world: &World, capabilities: Value) -> Client {
    Client::begun(world.command(&["mcp", "--set", &format!("confine.level={}", support::level())]), capabilities)
}

fn id(run: &Value) -> String {
    run["run"].as_str().expect("a run").to_owned()
}

/// Answers the question whether something may land; the question.
fn consent(client: &mut Client, action: &str) -> String {
    let asked = client.next(|message| message["method"] == "elicitation/create");
    client.line(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action, "content": {}}}).to_string());
    asked["params"]["message"].as_str().expect("a question").to_owned()
}

#[test]
fn an_assistant_starts_a_run_waits_for_it_and_looks_at_what_came_of_it() {
    let world = World::new();
    let mut client = begun(&world, json!({}));
    let run = client.answer("run", json!({"command": ["sh", "-c", "echo made > made.txt"], "name": "maker"}));
    assert_eq!(run["schema"], "treehand/run/v1");
    let id = id(&run);
    let over = client.answer("wait", json!({"run": id, "timeout": "10m"}));
    assert_eq!(over["runs"][0]["state"], "landed", "{over}");
    assert_eq!(world.show("main", "made.txt"), "made\n");
    assert_eq!(client.answer("show", json!({"name": format!("{id}/maker")}))["tasks"][0]["state"], "landed");
    let all = client.answer("list", json!({}));
    assert_eq!(all["runs"][0]["run"], id.as_str());
    assert!(all["workspaces"].is_array(), "{all}");
    assert_eq!(client.answer("conflicts", json!({"into": "main"}))["into"], "main");
    assert_eq!(client.answer("clean_plan", json!({}))["applied"], false);
    let refused = client.refusal("answer", json!({"task": format!("{id}/maker"), "text": "-x"}));
    assert!(refused.contains("asks nothing"), "{refused}");
    let unknown = client.refusal("show", json!({"name": "--help"}));
    assert!(unknown.contains("there is no run") && unknown.contains("hint: "), "{unknown}");
    assert!(client.refusal("run", json!({})).contains("exactly one of"));
    assert_eq!(client.end().0, Some(0));
}

#[test]
fn a_tasks_file_can_be_given_as_text_and_what_is_wrong_with_it_is_said() {
    let world = World::new();
    let mut client = begun(&world, json!({}));
    let tasks = "merge = \"manual\"\n[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", \"echo a > a.new\"]\n";
    let id = id(&client.answer("run", json!({"tasks": tasks})));
    assert_eq!(client.answer("wait", json!({"run": id, "timeout": "10m"}))["runs"][0]["state"], "done");
    let wrong = client.refusal("run", json!({"tasks": "[[task]]\nid = 1\n"}));
    assert!(wrong.contains("standard input"), "{wrong}");
}

#[test]
fn nothing_lands_without_the_word_of_the_person() {
    let world = World::new();
    world.treehand(&["new", "mine"]).expect(0);
    world.commit_in("mine", "made.txt", "made\n");
    let before = world.git(&["rev-parse", "main"]);
    let mut client = begun(&world, json!({}));
    let plan = client.answer("merge", json!({"name": "mine", "dry_run": true}));
    assert_eq!((&plan["dry_run"], &plan["target"]), (&json!(true), &json!("main")), "{plan}");
    let refused = client.refusal("merge", json!({"name": "mine", "into": "main"}));
    assert!(refused.contains("cannot ask") && refused.contains("treehand merge --into main mine"), "{refused}");
    assert!(
        client.refusal("merge", json!({"name": "nobody"})).contains("nobody"),
        "who is not there is not asked about"
    );
    client.end();
    let mut client = begun(&world, json!({"elicitation": {}}));
    for no in ["decline", "cancel"] {
        let merge = client.call("merge", json!({"name": "mine"}));
        let question = consent(&mut client, no);
        assert!(question.contains("Land mine on main?"), "{question}");
        let (result, is_error) = client.result(merge);
        assert!(is_error && result.to_string().contains("did not consent"), "{result}");
    }
    assert_eq!(world.git(&["rev-parse", "main"]), before);
    let merge = client.call("merge", json!({"name": "mine"}));
    consent(&mut client, "accept");
    let (result, is_error) = client.result(merge);
    assert!(!is_error, "{result}");
    assert_eq!(result["structuredContent"]["landed"][0]["task"], "mine", "{result}");
    assert_eq!(world.show("main", "made.txt"), "made\n");
}

#[test]
fn tasks_that_an_assistant_wrote_get_network_and_secrets_only_with_the_word_of_the_person() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"a\"\ncommand = [\"true\"]\nnet = \"full\"\nsecrets = [\"TOKEN\"]\n";
    let mut client = begun(&world, json!({}));
    let refused = client.refusal("run", json!({"tasks": tasks}));
    assert!(refused.contains("task `a` gets the whole network and your TOKEN"), "{refused}");
    client.end();
    let mut client = begun(&world, json!({"elicitation": {"form": {}}}));
    let run = client.call("run", json!({"tasks": tasks}));
    assert!(consent(&mut client, "decline").contains("the whole network"));
    assert!(client.result(run).1);
    assert_eq!(client.answer("list", json!({}))["runs"], json!([]));
    let run = client.call("run", json!({"tasks": tasks}));
    consent(&mut client, "accept");
    let (result, is_error) = client.result(run);
    assert!(is_error && result["structuredContent"]["kind"] == "secret", "it is not set: {result}");
}

#[test]
fn a_call_that_is_cancelled_ends_its_process_and_leaves_the_run_alone() {
    let world = World::new();
    let mut client = begun(&world, json!({}));
    let id = id(&client.answer("run", json!({"command": ["sleep", "600"], "name": "sleeper"})));
    let wait = client.call("wait", json!({"run": id, "timeout": "10m"}));
    let children = format!("/proc/{0}/task/{0}/children", client.pid());
    let child = loop {
        // Each round is a question and its answer.
        let ping = client.request("ping", json!({}));
        client.reply(ping);
        let listed = std::fs::read_to_string(&children).expect("children are listed");
        if let Some(child) = listed.split_whitespace().next() {
            break proc::identify(child.parse().expect("a pid"));
        }
    };
    client.notify("notifications/cancelled", json!({"requestId": wait}));
    if let Some(child) = child {
        assert!(proc::wait_gone(&child, std::time::Duration::from_secs(60)).expect("looked"), "it still waits");
    }
    assert_ne!(client.answer("show", json!({"name": id}))["state"], "cancelled");
    assert_eq!(client.end(), (Some(0), Vec::new()));
    world.treehand(&["cancel", &id]);
    world.treehand(&["wait", &id]);
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_call_leaves_the_run_and_the_question_to_the_next_one() {
    let world = World::new();
    let mut client = begun(&world, json!({}));
    let asks = r#"echo '{"question":"go on?"}' > "$TREEHAND_MAIL/.q"; mv "$TREEHAND_MAIL/.q" "$TREEHAND_MAIL/question.json"
        until [ -e "$TREEHAND_MAIL/inbox/0001-answer.txt" ]; do sleep 0.05; done; echo made > made.txt"#;
    let id = id(&client.answer("run", json!({"command": ["sh", "-c", asks], "name": "asker"})));
    client.call("wait", json!({"run": id, "timeout": "1m"}));
    // It is heard in the order in which it came.
    let ping = client.request("ping", json!({}));
    client.reply(ping);
    support::signal("KILL", &client.pid().to_string());
    assert_eq!(client.ends(), None);
    let mut next = begun(&world, json!({}));
    let target = format!("{id}/asker");
    while next.answer("show", json!({"name": target}))["tasks"][0]["state"] != "waiting" {}
    next.answer("answer", json!({"task": target, "text": "yes"}));
    let over = next.answer("wait", json!({"run": id, "timeout": "10m"}));
    assert_eq!(over["runs"][0]["state"], "landed", "{over}");
    assert_eq!((next.end().0, world.show("main", "made.txt")), (Some(0), "made\n".to_owned()));
}

#[test]
fn where_there_is_no_repository_it_says_so_at_once() {
    let world = World::bare_of_repositories();
    let answer = world.treehand_at(world.path(), &["mcp"]).expect(3);
    assert!(answer.stdout.is_empty() && answer.stderr.contains("hint:"), "{}", answer.stderr);
}
