//! Stories of processes that nobody owns any more: found by their mark, whatever they did to hide, and ended by `clean`.

use crate::support;

use serde_json::Value;
use support::World;
use support::followed::Followed;

/// A run that nobody asked for or supervises any more; what holds its command may live.
struct Left {
    world: World,
    run: String,
    shim: String,
}

impl Left {
    /// Begins a run and waits until its command, which is told where the world is, has written into the pipe `begun`.
    fn begin(script: &str) -> Left {
        let world = World::new();
        let place = world.path().to_string_lossy().into_owned();
        world.shell("mkfifo ../begun ../go").expect(0);
        let script = format!("WORLD='{place}'; {script}");
        let mut run = Followed::start(&world, &["--name", "t", "--confine", "off", "--", "bash", "-c", &script]);
        let started = run.next("attempt.started");
        std::fs::read(world.path().join("begun")).expect("it has begun");
        let (id, shim) = (world.only_run(), started["data"]["process"]["pid"].to_string());
        run.abandon(&world, &id);
        Left { world, run: id, shim }
    }

    /// Kills what holds the command: nobody ends that any more.
    fn kill_shim(&self) {
        let gone = support::handle(&self.shim);
        support::signal("KILL", &self.shim);
        gone.wait();
    }

    fn clean(&self, args: &[&str]) -> Value {
        self.world.treehand(&[&["clean", "--json", "--min-age", "0s"], args].concat()).expect(0).json()
    }

    fn pid(&self, name: &str) -> String {
        std::fs::read_to_string(self.world.path().join(name)).expect("a pid").trim().to_owned()
    }
}

fn of_kind<'a>(document: &'a Value, list: &str, kind: &str) -> Vec<&'a Value> {
    document[list].as_array().expect("a list").iter().filter(|line| line["kind"] == kind).collect()
}

/// Detached twice, in a session of its own, elsewhere, with nothing open and under another name.
const HIDES: &str = "cp \"$(command -v sleep)\" \"$WORLD/innocent\"; \
    (setsid bash -c 'cd /; echo $$ > \"$0/hidden\"; exec \"$0/innocent\" 1000' \"$WORLD\" < /dev/null > /dev/null 2>&1 &) ; \
    until [ -s \"$WORLD/hidden\" ]; do sleep 0.02; done; echo half > half.txt; echo > \"$WORLD/begun\"; exec sleep 1000";

#[test]
fn what_hides_from_its_dead_run_is_found_and_ended_and_a_namesake_is_not() {
    let left = Left::begin(HIDES);
    left.kill_shim();
    #[expect(clippy::disallowed_methods, reason = "the test needs a process that is none of treehand's")]
    let mut namesake = std::process::Command::new(left.world.path().join("innocent"));
    let mut namesake = namesake.arg("1000").spawn().expect("started");
    let hidden = support::handle(&left.pid("hidden"));
    let plan = left.clean(&[]);
    let [action] = of_kind(&plan, "actions", "process")[..] else { panic!("one attempt: {plan}") };
    let item = action["item"].as_str().expect("an item");
    assert!(item.starts_with(&format!("{}/t attempt 1: ", left.run)) && item.contains("innocent (pid "), "{item}");
    assert!(action["proof"].as_str().is_some_and(|proof| proof.contains("what held them is dead")), "{action}");
    assert_eq!(of_kind(&plan, "actions", "workspace").len(), 1, "its box goes with them: {plan}");
    assert!(!hidden.is_over(), "a plan ends nothing");
    let kept = left.clean(&["--only", "workspaces", "--yes"]);
    assert!(of_kind(&kept, "actions", "workspace").is_empty() && !hidden.is_over(), "{kept}");
    let done = left.clean(&["--yes"]);
    assert!(done["actions"].as_array().expect("actions").iter().all(|one| one["outcome"] == "done"), "{done}");
    assert!(hidden.is_over(), "it is proved to be gone");
    assert_eq!(namesake.try_wait().expect("looked"), None, "a name proves nothing");
    namesake.kill().expect("killed");
    namesake.wait().expect("reaped");
    assert_eq!(left.clean(&[])["actions"], serde_json::json!([]));
    let saved = of_kind(&done, "actions", "workspace")[0]["salvage"][0].as_str().expect("a ref").to_owned();
    assert_eq!(left.world.show(&saved, "half.txt"), "half\n");
}

#[test]
fn what_its_shim_still_holds_is_not_ended_and_neither_is_what_is_young() {
    let left = Left::begin("echo $$ > \"$WORLD/hidden\"; echo > \"$WORLD/begun\"; exec sleep 1000");
    let kept = left.clean(&["--yes"]);
    let reason = of_kind(&kept, "kept", "process")[0]["reason"].as_str().expect("words").to_owned();
    assert!(reason.contains(&format!("(pid {})", left.shim)) && reason.contains("orphan_grace"), "{reason}");
    left.kill_shim();
    let young = left.world.treehand(&["clean", "--json", "--yes"]).expect(0).json();
    assert_eq!(of_kind(&young, "kept", "process")[0]["reason"], "younger than 1d");
    let hidden = support::handle(&left.pid("hidden"));
    assert!(!hidden.is_over());
    left.clean(&["--yes"]);
    assert!(hidden.is_over());
}

#[test]
fn a_clean_that_an_orphan_calls_does_not_end_itself() {
    let treehand = env!("CARGO_BIN_EXE_treehand");
    let left = Left::begin(&format!(
        "echo $$ > \"$WORLD/hidden\"; echo > \"$WORLD/begun\"; read line < \"$WORLD/go\"; \
         export HOME=\"$WORLD/home\" XDG_STATE_HOME=\"$WORLD/state\"; \
         '{treehand}' -C \"$WORLD/repo\" clean --json --yes --min-age 0s > \"$WORLD/answer\" 2>&1; \
         echo > \"$WORLD/begun\"; exec sleep 1000"
    ));
    left.kill_shim();
    std::fs::write(left.world.path().join("go"), "go\n").expect("it waits");
    std::fs::read(left.world.path().join("begun")).expect("it is done");
    let answer: Value =
        serde_json::from_slice(&std::fs::read(left.world.path().join("answer")).expect("read")).expect("a document");
    let kept = of_kind(&answer, "kept", "process");
    assert_eq!(kept[0]["reason"], "this command is one of them, or was started by one", "{answer}");
    assert!(of_kind(&answer, "actions", "workspace").is_empty(), "{answer}");
    let hidden = support::handle(&left.pid("hidden"));
    assert!(!hidden.is_over());
    left.clean(&["--yes"]);
    assert!(hidden.is_over());
}
