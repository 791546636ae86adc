//! Stories of variables that commands are given by name, and of secrets among them: who gets them, and where they do not come up.

use crate::support;

use std::path::Path;

use serde_json::json;
use support::World;
use support::followed::Followed;

const SECRET: &str = "gho_s3cret/Value+1";
/// The same in base64 within a longer text, and in an address.
const CODED: [&str; 2] = ["Z2hvX3MzY3JldC9WYWx1ZSsx", "gho_s3cret%2FValue%2B1"];

/// A world in which the secret is set for every command, as in a person's shell.
fn world() -> World {
    let mut world = World::new();
    world.set("THE_TOKEN", SECRET);
    world.set("OTHER_TOKEN", "other-secret-value");
    world.set("PLAIN", "plain value");
    world
}

/// Everything below a directory that has one of these texts in it.
fn found(directory: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in walk(directory) {
        let content = std::fs::read(&entry).unwrap_or_default();
        let has = |text: &&&str| content.windows(text.len()).any(|window| window == text.as_bytes());
        found.extend(texts.iter().find(has).map(|text| format!("{text} in {}", entry.display())));
    }
    found
}

fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => files.extend(walk(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

const SHOW: &str = "echo \"<$THE_TOKEN> <$OTHER_TOKEN> <$PLAIN> <$OWN>\"";
const PRINT: &str = "printf %s \"$THE_TOKEN\" | base64; \
    echo gho_s3cret%2FValue%2B1; printf gho_s3; printf cret/Value+1; echo";

#[test]
fn a_secret_goes_to_whom_it_is_named_for_and_to_no_log_no_journal_and_no_answer() {
    let world = world();
    let tasks = format!(
        "gates = [{{ run = 'test -z \"$THE_TOKEN$PLAIN\" && test -n \"$OTHER_TOKEN\" && echo $OTHER_TOKEN', secrets = [\"OTHER_TOKEN\"] }}]\n\
         [[task]]\nid = \"with\"\nenv = [\"PLAIN\", \"OWN=x=y\", \"NOT_SET\"]\nsecrets = [\"THE_TOKEN\"]\ncommand = [\"sh\", \"-ec\", {}]\n\n\
         [[task]]\nid = \"without\"\ncommand = [\"sh\", \"-ec\", {}]\n",
        json!(format!("{SHOW}; {PRINT}; test -z \"${{NOT_SET+x}}\"; echo x > x")),
        json!(SHOW)
    );
    let answer = world.run_tasks(&tasks, &[]).expect(0);
    let run = answer.json()["run"].as_str().expect("a run").to_owned();
    let log = |task: &str| world.treehand(&["logs", &format!("{run}/{task}")]).expect(0).stdout;
    assert_eq!(log("with"), "<***> <> <plain value> <x=y>\n***\n***\n***\n");
    assert_eq!(log("without"), "<> <> <> <>\n");
    let shown = [&answer.stdout, &answer.stderr, &world.treehand(&["show", &run, "--json"]).expect(0).stdout];
    assert!(shown.iter().all(|text| !text.contains(SECRET) && !text.contains("other-secret-value")));
    let state = world.repo().join(".git/treehand");
    assert!(state.join("state.db").exists());
    let texts = [SECRET, CODED[0], "other-secret-value"];
    assert_eq!(found(&state, &texts), [] as [&str; 0]);
    assert_eq!(found(&world.path().join("state"), &texts), [] as [&str; 0]);
}

#[test]
fn a_secret_that_is_not_set_or_is_written_down_is_refused_before_anything_is_made() {
    let world = world();
    let run = |secret: &str, command: &str| {
        let task =
            format!("[[task]]\nid = \"t\"\nsecrets = [\"{secret}\"]\ncommand = [\"sh\", \"-c\", {}]\n", json!(command));
        world.run_tasks(&task, &[])
    };
    let unset = run("NO_SUCH_TOKEN", "true").expect(9).json();
    assert_eq!(unset["kind"], "secret", "{unset}");
    assert!(unset["message"].as_str().is_some_and(|message| message.contains("NO_SUCH_TOKEN")), "{unset}");
    run("THE-TOKEN", "true").expect(2);
    run("TREEHAND_RUN", "true").expect(2);
    let written = run("THE_TOKEN", &format!("curl -H 'Authorization: {SECRET}'")).expect(2);
    assert!(!written.stdout.contains(SECRET) && written.stdout.contains("THE_TOKEN"), "{}", written.stdout);
    assert_eq!(world.treehand(&["ps", "--json"]).expect(0).json()["runs"], json!([]));
}

#[test]
fn a_secret_that_a_task_calls_its_files_is_in_no_reason_and_no_journal() {
    let world = world();
    let script = "mkdir -p \\\"$THE_TOKEN\\\" && git init -q \\\"$THE_TOKEN\\\" && cd \\\"$THE_TOKEN\\\" && \
                  git -c user.name=x -c user.email=x commit -q --allow-empty -m x";
    let tasks = format!("[[task]]\nid = \"t\"\nsecrets = [\"THE_TOKEN\"]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let answer = world.run_tasks(&tasks, &[]).expect(4);
    let run = answer.json();
    let reason = &run["tasks"][0]["reason"];
    assert!(reason["paths"][0].as_str().is_some_and(|path| path.contains("***")), "{reason}");
    let shown = world.treehand(&["show", run["run"].as_str().expect("a run"), "--json"]).expect(0).stdout;
    assert!([&answer.stdout, &answer.stderr, &shown].iter().all(|text| !text.contains(SECRET)), "{shown}");
    assert_eq!(found(&world.repo().join(".git/treehand"), &[SECRET]), [] as [&str; 0]);
    // Nor may it be written down as a variable.
    let written = world.treehand(&["run", "--secret", "THE_TOKEN", "--env", &format!("COPY=x{SECRET}"), "--", "true"]);
    assert!(!written.expect(2).stderr.contains(SECRET));
}

#[test]
fn exec_and_run_take_them_as_flags_and_say_which() {
    let world = world();
    world.treehand(&["new", "w", "--sealed"]).expect(0);
    let exec = |flags: &[&str], script: &str| {
        let flags = [&["exec", "w", "--confine", "off"], flags, &["--", "sh", "-c", script]].concat();
        world.treehand(&flags)
    };
    let given = ["--env", "PLAIN", "--env", "OWN=1", "--secret", "THE_TOKEN"];
    assert_eq!(exec(&given, "echo $PLAIN $OWN $THE_TOKEN").expect(0).stdout, format!("plain value 1 {SECRET}\n"));
    assert_eq!(exec(&[], "echo $PLAIN $OWN $THE_TOKEN").expect(0).stdout, "\n");
    let dry = exec(&[&given[..], &["--dry-run", "--json"]].concat(), "true").expect(0);
    assert_eq!(dry.json()["secrets"], json!(["THE_TOKEN"]));
    assert!(dry.stdout.contains("\"OWN\"") && !dry.stdout.contains(SECRET), "{}", dry.stdout);
    exec(&["--secret", "THE_TOKEN"], &format!("echo {SECRET}")).expect(2);
    exec(&["--env", "A B"], "true").expect(2);
    let run = ["run", "--confine", "off", "--dry-run", "--secret", "THE_TOKEN", "--env", "OWN=1", "--", "true"];
    let text = world.treehand(&run).expect(0).stdout;
    assert!(text.contains("true [OWN THE_TOKEN]"), "{text}");
    // What every command gets is the user's to say.
    world.write(".treehand.toml", "[confine]\nenv = [\"PLAIN\"]\n");
    assert_eq!(exec(&[], "echo $PLAIN").expect(0).stdout, "\n");
    assert_eq!(exec(&["--set", "confine.env=PLAIN"], "echo $PLAIN").expect(0).stdout, "plain value\n");
    assert_eq!(found(&world.repo().join(".git/treehand"), &[SECRET]), [] as [&str; 0]);
}

#[test]
fn an_attempt_that_cannot_begin_fails_its_task_and_the_one_before_stays_as_it_ended() {
    let mut world = World::new();
    world.set("STORY_TOKEN", "token-of-the-story");
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::create_dir_all(config.parent().expect("a parent")).expect("made");
    std::fs::write(config, "[supervise]\nbackoff = '2s'\n").expect("written");
    let file = world.path().join("tasks.toml");
    let task = "[[task]]\nid = 'a'\ncommand = ['sh', '-c', 'exit 75']\nretries = 2\nsecrets = ['STORY_TOKEN']\n";
    std::fs::write(&file, task).expect("written");
    let mut run = Followed::start(&world, &["--confine", "off", "--tasks", &file.to_string_lossy()]);
    run.next("attempt.ended");
    let id = world.only_run();
    run.abandon(&world, &id);
    let mut resume = world.command(&["resume", &id]);
    resume.env_remove("STORY_TOKEN");
    support::answer(resume);
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    let task = &shown["tasks"][0];
    assert_eq!((&shown["error"], &task["state"]), (&serde_json::Value::Null, &"failed".into()), "{shown}");
    assert_eq!(task["attempts"][0]["exit"], 75, "{shown}");
    assert!(task["reason"]["message"].as_str().is_some_and(|why| why.contains("STORY_TOKEN")), "{shown}");
}
