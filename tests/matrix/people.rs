//! Rows about who uses a repository: identity, signing, rights, and names at the limit of what the system takes.

use std::os::unix::fs::PermissionsExt;

use crate::drive::{Row, did_not_run};
use crate::places::PLAIN;

/// The plain repository, committed to by somebody whom the user's configuration does not name afterwards.
fn without_identity() -> Row {
    let row = Row::make(PLAIN);
    row.sh("printf '[init]\\n\\tdefaultBranch = main\\n[user]\\n\\tuseConfigOnly = true\\n' > home/.gitconfig");
    row
}

#[test]
fn no_identity() {
    let row = without_identity();
    row.refused(&["run", "--confine", "off", "--", "true"], 4, "refused", "git does not know who commits");
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.remove(&before, &workspace);
    row.clean(&before);
}

#[test]
fn identity_of_the_repository_alone() {
    let row = without_identity();
    row.sh("cd repo; git config user.name Local; git config user.email local@example.com");
    row.drive();
}

#[test]
fn identity_of_the_environment() {
    let mut row = without_identity();
    row.env = ["GIT_AUTHOR", "GIT_COMMITTER"]
        .iter()
        .flat_map(|who| {
            [(format!("{who}_NAME"), "Env".to_owned()), (format!("{who}_EMAIL"), "env@example.com".to_owned())]
        })
        .collect();
    let before = row.look();
    row.land(&before);
    assert_eq!(row.git(&["log", "-1", "--format=%an <%ae>"]), "Env <env@example.com>");
    row.undo(&before);
}

#[test]
fn owned_by_somebody_else() {
    let row = Row::make(PLAIN);
    if row.try_sh("chown -R 12345:12345 repo").code != 0 {
        return did_not_run("owned_by_somebody_else", "only root can give a repository away");
    }
    let error = row.treehand(&["--json", "new", "w"]).expect(4).json();
    assert_eq!(error["kind"], "refused");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("belongs to somebody else")), "{error}");
    assert!(
        error["hint"].as_str().is_some_and(|text| text.contains("git config --global --add safe.directory")),
        "{error}"
    );
    assert!(!row.repo.join(".git/treehand").exists(), "nothing was written");
    row.sh("git config --global --add safe.directory \"$PWD/repo\"; git config --global --add safe.directory \"$PWD/repo/.git\"");
    row.drive();
}

#[test]
fn by_sudo() {
    let mut row = Row::make(&format!("{PLAIN}; git config --global --add safe.directory '*'"));
    if row.try_sh("chown -R 12345 repo").code != 0 {
        return did_not_run("by_sudo", "only root can be told apart from the owner by sudo");
    }
    row.env = vec![("SUDO_UID".to_owned(), "12345".to_owned())];
    row.refused(&["new", "w"], 4, "refused", "what sudo makes in it would be root's");
    row.refused(&["run", "--confine", "off", "--", "true"], 4, "refused", "what sudo makes in it would be root's");
    assert!(!row.repo.join(".git/treehand").exists());
    row.treehand(&["ls"]).expect(0);
    // The owner's own state is the owner's alone, as ever.
    row.env.clear();
    row.sh("chown -R 0 repo");
    row.drive();
}

#[test]
fn read_only() {
    let row = Row::make(PLAIN);
    let denied = |answer: crate::support::Answer| {
        let error = answer.expect(1).json();
        assert_eq!(error["kind"], "io", "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("Permission denied")), "{error}");
        assert!(error["hint"].as_str().is_some_and(|text| text.contains("make it writable")), "{error}");
    };
    let looks = |answer: crate::support::Answer| {
        assert_eq!(answer.expect(0).json()["workspaces"], serde_json::json!([]), "looking needs no right to write");
    };
    let before = row.look();
    row.sh("chmod -R a-w repo/.git");
    if row.try_sh("test -w repo/.git").code != 0 {
        denied(row.treehand(&["--json", "new", "w"]));
        looks(row.treehand(&["--json", "ls"]));
    } else if row.try_sh("setpriv --reuid=12345 --regid=12345 --clear-groups true").code == 0 {
        // root writes where nobody may: somebody else tries, with a copy of the binary where it can be reached.
        std::fs::set_permissions(row.world.path(), PermissionsExt::from_mode(0o755)).expect("readable");
        row.sh(&format!("cp '{}' treehand; chmod 755 home", env!("CARGO_BIN_EXE_treehand")));
        let start = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; cd repo; \
            exec setpriv --reuid=12345 --regid=12345 --clear-groups ../treehand --json";
        denied(row.try_sh(&format!("{start} new w")));
        looks(row.try_sh(&format!("{start} ls")));
    } else {
        did_not_run("read_only", "root writes everywhere, and there is no setpriv to be somebody else");
    }
    row.sh("chmod -R u+w repo/.git");
    crate::sight::assert_same(&row.look(), &before, "a refusal touches nothing");
}

/// A repository at a path of about this many bytes.
fn at_depth(bytes: usize) -> Row {
    let row = Row::make("");
    let name = "x".repeat(100);
    let mut place = String::new();
    while row.world.path().as_os_str().len() + place.len() + name.len() < bytes {
        place.push_str(&name);
        place.push('/');
    }
    place.push_str("repo");
    row.sh(&format!("mkdir -p {place}; cd {place}; git init -q .; seed; mess"));
    row.from(&place).with_repo(&place)
}

#[test]
fn path_long() {
    at_depth(400).drive();
}

#[test]
fn path_very_long() {
    let row = at_depth(3900);
    row.drive();
    assert!(row.repo.join(".git/treehand/store").exists() && !row.repo.join(".git/treehand/state.db").exists());
}

#[test]
fn identity_with_quotes() {
    let row = without_identity();
    row.sh("cd repo; git config user.name 'O\\Neil \"Q\" Ünï # ; x'; git config user.email 'o+\"q\"@example.com'");
    let row = row.changing("echo a > landed.txt; git add -A; git commit -qm own; git log -1 --format=%an | grep -F 'O\\Neil \"Q\" Ünï # ; x'");
    row.drive();
}

#[test]
fn shared_with_a_group() {
    let row = Row::make("git init -q --shared=group repo; cd repo; seed; mess");
    row.drive();
    // Somebody whose own files are for nobody else.
    let closed = row.sh(&format!(
        "umask 077; cd repo; rmdir .git/worktrees 2>/dev/null || true; '{}' --json run --confine off -- sh -c 'echo landed > landed.txt' > ../run.json; \
         for place in objects refs logs worktrees index packed-refs; do test ! -e .git/$place || \
         find .git/$place \\( -type d ! -perm -g=rwx -o ! -type d ! -perm -g=r \\); done",
        env!("CARGO_BIN_EXE_treehand")
    ));
    assert_eq!(row.git(&["log", "-1", "--format=%(trailers:key=Treehand-Task,valueonly)"]).trim(), "sh");
    assert_eq!(closed, "", "the group cannot use these");
    if row.try_sh("chown -R 12345 repo/.git/treehand").code == 0 {
        row.refused(&["new", "w"], 4, "not_ours", "belongs to user 12345");
    }
}

#[test]
fn git_too_old() {
    let mut row = Row::make(PLAIN);
    row.sh("mkdir old; printf '#!/bin/sh\\necho git version 2.38.4\\n' > old/git; chmod +x old/git");
    let path = std::env::var("PATH").expect("a path");
    row.env = [("PATH".to_owned(), format!("{}:{path}", row.world.path().join("old").display()))].into();
    row.refused(&["new", "w"], 1, "git_too_old", "2.38.4 is too old: treehand needs 2.39.0 or newer");
    row.refused(&["run", "--confine", "off", "--", "true"], 1, "git_too_old", "2.38.4 is too old");
}
