//! Tests of the embedded profiles: each is one, and what it starts is what `starts/` says, situation by situation.
//! Whoever changes a profile on purpose has those files written (`written_anew`), and reads what is different.

use std::fmt::Write;
use std::path::Path;

use super::command::{self, Surroundings};
use super::profile::{Evidence, Profile};
use super::recorded_tests::written_anew;
use super::registry::Registry;
use crate::model::Network;

/// Agents that can be told which variables their shell does not get; `scripts/test-agents` has them print what it has.
const SHELLS_WITHOUT_KEYS: [&str; 6] = ["codex", "claude", "pi", "opencode", "gemini", "qwen"];

fn profiles() -> Vec<(String, Profile)> {
    let registry = Registry::new(&[]).expect("the embedded profiles");
    registry.names().into_iter().map(|name| (name.clone(), registry.get(&name).expect("a profile"))).collect()
}

fn known() -> Surroundings {
    Surroundings {
        tree: "/box/tree".into(),
        home: "/box/home".into(),
        tmp: "/box/tmp".into(),
        prompt: "-x @y \"Do it.\"\n".into(),
        endpoint: "/box/endpoint".into(),
        treehand: "/usr/bin/treehand".into(),
        task: "run/task".into(),
        confined: true,
        ..Surroundings::default()
    }
}

fn situations() -> [(&'static str, Surroundings); 3] {
    let model = || Some("a-model".to_owned());
    let address = Some("http://127.0.0.1:8000/v1".to_owned());
    let elsewhere = Surroundings { model: model(), base_url: address, effort: Some("high".into()), ..known() };
    let resumed = Surroundings { model: model(), session: Some("s-1".into()), confined: false, ..known() };
    [("confined", known()), ("another address", elsewhere), ("resumed, without a sandbox", resumed)]
}

fn shown(profile: &Profile, known: &Surroundings) -> String {
    let start = command::start(profile, known).expect("a start");
    let brings = command::brings(profile, known);
    let mut shown = String::new();
    let mut line = |what: &str, text: &str| {
        let text = text.trim_matches('\n').replace('\n', "\n    ");
        writeln!(shown, "{what} {text}").expect("a string takes everything");
    };
    start.args.iter().for_each(|arg| line("arg", &format!("{arg:?}")));
    start.env.iter().for_each(|(name, value)| line("env", &format!("{name}={value}")));
    brings.for_each(|one| line("bring", &format!("{} <- {}", one.to, one.from.join(", "))));
    start.files.iter().for_each(|(path, content)| line("file", &format!("{}\n{content}", path.display())));
    line("stdin", &format!("{:?}", start.stdin));
    shown
}

fn all(profile: &Profile) -> String {
    let one = |(name, known): (&str, Surroundings)| format!("== {name}\n{}", shown(profile, &known));
    situations().map(one).join("\n")
}

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/agent/starts/{name}.txt"))
}

#[test]
fn every_embedded_profile_starts_what_is_written_down() {
    for (name, profile) in profiles() {
        if written_anew() {
            std::fs::write(file(&name), all(&profile)).expect("a file");
        }
        let written = std::fs::read_to_string(file(&name)).unwrap_or_default();
        assert_eq!(all(&profile), written, "{name}");
    }
}

#[test]
fn every_embedded_profile_keeps_to_the_rules_of_the_house() {
    let names: Vec<String> = profiles().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["codex", "claude", "pi", "opencode", "gemini", "qwen", "aider", "mini-swe-agent"]);
    for (name, profile) in profiles() {
        let home = profile.env.set.iter().find(|(variable, _)| variable.to_string() == "HOME");
        assert_eq!(home.map(|(_, value)| value.as_str()), Some("{home}"), "{name}");
        assert!(matches!(&profile.network, Network::Hosts(hosts) if !hosts.is_empty()), "{name}");
        assert!(!profile.env.secrets.is_empty() && !profile.install.is_empty(), "{name}");
        assert!(profile.limits.idle.is_some() && profile.limits.wall.is_some(), "{name}");
        assert_ne!(profile.success.require, Evidence::None, "{name}");
        for (situation, known) in situations() {
            let start = command::start(&profile, &known).expect("a start");
            for one in command::brings(&profile, &known) {
                let place = command::place_of(&one.to, &known).expect("a place");
                assert!(
                    !start.files.iter().any(|(path, _)| *path == place),
                    "{name}, {situation}: writes over {}",
                    one.to
                );
            }
        }
    }
}

#[test]
fn the_shell_of_an_agent_has_none_of_its_keys() {
    for (name, profile) in profiles().into_iter().filter(|(name, _)| SHELLS_WITHOUT_KEYS.contains(&name.as_str())) {
        let start = command::start(&profile, &known()).expect("a start");
        let said: String = start.args.iter().chain(start.files.iter().map(|(_, content)| content)).cloned().collect();
        for secret in &profile.env.secrets {
            assert!(said.contains(secret.as_str()), "{name}: {secret}");
        }
    }
}

#[test]
fn what_is_written_for_an_agent_is_what_it_reads() {
    let [_, (_, elsewhere), _] = situations();
    for (name, profile) in profiles() {
        let start = command::start(&profile, &elsewhere).expect("a start");
        let set = start.env.iter().filter(|(_, value)| value.trim_start().starts_with('{'));
        let files = start.files.iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "json"));
        let texts = files.map(|(_, content)| content).chain(set.map(|(_, value)| value));
        for text in texts {
            serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        }
    }
    let codex = command::start(&profiles()[0].1, &elsewhere).expect("a start");
    for (at, _) in codex.args.iter().enumerate().filter(|(_, arg)| *arg == "-c") {
        assert!(codex.args[at + 1].parse::<toml::Table>().is_ok(), "{}", codex.args[at + 1]);
    }
}
#[test]
fn what_the_documentation_shows_is_a_profile() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agents.md")).expect("docs/agents.md");
    let blocks: Vec<(String, String)> = text
        .split("<!-- check: ")
        .skip(1)
        .map(|part| {
            let (name, rest) = part.split_once(" -->\n```toml\n").expect("a block");
            (name.to_owned(), rest.split("\n```").next().unwrap_or_default().to_owned())
        })
        .collect();
    assert_eq!(blocks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["small", "extended", "rules"]);
    let known = Registry::new(&blocks).expect("profiles");
    assert_eq!(known.get("extended").expect("a profile").limits.turns, Some(100));
    assert_eq!(known.get("rules").expect("a profile").output.rules.len(), 4);
}

#[test]
fn opencode_was_not_told_of_tools_that_it_gets_by_a_variable() {
    let registry = Registry::new(&[]).expect("profiles");
    let names = registry.names();
    let without: Vec<&String> =
        names.iter().filter(|name| !registry.get(name).expect("a profile").has_tools()).collect();
    assert_eq!(without, ["aider", "mini-swe-agent"]);
}
