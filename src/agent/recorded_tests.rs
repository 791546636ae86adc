//! Tests of what is read of real agents: their output against a scripted model server, recorded, is held against what happened.
//! `recordings/` has the streams, `recordings/expected.txt` a line for each; whoever records anew has it written: see `written_anew`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::registry::Registry;
use super::render;
use super::verdict::classify;
use crate::model::FailureClass;
use crate::model::agent::{AgentFault, AgentReport};

/// True where somebody wants what is expected written as it is now (`TREEHAND_WRITE_EXPECTED=yes`), to read what is different.
#[expect(clippy::disallowed_methods, reason = "it is the tests' own variable")]
pub fn written_anew() -> bool {
    std::env::var_os("TREEHAND_WRITE_EXPECTED").is_some()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/recordings")
}

/// Agent, case and bytes of every recording.
pub fn recordings() -> Vec<(String, String, Vec<u8>)> {
    let names = Registry::new(&[]).expect("profiles").names();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("recordings") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let Some(agent) = names.iter().find(|name| stem.starts_with(&format!("{name}-"))) else { continue };
        found.push((agent.clone(), stem[agent.len() + 1..].to_owned(), std::fs::read(&path).expect("a recording")));
    }
    found.sort();
    found
}

/// What an agent said in a recording, and what of it is kept.
pub fn read(agent: &str, bytes: &[u8]) -> (AgentReport, Vec<u8>) {
    let profile = Registry::new(&[]).expect("profiles").get(agent).expect("a profile");
    let mut digest = Digest::new(profile.output);
    let mut kept = Vec::new();
    digest.feed(bytes, &mut |part| kept.extend_from_slice(part));
    digest.finish(&mut |part| kept.extend_from_slice(part));
    (digest.report().clone(), kept)
}

fn shown(agent: &str, case: &str, report: &AgentReport) -> String {
    let AgentReport { turns, tools, tool_failures, retries, usage, .. } = report;
    let mut line = format!("{agent} {case}: turns {turns}, tools {tools} ({tool_failures} failed), retries {retries}");
    let mut add = |text: String| line.write_str(&text).expect("a string takes everything");
    add(format!(", tokens {}+{} ({} cached)", usage.input, usage.output, usage.cached));
    add(report.last_tool.iter().map(|tool| format!(", last {tool}")).collect());
    add(report.denied.iter().map(|what| format!(", denied {what}")).collect());
    add(if report.ended { ", ended".into() } else { String::new() });
    if let Some(fault) = &report.fault {
        add(format!(", fault {} {:?}", fault.status.map_or("-".into(), |status| status.to_string()), fault.message));
    }
    add(report.text.iter().map(|text| format!(", text {text:?}")).collect());
    line + "\n"
}

fn all() -> String {
    recordings().iter().map(|(agent, case, bytes)| shown(agent, case, &read(agent, bytes).0)).collect()
}

#[test]
fn every_recording_says_what_happened() {
    if written_anew() {
        std::fs::write(folder().join("expected.txt"), all()).expect("a file");
    }
    let expected = std::fs::read_to_string(folder().join("expected.txt")).expect("what is expected");
    let found = all();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// What a line of `expected.txt` cannot say wrongly: it follows from the case alone.
#[test]
fn the_same_case_comes_to_the_same_with_every_agent() {
    let with_lines = ["codex", "claude", "pi", "opencode", "gemini", "qwen"];
    let mut sessions = BTreeMap::new();
    for (agent, case, bytes) in recordings().into_iter().filter(|(agent, ..)| with_lines.contains(&agent.as_str())) {
        let (report, kept) = read(&agent, &bytes);
        let what = format!("{agent} {case}");
        assert_eq!(String::from_utf8_lossy(&kept), String::from_utf8_lossy(&bytes), "{what}");
        assert_eq!(report.malformed, 0, "{what}");
        let status = report.fault.as_ref().and_then(|fault| fault.status);
        match case.as_str() {
            "ok" => assert_eq!((report.turns, report.tools, report.tool_failures), (3, 2, 0), "{what}"),
            "mcp" => {
                assert!(report.last_tool.as_ref().is_some_and(|tool| tool.ends_with("submit_result")), "{what}");
                assert_eq!((report.turns, report.tools), (4, 3), "{what}");
            }
            "401" | "400" => {
                assert!(report.fault.is_some() && status.is_none_or(|it| it.to_string() == case), "{what}")
            }
            // One that only tries again, and tells nobody, at least does not say that it is done.
            "429" | "500" => assert!(report.fault.is_some() || !report.ended, "{what}"),
            "429-twice" => assert_eq!(report.text.as_deref(), Some("DONE after 429."), "{what}"),
            "failed-tool" => assert_eq!((report.turns, report.tools), (2, 1), "{what}"),
            "resume" => assert_eq!(report.text.as_deref(), Some("DONE: nothing to do."), "{what}"),
            _ => {}
        }
        if ["ok", "mcp", "429-twice", "failed-tool", "resume"].contains(&case.as_str()) {
            assert!(report.fault.is_none() && report.ended, "{what}");
            assert!(report.usage.cached > 0 && report.usage.output % 50 == 0, "{what}");
            assert_eq!(report.turns_without_tool, 1, "{what}");
        }
        sessions.insert(what, report.session.expect("a conversation"));
    }
    for agent in with_lines {
        assert_eq!(sessions[&format!("{agent} ok")], sessions[&format!("{agent} resume")], "{agent}");
    }
}

#[test]
fn what_an_error_means_follows_from_its_case() {
    for (agent, case, bytes) in recordings() {
        let profile = Registry::new(&[]).expect("profiles").get(&agent).expect("a profile");
        let Some(fault) = read(&agent, &bytes).0.fault else { continue };
        let expected = match case.as_str() {
            "401" => FailureClass::Auth,
            "429" => FailureClass::RateLimit,
            "400" => FailureClass::Policy,
            "500" | "cut" => FailureClass::Transient,
            _ => panic!("{agent} {case}: {fault:?}"),
        };
        assert_eq!(classify(&profile.classify, &fault), expected, "{agent} {case}: {fault:?}");
    }
}

/// Said where a whole answer was asked for as well, which no recording has.
#[test]
fn a_lost_connection_of_claude_is_no_failure_of_the_task() {
    let profile = Registry::new(&[]).expect("profiles").get("claude").expect("a profile");
    let message = "API Error: Connection to the API was lost (ECONNRESET). This is usually temporary — try again.";
    let fault = AgentFault { message: message.into(), status: None };
    assert_eq!(classify(&profile.classify, &fault), FailureClass::Transient);
}

#[test]
fn a_person_reads_what_an_agent_did() {
    for (agent, case, bytes) in recordings().into_iter().filter(|(_, case, _)| case == "ok") {
        let output = Registry::new(&[]).expect("profiles").get(&agent).expect("a profile").output;
        let lines: Vec<String> =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| render::line(&output, line)).collect();
        assert!(!lines.is_empty(), "{agent} {case}");
        if output.format == super::output::Format::Jsonl {
            assert_eq!(lines.len(), 3, "{agent}: {lines:#?}");
            assert!(lines[1].starts_with("> ") && lines[1].contains("git add -A"), "{agent}: {}", lines[1]);
            assert_eq!(lines[2], "DONE: wrote hello.txt and committed.");
        }
    }
}
