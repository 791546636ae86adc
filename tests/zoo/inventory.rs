//! Everything of a repository that could be lost, and everything that is still there, both as ids of objects.
//!
//! A file that was never added has the id that git would give it, so that it is found wherever its bytes are: on the disk, in
//! the trash, or in a commit that saved it. What is only in a reflog counts for nothing, except stashes.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::World;

/// Ids of objects, each with where it was found.
pub type Inventory = BTreeMap<String, String>;

/// Runs git on a git dir; nothing is said where it cannot look.
fn git(world: &World, git_dir: &Path, args: &[&str], input: &str) -> Vec<String> {
    let mut command = Command::new("git");
    world.clean(&mut command);
    command.arg("--git-dir").arg(git_dir).args(args).current_dir(world.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("ended");
    let _it_may_not_read_all = writer.join().expect("no panic");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn common(world: &World) -> PathBuf {
    world.repo().join(".git")
}

/// The git dir of every worktree that has one.
fn git_dirs(world: &World) -> Vec<PathBuf> {
    let all = std::fs::read_dir(common(world).join("worktrees")).into_iter().flatten().filter_map(Result::ok);
    std::iter::once(common(world)).chain(all.map(|entry| entry.path())).collect()
}

/// Commits that something holds: refs, stashes, and what is checked out.
fn roots(world: &World) -> Vec<String> {
    let git_dir = common(world);
    let mut found = git(world, &git_dir, &["for-each-ref", "--format=%(objectname)"], "");
    found.extend(git(world, &git_dir, &["rev-list", "-g", "refs/stash", "--"], ""));
    for git_dir in git_dirs(world) {
        found.extend(git(world, &git_dir, &["rev-parse", "-q", "--verify", "HEAD^{commit}"], ""));
    }
    found
}

/// What is in the index of every worktree.
fn staged(world: &World) -> Vec<String> {
    let id = |line: String| line.split(' ').nth(1).map(str::to_owned);
    let of = |git_dir: PathBuf| git(world, &git_dir, &["ls-files", "-s"], "");
    git_dirs(world).into_iter().flat_map(of).filter_map(id).collect()
}

/// The id that git would give to every file below these places.
fn files(world: &World, places: &[PathBuf]) -> Inventory {
    let ours = |entry: &walkdir::DirEntry| entry.file_name() != ".git";
    let all = places.iter().filter(|place| place.exists()).flat_map(|place| {
        let depth = usize::from(place.file_name().is_some_and(|name| name == ".git"));
        walkdir::WalkDir::new(place).min_depth(depth).into_iter().filter_entry(ours).filter_map(Result::ok)
    });
    let is_file = |entry: &walkdir::DirEntry| entry.file_type().is_file();
    let paths: Vec<String> = all.filter(is_file).filter_map(|entry| entry.path().to_str().map(str::to_owned)).collect();
    let list: String = paths.iter().map(|path| format!("{path}\n")).collect();
    let ids = git(world, &common(world), &["hash-object", "--no-filters", "--stdin-paths"], &list);
    assert_eq!(ids.len(), paths.len(), "every file can be read");
    ids.into_iter().zip(paths).collect()
}

/// Where files are that `clean` may move.
fn places(world: &World) -> Vec<PathBuf> {
    let beside = std::fs::read_dir(world.path()).expect("there").filter_map(Result::ok).map(|entry| entry.path());
    beside.filter(|path| !["home", "state"].iter().any(|name| path.ends_with(name))).collect()
}

/// Everything that could be lost: commits that something holds, what is staged, and every byte of every file.
pub fn take(world: &World) -> Inventory {
    let git_dir = common(world);
    let list: String = roots(world).into_iter().map(|id| id + "\n").collect();
    let commits = git(world, &git_dir, &["rev-list", "--stdin"], &list);
    let mut found: Inventory = commits.into_iter().map(|id| (id, "a commit".to_owned())).collect();
    found.extend(staged(world).into_iter().map(|id| (id, "an index".to_owned())));
    found.extend(private_commits(world).into_iter().map(|id| (id, "a commit in a box".to_owned())));
    found.extend(files(world, &places(world)));
    found
}

/// What is checked out in the boxes of tasks and sealed workspaces.
fn private_commits(world: &World) -> Vec<String> {
    let heads = below(&world.path().join("state/treehand/sealed"), |path| path.ends_with("worktrees/wt"));
    let head = |git_dir: PathBuf| git(world, &git_dir, &["rev-parse", "-q", "--verify", "HEAD^{commit}"], "");
    heads.into_iter().flat_map(head).collect()
}

fn below(place: &Path, fits: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(place).into_iter().filter_map(Result::ok).map(walkdir::DirEntry::into_path);
    all.filter(|path| fits(path)).collect()
}

/// What is in bundles: all that the repository would have if it took it in.
fn bundled(world: &World) -> Vec<String> {
    let all = below(&common(world).join("treehand/salvage"), |path| path.ends_with("saved.bundle"));
    if all.is_empty() {
        return Vec::new();
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let copy = place.path().join("copy.git");
    git(world, &copy, &["init", "-q", "--bare"], "");
    let lender = format!("{}\n", common(world).join("objects").display());
    std::fs::write(copy.join("objects/info/alternates"), lender).expect("written");
    for (number, bundle) in all.iter().enumerate() {
        let to = format!("refs/heads/*:refs/bundles/{number}/*");
        git(world, &copy, &["fetch", "-q", &bundle.to_string_lossy(), &to], "");
    }
    git(world, &copy, &["rev-list", "--objects", "--all"], "")
        .into_iter()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

/// Everything that is still there: what refs and worktrees hold, what is on the disk, and what the trash holds.
pub fn reachable(world: &World) -> HashSet<String> {
    let git_dir = common(world);
    let list: String = roots(world).into_iter().map(|id| id + "\n").collect();
    let objects = git(world, &git_dir, &["rev-list", "--objects", "--stdin"], &list);
    let id = |line: String| line.split(' ').next().map(str::to_owned);
    let mut found: HashSet<String> = objects.into_iter().filter_map(id).collect();
    found.extend(staged(world));
    found.extend(bundled(world));
    let trash = git_dir.join("treehand/trash");
    found.extend(files(world, &places(world)).into_keys());
    found.extend(files(world, &below(&trash, |path| path.parent() == Some(&trash))).into_keys());
    for place in [trash, world.path().join("state/treehand/sealed")] {
        for store in below(&place, |path| path.join("objects").is_dir() && path.join("HEAD").is_file()) {
            let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
            found.extend(git(world, &store, &all, ""));
        }
    }
    found
}
