//! Stories of ignored files: what a list names comes along into a new workspace, and secrets only by their own names.
//!
//! Both ways to name them, `.worktreeinclude` and `worktree.copy`, both kinds of workspace, and what fails on the way.

use crate::support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::World;

/// A repository that ignores a few things, and has them.
fn world() -> World {
    let world = World::new();
    let ignored = "node_modules/\n.env*\n*.pem\n.worktreeinclude\n.trees/\ncache\n";
    world.commit("ignore", &[(".gitignore", ignored)]);
    world.write("node_modules/a/index.js", "a\n");
    world.write("node_modules/a/lib/tokenize.js", "t\n");
    world.write("node_modules/a/test/server.pem", "p\n");
    world.write(".env", "PASSWORD=x\n");
    world.write("sub/.env", "PASSWORD=y\n");
    world.write("cache", "c\n");
    world.write("unignored.txt", "u\n");
    symlink("a/index.js", world.repo().join("node_modules/link")).expect("a link");
    symlink("/etc", world.repo().join("node_modules/etc")).expect("a link");
    world
}

fn new(world: &World, args: &[&str]) -> (PathBuf, Value) {
    let made = world.treehand(&[&["new", "--json"], args].concat()).expect(0).json();
    (PathBuf::from(made["path"].as_str().expect("a path")), made["copied"].clone())
}

fn files(copied: &Value) -> u64 {
    copied["files"].as_u64().expect("a number")
}

fn withheld(copied: &Value) -> Vec<String> {
    let all = copied["withheld"].as_array().expect("a list").iter();
    let text = |it: &Value, key: &str| it[key].as_str().expect("a text").to_owned();
    all.map(|it| format!("{} {}", text(it, "reason"), text(it, "path"))).collect()
}

#[test]
fn without_a_list_nothing_comes_along() {
    let world = world();
    let (path, copied) = new(&world, &["x"]);
    assert_eq!(copied, json!({"files": 0, "bytes": 0, "reflinked": 0, "withheld": []}));
    assert!(!path.join("node_modules").exists());
}

#[test]
fn what_the_list_names_comes_along_and_secrets_stay() {
    let world = world();
    world.write(".worktreeinclude", "# dependencies\nnode_modules/\n.env*\nunignored.txt\na.txt\n");
    std::fs::set_permissions(world.repo().join("node_modules/a/index.js"), PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let said = world.treehand(&["new", "said"]).expect(0).stderr;
    let secret = "not copied: .env, node_modules/a/test/server.pem, sub/.env: a secret by its name";
    assert!(said.contains(secret) && said.contains(".worktreeinclude"), "{said}");
    assert!(said.contains("brought 4 ignored files along"), "{said}");
    let (path, copied) = new(&world, &["x"]);
    assert_eq!(files(&copied), 4);
    assert_eq!(withheld(&copied), ["secret .env", "secret node_modules/a/test/server.pem", "secret sub/.env"]);
    assert_eq!(std::fs::read_to_string(path.join("node_modules/a/lib/tokenize.js")).expect("there"), "t\n");
    let meta = |tree: &Path| std::fs::metadata(tree.join("node_modules/a/index.js")).expect("there");
    let (there, here) = (meta(&path), meta(&world.repo()));
    assert_eq!((there.mode(), there.mtime_nsec()), (here.mode(), here.mtime_nsec()));
    // Just written, it would be newer than the files of the commit: a build would take it for made of those.
    let tracked = std::fs::metadata(path.join(".gitignore")).expect("there");
    assert!(there.mtime() < tracked.mtime() && there.mtime() <= here.mtime());
    assert_eq!(std::fs::read_link(path.join("node_modules/link")).expect("a link"), Path::new("a/index.js"));
    assert_eq!(std::fs::read_link(path.join("node_modules/etc")).expect("a link"), Path::new("/etc"));
    assert!(!path.join("unignored.txt").exists() && !path.join("cache").exists());
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "", "what came along is ignored there");
    world.treehand(&["rm", "x", "said"]).expect(0);
}

#[test]
fn a_secret_comes_along_by_its_own_path_alone() {
    let world = world();
    world.write(".worktreeinclude", "/.env\nsub/\n");
    let (path, copied) = new(&world, &["x"]);
    assert_eq!((files(&copied), withheld(&copied)), (1, vec!["secret sub/.env".to_owned()]));
    assert_eq!(std::fs::read_to_string(path.join(".env")).expect("there"), "PASSWORD=x\n");
    let (path, copied) = new(&world, &["y", "--sealed"]);
    assert_eq!(
        (files(&copied), withheld(&copied)),
        (0, vec!["sealed_secret .env".to_owned(), "sealed_secret sub/.env".to_owned()])
    );
    assert!(!path.join(".env").exists());
}

#[test]
fn the_configuration_adds_to_the_list_and_works_for_sealed_workspaces() {
    let world = world();
    world.write(".worktreeinclude", "cache\n");
    world.write(".treehand.toml", "[worktree]\ncopy = ['node_modules/', '!node_modules/link']\n");
    for args in [&["x"][..], &["y", "--sealed"]] {
        let (path, copied) = new(&world, args);
        assert_eq!((files(&copied), withheld(&copied).len()), (5, 1), "{copied}");
        assert!(path.join("cache").exists() && path.join("node_modules/a/index.js").exists());
    }
    let diff = world.treehand(&["diff", "y", "--json"]).expect(0).json();
    assert_eq!(diff["files"], json!([]), "what came along is no change of the workspace");
    let (path, copied) = new(&world, &["z", "--set", "worktree.copy=*.js"]);
    assert_eq!(files(&copied), 3, "{copied}");
    assert!(path.join("node_modules/a/lib/tokenize.js").exists());
}

#[test]
fn what_the_workspace_would_not_ignore_stays_so_that_nobody_commits_it() {
    let world = world();
    world.write(".worktreeinclude", "node_modules/\ncache\n");
    let (path, copied) = new(&world, &["before", "--base", "HEAD~1"]);
    assert_eq!(files(&copied), 0, "the first commit has no .gitignore: {copied}");
    assert!(withheld(&copied).contains(&"not_ignored cache".to_owned()), "{copied}");
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
    std::fs::write(world.repo().join(".git/info/exclude"), "cache\nnode_modules\n").expect("written");
    let (path, copied) = new(&world, &["shared", "--base", "HEAD~1"]);
    assert_eq!((files(&copied), path.join("cache").exists()), (5, true), "{copied}");
    let (_, copied) = new(&world, &["own", "--base", "HEAD~1", "--sealed"]);
    assert_eq!(files(&copied), 5, "the repository's own rules count in a sealed git dir too: {copied}");
    assert_eq!(world.treehand(&["diff", "own", "--json"]).expect(0).json()["files"], json!([]));
}

#[test]
fn nothing_is_overwritten_and_nothing_goes_through_a_link() {
    let world = world();
    world.git(&["checkout", "-q", "-b", "odd"]);
    let elsewhere = world.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    std::fs::rename(world.repo().join("node_modules"), world.path().join("kept")).expect("moved");
    symlink(&elsewhere, world.repo().join("node_modules")).expect("a link");
    std::fs::write(world.repo().join("cache"), "tracked\n").expect("written");
    world.git(&["add", "-f", "cache", "node_modules"]);
    world.git(&["commit", "-q", "-m", "odd"]);
    world.git(&["checkout", "-q", "main"]);
    std::fs::rename(world.path().join("kept"), world.repo().join("node_modules")).expect("moved");
    world.write("cache", "mine\n");
    world.write(".worktreeinclude", "node_modules/\ncache\n");
    let (path, copied) = new(&world, &["x", "--base", "odd"]);
    assert_eq!(files(&copied), 0, "{copied}");
    assert!(withheld(&copied).contains(&"in_the_way cache".to_owned()), "{copied}");
    assert_eq!(std::fs::read_to_string(path.join("cache")).expect("there"), "tracked\n");
    assert_eq!(std::fs::read_dir(&elsewhere).expect("readable").count(), 0, "something went through a link");
}

#[test]
fn worktrees_and_workspaces_inside_the_tree_are_not_copied() {
    let world = world();
    world.write(".worktreeinclude", ".trees/\nnode_modules/\n");
    world.git(&["worktree", "add", "-q", "node_modules/wt", "-b", "wt"]);
    world.write("node_modules/wt/node_modules/deep.js", "d\n");
    let inside = ["--set", "worktree.path=.trees/{workspace}/{repo}"];
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::create_dir_all(config.parent().expect("a parent")).expect("directories");
    std::fs::write(&config, "[worktree]\npath = '.trees/{workspace}/{repo}'\n").expect("written");
    let (first, copied) = new(&world, &[&["x", "--sealed"][..], &inside].concat());
    assert_eq!(files(&copied), 4, "{copied}");
    std::fs::write(first.parent().expect("a box").join("home/.profile"), "x").expect("written");
    let (second, copied) = new(&world, &["y"]);
    assert_eq!(files(&copied), 4, "{copied}");
    assert!(!second.join(".trees").exists() && !second.join("node_modules/wt").exists());
}

#[test]
fn a_repository_of_its_own_stays() {
    let world = world();
    world.write(".worktreeinclude", "node_modules/\n");
    world.git(&["init", "-q", "node_modules/rep"]);
    world.write("node_modules/rep/file.js", "x\n");
    let (path, copied) = new(&world, &["x"]);
    assert!(withheld(&copied).contains(&"repository node_modules/rep/".to_owned()), "{copied}");
    assert!(!path.join("node_modules/rep").exists());
}

#[test]
fn a_copy_that_fails_leaves_nothing_of_the_workspace() {
    let world = world();
    world.write(".worktreeinclude", "node_modules/\n");
    let big = std::fs::File::create(world.repo().join("node_modules/big.node")).expect("created");
    std::io::Write::write_all(&mut &big, &vec![7; 3 << 20]).expect("written");
    for args in ["x", "x --sealed"] {
        let binary = env!("CARGO_BIN_EXE_treehand");
        // A disk that is full after 2 MiB, as far as this process can tell.
        let script = format!("trap '' XFSZ; ulimit -f 4096; exec '{binary}' new {args} --json");
        let answer = world.shell(&script).expect(1);
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains("big.node") && message.contains("too large"), "{message}");
        assert_eq!(world.git(&["branch", "--list", "x"]), "", "{args}: the branch is left");
        world.assert_nothing_left();
        let listed = world.treehand(&["ls", "--json"]).expect(0).json();
        assert_eq!(listed["workspaces"], json!([]), "{args}");
    }
    new(&world, &["x"]);
}

#[test]
fn names_with_any_byte_come_along() {
    let world = world();
    world.write(".worktreeinclude", "node_modules/\n");
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\n\xff \"'.js");
    std::fs::write(world.repo().join("node_modules").join(odd), "x").expect("written");
    let (path, copied) = new(&world, &["x"]);
    assert_eq!(files(&copied), 5);
    assert!(path.join("node_modules").join(odd).exists());
}
