//! Stories of `uninstall`: what goes and what stays, what it refuses, what a kill in the middle leaves, and the whole account.
#![expect(clippy::disallowed_methods, reason = "stories copy, look at and kill what a user has")]

use crate::support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::World;

fn world() -> World {
    let mut world = World::new();
    world.set("TREEHAND_CONFINE__LEVEL", "off");
    world
}

/// A world with a plain workspace with an uncommitted file, a sealed one with work, a run that landed and one that failed.
fn lived_in() -> World {
    let world = world();
    world.treehand(&["new", "plain"]).expect(0);
    std::fs::write(world.tree("plain").join("dirty"), "mine\n").expect("written");
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    std::fs::write(world.tree("shut").join("work"), "worked\n").expect("written");
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo landed > landed"]).expect(0);
    world
        .treehand(&["run", "--confine", "off", "--name", "half", "--", "sh", "-c", "echo half > half; exit 1"])
        .expect(1);
    world
}

/// What is called after treehand below a directory and is not named in `left`.
fn traces(world: &World, left: &Value) -> Vec<PathBuf> {
    let named: Vec<&str> = left.as_array().expect("a list").iter().filter_map(|left| left["item"].as_str()).collect();
    let all = walkdir::WalkDir::new(world.path()).min_depth(1).into_iter().filter_map(Result::ok);
    let ours = all.filter(|entry| entry.file_name().to_string_lossy().contains("treehand"));
    ours.map(|entry| entry.path().to_owned())
        .filter(|path| named.iter().all(|named| !path.starts_with(named)))
        .collect()
}

fn pairs(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(|one| (text(&one["kind"]), text(&one["item"]))).collect()
}

fn outcome(document: &Value) -> (&str, &str) {
    let one = &document["repos"][0];
    (one["outcome"].as_str().expect("a word"), one["reason"].as_str().unwrap_or_default())
}

/// The branches, without those that hold what was saved, whose names are never the same twice; and how many of those there are.
fn branches(world: &World) -> (Vec<String>, Vec<String>) {
    let all = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/"]);
    all.lines().map(str::to_owned).partition(|name| !name.starts_with("refs/heads/salvaged/"))
}

fn assert_uninstalled(world: &World, left: &Value) {
    assert_eq!(traces(world, left), [] as [PathBuf; 0]);
    assert_eq!(world.git(&["for-each-ref", "refs/treehand"]), "");
    world.git(&["fsck", "--full", "--strict"]);
    let plain = world.tree("plain");
    assert_eq!(std::fs::read_to_string(plain.join("dirty")).expect("it is there"), "mine\n");
    assert_eq!(world.git_in(&plain, &["status", "--porcelain"]), "?? dirty");
    assert!(world.git(&["worktree", "list"]).contains(&*plain.to_string_lossy()));
    assert!(!world.tree("shut").exists(), "a box is left");
    assert_eq!(world.show("shut", "work"), "worked\n", "what was sealed is on its branch");
    let (kept, saved) = branches(world);
    assert_eq!(kept, ["refs/heads/main", "refs/heads/plain", "refs/heads/shut"]);
    let half = saved.iter().map(|name| world.show(name, "half")).next();
    assert_eq!(half.as_deref(), Some("half\n"), "what a task left is on a branch: {saved:?}");
}

#[test]
fn what_the_plan_says_goes_and_what_is_a_persons_stays() {
    let world = lived_in();
    world.treehand(&["uninstall", "--dry-run", "--yes"]).expect(2);
    let plan = world.treehand(&["uninstall", "--dry-run", "--json"]).expect(0).json();
    assert_eq!((outcome(&plan).0, &plan["applied"]), ("planned", &Value::Bool(false)), "{plan}");
    let again = world.treehand(&["uninstall", "--json"]).expect(0).json();
    assert_eq!(pairs(&plan["removed"]), pairs(&again["removed"]), "a plan changes nothing");
    assert!(world.tree("shut").exists());
    let done = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
    assert_eq!((outcome(&done), &done["applied"]), (("done", ""), &Value::Bool(true)), "{done}");
    assert_eq!(pairs(&plan["removed"]), pairs(&done["removed"]));
    assert!(done["freed_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{done}");
    let left = pairs(&done["left"]);
    for wanted in pairs(&plan["left"]) {
        assert!(left.contains(&wanted), "{wanted:?} is not in {left:?}");
    }
    assert!(left.contains(&("workspace".into(), world.tree("plain").to_string_lossy().into_owned())), "{left:?}");
    assert_uninstalled(&world, &done["left"]);
    assert!(!world.repo().join(".git/treehand").exists());
    assert!(
        !world.path().join("state/treehand/sealed").exists() && !world.path().join("state/treehand/known").exists()
    );
    let nothing = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
    assert_eq!(outcome(&nothing), ("done", "nothing of treehand is here"));
    assert_eq!(world.treehand(&["ls", "--json"]).expect(0).json()["workspaces"], serde_json::json!([]));
    assert_eq!(world.treehand(&["log", "--json"]).expect(0).json()["operations"], serde_json::json!([]));
    world.treehand(&["new", "anew"]).expect(0);
}

#[test]
fn a_run_at_work_a_command_at_work_and_a_copy_keep_it() {
    let world = world();
    let fifo = world.path().join("fifo");
    world.shell(&format!("mkfifo '{}'", fifo.display())).expect(0);
    let script = format!("read line < '{}'; echo done > done", fifo.display());
    world.treehand(&["run", "--confine", "off", "--detach", "--", "sh", "-c", &script]).expect(0);
    let run = world.only_run();
    let refused = world.treehand(&["uninstall", "--yes", "--json"]).expect(8).json();
    let (word, why) = outcome(&refused);
    assert!(word == "refused" && why.contains(&format!("run {run} is at work")), "{refused}");
    assert_eq!(refused["removed"], serde_json::json!([]));
    std::fs::write(&fifo, "go\n").expect("written");
    world.treehand(&["wait", &run]).expect(0);
    world.wait_unsupervised(&run);

    world.treehand(&["new", "plain"]).expect(0);
    let out = world.path().join("out");
    world.shell(&format!("mkfifo '{}'", out.display())).expect(0);
    let script = format!("echo ready > '{}'; read line < '{}'", out.display(), fifo.display());
    let mut exec = world.command(&["exec", "plain", "--confine", "off", "--", "sh", "-c", &script]);
    let mut exec =
        exec.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("started");
    assert_eq!(std::fs::read_to_string(&out).expect("it is ready"), "ready\n");
    let (refused, why) = {
        let document = world.treehand(&["uninstall", "--yes", "--json"]).expect(8).json();
        (outcome(&document).0.to_owned(), outcome(&document).1.to_owned())
    };
    assert!(refused == "refused" && why.contains("works in `plain`"), "{why}");
    std::fs::write(&fifo, "go\n").expect("written");
    assert!(exec.wait().expect("it ends").success());

    world.shell("cp -a . ../copy").expect(0);
    let copy = world.path().join("copy");
    let refused = world.treehand_at(&copy, &["uninstall", "--yes", "--json"]).expect(4).json();
    assert!(outcome(&refused).1.contains("doctor --repair"), "{refused}");
    world.treehand(&["uninstall", "--yes"]).expect(0);
}

#[test]
fn what_was_saved_keeps_it_until_it_is_let_go() {
    let world = world();
    world.treehand(&["new", "plain"]).expect(0);
    std::fs::write(world.tree("plain").join("dirty"), "mine\n").expect("written");
    world.treehand(&["rm", "-f", "plain"]).expect(0);
    for args in [&["uninstall", "--yes", "--json"][..], &["uninstall", "--json"]] {
        let refused = world.treehand(args).expect(4).json();
        let (word, why) = outcome(&refused);
        assert!(word == "refused" && why.contains("1 thing that was saved") && why.contains("--discard"), "{refused}");
    }
    assert_eq!(
        world.treehand(&["salvage", "ls", "--json"]).expect(0).json()["salvage"].as_array().map(Vec::len),
        Some(1)
    );
    let saved = world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand/salvage/"]);
    assert!(!saved.is_empty());
    let done = world.treehand(&["uninstall", "--yes", "--discard", "--json"]).expect(0).json();
    assert_eq!(outcome(&done).0, "done", "{done}");
    assert_eq!(traces(&world, &done["left"]), [] as [PathBuf; 0]);
    assert_eq!(branches(&world), (vec!["refs/heads/main".to_owned()], Vec::new()), "nothing of it is a branch");
    world.git(&["fsck", "--full", "--strict"]);
}

#[test]
fn a_result_that_waits_for_a_person_is_on_its_branch() {
    let world = world();
    let run = ["run", "--confine", "off", "--merge", "manual", "--name", "t", "--", "sh", "-c", "echo new > new"];
    world.treehand(&run);
    let run = world.only_run();
    let done = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
    let branch = format!("refs/heads/treehand/{run}/t");
    assert!(pairs(&done["left"]).contains(&("branch".into(), branch.clone())), "{done}");
    assert_eq!(world.show(&branch, "new"), "new\n");
    assert!(!world.trees().exists(), "its box is left");
}

#[test]
fn private_directories_that_are_not_on_record_are_not_lost_with_the_store() {
    let world = world();
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    world.shell("rm .git/treehand/state.db*").expect(0);
    let refused = world.treehand(&["uninstall", "--yes", "--json"]).expect(4).json();
    assert!(outcome(&refused).1.contains("not on record"), "{refused}");
    let sealed = std::fs::read_dir(world.path().join("state/treehand/sealed")).expect("it is there");
    assert_eq!(sealed.count(), 1);
}

#[test]
fn sealed_work_that_this_state_directory_cannot_capture_is_not_lost() {
    let world = lived_in();
    let elsewhere = world.path().join("other-state");
    let mut command = world.command(&["uninstall", "--yes", "--json"]);
    command.env("XDG_STATE_HOME", &elsewhere);
    let refused = support::answer(command).expect(4).json();
    assert!(outcome(&refused).1.contains("private git dir of `shut` is not in"), "{refused}");
    assert_eq!(std::fs::read_to_string(world.tree("shut").join("work")).expect("it is there"), "worked\n");
    let done = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
    assert_uninstalled(&world, &done["left"]);
}

#[test]
fn what_a_sealed_workspace_did_in_a_submodule_stays_in_its_clone_and_is_named() {
    let world = world();
    world.shell("git init -q -b main ../lib && cd ../lib && git commit -q --allow-empty -m first").expect(0);
    let lib = world.path().join("lib").to_string_lossy().into_owned();
    world.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &lib, "sub"]);
    world.git(&["commit", "-q", "-m", "sub"]);
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    let sub = world.tree("shut").join("sub");
    std::fs::write(sub.join("new"), "new\n").expect("written");
    world.git_in(&sub, &["add", "new"]);
    world.git_in(&sub, &["commit", "-q", "-m", "new"]);
    let commit = world.git_in(&sub, &["rev-parse", "HEAD"]);
    let done = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
    let clone = world.repo().join(".git/modules/sub");
    assert!(pairs(&done["left"]).contains(&("submodule".into(), clone.to_string_lossy().into_owned())), "{done}");
    assert_eq!(world.git(&["rev-parse", "shut:sub"]), commit);
    assert_eq!(
        world.git_in(&clone, &["for-each-ref", "--contains", &commit, "--format=%(refname)"]),
        "refs/heads/treehand/shut"
    );
    assert_eq!(traces(&world, &done["left"]), [] as [PathBuf; 0]);
}

/// Copies what a world has aside, or back.
fn copy(world: &World, from: &Path, to: &Path) {
    let parts = "repo repo.trees state";
    let script = format!(
        "mkdir -p '{to}' && cd '{to}' && rm -rf {parts} && cd '{from}' && cp -a {parts} '{to}'",
        from = from.display(),
        to = to.display()
    );
    let mut command = Command::new("sh");
    world.clean(&mut command);
    command.args(["-c", &script]);
    support::answer(command).expect(0);
}

#[test]
fn one_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let world = lived_in();
    let aside = tempfile::tempdir().expect("a place");
    copy(&world, world.path(), aside.path());
    let begun = std::time::Instant::now();
    world.treehand(&["uninstall", "--yes"]).expect(0);
    let (whole, steps) = (begun.elapsed(), 8_u32);
    let mut killed = 0;
    for step in 1..=steps {
        copy(&world, aside.path(), world.path());
        let after = format!("{:.3}", whole.mul_f64(f64::from(step) / f64::from(steps)).as_secs_f64());
        let mut command = Command::new("timeout");
        world.clean(&mut command);
        command.args(["-s", "KILL", &after, env!("CARGO_BIN_EXE_treehand"), "uninstall", "--yes"]);
        command.current_dir(world.repo());
        killed += u32::from(support::answer(command).code != 0);
        world.git(&["status"]);
        let document = world.treehand(&["uninstall", "--yes", "--json"]).expect(0).json();
        assert_eq!(outcome(&document).0, "done", "after {after} s: {document}");
        let left = serde_json::json!([{"item": world.path().join("state/treehand")}]);
        assert_uninstalled(&world, &left);
        assert!(!world.path().join("state/treehand/sealed").exists(), "after {after} s");
        assert!(!world.path().join("state/treehand/known").exists(), "after {after} s");
    }
    assert!(killed > 0, "none was killed in {whole:?}");
}

/// A repository beside the world's own with a workspace; its path.
fn used(world: &World, name: &str) -> String {
    let path = world.path().join(name).to_string_lossy().into_owned();
    let script = format!("git init -q -b main '{path}' && cd '{path}' && git commit -q --allow-empty -m first");
    world.shell(&script).expect(0);
    world.treehand(&["-C", &path, "new", "w"]).expect(0);
    path
}

fn of<'a>(document: &'a Value, repo: &str) -> (&'a str, &'a str) {
    let all = document["repos"].as_array().expect("repositories");
    let one = all.iter().find(|one| one["repo"] == repo).unwrap_or_else(|| panic!("no {repo} in {document}"));
    (one["outcome"].as_str().expect("a word"), one["reason"].as_str().unwrap_or_default())
}

#[test]
fn an_account_is_left_by_all_that_can_be_reached_and_then_for_good() {
    let world = world();
    let (disk, unplugged) = (world.path().join("disk"), world.path().join("unplugged"));
    std::fs::create_dir(&disk).expect("made");
    let (one, away) = (used(&world, "one"), used(&world, "disk/away"));
    world.treehand(&["-C", &one, "clean", "--yes"]).expect(0);
    let rc = world.path().join("home/.bashrc");
    std::fs::write(&rc, "eval \"$(treehand shell-init bash)\"\n").expect("written");
    std::fs::rename(&disk, &unplugged).expect("renamed");
    std::fs::create_dir(&disk).expect("an empty mount point");
    let all = |args: &[&str], code: i32| {
        world.treehand(&[&["-C", "/", "uninstall", "--account", "--json"], args].concat()).expect(code).json()
    };
    let state = world.path().join("state/treehand");
    let plan = all(&[], 0);
    assert_eq!((of(&plan, &one).0, of(&plan, &away).0), ("planned", "kept"), "{plan}");
    assert!(state.join("reports").exists(), "a plan changes nothing");
    let done = all(&["--yes"], 0);
    assert_eq!((of(&done, &one).0, of(&done, &away).0), ("done", "kept"), "{done}");
    assert!(of(&done, &away).1.contains("may not be mounted"), "{done}");
    assert_eq!(pairs(&plan["removed"]), pairs(&done["removed"]));
    assert!(!std::fs::read_to_string(state.join("ports.json")).is_ok_and(|text| text.contains(&one)), "it has ports");
    let left = pairs(&done["left"]);
    for (kind, item) in [("repo", away.clone()), ("shell", rc.to_string_lossy().into_owned())] {
        assert!(left.contains(&(kind.to_owned(), item)), "{left:?}");
    }
    assert!(!Path::new(&one).join(".git/treehand").exists() && !state.join("reports").exists());
    assert_eq!(
        std::fs::read_dir(state.join("known")).expect("it stays").count(),
        1,
        "the registry stays for the other"
    );
    std::fs::remove_dir(&disk).expect("removed");
    std::fs::rename(&unplugged, &disk).expect("renamed");
    let done = all(&["--yes"], 0);
    assert_eq!(of(&done, &away).0, "done", "{done}");
    assert!(!state.exists() && rc.exists());
    assert!(Path::new(&one).join(".git/worktrees").exists(), "its workspace stays with git");
    assert_eq!(all(&["--yes"], 0)["repos"], serde_json::json!([]));
}

#[test]
fn an_account_stays_whole_while_a_repository_keeps_treehand() {
    let world = world();
    let (one, two) = (used(&world, "one"), used(&world, "two"));
    world.treehand(&["-C", &two, "rm", "w"]).expect(0);
    let done = world.treehand(&["-C", "/", "uninstall", "--account", "--yes", "--json"]).expect(4).json();
    assert_eq!((of(&done, &one).0, of(&done, &two).0), ("done", "refused"), "{done}");
    assert!(world.path().join("state/treehand/known").exists());
    let done = world.treehand(&["-C", "/", "uninstall", "--account", "--yes", "--discard", "--json"]).expect(0).json();
    assert_eq!(of(&done, &two).0, "done", "{done}");
    assert!(!world.path().join("state/treehand").exists());
}
