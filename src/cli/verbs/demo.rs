//! `demo`: the main job on a repository made for it: a graph of tasks, one of them in conflict, one failing its gate.
//!
//! Shows what landed, what did not and why, takes a landing back, and leaves nothing behind: repository, workspaces and
//! state are below one temporary directory.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::confine::{self, Ground};
use crate::model::record::ConfineLevel;
use crate::sys::git::Git;
use crate::sys::{env, fs, proc};

const TASKS: &str = r#"goal = "grow a small library"
gates = ["sh check.sh"]
jobs = 2

[[task]]
id = "greeting"
prompt = "Say hello in a friendlier way"
command = ["sh", "-c", "echo 'hello, world' > greeting.txt"]

[[task]]
id = "farewell"
prompt = "Add a farewell"
command = ["sh", "-c", "echo 'goodbye' > farewell.txt"]

[[task]]
id = "book"
prompt = "Bind both into a book"
needs = ["greeting", "farewell"]
command = ["sh", "-c", "cat greeting.txt farewell.txt > book.txt && git add book.txt && git commit -qm 'Bind the book'"]

[[task]]
id = "careless"
prompt = "Tidy up, carelessly"
command = ["sh", "-c", "rm check-me.txt"]

[[task]]
id = "rival"
prompt = "Say hello in another way"
command = ["sh", "-c", "echo 'HELLO' > greeting.txt"]
"#;

const GATE: &str = "test -f check-me.txt || { echo 'check-me.txt is gone'; exit 1; }\n";

/// Runs the demo.
pub fn run(out: &Output, level: ConfineLevel) -> Result<u8, CliError> {
    confine::require(level, &Ground::without_repository())
        .map_err(|error| CliError::from(error).hint("to see the demo all the same: demo --confine off"))?;
    let place = tempfile::Builder::new().prefix("treehand-demo-").tempdir();
    let place = place.map_err(|error| CliError::io("cannot make a temporary directory", &error))?;
    let shown = show(out, place.path(), level);
    let path = place.keep();
    fs::remove_tree(&path).map_err(|error| CliError::io("cannot clean up", &error.source))?;
    let story = shown?;
    out.say("cleaned up: nothing of the demo is left");
    out.answer("treehand/demo/v1", story, String::new)?;
    Ok(0)
}

fn show(out: &Output, place: &Path, level: ConfineLevel) -> Result<Value, CliError> {
    let repo = place.join("library");
    make_repository(&repo)?;
    fs::write_atomic(&place.join("tasks.toml"), TASKS.as_bytes())
        .map_err(|error| CliError::io("cannot write", &error.source))?;
    out.say(format!("a repository at {}, and a graph of five tasks:", repo.display()));
    out.say("  greeting, farewell -> book;  careless breaks the gate;  rival changes what greeting changes");
    out.say(
        confine::level::caution(level).unwrap_or("the kernel keeps each script in its own tree (--confine strict)"),
    );
    let treehand = Treehand { place, repo: &repo };
    let code = treehand.run(&["run", "--confine", &level.to_string(), "--tasks", "../tasks.toml"])?;
    let runs = treehand.json(&["ps"])?;
    let run = runs["runs"][0]["run"].as_str().unwrap_or_default().to_owned();
    let shown = treehand.json(&["show", &run])?;
    let states = |state: &str| -> Vec<String> {
        let tasks = shown["tasks"].as_array().cloned().unwrap_or_default();
        let found = tasks.iter().filter(|task| task["state"] == state).filter_map(|task| task["id"].as_str());
        found.map(str::to_owned).collect()
    };
    out.say("\nwhat is on main now:");
    let git = Git::open()?;
    let log = git.within(&repo, ["log", "--oneline", "--no-decorate"]).text()?;
    log.lines().for_each(|line| out.say(format!("  {line}")));
    let reasons = |kind: &str| {
        let tasks = shown["tasks"].as_array().cloned().unwrap_or_default();
        tasks.iter().filter(|task| task["reason"]["kind"] == kind).count()
    };
    let as_told = code != 0 && states("landed").len() >= 2 && reasons("conflict") == 1 && reasons("gate") == 1;
    out.say("\nthe last landing, taken back:");
    let undone = treehand.run(&["undo"])?;
    git.within(&repo, ["fsck", "--full", "--no-dangling"]).run()?;
    if !as_told || undone != 0 {
        let message = format!("the demo did not go as told: exit {code}, undo {undone}, {shown}");
        return Err(CliError { code: 1, kind: "demo", message, hint: Some("please report this".into()) });
    }
    Ok(json!({"run": run, "landed": states("landed"), "rejected": states("rejected"), "exit": code}))
}

fn make_repository(repo: &Path) -> Result<(), CliError> {
    let git = Git::open()?;
    fs::create_dir_all(repo).map_err(|error| CliError::io("cannot make the repository", &error.source))?;
    git.within(repo, ["init", "--quiet", "--initial-branch=main"]).run()?;
    for (key, value) in [("user.name", "Demo"), ("user.email", "demo@example.com"), ("commit.gpgSign", "false")] {
        git.within(repo, ["config", key, value]).run()?;
    }
    for (name, text) in [("greeting.txt", "hello\n"), ("check-me.txt", "here\n"), ("check.sh", GATE)] {
        let written = fs::write_atomic(&repo.join(name), text.as_bytes());
        written.map_err(|error| CliError::io("cannot write", &error.source))?;
    }
    git.within(repo, ["add", "--all"]).run()?;
    git.within(repo, ["commit", "--quiet", "--message", "A small library"]).run()?;
    Ok(())
}

/// This program again, as a user would start it, with its state inside the demo's directory.
struct Treehand<'a> {
    place: &'a Path,
    repo: &'a Path,
}

impl Treehand<'_> {
    fn run(&self, args: &[&str]) -> Result<u8, CliError> {
        let own = own()?;
        let state = self.place.join("state").to_string_lossy().into_owned();
        let argv: Vec<&str> = std::iter::once(own.as_str()).chain(args.iter().copied()).collect();
        let env = [("XDG_STATE_HOME", state.as_str()), ("XDG_CONFIG_HOME", state.as_str())];
        let status = proc::run_with_output_to(std::io::stderr(), &argv, self.repo, &env);
        Ok(proc::exit_code(status.map_err(|error| CliError::io("cannot start treehand", &error))?))
    }

    fn json(&self, args: &[&str]) -> Result<Value, CliError> {
        let own = own()?;
        let state = self.place.join("state").to_string_lossy().into_owned();
        let argv: Vec<&str> = [own.as_str(), "--json"].into_iter().chain(args.iter().copied()).collect();
        let env = [("XDG_STATE_HOME", state.as_str()), ("XDG_CONFIG_HOME", state.as_str())];
        let output = proc::run_for_output(&argv, self.repo, &env);
        let output = output.map_err(|error| CliError::io("cannot start treehand", &error))?;
        serde_json::from_slice(&output).map_err(|error| CliError {
            code: 1,
            kind: "demo",
            message: error.to_string(),
            hint: None,
        })
    }
}

fn own() -> Result<String, CliError> {
    let path = env::own_executable().map_err(|error| CliError::io("cannot find our own executable", &error))?;
    Ok(path.to_string_lossy().into_owned())
}
