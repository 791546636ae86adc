//! Stories of submodules in the trees of tasks that mean harm, or fail: what is planted in them is not run, what is the user's is
//! not reached, and what was done in them is not lost.

use crate::support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;
use support::{Answer, World, state, task};

/// A repository with a library as a submodule; the library itself is out of reach.
fn world() -> World {
    let world = World::new();
    let lib = world.path().join("lib");
    std::fs::create_dir(&lib).expect("a directory");
    world.git_in(&lib, &["init", "-q", "-b", "main"]);
    std::fs::write(lib.join("a.txt"), "one\n").expect("a file");
    world.git_in(&lib, &["add", "-A"]);
    world.git_in(&lib, &["commit", "-q", "-m", "first"]);
    let url = lib.to_string_lossy().into_owned();
    world.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "lib"]);
    world.git(&["commit", "-q", "-m", "lib"]);
    std::fs::rename(&lib, world.path().join("away")).expect("moved");
    world
}

/// Attributes, `.gitmodules` and links are no matter for a person here.
const FREELY: [&str; 4] = ["--set", "merge.sensitive.git_files=allow", "--set", "merge.sensitive.links=allow"];

/// Runs one task with this script.
fn run(world: &World, script: &str) -> Answer {
    let path = world.path().join("attack.sh");
    std::fs::write(&path, script).expect("a script");
    let path = path.to_string_lossy().into_owned();
    world.run_tasks(&format!("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-e\", \"{path}\"]\n"), &FREELY)
}

fn lib(world: &World, args: &[&str]) -> String {
    world.git_in(&world.repo().join("lib"), args)
}

/// Runs one task whose result must not land, and nothing of the user's may have moved.
fn refused(world: &World, script: &str, words: &str) -> Value {
    let (tip, refs) = (world.git(&["rev-parse", "main"]), lib(world, &["for-each-ref"]));
    let answer = run(world, script);
    assert_ne!(answer.code, 0, "{}", answer.stdout);
    let run = answer.json();
    let reason = &task(&run, "t")["reason"];
    assert!(["rejected", "failed"].contains(&state(&run, "t")), "{run}");
    let message = reason["message"].as_str().expect("a message");
    assert!(message.contains(words), "`{words}` is not in: {message}");
    assert_eq!(world.git(&["rev-parse", "main"]), tip);
    assert_eq!(lib(world, &["for-each-ref"]), refs, "a ref of the submodule has moved");
    let quarantine = world.repo().join(".git/treehand/quarantine");
    assert_eq!(std::fs::read_dir(quarantine).map(Iterator::count).unwrap_or(0), 0, "a quarantine is left");
    run
}

/// What starts programs in every git that reads it: a monitor, hooks, and a filter that is asked about a file that changed and
/// is as long as before.
fn planted(witness: &Path) -> String {
    format!(
        r#"
        plant() {{
          git config core.fsmonitor 'touch {0}; false'; git config filter.x.clean 'touch {0}; cat'
          git config diff.external 'touch {0}'; git config core.hooksPath hooks; git config core.pager 'touch {0}'
          hooks=$(git rev-parse --git-dir)/hooks; mkdir -p hooks $hooks
          for hook in post-checkout post-index-change pre-commit reference-transaction; do
            printf '#!/bin/sh\ntouch {0}\n' > hooks/$hook; chmod +x hooks/$hook; cp hooks/$hook $hooks/
          done
          echo '* filter=x' > "$(git rev-parse --git-dir)/info/attributes" || true
        }}
        "#,
        witness.display()
    )
}

#[test]
fn what_a_submodules_configuration_starts_is_not_started() {
    let world = world();
    let witness = world.path().join("witness");
    let script = format!(
        "{} cd lib; mkdir -p \"$(git rev-parse --git-dir)/info\"; plant; echo '* filter=x' > .gitattributes; echo two > a.txt; \
         rm -f {}; cd ..; echo landed > landed.txt",
        planted(&witness),
        witness.display()
    );
    run(&world, &script).expect(0);
    assert!(!witness.exists(), "a program that the task planted was started");
    let landed = world.git(&["rev-parse", "main:lib"]);
    assert_eq!(lib(&world, &["show", &format!("{landed}:a.txt")]), "two");
    assert!(!lib(&world, &["config", "--list"]).contains("witness"));
}

#[test]
fn what_a_nested_repositorys_configuration_starts_is_not_started() {
    for staged in ["git add nested 2>/dev/null", "true"] {
        let world = world();
        let witness = world.path().join("witness");
        let script = format!(
            "{} git init -q nested; cd nested; echo x > x; git add x; git commit -qm x; mkdir -p .git/info; plant; \
             echo '* filter=x' > .gitattributes; echo y > x; cd ..; {staged}; rm -f {}",
            planted(&witness),
            witness.display()
        );
        refused(&world, &script, "repository inside");
        assert!(!witness.exists(), "a program that the task planted was started ({staged})");
    }
}

#[test]
fn a_clone_in_the_place_of_a_submodule_is_not_entered() {
    let world = world();
    let witness = world.path().join("witness");
    // Its git dir is its own: as if it were a repository that the task made.
    let script = format!(
        "{} rm -rf lib; rm -rf \"$(git rev-parse --git-dir)/modules\"; git init -q lib; cd lib; echo x > x; git add x; git commit -qm x; \
         plant; echo '* filter=x' > .gitattributes; echo y > x; rm -f {}",
        planted(&witness),
        witness.display()
    );
    let run = refused(&world, &script, "nowhere here");
    assert_eq!(task(&run, "t")["reason"]["paths"][0], "lib");
    assert!(!witness.exists(), "a program that the task planted was started");
}

#[test]
fn no_file_of_the_users_clone_is_shared_with_a_task() {
    let world = world();
    let modules = world.repo().join(".git/modules");
    let objects = |root: &Path| {
        let files = walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file());
        let inode = |entry: walkdir::DirEntry| (entry.metadata().expect("there").ino(), entry.path().to_owned());
        files.map(inode).collect::<std::collections::BTreeMap<_, _>>()
    };
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    let users = objects(&modules);
    let private = objects(&world.path().join("state"));
    let trees = objects(&world.trees());
    assert!(private.values().any(|path| path.to_string_lossy().contains("wt/modules/lib/")), "{private:?}");
    let shared: Vec<_> =
        users.iter().filter(|(inode, _)| private.contains_key(inode) || trees.contains_key(inode)).collect();
    assert!(shared.is_empty(), "{shared:?}");
    let lent = private.values().filter(|path| path.ends_with("info/alternates"));
    let lent: String = lent.map(|path| std::fs::read_to_string(path).expect("readable")).collect();
    assert!(!lent.contains("/repo/.git/"), "the user's objects are lent: {lent}");
    world.treehand(&["rm", "s"]).expect(0);
}

#[test]
fn a_submodule_that_leads_elsewhere_is_not_followed() {
    let world = world();
    let elsewhere = world.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    std::fs::write(elsewhere.join("secret"), "secret\n").expect("a file");
    let place = elsewhere.display();
    refused(
        &world,
        &format!("d=$(git rev-parse --git-dir)/modules/lib; rm $d/HEAD; ln -s {place}/secret $d/HEAD; echo x > lib/x"),
        "cannot read",
    );
    refused(&world, "echo 'ref: ../../../HEAD' > $(git rev-parse --git-dir)/modules/lib/HEAD", "no branch");
    // A link in its place does not make away with the user's own submodule, and what is behind it stays there.
    std::fs::write(world.repo().join("lib/mine"), "mine\n").expect("written");
    let linked = format!("rm -rf lib; ln -s {place} lib");
    refused(&world, &linked, "in the way");
    assert_eq!(std::fs::read_to_string(world.repo().join("lib/mine")).expect("there"), "mine\n");
    run(&world, &linked);
    let branch =
        world.git(&["for-each-ref", "--count=1", "--sort=-refname", "--format=%(refname)", "refs/heads/treehand/"]);
    assert!(world.git(&["ls-tree", &branch, "lib"]).starts_with("120000 "));
    assert_eq!(world.git(&["ls-tree", "-r", "--name-only", &branch, "lib"]), "lib");
    let moved =
        "d=$(git rev-parse --git-dir)/modules; mv $d/lib $d/moved; ln -s moved $d/lib; echo x > lib/x; echo y > y";
    refused(&world, moved, "not as git makes it");
}

#[test]
fn damage_in_a_submodule_does_not_land() {
    let world = world();
    let missing = "cd lib; echo data > file; git add file; git commit -qm file; oid=$(git rev-parse HEAD:file); \
        rm -f $(git rev-parse --git-path objects)/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-); rm file; git commit -qam gone";
    refused(&world, missing, "cannot be");
    let inside = "cd lib; git init -q inner; cd inner; git commit -q --allow-empty -m x";
    refused(&world, inside, "repository inside");
}

#[test]
fn a_tree_with_a_git_directory_in_it_is_refused_in_a_submodule() {
    let world = world();
    let script = r#"
        cd lib
        blob=$(echo '[core]' | git hash-object -w --stdin)
        inner=$(printf '100644 blob %s\tconfig\n' $blob | git mktree)
        tree=$(perl -e 'print "40000 .git\0", pack("H*", shift)' $inner | git hash-object -w -t tree --literally --stdin)
        git update-ref HEAD $(git commit-tree $tree -p HEAD -m evil)
    "#;
    refused(&world, script, "");
}

#[test]
fn what_a_failed_task_did_in_a_submodule_is_saved_by_clean() {
    let world = world();
    let answer =
        run(&world, "cd lib; echo work > work.txt; git add -A; git commit -qm work; echo more > more.txt; exit 1");
    assert_eq!(state(&answer.json(), "t"), "failed");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    let saved = world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand/salvage/"]);
    assert_eq!(lib(&world, &["show", &format!("{saved}:more.txt")]), "more");
    assert_eq!(lib(&world, &["show", &format!("{saved}~1:work.txt")]), "work");
    let commit = lib(&world, &["rev-parse", &saved]);
    assert_eq!(commit, world.git(&["rev-parse", &format!("{saved}:lib")]));
    // What a branch holds by now stays when the rest is dropped; else it goes with it.
    let refs = || lib(&world, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/treehand/"]);
    world.git(&["branch", "mine", &saved]);
    world.treehand(&["salvage", "drop", "--yes", &saved]).expect(0);
    assert_eq!(refs(), format!("refs/treehand/landed/{commit} {commit}"));
    let answer = run(&world, "echo other > lib/other.txt; exit 1");
    assert_eq!(state(&answer.json(), "t"), "failed");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    assert_eq!(refs().lines().count(), 2);
    world
        .treehand(&[
            "salvage",
            "drop",
            "--yes",
            &world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand/salvage/"]),
        ])
        .expect(0);
    assert_eq!(refs().lines().count(), 1);
}

#[test]
fn what_is_in_a_submodule_is_saved_beside_a_bundle_and_goes_with_it() {
    let world = world();
    let refs = || lib(&world, &["for-each-ref", "--format=%(refname)", "refs/treehand/"]);
    let saved_in_a_bundle = || {
        let answer = run(&world, "cd lib; echo work > work.txt; git add -A; git commit -qm work; exit 1");
        assert_eq!(state(&answer.json(), "t"), "failed");
        world.treehand(&["clean", "--yes", "--min-age", "0s", "--set", "clean.salvage_max=0"]).expect(0);
        let all = world.treehand(&["salvage", "ls", "--json"]).expect(0).json();
        let saved = &all["salvage"][0];
        assert!(saved["bundle"].is_string(), "{saved}");
        assert_eq!(refs(), saved["ref"].as_str().expect("a ref"), "the submodule has it by the same name");
        saved["name"].as_str().expect("a name").to_owned()
    };
    let name = saved_in_a_bundle();
    world.treehand(&["salvage", "drop", "--yes", &name]).expect(0);
    assert_eq!(refs(), "");
    saved_in_a_bundle();
    world.treehand(&["clean", "--yes", "--set", "clean.retention=0s"]).expect(0);
    assert_eq!(refs(), "");
    // What a branch holds by now stays within reach.
    let name = saved_in_a_bundle();
    world.treehand(&["salvage", "restore", &name, "--branch", "mine"]).expect(0);
    world.treehand(&["salvage", "drop", "--yes", &name]).expect(0);
    assert_eq!(refs(), format!("refs/treehand/landed/{}", world.git(&["rev-parse", "mine:lib"])));
}

#[test]
fn commits_of_a_submodule_outlive_the_files_of_a_sealed_workspace() {
    let world = world();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    let work = "cd lib; echo work > work.txt; git add -A; git commit -qm work";
    world.treehand(&["exec", "s", "--confine", "off", "--", "sh", "-ec", work]).expect(0);
    std::fs::rename(world.trees().join("s"), world.path().join("gone")).expect("moved");
    world.treehand(&["rm", "s"]).expect(0);
    assert_eq!(lib(&world, &["show", "treehand/s:work.txt"]), "work");
}

#[test]
fn a_submodule_that_only_the_workspace_has_is_kept_in_the_repository() {
    let world = world();
    world.git(&["submodule", "--quiet", "deinit", "-f", "lib"]);
    std::fs::rename(world.repo().join(".git/modules/lib"), world.path().join("gone")).expect("moved");
    std::fs::rename(world.path().join("away"), world.path().join("lib")).expect("back");
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    assert!(!world.trees().join("s/repo/lib/a.txt").exists());
    let work = "git -c protocol.file.allow=always submodule --quiet update --init; cd lib; echo work > work.txt";
    world.treehand(&["exec", "s", "--confine", "off", "--", "sh", "-ec", work]).expect(0);
    world.treehand(&["rm", "s", "--force"]).expect(0);
    let link = world.git(&["rev-parse", "s:lib"]);
    assert_eq!(world.git(&["show", &format!("{link}:work.txt")]), "work");
    let kept = world.git(&["for-each-ref", "--format=%(objectname)", "refs/treehand/submodules/lib/"]);
    assert_eq!(kept, link);
}

#[test]
fn what_a_task_fetched_into_a_submodule_comes_into_a_clone_that_is_behind() {
    let world = world();
    let away = world.path().join("away");
    std::fs::write(away.join("next.txt"), "next\n").expect("a file");
    world.git_in(&away, &["add", "-A"]);
    world.git_in(&away, &["commit", "-q", "-m", "next"]);
    let next = world.git_in(&away, &["rev-parse", "HEAD"]);
    // The repository records what its own clone was never updated to.
    world.git(&["update-index", "--cacheinfo", &format!("160000,{next},lib")]);
    world.git(&["commit", "-q", "-m", "lib moves"]);
    std::fs::rename(&away, world.path().join("lib")).expect("back");
    let script = "test ! -e lib/next.txt; git -c protocol.file.allow=always submodule --quiet update --init; echo work > lib/work.txt";
    let run = run(&world, script).expect(0).json();
    let events = world.treehand(&["--json", "show", run["run"].as_str().expect("a run")]).expect(0).stdout;
    assert!(!events.is_empty());
    let landed = world.git(&["rev-parse", "main:lib"]);
    assert_eq!(lib(&world, &["show", &format!("{landed}:work.txt")]), "work");
    assert_eq!(lib(&world, &["rev-parse", &format!("{landed}~1")]), next);
    lib(&world, &["fsck", "--full", "--strict"]);
}

#[test]
fn an_update_leaves_submodules_as_they_are_or_is_refused() {
    let world = world();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    let tree = world.trees().join("s/repo");
    let exec = |script: &str| world.treehand(&["exec", "s", "--confine", "off", "--", "sh", "-ec", script]).expect(0);
    exec("cd lib; echo work > work.txt; git add -A; git commit -qm work; echo loose > loose.txt");
    world.commit("theirs", &[("theirs.txt", "theirs\n")]);
    world.treehand(&["fresh", "s", "--update", "rebase"]).expect(0);
    assert!(tree.join("theirs.txt").exists());
    assert_eq!(exec("git -C lib status --porcelain; git -C lib log -1 --format=%s").stdout, "?? loose.txt\nwork\n");
    let before = world.git(&["rev-parse", "s:lib"]);
    world.git(&["fetch", "-q", ".", "s"]);
    assert_eq!(lib(&world, &["show", &format!("{before}:loose.txt")]), "loose");
    std::fs::write(world.repo().join("lib/other.txt"), "other\n").expect("a file");
    lib(&world, &["add", "-A"]);
    lib(&world, &["commit", "-q", "-m", "other"]);
    world.git(&["commit", "-q", "-am", "lib moves"]);
    let conflict = world.treehand(&["fresh", "s", "--update", "rebase"]).expect(5);
    assert!(conflict.stderr.contains("lib"), "{}", conflict.stderr);
    let after = world.git(&["rev-parse", "s:lib"]);
    assert_eq!(lib(&world, &["show", &format!("{after}:loose.txt")]), "loose");
    assert_eq!(exec("git -C lib status --porcelain").stdout, "?? loose.txt\n");
}

#[test]
fn a_submodule_follows_the_base_where_nothing_was_done_in_it() {
    let world = world();
    let first = world.git(&["rev-parse", "main:lib"]);
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    let tree = world.trees().join("s/repo");
    let exec =
        |script: &str| world.treehand(&["exec", "s", "--confine", "off", "--", "sh", "-ec", script]).expect(0).stdout;
    exec("echo mine > mine.txt; git -C lib switch -q -c somewhere");
    std::fs::write(world.repo().join("lib/other.txt"), "other\n").expect("a file");
    lib(&world, &["add", "-A"]);
    lib(&world, &["commit", "-q", "-m", "other"]);
    world.git(&["commit", "-q", "-am", "lib moves"]);
    let look = "git status --porcelain; git -C lib rev-parse HEAD; ls lib";
    world.treehand(&["fresh", "s", "--update", "rebase"]).expect(0);
    let next = world.git(&["rev-parse", "main:lib"]);
    assert_eq!(exec(look), format!("?? mine.txt\n{next}\na.txt\nother.txt\n"));
    assert_eq!(exec("git -C lib fsck --full --strict --no-dangling; git -C lib log -1 --format=%s"), "other\n");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(exec(look), format!("?? mine.txt\n{first}\na.txt\n"));
    world.treehand(&["redo"]).expect(0);
    assert_eq!(exec(look), format!("?? mine.txt\n{next}\na.txt\nother.txt\n"));
    world.treehand(&["undo"]).expect(0);
    // A file where the newer one has one of its own.
    std::fs::write(world.repo().join(".git/info/exclude"), "other.txt\n").expect("written");
    exec(
        "d=$(git -C lib rev-parse --absolute-git-dir); mkdir -p $d/info; echo other.txt > $d/info/exclude; echo mine > lib/other.txt",
    );
    let answer = world.treehand(&["fresh", "s", "--update", "rebase"]);
    assert!([4, 5].contains(&answer.code), "{}", answer.stderr);
    assert_eq!(exec("cat lib/other.txt; git -C lib rev-parse HEAD"), format!("mine\n{first}\n"));
    world.git(&["rm", "-q", "-f", "lib"]);
    world.git(&["commit", "-q", "-m", "no lib"]);
    let refused = world.treehand(&["fresh", "s", "--update", "rebase"]).expect(4);
    assert!(refused.stderr.contains("has no longer submodules that it had: lib"), "{}", refused.stderr);
    assert!(tree.join("lib/other.txt").exists());
}

#[test]
fn a_submodule_that_a_task_removes_or_leaves_alone_is_as_it_says() {
    let world = world();
    let mode = std::fs::metadata(world.repo().join("lib")).expect("there").permissions().mode();
    run(&world, "git rm -q lib; echo x > x").expect(0);
    assert_eq!(world.git(&["ls-tree", "main", "lib"]), "");
    world.treehand(&["undo"]).expect(0);
    run(&world, "rm -rf lib").expect(0);
    assert_eq!(world.git(&["ls-tree", "main", "lib"]), "");
    world.treehand(&["undo"]).expect(0);
    let before = world.git(&["rev-parse", "main:lib"]);
    run(&world, "git rm -q --cached lib; echo x > x").expect(0);
    assert_eq!(world.git(&["rev-parse", "main:lib"]), before, "as `git add --all` would have it");
    world.treehand(&["undo"]).expect(0);
    run(&world, "rm lib/.git; echo work > lib/work.txt").expect(0);
    let landed = world.git(&["rev-parse", "main:lib"]);
    assert_eq!(lib(&world, &["show", &format!("{landed}:work.txt")]), "work");
    assert_eq!(std::fs::metadata(world.repo().join("lib")).expect("there").permissions().mode(), mode);
}

#[test]
fn a_repository_in_the_place_of_a_submodule_of_a_plain_workspace_is_not_entered() {
    let world = world();
    world.treehand(&["new", "w"]).expect(0);
    let tree = world.trees().join("w/repo");
    let witness = world.path().join("witness");
    // What it plants runs for whoever looks outside, where the witness can be written.
    let script = format!(
        "{} rm lib/.git; cd lib; git init -q; git add -f a.txt; git -c user.name=x -c user.email=x commit -qm x; plant; \
         printf '#!/bin/sh\\ntouch {}; cat' > hooks/clean; chmod +x hooks/clean; git config filter.x.clean \"$PWD/hooks/clean\"; \
         echo '* filter=x' > .gitattributes; echo two > a.txt; exit 0",
        planted(&witness),
        witness.display()
    );
    world.treehand(&["exec", "w", "--confine", support::level(), "--", "sh", "-c", &script]).expect(0);
    world.git_in(&tree, &["status", "--short"]);
    assert!(witness.exists(), "this is no attack: git itself does not run it");
    for args in
        [&["ls"][..], &["fresh", "w"], &["diff", "w"], &["clean", "--min-age", "0s"], &["rm", "w"], &["ls", "--json"]]
    {
        let _gone = std::fs::remove_file(&witness);
        let answer = world.treehand(args);
        assert!(!witness.exists(), "{args:?} started a program that was planted");
        let refused = i32::from(args[0] == "rm") * 4;
        assert_eq!(answer.code, refused, "{args:?}: {}", answer.stderr);
    }
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!(listed["workspaces"][0]["dirty"], true, "{listed}");
    world.treehand(&["rm", "w", "-f"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert!(!witness.exists());
    assert_eq!(std::fs::read_to_string(tree.join("lib/a.txt")).expect("there"), "two\n");
}
