//! Rows about what a repository is in the middle of, and who else is at work in it.

use crate::drive::{Row, did_not_run};
use crate::places::PLAIN;
use crate::sight::assert_same;

#[test]
fn unborn() {
    let row = Row::make("git init -q repo; cd repo; echo mine > mine.txt; git add mine.txt; echo more > more.txt");
    row.refused(&["new", "w"], 3, "unborn", "no commit yet");
    row.refused(&["run", "--confine", "off", "--", "true"], 3, "unborn", "no commit yet");
    row.treehand(&["ls", "--json"]).expect(0);
    row.treehand(&["clean", "--yes", "--json"]).expect(0);
}

#[test]
fn detached_head() {
    let row = Row::make(&format!("{PLAIN}; git checkout -q --detach"));
    row.refused(&["new", "w"], 4, "refused", "HEAD is detached");
    let mut row = row;
    row.new_flags = ["--base", "main"].map(str::to_owned).into();
    row.run_flags = row.new_flags.clone();
    row.drive();
}

#[test]
fn detached_head_of_a_clone() {
    let script = "git init -q up; (cd up; seed); git clone -q up repo; cd repo; git checkout -q --detach; mess";
    Row::make(script).drive();
}

/// Two branches that conflict in `a.txt`, `side` being checked out in `repo`, or in `there` when it is a worktree.
const CONFLICT: &str = "git init -q repo; cd repo; seed; git checkout -q -b side; echo side >> a.txt; git commit -qam side; \
    git checkout -q main; echo main >> a.txt; git commit -qam main; git checkout -q side";

/// A landing on `side` is refused because of this operation here; `new` and a landing on `main` are fine.
fn in_the_middle_of(operation: &str, script: &str) {
    let row = Row::make(&format!("{CONFLICT}; {script}"));
    refused_then_fine(row, operation);
    // The same in another worktree than where one stands.
    let row = Row::make(&format!(
        "{CONFLICT}; git checkout -q main; mess; git worktree add -q ../there side; cd ../there; {script}"
    ));
    refused_then_fine(row, operation);
}

fn refused_then_fine(mut row: Row, operation: &str) {
    row.new_flags = ["--base", "main"].map(str::to_owned).into();
    let before = row.look();
    row.run_flags = ["--base", "side"].map(str::to_owned).into();
    row.does_not_land(4, "in_the_way", &format!("`side` is in the middle of {operation}"));
    row.run_flags = row.new_flags.clone();
    let workspace = row.make_workspace(&row.look());
    row.remove(&row.look_without("refs/heads/w"), &workspace);
    row.treehand(&["clean", "--yes", "--min-age", "0s", "--json"]).expect(0);
    let mut now = row.look();
    now.forget("refs/heads/treehand/");
    assert_same(&now, &before, "the operation is as it was");
}

#[test]
fn rebase_under_way() {
    in_the_middle_of("a rebase", "git rebase -q main || true");
}

#[test]
fn rebase_by_apply_under_way() {
    in_the_middle_of("a rebase", "git rebase -q --apply main || true");
}

#[test]
fn merge_under_way() {
    in_the_middle_of("a merge", "git merge -q main || true");
}

#[test]
fn cherry_pick_under_way() {
    in_the_middle_of("a cherry-pick", "git cherry-pick main || true");
}

#[test]
fn revert_under_way() {
    in_the_middle_of("a revert", "echo more >> a.txt; git commit -qam more; git revert HEAD~1 || true");
}

#[test]
fn cherry_picks_between_two() {
    // The first of two is resolved by hand, and the second has not begun: only git's list says that there is more to come.
    let script = "git branch more main; git checkout -q more; echo m > m; git add m; git commit -qm more; git checkout -q side; \
        git cherry-pick main more || true; git checkout -q --theirs a.txt; git add a.txt; git commit -qm picked";
    in_the_middle_of("a series of picks", script);
}

#[test]
fn am_under_way() {
    in_the_middle_of(
        "applying mail",
        "git format-patch -q -1 --stdout main > \"$(git rev-parse --git-dir)/mail\"; git am -q \"$(git rev-parse --git-dir)/mail\" || true",
    );
}

#[test]
fn bisect_under_way() {
    in_the_middle_of(
        "a bisect",
        "git bisect start -q HEAD main~1; test \"$(git rev-parse -q --verify BISECT_HEAD || true)\" = ''",
    );
}

#[test]
fn cherry_pick_under_way_in_reftable() {
    let row = Row::make("");
    if row.try_sh("git init -q --ref-format=reftable probe; rm -rf probe").code != 0 {
        return did_not_run("cherry_pick_under_way_in_reftable", "this git does not know the format (2.45 does)");
    }
    let script = CONFLICT.replace("init -q", "init -q --ref-format=reftable");
    row.sh(&format!("{script}; git cherry-pick main || true"));
    refused_then_fine(row, "a cherry-pick");
}

#[test]
fn unmerged_index_of_a_stash() {
    let row = Row::make(
        "git init -q repo; cd repo; seed; echo stash >> own.txt; git stash -q; echo other >> own.txt; git commit -qam other; git stash pop -q || true",
    );
    row.does_not_land(4, "in_the_way", "You need to resolve your current index first");
}

#[test]
fn reflog_of_head_not_writable() {
    // As a `sudo git commit` leaves it to the owner; root itself may write everything but a directory.
    Row::make(&format!("{PLAIN}; rm .git/logs/HEAD; mkdir -p .git/logs/HEAD/x; touch .git/logs/HEAD/x/y")).drive();
}

#[test]
fn index_lock_held() {
    let mut row = Row::make(PLAIN);
    row.sh("touch repo/.git/index.lock");
    row.run_flags = ["--set", "merge.lock_wait=100ms"].map(str::to_owned).into();
    let workspace = row.make_workspace(&row.look());
    row.remove(&row.look_without("refs/heads/w"), &workspace);
    let run = row.does_not_land(8, "busy", "index.lock");
    assert!(run["tasks"][0]["branch"].is_string(), "the result waits on its branch: {run}");
    assert!(row.repo.join(".git/index.lock").exists(), "a lock that is not ours stays");
    row.sh("rm repo/.git/index.lock");
}

/// A flag that waits for a lock for a moment.
const IMPATIENT: [&str; 2] = ["--set", "merge.lock_wait=100ms"];

/// The plain repository, in which somebody holds this lock.
fn locked(script: &str, lock: &str) -> Row {
    let mut row = Row::make(&format!("{script}; touch .git/{lock}"));
    row.run_flags = IMPATIENT.map(str::to_owned).into();
    row
}

#[test]
fn branch_lock_held() {
    let row = locked(PLAIN, "refs/heads/main.lock");
    let run = row.does_not_land(8, "busy", "refs/heads/main.lock");
    assert!(run["tasks"][0]["branch"].is_string(), "the result waits on its branch: {run}");
    row.sh("mv repo/.git/refs/heads/main.lock repo/.git/refs/heads/w.lock");
    row.refused(&[&["new", "w"][..], &IMPATIENT].concat(), 8, "busy", "refs/heads/w.lock");
    row.sh("rm repo/.git/refs/heads/w.lock");
    row.land_and_look(|| {
        row.sh("touch repo/.git/refs/heads/main.lock");
        row.refused(&[&["undo"][..], &IMPATIENT].concat(), 8, "busy", "refs/heads/main.lock");
        row.sh("rm repo/.git/refs/heads/main.lock");
    });
}

#[test]
fn head_lock_held() {
    let row = locked(PLAIN, "HEAD.lock");
    row.does_not_land(8, "busy", "HEAD.lock");
    let workspace = row.make_workspace(&row.look());
    row.remove(&row.look_without("refs/heads/w"), &workspace);
}

#[test]
fn packed_refs_lock_held() {
    let row = locked(PLAIN, "packed-refs.lock");
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.refused(&[&["rm", "w"][..], &IMPATIENT].concat(), 8, "busy", "packed-refs.lock");
    row.sh("rm repo/.git/packed-refs.lock");
    row.remove(&before, &workspace);
}

#[test]
fn tables_lock_held() {
    if Row::make("").try_sh("git init -q --ref-format=reftable probe").code != 0 {
        return crate::drive::did_not_run("tables_lock_held", "this git knows no reftable");
    }
    let row = locked("git init -q --ref-format=reftable repo; cd repo; seed; mess", "reftable/tables.list.lock");
    row.refused(&[&["new", "w"][..], &IMPATIENT].concat(), 8, "busy", "tables.list.lock");
    let run = row.run().expect(8).json();
    assert_eq!(run["tasks"][0]["reason"]["kind"], "busy", "{run}");
    row.sh("rm repo/.git/reftable/tables.list.lock");
    row.make_workspace(&row.look());
}

#[test]
fn worktree_locked() {
    Row::make(&format!("{PLAIN}; git worktree add -q -b side ../side; git worktree lock --reason 'on a stick' ../side; cd ../side; mess")).drive();
}

#[test]
fn worktree_moved_by_git() {
    Row::make(&format!(
        "{PLAIN}; git worktree add -q -b side ../side; git worktree move ../side ../moved; cd ../moved; mess"
    ))
    .drive();
}

#[test]
fn worktree_moved_by_hand() {
    let row =
        Row::make(&format!("{PLAIN}; git worktree add -q -b side ../side; mv ../side ../moved; cd ../moved; mess"));
    row.drive();
    row.sh("cd repo; git worktree repair ../moved; git -C ../moved status");
}

#[test]
fn worktree_missing() {
    let row = Row::make(&format!(
        "{PLAIN}; git worktree add -q -b side ../side; git worktree lock ../side; mv ../side ../away"
    ));
    row.drive();
    row.sh("mv away side; git -C side status; git -C repo worktree list | grep side");
}

#[test]
fn worktree_without_commit() {
    let row = Row::make(PLAIN);
    row.sh("cd repo; git worktree add -q --detach ../side; cd ../side; git checkout -q --orphan other; git rm -rqf .; echo mine > mine");
    row.drive();
}

#[test]
fn worktree_entry_broken() {
    let row = Row::make(PLAIN);
    row.sh("cd repo; mkdir -p .git/worktrees/broken .git/worktrees/empty; : > .git/worktrees/broken/gitdir; : > .git/worktrees/broken/HEAD");
    row.drive();
    assert!(row.repo.join(".git/worktrees/broken").is_dir());
}

#[test]
fn target_in_a_missing_worktree() {
    let mut row = Row::make(&format!("{PLAIN}; git worktree add -q -b side ../side; mv ../side ../away"));
    row.run_flags = ["--base", "side"].map(str::to_owned).into();
    row.does_not_land(4, "in_the_way", "which is not there; if it is gone for good: git worktree prune");
    row.sh("mv away side; test -z \"$(git -C side status --porcelain)\"");
    row.onto("side").land_and_undo();
}

#[test]
fn worktree_on_another_disk() {
    let row = Row::make(PLAIN);
    let Ok(disk) = tempfile::Builder::new().prefix("treehand-disk-").tempdir_in("/dev/shm") else {
        return did_not_run("worktree_on_another_disk", "there is no /dev/shm to be another disk");
    };
    let place = disk.path().join("side").to_string_lossy().into_owned();
    row.git(&["worktree", "add", "-q", "-b", "side", &place]);
    row.sh(&format!("cd {place}; mess"));
    row.drive();
    row.from(&place).onto("side").drive();
}

#[test]
fn workspace_moved_by_git() {
    let row = Row::make(PLAIN);
    let before = row.look();
    let workspace = row.make_workspace(&before);
    let elsewhere = row.world.path().join("elsewhere");
    row.git(&["worktree", "move", &workspace.to_string_lossy(), &elsewhere.to_string_lossy()]);
    row.sh("cd elsewhere; mess");
    let moved = row.look();
    let removed = row.treehand(&["rm", "w", "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "the branch is in use elsewhere: {removed}");
    assert_same(&row.look(), &moved, "what was moved away is the person's");
}

#[test]
fn repository_moved() {
    let row = Row::make(PLAIN);
    let workspace = row.make_workspace(&row.look());
    std::fs::write(workspace.join("work.txt"), "mine\n").expect("written");
    row.sh("mv repo moved");
    let row = row.from("moved").with_repo("moved");
    let error = row.treehand(&["rm", "w", "--force", "--json"]).expect(4).json();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("is not the workspace `w`")), "{error}");
    assert_eq!(std::fs::read_to_string(workspace.join("work.txt")).expect("kept"), "mine\n");
    row.land_and_undo();
    row.treehand(&["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    assert_eq!(row.world.git_in(&workspace, &["status", "--porcelain"]), "?? work.txt");
    std::fs::remove_file(workspace.join("work.txt")).expect("removed");
    row.treehand(&["rm", "w", "--json"]).expect(0);
    assert!(!workspace.exists());
}

#[test]
fn shallow_clone() {
    let script = "git init -q up; (cd up; seed; echo 2 > 2; git add 2; git commit -qm second; echo 3 > 3; git add 3; git commit -qm third); \
        git clone -q --depth 2 \"file://$PWD/up\" repo; cd repo; mess";
    let row = Row::make(script).changing(
        "test \"$(git log --format=%s)\" = \"$(printf 'third\\nsecond')\"; git fsck; echo landed > landed.txt",
    );
    row.drive();
    row.drive_graph();
    assert_eq!(row.git(&["rev-parse", "--is-shallow-repository"]), "true", "it stays shallow");
    assert_eq!(row.git(&["rev-list", "--count", "main"]), "2");
}

#[test]
fn partial_clone() {
    let script = "git init -q up; (cd up; git config uploadpack.allowFilter true; git config uploadpack.allowAnySHA1InWant true; seed; \
        echo old > a.txt; git commit -qam old; echo new > a.txt; git commit -qam new); \
        git clone -q --filter=blob:none \"file://$PWD/up\" repo; cd repo; mess";
    let row = Row::make(script);
    let missing = || row.git(&["rev-list", "--objects", "--missing=print", "HEAD"]).matches("\n?").count();
    let before = missing();
    assert!(before > 0, "the clone lacks old files");
    row.drive();
    row.drive_graph();
    assert_eq!(missing(), before, "nothing of the history was fetched behind the person's back");
}

#[test]
fn second_remote() {
    let script = "git init -q up; (cd up; seed); git clone -q --bare up fork.git; git clone -q up repo; cd repo; \
        git remote add fork ../fork.git; git fetch -q fork; git branch -q --set-upstream-to=fork/main main; mess";
    let row = Row::make(script);
    row.drive();
    row.sh("cd up; echo of-origin > of-origin; git add -A; git commit -qm origin; cd ../fork.git; git worktree add -q ../fork main; \
        cd ../fork; echo of-fork > of-fork; git add -A; git commit -qm fork");
    let made = row.treehand(&["new", "v", "--json"]).expect(0).json();
    assert_eq!(
        made["base"]["commit"],
        row.sh("git -C fork rev-parse main").trim(),
        "the remote that the branch follows: {made}"
    );
}

#[test]
fn remote_is_gone() {
    let script = "git init -q up; (cd up; seed); git clone -q up repo; rm -rf up; cd repo; mess";
    let row = Row::make(script);
    row.drive();
    let made = row.treehand(&["new", "v", "--json"]).expect(0);
    assert!(made.stderr.contains("origin"), "it says why nothing is known: {}", made.stderr);
    assert_eq!(made.json()["base"]["freshness"], "unknown");
}

#[test]
fn remote_is_ahead() {
    let script = "git init -q up; (cd up; seed); git clone -q up repo; cd up; echo next > next.txt; git add -A; git commit -qm next; cd ../repo; mess";
    let row = Row::make(script);
    let run = row.treehand(&["new", "w", "--json"]).expect(0).json();
    assert_eq!(
        run["base"]["commit"],
        row.sh("git -C up rev-parse main").trim(),
        "a workspace starts at the remote's tip: {run}"
    );
}

#[test]
fn mirror_clone() {
    let script = "git init -q up; (cd up; seed); git clone -q --mirror up repo.git; cd repo.git; git worktree add -q ../main main; cd ../main; mess";
    let row = Row::make(script).from("main").with_repo("main");
    row.drive();
    let before = row.look();
    row.land(&before);
    let landed = row.look();
    row.treehand(&["new", "v", "--json"]).expect(0);
    assert_same(&row.look_without("refs/heads/v"), &landed, "asking the remote does not take back what landed");
}

#[test]
fn push_all_but_ours() {
    let script = "git init -q up; (cd up; seed); git clone -q --bare up fork.git; git clone -q fork.git repo; cd repo; git branch mine; mess";
    let row = Row::make(script).changing("echo theirs > own.txt");
    row.does_not_land(4, "in_the_way", "local changes");
    row.git(&["push", "-q", "origin", "refs/heads/*", "^refs/heads/treehand/*"]);
    assert_eq!(row.sh("git -C fork.git for-each-ref --format='%(refname)'"), "refs/heads/main\nrefs/heads/mine\n");
}

#[test]
fn branch_called_treehand() {
    let row = Row::make(&format!("{PLAIN}; git branch treehand"));
    row.refused(&["run", "--confine", "off", "--", "true"], 4, "refused", "a branch is called `treehand`");
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.remove(&before, &workspace);
    row.clean(&before);
}

#[test]
fn ambiguous_names() {
    let script = "git init -q repo; cd repo; seed; echo 2 > 2; git add 2; git commit -qm second; echo file > main; echo file > w; git add main w; \
        git commit -qm names; git tag main HEAD~1; git tag w HEAD~1; git tag HEAD HEAD~1; git update-ref refs/remotes/main HEAD~1; mess";
    Row::make(script).drive();
}

#[test]
fn unusual_branch_name() {
    let branch = "fix/\u{e4}-#1%@x{y'\"";
    let row = Row::make(PLAIN);
    row.git(&["checkout", "-q", "-b", branch]);
    row.onto(branch).drive();
}

#[test]
fn branch_with_another_name() {
    let mut row = Row::make(&format!(
        "{PLAIN}; git symbolic-ref refs/heads/master refs/heads/main; git symbolic-ref HEAD refs/heads/master"
    ));
    let before = row.look();
    for target in ["master", "main"] {
        row.run_flags = ["--into", target].map(str::to_owned).into();
        row.run().expect(0);
        assert_eq!(std::fs::read_to_string(row.repo.join("landed.txt")).expect("it came along"), "landed\n");
        assert_eq!(row.git(&["rev-parse", "main"]), row.git(&["rev-parse", "master"]), "{target}");
        row.undo(&before);
    }
    assert_eq!(row.git(&["symbolic-ref", "refs/heads/master"]), "refs/heads/main", "it still is the same branch");
}
