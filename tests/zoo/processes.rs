//! Processes: what an attempt left behind, however it hides, and everybody else's, whatever they look like.
//!
//! Identity is a mark in the environment: nobody is ended for a name, a directory or a parent.

use std::process::{Child, Command, Stdio};

use crate::pen::{Goes, Kept, Pen, Verdict};
use crate::support::followed::Followed;
use crate::support::{self, World};

/// Each begins with `$hide NAME`, which writes down the pid of what is to go on, and starts one process.
const WAYS: &[(&str, &str)] = &[
    ("plain", "$hide plain & wait_for plain"),
    ("session", "setsid $hide session & wait_for session"),
    ("forked-twice", "( ( $hide forked-twice & ) & ); wait_for forked-twice"),
    ("elsewhere", "( cd / && exec $hide elsewhere ) & wait_for elsewhere"),
    ("closed", "( exec setsid $hide closed <&- >&- 2>&- ) & wait_for closed"),
    ("renamed", "NAME='[kworker/0:1]' $hide renamed & wait_for renamed"),
    ("stopped", "$hide stopped & wait_for stopped; kill -STOP \"$(cat \"$WORLD/pid-stopped\")\""),
    ("ignores", "IGNORE=yes setsid $hide ignores & wait_for ignores"),
];

/// What every way starts: writes its pid down and becomes a sleep of this name.
const HIDE: &str = r#"#!/bin/bash
[ -z "$IGNORE" ] || trap '' TERM HUP INT
echo $$ > "$WORLD/pid-$1"
exec -a "${NAME:-sleep}" sleep 1000
"#;

fn pid(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.path().join(format!("pid-{name}"))).expect("a pid").trim().to_owned()
}

/// A run that nobody supervises, whose command began all of this; its id.
fn abandoned(world: &World, script: &str) -> String {
    let hide = world.path().join("hide");
    std::fs::write(&hide, HIDE).expect("written");
    let place = world.path().display();
    let script = format!(
        "export WORLD='{place}'; hide=\"bash $WORLD/hide\"; \
         wait_for() {{ until [ -s \"$WORLD/pid-$1\" ]; do sleep 0.02; done; }}\n{script}\necho half > half.txt"
    );
    Followed::leave_behind(world, "t", &script)
}

/// Somebody else's process, ended with the test.
struct Innocent(Child);

impl Drop for Innocent {
    fn drop(&mut self) {
        let _it_may_be_gone = self.0.kill();
        let _it_may_be_gone = self.0.wait();
    }
}

impl Innocent {
    fn start(mut command: Command) -> Innocent {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Innocent(quiet.spawn().expect("started"))
    }

    fn sleep(name: &str, world: &World, environment: &[(&str, &str)]) -> Innocent {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec -a '{name}' sleep 1000")]).current_dir(world.repo());
        command.envs(environment.iter().copied());
        Innocent::start(command)
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("looked").is_none()
    }
}

#[test]
fn every_orphan_is_ended_and_nobody_else_is() {
    let world = World::new();
    let script: Vec<&str> = WAYS.iter().map(|(_, script)| *script).collect();
    let run = abandoned(&world, &script.join("\n"));
    let foreign_mark = [("TREEHAND_ATTEMPT", "0123456789abcdef0123456789abcdef"), ("TREEHAND_RUN", run.as_str())];
    let mut innocents = [
        Innocent::sleep("sleep", &world, &[]),
        Innocent::sleep("[kworker/0:1]", &world, &[]),
        Innocent::sleep("treehand __shim", &world, &[]),
        Innocent::sleep("sleep", &world, &foreign_mark),
    ];
    let orphans: Vec<_> = WAYS.iter().map(|(name, _)| (*name, support::handle(&pid(&world, name)))).collect();
    let verdicts: Vec<(&'static str, Verdict)> = vec![
        ("orphans", Goes("process", format!("{run}/t attempt 1: *"), "the supervisor of run")),
        ("their box", Goes("workspace", format!("{run}/t"), "the supervisor of run")),
        ("their branch", Goes("branch", format!("refs/heads/treehand/{run}/t"), "")),
        ("their directory", Goes("state", format!("/{run}"), "")),
    ];
    let pen = Pen::of(world, verdicts);
    pen.judge(&["--min-age", "0s"]);
    for (name, orphan) in orphans {
        assert!(orphan.is_over(), "{name} goes on");
    }
    assert!(innocents.iter_mut().all(Innocent::lives), "somebody else's process was ended");
}

#[test]
fn who_sheds_the_mark_is_not_ended_and_keeps_what_it_stands_in() {
    let world = World::new();
    let run = abandoned(&world, "env -i WORLD=\"$WORLD\" PATH=\"$PATH\" setsid $hide shed & wait_for shed");
    let shed = support::handle(&pid(&world, "shed"));
    let verdicts: Vec<(&'static str, Verdict)> = vec![
        ("marked", Goes("process", format!("{run}/t attempt 1: *"), "the supervisor of run")),
        ("its box", Kept("workspace", format!("{run}/t"), "of it still runs")),
    ];
    let pen = Pen::of(world, verdicts);
    pen.judge_what_is_not_undone(&["--min-age", "0s"]);
    assert!(!shed.is_over());
    support::signal("KILL", &pid(&pen.world, "shed"));
    shed.wait();
}

#[test]
fn a_workspace_in_which_a_process_stands_stays() {
    let world = World::new();
    for name in ["stands", "stands-below", "has-a-file-open"] {
        world.treehand(&["new", name]).expect(0);
        world.commit_in(name, &format!("{name}.txt"), "one\n");
        world.git(&["merge", "-q", "--no-ff", "-m", name, name]);
    }
    let at = |place: std::path::PathBuf| {
        let mut command = Command::new("sleep");
        command.arg("1000").current_dir(place);
        Innocent::start(command)
    };
    let mut innocents = [at(world.tree("stands")), at(world.tree("stands-below").join("src"))];
    let kept = |name: &str| Kept("workspace", name.into(), "processes work in");
    let verdicts = vec![
        ("stands", kept("stands")),
        ("stands-below", kept("stands-below")),
        ("has-a-file-open", Goes("workspace", "has-a-file-open".into(), "clean, ancestor of `main`")),
    ];
    let open = std::fs::File::open(world.tree("has-a-file-open").join("a.txt")).expect("opened");
    Pen::of(world, verdicts).judge(&["--min-age", "0s"]);
    assert!(innocents.iter_mut().all(Innocent::lives), "somebody else's process was ended");
    drop(open);
}
