//! Stories of runs: from a task file to landed commits, on real repositories with the real binary.

#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

use crate::support;

use serde_json::Value;
use support::{World, state, task};

#[test]
fn a_diamond_lands_as_one_would_do_by_hand() {
    let world = World::new();
    let tasks = r#"
        [[task]]
        id = "lexer"
        command = ["sh", "-c", "echo lexer > lexer.txt"]
        [[task]]
        id = "parser"
        needs = ["lexer"]
        command = ["sh", "-c", "echo parser >> lexer.txt; echo p > parser.txt"]
        [[task]]
        id = "printer"
        needs = ["lexer"]
        command = ["sh", "-c", "sed -i '1i printer' a.txt; git add -A; git commit -qm 'own commit'"]
        [[task]]
        id = "all"
        needs = ["parser", "printer"]
        command = ["sh", "-c", "cat lexer.txt parser.txt > all.txt; test \"$(head -1 a.txt)\" = printer"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(0).json();
    assert_eq!(run["state"], "landed", "{run}");
    for id in ["lexer", "parser", "printer", "all"] {
        assert_eq!(state(&run, id), "landed", "{run}");
    }
    assert_eq!(world.show("main", "all.txt"), "lexer\nparser\np\n");
    assert_eq!(world.show("main", "a.txt"), "printer\none\ntwo\nthree\n");
    assert_eq!(world.git(&["rev-list", "--count", "main"]), "5", "one squashed commit for each task");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the checked-out target came along");
    let trailers = world.git(&["log", "--format=%(trailers:key=Treehand-Task,valueonly)", "main"]);
    let mut landed: Vec<&str> = trailers.lines().filter(|line| !line.is_empty()).collect();
    landed.sort_unstable();
    assert_eq!(landed, ["all", "lexer", "parser", "printer"]);
    world.assert_nothing_left();
}

#[test]
fn the_capture_is_everything_the_task_did() {
    let world = World::new();
    world.commit("ignore rules", &[(".gitignore", "*.log\n"), ("gone.txt", "x\n"), ("mode.sh", "#!/bin/sh\n")]);
    world.write(".git/info/exclude", "secret\n");
    let script = r#"
        git config user.name Agent && echo committed > committed.txt && git add committed.txt && git commit -qm 'agent work'
        echo staged > staged.txt && git add staged.txt
        echo changed >> a.txt
        echo untracked > 'with space.txt'
        mkdir -p deep/er && echo d > deep/er/file
        rm gone.txt
        chmod +x mode.sh
        ln -s a.txt link
        printf '\000\377\001binary' > bin.dat
        printf 'crlf\r\n' > crlf.txt
        touch "$(printf 'not-utf8-\377')" "$(printf 'new\nline')" ./-dash
        echo ignored > build.log && echo forced > forced.log && git add -f forced.log && echo s > secret
        echo hidden >> src/lib.txt && git update-index --assume-unchanged src/lib.txt
    "#;
    let tasks = format!("[[task]]\nid = \"t\"\nprompt = \"Do it all\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n");
    let run = world.run_tasks(&tasks, &["--strategy", "rebase"]).expect(0).json();
    assert_eq!(state(&run, "t"), "landed", "{run}");
    assert_eq!(world.show("main", "a.txt"), "one\ntwo\nthree\nchanged\n");
    assert_eq!(world.show("main", "src/lib.txt"), "lib\nhidden\n", "assume-unchanged must not hide a change");
    assert_eq!(world.show("main", "crlf.txt"), "crlf\r\n");
    let names = world.git(&["ls-tree", "-r", "-z", "--name-only", "main"]);
    for name in [
        "committed.txt",
        "staged.txt",
        "with space.txt",
        "deep/er/file",
        "link",
        "bin.dat",
        "forced.log",
        "new\nline",
        "-dash",
    ] {
        assert!(names.split('\0').any(|found| found == name), "{name:?} is missing in {names:?}");
    }
    assert!(names.contains("not-utf8-"));
    for name in ["gone.txt", "build.log", "secret"] {
        assert!(!names.split('\0').any(|found| found == name), "{name} must not be there");
    }
    assert!(world.git(&["ls-tree", "main", "mode.sh"]).starts_with("100755"));
    assert!(world.git(&["ls-tree", "main", "link"]).starts_with("120000"));
    let subjects = world.git(&["log", "--format=%s|%an", "-2", "main"]);
    assert_eq!(subjects, "Do it all|Tester\nagent work|Agent", "own commits are kept beneath");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.assert_nothing_left();
}

#[test]
fn a_conflict_names_files_and_commits_and_leaves_everything_untouched() {
    let world = World::new();
    let tasks = r#"
        [[task]]
        id = "a"
        command = ["sh", "-c", "echo A > a.txt; echo only-a > only-a.txt"]
        [[task]]
        id = "b"
        command = ["sh", "-c", "echo B > a.txt"]
    "#;
    let run = world.run_tasks(tasks, &["--jobs", "1"]).expect(5).json();
    assert_eq!(run["state"], "partial");
    let b = task(&run, "b");
    assert_eq!(b["reason"]["kind"], "conflict");
    assert_eq!(b["reason"]["paths"], serde_json::json!(["a.txt"]));
    assert_eq!(world.show("main", "a.txt"), "A\n");
    let branch = b["branch"].as_str().expect("a branch");
    assert_eq!(world.show(branch, "a.txt"), "B\n", "the result stays on its branch");
    assert_eq!(world.git(&["rev-parse", branch]), b["commit"].as_str().expect("a commit"));
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(listed["workspaces"][0]["task"], "b", "what is left is named by ls: {listed}");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_failing_gate_keeps_its_result_out_and_the_log_is_named() {
    let world = World::new();
    let tasks = r#"
        gates = ["test ! -e bad.txt || { echo it is bad; exit 3; }"]
        [[task]]
        id = "bad"
        command = ["touch", "bad.txt"]
        [[task]]
        id = "on-bad"
        needs = ["bad"]
        command = ["touch", "more.txt"]
        [[task]]
        id = "good"
        command = ["touch", "good.txt"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(7).json();
    assert_eq!((state(&run, "bad"), state(&run, "good")), ("rejected", "landed"), "{run}");
    assert_ne!(state(&run, "on-bad"), "landed", "what builds on a refused result must not bring it in");
    let log = task(&run, "bad")["reason"]["log"].as_str().expect("a log");
    assert_eq!(std::fs::read_to_string(log).expect("readable"), "it is bad\n");
    assert!(world.try_git_in(&world.repo(), &["show", "main:bad.txt"]).code != 0);
}

#[test]
fn a_gate_sees_exactly_the_tree_that_lands_and_nothing_else() {
    let world = World::new();
    let tasks = r#"
        [[task]]
        id = "t"
        command = ["sh", "-c", "echo built > target.o; echo target.o > .gitignore; echo x > x.txt"]
    "#;
    let gate = "test ! -e target.o && test -e x.txt && test -z \"$(git status --porcelain)\" && git log -1 --format=%s | grep -qx t";
    let run = world.run_tasks(tasks, &["--gate", gate]).expect(0).json();
    assert_eq!(run["gates"][0]["outcome"], "passed", "{run}");
    assert_eq!(run["gates"][0]["tree"], world.git(&["rev-parse", "main^{tree}"]));
    world.assert_nothing_left();
}

#[test]
fn changes_outside_paths_are_refused_and_named() {
    let world = World::new();
    let tasks = r#"
        [[task]]
        id = "t"
        paths = ["src/**"]
        command = ["sh", "-c", "echo x >> src/lib.txt; echo y >> a.txt"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(4).json();
    let reason = &task(&run, "t")["reason"];
    assert_eq!(reason["kind"], "policy");
    assert_eq!(reason["paths"], serde_json::json!(["a.txt"]));
    assert_eq!(world.git(&["rev-list", "--count", "main"]), "1");
}

#[test]
fn attempts_are_counted_and_a_retry_starts_clean() {
    let world = World::new();
    let counter = world.path().join("count");
    let script =
        format!("echo x >> {0}; test ! -e leftover; touch leftover; test $(wc -l < {0}) -ge 3", counter.display());
    let tasks = format!("[[task]]\nid = \"t\"\nretries = 2\ncommand = [\"sh\", \"-ec\", '''{script}''']\n");
    let run = world.run_tasks(&tasks, &[]).expect(0).json();
    assert_eq!(task(&run, "t")["attempts"].as_array().map(Vec::len), Some(3), "{run}");
    assert_eq!(state(&run, "t"), "landed");
    let tasks = "[[task]]\nid = \"t\"\nretries = 1\ncommand = [\"false\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(1).json();
    assert_eq!(task(&run, "t")["attempts"].as_array().map(Vec::len), Some(2), "every start consumes an attempt");
    assert_eq!(task(&run, "t")["reason"]["kind"], "failed");
}

#[test]
fn a_task_that_changes_nothing_is_no_change_and_failures_skip_only_their_dependents() {
    let world = World::new();
    let tasks = r#"
        [[task]]
        id = "idle"
        command = ["true"]
        [[task]]
        id = "broken"
        command = ["sh", "-c", "exit 9"]
        [[task]]
        id = "after-broken"
        needs = ["broken"]
        command = ["touch", "x"]
        [[task]]
        id = "after-idle"
        needs = ["idle"]
        command = ["touch", "y"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(1).json();
    let states: Vec<&str> = ["idle", "broken", "after-broken", "after-idle"].iter().map(|id| state(&run, id)).collect();
    assert_eq!(states, ["no_change", "failed", "skipped", "landed"]);
    assert_eq!(task(&run, "broken")["attempts"][0]["exit"], 9);
}

#[test]
fn needs_that_conflict_among_themselves_are_named() {
    let world = World::new();
    let tasks = r#"
        merge = "manual"
        [[task]]
        id = "a"
        command = ["sh", "-c", "echo A > a.txt"]
        [[task]]
        id = "b"
        command = ["sh", "-c", "echo B > a.txt"]
        [[task]]
        id = "both"
        needs = ["a", "b"]
        command = ["true"]
    "#;
    let run = world.run_tasks(tasks, &[]).expect(5).json();
    assert_eq!(state(&run, "both"), "rejected");
    assert_eq!(task(&run, "both")["reason"]["paths"], serde_json::json!(["a.txt"]));
    assert_eq!(task(&run, "both")["attempts"], serde_json::json!([]), "it must not have started");
}

#[test]
fn local_changes_are_brought_along_or_in_the_way_but_never_touched() {
    let world = World::new();
    world.commit("second", &[("b.txt", "b\n")]);
    world.write("b.txt", "my own edit\n");
    world.write("untracked.txt", "mine\n");
    let before = world.git(&["status", "--porcelain"]);
    let edit = |file: &str| format!("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo landed > {file}\"]\n");
    world.run_tasks(&edit("a.txt"), &[]).expect(0);
    assert_eq!(world.git(&["status", "--porcelain"]), before, "the user's changes are as they were");
    assert_eq!(std::fs::read_to_string(world.repo().join("a.txt")).expect("a.txt"), "landed\n");
    for (file, kept) in [("b.txt", "my own edit\n"), ("untracked.txt", "mine\n")] {
        let tip = world.git(&["rev-parse", "main"]);
        let run = world.run_tasks(&edit(file), &[]).expect(4).json();
        assert_eq!(task(&run, "t")["reason"]["kind"], "in_the_way", "{run}");
        assert_eq!(task(&run, "t")["reason"]["paths"], serde_json::json!([file]));
        assert_eq!(world.git(&["rev-parse", "main"]), tip, "nothing moved");
        assert_eq!(std::fs::read_to_string(world.repo().join(file)).expect("the file"), kept);
    }
    assert!(!world.repo().join(".git/index.lock").exists());
}

#[test]
fn an_ignored_file_in_the_way_is_not_overwritten() {
    let world = World::new();
    world.commit("ignore", &[(".gitignore", "precious\n")]);
    world.write("precious", "mine\n");
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo theirs > precious; git add -f precious\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(4).json();
    assert_eq!(task(&run, "t")["reason"]["paths"], serde_json::json!(["precious"]));
    assert_eq!(std::fs::read_to_string(world.repo().join("precious")).expect("the file"), "mine\n");
}

#[test]
fn a_branch_in_the_middle_of_a_rebase_is_in_use() {
    let world = World::new();
    world.git(&["switch", "-q", "-c", "side"]);
    world.commit("side", &[("a.txt", "side\n")]);
    world.git(&["switch", "-q", "main"]);
    world.commit("main moves", &[("a.txt", "main\n")]);
    world.git(&["switch", "-q", "side"]);
    assert_ne!(world.try_git_in(&world.repo(), &["rebase", "-q", "main"]).code, 0, "the rebase must stop");
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"touch\", \"new\"]\n";
    let run = world.run_tasks(tasks, &["--base", "side"]).expect(4).json();
    assert_eq!(task(&run, "t")["reason"]["kind"], "in_the_way", "{run}");
}

#[test]
fn strategies_land_what_their_names_say() {
    for (strategy, commits, merges) in
        [("squash", "2", "0"), ("merge", "4", "1"), ("rebase", "3", "0"), ("ff", "3", "0")]
    {
        let world = World::new();
        let script = "echo 1 > one; git add -A; git commit -qm one; echo 2 > two; git add -A; git commit -qm two";
        let tasks = format!("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-ec\", \"{script}\"]\n");
        world.run_tasks(&tasks, &["--strategy", strategy]).expect(0);
        assert_eq!(world.git(&["rev-list", "--count", "main"]), commits, "{strategy}");
        assert_eq!(world.git(&["rev-list", "--count", "--merges", "main"]), merges, "{strategy}");
        assert_eq!(world.show("main", "two"), "2\n", "{strategy}");
        world.assert_nothing_left();
    }
}

#[test]
fn garbage_collection_in_the_middle_of_a_run_breaks_nothing() {
    let world = World::new();
    let main = world.repo().to_string_lossy().into_owned();
    // Two collections at once refuse each other; that is git's business and no failure of the task.
    let gc = format!("(git -C {main} gc -q --prune=now; git -C {main} repack -q -adf) || true");
    let tasks = format!(
        r#"
        gates = ["git -C {main} gc -q --prune=now || true"]
        [[task]]
        id = "a"
        command = ["sh", "-ec", "echo a > new-a; {gc}"]
        [[task]]
        id = "b"
        command = ["sh", "-ec", "{gc}; echo b > new-b"]
        [[task]]
        id = "c"
        needs = ["a", "b"]
        command = ["sh", "-ec", "{gc}; cat new-a new-b > new-c; git add -A; git commit -qm c; {gc}"]
        "#
    );
    let run = world.run_tasks(&tasks, &[]).expect(0).json();
    assert_eq!(run["state"], "landed", "{run}");
    assert_eq!(world.show("main", "new-c"), "a\nb\n");
    world.assert_nothing_left();
}

#[test]
fn a_run_from_an_unpulled_local_branch_brings_it_up_to_its_base() {
    let world = World::with_remote();
    let tip = world.commit_upstream("news", "news.txt", "new\n");
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"cat news.txt > copy.txt\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(0).json();
    assert_eq!(run["base"]["commit"], tip.as_str());
    assert_eq!(run["base"]["freshness"], "fresh");
    assert_eq!(world.git(&["rev-parse", "main~1"]), tip, "the landed commit stands on the base");
    assert_eq!(std::fs::read_to_string(world.repo().join("copy.txt")).expect("copied"), "new\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_change_of_the_same_size_in_the_same_second_is_not_missed() {
    let world = World::new();
    // The command ends in a later second than the one in which it (and the checkout) wrote the file.
    let script = "tr a-z A-Z < a.txt > x; cat x > a.txt; rm x; s=$(date +%s); while [ $(date +%s) = $s ]; do :; done";
    let task_of = |n: u32| format!("[[task]]\nid = \"t{n}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n");
    let tasks: String = (0..4).map(task_of).collect();
    let run = world.run_tasks(&tasks, &["--merge", "manual", "--jobs", "4"]).expect(0).json();
    for n in 0..4 {
        assert_eq!(state(&run, &format!("t{n}")), "candidate", "a changed file was taken for clean: {run}");
    }
    let world = World::new();
    world.commit("small", &[("b.txt", "b\n")]);
    world.write("b.txt", "c\n");
    let now = || std::process::Command::new("date").arg("+%s").output().expect("the time").stdout;
    let second = now();
    while now() == second {}
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo landed > b.txt\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(4).json();
    assert_eq!(task(&run, "t")["reason"]["kind"], "in_the_way", "{run}");
    assert_eq!(
        std::fs::read_to_string(world.repo().join("b.txt")).expect("the file"),
        "c\n",
        "a local change was lost"
    );
}

#[test]
fn the_users_own_conversions_hold_in_a_task_and_its_gate() {
    let world = World::new();
    world.commit("attributes", &[(".gitattributes", "*.up filter=up\n")]);
    world.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    world.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
    world.git(&["config", "filter.up.required", "true"]);
    world.git(&["config", "core.autocrlf", "true"]);
    world.commit("filtered", &[("x.up", "up\n"), ("crlf.txt", "one\r\n")]);
    world.git(&["rm", "-q", "-r", "--cached", "."]);
    world.git(&["reset", "-q", "--hard"]);
    let script = "echo more >> x.up; echo raw > y.up; printf 'two\\r\\n' >> crlf.txt";
    let gate = "grep -q more x.up";
    world.treehand(&["run", "--confine", "off", "--gate", gate, "--", "sh", "-c", script]).expect(0);
    assert_eq!((world.show("main", "x.up"), world.show("main", "y.up")), ("UP\nMORE\n".into(), "RAW\n".into()));
    assert_eq!(world.show("main", "crlf.txt"), "one\ntwo\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn an_author_date_of_a_few_seconds_lands_and_nothing_of_the_callers_dates_does() {
    let world = World::new();
    let script = "echo 1 > n; git add n; GIT_AUTHOR_DATE='@2 +0000' git commit -q -m old";
    let mut command = world.command(&["run", "--confine", "off", "--", "sh", "-c", script]);
    command.env("GIT_COMMITTER_DATE", "@1 +0000");
    assert!(command.status().expect("started").success());
    assert_eq!(world.git(&["log", "-1", "--format=%at"]), "2");
    assert_ne!(world.git(&["log", "-1", "--format=%ct"]), "1");
}

#[test]
fn a_result_outside_its_paths_is_kept_on_its_branch_and_shown() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"t\"\npaths = [\"src/**\"]\ncommand = [\"sh\", \"-c\", \"echo x > outside\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(4).json();
    let (id, task) = (run["run"].as_str().expect("an id"), support::task(&run, "t"));
    assert_eq!((task["state"].as_str(), task["reason"]["paths"][0].as_str()), (Some("rejected"), Some("outside")));
    assert_eq!(world.show(task["branch"].as_str().expect("a branch"), "outside"), "x\n");
    let diff = world.treehand(&["diff", &format!("{id}/t"), "--json"]).expect(0).json();
    assert_eq!(diff["files"][0]["path"], "outside");
}

#[test]
fn what_a_failed_task_left_can_be_looked_at() {
    let world = World::new();
    let failed = ["run", "--json", "--confine", "off", "--name", "t", "--", "sh", "-c", "echo x > left; exit 3"];
    let run = world.treehand(&failed).expect(1).json();
    let name = format!("{}/t", run["run"].as_str().expect("an id"));
    assert_eq!(world.treehand(&["diff", &name, "--json"]).expect(0).json()["files"][0]["path"], "left");
    let path = world.treehand(&["path", &name]).expect(0).stdout;
    assert!(std::path::Path::new(path.trim_end()).join("left").exists());
    world.treehand(&["rm", "-f", &name]).expect(4);
}

#[test]
fn a_task_whose_workspace_was_taken_away_says_so() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", 'cd ..; rm -rf \"$OLDPWD\"']\n";
    let run = world.run_tasks(tasks, &["--confine", "off"]).expect(1).json();
    let reason = run["tasks"][0]["reason"].clone();
    let message = reason["message"].as_str().expect("a message");
    assert_eq!((state(&run, "a"), &reason["kind"]), ("failed", &"failed".into()), "{run}");
    assert!(message.starts_with("the result cannot be taken: its workspace is gone: /"), "{message}");
}

#[test]
fn results_land_on_no_branch_that_looks_like_a_remotes() {
    let world = World::with_remote();
    let answer =
        world.treehand(&["run", "--confine", "off", "--into", "origin/main", "--json", "--", "true"]).expect(4);
    assert!(answer.json()["hint"].as_str().expect("a hint").contains("--into main"));
    assert_eq!(world.git(&["for-each-ref", "refs/heads/origin"]), "");
}

#[test]
fn a_dry_run_says_what_its_children_are_kept_within() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"true\"]\nnet = [\"api.example.com:443\"]\n";
    world.write("tasks.toml", tasks);
    let flags = ["run", "--dry-run", "--set", "confine.limits.memory=2G", "--tasks", "tasks.toml"];
    let text = world.treehand(&flags).expect(0).stdout;
    assert!(text.contains("(net api.example.com:443)") && text.contains("confined: strict, network none"), "{text}");
    let document = world.treehand(&[&flags[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(document["confinement"]["bounds"]["memory"], "2G", "{document}");
    assert_eq!(document["confinement"]["level"], "strict");
    let policy = &document["confinement"]["tasks"]["t"];
    let of = |access: &str| -> Vec<String> {
        let mounts = policy["mounts"].as_array().expect("mounts").iter().filter(|mount| mount["access"] == access);
        mounts.map(|mount| mount["target"].as_str().expect("a place").to_owned()).collect()
    };
    assert!(of("write").iter().any(|place| place.ends_with(".t/repo")), "{policy}");
    assert!(
        of("pin").iter().any(|place| place.ends_with(".t/repo/.git")) && of("read").contains(&"/usr".into()),
        "{policy}"
    );
    assert_eq!(policy["network"], serde_json::json!(["api.example.com:443"]));
    let names = policy["environment"].as_array().expect("names");
    assert!(["HOME", "TREEHAND_TASK", "HTTPS_PROXY"].iter().all(|name| names.contains(&(*name).into())), "{policy}");
    assert!(
        text.contains("t sees:") && !world.trees().exists() && !world.path().join("state/treehand/sealed").exists()
    );
}

#[test]
fn a_run_waited_for_a_lock_without_a_word() {
    let world = World::new();
    world.write(".git/index.lock", "");
    let run = |events: bool| {
        let mut args = vec!["run", "--confine", "off", "--set", "merge.lock_wait=2s"];
        args.extend(events.then_some("--events"));
        args.extend(["--", "sh", "-c", "echo x >> x.txt"]);
        world.treehand(&args)
    };
    let said = run(false).expect(8).stderr;
    assert!(said.contains("waiting for") && said.contains("index.lock, which another git process holds"), "{said}");
    let events = |answer: support::Answer| -> Vec<Value> {
        answer.stdout.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
    };
    let waited = events(run(true).expect(8));
    let waits: Vec<_> = waited.iter().filter(|event| event["kind"] == "lock.wait").collect();
    assert_eq!(waits.len(), 1, "{waited:?}");
    assert!(waits[0]["data"]["lock"].as_str().is_some_and(|lock| lock.ends_with(".git/index.lock")), "{waits:?}");
    std::fs::remove_file(world.repo().join(".git/index.lock")).expect("given up");
    let landed = events(run(true).expect(0));
    assert!(landed.iter().any(|event| event["kind"] == "operation"), "{landed:?}");
    for of_one_run in [waited, landed] {
        let numbers: Vec<i64> = of_one_run.iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing is left out: {numbers:?}");
    }
}
