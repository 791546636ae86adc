//! Stories of work that a person did, in workspaces or on branches, and has land through the queue.

use crate::support;

use serde_json::{Value, json};
use support::World;

fn workspace(world: &World, name: &str, files: &[(&str, &str)]) {
    world.treehand(&["new", name]).expect(0);
    let tree = tree(world, name);
    for (file, text) in files {
        std::fs::write(tree.join(file), text).expect("written");
        world.git_in(&tree, &["add", file]);
        world.git_in(&tree, &["commit", "-q", "-m", file]);
    }
}

fn tree(world: &World, name: &str) -> std::path::PathBuf {
    world.tree(&name.replace('/', "~"))
}

fn merge(world: &World, args: &[&str], code: i32) -> Value {
    world.treehand(&[&["merge", "--json", "--confine", "off"], args].concat()).expect(code).json()
}

#[test]
fn a_workspace_lands_as_one_commit_in_its_own_words_and_stays() {
    let world = World::new();
    workspace(&world, "feature/x", &[("one", "1\n"), ("two", "2\n")]);
    let before = world.git(&["rev-parse", "main"]);
    let merged = merge(&world, &["feature/x"], 0);
    let after = world.git(&["rev-parse", "main"]);
    assert_eq!(
        (&merged["target"], &merged["before"], &merged["after"]),
        (&json!("main"), &json!(before), &json!(after))
    );
    assert_eq!(merged["landed"], json!([{"task": "feature/x", "commit": after}]));
    let message = world.git(&["log", "-1", "--format=%B", "main"]);
    assert_eq!(message.trim_end(), "feature/x\n\n* one\n* two", "nothing of ours is in it");
    assert_eq!(world.git(&["rev-parse", "main~"]), before);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert!(tree(&world, "feature/x").join("two").exists());
    assert_eq!(
        world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/treehand"]),
        "",
        "nothing of the run is left"
    );
    assert_eq!(merge(&world, &["feature/x"], 0)["after"], after, "there is nothing more to land");
    world.treehand(&["rm", "feature/x"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "main"]), before);
}

#[test]
fn each_strategy_makes_what_git_makes_of_it() {
    let world = World::new();
    workspace(&world, "ff", &[("ff", "1\n")]);
    let tip = world.git(&["rev-parse", "ff"]);
    assert_eq!(merge(&world, &["ff", "--strategy", "ff"], 0)["after"], tip);
    workspace(&world, "topic", &[("one", "1\n"), ("two", "2\n")]);
    world.commit("meanwhile", &[("meanwhile", "x\n")]);
    let refused = merge(&world, &["topic", "--strategy", "ff"], 6);
    assert_eq!(refused["rejected"][0]["reason"]["kind"], "stale");
    merge(&world, &["topic", "--strategy", "merge"], 0);
    assert_eq!(world.git(&["log", "-1", "--format=%B%P", "main"]).lines().next(), Some("Merge branch 'topic'"));
    assert_eq!(world.git(&["rev-parse", "main^2"]), world.git(&["rev-parse", "topic"]));
    workspace(&world, "series", &[("three", "3\n"), ("four", "4\n")]);
    world.commit("again", &[("again", "x\n")]);
    merge(&world, &["series", "--strategy", "rebase"], 0);
    assert_eq!(world.git(&["log", "--format=%B", "-3", "main"]), "four\n\nthree\n\nagain");
}

#[test]
fn who_wrote_it_stays_its_author_and_whoever_helped_is_named() {
    let world = World::new();
    workspace(&world, "w", &[("one", "1\n")]);
    let tree = world.tree("w");
    std::fs::write(tree.join("two"), "2\n").expect("written");
    world.git_in(&tree, &["add", "two"]);
    world.git_in(&tree, &["commit", "-q", "--author", "Ada <ada@example.com>", "-m", "two"]);
    merge(&world, &["w"], 0);
    let told = world.git(&["log", "-1", "--format=%an|%cn|%(trailers:key=Co-authored-by,valueonly)", "main"]);
    let me = world.git(&["log", "-1", "--format=%an <%ae>", "main~"]);
    let name = me.split(" <").next().unwrap_or_default();
    assert_eq!(told.trim_end(), format!("Ada|{name}|{me}"));
}

#[test]
fn what_is_not_committed_keeps_a_workspace_from_landing_and_untracked_files_only_stay() {
    let world = World::new();
    workspace(&world, "w", &[("one", "1\n")]);
    std::fs::write(world.tree("w").join("one"), "changed\n").expect("written");
    let refused = world.treehand(&["merge", "w"]).expect(4);
    assert!(refused.stderr.contains("`w` has changes that are not committed"), "{}", refused.stderr);
    world.git_in(&world.tree("w"), &["checkout", "-q", "--", "one"]);
    std::fs::write(world.tree("w").join("scratch"), "mine\n").expect("written");
    let landed = world.treehand(&["merge", "@", "-C", &world.tree("w").to_string_lossy()]).expect(0);
    assert!(landed.stderr.contains("files that git does not know"), "{}", landed.stderr);
    assert_eq!(world.show("main", "one"), "1\n");
    assert!(world.tree("w").join("scratch").exists());
}

#[test]
fn gates_judge_a_workspace_too_and_a_conflict_names_both_sides() {
    let world = World::new();
    workspace(&world, "good", &[("good", "1\n")]);
    workspace(&world, "bad", &[("bad", "1\n")]);
    let merged = merge(&world, &["good", "bad", "--gate", "! test -e bad"], 7);
    assert_eq!((&merged["landed"][0]["task"], &merged["rejected"][0]["task"]), (&json!("good"), &json!("bad")));
    workspace(&world, "mine", &[("same", "mine\n")]);
    world.commit("theirs", &[("same", "theirs\n")]);
    let reason = &merge(&world, &["mine"], 5)["rejected"][0]["reason"];
    assert_eq!((&reason["kind"], &reason["paths"]), (&json!("conflict"), &json!(["same"])));
    assert_eq!(world.git_in(&world.tree("mine"), &["status", "--porcelain"]), "", "the workspace is as it was");
}

#[test]
fn a_dry_run_shows_what_would_land_and_lands_nothing() {
    let world = World::new();
    workspace(&world, "a", &[("same", "a\n")]);
    workspace(&world, "b", &[("same", "b\n")]);
    workspace(&world, "c", &[("c", "c\n")]);
    let before = (world.git(&["for-each-ref"]), world.git(&["count-objects"]));
    let shown = merge(&world, &["a", "b", "c", "--gate", "true", "--dry-run"], 5);
    assert_eq!((&shown["dry_run"], &shown["gates"]), (&json!(true), &json!(["true"])));
    let tasks: Vec<&Value> = shown["landed"].as_array().expect("a list").iter().map(|one| &one["task"]).collect();
    assert_eq!((tasks, &shown["rejected"][0]["task"]), (vec![&json!("a"), &json!("c")], &json!("b")));
    assert_eq!((world.git(&["for-each-ref"]), world.git(&["count-objects"])), before);
    let text = world.treehand(&["merge", "c", "--dry-run"]).expect(0).stdout;
    assert!(text.contains("would land c on main as tree ") && text.contains("\n    c\n"), "{text}");
    merge(&world, &["c"], 0);
    assert_eq!(world.git(&["rev-parse", "main^{tree}"]), merge(&world, &["c", "--dry-run"], 0)["landed"][0]["tree"]);
    let run =
        world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t\"]\n", &["--merge", "manual"]);
    let run = run.expect(0).json()["run"].as_str().expect("an id").to_owned();
    let shown = merge(&world, &[&run, "--dry-run"], 0);
    assert!(shown["landed"][0]["message"].as_str().expect("words").contains("Treehand-Task: t"), "{shown}");
}

#[test]
fn a_stacked_workspace_brings_nothing_again_that_came_as_a_squash() {
    let world = World::new();
    workspace(&world, "lower", &[("lower", "1\n"), ("lower", "2\n")]);
    world.treehand(&["new", "upper", "--base", "lower"]).expect(0);
    world.commit_in("upper", "upper", "1\n");
    merge(&world, &["lower"], 0);
    world.commit("later", &[("lower", "3\n")]);
    let merged = merge(&world, &["upper", "--into", "main"], 0);
    assert_eq!(world.git(&["show", "--format=", "--name-only", "main"]), "upper", "{merged}");
    assert_eq!(world.show("main", "lower"), "3\n");
}

#[test]
fn a_sealed_workspace_lands_with_all_that_it_holds_and_a_branch_without_a_workspace_lands_too() {
    let world = World::new();
    world.treehand(&["new", "--sealed", "s"]).expect(0);
    std::fs::write(world.tree("s").join("inside"), "1\n").expect("written");
    merge(&world, &["s"], 0);
    assert_eq!(world.show("main", "inside"), "1\n");
    world.git(&["switch", "-q", "-c", "plain"]);
    world.commit("plain", &[("plain", "1\n")]);
    world.git(&["switch", "-q", "main"]);
    assert_eq!(merge(&world, &["plain", "--into", "main"], 0)["landed"][0]["task"], "plain");
    assert_eq!(world.show("main", "plain"), "1\n");
    merge(&world, &["main", "--into", "main"], 4);
    let unknown = world.treehand(&["merge", "nothing"]).expect(3);
    assert!(unknown.stderr.contains("no workspace, run or branch `nothing`"), "{}", unknown.stderr);
    world.treehand(&["merge", "plain", "--into", "nowhere"]).expect(3);
}

#[test]
fn flags_settle_anew_how_a_result_lands() {
    let world = World::new();
    world.git(&["branch", "next"]);
    let run =
        world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t\"]\n", &["--merge", "manual"]);
    let run = run.expect(0).json()["run"].as_str().expect("an id").to_owned();
    let gate = merge(&world, &[&run, "--into", "next", "--gate", "false"], 7);
    assert_eq!((&gate["target"], &gate["rejected"][0]["reason"]["kind"]), (&json!("next"), &json!("gate")));
    merge(&world, &[&run, "--into", "next", "--strategy", "merge", "--gate", "true"], 0);
    assert_eq!(world.show("next", "t"), "t\n");
    assert_eq!(world.git(&["rev-list", "--merges", "--count", "main..next"]), "1");
}

#[test]
fn the_message_of_a_commit_is_what_a_template_makes_of_it_or_there_is_no_commit() {
    let world = World::new();
    workspace(&world, "feature/x", &[("one", "1\n"), ("two", "2\n")]);
    // Of a project, too: it only renders text.
    let file = world.repo().join(".treehand.toml");
    let template = |text: &str| std::fs::write(&file, format!("merge.message = {text}\n")).expect("written");
    template("\"\"\"{{ branch }} to {{ target }}\\n\\n{% for one in commits %}{{ one.subject }};{% endfor %}\"\"\"");
    let foreseen = merge(&world, &["feature/x", "--dry-run"], 0);
    assert_eq!(foreseen["landed"][0]["message"], "feature/x to main\n\none;two;", "{foreseen}");
    merge(&world, &["feature/x"], 0);
    assert_eq!(world.git(&["log", "-1", "--format=%B", "main"]).trim_end(), "feature/x to main\n\none;two;");

    let begun =
        ["run", "--confine", "off", "--merge", "manual", "--name", "t", "--json", "--", "sh", "-c", "echo t > t"];
    template("'{{ task }}: {{ nothing }}'");
    let broken = world.treehand(&begun).expect(0).json();
    template("'{{ task }} of {{ goal }}'");
    let tip = world.git(&["rev-parse", "main"]);
    let refused = world.treehand(&["merge", broken["run"].as_str().expect("an id"), "--json"]).expect(4).json();
    let reason = &refused["rejected"][0]["reason"];
    assert_eq!(reason["kind"], "policy", "what it began with counts: {refused}");
    let why = reason["message"].as_str().expect("words");
    assert!(why.contains("`merge.message` gives no message for it: line 1 of it: undefined value"), "{why}");
    assert_eq!(world.git(&["rev-parse", "main"]), tip);

    template("'{{ task'");
    let refused = world.treehand(&["ls"]).expect(2);
    assert!(
        refused.stderr.contains("`merge.message` must be a template of messages: line 1 of it"),
        "{}",
        refused.stderr
    );
}
