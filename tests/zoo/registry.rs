//! The repositories of a user, for `--all-repos`: those that can be cleaned, and those that cannot be reached or read.
//!
//! What cannot be reached is kept and told, and not touched; the others are cleaned all the same.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::digest::{self, Digest};
use crate::support::World;

/// A repository with a workspace that has landed and one that has not.
fn used(world: &World, name: &str) -> PathBuf {
    let path = world.path().join(name);
    let text = path.to_string_lossy().into_owned();
    world
        .shell(&format!("git init -q -b main '{text}' && cd '{text}' && git commit -q --allow-empty -m first"))
        .expect(0);
    for workspace in ["landed", "open"] {
        world.treehand(&["-C", &text, "new", workspace]).expect(0);
        let tree = trees(&path).join(workspace).join(path.file_name().expect("a name"));
        std::fs::write(tree.join(format!("{workspace}.txt")), "one\n").expect("written");
        world.git_in(&tree, &["add", "--all"]);
        world.git_in(&tree, &["commit", "-q", "-m", workspace]);
    }
    world.git_in(&path, &["merge", "-q", "--no-ff", "-m", "merged", "landed"]);
    path
}

fn trees(repo: &Path) -> PathBuf {
    PathBuf::from(format!("{}.trees", repo.display()))
}

fn clean(world: &World, args: &[&str], code: i32) -> Value {
    let all = [&["-C", "/", "clean", "--all-repos", "--json", "--min-age", "0s"], args].concat();
    world.treehand(&all).expect(code).json()
}

fn outcome<'a>(document: &'a Value, repo: &Path) -> &'a str {
    let all = document["repos"].as_array().expect("repositories").iter();
    let found = all.into_iter().find(|one| one["repo"] == *repo.to_string_lossy());
    found.unwrap_or_else(|| panic!("no {} in {document}", repo.display()))["outcome"].as_str().expect("a word")
}

fn here(places: &[PathBuf]) -> Digest {
    places.iter().flat_map(|place| digest::of(place)).collect()
}

#[test]
fn what_can_be_reached_is_cleaned_and_what_cannot_is_left_as_it_is() {
    let world = World::bare_of_repositories();
    std::fs::create_dir(world.repo()).expect("where commands start");
    std::fs::create_dir(world.path().join("disk")).expect("a mount point");
    let names = ["healthy", "moved", "disk/unplugged", "damaged", "deleted", "leaver"];
    let [healthy, moved, unplugged, damaged, deleted, leaver] = names.map(|name| used(&world, name));
    world.treehand(&["-C", &leaver.to_string_lossy(), "new", "shut", "--sealed"]).expect(0);
    let now_at = world.path().join("moved-to");
    std::fs::rename(&moved, &now_at).expect("renamed");
    let drawer = world.path().join("drawer");
    std::fs::rename(world.path().join("disk"), &drawer).expect("renamed");
    std::fs::create_dir(world.path().join("disk")).expect("an empty mount point");
    std::fs::write(damaged.join(".git/treehand/state.db"), vec![b'x'; 9000]).expect("written");
    for part in ["state.db-wal", "state.db-shm"] {
        let _it_may_be_absent = std::fs::remove_file(damaged.join(".git/treehand").join(part));
    }
    std::fs::remove_dir_all(&deleted).expect("removed");
    std::fs::remove_dir_all(&leaver).expect("removed");
    let mut left =
        vec![now_at.clone(), trees(&moved), drawer.clone(), damaged.clone(), trees(&damaged), trees(&deleted)];
    left.extend([trees(&leaver), world.path().join("state/treehand/sealed")]);
    let before = here(&left);
    let check = |document: &Value, healthy_is: &str| {
        assert_eq!(outcome(document, &healthy), healthy_is, "{document}");
        assert_eq!(outcome(document, &unplugged), "kept", "{document}");
        assert_eq!(outcome(document, &damaged), "failed", "{document}");
        assert_eq!(outcome(document, &leaver), "kept", "its time has not come: {document}");
    };
    check(&clean(&world, &[], 1), "planned");
    assert!(trees(&healthy).join("landed").exists(), "a plan changes nothing");
    check(&clean(&world, &["--yes"], 1), "done");
    assert!(!trees(&healthy).join("landed").exists() && trees(&healthy).join("open/healthy/open.txt").exists());
    assert_eq!(clean(&world, &[], 1)["actions"], serde_json::json!([]), "once more there is nothing to do");
    let changed = digest::difference(&before, &here(&left));
    assert!(changed.is_empty(), "{changed:#?}");
    std::fs::remove_dir(world.path().join("disk")).expect("removed");
    std::fs::rename(&drawer, world.path().join("disk")).expect("renamed");
    assert_eq!(outcome(&clean(&world, &["--yes"], 1), &unplugged), "done");
    assert!(trees(&unplugged).join("open/unplugged/open.txt").exists());
}
