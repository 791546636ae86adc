//! Stories of setup steps: where they run, what they reach, and what becomes of a workspace, a task or a landing when one fails,
//! takes too long or is interrupted.
#![expect(clippy::disallowed_methods, reason = "a story signals the binary that it started")]

use crate::support;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{World, answer, state, task};

/// A world whose user and project each have a step that writes into an ignored directory, one after the other.
fn world() -> World {
    let world = World::new();
    world.configure("[worktree]\nsetup = [\"mkdir deps && echo user > deps/order\"]\n");
    let project = "[worktree]\nsetup = [\"echo project >> deps/order && echo \\\"$PWD\\\" > deps/where\"]\n";
    world.commit("setup", &[(".gitignore", "deps/\n"), (".treehand.toml", project)]);
    world
}

/// Flags for as much confinement as this machine has.
fn confined() -> [&'static str; 2] {
    ["--confine", support::level()]
}

/// The same for `new`.
fn confined_new() -> [&'static str; 2] {
    ["--set", if support::level() == "strict" { "confine.level=strict" } else { "confine.level=off" }]
}

fn new(world: &World, args: &[&str]) -> support::Answer {
    world.treehand(&[&["--json", "new"], args, &confined_new()].concat())
}

fn one_task(command: &str, more: &str) -> String {
    format!("{more}\n[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", {}]\n", json!(command))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn steps_run_in_order_in_every_fresh_tree_and_the_users_come_first() {
    let world = world();
    for (name, flags) in [("plain", &[][..]), ("sealed", &["--sealed"][..])] {
        let made = new(&world, &[&[name], flags].concat()).expect(0);
        assert!(made.stderr.contains("setup: mkdir deps"), "{}", made.stderr);
        let made = made.json();
        let commands: Vec<&Value> = made["setup"].as_array().expect("steps").iter().map(|s| &s["command"]).collect();
        assert!(commands.len() == 2 && commands[0].as_str().is_some_and(|first| first.contains("user")), "{made}");
        let tree = world.tree(name);
        assert_eq!(read(&tree.join("deps/order")), "user\nproject\n");
        assert_eq!(read(&tree.join("deps/where")).trim_end(), tree.to_string_lossy());
    }
    let gates = "gates = [\"grep -q project deps/order && test -e t.txt\"]";
    let run = world.run_tasks(&one_task("cat deps/order > t.txt", gates), &confined()).expect(0).json();
    assert_eq!(state(&run, "t"), "landed");
    assert_eq!(world.show("main", "t.txt"), "user\nproject\n");
    assert_eq!(world.git(&["ls-tree", "-r", "--name-only", "main", "deps"]), "", "what is ignored is nobody's work");
    let steps = task(&run, "t")["attempts"][0]["setup"].as_array().expect("steps").clone();
    assert!(steps.len() == 2 && steps.iter().all(|step| step["exit"] == 0 && step["error"].is_null()), "{steps:?}");
    world.treehand(&["rm", "plain", "sealed"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn what_a_step_leaves_and_git_does_not_ignore_is_part_of_the_result() {
    let world = World::new();
    world.configure("[worktree]\nsetup = [\"echo made > made.txt\"]\n");
    let run = world.run_tasks(&one_task("echo t > t.txt", ""), &[]).expect(0).json();
    assert_eq!(task(&run, "t")["files_changed"], 2);
    assert_eq!(world.show("main", "made.txt"), "made\n");
}

#[test]
fn a_step_that_fails_leaves_the_workspace_for_a_look_and_another_try() {
    for flags in [&[][..], &["--sealed"]] {
        let world = World::new();
        let step = "echo why not >&2; test -e fixed || exit 3";
        world.configure(&format!("[worktree]\nsetup = [{}, \"touch never\"]\n", json!(step)));
        let touched = world.path().join("touched");
        let execute = format!("touch '{}'", touched.display());
        let failed = new(&world, &[&["w", "-x", &execute], flags].concat()).expect(1);
        let document = failed.json();
        assert_eq!((&document["schema"], &document["kind"]), (&json!("treehand/error/v1"), &json!("setup")));
        let message = document["message"].as_str().expect("a message");
        assert_eq!(message, format!("the setup step `{step}` failed: exit 3: why not"));
        assert!(document["hint"].as_str().is_some_and(|hint| hint.contains("treehand exec w --")), "{document}");
        assert!(!touched.exists() && !world.tree("w").join("never").exists());
        let listed = world.treehand(&["ls", "--json"]).expect(0).json();
        assert!(listed["workspaces"].as_array().is_some_and(|all| all.iter().any(|w| w["name"] == "w")), "{listed}");
        std::fs::write(world.tree("w").join("fixed"), "").expect("written");
        world.treehand(&["exec", "w", "--confine", support::level(), "--", "sh", "-c", step]).expect(0);
        world.treehand(&["rm", "-f", "-D", "w"]).expect(0);
        world.treehand(&["undo"]).expect(0);
        assert!(world.tree("w").join("fixed").exists());
        world.treehand(&["rm", "-f", "-D", "w"]).expect(0);
    }
}

#[test]
fn a_step_that_fails_fails_the_attempt_and_the_next_one_tries_again() {
    let world = World::new();
    world.configure("[worktree]\nsetup = [\"true\", \"echo no such package; exit 1\"]\n");
    let tasks = "[[task]]\nid = \"t\"\nretries = 1\ncommand = [\"sh\", \"-c\", \"touch ran\"]\n";
    let answer = world.run_tasks(tasks, &confined()).expect(1);
    let run = answer.json();
    let failed = task(&run, "t");
    assert_eq!(failed["state"], "failed");
    let message = "setup step `echo no such package; exit 1` failed: exit 1";
    assert_eq!((&failed["reason"]["kind"], &failed["reason"]["message"]), (&json!("failed"), &json!(message)));
    let attempts = failed["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        assert_eq!((&attempt["error"]["kind"], &attempt["error"]["message"]), (&json!("setup"), &json!(message)));
        assert_eq!((&attempt["setup"][0]["error"], &attempt["setup"][1]["error"]), (&Value::Null, &json!(message)));
    }
    assert_eq!(failed["reason"]["log"], attempts[1]["setup"][1]["log"], "the log that says why");
    let logs = world.treehand(&["logs", run["run"].as_str().expect("a run")]).expect(0).stdout;
    assert_eq!(logs.matches("no such package\n").count(), 2, "{logs}");
    assert!(logs.contains(&format!("==> {message} <==")), "{logs}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn a_step_that_fails_on_the_merged_tree_fails_the_gate() {
    let world = World::new();
    world.configure("[worktree]\nsetup = [\"test ! -e poison\"]\n");
    let run = world.run_tasks(&one_task("touch poison", "gates = [\"true\"]"), &confined()).expect(7).json();
    let reason = &task(&run, "t")["reason"];
    assert_eq!(reason["kind"], "gate");
    let message = "the gate `true` could not be tried: setup step `test ! -e poison` failed: exit 1";
    assert_eq!(reason["message"], message);
    assert_eq!(run["gates"][0]["outcome"], "failed");
    assert!(Path::new(reason["log"].as_str().expect("a log")).exists());
    // Without the step the gate passes; with another one its result does not count.
    world.configure("");
    world.run_tasks(&one_task("touch poison", "gates = [\"true\"]"), &confined()).expect(0);
    world.treehand(&["undo"]).expect(0);
    world.configure("[worktree]\nsetup = [\"test ! -e poison\"]\n");
    world.run_tasks(&one_task("touch poison", "gates = [\"true\"]"), &confined()).expect(7);
}

#[test]
fn a_project_cannot_loosen_what_its_steps_get() {
    let mut world = World::new();
    world.set("MINE", "the user's own");
    for more in ["net = \"full\"", "net = [\"127.0.0.1:1\"]", "env = [\"MINE\"]", "secrets = [\"MINE\"]"] {
        world.write(".treehand.toml", &format!("[worktree]\nsetup = [{{ run = \"touch ran\", {more} }}]\n"));
        let warned = new(&world, &["w"]).expect(0);
        assert!(warned.stderr.contains("`worktree.setup` is the user's, a project file can only tighten it"), "{more}");
        assert_eq!(
            (warned.json()["setup"].clone(), world.tree("w").join("ran").exists()),
            (json!([]), false),
            "{more}"
        );
        world.treehand(&["rm", "-f", "w"]).expect(0);
    }
    let step = "test -z \"$MINE\" && touch ran";
    world.write(".treehand.toml", &format!("[worktree]\nsetup = [{}]\n[confine]\nlevel = \"off\"\n", json!(step)));
    let warned = new(&world, &["w"]).expect(0).stderr;
    assert!(warned.contains("confine.level") && world.tree("w").join("ran").exists(), "{warned}");
}

#[test]
fn a_step_reaches_nothing_outside() {
    if support::level() != "strict" {
        return;
    }
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let outside = world.path().join("outside");
    let step = format!(
        "echo evil > '{0}'; echo evil > '{1}/a.txt'; echo evil >> '{1}/.git/config'; echo evil > .git; \
         (bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && touch reached); cat '{2}' && touch seen; touch deps/ran",
        outside.display(),
        world.repo().display(),
        world.path().join("home/.gitconfig").display(),
    );
    let quoted = json!(format!("mkdir deps; {step} 2> deps/said; true"));
    world.commit(
        "setup",
        &[(".gitignore", "deps/\n"), (".treehand.toml", &format!("[worktree]\nsetup = [{quoted}]\n"))],
    );
    let config = read(&world.repo().join(".git/config"));
    let held = |tree: &Path| {
        assert!(tree.join("deps/ran").exists(), "it ran: {}", tree.display());
        assert!(!tree.join("reached").exists() && !tree.join("seen").exists());
    };
    new(&world, &["plain"]).expect(0);
    held(&world.tree("plain"));
    assert!(read(&world.tree("plain").join(".git")).starts_with("gitdir: "));
    new(&world, &["sealed", "--sealed"]).expect(0);
    held(&world.tree("sealed"));
    let check = "test -e deps/ran && test ! -e reached && test ! -e seen";
    let gates = format!("gates = [{}]", json!(check));
    let run = world.run_tasks(&one_task(&format!("{check} && echo t > t.txt"), &gates), &confined()).expect(0).json();
    assert_eq!(state(&run, "t"), "landed");
    assert!(!outside.exists());
    assert_eq!(
        (read(&world.repo().join("a.txt")).as_str(), read(&world.repo().join(".git/config"))),
        ("one\ntwo\nthree\n", config)
    );
    let connected = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock));
    // Without a sandbox the same step does it all.
    if world.has("bash") {
        world.treehand(&["new", "open", "--set", "confine.level=off"]).expect(0);
        assert!(world.tree("open").join("reached").exists() && world.tree("open").join("seen").exists());
        assert!(outside.exists() && listener.accept().is_ok());
    }
}

#[test]
fn a_step_that_takes_too_long_is_ended() {
    let world = World::new();
    let step = "{ run = \"mkfifo never; read -r _ < never\", timeout = \"100ms\" }";
    world.configure(&format!("[worktree]\nsetup = [{step}]\n"));
    let message = "setup step `mkfifo never; read -r _ < never` failed: it ran out of time (100ms)";
    let failed = new(&world, &["w"]).expect(1).json();
    assert_eq!(failed["message"], format!("the {message}"));
    let run = world.run_tasks(&one_task("true", ""), &confined()).expect(1).json();
    assert_eq!(task(&run, "t")["reason"]["message"], message);
}

/// `new w` with a step that says when it is at work and then waits for ever, holding a pipe in its tree open for writing.
fn waiting(world: &World, level: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let step =
        "mkfifo held never; exec 3<> held; trap 'echo asked > asked; exit' TERM; echo at work; read -r _ < never";
    world.configure(&format!("[worktree]\nsetup = [{}]\n[confine]\nlevel = \"{level}\"\n", json!(step)));
    let mut command = world.command(&["--json", "new", "w"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("its narration"));
    let mut line = String::new();
    while line.trim() != "at work" {
        line.clear();
        assert!(said.read_line(&mut line).expect("read") > 0, "it ended");
    }
    (child, said)
}

fn signal(child: &Child, signal: &str) {
    let mut kill = Command::new("kill");
    kill.args([signal, &child.id().to_string()]);
    answer(kill).expect(0);
}

#[test]
fn a_signal_ends_a_step_and_the_workspace_stays() {
    let levels: &[&str] = if support::level() == "strict" { &["strict", "off"] } else { &["off"] };
    for level in levels {
        for (name, code) in [("-INT", 130), ("-TERM", 143)] {
            let world = World::new();
            let (mut child, mut said) = waiting(&world, level);
            signal(&child, name);
            let mut document = String::new();
            child.stdout.take().expect("piped").read_to_string(&mut document).expect("read");
            said.read_to_end(&mut Vec::new()).expect("read");
            assert_eq!(child.wait().expect("ended").code(), Some(code), "{level} {name}: {document}");
            let document: Value = serde_json::from_str(&document).expect("a document");
            assert_eq!(document["kind"], "interrupted");
            assert!(
                document["message"].as_str().is_some_and(|text| text.contains("in the setup step `mkfifo")),
                "{document}"
            );
            assert!(
                document["hint"].as_str().is_some_and(|hint| hint.starts_with("the workspace stays")),
                "{document}"
            );
            assert_eq!(read(&world.tree("w").join("asked")), "asked\n", "{level} {name}: it was asked, not killed");
            world.treehand(&["rm", "-f", "w"]).expect(0);
            assert!(!world.trees().exists());
        }
    }
}

#[test]
fn what_a_killed_command_leaves_can_be_cleaned_up() {
    let world = World::new();
    let (mut child, _said) = waiting(&world, support::level());
    let mut pipe = std::fs::File::open(world.tree("w").join("held")).expect("the step holds it open");
    signal(&child, "-KILL");
    child.wait().expect("ended");
    pipe.read_to_end(&mut Vec::new()).expect("the step has ended with it");
    let plan = world.treehand(&["clean", "--yes", "--min-age", "0s", "--json"]).expect(0).json();
    assert!(plan["kept"].as_array().is_some_and(|kept| kept.iter().any(|one| one["item"] == "w")), "{plan}");
    world.treehand(&["rm", "w"]).expect(0);
    assert!(!world.trees().exists());
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 1);
}

/// A run that is at work in a step of its one task, and the client that follows it.
fn at_work(world: &World) -> (String, Child) {
    let work = world.path().join("at-work");
    world.shell(&format!("mkfifo '{}'", work.display())).expect(0);
    let step = format!("mkfifo never; echo now > '{}'; read -r _ < never", work.display());
    world.configure(&format!("[worktree]\nsetup = [{}]\n", json!(step)));
    let mut client = world.command(&["run", "--json", "--confine", "off", "--name", "t", "--", "touch", "ran"]);
    let client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    assert_eq!(read(&work), "now\n");
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    (runs["runs"][0]["run"].as_str().expect("a run").to_owned(), client)
}

#[test]
fn a_run_is_cancelled_in_the_middle_of_a_step() {
    let world = World::new();
    let (run, mut client) = at_work(&world);
    world.treehand(&["cancel", &run]);
    assert_eq!(client.wait().expect("ended").code(), Some(130));
    let shown = world.treehand(&["show", &run, "--json"]).json();
    assert_eq!(
        (state(&shown, "t"), &task(&shown, "t")["reason"]["kind"]),
        ("cancelled", &json!("cancelled")),
        "{shown}"
    );
    assert_eq!(task(&shown, "t")["attempts"][0]["error"]["kind"], "cancelled");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn a_run_whose_supervisor_was_killed_in_a_step_can_be_ended_and_cleaned_up() {
    let world = World::new();
    let (run, mut client) = at_work(&world);
    client.kill().expect("killed");
    client.wait().expect("reaped");
    support::signal("KILL", &world.supervisor(&run));
    world.wait_unsupervised(&run);
    let cancelled = world.treehand(&["cancel", &run, "--json"]).expect(0).json();
    assert_eq!(cancelled["state"], "cancelled");
    let left = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(left["workspaces"][0]["processes"], json!([]), "the step was ended too: {left}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    assert!(!world.trees().exists());
    assert_eq!(world.git(&["for-each-ref", "refs/heads/treehand", "refs/treehand/base"]), "");
}

#[test]
fn without_confinement_a_step_can_what_the_user_can_and_that_is_said() {
    let world = World::new();
    let outside = world.path().join("outside");
    world.configure(&format!(
        "[worktree]\nsetup = [{{ run = \"touch '{}'\", net = \"none\" }}]\n[confine]\nlevel = \"off\"\n",
        outside.display()
    ));
    let told = world.treehand(&["new", "w"]).expect(0).stderr;
    assert!(outside.exists());
    assert!(told.contains("warning: nothing confines the commands"), "{told}");
    assert!(told.contains("`net` of a setup step is not enforced"), "{told}");
}

#[test]
fn a_dry_run_shows_the_steps_with_what_they_would_get() {
    let world = World::new();
    let step = "{ run = \"npm ci\", net = [\"packages.example.com:443\"], env = [\"CI=true\"], timeout = \"2m\" }";
    world.configure(&format!("[worktree]\nsetup = [{step}]\n"));
    let tasks = one_task("true", "");
    let document = world.run_tasks(&tasks, &["--dry-run"]).expect(0).json();
    let foreseen = &document["confinement"]["setup"][0];
    assert_eq!((&foreseen["command"], &foreseen["timeout_ms"]), (&json!("npm ci"), &json!(120_000)));
    assert!(foreseen["environment"].as_array().is_some_and(|names| names.contains(&json!("CI"))), "{foreseen}");
    let text = world.treehand(&["run", "--dry-run", "--confine", "off", "--", "true"]).expect(0).stdout;
    let line = "  setup 1: npm ci (net packages.example.com:443) [CI], in at most 2m\n";
    assert!(text.contains(line), "{text}");
    assert!(!world.trees().exists());
    let shown = world.treehand(&["config", "show"]).expect(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("worktree.setup")).expect("it is shown");
    assert!(line.contains("npm ci") && line.contains("user file"), "{line}");
}

#[test]
fn secrets_of_a_step_are_its_own_and_in_no_log() {
    let mut world = World::new();
    world.set("THE_TOKEN", "gho_s3cret-value");
    let steps = "{ run = \"echo with $THE_TOKEN\", secrets = [\"THE_TOKEN\"] }, \"echo then <$THE_TOKEN>\"";
    let steps = steps.replace("<$THE_TOKEN>", "[$THE_TOKEN]");
    world.configure(&format!("[worktree]\nsetup = [{steps}]\n"));
    let told = new(&world, &["w"]).expect(0).stderr;
    assert!(told.contains("  with ***\n") && told.contains("  then []\n"), "{told}");
    let run = world.run_tasks(&one_task("echo \"[$THE_TOKEN]\"", ""), &[]).expect(0).json();
    let logs = world.treehand(&["logs", run["run"].as_str().expect("a run")]).expect(0).stdout;
    assert!(logs.contains("with ***\n") && logs.contains("then []\n") && !logs.contains("s3cret"), "{logs}");
    let unset = steps.replace("secrets = [\"THE_TOKEN\"]", "secrets = [\"NOT_SET\"]");
    world.configure(&format!("[worktree]\nsetup = [{unset}]\n"));
    assert_eq!(new(&world, &["x"]).expect(9).json()["kind"], "secret");
    world.run_tasks(&one_task("true", ""), &[]).expect(9);
    world.configure("[worktree]\nsetup = [{ run = \"echo gho_s3cret-value\", secrets = [\"THE_TOKEN\"] }]\n");
    new(&world, &["x"]).expect(2);
    assert!(!world.trees().join("x").exists() && world.git(&["branch", "--list", "x"]).is_empty());
}
