//! Stories of results that change what runs by itself for whoever takes them: workflows, hooks, settings of editors and agents,
//! links that lead out. They wait for a person, unless the user's own word says otherwise.

use crate::support;

use serde_json::{Value, json};
use support::World;

/// Runs one task; the document and the exit code.
fn task(world: &World, script: &str, extra: &str, flags: &[&str]) -> (Value, i32) {
    let tasks = format!("[[task]]\nid = \"t\"\n{extra}command = [\"sh\", \"-ec\", {}]\n", json!(script));
    let answer = world.run_tasks(&tasks, &[&["--json"], flags].concat());
    (answer.json(), answer.code)
}

#[test]
fn a_workflow_waits_for_a_person_and_its_branch_is_kept() {
    let world = World::new();
    let before = world.git(&["rev-parse", "main"]);
    let script = "mkdir -p .github/workflows a; echo on: push > .github/workflows/x.yml; ln -s ../../elsewhere a/out; echo ok > ok";
    let (run, code) = task(&world, script, "", &[]);
    let task = &run["tasks"][0];
    assert_eq!(
        (code, &run["state"], &task["state"]),
        (9, &json!("needs_attention"), &json!("needs_attention")),
        "{run}"
    );
    assert_eq!(task["reason"]["kind"], "attention");
    assert_eq!(task["reason"]["paths"], json!([".github/workflows/x.yml", "a/out"]));
    assert!(task["reason"]["message"].as_str().is_some_and(|message| message.contains("(ci, links)")), "{task}");
    assert_eq!(world.git(&["rev-parse", "main"]), before);
    let branch = task["branch"].as_str().expect("a branch");
    assert_eq!(world.git(&["show", &format!("{branch}:ok")]), "ok");
    // A person looks, and takes it; what waited for that goes no sooner.
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    world.git(&["merge", "-q", branch]);
    assert!(world.repo().join(".github/workflows/x.yml").exists());
}

#[test]
fn what_the_user_allows_lands_and_what_he_refuses_is_rejected() {
    let world = World::new();
    let script = "echo 'use nix' > .envrc";
    let (run, code) = task(&world, script, "", &["--set", "merge.sensitive.environment=refuse"]);
    assert_eq!((code, &run["tasks"][0]["reason"]["kind"]), (4, &json!("policy")), "{run}");
    // The user gave the task this very path.
    let (run, code) = task(&world, script, "paths = [\"**\"]\n", &[]);
    assert_eq!((code, &run["state"]), (9, &json!("needs_attention")), "{run}");
    let (run, code) = task(&world, script, "paths = [\".envrc\"]\n", &[]);
    assert_eq!((code, &run["state"]), (0, &json!("landed")), "{run}");
    let (run, code) = task(&world, "echo more >> .envrc", "", &["--set", "merge.sensitive.environment=allow"]);
    assert_eq!((code, &run["state"]), (0, &json!("landed")), "{run}");
    // A project can only be stricter than that.
    world.write(".treehand.toml", "[merge.sensitive]\nenvironment = \"allow\"\nci = \"refuse\"\n");
    world.git(&["add", "-A"]);
    world.git(&["commit", "-qm", "settings"]);
    let (run, _) = task(&world, "echo again >> .envrc", "", &[]);
    assert_eq!(run["state"], "needs_attention", "{run}");
    let (run, _) = task(&world, "echo x > Jenkinsfile", "", &[]);
    assert_eq!(run["tasks"][0]["state"], "rejected", "{run}");
}

#[test]
fn a_hook_of_the_directory_that_the_repository_names_waits_too() {
    let world = World::new();
    world.git(&["config", "core.hooksPath", "tools/git"]);
    let (run, _) = task(&world, "mkdir -p tools/git; echo x > tools/git/pre-commit; echo y > tools/other", "", &[]);
    assert_eq!(run["tasks"][0]["reason"]["paths"], json!(["tools/git/pre-commit"]), "{run}");
}

#[test]
fn what_a_task_changed_in_a_submodule_is_looked_at_too() {
    let world = World::new();
    let lib = world.path().join("lib");
    world.git_in(world.path(), &["init", "-q", "-b", "main", "lib"]);
    world.git_in(&lib, &["commit", "-q", "--allow-empty", "-m", "lib"]);
    let address = lib.to_string_lossy().into_owned();
    world.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", &address, "lib"]);
    world.git(&["commit", "-q", "-m", "with lib"]);
    let (run, code) =
        task(&world, "cd lib; mkdir .vscode; echo x > .vscode/tasks.json; ln -s ../.. out; ln -s x in", "", &[]);
    assert_eq!((code, &run["tasks"][0]["state"]), (9, &json!("needs_attention")), "{run}");
    assert_eq!(run["tasks"][0]["reason"]["paths"], json!(["lib/.vscode/tasks.json", "lib/out"]), "{run}");
}

#[test]
fn what_needs_such_a_result_does_not_land_without_it() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", \"echo x > .envrc\"]\n\n\
                 [[task]]\nid = \"b\"\nneeds = [\"a\"]\ncommand = [\"sh\", \"-c\", \"echo b > b\"]\n\n\
                 [[task]]\nid = \"c\"\ncommand = [\"sh\", \"-c\", \"echo c > c\"]\n";
    let run = world.run_tasks(tasks, &["--json"]).json();
    let states: Vec<&str> =
        run["tasks"].as_array().expect("tasks").iter().filter_map(|t| t["state"].as_str()).collect();
    assert_eq!(states, ["needs_attention", "skipped", "landed"], "{run}");
}

#[test]
fn a_task_that_replaced_the_link_to_its_git_dir_is_looked_at_by_a_person() {
    let world = World::new();
    let attack = "rm .git; printf '[core]\\n\\tfsmonitor = touch /tmp/owned\\n' > x; mkdir .git; mv x .git/config; echo work > work";
    let file = format!("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-ec\", {}]\n", json!(attack));
    let answer = world.run_tasks(&file, &["--confine", "landlock"]);
    if answer.code == 10 {
        eprintln!("NOT RUN: this machine has no Landlock: {}", answer.stdout);
        return;
    }
    let run = answer.json();
    let task = &run["tasks"][0];
    assert_eq!((answer.code, &task["state"]), (9, &json!("needs_attention")), "{run}");
    assert!(task["reason"]["message"].as_str().is_some_and(|message| message.contains("its git dir")), "{task}");
    assert_eq!(world.git(&["show", &format!("{}:work", task["branch"].as_str().expect("a branch"))]), "work");
    let link = std::path::Path::new(task["workspace"].as_str().expect("a workspace")).join("repo/.git");
    assert!(std::fs::read_to_string(&link).expect("a file again").starts_with("gitdir: "), "{}", link.display());
    // The same in a workspace of a person's.
    world.treehand(&["new", "w", "--sealed"]).expect(0);
    let exec = ["exec", "w", "--confine", "landlock", "--", "sh", "-c", "rm .git; echo gitdir: /elsewhere > .git"];
    assert!(world.treehand(&exec).expect(0).stderr.contains("it was put back"));
    assert_eq!(world.git_in(&world.trees().join("w/repo"), &["status", "--porcelain"]), "");
}
