//! Stories of an agent at work on a task, which is given tools over MCP: each call goes to the endpoint of its attempt.

use crate::support;

use std::process::Command;

use serde_json::{Value, json};
use support::World;
use support::mcp::{Caller, Client, Endpoint};
use treehand::sys::proc;

/// The server, where there is no repository.
fn task(world: &World, more: &[&str]) -> Command {
    let mut command = world.command(&[&["mcp", "--task"], more].concat());
    command.current_dir(world.path());
    command
}

fn begun() -> (World, Endpoint, Client) {
    let world = World::bare_of_repositories();
    let endpoint = Endpoint::listen(&world.path().join("endpoint"));
    let client = Client::begun(task(&world, &["--endpoint", "endpoint"]), json!({}));
    (world, endpoint, client)
}

#[test]
fn clients_of_each_revision_are_answered_in_it_and_a_newer_one_is_told_to_begin() {
    let world = World::bare_of_repositories();
    let names = ["submit_result", "ask", "progress", "inbox", "conflicts", "fresh", "task_context"];
    for (asked, spoken) in [
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2024-11-05"),
        ("2031-01-01", "2025-11-25"),
    ] {
        let mut client = Client::start(task(&world, &["--endpoint", "nobody"]));
        let key = |name: &str| format!("io.modelcontextprotocol/{name}");
        let meta = json!({key("protocolVersion"): "2026-07-28", key("clientInfo"): {"name": "c", "version": "1"}, key("clientCapabilities"): {}});
        for params in [json!({"_meta": meta}), json!({})] {
            let id = client.request("server/discover", params);
            assert_eq!(client.reply(id)["error"]["code"], -32601, "it falls back to initialize");
        }
        let begun = client.initialize(asked, json!({}));
        assert_eq!(begun["protocolVersion"], spoken);
        assert_eq!(begun["serverInfo"]["name"], "treehand");
        assert!(begun["instructions"].as_str().is_some_and(|text| text.contains("submit_result")), "{begun}");
        let id = client.request("tools/list", json!({}));
        let tools = client.reply(id)["result"]["tools"].clone();
        let offered: Vec<&str> =
            tools.as_array().expect("tools").iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(offered, names);
        assert_eq!(tools[0]["inputSchema"]["additionalProperties"], false);
        assert_eq!(tools[0]["inputSchema"]["required"], json!(["status", "summary"]));
        let id = client.request("server/discover", json!({}));
        assert_eq!(client.reply(id)["error"]["code"], -32601);
        assert_eq!(client.end().0, Some(0));
    }
}

#[test]
fn each_tool_hands_its_arguments_on_and_gives_what_the_endpoint_says() {
    let (_world, endpoint, mut client) = begun();
    let calls = [
        ("submit_result", json!({"status": "done", "summary": "made it"})),
        ("ask", json!({"question": "Which port?", "default": "80", "deadline": "30m"})),
        ("progress", json!({"message": "half"})),
        ("inbox", json!({"after": 3})),
        ("conflicts", json!({})),
        ("fresh", json!({})),
        ("task_context", json!({})),
    ];
    let mut caller: Option<Caller> = None;
    for (number, (tool, args)) in (1..).zip(&calls) {
        let id = client.call(tool, args.clone());
        let caller = caller.get_or_insert_with(|| endpoint.accept());
        let request = caller.request();
        assert_eq!(request, json!({"id": number, "tool": tool, "args": args}));
        caller.answer(&request, json!({"of": tool}));
        let (result, is_error) = client.result(id);
        assert!(!is_error, "{result}");
        assert_eq!(result["structuredContent"], json!({"of": tool}));
        assert_eq!(result["content"][0]["text"], format!("{{\n  \"of\": \"{tool}\"\n}}"));
    }
    let mut caller = caller.expect("connected");
    let id = client.call("fresh", json!({}));
    let request = caller.request();
    caller.say(&json!({"id": request["id"], "error": "the task has ended"}));
    let (result, is_error) = client.result(id);
    assert!(is_error && result["content"][0]["text"] == "the task has ended", "{result}");
}

#[test]
fn what_is_wrong_is_said_and_never_handed_on() {
    let (_world, endpoint, mut client) = begun();
    let long = "x".repeat(20_001);
    for (tool, args, said) in [
        ("submit_result", json!({"status": "fine", "summary": "x"}), "one of done, nothing_to_do, failed"),
        ("submit_result", json!({"status": "done"}), "`summary` is missing"),
        ("submit_result", json!({"status": "done", "summary": long}), "20001 characters"),
        ("progress", json!({"message": "x", "percent": 3}), "no argument `percent`"),
        ("ask", json!({"question": "?", "deadline": "soon"}), "like 90s"),
        ("inbox", json!({"after": "1"}), "whole number"),
        ("fresh", json!({"x": 1}), "it takes no arguments"),
    ] {
        let refusal = client.refusal(tool, args);
        assert!(refusal.contains(said), "{refusal}");
    }
    let id = client.call("rm", json!({}));
    assert_eq!(client.reply(id)["error"]["code"], -32602);
    let id = client.call("progress", json!({"message": "right", "extra": null}));
    assert!(client.result(id).1, "an unknown argument is refused although it is null");
    client.call("progress", json!({"message": "right"}));
    assert_eq!(endpoint.accept().request()["id"], 1, "it is the first that was handed on");
}

#[test]
fn calls_at_once_are_answered_in_any_order() {
    let (_world, endpoint, mut client) = begun();
    let (first, second) = (client.call("ask", json!({"question": "?"})), client.call("fresh", json!({})));
    let mut caller = endpoint.accept();
    let requests = [caller.request(), caller.request()];
    let of = |tool: &str| requests.iter().find(|request| request["tool"] == tool).expect("handed on");
    caller.say(&json!("noise"));
    caller.say(&json!({"id": 99, "ok": {}}));
    caller.answer(of("fresh"), json!({"late": false}));
    assert_eq!(client.result(second).0["structuredContent"], json!({"late": false}));
    caller.answer(of("ask"), json!({"answer": "yes"}));
    assert_eq!(client.result(first).0["structuredContent"], json!({"answer": "yes"}));
}

#[test]
fn a_line_that_breaks_is_made_again_and_what_has_no_reply_is_sent_again() {
    let (_world, endpoint, mut client) = begun();
    let asked = client.call("ask", json!({"question": "?"}));
    let mut caller = endpoint.accept();
    let request = caller.request();
    drop(caller);
    let mut caller = endpoint.accept();
    assert_eq!(caller.request(), request);
    let fresh = client.call("fresh", json!({}));
    let second = caller.request();
    caller.answer(&second, json!({}));
    client.result(fresh);
    caller.answer(&request, json!({"answer": "no"}));
    assert_eq!(client.result(asked).0["structuredContent"], json!({"answer": "no"}));
    drop(caller);
    client.call("inbox", json!({}));
    assert_eq!(endpoint.accept().request()["tool"], "inbox", "what was answered is not sent again");
}

#[test]
fn noise_is_passed_over() {
    let world = World::bare_of_repositories();
    let endpoint = Endpoint::listen(&world.path().join("endpoint"));
    let mut client = Client::start(task(&world, &["--endpoint", "endpoint"]));
    client.notify("notifications/of/tomorrow", json!({}));
    client.line("no JSON");
    client.initialize("2025-06-18", json!({}));
    for line in ["", "}{", "\u{1b}[31m", "[[[["] {
        client.line(line);
    }
    client.notify("notifications/of/tomorrow", json!({"x": 1}));
    client.notify("notifications/cancelled", json!({"requestId": 77}));
    let id = client.request("resources/list", json!({}));
    assert_eq!(client.reply(id)["error"]["code"], -32601);
    let id = client.request("of/tomorrow", json!({}));
    assert_eq!(client.reply(id)["error"]["code"], -32601);
    let id = client.call("fresh", json!({}));
    let mut caller = endpoint.accept();
    let request = caller.request();
    caller.answer(&request, json!({}));
    assert!(!client.result(id).1);
}

#[test]
fn the_end_of_input_ends_it_although_a_call_waits_and_what_was_asked_for_is_sent() {
    let (_world, endpoint, mut client) = begun();
    client.call("ask", json!({"question": "?"}));
    let mut caller = endpoint.accept();
    assert_eq!(caller.request()["tool"], "ask");
    client.call("submit_result", json!({"status": "done", "summary": "at the last moment"}));
    assert_eq!(client.end().0, Some(0));
    assert_eq!(caller.request()["args"]["summary"], "at the last moment");
    assert!(caller.is_over());
}

#[test]
fn a_call_that_is_cancelled_is_no_longer_waited_for_and_nothing_else_is() {
    let (_world, endpoint, mut client) = begun();
    let asked = client.call("ask", json!({"question": "?"}));
    let mut caller = endpoint.accept();
    let request = caller.request();
    client.notify("notifications/cancelled", json!({"requestId": asked, "reason": "the user said so"}));
    let fresh = client.call("fresh", json!({}));
    let second = caller.request();
    caller.answer(&request, json!({"answer": "too late"}));
    caller.answer(&second, json!({}));
    client.result(fresh);
    let (code, rest) = client.end();
    assert_eq!((code, rest), (Some(0), Vec::<Value>::new()), "there is no reply to what was cancelled");
    assert!(caller.is_over());
}

#[test]
fn the_endpoint_is_found_by_its_variable_or_in_the_home_however_long_the_path() {
    let world = World::bare_of_repositories();
    let home = world.path().join("h".repeat(120));
    for (variable, path) in [("TREEHAND_ENDPOINT", home.join("socket")), ("HOME", home.join(".treehand/endpoint"))] {
        let endpoint = Endpoint::listen(&path);
        let value = if variable == "HOME" { &home } else { &path };
        let mut command = task(&world, &[]);
        command.env(variable, value);
        let mut client = Client::begun(command, json!({}));
        client.call("fresh", json!({}));
        assert_eq!(endpoint.accept().request()["tool"], "fresh", "{variable}");
    }
    let world = World::new();
    world.treehand(&["mcp", "--endpoint", "x"]).expect(2);
}

#[test]
fn a_signal_ends_it_although_a_call_waits() {
    let (_world, endpoint, mut client) = begun();
    client.call("ask", json!({"question": "?"}));
    let mut caller = endpoint.accept();
    caller.request();
    let server = proc::identify(client.pid()).expect("it lives");
    assert_eq!(proc::terminate(&server).expect("signalled"), proc::Signalled::Sent);
    assert_eq!(client.ends(), Some(143));
    assert!(caller.is_over());
}
