//! Stories of `agents` and `agents check`: what is installed and what is missing, and an agent that is tried out, played by a script.
#![expect(
    clippy::disallowed_methods,
    reason = "stories give commands variables of their own, as a person's shell does"
)]

use crate::support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Answer, World, answer, level, stub};

/// A stand-in for an agent that does what its variables say, and else hands in by its tools that there was nothing to do.
const STUB: &str = r#"
say '{"type":"session","id":"s-1"}'
[ -z "$STUB_FAULT" ] || { fault "$STUB_FAULT"; exit 1; }
[ -z "$STUB_WRITES" ] || echo x > made.txt
[ -n "$STUB_SILENT" ] || submit nothing_to_do ok
finish
"#;

const PROFILE: &str = r#"schema = 1
summary = "a stand-in"
program = "stub-agent"
version = ["--version"]
install = "make stub-agent"
args = ["{endpoint}", "{treehand}", ["{session}"]]
prompt = { delivery = "stdin" }
network = ["stub.example:443"]
[env]
set = { HOME = "{home}" }
pass = ["STUB_FAULT", "STUB_WRITES", "STUB_SILENT"]
secrets = ["STUB_KEY"]
[[bring]]
from = ["~/.stub/auth.json"]
to = "{home}/.stub/auth.json"
login = true
[output]
format = "jsonl"
[[output.rule]]
event = "session"
when = { "/type" = "session" }
get = ["/id"]
[[output.rule]]
event = "end"
when = { "/type" = "end" }
[[output.rule]]
event = "error"
when = { "/type" = "error" }
get = ["/message"]
[classify]
auth = ["401"]
[success]
end = true
"#;

fn own(world: &World, name: &str) -> PathBuf {
    world.path().join(format!("home/.config/treehand/agents/{name}.toml"))
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    std::fs::write(path, text).expect("written");
}

/// A world with the stand-in on PATH, and a profile of it of the user's own.
fn world() -> World {
    let world = World::new();
    let program = world.path().join("bin/stub-agent");
    stub::write(&program, STUB);
    write(&own(&world, "stub"), PROFILE);
    write(&own(&world, "absent"), "extends = \"stub\"\nprogram = \"no-such-agent\"\n");
    world
}

/// treehand with the stand-in on PATH and these variables.
fn with(world: &World, directory: &Path, variables: &[(&str, &str)], args: &[&str]) -> Answer {
    let confined = format!("confine.level={}", level());
    let args: Vec<&str> = ["--set", &confined].into_iter().chain(args.iter().copied()).collect();
    let mut command = world.command(&args);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", world.path().join("bin").display()));
    command.envs(variables.iter().copied()).current_dir(directory);
    answer(command)
}

fn at(world: &World, args: &[&str]) -> Answer {
    with(world, &world.repo(), &[], args)
}

fn agent<'a>(document: &'a Value, name: &str) -> &'a Value {
    let agents = document["agents"].as_array().expect("agents");
    agents.iter().find(|agent| agent["name"] == name).unwrap_or_else(|| panic!("no {name} in {document}"))
}

fn steps(document: &Value) -> Vec<(&str, Option<bool>)> {
    let steps = document["steps"].as_array().expect("steps");
    steps.iter().map(|step| (step["step"].as_str().expect("a name"), step["ok"].as_bool())).collect()
}

#[test]
fn the_list_says_what_is_installed_who_can_log_in_and_what_each_needs() {
    let world = world();
    write(
        &world.path().join("home/.config/treehand/config.toml"),
        "[agent.stub]\nmodel = \"big\"\nbase_url = \"http://127.0.0.1:8080/v1\"\n",
    );
    let list =
        |variables: &[(&str, &str)]| with(&world, world.path(), variables, &["agents", "--json"]).expect(0).json();
    let listed = list(&[]);
    assert_eq!(listed["schema"], "treehand/agents/v1");
    let stub = agent(&listed, "stub");
    assert_eq!((&stub["installed"], &stub["own"]), (&true.into(), &true.into()));
    assert_eq!((&stub["version"], &stub["model"]), (&"stub 1.0".into(), &"big".into()));
    assert_eq!((&stub["tools"], &stub["resumes"]), (&true.into(), &true.into()));
    assert_eq!(stub["needs"]["network"], serde_json::json!(["stub.example:443", "127.0.0.1:8080"]));
    assert_eq!(stub["login"], serde_json::json!({"found": false, "by": []}));
    let absent = agent(&listed, "absent");
    assert_eq!((&absent["installed"], &absent["install"]), (&false.into(), &"make stub-agent".into()));
    assert_eq!(agent(&listed, "codex")["own"], false, "the embedded ones are there, too");

    write(&world.path().join("home/.stub/auth.json"), "{}");
    let by = &list(&[("STUB_KEY", "k")]);
    assert_eq!(agent(by, "stub")["login"]["by"], serde_json::json!(["$STUB_KEY", "~/.stub/auth.json"]));

    let table = at(&world, &["agents"]).expect(0).stdout;
    let column = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(column("NAME"), ["NAME", "VERSION", "LOGIN", "ABOUT"]);
    assert_eq!(column("absent")[..3], ["absent", "not installed", "~/.stub/auth.json"]);
    assert!(column("stub")[3].contains("model big"), "{table}");
}

#[test]
fn an_own_profile_that_is_broken_is_named_with_its_file_and_the_reason() {
    let world = world();
    write(&own(&world, "stub"), &PROFILE.replace("{treehand}", "{threehand}"));
    let file = own(&world, "stub").to_string_lossy().into_owned();
    for args in [&["agents"][..], &["agents", "check", "stub"]] {
        let error = at(&world, args).expect(2).stderr;
        assert!(error.contains(&file) && error.contains("{threehand}"), "{error}");
    }
    assert!(at(&world, &["doctor"]).expect(2).stdout.contains(&file));
}

#[test]
fn a_check_goes_the_whole_way_and_leaves_nothing_but_its_record() {
    let world = world();
    let before = world.git(&["rev-parse", "HEAD"]);
    let checked = at(&world, &["agents", "check", "stub", "--model", "m", "--json"]).expect(0).json();
    assert_eq!((&checked["schema"], &checked["ok"]), (&"treehand/agents-check/v1".into(), &true.into()));
    let names = ["found", "version", "login", "started", "answered", "tools", "ended"];
    let well = names.map(|name| (name, (name != "login").then_some(true)));
    assert_eq!(steps(&checked), well, "{checked}");
    assert_eq!((&checked["session"], &checked["model"]), (&"s-1".into(), &"m".into()));
    assert_eq!(checked["run"], world.only_run());
    let shown = world.treehand(&["show", &world.only_run(), "--json"]).json();
    assert_eq!(checked["usage"], shown["usage"], "in the same words");
    assert!(checked["usage"]["cost_usd"].is_null() && checked["usage"]["tokens"] == 0, "{checked}");
    let own = at(&world, &["agents", "check", "stub", "--set", "agent.stub.model=mine", "--json"]).expect(0).json();
    assert_eq!(own["model"], "mine", "the model that it had, whoever named it");
    assert_eq!(world.git(&["rev-parse", "HEAD"]), before);
    world.assert_nothing_left();
}

#[test]
fn an_agent_that_does_not_get_in_is_a_failure_with_a_remedy_and_no_other_agent_takes_its_place() {
    let world = world();
    write(&own(&world, "other"), "extends = \"stub\"\n");
    write(&world.path().join("home/.config/treehand/config.toml"), "[agent.stub]\nfallback = [\"other\"]\n");
    let variables = [("STUB_FAULT", "got 401 unauthorized")];
    let check = |args: &[&str]| with(&world, &world.repo(), &variables, args).expect(1);
    let checked = check(&["agents", "check", "stub", "--json"]).json();
    let error = &checked["error"];
    assert_eq!((&error["kind"], &error["class"]), (&"auth".into(), &"auth".into()), "{checked}");
    assert_eq!(error["message"], "stub ended with an error: got 401 unauthorized");
    assert_eq!(error["hint"], "log in with `stub-agent`, or set STUB_KEY");
    let ends = [("answered", Some(false)), ("tools", None), ("ended", Some(false))];
    assert_eq!(steps(&checked)[4..], ends);
    let run = world.treehand(&["show", &world.only_run(), "--json"]).expect(0).json();
    assert_eq!(run["tasks"][0]["attempts"].as_array().map(Vec::len), Some(1), "it is tried once: {run}");
    world.assert_nothing_left();

    let told = check(&["agents", "check", "stub"]);
    assert!(told.stdout.contains("bad answered: session s-1"), "{}", told.stdout);
    assert!(told.stderr.contains("hint: log in with `stub-agent`"), "{}", told.stderr);
}

#[test]
fn an_agent_that_meddles_or_does_not_reach_its_tools_is_a_failure_and_leaves_nothing() {
    let world = world();
    let check = |variable: &str| {
        with(&world, &world.repo(), &[(variable, "1")], &["agents", "check", "stub", "--json"]).expect(1).json()
    };
    let meddled = check("STUB_WRITES");
    assert_eq!(meddled["error"]["kind"], "policy", "{meddled}");
    assert!(meddled["error"]["message"].as_str().expect("a message").contains("made.txt"));
    world.assert_nothing_left();
    let task = format!("{}/check", meddled["run"].as_str().expect("a run"));
    assert!(world.treehand(&["diff", &task]).expect(0).stdout.contains("made.txt"), "what it did can be looked at");

    let silent = check("STUB_SILENT");
    assert_eq!(silent["error"]["kind"], "no_result", "{silent}");
    assert_eq!(steps(&silent)[4..], [("answered", Some(true)), ("tools", Some(false)), ("ended", Some(false))]);
    world.assert_nothing_left();
}

#[test]
fn an_agent_that_is_not_there_is_not_run_and_one_that_nobody_knows_is_guessed() {
    let world = world();
    let checked = at(&world, &["agents", "check", "absent", "--json"]).expect(1).json();
    assert_eq!((&checked["error"]["kind"], &checked["run"]), (&"no_agent".into(), &Value::Null), "{checked}");
    assert_eq!(checked["error"]["hint"], "make stub-agent");
    let unknown = at(&world, &["agents", "check", "stbu", "--json"]).expect(2).json();
    assert_eq!((&unknown["kind"], &unknown["hint"]), (&"usage".into(), &"did you mean `stub`?".into()));
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(0), "{runs}");
}

#[test]
fn a_check_needs_no_branch_to_stand_on_and_makes_none() {
    let world = world();
    world.git(&["checkout", "-q", "--detach"]);
    at(&world, &["agents", "check", "stub"]).expect(0);
    assert_eq!(world.git(&["for-each-ref", "--format=%(refname)", "refs/heads"]), "refs/heads/main");
    world.assert_nothing_left();
}

#[test]
fn doctor_and_the_key_know_which_agents_there_are() {
    let world = world();
    let doctor = at(&world, &["doctor", "--json"]).expect(0).json();
    let check = doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "agents");
    let check = check.expect("agents are looked at");
    assert_eq!(check["ok"], true);
    let found: Vec<&str> = check["detail"].as_str().expect("names").split(", ").collect();
    assert!(found.contains(&"stub") && !found.contains(&"absent"), "{found:?}");
    for before in [&["agents", "check"][..], &["run", "--agent"]] {
        let args = [&["__complete", "fish", "--", "st"][..], before].concat();
        let offered = world.treehand(&args).expect(0).stdout;
        assert_eq!(offered, "words\nstub\ta stand-in\n");
    }
}
