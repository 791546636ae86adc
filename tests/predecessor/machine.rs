//! What a machine does to runs: it goes down and comes up again, and its disks are read-only.
//! Nothing is lost by either, and nothing is taken for alive that cannot be.

use crate::held::Held;
use crate::support::{self, World, state};

#[test]
fn after_a_reboot_no_process_of_before_is_taken_for_alive_and_nothing_is_lost() {
    let script = "echo half > half.txt; echo > \"$BEGUN\"; read line < \"$GO\"; echo done > done.txt";
    let held = Held::start(script, &["--name", "t"]);
    held.kill_everything();
    // The numbers of before the reboot are those of living processes now, in all but the boot: of this one, for example.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("our own");
    let start_time: u64 =
        stat[stat.rfind(')').expect("a name") + 2..].split(' ').nth(19).expect("a time").parse().expect("ticks");
    let before = serde_json::json!({
        "pid": std::process::id(), "start_time": start_time, "boot_id": "3f0e5f3e-0000-4000-8000-000000000000",
    });
    let log = held.attempts()[0]["log"].as_str().expect("a log").to_owned();
    held.edit(|record| {
        if record.get("supervisor").is_some() {
            record["supervisor"] = before.clone();
        }
        for attempt in record["attempts"].as_array_mut().into_iter().flatten() {
            (attempt["process"], attempt["starter"]) = (before.clone(), before.clone());
        }
    });
    // A log that was not on the disk yet is gone with the machine; that says nothing of whether the command began.
    std::fs::remove_file(log).expect("there was a log");
    let runs = held.world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(runs["runs"][0]["supervisor"], "dead", "{runs}");

    let ended = held.world.treehand(&["resume", &held.run, "--json"]).expect(1).json();
    assert_eq!(state(&ended, "t"), "failed", "{ended}");
    let attempts = held.attempts();
    assert_eq!((attempts.len(), attempts[0]["error"]["kind"].as_str()), (1, Some("crashed")), "{attempts:?}");
    let tree = held.world.treehand(&["path", &format!("{}/t", held.run)]).expect(0).stdout;
    let half = std::path::Path::new(tree.trim_end()).join("half.txt");
    assert_eq!(std::fs::read_to_string(half).expect("its workspace is kept"), "half\n");

    let mut again = held.begin(&["retry", &held.run]);
    Held::has_begun(&held.world);
    Held::let_go(&held.world);
    assert_eq!(again.wait().expect("over").code(), Some(0));
    assert_eq!(held.attempts().len(), 2);
    assert_eq!(held.world.show("main", "done.txt"), "done\n");
    let trash = walkdir::WalkDir::new(held.world.repo().join(".git/treehand/trash")).into_iter().filter_map(Result::ok);
    assert_eq!(trash.filter(|entry| entry.file_name() == "half.txt").count(), 1, "what the first attempt made is gone");
    held.world.assert_nothing_left();
}

/// Runs a script with a directory that nothing can be written to; `$1` is the directory.
fn with_read_only(world: &World, directory: &str, script: &str) -> support::Answer {
    let shell = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-u"];
    let mounted = format!(
        "d='{directory}'\nmount --bind \"$d\" \"$d\" && mount -o remount,bind,ro \"$d\" || exit 90\n\
         ! touch \"$d/probe\" 2> \"$HOME/probe\" || exit 91\n{script}"
    );
    world.in_shell(&shell, &mounted).expect("unshare is where namespaces are")
}

/// Refused in good time and in words, and what can be looked at can be.
const REFUSED: &str = r#"
timeout 60 treehand run --json --confine off -- sh -c 'echo two > two.txt' > "$HOME/refused"
[ $? = 1 ] || exit 92
! timeout 60 treehand run --json --confine off --detach -- true > "$HOME/detached" || exit 93
"#;
const LOOKED_AT: &str = r#"
treehand ps > "$HOME/ps" || exit 94
run=$(awk 'NR == 2 { print $1 }' "$HOME/ps")
treehand show "$run" > "$HOME/show" || exit 95
"#;

#[test]
fn a_run_whose_sockets_have_no_place_hung_for_ever() {
    if support::level() == "off" {
        return;
    }
    for directory in ["state", "state/treehand"] {
        let world = World::new();
        world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo one > one.txt"]).expect(0);
        refused(&world, &world.path().join(directory).to_string_lossy());
    }
}

#[test]
fn a_read_only_state_of_the_repository_refuses_a_run_and_is_looked_at() {
    if support::level() == "off" {
        return;
    }
    let world = World::new();
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo one > one.txt"]).expect(0);
    refused(&world, &world.repo().join(".git/treehand").to_string_lossy());
}

fn refused(world: &World, directory: &str) {
    with_read_only(world, directory, &format!("{REFUSED}{LOOKED_AT}")).expect(0);
    let said = |name: &str| std::fs::read_to_string(world.path().join("home").join(name)).expect("written");
    let error: serde_json::Value = serde_json::from_str(&said("refused")).expect("a document");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(directory) && message.contains("Read-only file system"), "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("make it writable")), "{error}");
    assert_eq!(said("ps").lines().count(), 2, "only the run of before is there: {}", said("ps"));
    assert!(said("show").contains("landed"), "{}", said("show"));
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "nothing was recorded: {runs}");
    world.assert_nothing_left();
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo two > two.txt"]).expect(0);
}

/// A run that is there already is not given up: whoever goes on with it says what it waits for.
#[test]
fn a_run_that_goes_on_where_its_sockets_have_no_place_says_what_it_waits_for() {
    if support::level() == "off" {
        return;
    }
    let held = Held::start("echo > \"$BEGUN\"; read line < \"$GO\"; echo done > done.txt", &[]);
    held.kill_everything();
    let script = format!(
        "treehand resume --detach {run} || exit 92\n\
         treehand ps | grep -q 'waits for room' || {{ treehand ps; exit 93; }}\n\
         umount \"$d\" || umount -l \"$d\" || exit 94\n\
         timeout 60 treehand wait {run}; [ $? = 1 ] || exit 95\n",
        run = held.run
    );
    let state_home = held.world.path().join("state");
    with_read_only(&held.world, &state_home.to_string_lossy(), &script).expect(0);
    // From where the successor was, the command could not be seen: it was in no namespace.
    Held::let_go(&held.world);
    assert_eq!(held.attempts()[0]["error"]["kind"], "crashed", "{:?}", held.show());
}
