//! Rows about how git keeps a repository: object and ref formats, kinds of index, and configuration that changes what git does.

use crate::drive::{Row, did_not_run};
use crate::places::PLAIN;

/// The plain repository, with this configuration set before its first commit.
fn configured(settings: &str) -> Row {
    Row::make(&format!("git init -q repo; cd repo; {settings}; seed; mess"))
}

#[test]
fn sha256() {
    let row = Row::make("git init -q --object-format=sha256 repo; cd repo; seed; mess");
    row.drive();
    row.drive_graph();
}

#[test]
fn reftable() {
    let row = Row::make("");
    if row.try_sh("git init -q --ref-format=reftable repo").code != 0 {
        return did_not_run("reftable", "this git does not know the format (2.45 does)");
    }
    // Someone looks at the worktrees while the task has one.
    let row = row.unconfined().changing(
        "cd ../../../repo; git worktree list | grep '\\[treehand/'; git fsck; cd -; echo landed > landed.txt",
    );
    row.sh("cd repo; seed; mess");
    row.drive();
    row.drive_graph();
}

#[test]
fn packed_refs_and_objects() {
    Row::make("git init -q repo; cd repo; seed; git gc -q; mess").drive();
}

#[test]
fn sparse_cone() {
    let seed = "git init -q repo; cd repo; mkdir in out; echo i > in/i.txt; echo o > out/o.txt; seed";
    Row::make(&format!("{seed}; git sparse-checkout set --cone in; mess"))
        .changing("echo landed >> in/i.txt; test -e out/o.txt; echo landed >> out/o.txt; echo l > out/new.txt")
        .drive();
}

#[test]
fn sparse_patterns() {
    let seed = "git init -q repo; cd repo; mkdir in out; echo i > in/i.txt; echo o > out/o.txt; seed";
    Row::make(&format!("{seed}; git sparse-checkout set --no-cone '/*' '!/out/'; mess"))
        .changing("echo landed >> in/i.txt; test -e out/o.txt; echo landed >> out/o.txt")
        .drive();
}

#[test]
fn sparse_index() {
    let seed = "git init -q repo; cd repo; mkdir -p in out/deep; echo i > in/i.txt; echo o > out/deep/o.txt; seed";
    let mut row = Row::make(&format!("{seed}; git sparse-checkout set --cone --sparse-index in; mess"))
        .changing("echo landed >> in/i.txt; test -e out/deep/o.txt; echo landed >> out/deep/o.txt");
    // With the index as a root, git (2.47) misses trees that a sparse index has not written yet, without treehand too.
    row.fsck = &["--full", "--strict", "main"];
    row.drive();
    assert!(row.git(&["ls-files", "--sparse"]).lines().any(|line| line == "out/"), "the index is still sparse");
}

#[test]
fn split_index() {
    let row = configured("git config core.splitIndex true");
    row.sh("cd repo; git update-index --split-index");
    row.drive();
}

#[test]
fn index_version_4() {
    configured("git config index.version 4").drive();
}

#[test]
fn index_without_hash() {
    configured("git config index.skipHash true; git config index.threads 2").drive();
}

#[test]
fn untracked_cache() {
    let row = configured("git config core.untrackedCache true");
    row.sh("cd repo; git update-index --force-untracked-cache; git status >/dev/null");
    row.drive();
}

#[test]
fn fsmonitor() {
    let row = configured("git config core.fsmonitor true");
    row.sh("cd repo; git status >/dev/null 2>&1");
    row.drive();
}

#[test]
fn fsmonitor_hook() {
    let hook = r#"printf '#!/bin/sh\ntouch "$0.ran"; printf "token\\0/\\0"\n' > ../watch; chmod +x ../watch"#;
    let row = configured(&format!(
        "{hook}; git config core.fsmonitor \"$PWD/../watch\"; git config core.fsmonitorHookVersion 2"
    ));
    row.sh("cd repo; git update-index --fsmonitor; git status >/dev/null; rm ../watch.ran");
    let mut row = row;
    row.checks.extend(["-c", "core.fsmonitor=false"]);
    row.drive();
    assert!(!row.world.path().join("watch.ran").exists(), "what the configuration names ran");
}

/// Hooks that leave a mark and fail, under each name that git knows.
const HOOKS: &str = "for name in applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change \
    post-merge post-rewrite post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase \
    prepare-commit-msg push-to-checkout reference-transaction sendemail-validate update; do \
    printf '#!/bin/sh\\necho %s >> \"%s/ran\"\\nexit 1\\n' $name \"$MARKS\" > $HOOKS/$name; chmod +x $HOOKS/$name; done";

#[test]
fn hooks_that_reach_outside() {
    let script = format!("{PLAIN}; MARKS=$PWD/..; HOOKS=$PWD/.git/hooks; mkdir -p $HOOKS; {HOOKS}");
    hooks(&script);
}

#[test]
fn core_hooks_path() {
    let script = format!(
        "{PLAIN}; MARKS=$PWD/..; HOOKS=$PWD/.husky; mkdir -p $HOOKS; {HOOKS}; git add -A; git -c core.hooksPath=/dev/null commit -qm hooks; git config core.hooksPath .husky; echo mine >> own.txt"
    );
    hooks(&script);
}

/// Drives with git of the row's own checks under no hooks: what is left in `ran` is treehand's.
fn hooks(script: &str) {
    let row = Row::make(script);
    row.drive();
    assert!(!row.world.path().join("ran").exists(), "a hook ran: {}", row.sh("cat ran"));
    // So that the row says something: for a person they run.
    assert_ne!(row.try_sh("cd repo; git commit -qm mine").code, 0);
    assert!(row.world.path().join("ran").exists());
}

#[test]
fn conditional_includes() {
    let row = Row::make("rm home/.gitconfig; mkdir work; printf '[user]\\n\\tname = At Work\\n\\temail = work@example.com\\n' > home/work.inc; \
        printf '[init]\\n\\tdefaultBranch = main\\n[user]\\n\\tuseConfigOnly = true\\n[includeIf \"gitdir:%s/work/\"]\\n\\tpath = work.inc\\n' \"$PWD\" > home/.gitconfig; \
        git init -q work/repo; cd work/repo; seed; mess").from("work/repo").with_repo("work/repo");
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.land(&before);
    assert_eq!(
        row.git(&["log", "-1", "--format=%an <%ae> %cn <%ce>"]),
        "At Work <work@example.com> At Work <work@example.com>"
    );
    row.undo(&before);
    row.remove(&before, &workspace);
    row.clean(&before);
}

#[test]
fn ignorecase() {
    let row = configured("git config core.ignorecase true");
    row.drive();
    let twins = "for name in same SAME; do oid=$(echo $name | git hash-object -w --stdin); \
                 git -c core.ignorecase=false update-index --add --cacheinfo 100644,$oid,$name.txt; done; \
                 git commit -qm twins; git reset -q --hard";
    let row = row.changing(twins);
    let run = row.does_not_land(4, "policy", "names that are one here");
    assert_eq!(run["tasks"][0]["reason"]["paths"], serde_json::json!(["SAME.txt", "same.txt"]));
    row.changing("git mv sub/dir/deep.txt sub/dir/Deep.txt").land_and_undo();
}

#[test]
fn precomposeunicode() {
    configured("git config core.precomposeunicode true; echo u > \"$(printf 'e\\314\\201.txt')\"; echo c > \"$(printf '\\303\\251.txt')\"").drive();
}

#[test]
fn file_mode_off() {
    let row = configured("git config core.fileMode false")
        .changing("chmod +x sub/dir/deep.txt; echo landed > landed.txt; chmod +x landed.txt");
    let before = row.look();
    row.land(&before);
    let modes = row.git(&["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"]);
    assert!(
        modes.contains("100644 sub/dir/deep.txt"),
        "a mode that the person's git would not see did not land: {modes}"
    );
    row.undo(&before);
    row.drive();
}

#[test]
fn own_excludes_and_attributes() {
    let row = configured(
        "echo '*.secret' > ../ignored; echo '*.own eol=crlf' > ../attributes; printf '*.here\\n' > .git/info/exclude; \
         printf '*.inf text eol=crlf\\n' > .git/info/attributes; printf 'a\\n' > a.inf; \
         git config core.excludesFile \"$PWD/../ignored\"; git config core.attributesFile \"$PWD/../attributes\"",
    );
    row.sh("cd repo; rm a.inf; git checkout -q a.inf");
    let row = row.changing(
        "test \"$(wc -c < a.inf)\" = 3; echo x > x.secret; echo x > x.here; echo x > landed.txt; test -z \"$(git status --porcelain x.secret x.here)\"; \
         printf 'x\\r\\n' > x.own; printf 'x\\r\\n' > x.inf",
    );
    row.drive();
    row.land_and_look(|| {
        let names = row.git(&["ls-tree", "-r", "--name-only", "main"]);
        assert!(
            !names.contains("x.secret") && !names.contains("x.here"),
            "what the person ignores did not land: {names}"
        );
        assert_eq!(row.git(&["cat-file", "-s", "main:x.own"]), "2", "attributes count");
        assert_eq!(row.git(&["cat-file", "-s", "main:x.inf"]), "2", "attributes count");
    });
}

#[test]
fn many_files() {
    configured("git config feature.manyFiles true; git config feature.experimental true").drive();
}

#[test]
fn commit_graph_and_midx() {
    let script = "git init -q repo; cd repo; seed; git gc -q; echo 2 > 2; git add 2; git commit -qm second; \
        git repack -q --write-midx; git commit-graph write --reachable; git config fetch.writeCommitGraph true; mess";
    Row::make(script).drive();
}

#[test]
fn careful_configuration() {
    let settings = "[safe]\\n\\tbareRepository = explicit\\n[protocol]\\n\\tallow = never\\n[protocol \"file\"]\\n\\tallow = never\\n\
        [transfer]\\n\\tfsckObjects = true\\n[fetch]\\n\\tprune = true\\n\\trecurseSubmodules = true\\n[receive]\\n\\tfsckObjects = true\\n";
    let row = Row::make(&format!("{PLAIN}; printf '{settings}' >> ../home/.gitconfig"));
    row.drive();
}

#[test]
fn alternates() {
    let script = "git init -q lender; (cd lender; seed); git clone -q --shared lender repo; cd repo; git remote remove origin; mess";
    Row::make(script).drive();
}

#[test]
fn strange_user_configuration() {
    let mut row = Row::make(PLAIN);
    row.sh("printf '[diff]\\n\\tnoprefix = true\\n\\texternal = false\\n\\trenames = copies\\n[status]\\n\\tshort = true\\n\\tshowUntrackedFiles = no\\n[color]\\n\\tui = always\\n[core]\\n\\tquotePath = false\\n\\tpager = false\\n\\teditor = false\\n\\tabbrev = 40\\n[log]\\n\\tshowSignature = true\\n[branch]\\n\\tautoSetupMerge = always\\n\\tautoSetupRebase = always\\n[merge]\\n\\tff = only\\n\\tconflictStyle = zdiff3\\n[pull]\\n\\trebase = true\\n[commit]\\n\\tverbose = true\\n\\tcleanup = scissors\\n[column]\\n\\tui = always\\n[advice]\\n\\tdetachedHead = false\\n[checkout]\\n\\tguess = false\\n\\tdefaultRemote = no\\n[push]\\n\\tdefault = matching\\n[help]\\n\\tautoCorrect = 1\\n[i18n]\\n\\tcommitEncoding = ISO-8859-1\\n\\tlogOutputEncoding = UTF-16\\n' >> home/.gitconfig");
    row.checks = [
        row.checks,
        [
            "-c",
            "color.ui=false",
            "-c",
            "log.showSignature=false",
            "-c",
            "status.showUntrackedFiles=all",
            "-c",
            "i18n.logOutputEncoding=UTF-8",
        ]
        .into(),
    ]
    .concat();
    row.drive();
}
