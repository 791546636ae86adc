//! Stories of `clean --yes` while others are at work: another `clean`, workspaces being made, results landing, `git gc`.

use crate::support;

use std::process::{Child, Stdio};

use support::World;

/// Starts it, with what it says in a file of its own.
fn start(world: &World, name: &str, args: &[&str]) -> Child {
    let said = std::fs::File::create(world.path().join(format!("{name}.said"))).expect("a file");
    let errors = said.try_clone().expect("another");
    let mut command = world.command(args);
    command.stdin(Stdio::null()).stdout(said).stderr(errors);
    command.spawn().expect("started")
}

fn end(world: &World, name: &str, mut child: Child) {
    let status = child.wait().expect("waited");
    let said = std::fs::read_to_string(world.path().join(format!("{name}.said"))).unwrap_or_default();
    assert!(status.success(), "{name}: {status}\n{said}");
}

const CLEAN: [&str; 7] = ["clean", "--yes", "--json", "--min-age", "0s", "--branches", "all"];

#[test]
fn cleans_at_once_take_everything_once_and_touch_nothing_that_is_being_made() {
    let world = World::new();
    for number in 0..6 {
        let name = format!("landed-{number}");
        world.treehand(&["new", &name]).expect(0);
        world.commit_in(&name, &format!("{name}.txt"), "x\n");
        world.git(&["merge", "-q", "--no-ff", "-m", &name, &name]);
    }
    let makers: Vec<(String, Child)> = (0..16)
        .map(|number| {
            let name = format!("new-{number}");
            let child = start(&world, &name, &["new", &name]);
            (name, child)
        })
        .collect();
    let mut others: Vec<(String, Child)> = (0..3)
        .map(|number| {
            let name = format!("clean-{number}");
            let child = start(&world, &name, &CLEAN);
            (name, child)
        })
        .collect();
    let tasks = ["run", "--confine", "off", "--", "sh", "-c", "echo r > r.txt"];
    others.push(("run".into(), start(&world, "run", &tasks)));
    // A gc that meets an entry which another git is just writing fails itself, and that is git's own affair.
    let gc = world.try_git_in(&world.repo(), &["gc", "-q", "--prune=now"]);
    assert!(gc.code == 0 || gc.stderr.contains("/worktrees/"), "{}", gc.stderr);
    for (name, child) in makers.into_iter().chain(others) {
        end(&world, &name, child);
    }
    for number in 0..16 {
        let name = format!("new-{number}");
        assert_eq!(world.git_in(&world.tree(&name), &["status", "--porcelain"]), "", "{name}");
        world.git(&["rev-parse", "--verify", "-q", &name]);
    }
    assert_eq!(world.show("main", "r.txt"), "r\n", "the result has landed");
    world.treehand(&CLEAN).expect(0);
    let again = world.treehand(&["clean", "--json", "--min-age", "0s", "--branches", "all"]).expect(0).json();
    assert_eq!(again["actions"], serde_json::json!([]));
    for number in 0..6 {
        assert!(!world.tree(&format!("landed-{number}")).exists());
    }
    world.git(&["fsck", "--full", "--strict"]);
    world.git(&["worktree", "prune", "--dry-run", "-v"]);
}
