//! Whatever a run does with its results, in batches, past culprits and conflicts, with dependents and under a target that others move:
//! in the end the branch is what one gets who merges what landed one after the other, in the order in which it landed, each
//! from the commit that it was made on. Also when the supervisor dies on the way.
//!
//! Random graphs of tasks that change random lines, remove and rename files, in random repositories; the judge is git alone.
//! `TREEHAND_SEQUENTIAL_ROUNDS` and `_SEED` say how many and which.

mod support;

use serde_json::Value;
use support::World;
use support::chance::{Chance, number};

const FILES: u64 = 5;
const LINES: u64 = 30;

fn file(chance: &mut Chance) -> String {
    let n = chance.below(FILES);
    format!("{}/f{n}", if n < 3 { "a" } else { "b" })
}

fn content(salt: u64) -> String {
    (0..LINES).map(|n| format!("line {n} of {salt}\n")).collect()
}

/// What a task does.
fn script(chance: &mut Chance, world: &World, id: u64) -> String {
    let mut steps = Vec::new();
    for _ in 0..=chance.below(2) {
        let (file, line) = (file(chance), chance.below(LINES) + 1);
        steps.push(match chance.below(10) {
            0 => format!("rm -f {file}"),
            1 => format!("mv {file} {file}-moved || :"),
            2 => format!("mkdir -p new/t{id}; echo {id} > new/t{id}/x"),
            _ => format!("test ! -e {file} || sed -i '{line}s/$/ t{id}/' {file}"),
        });
        if chance.below(3) == 0 {
            steps.push(format!("git add --all; git commit -q --allow-empty -m 'step of t{id}'"));
        }
    }
    if chance.below(8) == 0 {
        steps.push("echo > culprit".into());
    }
    if chance.below(8) == 0 {
        // Somebody commits to the target meanwhile, past everything that is checked out.
        let text = format!("theirs {id}");
        steps.push(format!(
            "(cd '{}' && unset GIT_DIR && export GIT_INDEX_FILE=\"$PWD/.git/by-hand-{id}\" && tip=$(git rev-parse target) && \
             git read-tree $tip && \
             git update-index --add --cacheinfo 100644,$(echo {text} | git hash-object -w --stdin),theirs/t{id} && \
             git update-ref refs/heads/target $(git commit-tree -p $tip -m '{text}' $(git write-tree)) $tip) || :",
            world.repo().display()
        ));
    }
    steps.join("\n")
}

/// A tasks file.
fn tasks(chance: &mut Chance, world: &World) -> String {
    let count = 3 + chance.below(6);
    let strategy = ["squash", "merge", "rebase"][usize::try_from(chance.below(3)).expect("small")];
    let gate = if chance.below(2) == 0 { "gates = [\"test ! -e culprit\"]\n" } else { "" };
    let mut text = format!("strategy = \"{strategy}\"\ninto = \"target\"\nbase = \"target\"\njobs = 3\n{gate}");
    for id in 0..count {
        let needs: Vec<String> = (0..id).filter(|_| chance.below(4) == 0).map(|need| format!("\"t{need}\"")).collect();
        let script = script(chance, world, id);
        text.push_str(&format!(
            "\n[[task]]\nid = \"t{id}\"\nneeds = [{}]\ncommand = [\"sh\", \"-c\", '''{}''']\n",
            needs.join(", "),
            script.replace("'''", "")
        ));
    }
    text
}

/// The tree of a commit on another one, merged from a third.
fn merged(world: &World, base: &str, onto: &str, commit: &str) -> String {
    let merge = world.try_git_in(&world.repo(), &["merge-tree", "--write-tree", "--merge-base", base, onto, commit]);
    assert_eq!(merge.code, 0, "what landed does not merge: {}", merge.stdout);
    merge.stdout.trim().to_owned()
}

fn round(seed: u64, round: u64) {
    let mut chance = Chance::of(seed, round);
    let world = World::new();
    let files: Vec<(String, String)> =
        (0..FILES).map(|n| (format!("{}/f{n}", if n < 3 { "a" } else { "b" }), content(chance.below(3)))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    world.commit("files", &files);
    world.git(&["branch", "target"]);
    let text = tasks(&mut chance, &world);
    let path = world.path().join("tasks.toml");
    std::fs::write(&path, &text).expect("written");
    let mut begin = world.command(&["run", "--detach", "--tasks", &path.to_string_lossy(), "--confine", "off"]);
    if chance.below(2) == 0 {
        // Its supervisor dies somewhere, and another one goes on.
        begin.env("TREEHAND_CRASH_AT", format!("{}:{}", chance.one(&["before", "after"]), 3 + chance.below(120)));
    }
    let begun = support::answer(begin);
    assert!(begun.code <= 1, "{}", begun.stderr);
    let ran = world.treehand(&["resume", &world.only_run(), "--json"]);
    assert!([0, 1, 5, 7].contains(&ran.code), "seed {seed}, round {round}: {} {}\n{text}", ran.code, ran.stderr);
    let run = ran.json();
    let told = format!("seed {seed}, round {round}\n{text}\n{run}");
    let id = run["run"].as_str().expect("an id");
    let mut landed: Vec<&Value> =
        run["tasks"].as_array().expect("tasks").iter().filter(|task| task["state"] == "landed").collect();
    landed.sort_by_key(|task| task["landed"]["order"].as_u64());
    let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {told}")).to_owned();
    // What others committed to the target is between the landings, in the order of the branch.
    for task in &landed {
        let captured = world.git(&["rev-parse", &format!("refs/treehand/merged/{id}/{}", word(&task["id"]))]);
        let (before, after) = (word(&task["landed"]["before"]), word(&task["landed"]["commit"]));
        let tree = merged(&world, &word(&task["base"]), &before, &captured);
        assert_eq!(world.git(&["rev-parse", &format!("{after}^{{tree}}")]), tree, "{told}");
    }
    // From each landing to the next there is nothing but what others committed, which changes files of its own.
    let tip = world.git(&["rev-parse", "target"]);
    let ends = landed.iter().map(|task| word(&task["landed"]["before"])).skip(1).chain([tip]);
    for (task, end) in landed.iter().zip(ends) {
        let between = world.git(&["diff", "--name-only", &word(&task["landed"]["commit"]), &end]);
        assert!(between.lines().all(|name| name.starts_with("theirs/")), "{between}\n{told}");
    }
    assert!(
        !world.git(&["ls-tree", "-r", "--name-only", "target"]).contains("culprit") || !text.contains("gates"),
        "{told}"
    );
    world.git(&["fsck", "--strict"]);
}

#[test]
fn the_branch_is_what_landed_merged_one_after_the_other() {
    let seed = number("TREEHAND_SEQUENTIAL_SEED", u64::from(std::process::id()));
    (0..number("TREEHAND_SEQUENTIAL_ROUNDS", 5)).for_each(|n| round(seed, n));
}
