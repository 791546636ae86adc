//! Stories of what gits and runs leave behind: locks that nobody holds, and logs of runs whose time is over.

use crate::support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use support::World;

const DAY: Duration = Duration::from_secs(86_400);

fn lock(path: &Path, age: Duration) -> PathBuf {
    support::aged(path, age);
    path.to_owned()
}

/// What the document says of this path.
fn said(document: &Value, path: &Path) -> (String, String) {
    let all = ["actions", "kept"].map(|list| document[list].as_array().expect("a list").clone()).concat();
    let about = all.into_iter().find(|one| one["item"] == path.display().to_string()).expect("it is in the document");
    let word = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
    (word("outcome"), if about["reason"].is_null() { word("proof") } else { word("reason") })
}

#[test]
fn a_lock_that_no_git_can_hold_goes_before_what_it_would_hold_up() {
    let world = World::new();
    world.treehand(&["new", "w", "--json"]).expect(0);
    world.git(&["switch", "-q", "-c", "merged"]);
    world.commit("m", &[("m.txt", "m\n")]);
    world.git(&["switch", "-q", "main"]);
    world.git(&["merge", "-q", "--no-ff", "-m", "m", "merged"]);
    let git = world.repo().join(".git");
    let entry =
        std::fs::read_dir(git.join("worktrees")).expect("entries").next().expect("one").expect("readable").path();
    let dead = ["index.lock", "packed-refs.lock", "refs/heads/merged.lock", "objects/info/commit-graph.lock"]
        .map(|name| lock(&git.join(name), 2 * DAY));
    let dead = [&dead[..], &[lock(&entry.join("HEAD.lock"), 2 * DAY)]].concat();
    let young = lock(&git.join("config.lock"), Duration::from_secs(600));
    let open = lock(&git.join("shallow.lock"), 2 * DAY);
    let mut holder = {
        #[expect(clippy::disallowed_methods, reason = "the test needs a process that has a file open")]
        let mut sleep = std::process::Command::new("sleep");
        sleep
            .arg("60")
            .stdin(Stdio::from(File::open(&open).expect("opened")))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        sleep.spawn().expect("started")
    };
    let lie = git.join("refs/heads/directory.lock");
    std::fs::create_dir_all(&lie).expect("made");
    let flags = ["clean", "--json", "--branches", "all"];
    let plan = world.treehand(&flags).expect(0).json();
    for path in &dead {
        assert_eq!(said(&plan, path), ("planned".into(), "no git lives that was there when it was made".into()));
    }
    assert_eq!(said(&plan, &young).1, "younger than 1d");
    assert!(said(&plan, &open).1.ends_with("may hold it"), "{plan}");
    std::fs::remove_file(&young).expect("removed");
    let done =
        world.treehand(&[&flags[..], &["--yes", "--set", "clean.min_age=0s", "--only", "locks,branches"]].concat());
    let done = done.expect(0).json();
    assert!(dead.iter().all(|path| !path.exists() && said(&done, path).0 == "done"), "{done}");
    assert!(open.exists() && lie.exists());
    let branch = Path::new("refs/heads/merged");
    assert_eq!(said(&done, branch), ("done".into(), "ancestor of `main`".into()), "a lock did not hold it up");
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
    world.git(&["gc", "-q"]);
    world.git(&["fsck", "--full"]);
}

#[test]
fn logs_of_a_run_go_when_its_time_is_over() {
    let world = World::new();
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo said; echo x > x"]).expect(0);
    let run = world.only_run();
    let logs = world.repo().join(".git/treehand/logs").join(&run);
    assert!(logs.is_dir());
    let plan = |retention: &str| {
        let set = format!("clean.retention={retention}");
        world.treehand(&["clean", "--json", "--yes", "--only", "state", "--set", &set]).expect(0).json()
    };
    plan("14d");
    assert!(logs.is_dir(), "they are young");
    let done = plan("0s");
    assert!(!logs.exists(), "{done}");
    assert!(said(&done, &logs).1.starts_with("logs of a run that ended, "), "{done}");
    let told = world.treehand(&["logs", &run]);
    assert!(told.code == 0 || told.code == 3, "{} {}", told.code, told.stderr);
    world.treehand(&["show", &run]).expect(0);
}

#[test]
fn a_disk_budget_takes_the_oldest_of_what_is_kept_and_no_more_than_that() {
    let world = World::new();
    let big = vec![b'x'; 3 << 20];
    for name in ["one", "two", "three"] {
        world.treehand(&["new", name]).expect(0);
        std::fs::write(world.tree(name).join("big"), &big).expect("written");
        world.treehand(&["rm", "-f", name]).expect(0);
    }
    let trash = || std::fs::read_dir(world.repo().join(".git/treehand/trash")).map_or(0, Iterator::count);
    let clean = |budget: &str| world.treehand(&["clean", "--json", "--yes", "--disk-budget", budget]).expect(0).json();
    assert_eq!(clean("20M")["actions"], serde_json::json!([]));
    let done = clean("7M");
    let actions = done["actions"].as_array().expect("a list");
    assert_eq!((actions.len(), trash()), (1, 2), "{done}");
    assert!(actions[0]["proof"].as_str().expect("words").starts_with("the oldest of "), "{done}");
    assert!(actions[0]["bytes"].as_u64().expect("a size") >= 3 << 20, "{done}");
    world.treehand(&["undo"]).expect(0);
    assert!(world.tree("three").join("big").exists(), "what was within the budget comes back");
    clean("0");
    assert_eq!(trash(), 0);
    assert_eq!(world.treehand(&["clean", "--disk-budget", "much"]).code, 2);
    // What was saved stays: only the copy of its files is gone.
    assert!(world.git(&["for-each-ref", "refs/treehand/salvage"]).contains("/two/"));
}

#[test]
fn only_so_many_of_the_last_removals_stay_in_the_trash() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        world.treehand(&["new", name]).expect(0);
        std::fs::write(world.tree(name).join("file"), "x").expect("written");
        world.treehand(&["rm", "-f", name]).expect(0);
    }
    let clean = |count: &str| {
        let set = format!("clean.count_max={count}");
        world.treehand(&["clean", "--json", "--yes", "--set", &set, "--disk-budget", "20M"]).expect(0).json()
    };
    for enough in ["0", "3"] {
        assert_eq!(clean(enough)["actions"], serde_json::json!([]));
    }
    let done = clean("2");
    assert_eq!(done["actions"].as_array().map(Vec::len), Some(1), "{done}");
    let proof = done["actions"][0]["proof"].as_str().expect("words");
    assert_eq!(proof, "older than the last 2, which are all that are kept");
    assert_eq!(clean("2")["actions"], serde_json::json!([]));
    for name in ["three", "two"] {
        world.treehand(&["undo"]).expect(0);
        assert!(world.tree(name).join("file").exists(), "{name} is one of the last two");
    }
    assert_eq!(world.treehand(&["undo"]).code, 4, "the first is gone from the trash");
}
