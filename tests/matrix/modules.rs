//! Rows about work in the submodules of a task's tree and of sealed workspaces.
//! They are made from what the repository has of them, and what is done in them is the person's to have.

use serde_json::json;

use crate::content::SUBMODULE;
use crate::drive::Row;
use crate::sight::assert_same;
use crate::support::task;

/// What a task does in a library and in the one inside it: a commit, staged, changed, untracked and ignored files.
const WORK: &str = "test -z \"$(git status --porcelain)\"; git submodule --quiet update --init --recursive; \
    git submodule status --recursive | grep -c '^ ' | grep -qx 2; \
    cd lib/inner; echo deep >> a.txt; git commit -qam deep; echo more > 'more deep.txt'; \
    cd ..; git switch -q -c mine; echo work >> a.txt; git commit -qam work; echo staged > staged.txt; git add staged.txt; \
    echo changed >> own.txt; echo untracked > 'un tracked.txt'; echo ignored > x.o; rm tool.sh; git gc -q; \
    cd ..; echo landed > landed.txt";

#[test]
fn submodule_worked_on_by_a_task() {
    let row = Row::make(&format!("{SUBMODULE}; cd ..; mv lib lib.away; mv inner inner.away")).changing(WORK);
    let before = row.look();
    let run = row.run().expect(0).json();
    let landed = row.git(&["rev-parse", "main:lib"]);
    let lib = row.repo.join("lib");
    let now = row.git_in(&lib, &["rev-parse", "HEAD"]);
    assert_eq!(now, row.git(&["rev-parse", "main~1:lib"]), "the person's own submodule stays where it is");
    assert_eq!(row.sh("git -C repo status --porcelain | head -1"), " M lib\n", "{run}");
    // What landed is there for who updates.
    row.sh("cd repo; git submodule --quiet update --recursive; test -z \"$(git -C lib status --porcelain)\"");
    assert_eq!(row.git_in(&lib, &["rev-parse", "HEAD"]), landed);
    assert_eq!(row.git_in(&lib, &["log", "--format=%s", "-2"]).lines().last(), Some("work"));
    let files = row.sh("cd repo/lib; cat staged.txt own.txt 'un tracked.txt' inner/a.txt 'inner/more deep.txt'; ls");
    assert!(files.starts_with("staged\nown\nchanged\nuntracked\n") && files.contains("deep\nmore\n"), "{files}");
    assert!(!files.contains("x.o") && !files.contains("tool.sh"), "{files}");
    for place in ["repo/lib", "repo/lib/inner"] {
        row.sh(&format!("cd {place}; git fsck --full --strict; git gc -q --prune=now; git rev-parse HEAD"));
        let refs =
            row.sh(&format!("git -C {place} for-each-ref --format='%(refname)' refs/heads/treehand refs/treehand"));
        assert_eq!(refs.lines().count(), 1, "only what keeps the landed commit: {refs}");
        assert!(refs.starts_with("refs/treehand/landed/"), "{refs}");
    }
    row.sh("cd repo; git -C lib checkout -q HEAD~2; git -C lib submodule --quiet update");
    row.undo(&before);
    row.treehand(&["redo"]).expect(0);
    assert_eq!(row.git(&["rev-parse", "main:lib"]), landed);
    row.undo(&before);
    row.clean(&before);
}

#[test]
fn submodule_moved_to_a_commit_that_is_nowhere() {
    let row = Row::make(SUBMODULE);
    row.sh("cd lib; echo next > next.txt; git add -A; git commit -qm next");
    let next = row.sh("git -C lib rev-parse HEAD").trim().to_owned();
    let row = row.changing(&format!("git update-index --cacheinfo 160000,{next},lib"));
    let run = row.does_not_land(4, "policy", "commits of submodules that are nowhere here");
    assert_eq!(task(&run, "t")["reason"]["paths"], json!(["lib"]), "{run}");
    // Where it is not initialised nobody can know.
    row.sh("cd repo; git config --remove-section submodule.lib");
    row.run().expect(0);
    assert_eq!(row.git(&["rev-parse", "main:lib"]), next, "it lands as with git");
}

#[test]
fn submodule_in_a_sealed_workspace() {
    let row = Row::make(&format!("{SUBMODULE}; cd ..; mv lib lib.away; mv inner inner.away"));
    let before = row.look();
    let made = row.treehand(&["new", "s", "--sealed", "--json"]).expect(0).json();
    assert_eq!(made["submodules"], json!([{"path": "lib", "missing": null}, {"path": "lib/inner", "missing": null}]));
    let place = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    assert_eq!(row.git_in(&place, &["status", "--porcelain", "--ignore-submodules=none"]), "");
    // The configuration need not be writable.
    let looks = "c=$(git rev-parse --git-common-dir); cp $c/config /tmp/config.before; git submodule --quiet update --init --recursive; \
        git submodule status --recursive; git status --porcelain; (cd lib; git commit -q --allow-empty -m x; git reset -q --hard HEAD~1); \
        cmp $c/config /tmp/config.before; rm /tmp/config.before";
    row.treehand(&["exec", "s", "--confine", row.level, "--", "sh", "-ec", looks]).expect(0);
    let work = "cd lib; echo one > one.txt; git add -A; git commit -qm one; echo two > two.txt";
    row.treehand(&["exec", "s", "--confine", row.level, "--", "sh", "-ec", work]).expect(0);
    let diff = row.treehand(&["diff", "s", "--json"]).expect(0).json();
    assert_eq!(diff["files"][0]["path"], "lib", "{diff}");
    let first = row.sh("git -C repo/lib rev-parse treehand/s");
    // What comes after that is put where it was put before, and nothing of the person's is moved away.
    row.treehand(&["exec", "s", "--confine", row.level, "--", "sh", "-ec", "echo three > lib/inner/three.txt"])
        .expect(0);
    row.treehand(&["diff", "s"]).expect(0);
    assert_ne!(row.sh("git -C repo/lib rev-parse treehand/s"), first);
    assert_eq!(
        row.sh("git -C repo/lib show treehand/s:two.txt; git -C repo/lib/inner show treehand/s:three.txt"),
        "two\nthree\n"
    );
    row.sh("git -C repo/lib branch -f treehand/s HEAD~1");
    row.treehand(&["exec", "s", "--confine", row.level, "--", "sh", "-ec", "echo four > lib/four.txt"]).expect(0);
    let removed = row.treehand(&["rm", "s", "--force", "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "{removed}");
    let link = row.git(&["rev-parse", "s:lib"]);
    assert_eq!(row.sh(&format!("git -C repo/lib show {link}:four.txt {link}:two.txt")), "four\ntwo\n");
    assert_eq!(
        row.sh(&format!("git -C repo/lib branch --contains {link} --format='%(refname:short)'")).lines().count(),
        1
    );
    row.sh("git -C repo/lib gc -q --prune=now; git -C repo/lib fsck --full --strict");
    row.git(&["update-ref", "-d", "refs/heads/s"]);
    assert_same(&row.look(), &before, "after a sealed workspace all is as before");
    row.clean(&before);
}

#[test]
fn submodule_under_a_gate() {
    let row = Row::make(&format!("{SUBMODULE}; cd ..; mv lib lib.away; mv inner inner.away"));
    let tasks = r#"
        gates = ["test -e lib/inner/a.txt && git submodule status --recursive | grep -c '^ ' | grep -qx 2 && test -z \"$(git status --porcelain)\""]
        [[task]]
        id = "a"
        command = ["sh", "-ec", "echo a >> lib/a.txt"]
        [[task]]
        id = "b"
        needs = ["a"]
        command = ["sh", "-ec", "tail -1 lib/a.txt | grep -qx a; echo b >> lib/a.txt"]
    "#;
    row.run_tasks(tasks).expect(0);
    row.sh("cd repo; git submodule --quiet update --recursive; tail -2 lib/a.txt | tr -d '\\n' | grep -qx ab");
    // As with git, nobody merges two histories of a submodule.
    let both = tasks.replace("needs = [\"a\"]", "").replace("tail -1 lib/a.txt | grep -qx a; ", "");
    let run = row.run_tasks(&both).expect(5).json();
    let states = ["a", "b"].map(|id| task(&run, id)["state"].as_str().expect("a state").to_owned());
    assert!(states.contains(&"landed".into()) && states.contains(&"rejected".into()), "{run}");
    row.sh("cd repo; git submodule --quiet update --recursive");
    row.treehand(&[
        "run",
        "--confine",
        "off",
        "--set",
        "worktree.submodules=never",
        "--",
        "sh",
        "-ec",
        "test ! -e lib/a.txt; echo x > x",
    ])
    .expect(0);
}
