//! Leases in a state directory of their own: kept, grown, given back, made by many at once, and what becomes of a file that is none.
//!
//! Which ports are free is told by the tests, but for the one with a real listener.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::decide::{FIRST, LAST, Lease};
use super::leases::{Place, PortsError};
use super::probe;

struct State {
    dir: tempfile::TempDir,
    place: Place,
}

impl State {
    fn new() -> State {
        let dir = tempfile::tempdir().expect("a temp dir");
        let place = Place::at(&dir.path().join("state"));
        State { dir, place }
    }

    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.dir.path().join("trees").join(name);
        std::fs::create_dir_all(&tree).expect("made");
        tree
    }

    fn lease(&self, tree: &Path, wanted: u16) -> Lease {
        self.place.lease(tree, wanted, |_| true).expect("leased")
    }

    fn own(&self) -> PathBuf {
        self.dir.path().join("state/treehand")
    }

    fn left(&self) -> usize {
        std::fs::read_dir(self.own()).map(Iterator::count).unwrap_or(0)
    }
}

fn meet(one: &Lease, other: &Lease) -> bool {
    one.ports().any(|port| other.ports().contains(&port))
}

#[test]
fn a_tree_keeps_its_ports_whoever_listens_on_them_and_gives_them_back_when_it_is_gone() {
    let state = State::new();
    let (one, two) = (state.tree("one"), state.tree("two"));
    let first = state.lease(&one, 2);
    let second = state.lease(&two, 2);
    assert!(!meet(&first, &second));
    assert_eq!(state.place.lease(&one, 2, |_| false).expect("it has them"), first);
    assert_eq!(state.place.lease(&one, 1, |_| false).expect("it has more"), first);
    let mode = std::fs::metadata(state.own().join("ports.json")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let gone = |tree: &Path| state.place.give_back(|lease| lease.tree == tree && !tree.exists());
    gone(&one).expect("looked");
    assert_eq!(state.place.held(&one).expect("read"), Some(first), "its tree is there");
    std::fs::remove_dir(&one).expect("removed");
    gone(&one).expect("given back");
    assert_eq!(state.place.read().expect("read"), [second]);
    std::fs::remove_dir(&two).expect("removed");
    gone(&two).expect("given back");
    assert_eq!(state.left(), 0, "the file and its lock went with the last lease");
}

#[test]
fn who_leases_drops_what_is_gone_and_one_path_gets_the_same_again() {
    let state = State::new();
    let one = state.tree("one");
    let before = state.lease(&one, 3);
    std::fs::remove_dir(&one).expect("removed");
    let other = state.lease(&state.tree("other"), 1);
    assert_eq!(state.place.read().expect("read"), [other]);
    assert_eq!(state.lease(&state.tree("one"), 3), before);
}

#[test]
fn a_tree_that_needs_more_gets_others_in_their_place() {
    let state = State::new();
    let one = state.tree("one");
    let (small, busy) = (state.lease(&one, 1), state.lease(&state.tree("two"), 5));
    // Its own server listens on what it has.
    let large = state.place.lease(&one, 4, |port| !small.ports().contains(&port)).expect("leased");
    assert!(!meet(&large, &small) && !meet(&large, &busy) && large.count == 4);
    let all = state.place.read().expect("read");
    assert_eq!(all.len(), 2);
    assert!(all.contains(&large));
}

#[test]
fn where_nothing_is_free_there_are_none_and_nothing_is_left_of_asking() {
    let state = State::new();
    let one = state.tree("one");
    let none = state.place.lease(&one, 1, |_| false).expect_err("nothing is free");
    assert!(matches!(none, PortsError::Exhausted { wanted: 1 }), "{none}");
    assert_eq!(state.left(), 0);
    let all = state.lease(&one, LAST - FIRST + 1);
    assert!(state.place.lease(&state.tree("two"), 1, |_| true).is_err());
    assert_eq!(state.place.read().expect("read"), [all]);
}

#[test]
fn a_port_on_which_something_listens_is_not_leased() {
    let state = State::new();
    let one = state.tree("one");
    let first = state.place.lease(&one, 1, probe::is_free).expect("leased").first;
    state.place.give_back(|lease| lease.tree == one).expect("given back");
    let server = TcpListener::bind(("127.0.0.1", first));
    let second = state.place.lease(&one, 1, probe::is_free);
    // Where another test has taken it meanwhile, something listens as well.
    assert_ne!(second.expect("leased").first, first, "{server:?}");
}

#[test]
fn many_at_once_have_nothing_in_common() {
    let state = State::new();
    let trees: Vec<PathBuf> = (0..64).map(|n| state.tree(&format!("t{n}"))).collect();
    let leases: Vec<Lease> = std::thread::scope(|scope| {
        let all: Vec<_> = trees.iter().map(|tree| scope.spawn(|| state.lease(tree, 7))).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    for (at, one) in leases.iter().enumerate() {
        assert!(leases[..at].iter().all(|other| !meet(one, other)), "{one:?}");
    }
    // Those who give back and those who lease do not lose each other's, whoever takes the lock's file away.
    std::thread::scope(|scope| {
        for tree in &trees {
            scope.spawn(|| {
                for wanted in 1..3 {
                    state.place.give_back(|lease| lease.tree == *tree).expect("given back");
                    state.lease(tree, wanted);
                }
                state.place.give_back(|lease| lease.tree == *tree).expect("given back");
            });
        }
    });
    assert_eq!(state.left(), 0);
}

#[test]
fn a_file_that_is_not_understood_is_named_and_left_as_it_is() {
    let state = State::new();
    let (one, file) = (state.tree("one"), state.own().join("ports.json"));
    std::fs::create_dir_all(state.own()).expect("made");
    let check = |text: &str, is_newer: bool| {
        std::fs::write(&file, text).expect("written");
        let error = state.place.lease(&one, 1, |_| true).expect_err(text);
        assert_eq!(matches!(error, PortsError::Newer(_)), is_newer, "{text}: {error}");
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
        assert!(state.place.give_back(|_| true).is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
    };
    check("", false);
    check("no JSON", false);
    check("[]", false);
    check("{\"version\":1}", false);
    check("{\"version\":\"x\",\"leases\":[]}", false);
    check("{\"version\":1,\"leases\":[{\"tree\":\"/t\",\"first\":65535,\"count\":2}]}", false);
    check("{\"version\":1,\"leases\":[{\"tree\":\"/t\",\"first\":70000,\"count\":1}]}", false);
    check("{\"version\":1,\"leases\":[{\"tree\":\"/t\",\"first\":20000,\"count\":0}]}", false);
    check("{\"version\":2,\"ports\":[]}", true);
}

#[test]
fn a_path_that_is_no_text_has_ports_too() {
    use std::os::unix::ffi::OsStrExt;
    let state = State::new();
    let tree = state.tree("x").with_file_name(std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::create_dir(&tree).expect("made");
    let lease = state.lease(&tree, 1);
    assert_eq!(state.place.held(&tree).expect("read"), Some(lease));
}
