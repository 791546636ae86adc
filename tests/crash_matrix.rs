//! The supervisor dies at every moment of its journal, and whoever looks next brings the run to the same end: the same states,
//! the same tree, nothing done twice, nothing left.
//!
//! The run has a diamond, a task that is tried again, two results in conflict, a gate and landings. Each moment is a run of
//! the real binary; what the store's fuse cannot show (effects, children, locks of the kernel) happens here.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use support::World;

const TASKS: &str = r#"
gates = ["test -f base.txt"]
jobs = 2

[[task]]
id = "a"
command = ["sh", "-c", "echo a > a.txt"]

[[task]]
id = "b"
needs = ["a"]
command = ["sh", "-c", "test -f a.txt && echo b > b.txt"]

[[task]]
id = "c"
needs = ["a"]
retries = 1
command = ["sh", "-c", "test $TREEHAND_ATTEMPT_NUMBER = 2 && git commit -q --allow-empty -m own && echo c > c.txt"]

[[task]]
id = "d"
needs = ["b", "c"]
command = ["sh", "-c", "cat b.txt c.txt > d.txt"]

[[task]]
id = "fails"
command = ["sh", "-c", "exit 3"]

[[task]]
id = "skipped"
needs = ["fails"]
command = ["true"]

[[task]]
id = "conflict"
needs = ["a"]
command = ["sh", "-c", "echo mine > base.txt"]
gates = ["false"]
"#;

const QUESTION: &str = r#"
[[task]]
id = "asks"
command = ["sh", "-c", '''
  echo asks > asks.txt; echo '{"question": "May I?", "deadline": "10ms"}' > "$TREEHAND_MAIL/question.json"; exec sleep 1000''']
"#;

/// The second is told of the landing of the first, and what it makes is brought forward onto that.
const FORWARD: &str = r#"
stale = "update"
jobs = 2

[[task]]
id = "a"
command = ["sh", "-c", "echo a > a.txt"]

[[task]]
id = "b"
command = ["sh", "-c", '''until grep -q stale "$TREEHAND_MAIL/fresh.json"; do sleep 0.02; done; echo b > b.txt''']
"#;

/// The second conflicts with the first, which has landed, and makes something of both.
const RESOLVE: &str = r#"
jobs = 2

[[task]]
id = "a"
command = ["sh", "-c", "echo a > base.txt"]

[[task]]
id = "b"
command = ["sh", "-c", '''
  if test "$TREEHAND_CONFLICT"; then echo a and b > base.txt; exit; fi
  until grep -q stale "$TREEHAND_MAIL/fresh.json"; do sleep 0.02; done; echo b > base.txt''']
"#;

/// One agent is not let in, and the next goes on with what it left, asks, and hands in a result; another has nothing to do.
const AGENTS: &str = r#"
jobs = 2

[[task]]
id = "a"
agent = ["second", "stub"]
handover = "continue"
prompt = '''
if [ ! -e left.txt ]; then echo left > left.txt; fault 'Invalid API key' 401; exit 0; fi
tool progress '{"message":"half of it"}'
tool ask '{"question":"May I?","default":"yes","deadline":"10ms"}'
case $answer in *yes*) echo asked > asked.txt;; esac
submit done 'made it'; finish
'''

[[task]]
id = "b"
agent = "third"
needs = ["a"]
prompt = "submit nothing_to_do 'is so already'; finish"
"#;

fn world() -> World {
    let mut world = World::new();
    support::stub::install(&world);
    world.set("TREEHAND_MERGE__CONFLICTS", "agent");
    world.commit("base", &[("base.txt", "base\n")]);
    world
}

/// What a run came to: states and reasons of its tasks, and the files that landed.
fn outcome(world: &World, run: &Value) -> Value {
    let tasks = run["tasks"].as_array().unwrap_or_else(|| panic!("no tasks in {run}")).iter().map(|task| {
        let attempts = task["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let attempts: Vec<String> = attempts.iter().map(|attempt| attempt["error"]["message"].to_string()).collect();
        // In one line, so that a difference tells of which task it is.
        let reason = &task["reason"];
        format!("{} {} {} {} {}", task["id"], task["state"], reason["kind"], reason["message"], attempts.join(", "))
    });
    let mut subjects: Vec<String> =
        world.git(&["log", "--format=%s %(trailers:key=Treehand-Task)", "main"]).lines().map(str::to_owned).collect();
    subjects.sort();
    serde_json::json!({
        "state": run["state"], "error": run["error"], "tasks": tasks.collect::<Vec<_>>(), "tree": world.git(&["ls-tree", "-r", "main"]),
        "subjects": subjects,
    })
}

/// What is there of a run when it is over: refs, entries, boxes, private dirs, and what should never be left of anything.
fn left(world: &World, id: &str) -> Value {
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/treehand", "refs/treehand"]);
    // What was saved has the moment in its name, and is saved once more by who comes after.
    let saved = |name: &str| -> Vec<String> {
        let of_salvage = name.starts_with("refs/treehand/salvage/");
        let part = |(n, part): (usize, &str)| if of_salvage && n == 5 { "MOMENT".into() } else { part.to_owned() };
        name.split('/').enumerate().map(part).collect()
    };
    let refs: std::collections::BTreeSet<Vec<String>> = refs.replace(id, "RUN").lines().map(saved).collect();
    let refs: Vec<String> = refs.iter().map(|parts| parts.join("/")).collect();
    let names = |dir: std::path::PathBuf| -> Vec<String> {
        let entries =
            std::fs::read_dir(dir).map(|entries| entries.filter_map(Result::ok).collect()).unwrap_or_default();
        let entries: Vec<std::fs::DirEntry> = entries;
        let mut names: Vec<String> =
            entries.iter().map(|entry| entry.file_name().to_string_lossy().replace(id, "RUN")).collect();
        names.sort();
        names
    };
    let git = world.repo().join(".git");
    let kept = names(git.join("objects/pack")).into_iter().filter(|name| name.ends_with(".keep")).count();
    let sealed = world.path().join("state/treehand/sealed");
    let private: Vec<_> = names(sealed.clone()).iter().map(|repo| names(sealed.join(repo).join(id))).collect();
    assert_eq!(names(world.path().join("state/treehand/sockets")), [] as [&str; 0], "sockets are left");
    assert_eq!(names(git.join("treehand/quarantine")), [] as [&str; 0], "quarantines are left");
    assert_eq!(kept, 0, "keep files are left");
    world.git(&["fsck", "--full", "--strict"]);
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the checkout followed its branch");
    serde_json::json!({
        "refs": refs, "entries": names(git.join("worktrees")), "boxes": names(world.trees()),
        "private": private, "merging": git.join("index.lock").exists(),
    })
}

/// How many lines the journal has about a run, of one kind or of all.
fn lines(world: &World, id: &str, kind: &str) -> u64 {
    let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
    let sql = "SELECT count(*) FROM journal WHERE run = ?1 AND (?2 = '' OR kind = ?2)";
    let count: i64 = store.query_row(sql, [id, kind], |row| row.get(0)).expect("counted");
    u64::try_from(count).expect("a count")
}

/// Runs tasks that end with this code, with a supervisor that dies at this moment, to their end. How many supervisors there
/// were, how many lines the journal has, and what it all came to.
fn run((tasks, code): (&str, i32), moment: &str) -> (u64, u64, Value) {
    let world = world();
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, tasks).expect("a tasks file");
    let file = file.to_string_lossy().into_owned();
    let mut begin = world.command(&["run", "--detach", "--confine", support::level(), "--tasks", &file]);
    let begun = support::answer({
        begin.env("TREEHAND_CRASH_AT", moment);
        begin
    });
    assert!(begun.code == 0 || begun.code == 1 && !moment.is_empty(), "{} {}", begun.code, begun.stderr);
    let id = world.treehand(&["ps", "--json"]).expect(0).json()["runs"][0]["run"].as_str().expect("an id").to_owned();
    let run = world.treehand(&["resume", &id, "--json"]).expect(code).json();
    assert_eq!(world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).expect(0).json()["ok"], true);
    let came_to = serde_json::json!({"outcome": outcome(&world, &run), "left": left(&world, &id)});
    (lines(&world, &id, "run.supervised"), lines(&world, &id, ""), came_to)
}

#[test]
fn a_supervisor_that_dies_at_any_moment_of_its_journal_has_a_successor_that_comes_to_the_same_end() {
    every_moment((TASKS, 1), if everything() { Moments::All } else { Moments::Cuts });
}

#[test]
fn what_a_question_that_nobody_answers_leaves_is_the_same_whenever_its_supervisor_dies() {
    every_moment((QUESTION, 9), if everything() { Moments::All } else { Moments::Cuts });
}

#[test]
fn a_result_is_brought_forward_once_whenever_its_supervisor_dies() {
    every_moment((FORWARD, 0), if everything() { Moments::All } else { Moments::Third });
}

#[test]
fn a_conflict_is_resolved_once_whenever_its_supervisor_dies() {
    every_moment((RESOLVE, 0), if everything() { Moments::All } else { Moments::Third });
}

#[test]
fn what_agents_came_to_is_the_same_whenever_their_supervisor_dies() {
    every_moment((AGENTS, 0), if everything() { Moments::All } else { Moments::Third });
}

/// What `scripts/stress crash` asks for.
#[expect(clippy::disallowed_methods, reason = "it is the test's own variable")]
fn everything() -> bool {
    std::env::var_os("TREEHAND_CRASH_EVERYWHERE").is_some()
}

/// At which moments supervisors die.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moments {
    All,
    /// Before a third of the writes, and right after another third.
    Cuts,
    /// Before and after the same third of them.
    Third,
}

fn every_moment(tasks: (&str, i32), which: Moments) {
    let (supervisors, events, expected) = run(tasks, "");
    assert_eq!(supervisors, 1);
    let (next, died) = (AtomicU64::new(1), AtomicU64::new(0));
    let different = std::sync::Mutex::new(Vec::new());
    let work = || loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n > events {
            return;
        }
        let third = n % 3 == 0;
        let (before, after) = match which {
            Moments::All => (true, true),
            Moments::Cuts => (n % 3 == 1, third),
            Moments::Third => (third, third),
        };
        let moments = [before.then(|| format!("before:{n}")), after.then(|| format!("after:{n}"))];
        for moment in moments.into_iter().flatten() {
            let (supervisors, _, came_to) = run(tasks, &moment);
            // The last lines of the journal are written together with others: those moments never come.
            died.fetch_add(u64::from(supervisors > 1), Ordering::Relaxed);
            if came_to != expected {
                let shown = |value: &Value| serde_json::to_string_pretty(value).expect("text");
                different
                    .lock()
                    .expect("no panic")
                    .push(format!("{moment}: {}", support::difference(&shown(&expected), &shown(&came_to))));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("every moment comes to the same end"));
    });
    let different = different.into_inner().expect("no panic");
    assert!(different.is_empty(), "not the same end:\n{}", different.join("\n"));
    let died = died.into_inner();
    let least = if which == Moments::All { events / 2 } else { events / 4 };
    assert!(died > least, "only {died} moments of {events} lines of journal came");
}
