//! The orphan zoo: whatever a program does to outlive its end, nothing of it is left.
//! Each animal holds the write end of a FIFO in its tree; that everybody is gone is the end of what can be read from it.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::support::{World, level};

struct Zoo {
    world: World,
    fifo: PathBuf,
}

impl Zoo {
    fn new() -> Zoo {
        let world = World::new();
        world.treehand(&["new", "s", "--sealed"]).expect(0);
        let tree = PathBuf::from(world.treehand(&["path", "s"]).expect(0).stdout.trim());
        let fifo = tree.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        Zoo { world, fifo }
    }

    /// Starts a script whose processes all hold the FIFO; says so when it has written its first line.
    fn start(&self, script: &str) -> (Child, BufReader<std::fs::File>) {
        let script = format!("exec 9>fifo\n{script}");
        let mut command = self.world.command(&["exec", "s", "--confine", level(), "--", "sh", "-c", &script]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let mut reader = BufReader::new(std::fs::File::open(&self.fifo).expect("opened"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        (child, reader)
    }
}

/// Reads to the end: it comes when the last holder is gone.
fn assert_gone(mut reader: BufReader<std::fs::File>) {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("read to the end");
}

#[test]
fn a_daemon_that_ignores_everything_goes_with_its_program() {
    let zoo = Zoo::new();
    let daemon =
        "setsid sh -c 'trap \"\" TERM HUP INT; (trap \"\" TERM HUP INT; sleep 1000) & sleep 1000' &\necho ready >&9";
    let (mut child, reader) = zoo.start(daemon);
    assert!(child.wait().expect("ended").success());
    assert_gone(reader);
}

#[test]
fn a_fork_storm_goes_with_its_program() {
    let zoo = Zoo::new();
    let storm = "storm() { sleep 0.01; storm & storm & }\nstorm & storm &\necho ready >&9\nsleep 0.3";
    let mut command = zoo.world.command(&[
        "exec",
        "s",
        "--confine",
        level(),
        "--set",
        "confine.limits.processes=400",
        "--",
        "sh",
        "-c",
        &format!("exec 9>fifo\n{storm}"),
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let reader = BufReader::new(std::fs::File::open(&zoo.fifo).expect("opened"));
    child.wait().expect("ended");
    assert_gone(reader);
}

#[test]
fn a_killed_client_leaves_nothing() {
    let zoo = Zoo::new();
    let (mut child, reader) = zoo.start("trap '' TERM HUP\nsleep 1000 &\nsetsid sleep 1000 &\necho ready >&9\nwait");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert_gone(reader);
}

#[test]
fn a_killed_shim_leaves_nothing() {
    if level() != "strict" {
        return;
    }
    let zoo = Zoo::new();
    let (mut child, reader) = zoo.start("trap '' TERM HUP\nsleep 1000 &\nsetsid sleep 1000 &\necho ready >&9\nwait");
    let shim = only_child(child.id());
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).expect("killed");
    assert_gone(reader);
    assert!(!child.wait().expect("ended").success());
}

#[test]
fn a_killed_pid_1_leaves_nothing() {
    if level() != "strict" {
        return;
    }
    let zoo = Zoo::new();
    let (mut child, reader) = zoo.start("trap '' TERM HUP\nsetsid sleep 1000 &\necho ready >&9\nwait");
    let init = only_child(u32::try_from(only_child(child.id()).as_raw()).expect("a pid"));
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).expect("killed");
    assert_gone(reader);
    assert_eq!(child.wait().expect("ended").code(), Some(137));
}

/// The one child that a process has.
fn only_child(pid: u32) -> nix::unistd::Pid {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    let pids: Vec<i32> = text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(pids.len(), 1, "{text}");
    nix::unistd::Pid::from_raw(pids[0])
}
