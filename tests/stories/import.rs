//! Stories of results that were made to harm: what an agent leaves is taken like a push from a stranger, or not at all.

use crate::support;

use support::{World, state, task};

/// Runs one task with this script; its result must be refused or failed, main untouched, and fsck clean.
fn refused(script: &str, words: &str) {
    let world = World::new();
    let tip = world.git(&["rev-parse", "main"]);
    std::fs::write(world.path().join("attack.sh"), script).expect("a script");
    let attack = world.path().join("attack.sh").to_string_lossy().into_owned();
    let tasks = format!("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-e\", \"{attack}\"]\n");
    let answer = world.run_tasks(&tasks, &[]);
    let run = answer.json();
    let reason = &task(&run, "t")["reason"];
    assert!(["rejected", "failed"].contains(&state(&run, "t")), "{run}");
    assert_ne!(answer.code, 0);
    let message = reason["message"].as_str().expect("a message");
    assert!(message.contains(words), "`{words}` is not in: {message}");
    assert_eq!(world.git(&["rev-parse", "main"]), tip);
    world.git(&["fsck", "--full", "--strict"]);
    let quarantine = world.repo().join(".git/treehand/quarantine");
    assert_eq!(std::fs::read_dir(quarantine).map(Iterator::count).unwrap_or(0), 0, "a quarantine is left");
}

#[test]
fn a_tree_with_a_git_directory_in_it_is_refused() {
    refused(
        r#"
        blob=$(echo '[core]' | git hash-object -w --stdin)
        inner=$(printf '100644 blob %s\tconfig\n' $blob | git mktree)
        tree=$(perl -e 'print "40000 .git\0", pack("H*", shift)' $inner | git hash-object -w -t tree --literally --stdin)
        git update-ref HEAD $(git commit-tree $tree -p HEAD -m evil)
        "#,
        "",
    );
}

#[test]
fn a_missing_blob_is_refused() {
    refused(
        r#"
        echo data > file; git add file; git commit -qm file
        oid=$(git rev-parse HEAD:file)
        echo other > file; git add file; git commit -qm other
        rm -f $(git rev-parse --git-path objects)/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-)
        "#,
        "cannot be",
    );
}

#[test]
fn a_corrupted_object_is_refused() {
    refused(
        r#"
        echo data > file; git add file; git commit -qm file
        oid=$(git rev-parse HEAD:file)
        path=$(git rev-parse --git-path objects)/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-)
        chmod u+w $path; printf 'garbage' > $path
        "#,
        "cannot be",
    );
}

#[test]
fn an_object_with_the_content_of_another_is_refused() {
    refused(
        r#"
        echo one > file; git add file; git commit -qm file
        other=$(echo two | git hash-object -w --stdin); oid=$(git rev-parse HEAD:file)
        objects=$(git rev-parse --git-path objects)
        path=$objects/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-)
        chmod u+w $path; cat $objects/$(echo $other | cut -c1-2)/$(echo $other | cut -c3-) > $path
        "#,
        "cannot be",
    );
}

#[test]
fn a_head_that_is_a_link_is_not_followed() {
    refused(
        "d=$(git rev-parse --git-dir); echo secret > ../secret; rm $d/HEAD; ln -s $PWD/../secret $d/HEAD",
        "cannot read",
    );
}

#[test]
fn a_head_that_names_no_ref_is_refused() {
    refused("d=$(git rev-parse --git-dir); echo 'ref: ../../../etc/passwd' > $d/HEAD", "no branch");
    refused("d=$(git rev-parse --git-dir); rm $d/HEAD; mkfifo $d/HEAD", "regular file");
}

#[test]
fn a_nested_repository_is_refused_and_named() {
    let script = "git init -q inner; cd inner; git -c user.name=x -c user.email=x commit -q --allow-empty -m x";
    refused(script, "repository inside");
}

#[test]
fn objects_of_another_repository_do_not_come_in() {
    let other = tempfile::tempdir().expect("a directory");
    let secret = World::new();
    secret.commit("a secret", &[("secret.txt", "secret\n")]);
    let (commit, objects) = (secret.git(&["rev-parse", "HEAD"]), secret.repo().join(".git/objects"));
    let name = "common=$(git rev-parse --git-common-dir)/objects";
    for plant in [
        format!("echo {} >> $common/info/alternates", objects.display()),
        format!("rm -rf $common/pack; ln -s {}/pack $common/pack", objects.display()),
        format!("for d in {}/??; do ln -s $d $common/ 2>/dev/null || true; done", objects.display()),
        format!("cp -r $common {0}/copy; rm -rf $common; ln -s {0}/copy $common", other.path().display()),
    ] {
        refused(&format!("{name}; {plant}; echo {commit} > $(git rev-parse --git-dir)/HEAD"), "has objects elsewhere");
    }
}

#[test]
fn configuration_and_hooks_of_the_private_dir_are_not_obeyed() {
    let world = World::new();
    let witness = world.path().join("witness");
    let script = format!(
        r#"c=$(git rev-parse --git-common-dir)
           printf '[core]\n\tfsmonitor = touch {0}\n\thooksPath = hooks\n[filter "x"]\n\tclean = touch {0}\n' >> $c/config
           mkdir -p $c/hooks; printf '#!/bin/sh\ntouch {0}\n' > $c/hooks/post-checkout; chmod +x $c/hooks/post-checkout
           echo '* filter=x' > .gitattributes; echo y > y"#,
        witness.display()
    );
    std::fs::write(world.path().join("attack.sh"), script).expect("a script");
    let attack = world.path().join("attack.sh").to_string_lossy().into_owned();
    let freely = ["--set", "merge.sensitive.git_files=allow"];
    world.treehand(&[&["run", "--confine", "off"], &freely[..], &["--", "sh", "-e", &attack]].concat()).expect(0);
    assert!(!witness.exists(), "a program that the agent planted was started");
    assert_eq!(world.show("main", "y"), "y\n");
}

#[test]
fn the_result_is_head_whatever_branch_the_agent_went_to() {
    let world = World::new();
    let script = "git switch -qc elsewhere; echo x > x; git add x; git commit -qm x; git pack-refs --all; git tag t";
    world.treehand(&["run", "--confine", "off", "--", "sh", "-ec", script]).expect(0);
    assert_eq!(world.show("main", "x"), "x\n");
    assert_eq!(world.git(&["tag"]), "", "only the result comes in");
    world.assert_nothing_left();
}

#[test]
fn a_pipe_where_git_reads_a_file_kept_everything_waiting() {
    refused("echo x > x; mkfifo .gitignore", "is no file");
    refused("echo x > x; mkdir d; mkfifo d/.gitattributes", "is no file");
    refused("echo x > x; mkfifo $(git rev-parse --git-common-dir)/objects/info/commit-graph", "is no file");
    let world = World::new();
    world.treehand(&["new", "w"]).expect(0);
    let pipe = world.trees().join("w/repo/.gitignore");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    let error = listed["workspaces"][0]["error"].as_str().expect("an error").to_owned();
    assert!(error.contains("is no file"), "{error}");
    for args in [&["rm", "w"][..], &["rm", "-f", "w"], &["diff", "w"]] {
        let refused = world.treehand(args).expect(4);
        assert!(refused.stderr.contains("take it away"), "{}", refused.stderr);
    }
    std::fs::remove_file(&pipe).expect("removed");
    world.treehand(&["rm", "w"]).expect(0);
}
