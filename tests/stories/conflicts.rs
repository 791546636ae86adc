//! Stories of the conflict radar: which open results would conflict, whatever state they are in, and nothing of it is touched.

use crate::support;

use serde_json::{Value, json};
use support::World;
use support::followed::Followed;

fn new(world: &World, name: &str, flags: &[&str]) {
    world.treehand(&[&["-q", "new", name, "--offline"], flags].concat()).expect(0);
}

fn write_in(world: &World, name: &str, file: &str, text: &str) {
    let path = world.tree(name).join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn conflicts(world: &World, flags: &[&str]) -> Value {
    let found = world.treehand(&[&["conflicts", "--json"], flags].concat()).expect(0).json();
    assert_eq!(found["schema"], "treehand/conflicts/v1");
    assert_eq!(found["unreadable"], json!([]), "{found}");
    found
}

/// The pairs as `A B: FILES`.
fn pairs(found: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let line = |pair: &Value| {
        let paths: Vec<String> = pair["paths"].as_array().expect("paths").iter().map(word).collect();
        format!("{} {}: {}", word(&pair["a"]), word(&pair["b"]), paths.join(" "))
    };
    found["pairs"].as_array().expect("pairs").iter().map(line).collect()
}

fn task(id: &str, script: &str, more: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-ec\", '''{script}''']\n{more}")
}

#[test]
fn what_is_committed_staged_changed_and_untracked_conflicts_and_stays_as_it_is() {
    let world = World::new();
    for name in ["committed", "dirty", "staged", "untracked", "aside", "other-line"] {
        new(&world, name, &[]);
    }
    world.commit_in("committed", "a.txt", "ONE\ntwo\nthree\n");
    write_in(&world, "dirty", "a.txt", "eins\ntwo\nthree\n");
    write_in(&world, "staged", "new.txt", "staged\n");
    world.git_in(&world.tree("staged"), &["add", "new.txt"]);
    write_in(&world, "untracked", "new.txt", "untracked\n");
    world.commit_in("aside", "aside.txt", "aside\n");
    write_in(&world, "other-line", "src/lib.txt", "lib\nmore\n");
    let state = |name: &str| {
        let tree = world.tree(name);
        let index = world.git_in(&tree, &["rev-parse", "--path-format=absolute", "--git-path", "index"]);
        let status = world.git_in(&tree, &["--no-optional-locks", "status", "--porcelain=v2", "--branch"]);
        (status, std::fs::read(index).expect("an index"))
    };
    let before: Vec<_> = ["dirty", "staged", "untracked"].map(state).into();
    let objects = world.git(&["count-objects"]);
    let found = conflicts(&world, &[]);
    assert_eq!(pairs(&found), ["committed dirty: a.txt", "staged untracked: new.txt"]);
    assert_eq!((&found["into"], &found["target"]), (&json!("main"), &json!([])));
    assert_eq!(found["results"], json!(["aside", "committed", "dirty", "other-line", "staged", "untracked"]));
    assert_eq!(found["pairs"][0]["hunks"], json!([1]));
    assert_eq!(Vec::from(["dirty", "staged", "untracked"].map(state)), before);
    assert_eq!(world.git(&["count-objects"]), objects, "nothing comes into the repository");
    assert_eq!(world.shell("ls .git/treehand/quarantine").stdout, "");
    let text = world.treehand(&["conflicts"]).expect(0).stdout;
    assert_eq!(text, "committed and dirty: a.txt\nstaged and untracked: new.txt\n");
    assert_eq!(conflicts(&world, &[]), found, "what is known is not found out again, and is the same");
    write_in(&world, "dirty", "a.txt", "one\ntwo\nthree\n");
    write_in(&world, "untracked", "new.txt", "staged\n");
    assert_eq!(world.treehand(&["conflicts"]).expect(0).stdout, "nothing conflicts\n", "the same change is none");
}

#[test]
fn results_that_wait_tasks_at_work_and_workspaces_are_held_against_each_other() {
    let world = World::new();
    new(&world, "mine", &[]);
    new(&world, "shut", &["--sealed"]);
    write_in(&world, "mine", "a.txt", "mine\ntwo\nthree\n");
    let shut = world.treehand(&["path", "shut"]).expect(0).stdout;
    std::fs::write(std::path::Path::new(shut.trim_end()).join("a.txt"), "shut\ntwo\nthree\n").expect("written");
    let waits = [
        task("edits", "echo edits > a.txt", ""),
        task("builds-on-it", "echo more >> a.txt", "needs = [\"edits\"]\n"),
        task("adds", "echo adds > added.txt", ""),
    ];
    world.run_tasks(&waits.concat(), &["--merge", "manual"]).expect(0);
    let found = conflicts(&world, &[]);
    assert_eq!(
        pairs(&found),
        [
            "mine shut: a.txt",
            "mine edits: a.txt",
            "mine builds-on-it: a.txt",
            "shut edits: a.txt",
            "shut builds-on-it: a.txt"
        ],
        "what builds on another is no pair with it"
    );
    assert_eq!(
        world.git(&["rev-parse", "shut"]),
        world.git(&["rev-parse", "main"]),
        "looking brings nothing onto its branch"
    );

    // One at work, with the name of one that waits.
    world.shell("mkfifo ../begun ../go").expect(0);
    let (begun, go) = (world.path().join("begun"), world.path().join("go"));
    let script = format!("echo work > added.txt; echo > '{}'; read line < '{}'", begun.display(), go.display());
    let run = Followed::start(
        &world,
        &["-q", "--name", "adds", "--confine", "off", "--merge", "manual", "--", "sh", "-ec", &script],
    );
    std::fs::read(&begun).expect("it has begun");
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    let ids: Vec<&str> =
        runs["runs"].as_array().expect("runs").iter().map(|run| run["run"].as_str().expect("an id")).collect();
    let (first, second) = (ids.iter().min().expect("two"), ids.iter().max().expect("two"));
    let named = pairs(&conflicts(&world, &[])).pop();
    assert_eq!(named, Some(format!("{first}/adds {second}/adds: added.txt")));
    std::fs::write(&go, "\n").expect("told");
    assert_eq!(run.ends(), Some(0), "it was not disturbed");
    assert_eq!(pairs(&conflicts(&world, &[])).pop(), named, "it waits now");
}

#[test]
fn a_task_with_a_question_is_looked_at_confined() {
    let world = World::new();
    new(&world, "mine", &[]);
    write_in(&world, "mine", "a.txt", "mine\ntwo\nthree\n");
    let script = "echo task > a.txt; echo '{\"question\": \"so?\"}' > $TREEHAND_MAIL/question.json; \
                  until [ -e $TREEHAND_MAIL/inbox/0001-answer.txt ]; do sleep 0.02; done";
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, task("asks", script, "")).expect("written");
    let flags = ["-q", "--merge", "manual", "--confine", support::level(), "--tasks", &file.to_string_lossy()];
    let mut run = Followed::start(&world, &flags);
    run.next("task.ask");
    assert_eq!(pairs(&conflicts(&world, &[])), ["mine asks: a.txt"]);
    world.treehand(&["answer", &format!("{}/asks", world.only_run()), "yes"]).expect(0);
    assert_eq!(run.ends(), Some(0));
    assert_eq!(pairs(&conflicts(&world, &[])), ["mine asks: a.txt"]);
}

#[test]
fn what_conflicts_with_the_target_is_told_and_what_has_landed_is_not_open() {
    let world = World::new();
    for name in ["late", "early", "fits"] {
        new(&world, name, &[]);
    }
    world.commit_in("late", "a.txt", "late\ntwo\nthree\n");
    world.commit_in("early", "a.txt", "early\ntwo\nthree\n");
    world.commit_in("fits", "fits.txt", "fits\n");
    world.git(&["merge", "-q", "--squash", "early"]);
    world.git(&["commit", "-q", "-m", "early has landed"]);
    let found = conflicts(&world, &[]);
    assert_eq!(found["target"], json!([{"a": "late", "paths": ["a.txt"], "hunks": [1]}]));
    assert_eq!(found["pairs"], json!([]), "what it would conflict with has landed");
    assert_eq!(world.treehand(&["conflicts"]).expect(0).stdout, "late and main: a.txt\n");
    // Others that began later have what has landed: only who changes the same file has a part in that conflict.
    for (name, file) in [("newer", "newer.txt"), ("newest", "a.txt")] {
        new(&world, name, &[]);
        world.commit_in(name, file, "newer\ntwo\nthree\n");
    }
    let found = conflicts(&world, &[]);
    assert_eq!(found["target"].as_array().map(Vec::len), Some(1));
    assert_eq!(pairs(&found), ["late newest: a.txt"]);
}

#[test]
fn results_of_an_older_base_are_compared_on_the_target_as_it_is_now() {
    let world = World::new();
    new(&world, "old", &[]);
    world.commit_in("old", "old.txt", "old\n");
    world.commit("moves on", &[("a.txt", "one\ntwo\nthree\nfour\n")]);
    new(&world, "fresh", &[]);
    world.commit_in("fresh", "a.txt", "one\ntwo\nthree\n4\n");
    world.commit_in("old", "src/lib.txt", "old\n");
    assert_eq!(pairs(&conflicts(&world, &[])), [] as [&str; 0]);
    world.commit_in("old", "a.txt", "0\none\ntwo\nthree\n");
    assert_eq!(pairs(&conflicts(&world, &[])), [] as [&str; 0], "another line of the same file");
    world.commit_in("fresh", "src/lib.txt", "fresh\n");
    assert_eq!(pairs(&conflicts(&world, &[])), ["fresh old: src/lib.txt"]);
}

#[test]
fn only_what_is_meant_for_the_branch_that_is_asked_about() {
    let world = World::new();
    world.git(&["branch", "release"]);
    for (name, base) in [("one", "main"), ("two", "main"), ("three", "release"), ("four", "release")] {
        new(&world, name, &["--base", base]);
        world.commit_in(name, "a.txt", &format!("{name}!\ntwo\nthree\n"));
    }
    assert_eq!(pairs(&conflicts(&world, &[])), ["one two: a.txt"]);
    let release = conflicts(&world, &["--into", "release"]);
    assert_eq!((pairs(&release), &release["into"]), (vec!["four three: a.txt".to_owned()], &json!("release")));
    let inside = world.treehand_at(&world.tree("three"), &["conflicts", "--json"]).expect(0).json();
    assert_eq!(inside, release, "in a workspace it is what that is meant for");
    // One that stands on another is meant for what that is meant for, too.
    new(&world, "upon", &["--base", "one"]);
    world.commit_in("upon", "b.txt", "b\n");
    assert_eq!(pairs(&conflicts(&world, &[])), ["one two: a.txt", "two upon: a.txt"]);
    world.treehand(&["conflicts", "--into", "nowhere"]).expect(3);
    world.git(&["tag", "v1"]);
    let refused = world.treehand(&["conflicts", "--into", "v1"]).expect(4);
    assert!(refused.stderr.contains("`v1` is no branch that results land on"), "{}", refused.stderr);
}

#[test]
fn renames_directories_in_the_place_of_files_binary_files_and_submodules() {
    let world = World::new();
    let long: String = (0..30).map(|line| format!("line {line}\n")).collect();
    world.commit("files", &[("long.txt", &long), ("dir/one.txt", &long), ("binary", "\0one")]);
    let link = |name: &str, path: &str, digit: &str| {
        let entry = format!("160000,{},{path}", digit.repeat(40));
        world.git_in(&world.tree(name), &["update-index", "--add", "--cacheinfo", &entry]);
        world.git_in(&world.tree(name), &["commit", "-q", "-m", "points elsewhere"]);
        std::fs::create_dir(world.tree(name).join(path)).expect("made");
    };
    let git = |name: &str, args: &[&str]| drop(world.git_in(&world.tree(name), args));
    let work = |name: &str| match name {
        "01-renames" => git(name, &["mv", "long.txt", "moved.txt"]),
        "02-edits" => write_in(&world, name, "long.txt", &long.replace("line 3\n", "line three\n")),
        "03-edits-there" => write_in(&world, name, "long.txt", &long.replace("line 3\n", "line drei\n")),
        "04-moves-dir" => git(name, &["mv", "dir", "elsewhere"]),
        "05-adds-in-dir" => write_in(&world, name, "dir/two.txt", "two\n"),
        "06-file" => write_in(&world, name, "place", "a file\n"),
        "07-directory" => write_in(&world, name, "place/in/it", "a file\n"),
        "08-binary" => write_in(&world, name, "binary", "\0two"),
        "09-binary" => write_in(&world, name, "binary", "\0three"),
        "10-submodule" => link(name, "sub", "1"),
        _ => link(name, "sub", "2"),
    };
    let names = [
        "01-renames",
        "02-edits",
        "03-edits-there",
        "04-moves-dir",
        "05-adds-in-dir",
        "06-file",
        "07-directory",
        "08-binary",
        "09-binary",
        "10-submodule",
        "11-submodule",
    ];
    for name in names {
        new(&world, name, &[]);
        work(name);
    }
    let found = conflicts(&world, &[]);
    let expected = [
        "02-edits 03-edits-there: long.txt",
        "04-moves-dir 05-adds-in-dir: elsewhere/two.txt",
        "06-file 07-directory: place",
        "08-binary 09-binary: binary",
        "10-submodule 11-submodule: sub",
    ];
    assert_eq!(pairs(&found), expected, "a rename and an edit go together");
    let hunks: Vec<&Value> = found["pairs"].as_array().expect("pairs").iter().map(|pair| &pair["hunks"]).collect();
    assert_eq!(json!(hunks), json!([[1], [null], [null], [null], [null]]));
}

#[test]
fn names_that_are_no_text_are_told_as_well_as_they_can_be() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    for (name, text) in [("one", "1\n"), ("two", "2\n")] {
        new(&world, name, &[]);
        for odd in [&b"line\nfeed"[..], b"by\xffte"] {
            std::fs::write(world.tree(name).join(std::ffi::OsStr::from_bytes(odd)), text).expect("written");
        }
    }
    let found = conflicts(&world, &[]);
    assert_eq!(
        found["pairs"],
        json!([{"a": "one", "b": "two", "paths": ["by\u{fffd}te", "line\nfeed"], "hunks": [null, null]}])
    );
    assert_eq!(world.treehand(&["conflicts"]).expect(0).stdout, "one and two: by\u{fffd}te, line\\nfeed\n");
}

#[test]
fn what_cannot_be_read_is_named_and_hides_nothing() {
    let world = World::new();
    for name in ["one", "two", "trap", "gone"] {
        new(&world, name, &[]);
        write_in(&world, name, "a.txt", name);
    }
    world.shell("mkfifo ../repo.trees/trap/repo/.gitignore; mv ../repo.trees/gone ../elsewhere").expect(0);
    let found = world.treehand(&["conflicts", "--json"]).expect(0).json();
    assert_eq!(pairs(&found), ["one two: a.txt"]);
    let unreadable = found["unreadable"].as_array().expect("a list");
    let named: Vec<&Value> = unreadable.iter().map(|unreadable| &unreadable["name"]).collect();
    assert_eq!(json!(named), json!(["gone", "trap"]), "{found}");
    assert!(unreadable[1]["reason"].as_str().is_some_and(|reason| reason.contains(".gitignore")), "{found}");
    let told = world.treehand(&["conflicts"]).expect(0);
    assert_eq!(told.stdout, "one and two: a.txt\n");
    assert!(told.stderr.contains("gone") && told.stderr.contains("trap"), "{}", told.stderr);
}

#[test]
fn where_there_is_nothing_nothing_is_made() {
    let world = World::new();
    assert_eq!(world.treehand(&["conflicts"]).expect(0).stdout, "nothing conflicts\n");
    let empty = json!({"schema": "treehand/conflicts/v1", "into": "main", "results": [], "pairs": [], "target": [], "unreadable": []});
    assert_eq!(conflicts(&world, &[]), empty);
    assert!(!world.repo().join(".git/treehand").exists());
}
