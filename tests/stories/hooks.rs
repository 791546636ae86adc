//! Stories of the repository's hooks: those that treehand runs, it runs in a sandbox, unless the user's own configuration says
//! otherwise.

use crate::support;

use support::World;

const HOOKS: [&str; 6] =
    ["post-checkout", "post-merge", "pre-commit", "commit-msg", "reference-transaction", "post-index-change"];

/// A repository whose hooks each write their name and where they ran.
fn world() -> World {
    let world = World::new();
    let log = world.path().join("ran");
    let hooks = world.repo().join(".git/hooks");
    std::fs::create_dir_all(&hooks).expect("made");
    for name in HOOKS {
        let script = format!("#!/bin/sh\necho \"{name} $PWD $*\" >> '{}'\n", log.display());
        std::fs::write(hooks.join(name), script).expect("written");
        world.shell(&format!("chmod +x .git/hooks/{name}")).expect(0);
    }
    world
}

fn ran(world: &World) -> String {
    std::fs::read_to_string(world.path().join("ran")).unwrap_or_default()
}

fn everything(world: &World, flags: &[&str]) {
    let with = |args: &[&str]| world.treehand(&[args, flags].concat()).expect(0);
    with(&["new", "w"]);
    world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt\"]\n", flags).expect(0);
    with(&["fresh", "w", "--update", "rebase"]);
    with(&["undo"]);
    with(&["undo"]);
    with(&["rm", "w"]);
    with(&["clean", "--yes", "--min-age", "0s"]);
}

#[test]
fn no_hook_reaches_outside_by_default_and_a_project_cannot_change_that() {
    let world = world();
    everything(&world, &[]);
    assert_eq!(ran(&world), "");
    everything(&world, &["--set", "worktree.hooks=never"]);
    assert_eq!(ran(&world), "");
    world.write(".treehand.toml", "[worktree]\nhooks = \"unconfined\"\n");
    let warned = world.treehand(&["new", "again"]).expect(0).stderr;
    assert!(warned.contains("worktree.hooks"), "{warned}");
    assert_eq!(ran(&world), "");
}

#[test]
fn confined_hooks_change_the_worktree_and_nothing_else() {
    if support::level() != "strict" {
        return;
    }
    let world = World::new();
    let outside = world.path().join("outside");
    let fails = |name: &str| world.write(&format!(".git/hooks/{name}"), "#!/bin/sh\necho not here >&2\nexit 1\n");
    for name in ["post-checkout", "post-merge"] {
        let script = format!(
            "#!/bin/sh\ngit status --short >/dev/null || exit 3\necho evil 2>/dev/null > '{0}'\necho evil 2>/dev/null >> .git/config\n\
             test ! -e \"$(git rev-parse --git-common-dir)/treehand/state.db\" || exit 4\necho \"$*\" > ran-{name}\n",
            outside.display()
        );
        world.write(&format!(".git/hooks/{name}"), &script);
        world.shell(&format!("chmod +x .git/hooks/{name}; echo 'ran-*' >> .git/info/exclude")).expect(0);
    }
    let config = std::fs::read(world.repo().join(".git/config")).expect("read");
    assert_eq!(world.treehand(&["new", "w"]).expect(0).stderr.matches("hook").count(), 0);
    let ran = std::fs::read_to_string(world.trees().join("w/repo/ran-post-checkout")).expect("it ran");
    assert!(ran.starts_with("0000000000") && ran.ends_with(" 1\n"), "{ran}");
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt\"]\n";
    world.run_tasks(tasks, &[]).expect(0);
    assert_eq!(std::fs::read_to_string(world.repo().join("ran-post-merge")).expect("it ran"), "0\n");
    assert!(!outside.exists());
    assert_eq!(std::fs::read(world.repo().join(".git/config")).expect("read"), config);
    // One that may fail for the sandbox's sake is no reason to refuse anything.
    fails("post-checkout");
    let told = world.treehand(&["new", "x"]).expect(0).stderr;
    assert!(
        told.contains("`post-checkout` failed in its sandbox") && told.contains("not here (exit code 1)"),
        "{told}"
    );
    assert!(world.trees().join("x/repo/.git").exists());
}

#[test]
fn a_hook_that_is_a_file_of_the_checkout_does_not_run_where_a_person_works() {
    if support::level() != "strict" {
        return;
    }
    let world = World::new();
    let hook = "#!/bin/sh\necho \"$PWD\" > \"ran-${0##*/}\"\n";
    for name in ["post-checkout", "post-merge"] {
        world.write(&format!(".husky/{name}"), hook);
    }
    let commit = "chmod +x .husky/*; echo 'ran-*' >> .git/info/exclude; git add -A; git commit -qm hooks; git config core.hooksPath .husky";
    world.shell(commit).expect(0);
    world.treehand(&["new", "w"]).expect(0);
    assert!(world.trees().join("w/repo/ran-post-checkout").exists());
    world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt\"]\n", &[]).expect(0);
    assert_eq!(std::fs::read_to_string(world.repo().join("t.txt")).expect("landed"), "t\n");
    assert!(!world.repo().join("ran-post-merge").exists(), "a task could have written it");
}

#[test]
fn hooks_run_as_git_runs_them_where_the_user_wants_that() {
    let world = world();
    everything(&world, &["--set", "worktree.hooks=unconfined"]);
    let ran = ran(&world);
    let tree = world.trees().join("w/repo");
    let count = |start: &str| ran.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(count(&format!("post-checkout {} 0000000000", tree.display())), 1, "{ran}");
    assert_eq!(count(&format!("post-merge {} 0", world.repo().display())), 2, "the landing and its undo: {ran}");
    assert_eq!(count(&format!("post-merge {} 0", tree.display())), 2, "the update and its undo: {ran}");
    assert!(count("reference-transaction") > 0, "{ran}");
    assert_eq!((count("pre-commit"), count("commit-msg")), (0, 0), "{ran}");
}

#[test]
fn a_hook_that_refuses_a_checkout_refuses_the_workspace() {
    let world = world();
    world.write(".git/hooks/post-checkout", "#!/bin/sh\necho not here >&2\nexit 1\n");
    let refused = world.treehand(&["--json", "new", "w", "--set", "worktree.hooks=unconfined"]).expect(4).json();
    assert!(refused["message"].as_str().is_some_and(|message| message.contains("not here")), "{refused}");
    assert!(!world.trees().exists() && world.git(&["branch", "--list", "w"]).is_empty());
}

#[test]
fn a_request_to_end_while_a_workspace_is_made_unmakes_it() {
    let world = World::new();
    let hook = world.repo().join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().expect("a parent")).expect("made");
    let script = "#!/bin/sh\nread -r _ _ _ treehand _ < /proc/$PPID/stat\nkill -TERM $treehand\n";
    std::fs::write(&hook, script).expect("written");
    world.shell("chmod +x .git/hooks/post-checkout").expect(0);
    let stopped = world.treehand(&["--json", "new", "w", "--set", "worktree.hooks=unconfined"]).expect(143).json();
    assert_eq!(stopped["kind"], "interrupted");
    not_made(&world);
    world.treehand(&["new", "w", "--set", "worktree.hooks=never"]).expect(0);
}

fn not_made(world: &World) {
    assert_eq!((world.git(&["branch", "--list", "w"]).as_str(), world.trees().exists()), ("", false));
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_request_to_end_ended_no_hook_in_a_sandbox() {
    if support::level() != "strict" {
        return;
    }
    let world = World::new();
    world.write(".git/hooks/post-checkout", "#!/bin/sh\nmkfifo never; touch runs; read -r _ < never\n");
    world.shell("chmod +x .git/hooks/post-checkout").expect(0);
    let runs = world.trees().join("w/repo/runs");
    let script = format!(
        "'{}' --json new w & while test ! -e '{}'; do kill -0 $! || exit 9; done; kill -TERM $!; wait $!",
        env!("CARGO_BIN_EXE_treehand"),
        runs.display()
    );
    let stopped = world.shell(&script).expect(143).json();
    assert_eq!(stopped["kind"], "interrupted");
    not_made(&world);
}
