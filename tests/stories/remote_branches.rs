//! Stories of `clean --remote`: what goes from a remote and when, what keeps it there, and how it comes back.

use crate::support;

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::{World, answer};

const PLAN: [&str; 5] = ["clean", "--remote", "--json", "--min-age", "0s"];
const APPLY: [&str; 6] = ["clean", "--remote", "--json", "--min-age", "0s", "--yes"];

/// A workspace with one commit, pushed.
fn pushed(world: &World, name: &str) {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, &format!("{name}.txt"), "work\n");
    world.git(&["push", "-q", "origin", name]);
}

/// One whose work has landed on the remote, and whose workspace has gone.
fn landed(world: &World, name: &str) -> String {
    pushed(world, name);
    world.git(&["merge", "-q", "--no-ff", "-m", name, name]);
    world.git(&["push", "-q", "origin", "main"]);
    let tip = world.git(&["rev-parse", name]);
    world.treehand(&["rm", name]).expect(0);
    tip.trim().to_owned()
}

fn on_remote(world: &World) -> Vec<String> {
    let listed = world.git_in(&world.up(), &["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"]);
    listed.lines().map(str::to_owned).collect()
}

/// How the items that are branches of remotes stand, each with the reason or the proof.
fn told(report: &Value) -> Vec<(String, String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_remote = |one: &&Value| word(&one["item"]).starts_with("refs/remotes/") || word(&one["item"]) == "origin";
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for action in list("actions").iter().filter(is_remote) {
        let why = if action["reason"].is_null() { &action["proof"] } else { &action["reason"] };
        found.push((word(&action["outcome"]), word(&action["item"]), word(why)));
    }
    for kept in list("kept").iter().filter(is_remote) {
        found.push(("kept".to_owned(), word(&kept["item"]), word(&kept["reason"])));
    }
    found
}

fn lines(report: &Value) -> Vec<String> {
    told(report).into_iter().map(|(outcome, item, why)| format!("{outcome} {item}: {why}")).collect()
}

#[test]
fn a_branch_goes_a_while_after_its_work_has_landed_and_comes_back_by_undo() {
    let world = World::with_remote();
    let tip = landed(&world, "done");
    pushed(&world, "open");
    world.git(&["branch", "theirs", &tip]);
    world.git(&["push", "-q", "origin", "theirs"]);
    let report = world.treehand(&["clean", "--remote", "--json", "--yes"]).expect(0).json();
    let [first, second] = &lines(&report)[..] else { panic!("{report}") };
    assert_eq!(first, "kept refs/remotes/origin/done: younger than 1d");
    assert_eq!(second, "kept refs/remotes/origin/open: its work is in no target");
    let plan = world.treehand(&PLAN).expect(0).json();
    assert_eq!(lines(&plan)[0], "planned refs/remotes/origin/done: ancestor of `origin/main`");
    assert_eq!(on_remote(&world), ["done", "main", "open", "theirs"], "a plan takes nothing");
    let done = world.treehand(&APPLY).expect(0).json();
    assert_eq!(lines(&done)[0], "done refs/remotes/origin/done: ancestor of `origin/main`");
    assert_eq!(on_remote(&world), ["main", "open", "theirs"]);
    assert_eq!(world.git(&["for-each-ref", "refs/remotes/origin/done"]), "");
    assert_eq!(world.treehand(&APPLY).expect(0).json()["actions"], serde_json::json!([]), "the second plan is empty");

    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git_in(&world.up(), &["rev-parse", "done"]).trim(), tip);
    assert_eq!(world.git(&["rev-parse", "refs/remotes/origin/done"]).trim(), tip);
    world.treehand(&["redo"]).expect(0);
    assert_eq!(on_remote(&world), ["main", "open", "theirs"]);
    world.treehand(&["undo"]).expect(0);

    let all = [&APPLY[..], &["--branches", "all"]].concat();
    let done = world.treehand(&all).expect(0).json();
    let mut gone: Vec<String> = lines(&done).into_iter().filter(|line| line.starts_with("done ")).collect();
    gone.sort();
    let expected = ["done", "theirs"].map(|name| format!("done refs/remotes/origin/{name}: ancestor of `origin/main`"));
    assert_eq!(gone, expected);
    assert_eq!(on_remote(&world), ["main", "open"]);
}

#[test]
fn what_is_proved_only_here_is_not_proved_there() {
    let world = World::with_remote();
    pushed(&world, "w");
    world.git(&["merge", "-q", "--no-ff", "-m", "w", "w"]);
    world.treehand(&["rm", "w"]).expect(0);
    let plan = world.treehand(&PLAN).expect(0).json();
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/w: its work is in no target"], "main was not pushed");
}

#[test]
fn what_somebody_pushed_or_uses_meanwhile_stays() {
    let world = World::with_remote();
    let tip = landed(&world, "w");
    world.commit_upstream("elsewhere", "z.txt", "z\n");
    world.git(&["fetch", "-q", "origin"]);
    // Somebody takes it up again here, and somebody else there.
    world.git(&["branch", "w", &tip]);
    world.git(&["worktree", "add", "-q", &world.path().join("taken").to_string_lossy(), "w"]);
    let plan = world.treehand(&PLAN).expect(0).json();
    let expected = format!("kept refs/remotes/origin/w: it is in use in {}", world.path().join("taken").display());
    assert_eq!(lines(&plan), [expected]);
    let taken = world.path().join("taken");
    std::fs::write(taken.join("more.txt"), "more\n").expect("written");
    world.git_in(&taken, &["add", "more.txt"]);
    world.git_in(&taken, &["commit", "-q", "-m", "more"]);
    world.git(&["worktree", "remove", "-f", &taken.to_string_lossy()]);
    let plan = world.treehand(&PLAN).expect(0).json();
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/w: the branch `w` here has work that is in no target"]);
    world.git(&["push", "-q", "origin", "w"]);
    let report = world.treehand(&[&APPLY[..], &["--branches", "all"]].concat()).expect(0).json();
    assert_eq!(lines(&report), ["kept refs/remotes/origin/w: its work is in no target"]);
    assert_eq!(on_remote(&world), ["main", "w"]);
}

#[test]
fn a_remote_that_does_not_answer_keeps_everything_and_undo_says_so() {
    let world = World::with_remote();
    landed(&world, "w");
    world.treehand(&APPLY).expect(0);
    let away = world.path().join("away.git");
    std::fs::rename(world.up(), &away).expect("moved");
    let report = world.treehand(&APPLY).expect(0).json();
    let told = told(&report);
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("kept", "origin"));
    assert!(told[0].2.starts_with("it does not answer: ") && !told[0].2.contains("fatal"), "{}", told[0].2);
    let undone = world.treehand(&["undo"]).expect(4);
    assert!(undone.stderr.contains("does not answer"), "{}", undone.stderr);
    std::fs::rename(&away, world.up()).expect("moved");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(on_remote(&world), ["main", "w"]);
    // Nor is it pushed to where it is not fetched from.
    world.git(&["remote", "set-url", "--push", "origin", &world.path().join("fork.git").to_string_lossy()]);
    let plan = world.treehand(&PLAN).expect(0).json();
    assert_eq!(lines(&plan), ["kept origin: what is fetched from it is not what is pushed to it"]);
}

#[test]
fn many_go_in_one_push_and_those_that_the_remote_holds_stay() {
    let world = World::with_remote();
    for name in ["a", "b", "c"] {
        landed(&world, name);
    }
    let hook = world.up().join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\ntest $1 != refs/heads/b\n").expect("written");
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
    let done = world.treehand(&APPLY).expect(0).json();
    assert_eq!(on_remote(&world), ["b", "main"], "{done}");
    let told = told(&done);
    assert!(told[1].0 == "skipped" && told[1].2.contains("hook declined"), "{told:?}");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(on_remote(&world), ["a", "b", "c", "main"]);
}

/// What `gh` would print, by a stand-in that looks at its arguments.
#[expect(clippy::disallowed_methods, reason = "the stand-in comes before what else is there")]
fn with_gh(world: &World, args: &[&str], open: &str, merged: &str) -> Value {
    let tools = world.path().join("tools");
    std::fs::create_dir_all(&tools).expect("made");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*'--repo github.com/o/r --state open '*) printf '%s' '{open}';;\n\
         *'--repo github.com/o/r --state merged '*) printf '%s' '{merged}';;\n*) echo \"what: $*\" >&2; exit 1;;\nesac\n"
    );
    std::fs::write(tools.join("gh"), script).expect("written");
    std::fs::set_permissions(tools.join("gh"), PermissionsExt::from_mode(0o755)).expect("executable");
    let mut command = world.command(args);
    let path = std::env::var_os("PATH").expect("a path");
    let with_tools = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)));
    command.env("PATH", with_tools.expect("a path"));
    answer(command).expect(0).json()
}

#[test]
fn pull_requests_that_are_open_or_may_be_keep_their_branches_and_merged_ones_prove_theirs() {
    let world = World::with_remote();
    let tip = landed(&world, "w");
    world.git_in(&world.up(), &["update-ref", "refs/pull/7/head", &tip]);
    let plan = world.treehand(&PLAN).expect(0).json();
    let unknown = "pull request #7 may be open: what kind of forge has it is not known";
    assert_eq!(lines(&plan), [format!("kept refs/remotes/origin/w: {unknown}")]);

    // The remote is on a forge that can be asked.
    world.git(&["config", &format!("url.{}.insteadOf", world.up().display()), "https://github.com/o/r.git"]);
    world.git(&["remote", "set-url", "origin", "https://github.com/o/r.git"]);
    let request = |number: u32, branch: &str, tip: &str, base: &str, merged: &str| {
        let merged = if merged.is_empty() { "null".to_owned() } else { format!(r#"{{"oid":"{merged}"}}"#) };
        format!(
            r#"[{{"number":{number},"headRefName":"{branch}","headRefOid":"{tip}","baseRefName":"{base}","isCrossRepository":false,"mergeCommit":{merged}}}]"#
        )
    };
    let open = request(7, "w", &tip, "main", "");
    let plan = with_gh(&world, &PLAN, &open, "[]");
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/w: pull request #7 is open"]);
    let plan = with_gh(&world, &PLAN, &request(8, "other", &"1".repeat(40), "w", ""), "[]");
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/w: pull request #8 is based on it"]);
    let done = with_gh(&world, &APPLY, "[]", "[]");
    assert_eq!(lines(&done), ["done refs/remotes/origin/w: ancestor of `origin/main`"]);

    // Merged with changes by hand: only the forge knows it, and only of this tip.
    pushed(&world, "squashed");
    let tip = world.git(&["rev-parse", "squashed"]).trim().to_owned();
    world.commit("squashed by hand (#9)", &[("squashed.txt", "other\n")]);
    world.git(&["push", "-q", "origin", "main"]);
    let merge = world.git(&["rev-parse", "main"]).trim().to_owned();
    let merged = request(9, "squashed", &tip, "main", &merge);
    let plan = with_gh(&world, &PLAN, "[]", "[]");
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/squashed: its work is in no target"]);
    let moved = request(9, "squashed", &merge, "main", &merge);
    let plan = with_gh(&world, &PLAN, "[]", &moved);
    assert_eq!(lines(&plan), ["kept refs/remotes/origin/squashed: its work is in no target"], "it went on since");
    let done = with_gh(&world, &APPLY, "[]", &merged);
    assert_eq!(lines(&done), ["done refs/remotes/origin/squashed: forge@tip of `origin/main`"]);
    let workspace = done["actions"].as_array().and_then(|all| all.iter().find(|one| one["kind"] == "workspace"));
    let workspace = workspace.unwrap_or_else(|| panic!("{done}"));
    assert_eq!(workspace["outcome"], "done");
    assert_eq!(workspace["reason"], Value::Null, "its branch went with it");
    assert!(workspace["proof"].as_str().is_some_and(|proof| proof.contains("forge@tip")), "{workspace}");
    assert_eq!(on_remote(&world), ["main"]);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "squashed"]).trim(), tip);
}

#[test]
fn a_look_at_a_remote_moves_no_branch_here_whatever_the_refspecs_say() {
    let world = World::with_remote();
    world.git(&["branch", "work"]);
    world.git(&["push", "-q", "origin", "work"]);
    let precious = world.git(&["commit-tree", "-p", "work", "-m", "precious", "main^{tree}"]).trim().to_owned();
    world.git(&["update-ref", "refs/heads/work", &precious]);
    // Somebody goes on there, so that there is something to fetch.
    let theirs = world.commit_upstream("theirs", "t.txt", "t\n");
    world.git_in(&world.up(), &["update-ref", "refs/heads/work", theirs.trim()]);
    world.git(&["config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*"]);
    world.treehand(&["clean", "--remote", "--branches", "all"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "work"]).trim(), precious);
    world.treehand(&["new", "fresh", "--base", "origin/work"]);
    assert_eq!(world.git(&["rev-parse", "work"]).trim(), precious, "nor does a workspace that is made");
}

#[test]
fn branches_that_are_not_what_their_names_say_stay() {
    let world = World::with_remote();
    let tip = landed(&world, "staging");
    let old = world.git(&["rev-parse", "main"]).trim().to_owned();
    world.commit("more", &[("more.txt", "more\n")]);
    world.git(&["push", "-q", "origin", "main"]);
    // Somebody deploys by a branch of that name now.
    world.git(&["push", "-q", "-f", "origin", &format!("{old}:refs/heads/staging")]);
    assert_eq!(lines(&world.treehand(&PLAN).expect(0).json()), [] as [&str; 0], "it is not the workspace's");
    let up = |args: &[&str]| world.git_in(&world.up(), args);
    up(&["update-ref", "refs/heads/release", &tip]);
    up(&["symbolic-ref", "refs/heads/alias", "refs/heads/release"]);
    up(&["update-ref", "refs/heads/HEAD", &tip]);
    // What tracked a branch here is in the way of one that is below it there now.
    world.git(&["update-ref", "refs/remotes/origin/below", &tip]);
    up(&["update-ref", "refs/heads/below/it", &tip]);
    let all = [&APPLY[..], &["--branches", "all"]].concat();
    let mut said = lines(&world.treehand(&all).expect(0).json());
    said.sort();
    let expected = [
        "done refs/remotes/origin/below/it: ancestor of `origin/main`",
        "kept refs/remotes/origin/HEAD: no branch may be called so here",
        "kept refs/remotes/origin/alias: it is another name of `release`",
        "kept refs/remotes/origin/release: `alias` is another name of it",
        "kept refs/remotes/origin/staging: no work yet",
    ];
    assert_eq!(said, expected);
    assert_eq!(up(&["rev-parse", "release"]).trim(), tip);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(up(&["rev-parse", "below/it"]).trim(), tip);
}

#[test]
fn what_was_reverted_there_or_taken_in_by_a_copy_alone_stays() {
    let world = World::with_remote();
    let fork = world.path().join("fork.git").to_string_lossy().into_owned();
    world.git(&["init", "-q", "--bare", "-b", "main", &fork]);
    world.git(&["remote", "add", "fork", &fork]);
    landed(&world, "w");
    world.git(&["push", "-q", "fork", "main"]);
    world.git(&["branch", "here", "origin/w"]);
    world.git(&["reset", "-q", "--hard", "origin/main"]);
    let before = world.git(&["rev-parse", "main"]).trim().to_owned();
    world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    world.git(&["push", "-q", "origin", "main"]);
    world.git(&["reset", "-q", "--hard", &before]);
    let report = world.treehand(&[&PLAN[..], &["--branches", "all"]].concat()).expect(0).json();
    let said = lines(&report);
    assert!(
        said[0].starts_with("kept refs/remotes/origin/w: its work was in `origin/main` and was reverted"),
        "{said:?}"
    );
    let kept = report["kept"].as_array().expect("a list").iter();
    let here = kept.filter(|one| one["item"] == "refs/heads/here").count();
    assert_eq!(here, 1, "main here has not heard of it yet: {report}");
}

#[test]
fn what_is_not_all_here_stays_for_it_could_not_be_pushed_back() {
    let world = World::with_remote();
    let up = world.up().to_string_lossy().into_owned();
    world.git_in(&world.up(), &["config", "uploadpack.allowFilter", "true"]);
    world.git(&["switch", "-q", "-c", "feature"]);
    world.commit("draft", &[("f.txt", "draft\n")]);
    world.commit("final", &[("f.txt", "final\n")]);
    world.git(&["push", "-q", "origin", "feature"]);
    world.git(&["switch", "-q", "main"]);
    world.git(&["merge", "-q", "--squash", "feature"]);
    world.git(&["commit", "-q", "-m", "squashed"]);
    world.git(&["push", "-q", "origin", "main"]);
    for (name, flags) in [("partial", "--filter=blob:none"), ("shallow", "--depth=1")] {
        let clone = world.path().join(name);
        world.git(&["clone", "-q", "--no-local", flags, &format!("file://{up}"), &clone.to_string_lossy()]);
        let args = ["clean", "--remote", "--json", "--min-age", "0s", "--branches", "all", "--yes"];
        let report = world.treehand_at(&clone, &args).expect(0).json();
        assert!(lines(&report).iter().all(|line| line.starts_with("kept ")), "{name}: {report}");
    }
    assert_eq!(on_remote(&world), ["feature", "main"]);
}
