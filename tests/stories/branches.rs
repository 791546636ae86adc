//! Stories of `clean --branches all`: which branches of people go, each with its proof, and why each other one stays.

use crate::support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::World;

fn clean(world: &World, args: &[&str]) -> Value {
    let all = [&["clean", "--json", "--only", "branches", "--branches", "all"], args].concat();
    world.treehand(&all).expect(0).json()
}

/// What is said of each branch.
fn said(document: &Value) -> BTreeMap<String, String> {
    let line = |one: &Value, key: &str| {
        let name = one["item"].as_str().expect("a name").trim_start_matches("refs/heads/").to_owned();
        (name, one[key].as_str().expect("words").to_owned())
    };
    let of = |list: &str| document[list].as_array().expect("a list").clone();
    let goes = of("actions").iter().map(|one| line(one, "proof")).collect::<Vec<_>>();
    goes.into_iter().chain(of("kept").iter().map(|one| line(one, "reason"))).collect()
}

fn commit_on(world: &World, branch: &str, file: &str) {
    world.git(&["switch", "-q", "-c", branch]);
    world.commit(branch, &[(file, "x\n")]);
    world.git(&["switch", "-q", "main"]);
}

#[test]
fn every_branch_goes_by_a_proof_or_stays_with_a_reason() {
    let world = World::new();
    for branch in ["merged", "squashed", "open", "reverted", "guarded", "base", "used"] {
        commit_on(&world, branch, &format!("{branch}.txt"));
    }
    world.git(&["branch", "fresh-start"]);
    world.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/open"]);
    for branch in ["merged", "reverted", "guarded", "base", "used"] {
        world.git(&["merge", "-q", "--no-ff", "-m", branch, branch]);
        if branch == "reverted" {
            world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
        }
    }
    world.git(&["merge", "-q", "--squash", "squashed"]);
    world.git(&["commit", "-q", "-m", "all of it"]);
    world.git(&["worktree", "add", "-q", "../elsewhere", "used"]);
    world.treehand(&["new", "w", "--base", "base"]).expect(0);
    let young = said(&clean(&world, &[]));
    assert_eq!((young["merged"].as_str(), young["squashed"].as_str()), ("younger than 1d", "younger than 1d"));
    let old = ["--min-age", "0s", "--set", "clean.protect=gua*"];
    let plan = clean(&world, &old);
    let found = said(&plan);
    let expected = [
        ("alias", "it is another name of refs/heads/open"),
        ("base", "the workspace `w` is based on it"),
        ("fresh-start", "no work yet"),
        ("guarded", "protected by `gua*`"),
        ("merged", "ancestor of `main`"),
        ("open", "its work is in no target"),
        ("squashed", "merge-adds-nothing of `main`"),
    ];
    for (branch, words) in expected {
        assert_eq!(found[branch], words, "{branch}");
    }
    assert!(found["reverted"].starts_with("its work was in `main` and was reverted by "), "{found:?}");
    assert!(found["used"].starts_with("it is in use in ") && found["used"].ends_with("/elsewhere"), "{found:?}");
    assert!(!found.contains_key("main"), "{found:?}");
    let before = world.git(&["for-each-ref", "refs/heads"]);
    let done = clean(&world, &[&old[..], &["--yes"]].concat());
    assert!(done["actions"].as_array().expect("a list").iter().all(|one| one["outcome"] == "done"), "{done}");
    let left = world.git(&["branch", "--format=%(refname:short)"]);
    assert!(!left.contains("merged") && !left.contains("squashed") && left.contains("open"), "{left}");
    assert_eq!(clean(&world, &old)["actions"], serde_json::json!([]), "once more there is nothing to do");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["for-each-ref", "refs/heads"]), before);
}

#[test]
fn without_being_asked_no_branch_of_a_person_is_looked_at() {
    let world = World::new();
    commit_on(&world, "merged", "m");
    world.git(&["merge", "-q", "--no-ff", "-m", "m", "merged"]);
    let plan = world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert_eq!((&plan["actions"], &plan["kept"]), (&serde_json::json!([]), &serde_json::json!([])));
    world.treehand(&["clean", "--branches", "some"]).expect(2);
}

/// The main worktree had a branch checked out that was ahead of `main`, and `main` counted as finished work.
#[test]
fn what_the_main_worktree_has_checked_out_is_not_what_work_comes_to() {
    let world = World::new();
    for branch in ["landed", "in-feature"] {
        commit_on(&world, branch, &format!("{branch}.txt"));
    }
    world.git(&["merge", "-q", "--no-ff", "-m", "landed", "landed"]);
    world.git(&["branch", "develop"]);
    world.git(&["switch", "-q", "-c", "feature"]);
    world.git(&["merge", "-q", "--no-ff", "-m", "in feature", "in-feature"]);
    let found = said(&clean(&world, &["--min-age", "0s"]));
    assert_eq!(found["landed"], "ancestor of `main`");
    assert_eq!(found["in-feature"], "its work is in no target");
    assert_eq!(found["develop"], "others may be built upon it, by its name");
    assert!(!found.contains_key("main"), "{found:?}");
    // Where a remote has a default branch, that is it.
    world.git(&["update-ref", "refs/remotes/origin/next", "feature"]);
    world.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/next"]);
    world.git(&["remote", "add", "origin", "."]);
    let found = said(&clean(&world, &["--min-age", "0s"]));
    assert_eq!(found["in-feature"], "ancestor of `origin/next`");
    assert_eq!(found["main"], "others may be built upon it, by its name");
}

#[test]
fn hundreds_of_branches_go_in_few_steps_and_come_back_with_their_reflogs() {
    let world = World::new();
    commit_on(&world, "work", "work.txt");
    world.git(&["merge", "-q", "--no-ff", "-m", "work", "work"]);
    let names: Vec<String> = (0..230).map(|number| format!("work:refs/heads/topic/{number}")).collect();
    let fetch = ["fetch", "-q", "."].into_iter().chain(names.iter().map(String::as_str));
    world.git(&fetch.collect::<Vec<_>>());
    world.git(&["update-ref", "-m", "there", "refs/heads/topic/229", "main"]);
    world.git(&["update-ref", "-m", "and back", "refs/heads/topic/229", "work"]);
    world.git(&["config", "branch.topic/7.description", "seven"]);
    world.git(&["worktree", "add", "-q", "../elsewhere", "topic/5"]);
    let before = world.git(&["for-each-ref", "refs/heads"]);
    let done = clean(&world, &["--min-age", "0s", "--yes"]);
    let actions = done["actions"].as_array().expect("a list");
    assert_eq!(actions.len(), 230, "{done}");
    assert!(actions.iter().all(|one| one["outcome"] == "done"), "{done}");
    assert_eq!(world.git(&["branch", "--format=%(refname:short)"]).lines().count(), 2);
    assert_eq!(clean(&world, &["--min-age", "0s"])["actions"], serde_json::json!([]));
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["for-each-ref", "refs/heads"]), before);
    let log = world.git(&["log", "-g", "--format=%gs", "topic/229"]);
    assert!(log.starts_with("and back\nthere\nfetch "), "{log}");
    assert_eq!(world.git(&["config", "branch.topic/7.description"]).trim(), "seven");
}
