//! Stories of freshness: what a workspace lacks is told, and brought in when that is asked for.

use crate::support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{Answer, World};

fn only(answer: Answer) -> serde_json::Value {
    let document = answer.json();
    let all = document["workspaces"].as_array().expect("workspaces");
    assert_eq!(all.len(), 1, "{document}");
    all[0].clone()
}

#[test]
fn a_workspace_is_brought_up_and_back_and_one_in_conflict_stays_as_it_was() {
    let world = World::with_remote();
    for name in ["good", "bad"] {
        world.treehand(&["new", name]).expect(0);
    }
    world.commit_in("good", "good.txt", "good\n");
    world.commit_in("bad", "a.txt", "one\nzwei\nthree\n");
    std::fs::write(world.tree("good").join("untracked"), "mine\n").expect("written");
    world.commit_upstream("theirs", "a.txt", "one\nTWO\nthree\n");

    let looked = only(world.treehand(&["--json", "fresh", "bad", "--check"]).expect(6));
    assert_eq!((&looked["base"]["missing"][0], &looked["overlap"][0]), (&"theirs".into(), &"a.txt".into()));

    let before = (world.git(&["rev-parse", "bad"]), world.git_in(&world.tree("bad"), &["status", "--porcelain=v2"]));
    let all = world.treehand(&["--json", "fresh", "--update", "rebase"]).expect(5).json();
    let told: Vec<_> =
        all["workspaces"].as_array().expect("a list").iter().map(|w| (&w["name"], &w["updated"])).collect();
    assert_eq!(told, [(&"bad".into(), &false.into()), (&"good".into(), &true.into())]);
    assert_eq!(all["workspaces"][0]["paths"][0], "a.txt");
    let after = (world.git(&["rev-parse", "bad"]), world.git_in(&world.tree("bad"), &["status", "--porcelain=v2"]));
    assert_eq!(after, before, "a conflict left something behind");

    let good = world.tree("good");
    assert_eq!(std::fs::read_to_string(good.join("a.txt")).expect("there"), "one\nTWO\nthree\n");
    assert_eq!(world.git_in(&good, &["status", "--porcelain"]), "?? untracked");
    assert_eq!(world.git(&["log", "--format=%s", "main..good"]), "good changes good.txt\ntheirs");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "main..good"]), "good changes good.txt");
    assert_eq!(std::fs::read_to_string(good.join("a.txt")).expect("there"), "one\ntwo\nthree\n");
    assert_eq!(only(world.treehand(&["--json", "fresh", "good"]).expect(0))["base"]["freshness"], "diverged");
}

#[test]
fn what_cannot_be_brought_up_is_refused_with_the_reason() {
    let world = World::with_remote();
    world.treehand(&["new", "away"]).expect(0);
    world.commit_upstream("theirs", "new.txt", "new\n");
    world.git_in(&world.tree("away"), &["switch", "-q", "-c", "other"]);
    let away = world.treehand(&["fresh", "away", "--update", "merge"]).expect(4);
    assert!(away.stderr.contains("is on branch `other`, not on its branch `away`"), "{}", away.stderr);
    world.git_in(&world.tree("away"), &["switch", "-q", "away"]);
    let lock = PathBuf::from(world.git_in(&world.tree("away"), &["rev-parse", "--git-path", "index.lock"]));
    std::fs::write(&lock, "").expect("a lock");
    let args = ["fresh", "away", "--update", "merge", "--set", "merge.lock_wait=0s"];
    assert!(world.treehand(&args).expect(8).stderr.contains("is held by another git process"));
    std::fs::remove_file(&lock).expect("removed");
    world.treehand(&args).expect(0);
    // Without the remote's word there is nothing to rely on where that is demanded.
    std::fs::rename(world.up(), world.path().join("gone.git")).expect("moved");
    let block = ["fresh", "away", "--update", "merge", "--set", "worktree.stale=block"];
    world.treehand(&block).expect(6);
}

#[test]
fn a_diverged_base_is_brought_together_where_the_policy_says_so() {
    let world = World::with_remote();
    world.commit_upstream("theirs", "theirs.txt", "theirs\n");
    world.commit("mine", &[("mine.txt", "mine\n")]);
    world.treehand(&["new", "blocked", "--stale", "block"]).expect(6);
    let made = world.treehand(&["--json", "new", "both", "--stale", "update"]).expect(0).json();
    assert_eq!(made["base"]["freshness"], "fresh");
    let both = world.tree("both");
    assert!(both.join("mine.txt").exists() && both.join("theirs.txt").exists());
    assert_eq!(world.git(&["log", "-1", "--format=%s", "main"]), "mine", "the user's branch moved");

    let blocked = "[[task]]\nid = \"t\"\nstale = \"block\"\ncommand = [\"true\"]\n";
    world.run_tasks(blocked, &[]).expect(6);
    world.run_tasks(blocked, &["--stale", "warn"]).expect(0);
    let task =
        "stale = \"update\"\n[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"cat mine.txt theirs.txt > t.txt\"]\n";
    let run = world.run_tasks(task, &[]).expect(0).json();
    assert_eq!((&run["state"], &run["base"]["commit"]), (&"landed".into(), &made["base"]["commit"]));
    assert_eq!(world.show("main", "t.txt"), "mine\ntheirs\n");

    world.commit_upstream("theirs again", "mine.txt", "not mine\n");
    world.commit("mine again", &[("mine.txt", "mine, again\n")]);
    let conflict = world.treehand(&["--json", "new", "third", "--stale", "update"]).expect(5).json();
    assert_eq!(
        (&conflict["kind"], conflict["message"].as_str().expect("text").contains("mine.txt")),
        (&"conflict".into(), true)
    );
    assert!(!world.tree("third").exists());
}

#[test]
fn a_pull_request_is_a_base_in_every_forges_layout() {
    let world = World::with_remote();
    let from = |number: &str, reference: &str, text: &str| {
        let commit = world.commit_upstream(&format!("request {number} {}", text.trim()), "request.txt", text);
        world.git_in(&world.up(), &["update-ref", reference, &commit]);
        world.git_in(&world.up(), &["update-ref", "refs/heads/main", &world.git(&["rev-parse", "main"])]);
        commit
    };
    let github = from("7", "refs/pull/7/head", "seven\n");
    from("8", "refs/merge-requests/8/head", "eight\n");
    let made = world.treehand(&["--json", "new", "seven", "--from-pr", "7"]).expect(0).json();
    assert_eq!((&made["base"]["ref"], &made["base"]["commit"]), (&"origin#7".into(), &github.into()));
    assert_eq!(made["base"]["proof"], "ls-remote");
    world.treehand(&["new", "eight", "--from-pr", "8"]).expect(0);
    assert_eq!(std::fs::read_to_string(world.tree("eight").join("request.txt")).expect("there"), "eight\n");
    let missing = world.treehand(&["--json", "new", "nine", "--from-pr", "9"]).expect(3).json();
    assert_eq!(missing["message"], "there is no pull request `#9`");
    // It is forced elsewhere: the workspace is behind, and is brought up.
    world.commit_in("seven", "own.txt", "own\n");
    from("7", "refs/pull/7/head", "seven, again\n");
    world.treehand(&["fresh", "seven", "--update", "rebase"]).expect(0);
    assert_eq!(std::fs::read_to_string(world.tree("seven").join("request.txt")).expect("there"), "seven, again\n");
    assert_eq!(world.git(&["log", "-1", "--format=%s", "seven"]), "seven changes own.txt");
    world.treehand(&["new", "again", "--from-pr", "7", "--offline"]).expect(0);
}

#[test]
fn what_changed_at_the_remotes_is_said() {
    let world = World::with_remote();
    world.git(&["remote", "set-head", "origin", "main"]);
    world.git_in(&world.up(), &["branch", "trunk", "main"]);
    world.git_in(&world.up(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let told = world.treehand(&["new", "a"]).expect(0).stderr;
    assert!(told.contains("the default branch of `origin` is `trunk` now, no longer `main`"), "{told}");
    world.git(&["switch", "-q", "--detach"]);
    let made = world.treehand(&["--json", "new", "b"]).expect(0).json();
    assert_eq!(made["base"]["ref"], "trunk", "the default branch of the remote is what it is now");
    world.git(&["switch", "-q", "main"]);
    // A fork whose original has gone on.
    let original = world.path().join("original.git");
    world.git(&["clone", "-q", "--bare", &world.up().to_string_lossy(), &original.to_string_lossy()]);
    world.git(&["remote", "add", "upstream", &original.to_string_lossy()]);
    world.git(&["commit", "-q", "--allow-empty", "-m", "news"]);
    world.git(&["push", "-q", "upstream", "main"]);
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    world.git(&["fetch", "-q", "upstream"]);
    let told = world.treehand(&["new", "c"]).expect(0).stderr;
    assert!(told.contains("`upstream/main` has 1 commit that `main` lacks"), "{told}");
    assert_eq!(
        world.treehand(&["--json", "new", "d", "--base", "upstream/main"]).expect(0).json()["base"]["ref"],
        "upstream/main"
    );
}

#[test]
fn an_answer_is_used_again_within_the_window_and_only_there() {
    let world = World::with_remote();
    world.treehand(&["new", "first"]).expect(0);
    world.commit_upstream("theirs", "new.txt", "new\n");
    let window = ["--json", "fresh", "first", "--set", "worktree.fetch_window=1h"];
    assert_eq!(only(world.treehand(&window).expect(0))["base"]["freshness"], "fresh");
    assert_eq!(world.fresh("first")["base"]["freshness"], "stale");
}

#[test]
fn what_is_in_the_way_of_an_update_is_told_before_it_untracked_files_too() {
    let world = World::with_remote();
    world.treehand(&["new", "w"]).expect(0);
    let tree = world.tree("w");
    std::fs::create_dir(tree.join("both")).expect("made");
    for (name, text) in [("a.txt", "changed\n"), ("new.txt", "mine\n"), ("both/in", "mine\n"), ("other", "mine\n")] {
        std::fs::write(tree.join(name), text).expect("written");
    }
    for name in ["a.txt", "new.txt", "both"] {
        world.commit_upstream(name, name, "theirs\n");
    }
    let told = world.fresh("w")["overlap"].clone();
    assert_eq!(told, serde_json::json!(["a.txt", "both/in", "new.txt"]));
    let refused = only(world.treehand(&["--json", "fresh", "w", "--update", "merge"]).expect(4));
    assert_eq!(refused["paths"], told);
}

#[test]
fn a_conflict_of_kinds_names_the_files_and_not_what_git_calls_them_meanwhile() {
    let world = World::with_remote();
    world.treehand(&["new", "w"]).expect(0);
    let tree = world.tree("w");
    world.git_in(&tree, &["rm", "-q", "-r", "a.txt", "src"]);
    std::fs::create_dir(tree.join("a.txt")).expect("made");
    std::fs::write(tree.join("a.txt/in"), "mine\n").expect("written");
    std::os::unix::fs::symlink("nowhere", tree.join("kind")).expect("made");
    world.commit_in("w", "src", "a file now\n");
    world.commit_upstream("one", "a.txt", "theirs\n");
    world.commit_upstream("two", "kind", "theirs\n");
    world.commit_upstream("three", "src/lib.txt", "theirs\n");
    for by in ["rebase", "merge"] {
        let told = only(world.treehand(&["--json", "fresh", "w", "--update", by]).expect(5));
        assert_eq!(told["paths"], serde_json::json!(["a.txt", "kind", "src", "src/lib.txt"]), "{by}");
    }
}

#[test]
fn updates_of_one_workspace_at_the_same_moment_wait_for_each_other() {
    let world = World::with_remote();
    world.treehand(&["new", "w"]).expect(0);
    world.commit_in("w", "own.txt", "own\n");
    world.commit_upstream("theirs", "new.txt", "new\n");
    // As another process that is at it.
    let lock = world.repo().join(".git/treehand/locks/update-w");
    std::fs::write(&lock, "pid 7 brings it up to its base").expect("written");
    let held = std::fs::File::open(&lock).expect("there");
    held.lock().expect("free");
    let args = ["--json", "fresh", "w", "--update", "rebase"];
    let busy = world.treehand(&[&args[..], &["--set", "merge.lock_wait=0s"]].concat()).expect(8);
    let reason = "workspace w is busy: pid 7 brings it up to its base";
    assert_eq!(busy.json()["workspaces"][0]["reason"], reason);

    let start = |_: usize| {
        let mut command = world.command(&[&args[..], &["--set", "merge.lock_wait=10m"]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let mut all: Vec<_> = (0..3).map(start).collect();
    for child in &mut all {
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("piped")).read_line(&mut line).expect("read");
        assert!(line.contains("waiting for workspace w: pid 7 brings it up to its base"), "{line}");
    }
    drop(held);
    let mut updated = 0;
    for child in all {
        let output = child.wait_with_output().expect("ended");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert!(output.status.success(), "{document}");
        updated += usize::from(document["workspaces"][0]["updated"] == true);
    }
    assert_eq!(updated, 1, "one of them brings it up, the others find that done");
}

/// Whether a process has this file open; one that is gone, or somebody else's, has not.
fn has_open(process: &std::fs::DirEntry, file: &Path) -> bool {
    let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target == file)
}

#[test]
fn fetches_under_way_at_the_same_moment_are_shared() {
    let world = World::with_remote();
    world.commit_upstream("theirs", "new.txt", "new\n");
    // A remote that notes each time it is asked and answers when the story says so.
    let (log, gate) = (world.path().join("asked"), world.path().join("open"));
    let script = format!(
        "#!/bin/sh\necho asked >> '{}'\nwhile ! test -e '{}'; do sleep 0.01; done\nexec git-upload-pack \"$@\"\n",
        log.display(),
        gate.display()
    );
    let program = world.path().join("upload-pack");
    std::fs::write(&program, script).expect("written");
    world.shell(&format!("chmod +x '{}'", program.display())).expect(0);
    world.git(&["config", "remote.origin.uploadpack", &program.to_string_lossy()]);
    let start = |n: usize| world.command(&["-q", "new", &format!("w{n}")]).spawn().expect("started");
    let mut all = vec![start(0)];
    while !log.exists() {
        std::thread::yield_now();
    }
    // These ask while the first one's question is open: one more question serves them all.
    all.extend((1..8).map(start));
    let lock = world.repo().join(".git/treehand/locks/fetch-origin=20main").canonicalize().expect("the lock");
    let waiting =
        || std::fs::read_dir("/proc").expect("read").flatten().filter(|process| has_open(process, &lock)).count();
    while waiting() < 8 {
        std::thread::yield_now();
    }
    std::fs::write(&gate, "").expect("opened");
    for mut child in all {
        assert!(child.wait().expect("ended").success());
    }
    let asked = std::fs::read_to_string(&log).expect("asked").lines().count();
    // Each question is a list and, the first time, a fetch.
    assert!(asked <= 3, "eight workspaces at once asked the remote {asked} times");
    for n in 0..8 {
        assert!(world.tree(&format!("w{n}")).join("new.txt").exists());
    }
}
