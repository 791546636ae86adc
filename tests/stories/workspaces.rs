//! Stories of workspaces: made fresh, proved fresh, never half made, never in the way of the user's own worktree.
#![expect(clippy::disallowed_methods, reason = "a story starts a program as a user does")]

use crate::support;

use std::time::Instant;

use support::World;

#[test]
fn a_new_workspace_has_the_newest_of_local_and_remote_and_proves_it() {
    let world = World::with_remote();
    let tip = world.commit_upstream("news", "news.txt", "x\n");
    let made = world.treehand(&["new", "feature/x", "--json"]).expect(0).json();
    assert_eq!(made["schema"], "treehand/workspace/v1");
    assert_eq!(made["base"]["commit"], tip.as_str());
    assert_eq!(
        (made["base"]["freshness"].as_str(), made["base"]["proof"].as_str()),
        (Some("fresh"), Some("ls-remote"))
    );
    assert_eq!((made["branch"].as_str(), made["name"].as_str()), (Some("feature/x"), Some("feature/x")));
    let path = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    assert_eq!(path.file_name(), Some("repo".as_ref()), "the last part keeps the repository's name");
    assert!(path.join("news.txt").exists());
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
    let config = std::fs::read_to_string(world.repo().join(".git/config")).expect("readable");
    assert!(!config.contains("feature/x"), "nothing is written to shared configuration: {config}");
    let ahead = world.commit("mine", &[("mine.txt", "x\n")]);
    world.git(&["reset", "-q", "--hard", &ahead]);
    assert_eq!(world.treehand(&["path", "feature"]).expect(0).stdout.trim_end(), path.to_string_lossy());
}

#[test]
fn a_local_branch_that_is_ahead_is_newer_and_one_that_forked_is_diverged() {
    let world = World::with_remote();
    let mine = world.commit("mine", &[("mine.txt", "x\n")]);
    let made = world.treehand(&["new", "ahead", "--json"]).expect(0).json();
    assert_eq!(
        (made["base"]["commit"].as_str(), made["base"]["freshness"].as_str()),
        (Some(mine.as_str()), Some("fresh"))
    );
    world.commit_upstream("theirs", "theirs.txt", "x\n");
    let made = world.treehand(&["new", "forked", "--json"]).expect(0).json();
    assert_eq!(made["base"]["freshness"], "diverged");
    assert_eq!(made["base"]["missing"], serde_json::json!(["theirs"]));
    world.treehand(&["new", "refused", "--stale", "block"]).expect(6);
    assert_eq!(
        world.try_git_in(&world.repo(), &["rev-parse", "--verify", "-q", "refused"]).code,
        1,
        "no branch is left"
    );
}

#[test]
fn a_remote_that_fails_or_hangs_is_a_declared_outcome() {
    let world = World::with_remote();
    world.git(&["remote", "set-url", "origin", "/nowhere/at/all.git"]);
    let answer = world.treehand(&["new", "a", "--json"]).expect(0);
    assert_eq!(answer.json()["base"]["freshness"], "unknown");
    assert!(answer.stderr.contains("freshness of base `main` is unknown"), "{}", answer.stderr);
    world.treehand(&["new", "b", "--stale", "block"]).expect(6);
    world.treehand(&["new", "c", "--offline"]).expect(0);
    world.treehand(&["new", "d", "--offline", "--stale", "block"]).expect(6);
    world.git(&["config", "core.sshCommand", "sh -c 'exec sleep 1000'"]);
    world.git(&["remote", "set-url", "origin", "ssh://host.invalid/repo.git"]);
    let begun = Instant::now();
    let answer = world.treehand(&["new", "e", "--json", "--set", "worktree.fetch_deadline=500ms"]).expect(0);
    assert_eq!(answer.json()["base"]["freshness"], "unknown");
    assert!(begun.elapsed().as_secs() < 10, "the deadline did not hold");
}

#[test]
fn sixty_four_at_once_all_succeed() {
    let world = World::with_remote();
    let tip = world.commit_upstream("news", "news.txt", "x\n");
    let names: Vec<String> = (0..64).map(|n| format!("w{n}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| {
            world.command(&["new", name, "--json"]).stdout(std::process::Stdio::piped()).spawn().expect("started")
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{output:?}");
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(made["base"]["commit"], tip.as_str());
    }
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 65);
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(listed["workspaces"].as_array().map(Vec::len), Some(64));
    assert!(!world.repo().join(".git/config.lock").exists());
}

#[test]
fn who_asks_while_somebody_asks_shares_the_next_answer() {
    let world = World::with_remote();
    // A remote that counts its visitors, and keeps the first until eight more wait at the lock for their turn.
    let (visits, script) = (world.path().join("visits"), world.path().join("upload-pack"));
    let lock = world.repo().join(".git/treehand/locks/fetch-origin=20main");
    let waiting = format!(
        "until [ \"$(grep -c -- \"-> FLOCK.*:$(stat -c %i '{}') \" /proc/locks)\" -ge 8 ]; do :; done",
        lock.display()
    );
    let first = format!("[ $(wc -l < '{0}') -gt 1 ] || {waiting}", visits.display());
    let text = format!("#!/bin/sh\necho x >> '{}'\n{first}\nexec git-upload-pack \"$@\"\n", visits.display());
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    world.git(&["config", "remote.origin.uploadpack", &script.to_string_lossy()]);
    let quiet = |n: usize| {
        let mut command = world.command(&["new", &format!("w{n}")]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("started")
    };
    let children: Vec<_> = (0..9).map(quiet).collect();
    for child in children {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(std::fs::read_to_string(&visits).expect("read").lines().count(), 2, "the remote was asked too often");
    world.treehand(&["new", "later"]).expect(0);
    assert_eq!(std::fs::read_to_string(&visits).expect("read").lines().count(), 3, "an old answer was used");
}

#[test]
fn a_file_that_a_flag_hides_from_git_is_no_less_changed() {
    let world = World::new();
    let made = world.treehand(&["new", "x", "--json"]).expect(0).json();
    let path = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    let dirty = || world.treehand(&["ls", "--json"]).expect(0).json()["workspaces"][0]["dirty"].clone();
    assert_eq!(dirty(), false);
    world.git_in(&path, &["update-index", "--assume-unchanged", "a.txt"]);
    std::fs::write(path.join("a.txt"), "hidden\n").expect("written");
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "", "git does not see it");
    assert_eq!(dirty(), true);
    let diff = world.treehand(&["diff", "x", "--json"]).expect(0).json();
    assert_eq!(diff["files"][0]["path"], "a.txt");
    world.treehand(&["rm", "x"]).expect(4);
}

#[test]
fn the_default_branch_is_detected_and_the_users_worktree_may_be_dirty_or_detached() {
    let world = World::with_remote();
    world.git_in(&world.up(), &["branch", "-m", "main", "trunk"]);
    world.git_in(&world.up(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    world.git(&["checkout", "-q", "--detach"]);
    world.git(&["branch", "-D", "main"]);
    world.write("a.txt", "dirty\n");
    let made = world.treehand(&["new", "x", "--json"]).expect(0).json();
    assert_eq!(made["base"]["ref"], "trunk");
    assert_eq!(std::fs::read_to_string(world.repo().join("a.txt")).expect("a.txt"), "dirty\n");
}

#[test]
fn what_is_in_the_way_refuses_before_anything_is_made() {
    let world = World::new();
    world.treehand(&["new", "x"]).expect(0);
    world.treehand(&["new", "x"]).expect(4);
    world.git(&["branch", "taken"]);
    world.treehand(&["new", "taken"]).expect(4);
    world.treehand(&["new", "taken/below"]).expect(4);
    world.treehand(&["new", "other", "--branch", "fine"]).expect(0);
    std::fs::create_dir_all(world.trees().join("occupied/repo")).expect("a directory");
    world.treehand(&["new", "occupied"]).expect(4);
    assert_eq!(
        world.try_git_in(&world.repo(), &["rev-parse", "--verify", "-q", "occupied"]).code,
        1,
        "no branch is left"
    );
    for bad in ["-x", "a b", "../up", "a..b", "a\nb", "", "x.lock", "@"] {
        world.treehand(&["new", "--", bad]).expect(2);
    }
    world.treehand(&["new", "y", "--base", "no-such-ref"]).expect(3);
    world.treehand(&["path", "no-such-workspace"]).expect(3);
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 3);
    let doctor = world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).expect(0).json();
    let check =
        doctor["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "interrupted"));
    assert_eq!(check.map(|check| check["detail"].clone()), Some("nothing".into()));
}

#[test]
fn outside_a_repository_and_in_an_empty_one_the_error_says_so() {
    let world = World::bare_of_repositories();
    std::fs::create_dir(world.repo()).expect("a directory");
    let answer = world.treehand(&["ls", "--json"]).expect(3);
    assert_eq!(answer.json()["kind"], "no_repository");
    world.git(&["init", "-q"]);
    assert_eq!(world.treehand(&["new", "x", "--json"]).expect(3).json()["kind"], "unborn");
}

#[test]
fn fresh_reports_what_a_workspace_lacks_and_check_exits_6() {
    let world = World::with_remote();
    world.treehand(&["new", "x"]).expect(0);
    world.treehand(&["fresh", "x", "--check"]).expect(0);
    world.commit_upstream("fix the parser", "fix.txt", "x\n");
    let report = world.treehand(&["fresh", "--check", "--json"]).expect(6).json();
    let base = &report["workspaces"][0]["base"];
    assert_eq!((base["freshness"].as_str(), base["behind"].as_u64()), (Some("stale"), Some(1)));
    assert_eq!(base["missing"], serde_json::json!(["fix the parser"]));
}

#[test]
fn diff_shows_committed_staged_unstaged_and_untracked_and_changes_nothing() {
    for sealed in [false, true] {
        let world = World::new();
        let mut args = vec!["new", "x", "--json"];
        args.extend(sealed.then_some("--sealed"));
        let made = world.treehand(&args).expect(0).json();
        let path = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
        std::fs::write(path.join("committed"), "1\n").expect("written");
        world.git_in(&path, &["add", "-A"]);
        world.git_in(&path, &["commit", "-q", "-m", "own"]);
        std::fs::write(path.join("staged"), "2\n").expect("written");
        world.git_in(&path, &["add", "staged"]);
        std::fs::write(path.join("untracked"), "3\n").expect("written");
        std::fs::write(path.join("a.txt"), "one\ntwo\n").expect("written");
        let before = world.git_in(&path, &["status", "--porcelain"]);
        let diff = world.treehand(&["diff", "x", "--json"]).expect(0).json();
        let files: Vec<(&str, &str)> = diff["files"]
            .as_array()
            .expect("files")
            .iter()
            .map(|file| (file["status"].as_str().expect("a status"), file["path"].as_str().expect("a path")))
            .collect();
        assert_eq!(
            files,
            [("M", "a.txt"), ("A", "committed"), ("A", "staged"), ("A", "untracked")],
            "sealed: {sealed}"
        );
        assert_eq!(world.git_in(&path, &["status", "--porcelain"]), before, "sealed: {sealed}");
        assert!(world.treehand(&["diff", "x"]).expect(0).stdout.contains("+3"));
    }
}

#[test]
fn a_sealed_workspace_is_visible_but_its_git_dir_is_its_own() {
    let world = World::new();
    let made = world.treehand(&["new", "box", "--sealed", "--json"]).expect(0).json();
    let path = made["path"].as_str().expect("a path");
    let listed = world.git(&["worktree", "list", "--porcelain"]);
    assert!(listed.contains(path) && listed.contains("locked treehand sealed workspace box"), "{listed}");
    let own = world.git_in(path.as_ref(), &["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    assert!(own.starts_with(&*world.path().join("state").to_string_lossy()), "{own}");
    world.git_in(path.as_ref(), &["fsck", "--full"]);
    world.git_in(path.as_ref(), &["switch", "-q", "-c", "another"]);
    world.git_in(path.as_ref(), &["stash", "list"]);
    world.git(&["worktree", "prune"]);
    assert!(world.git(&["worktree", "list"]).contains(path), "prune leaves a locked entry alone");
    assert_ne!(world.try_git_in(&world.repo(), &["branch", "-D", "box"]).code, 0, "git knows the branch is in use");
}

#[test]
fn looking_at_a_sealed_workspace_brings_its_work_onto_its_branch() {
    let world = World::new();
    let made = world.treehand(&["new", "s", "--sealed", "--json"]).expect(0).json();
    world.treehand(&["exec", "--confine", "off", "s", "--", "sh", "-c", "echo c > c"]).expect(0);
    world.treehand(&["diff", "s"]).expect(0);
    assert_eq!(world.show("s", "c"), "c\n");
    world.treehand(&["exec", "--confine", "off", "s", "--", "sh", "-c", "echo d > d"]).expect(0);
    assert_eq!(world.treehand(&["diff", "s", "--json"]).expect(0).json()["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.show("s", "d"), "d\n");
    let tree = made["path"].as_str().expect("a path");
    let from_inside = world.treehand(&["-C", tree, "path", "@"]).expect(0).stdout;
    assert_eq!(from_inside.trim_end(), tree, "who stands in it is in its repository");
}

#[test]
fn a_relative_remote_is_meant_from_the_top_and_a_branch_of_one_remote_is_found() {
    let world = World::with_remote();
    world.git(&["remote", "set-url", "origin", "../up.git"]);
    let tip = world.commit_upstream("news", "news.txt", "x\n");
    let source = world.repo().join("src");
    let made = world.treehand(&["-C", &source.to_string_lossy(), "new", "x", "--json"]).expect(0).json();
    assert_eq!(made["base"]["commit"], tip.as_str());
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(listed["workspaces"][0]["base"]["freshness"], "fresh", "as of the fetch");
    world.git(&["push", "-q", "origin", "main:refs/heads/theirs"]);
    let made = world.treehand(&["new", "y", "--base", "theirs", "--json"]).expect(0).json();
    assert_eq!(made["base"]["commit"], world.git(&["rev-parse", "origin/theirs"]).as_str());
}

#[test]
fn ls_tells_when_a_workspace_is_on_another_branch_or_in_the_middle_of_something() {
    let world = World::new();
    let made = world.treehand(&["new", "x", "--json"]).expect(0).json();
    let path = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    world.git_in(&path, &["switch", "-q", "-c", "side"]);
    assert!(world.treehand(&["ls"]).expect(0).stdout.contains("x (on side)"));
    std::fs::write(path.join("a.txt"), "side\n").expect("written");
    world.git_in(&path, &["commit", "-q", "-a", "-m", "side"]);
    world.commit("ours", &[("a.txt", "ours\n")]);
    assert_ne!(world.try_git_in(&path, &["rebase", "-q", "main"]).code, 0, "it stops in a conflict");
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    let line = &listed["workspaces"][0];
    assert_eq!(
        (line["elsewhere"].as_str(), line["operations"][0].as_str()),
        (Some("HEAD"), Some("a rebase")),
        "{line}"
    );
}

#[test]
fn ls_tells_by_signs_what_kind_of_changes_there_are() {
    let world = World::new();
    for name in ["bare", "mixed"] {
        world.treehand(&["new", name]).expect(0);
    }
    let tree = world.trees().join("mixed/repo");
    std::fs::write(tree.join("a.txt"), "changed\n").expect("written");
    std::fs::write(tree.join("staged"), "staged\n").expect("written");
    world.git_in(&tree, &["add", "staged"]);
    std::fs::write(tree.join("untracked"), "untracked\n").expect("written");
    let table = world.treehand(&["ls"]).expect(0).stdout;
    let words = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.split_whitespace().any(|word| word == name)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("^")[..4], ["@", "^", "main", "clean"]);
    assert_eq!(words("bare")[..5], ["bare", "bare", "clean", "fresh", "main"]);
    assert_eq!(words("mixed")[..5], ["mixed", "mixed", "dirty", "+!?", "fresh"]);
    let document = world.treehand(&["--json", "ls"]).expect(0).json();
    let mixed = &document["workspaces"][1];
    assert_eq!((&mixed["name"], &mixed["dirty"]), (&"mixed".into(), &true.into()));
    let kinds = serde_json::json!({"staged": true, "modified": true, "untracked": true, "conflicted": false});
    assert_eq!(mixed["changes"], kinds);
    let quick = world.treehand(&["--json", "ls", "--quick"]).expect(0).json();
    assert_eq!((&quick["workspaces"][1]["dirty"], &quick["workspaces"][1]["bytes"]), (&().into(), &().into()));
    assert_eq!(world.treehand(&["ls", "--watch"]).expect(2).stdout, "");
}

#[test]
fn a_command_in_a_workspace_is_told_where_it_is() {
    let world = World::new();
    let print = "env | grep '^TREEHAND_' | grep -v '^TREEHAND_ATTEMPT' | sort";
    let made = world.treehand(&["new", "feature/x", "--branch", "work", "-x", print]).expect(0).stdout;
    let (path, told) = made.split_once('\n').expect("the path comes first");
    let main = world.repo().canonicalize().expect("a path").display().to_string();
    let base = world.git(&["rev-parse", "main"]);
    let port = world.treehand(&["ls", "--json"]).expect(0).json()["workspaces"][0]["ports"][0].clone();
    let expected = format!(
        "TREEHAND_BASE={base}\nTREEHAND_BRANCH=work\nTREEHAND_MAIN={main}\nTREEHAND_PATH={path}\nTREEHAND_PORT={port}\n\
         TREEHAND_REPO=repo\nTREEHAND_WORKSPACE=feature/x\n"
    );
    assert_eq!(told, expected);
    let told = world.treehand(&["exec", "--confine", "off", "feature", "--", "sh", "-c", print]).expect(0).stdout;
    assert_eq!(told, expected, "`exec` tells the same");
}

#[test]
fn a_process_in_a_workspace_was_counted_for_every_ended_task() {
    let world = World::new();
    world.treehand(&["new", "w"]).expect(0);
    world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"false\"]\n", &[]).expect(1);
    // Stands there until its standard input ends.
    let mut standing = std::process::Command::new("cat");
    world.clean(&mut standing);
    standing.current_dir(world.trees().join("w/repo")).stdin(std::process::Stdio::piped());
    let mut standing = standing.spawn().expect("started");
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    let counted = |task: bool| {
        let all = listed["workspaces"].as_array().expect("a list");
        let it = all.iter().find(|it| (it["task"] != serde_json::Value::Null) == task).expect("it is listed");
        it["processes"].as_array().expect("a list").len()
    };
    assert_eq!((counted(false), counted(true)), (1, 0), "{listed}");
    drop(standing.stdin.take());
    standing.wait().expect("ended");
}

#[test]
fn a_read_only_repository_with_a_store_could_not_be_looked_at() {
    let world = World::new();
    world.treehand(&["new", "w"]).expect(0);
    let task = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt\"]\n";
    let run = world.run_tasks(task, &[]).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let Some(treehand) = world.as_ordinary_user() else { return };
    world.shell("chmod -R a-w .git").expect(0);
    for args in [&["ls"][..], &["ps"], &["log"], &["path", "w"], &["fresh"], &["show", &run], &["salvage", "ls"]] {
        treehand(args).expect(0);
    }
    assert!(treehand(&["ls", "--json"]).expect(0).json()["workspaces"][0]["name"] == "w");
    for args in [&["new", "x"][..], &["run", "--confine", "off", "--", "true"], &["rm", "w"], &["undo"]] {
        let error = treehand(&[&["--json"], args].concat()).expect(1).json();
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("Permission denied") && message.contains(".git/treehand"), "{args:?}: {error}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("make it writable")), "{args:?}: {error}");
    }
    world.shell("chmod -R u+w .git").expect(0);
}

#[test]
fn a_directory_that_may_not_be_written_left_files_behind_the_branch() {
    let world = World::new();
    let main = world.git(&["rev-parse", "main"]);
    world.treehand(&["new", "w"]).expect(0);
    let Some(treehand) = world.as_ordinary_user() else { return };
    let unwritable = |place: &str| world.shell(&format!("chmod a-w '{place}'")).expect(0);
    unwritable("src");
    let change = "echo more >> src/lib.txt; echo a >> a.txt";
    let run = treehand(&["run", "--json", "--confine", "off", "--", "sh", "-c", change]).expect(4).json();
    let reason = &run["tasks"][0]["reason"];
    assert_eq!((&reason["kind"], &reason["paths"][0]), (&"in_the_way".into(), &"src".into()), "{run}");
    let as_root = ["-c", "safe.directory=*"];
    let git = |args: &[&str]| world.git(&[&as_root[..], args].concat());
    assert_eq!(git(&["rev-parse", "main"]), main, "the branch did not move");
    assert_eq!(git(&["status", "--porcelain"]), "", "and no file with it");
    world.shell("chmod u+w src").expect(0);
    treehand(&["run", "--confine", "off", "--", "sh", "-c", change]).expect(0);

    unwritable(&world.trees().join("w/repo/src").to_string_lossy());
    let updated = treehand(&["fresh", "w", "--update", "rebase", "--json"]).expect(4).json();
    assert_eq!(updated["workspaces"][0]["paths"][0], "src", "{updated}");
    assert_eq!(git(&["rev-parse", "w"]), main);
    let undone = || {
        unwritable("src");
        treehand(&["undo", "--json"])
    };
    assert_eq!(undone().expect(4).json()["kind"], "refused");
    assert_ne!(git(&["rev-parse", "main"]), main);
}

#[test]
fn refs_that_may_not_be_written_were_taken_for_a_name_in_the_way() {
    let world = World::new();
    world.treehand(&["new", "w/x"]).expect(0);
    let Some(treehand) = world.as_ordinary_user() else { return };
    let taken = treehand(&["new", "w", "--json"]).expect(4).json();
    assert!(taken["hint"].as_str().is_some_and(|hint| hint.contains("leading part of another")), "{taken}");
    world.shell("chmod a-w .git/refs/heads").expect(0);
    let error = treehand(&["new", "q", "--json"]).expect(1).json();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("refs/heads: Permission denied")), "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("make it writable")), "{error}");
}

/// What a command asks of git: a line for each git that treehand itself starts.
fn gits(world: &World, args: &[&str]) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let git = directories.iter().map(|directory| directory.join("git")).find(|git| git.is_file());
    let git = &git.expect("git");
    let (bin, log) = (world.path().join("bin"), world.path().join("gits"));
    // By a shell: a program that this process has open to write could not be started.
    let make = r#"mkdir -p "$1"; printf '#!/bin/sh\necho "$*" >> "%s"\nexec "%s" "$@"\n' "$2" "$3" > "$1/git"; chmod +x "$1/git""#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", make, "sh"]).args([&bin, &log, git]);
    assert!(shell.status().expect("a shell").success());
    std::fs::write(&log, "").expect("written");
    let mut command = world.command(args);
    command.env("PATH", std::env::join_paths(std::iter::once(bin).chain(directories)).expect("a PATH"));
    support::answer(command).expect(0);
    std::fs::read_to_string(&log).expect("readable").lines().map(str::to_owned).collect()
}

#[test]
fn few_gits_are_started_for_a_workspace_and_for_its_removal() {
    let worlds = [World::new(), World::with_remote()];
    for (world, most) in worlds.iter().zip([6, 7]) {
        // The first command of a repository has more to do.
        world.treehand(&["new", "first"]).expect(0);
        for (args, most) in [(["new", "x"], most), (["rm", "x"], 6)] {
            let asked = gits(world, &args);
            assert!(!asked.is_empty() && asked.len() <= most, "{args:?} asks git {most} times at most: {asked:#?}");
        }
        assert_eq!(world.try_git_in(&world.repo(), &["rev-parse", "--verify", "-q", "refs/heads/x"]).code, 1);
    }
}

#[test]
fn what_is_configured_for_other_worktrees_than_the_main_one_counts_in_a_new_one() {
    let world = World::new();
    let worktrees = format!("includeIf.gitdir:{}/.git/worktrees/**.path", world.repo().display());
    world.git(&["config", "--global", &worktrees, "~/worktrees"]);
    let settings = "[core]\n\tautocrlf = true\n\thooksPath = hooks-of-worktrees\n";
    std::fs::write(world.path().join("home/worktrees"), settings).expect("written");
    world.write("hooks-of-worktrees/post-checkout", "#!/bin/sh\n: > ran\n");
    world.write(".gitattributes", "hooks-of-worktrees/* -text\n");
    world.git(&["add", "."]);
    world.git(&["update-index", "--chmod=+x", "hooks-of-worktrees/post-checkout"]);
    world.git(&["commit", "-q", "-m", "a hook"]);
    let path = world.treehand(&["new", "x", "--set", "worktree.hooks=never"]).expect(0).stdout;
    let text = std::fs::read(std::path::Path::new(path.trim_end()).join("a.txt")).expect("there");
    assert_eq!(text, b"one\r\ntwo\r\nthree\r\n");
    let answer = world.treehand(&["new", "y"]).expect(0);
    let ran = std::path::Path::new(answer.stdout.trim_end()).join("ran").exists();
    assert!(ran || answer.stderr.contains("the hook `post-checkout` did not run"), "{}", answer.stderr);
    world.git(&["config", "--global", "--unset", &worktrees]);
    let path = world.treehand(&["new", "z"]).expect(0).stdout;
    assert_eq!(
        std::fs::read(std::path::Path::new(path.trim_end()).join("a.txt")).expect("there"),
        b"one\ntwo\nthree\n"
    );
}
