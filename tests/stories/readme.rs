//! The README's commands, run as they stand there, so that what it shows works.
//!
//! `cargo run -- demo` is run as the binary that this test run has built.

use crate::support;

use support::World;

/// The fenced blocks that follow the marker `<!-- check: NAME -->`.
fn blocks(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let marker = format!("<!-- check: {name} -->\n```");
    let block = |rest: &str| {
        let body = rest.split_once('\n').map_or("", |(_, body)| body);
        body.split("\n```").next().unwrap_or("").to_owned()
    };
    text.split(&marker).skip(1).map(block).collect()
}

/// Runs shell lines in the repository of a world, with the built binary on PATH.
fn shell(world: &World, lines: &str) -> support::Answer {
    let binary =
        std::path::Path::new(env!("CARGO_BIN_EXE_treehand")).parent().expect("a directory").display().to_string();
    let script = format!("set -e\nPATH=\"{binary}:$PATH\"\n{lines}\n");
    world.shell(&script)
}

#[test]
fn the_first_real_task_goes_as_the_readme_says() {
    let world = World::new();
    let lines = blocks("first").join("\n");
    assert!(lines.contains("treehand new fix-typo"), "the README lost its first task");
    shell(&world, &lines).expect(0);
    assert_eq!(world.show("main", "NOTES.md"), "a line about treehand\n");
    world.assert_nothing_left();
    assert_eq!(world.git(&["branch", "--list", "fix-typo"]), "", "the merged branch went with its workspace");
}

#[test]
fn the_runs_of_the_readme_land() {
    let world = World::new();
    shell(&world, &blocks("run").join("\n")).expect(0);
    assert!(world.show("main", "NOTES.md").starts_with("checked on "));
    world.write("tasks.toml", &blocks("tasks.toml").join("\n"));
    shell(&world, &blocks("diamond").join("\n")).expect(0);
    assert!(world.show("main", "manual.txt").contains("How to install"));
    world.assert_nothing_left();
}

/// What codex writes, and nothing else of it.
const CODEX: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo 'codex-cli 0.0.0'; exit 0; }
cat > HACKING.md
echo '{"type":"thread.started","thread_id":"t"}'
echo '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}'
"#;

#[test]
fn the_agent_of_the_readme_is_told_what_to_do_and_its_work_lands() {
    let world = World::new();
    let codex = world.path().join("bin/codex");
    std::fs::create_dir(world.path().join("bin")).expect("a directory");
    std::fs::write(&codex, CODEX).expect("written");
    std::fs::set_permissions(&codex, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let lines = blocks("agent").join("\n");
    shell(&world, &format!("PATH=\"{}:$PATH\"\n{lines}", world.path().join("bin").display())).expect(0);
    assert!(world.show("main", "HACKING.md").contains("how to build and test"));
    world.assert_nothing_left();
}

#[test]
fn the_demo_shows_what_it_promises_and_cleans_up_after_itself() {
    assert_eq!(blocks("demo"), ["cargo run --release -- demo"]);
    let world = World::new();
    let temp = world.path().join("tmp");
    std::fs::create_dir(&temp).expect("a directory");
    let demo = world.command(&["demo", "--json"]).env("TMPDIR", &temp).output().expect("started");
    let story: serde_json::Value = serde_json::from_slice(&demo.stdout).expect("one document");
    assert!(demo.status.success(), "{story}\n{}", String::from_utf8_lossy(&demo.stderr));
    assert!(story["landed"].as_array().is_some_and(|landed| landed.len() >= 2), "{story}");
    assert!(String::from_utf8_lossy(&demo.stderr).contains("the kernel keeps each script"));
    assert_eq!(std::fs::read_dir(&temp).expect("readable").count(), 0, "the demo left something behind");
}
