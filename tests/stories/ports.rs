//! Stories of ports that are a workspace's alone: whoever makes one where, no two have the same, and each keeps its own.

use crate::support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use support::World;

const ASK: &str = "env | grep '^TREEHAND_PORT' | sort";

fn file(world: &World) -> PathBuf {
    world.path().join("state/treehand/ports.json")
}

/// The ports in a document of a workspace.
fn ports(document: &Value) -> Vec<u64> {
    let all = document["ports"].as_array().expect("a list");
    all.iter().map(|port| port.as_u64().expect("a number")).collect()
}

fn new(world: &World, args: &[&str]) -> Vec<u64> {
    ports(&world.treehand(&[&["new", "--json"], args].concat()).expect(0).json())
}

fn exec(world: &World, args: &[&str]) -> String {
    let command = ["exec", "--confine", "off"];
    world.treehand(&[&command, args, &["--", "sh", "-c", ASK]].concat()).expect(0).stdout
}

/// What a command says that has these.
fn told(ports: &[u64]) -> String {
    let name = |n: usize| if n == 1 { String::new() } else { format!("_{n}") };
    (1..).zip(ports).map(|(n, port)| format!("TREEHAND_PORT{}={port}\n", name(n))).collect()
}

fn leased(world: &World) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file(world)).expect("there are leases");
    let document: Value = serde_json::from_str(&text).expect("it is JSON");
    let all = document["leases"].as_array().expect("a list").iter();
    all.map(|lease| PathBuf::from(lease["tree"].as_str().expect("a path"))).collect()
}

/// Another repository of the same user.
fn another(world: &World) -> String {
    let path = world.path().join("other").to_string_lossy().into_owned();
    world.shell(&format!("git init -q '{path}' && cd '{path}' && git commit -q --allow-empty -m first")).expect(0);
    path
}

#[test]
fn each_workspace_has_a_port_of_its_own_wherever_it_is() {
    let world = World::new();
    let made = world.treehand(&["new", "one", "-x", "echo $TREEHAND_PORT"]).expect(0).stdout;
    let one: u64 = made.lines().last().and_then(|line| line.parse().ok()).expect("a port");
    assert!((20_000..=32_767).contains(&one), "{made}");
    let two = new(&world, &["two", "--sealed"]);
    let other = another(&world);
    let three = new(&world, &["-C", &other, "one"]);
    assert_eq!(BTreeSet::from([one, two[0], three[0]]).len(), 3, "{one} {two:?} {three:?}");
    // Its own server, which has it at last.
    let _server = TcpListener::bind(("127.0.0.1", u16::try_from(one).expect("a port")));
    assert_eq!(exec(&world, &["one"]), told(&[one]), "the same the next time");
    let confined = ["exec", "two", "--confine", support::level(), "--", "sh", "-c", ASK];
    assert_eq!(world.treehand(&confined).expect(0).stdout, told(&two));
    let listed = world.treehand(&["ls", "--json"]).expect(0).json();
    assert_eq!((ports(&listed["workspaces"][0]), ports(&listed["workspaces"][1])), (vec![one], two));
    assert_eq!(leased(&world).len(), 3);
    world.treehand(&["rm", "one", "two"]).expect(0);
    assert_eq!(leased(&world).len(), 1, "the other repository's stays");
    world.treehand(&["-C", &other, "rm", "one"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn there_are_as_many_as_are_wanted() {
    let world = World::new();
    std::fs::write(world.repo().join(".treehand.toml"), "worktree.ports = 3\n").expect("written");
    let three = new(&world, &["w"]);
    assert_eq!(three, [three[0], three[0] + 1, three[0] + 2]);
    assert_eq!(exec(&world, &["w"]), told(&three));
    assert_eq!(exec(&world, &["w", "--set", "worktree.ports=2"]), told(&three[..2]), "fewer are the first of them");
    assert_eq!(exec(&world, &["w", "--set", "worktree.ports=0"]), "");
    let more = exec(&world, &["w", "--set", "worktree.ports=5"]);
    assert_eq!(more.lines().count(), 5);
    assert_eq!(exec(&world, &["w", "--set", "worktree.ports=5"]), more, "more are kept, too");
    assert_eq!(leased(&world).len(), 1);
    assert_eq!(new(&world, &["none", "--set", "worktree.ports=0"]), [0_u64; 0]);
    let listed = world.treehand(&["ls", "--json", "--quick"]).expect(0).json();
    let none = listed["workspaces"].as_array().expect("a list").iter().find(|one| one["name"] == "none");
    assert_eq!(none.expect("it is listed")["ports"], json!([]));
    // Looking ahead leases nothing, and shows the names.
    let look = ["exec", "none", "--json", "--dry-run", "--confine", "off", "--", "true"];
    let seen = world.treehand(&look).expect(0).json();
    let names = seen["environment"].as_array().expect("names");
    assert!(["TREEHAND_PORT", "TREEHAND_PORT_3"].iter().all(|name| names.contains(&json!(name))), "{seen}");
    assert_eq!(leased(&world).len(), 1);
    assert_eq!(exec(&world, &["none"]).lines().count(), 3, "one that was made without has some at the next command");
    world.treehand(&["new", "x", "--set", "worktree.ports=101"]).expect(2);
}

#[test]
fn many_that_are_made_at_once_have_no_port_in_common() {
    let world = World::new();
    let start = |n: usize| {
        let mut command = world.command(&["new", "--json", &format!("w{n}"), "--set", "worktree.ports=9"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started")
    };
    let all: Vec<_> = (0..12).map(start).collect();
    let mut seen = BTreeSet::new();
    for one in all {
        let output = one.wait_with_output().expect("ended");
        assert!(output.status.success());
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert!(ports(&document).into_iter().all(|port| seen.insert(port)), "{document}");
    }
    assert_eq!(seen.len(), 12 * 9);
}

#[test]
fn tasks_have_ports_while_they_are_at_work() {
    let world = World::new();
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::create_dir_all(config.parent().expect("a parent")).expect("made");
    let step = "echo $TREEHAND_PORT > step";
    std::fs::write(config, format!("[worktree]\nports = 2\nsetup = [{}]\n", json!(step))).expect("written");
    let person = new(&world, &["w"]);
    // Each is at work until the other is, too.
    let fifo = world.path().join("fifo");
    world.shell(&format!("mkfifo '{}'", fifo.display())).expect(0);
    let task = |id: &str, meet: &str| {
        let script = format!("{ASK} > {id}; mv step step-{id}; {meet} '{}'", fifo.display());
        format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-c\", {}]\n", json!(script))
    };
    let tasks = [task("a", "echo go >"), task("b", "cat <")].concat();
    let plan = world.run_tasks(&tasks, &["--dry-run", "--jobs", "2"]).expect(0).json();
    assert!(plan.to_string().contains("\"TREEHAND_PORT_2\""), "{plan}");
    assert_eq!(leased(&world).len(), 1, "a plan leases nothing");
    world.run_tasks(&tasks, &["--jobs", "2"]).expect(0);
    let of = |id: &str| -> Vec<u64> {
        let text = world.show("main", id);
        text.lines().map(|line| line.split_once('=').and_then(|(_, port)| port.parse().ok()).expect("a port")).collect()
    };
    let (a, b) = (of("a"), of("b"));
    for (id, ports) in [("a", &a), ("b", &b)] {
        assert_eq!(world.show("main", id), told(ports));
        assert_eq!(world.show("main", &format!("step-{id}")).trim(), ports[0].to_string(), "its setup steps have them");
    }
    assert_eq!([person, a, b].concat().into_iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(leased(&world), [world.tree("w")], "what landed has none any more");
    world.treehand(&["rm", "-f", "w"]).expect(0);
    world.assert_nothing_left();
}

#[test]
fn a_file_that_is_not_understood_keeps_nobody_from_working() {
    let world = World::new();
    std::fs::create_dir_all(world.path().join("state/treehand")).expect("made");
    for (n, (text, word)) in [("no JSON", "damaged"), ("{\"version\":2}", "a newer treehand")].into_iter().enumerate() {
        std::fs::write(file(&world), text).expect("written");
        let name = format!("w{n}");
        let made = world.treehand(&["new", &name, "--json", "-x", &format!("{ASK} >&2")]).expect(0);
        assert_eq!(made.json()["ports"], json!([]));
        let warned = format!("warning: no ports for {}: ", world.tree(&name).display());
        assert!(made.stderr.contains(&warned) && made.stderr.contains(word), "{}", made.stderr);
        assert!(made.stderr.contains(&*file(&world).to_string_lossy()) && !made.stderr.contains("TREEHAND_PORT="));
        assert_eq!(exec(&world, &[&name]), "");
        world.treehand(&["ls"]).expect(0);
        world.treehand(&["rm", &name]).expect(0);
        world.treehand(&["clean", "--yes"]).expect(0);
        assert_eq!(std::fs::read_to_string(file(&world)).expect("it is there"), text, "it is left as it is");
    }
}

#[test]
fn what_is_gone_gives_its_ports_back_and_gets_some_when_it_is_there_again() {
    let world = World::new();
    let first = new(&world, &["w"]);
    world.treehand(&["rm", "w"]).expect(0);
    assert!(!file(&world).exists());
    world.treehand(&["undo"]).expect(0);
    assert_eq!(exec(&world, &["w"]), told(&first), "a path tends to get the same");
    // Removed by hand: whoever cleans up notices.
    let gone = |tree: &Path| world.shell(&format!("rm -rf '{}'", tree.display())).expect(0);
    gone(&world.tree("w"));
    world.treehand(&["clean"]).expect(0);
    assert!(file(&world).exists(), "a plan changes nothing");
    world.treehand(&["clean", "--yes"]).expect(0);
    assert!(!file(&world).exists());
    // So does whoever makes the next one.
    new(&world, &["x"]);
    gone(&world.tree("x"));
    new(&world, &["y"]);
    assert_eq!(leased(&world), [world.tree("y")]);
    world.treehand(&["uninstall", "--yes"]).expect(0);
    assert!(world.tree("y").exists() && !file(&world).exists(), "who is not asked any more gives none");
}
