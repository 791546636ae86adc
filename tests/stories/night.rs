//! Stories of cleaning at night: reports of what was done, one at a time, and what a job can act on.

use crate::support;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use support::World;

/// The box of a task that failed, which `clean` takes.
fn leave_something(world: &World) {
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo half > half; exit 1"]).expect(1);
}

const CLEAN: &[&str] = &["clean", "--yes", "--min-age", "0s"];
const CLEAN_ALL: &[&str] = &["clean", "--yes", "--min-age", "0s", "--all-repos"];

/// The reports, the newest first, seen from a place without a repository.
fn reports(world: &World) -> Vec<Value> {
    let document = world.treehand(&["-C", "/", "clean", "report", "--json"]).expect(0).json();
    assert_eq!(document["schema"], "treehand/clean-report/v1");
    document["runs"].as_array().expect("runs").clone()
}

#[test]
fn what_was_cleaned_is_on_record_and_a_plan_is_not() {
    let world = World::new();
    assert_eq!(world.treehand(&["clean", "report"]).expect(0).stdout, "no cleanup is on record yet\n");
    leave_something(&world);
    world.treehand(&["new", "used"]).expect(0);
    world.treehand(&["clean", "--min-age", "0s"]).expect(0);
    assert_eq!(reports(&world), [] as [Value; 0]);
    world.treehand(CLEAN).expect(0);
    let one = &reports(&world)[0];
    let repo = world.repo().canonicalize().expect("a path");
    assert_eq!((&one["scope"], one["repo"].as_str()), (&json!("repository"), repo.to_str()));
    assert_eq!((&one["outcome"], &one["exit"], &one["applied"]), (&json!("done"), &json!(0), &json!(true)));
    assert!(one["freed_bytes"].as_u64() > Some(0) && one["done"].as_u64() > Some(0), "{one}");
    assert_eq!((&one["failed"], &one["error"], &one["repos"]), (&json!([]), &Value::Null, &json!([])));
    assert!(one["ended_at"].is_string() && one["kept"][0]["count"] == 1, "{one}");
    world.treehand(CLEAN_ALL).expect(0);
    let all = reports(&world);
    assert_eq!(all.len(), 2, "a repository of all has none of its own");
    assert_eq!((&all[0]["scope"], &all[0]["repo"]), (&json!("all-repositories"), &Value::Null));
    assert_eq!(all[0]["repos"][0]["outcome"], "done");
    let text = world.treehand(&["clean", "report", "--limit", "1"]).expect(0).stdout;
    assert!(text.contains("all repositories") && text.contains("\nkept 1: "), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("done")).count(), 1, "{text}");
    let directory = std::fs::metadata(world.path().join("state/treehand/reports")).expect("made");
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_cleanup_that_was_killed_is_on_record_as_interrupted() {
    let world = World::new();
    leave_something(&world);
    let lock = world.repo().join(".git/treehand/locks/clean");
    let held = std::fs::File::options().create(true).append(true).open(lock).expect("a lock");
    held.lock().expect("locked");
    let mut child = world.command(CLEAN).spawn().expect("started");
    let first = |world: &World| reports(world).into_iter().next();
    // Each look is a process; a pause would make it no surer.
    let running = std::iter::repeat_with(|| first(&world)).flatten().next().expect("it begins");
    assert_eq!((&running["outcome"], &running["exit"]), (&json!("running"), &Value::Null));
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert_eq!(first(&world).expect("still there")["outcome"], "interrupted");
    drop(held);
    world.treehand(CLEAN).expect(0);
    let outcomes: Vec<Value> = reports(&world).iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done", "interrupted"]);
}

#[test]
fn of_two_that_clean_everywhere_the_second_says_who_is_at_it() {
    let world = World::new();
    leave_something(&world);
    let directory = world.path().join("state/treehand/reports");
    std::fs::create_dir_all(&directory).expect("made");
    std::fs::write(directory.join("lock"), "treehand clean --all-repos, pid 7").expect("written");
    let held = std::fs::File::options().append(true).open(directory.join("lock")).expect("a lock");
    held.lock().expect("locked");
    let refused = world.treehand(&[CLEAN_ALL, &["--json"]].concat()).expect(8).json();
    assert_eq!(refused["kind"], "busy");
    assert!(refused["message"].as_str().expect("a word").contains("pid 7"), "{refused}");
    let one = &reports(&world)[0];
    assert_eq!((&one["outcome"], &one["exit"], &one["error"]["kind"]), (&json!("failed"), &json!(8), &json!("busy")));
    world.treehand(&["clean", "--all-repos"]).expect(0);
    world.treehand(CLEAN).expect(0);
    drop(held);
    world.treehand(CLEAN_ALL).expect(0);
}

#[test]
fn a_report_that_cannot_be_kept_is_a_warning_and_the_cleanup_is_done() {
    let world = World::new();
    leave_something(&world);
    let directory = world.path().join("state/treehand/reports");
    std::fs::write(&directory, "in the way").expect("written");
    let answer = world.treehand(CLEAN).expect(0);
    assert_eq!(answer.stderr.matches("warning: the report of this cleanup cannot be kept: ").count(), 1);
    assert!(!world.trees().exists(), "nothing was cleaned");
    leave_something(&world);
    let answer = world.treehand(CLEAN_ALL).expect(0);
    assert!(answer.stderr.contains("warning: another cleanup may be at work: "), "{}", answer.stderr);
    assert!(!world.trees().exists(), "nothing was cleaned");
}

#[test]
fn reports_end_somewhere_and_what_is_not_one_is_named_or_left_alone() {
    let world = World::new();
    world.treehand(CLEAN).expect(0);
    let directory = world.path().join("state/treehand/reports");
    for n in 0..70 {
        std::fs::write(directory.join(format!("{}-0123abcd.json", 1_000 + n)), "{}").expect("written");
    }
    std::fs::write(directory.join("9999999999999-0123abcd.json"), "\u{1b}[31m{").expect("written");
    std::fs::write(directory.join("note.txt"), "mine").expect("written");
    let answer = world.treehand(&["clean", "report"]).expect(0);
    assert!(answer.stderr.contains("a report cannot be read: ") && !answer.stderr.contains('\u{1b}'));
    world.treehand(CLEAN).expect(0);
    let names =
        std::fs::read_dir(&directory).expect("there").filter_map(|one| one.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() == 4 && names[2] == "9999999999999-0123abcd.json" && names[3] == "note.txt", "{names:?}");
}

#[test]
fn a_failure_with_a_hostile_name_is_told_without_its_control_characters() {
    let world = World::new();
    let name = "evil\u{1b}[31m\u{202e}x";
    let path = world.path().join(name).to_string_lossy().into_owned();
    world
        .shell(&format!("git init -q -b main '{path}' && cd '{path}' && git commit -q --allow-empty -m first"))
        .expect(0);
    world.treehand(&["-C", &path, "new", "a"]).expect(0);
    world.shell(&format!("echo nonsense > '{path}/.treehand.toml'")).expect(0);
    world.treehand(CLEAN_ALL).expect(1);
    let one = &reports(&world)[0];
    assert_eq!((&one["outcome"], &one["exit"], &one["failures"]), (&json!("failed"), &json!(1), &json!(1)));
    assert_eq!((&one["failed"][0]["kind"], one["failed"][0]["repo"].as_str()), (&json!("repo"), Some(path.as_str())));
    let text = world.treehand(&["clean", "report"]).expect(0).stdout;
    assert!(text.contains("failed: repo ") && !text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn flags_of_cleaning_do_not_go_with_its_subcommands() {
    let world = World::bare_of_repositories();
    for wrong in [
        &["clean", "--yes", "report"][..],
        &["clean", "--all-repos", "report"],
        &["clean", "--only", "trash", "report"],
        &["clean", "report", "--limit", "0"],
        &["clean", "report", "--yes"],
        &["clean", "repeat"],
    ] {
        world.treehand_at(world.path(), wrong).expect(2);
    }
    world.treehand_at(world.path(), &["clean", "--json", "report"]).expect(0).json();
}

/// What a command writes down that is told of a cleanup.
const WRITES: &str =
    "cat > ../told; echo $TREEHAND_CLEAN_EXIT $TREEHAND_CLEAN_FREED_BYTES $TREEHAND_CLEAN_FAILED > ../said; echo loud";

/// The document and the variables that it was told, once.
fn told(world: &World) -> (Value, String) {
    let take = |name: &str| {
        let file = world.path().join(name);
        let text = std::fs::read_to_string(&file).expect("it was told");
        std::fs::remove_file(&file).expect("removed");
        text
    };
    (serde_json::from_str(&take("told")).expect("a document"), take("said").trim_end().to_owned())
}

#[test]
fn the_users_command_is_told_of_every_cleanup_and_changes_nothing() {
    let world = World::new();
    leave_something(&world);
    let answer = world.treehand(&[CLEAN, &["--json", "--notify", WRITES]].concat()).expect(0);
    let freed = answer.json()["freed_bytes"].as_u64().expect("a size");
    assert_eq!(answer.stderr, "loud\n", "what it writes is no part of the answer");
    let (document, said) = told(&world);
    assert_eq!((&document["schema"], said), (&json!("treehand/clean-report/v1"), format!("0 {freed} 0")));
    assert_eq!(document["runs"], json!([reports(&world)[0]]));
    let answer = world.treehand(&[CLEAN, &["--notify", "exit 3"]].concat()).expect(0);
    assert!(answer.stderr.contains("warning: the command that is told of cleanups failed with exit code 3: exit 3"));
    let failing = ["-C", "/", "clean", "--yes", "--notify", WRITES];
    world.treehand_at(&world.repo(), &failing).expect(3);
    let (document, said) = told(&world);
    assert_eq!((&document["schema"], &document["code"]), (&json!("treehand/error/v1"), &json!(3)));
    assert_eq!(said, "3 0 1");
}

#[test]
fn who_is_told_is_the_users_to_say_and_never_a_projects() {
    let world = World::new();
    let config = world.path().join("home/.config/treehand");
    std::fs::create_dir_all(&config).expect("made");
    world.commit("a project that wants more", &[(".treehand.toml", "[clean]\nnotify = \"touch ../owned\"\n")]);
    let answer = world.treehand(CLEAN).expect(0);
    assert!(answer.stderr.contains("`clean.notify` is the user's"), "{}", answer.stderr);
    let text = format!("[clean]\nnotify = {}\n", json!(format!("{WRITES}; echo once >> ../times")));
    std::fs::write(config.join("config.toml"), text).expect("written");
    world.treehand(&["new", "a"]).expect(0);
    for everywhere in [CLEAN, CLEAN_ALL] {
        world.treehand(everywhere).expect(0);
        assert_eq!(told(&world).0["runs"][0]["outcome"], "done");
    }
    let times = std::fs::read_to_string(world.path().join("times")).expect("told");
    assert_eq!(times, "once\nonce\n", "each once, and not for each repository");
    world.treehand(&[CLEAN, &["--notify", ""]].concat()).expect(0);
    world.treehand(&["clean"]).expect(0);
    assert!(!world.path().join("told").exists() && !world.path().join("owned").exists());
    world.treehand(&["clean", "--notify", "true"]).expect(2);
}
