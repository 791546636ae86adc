//! Stories of workspaces that have only some directories of the repository: of a person, sealed, and of tasks, on the way there, back and
//! through an update. What was left out is neither lost nor deleted.

use crate::support;

use std::path::{Path, PathBuf};

use serde_json::json;
use support::{World, state, task};

fn world() -> World {
    let world = World::new();
    let files = ["services/api/src/a", "services/web/b", "services/README", "libs/core/c", "docs/d"];
    world.commit("a monorepo", &files.map(|name| (name, "one\n")));
    world
}

fn made(world: &World, args: &[&str]) -> PathBuf {
    let made = world.treehand(&[&["new", "--json"], args].concat()).expect(0).json();
    PathBuf::from(made["path"].as_str().expect("a path"))
}

/// The files of a tree, but for what every repository here has.
fn files(tree: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![tree.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("read").flatten() {
            match entry.file_type().expect("read").is_dir() {
                true => left.push(entry.path()),
                false => found.push(entry.path().strip_prefix(tree).expect("below").to_string_lossy().into_owned()),
            }
        }
    }
    found.retain(|name| name.contains('/') && name != "src/lib.txt");
    found.sort();
    found
}

#[test]
fn a_workspace_has_the_directories_that_were_asked_for_and_git_goes_on_from_there() {
    let world = world();
    let document = world.treehand(&["new", "w", "--sparse", "services/api", "--sparse", "./docs/", "--json"]).expect(0);
    assert_eq!(document.json()["sparse"], json!(["services/api", "docs"]));
    let tree = world.tree("w");
    assert_eq!(files(&tree), ["docs/d", "services/README", "services/api/src/a"]);
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), "");
    assert_eq!(world.git_in(&tree, &["sparse-checkout", "list"]), "docs\nservices/api");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert!(world.repo().join("libs/core/c").exists(), "where one stands is as it was");
    assert_eq!(files(&made(&world, &["whole"])).len(), 5);
    world.git_in(&tree, &["sparse-checkout", "add", "libs"]);
    assert!(tree.join("libs/core/c").exists());
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    let of =
        |name: &str| listed["workspaces"].as_array().expect("a list").iter().find(|one| one["name"] == name).cloned();
    assert_eq!(of("w").expect("there")["dirty"], false);
    assert_eq!(of("whole").expect("there")["sparse"], json!([]));
    // What it has comes along, and what it has not stays on its branch.
    world.commit("more", &[("docs/d", "two\n"), ("services/web/b", "two\n")]);
    world.treehand(&["fresh", "w", "--update", "rebase"]).expect(0);
    assert_eq!(std::fs::read_to_string(tree.join("docs/d")).expect("there"), "two\n");
    assert!(!tree.join("services/web").exists());
    world.commit_in("w", "docs/new", "new\n");
    world.treehand(&["merge", "w"]).expect(0);
    assert_eq!(world.git(&["diff", "--name-status", "HEAD~1"]), "A\tdocs/new");
    world.treehand(&["rm", "w"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert!(!tree.join("services/web").exists());
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), "");
}

#[test]
fn a_sealed_workspace_gives_back_what_was_done_and_deletes_nothing_that_it_did_not_have() {
    let world = world();
    let tree = made(&world, &["s", "--sealed", "--sparse", "services"]);
    assert_eq!(files(&tree), ["services/README", "services/api/src/a", "services/web/b"]);
    let script = "test -z \"$(git status --porcelain)\" && echo two > services/web/b && rm services/README && \
        mkdir docs && echo new > docs/new && echo odd > 'docs/[o]dd * '";
    world.treehand(&["exec", "s", "--", "sh", "-c", script]).expect(0);
    let diff = world.treehand(&["diff", "s", "--json"]).expect(0).json();
    let names = diff["files"].as_array().expect("files").iter().map(|file| file["path"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["docs/[o]dd * ", "docs/new", "services/README", "services/web/b"], "{diff}");
    world.commit("more", &[("docs/d", "two\n"), ("services/api/src/a", "two\n")]);
    world.treehand(&["fresh", "s", "--update", "rebase"]).expect(0);
    let mine = ["docs/[o]dd * ", "docs/new", "services/api/src/a", "services/web/b"];
    assert_eq!(files(&tree), mine);
    assert_eq!(std::fs::read_to_string(tree.join("services/api/src/a")).expect("there"), "two\n");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(std::fs::read_to_string(tree.join("services/api/src/a")).expect("there"), "one\n");
    assert_eq!(files(&tree), mine);
    world.treehand(&["redo"]).expect(0);
    world.treehand(&["merge", "s"]).expect(0);
    let landed = world.git(&["diff", "--name-status", "HEAD~1"]);
    assert_eq!(landed, "A\tdocs/[o]dd * \nA\tdocs/new\nD\tservices/README\nM\tservices/web/b");
    assert_eq!(world.show("main", "docs/d"), "two\n");
}

#[test]
fn a_sealed_workspace_is_as_sparse_as_where_one_stands() {
    let world = world();
    world.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/services/web/"]);
    let tree = made(&world, &["s", "--sealed"]);
    assert_eq!(files(&tree), ["docs/d", "libs/core/c", "services/README", "services/api/src/a"]);
    let told = world.treehand(&["exec", "s", "--", "git", "status", "--porcelain"]).expect(0);
    assert_eq!(told.stdout, "");
    let asked = made(&world, &["t", "--sealed", "--sparse", "docs"]);
    assert_eq!(files(&asked), ["docs/d"]);
}

#[test]
fn a_task_has_what_it_may_change_and_gates_see_everything() {
    let world = world();
    world.write(".treehand.toml", "[merge]\ngates = [\"test -e libs/core/c && test -e services/web/b\"]\n");
    world.commit(
        "gates",
        &[(".treehand.toml", "[merge]\ngates = [\"test -e libs/core/c && test -e services/web/b\"]\n")],
    );
    let tasks = r#"
        [[task]]
        id = "auto"
        paths = ["services/api/**"]
        sparse = "auto"
        command = ["sh", "-c", "test ! -e libs && test ! -e services/web && echo two > services/api/src/a"]
        [[task]]
        id = "upper"
        needs = ["auto"]
        paths = ["docs/*"]
        sparse = "auto"
        command = ["sh", "-c", "test ! -e libs && test ! -e services/web && cp services/api/src/a docs/copy"]
        [[task]]
        id = "named"
        sparse = ["libs"]
        command = ["sh", "-c", "test ! -e docs && echo two > libs/core/c"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(0).json();
    assert_eq!(
        ["auto", "upper", "named"].map(|id| state(&run, id).to_owned()),
        ["landed", "landed", "landed"],
        "{run}"
    );
    assert_eq!(world.show("main", "docs/copy"), "two\n");
    assert_eq!(
        world.git(&["ls-tree", "-r", "--name-only", "main", "services/web", "libs"]),
        "libs/core/c\nservices/web/b"
    );
    assert_eq!(task(&run, "auto")["attempts"][0]["error"], json!(null));
}

#[test]
fn directories_that_are_not_there_are_refused_before_anything_is_made() {
    let world = world();
    let refused = world.treehand(&["new", "w", "--sparse", "services/apy", "--json"]).expect(3).json();
    assert_eq!(refused["message"], "there is no directory in the base `services/apy`");
    for bad in ["/docs", "../docs", ".", "", "docs/../libs"] {
        world.treehand(&["new", "w", "--sparse", bad]).expect(2);
    }
    let tasks = |sparse: &str| format!("[[task]]\nid = \"t\"\ncommand = [\"true\"]\nsparse = {sparse}\n");
    world.run_tasks(&tasks("[\"nothing/here\"]"), &[]).expect(3);
    for bad in ["\"all\"", "[]", "true", "[\"/docs\"]", "[1]"] {
        let answer = world.run_tasks(&tasks(bad), &[]).expect(2).json();
        assert!(answer["message"].as_str().expect("a message").contains("line 4"), "{answer}");
    }
    assert!(!world.trees().exists());
    assert_eq!(world.git(&["branch", "--list"]).lines().count(), 1);
}
