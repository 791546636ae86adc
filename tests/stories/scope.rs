//! Stories of where a supervisor lives: in a scope of its own where systemd makes one, and what is said where it does not.

#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

use crate::support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::Value;
use support::{Answer, World};

/// A user's session as systemd makes it, with programs of ours in the place of systemd's.
struct Session {
    world: World,
    _manager: UnixListener,
}

/// Writes down what it was asked for and becomes what it was to start.
const GRANTS: &str =
    "printf '%s\\n' \"$@\" > \"$HOME/asked\"\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"";

const REFUSES: &str = "echo 'Failed to start transient scope unit: no' >&2\nexit 1";

impl Session {
    fn new(linger: &str, systemd_run: &str) -> Session {
        let mut world = World::new();
        let programs = world.path().join("bin");
        std::fs::create_dir(&programs).expect("made");
        let loginctl = format!("test \"$1 $3 $4\" = 'show-user --property=Linger --value' && echo {linger}");
        for (name, script) in [("systemd-run", systemd_run), ("loginctl", &loginctl)] {
            let place = programs.join(name);
            std::fs::write(&place, format!("#!/bin/sh\n{script}\n")).expect("written");
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).expect("set");
        }
        let runtime = world.path().join("runtime");
        std::fs::create_dir_all(runtime.join("systemd")).expect("made");
        let manager = UnixListener::bind(runtime.join("systemd/private")).expect("bound");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
        world.set("PATH", path.leak());
        world.set("XDG_RUNTIME_DIR", runtime.to_string_lossy().into_owned().leak());
        Session { world, _manager: manager }
    }

    /// What systemd-run was asked for; nothing when it was not called.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.world.path().join("home/asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What the journal says of the scope of a run whose events these are.
fn scope_of(run: &Answer) -> Value {
    let mut events = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a document"));
    events.find(|event| event["kind"] == "run.supervised").expect("it was supervised")["data"]["scope"].clone()
}

const RUN: &[&str] = &["run", "--events", "--confine", "off", "--", "sh", "-c", "echo x > x"];

fn look(doctor: &Answer) -> Value {
    let document = doctor.json();
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == "scope").expect("it is looked at").clone()
}

const DOCTOR: &[&str] = &["doctor", "--json", "--set", "confine.level=off"];

#[test]
fn a_supervisor_is_started_in_a_scope_that_may_be_divided() {
    let session = Session::new("yes", GRANTS);
    let Some(treehand) = session.world.as_ordinary_user() else { return };
    let run = treehand(RUN).expect(0);
    let asked = session.asked();
    assert_eq!(asked[..5], ["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]);
    let unit = asked[5].strip_prefix("--unit=").expect("a name");
    assert!(unit.starts_with("treehand-") && unit.ends_with(".scope"), "{unit}");
    assert_eq!((asked[6].as_str(), asked[8].as_str(), asked[9].as_str()), ("--", "__supervise", "--scope"));
    assert_eq!(asked[10], unit);
    // It is in another cgroup in truth, and touches none.
    let why = scope_of(&run)["why"].as_str().expect("a reason").to_owned();
    assert!(why.contains("not in the scope") && why.contains(unit), "{why}");
    let found = look(&treehand(DOCTOR).expect(0));
    assert!(found["detail"].as_str().expect("a word").contains("a scope of your systemd"), "{found}");
}

#[test]
fn a_scope_that_is_not_made_is_done_without_and_told() {
    let session = Session::new("yes", REFUSES);
    let Some(treehand) = session.world.as_ordinary_user() else { return };
    let said = "systemd-run failed: Failed to start transient scope unit: no";
    assert_eq!(scope_of(&treehand(RUN).expect(0)), serde_json::json!({"unit": null, "why": said}));
    let found = look(&treehand(DOCTOR).expect(0));
    assert!(found["ok"] == true && found["detail"].as_str().expect("a word").starts_with(said), "{found}");
}

#[test]
fn a_manager_that_ends_with_the_last_session_gets_no_run() {
    let session = Session::new("no", GRANTS);
    let Some(treehand) = session.world.as_ordinary_user() else { return };
    let why = scope_of(&treehand(RUN).expect(0))["why"].as_str().expect("a reason").to_owned();
    assert!(why.contains("ends with your last session"), "{why}");
    assert_eq!(session.asked(), [""; 0], "it was started there all the same");
    assert_eq!(look(&treehand(DOCTOR).expect(0))["remedy"], "loginctl enable-linger");
    let shown = treehand(&["run", "--dry-run", "--confine", "off", "--", "true"]).expect(0).stdout;
    assert!(shown.contains("no cgroups: your systemd manager ends"), "{shown}");
}
