//! Tables of tasks files that must be refused, with the words and the place of each fault.
//!
//! Compiled for tests only.

use super::*;
use crate::model::agent::Handover;
use crate::model::{GateSpec, Span};
use proptest::prelude::{TestCaseError, any, prop, prop_assert, proptest};
use proptest::strategy::Strategy as Generator;
use std::time::{Duration, Instant};

fn fault_text(text: &str) -> String {
    parse(text, Format::guess(text)).map_or_else(|error| error.to_string(), |_| "no fault".into())
}

/// The file has exactly this one fault.
fn check(text: &str, expected: &str) {
    assert_eq!(fault_text(text), expected, "\n{text}");
}

/// A task with this line has exactly this one fault, on the line; the other task is `lexer`.
fn check_task(line: &str, column: usize, message: &str) {
    let command = if line.starts_with("command") || line.starts_with("agent") { "" } else { "command = ['true']" };
    let text = format!("[[task]]\nid = 'lexer'\ncommand = ['x']\n[[task]]\nid = 'own'\n{line}\n{command}\n");
    check(&text, &format!("line 6, column {column}: {message}"));
}

/// A file with this top-level line and one sound task has exactly this one fault.
fn check_top(line: &str, column: usize, message: &str) {
    let text = format!("{line}\n[[task]]\nid = 'a'\ncommand = ['true']\n");
    check(&text, &format!("line 1, column {column}: {message}"));
}

fn span(seconds: u64) -> Option<Span> {
    Some(Span(Duration::from_secs(seconds)))
}

#[test]
fn a_whole_file_in_either_language() {
    let toml = r#"
        goal = "port the parser"
        base = "origin/main"
        into = "main"
        strategy = "rebase"
        merge = "manual"
        jobs = 3
        gates = ["cargo test -q", { run = "lint", flaky = true, timeout = "10m" }]
        [[task]]
        id = "lexer"
        agent = "command"
        command = ["sh", "-c", ""]
        prompt = "…"
        paths = ["src/lexer/**", "*.{md,txt}", "dir/[a-z]?.rs"]
        timeout = "30m"
        stale = "update"
        retries = 2
        gates = ["true"]
        [[task]]
        id = "docs"
        needs = ["lexer"]
        command = ["./write-docs.sh"]
    "#;
    let json = r#"{ "goal": "port the parser", "base": "origin/main", "into": "main", "strategy": "rebase",
        "merge": "manual", "jobs": 3,
        "gates": ["cargo test -q", { "run": "lint", "flaky": true, "timeout": "10m" }],
        "tasks": [
            { "id": "lexer", "agent": "command", "command": ["sh", "-c", ""], "prompt": "\u2026",
              "paths": ["src/lexer/**", "*.{md,txt}", "dir/[a-z]?.rs"], "timeout": "30m", "retries": 2,
              "stale": "update", "gates": ["true"] },
            { "id": "docs", "needs": ["lexer"], "command": ["./write-docs.sh"] } ] }"#;
    let spec = parse(toml, Format::Toml).expect("a sound TOML file");
    assert_eq!(parse(json, Format::Json).as_ref(), Ok(&spec));
    let gate = |run: &str| GateSpec::plain(run);
    assert_eq!(spec.gates, [gate("cargo test -q"), GateSpec { flaky: true, timeout: span(600), ..gate("lint") }]);
    assert_eq!((spec.strategy, spec.merge, spec.jobs), (Some(Strategy::Rebase), Some(MergePolicy::Manual), Some(3)));
    let [lexer, docs] = &spec.tasks[..] else { panic!("two tasks") };
    assert_eq!((lexer.timeout, lexer.retries, &lexer.gates[..]), (span(1800), 2, &[gate("true")][..]));
    assert_eq!((lexer.stale, docs.stale), (Some(StalePolicy::Update), None));
    let policy = |own: Option<StalePolicy>, otherwise| RunSpec { stale: own, ..spec.clone() }.stale_policy(otherwise);
    assert_eq!(policy(None, StalePolicy::Warn), StalePolicy::Update, "the strictest of all counts");
    assert_eq!(policy(None, StalePolicy::Block), StalePolicy::Block);
    assert_eq!(policy(Some(StalePolicy::Warn), StalePolicy::Block), StalePolicy::Update);
    assert_eq!((docs.agent.as_str(), docs.retries, docs.needs.as_slice()), ("command", 0, &[lexer.id.clone()][..]));
}

#[test]
fn little_is_enough_and_order_does_not_matter() {
    for text in [
        "[[tasks]]\nid='b'\nneeds=['a']\ncommand=['x']\n[[tasks]]\nid='a'\ncommand=['x']",
        "\u{feff}[[task]]\r\nid='a'\r\ncommand=['x']\r\n",
        "\u{feff}{\"task\": [{\"command\": [\"x\"], \"id\": \"a\"}]}",
        "task = [{id = 'a', command = ['x'], needs = [], gates = []}]",
    ] {
        assert_eq!(fault_text(text), "no fault", "{text}");
    }
}

#[test]
fn faults_of_the_top_level() {
    check("", "the file has no tasks");
    check("{}", "the file has no tasks");
    check("task = []", "line 1, column 8: the file has no tasks");
    check("[task]\nid = 'a'", "line 1, column 1: `task` must be an array of tables, not a table");
    check("task = [1]", "line 1, column 9: each task must be a table, not an integer");
    check_task("paths = []", 9, "`paths` is empty, so that the task could change nothing");
    check_top("gaol = 'x'", 1, "unknown key `gaol`, did you mean `goal`?");
    check_top("'a\\nb' = 1", 1, "unknown key `a\\\\nb`");
    check(
        "tasks = []\n[[task]]\nid = 'a'\ncommand = ['x']",
        "line 2, column 3: both `task` and `tasks` are there, which mean the same",
    );
    check_top("goal = 1", 8, "`goal` must be a string, not an integer");
    check_top("base = ''", 8, "`base` is empty");
    check_top("base = '--all'", 8, "`base` starts with `-`");
    check_top("base = \"a\\u0007\"", 8, "`base` contains a control character");
    check_top("base = \"a\\u0000\"", 8, "`base` contains a NUL byte");
    check_top(
        "into = 'a..b'",
        8,
        "`into` cannot be the branch `a..b`: git allows no `..`, no `@{`, no `@` alone and no `.` at its end",
    );
    check_top("strategy = 'sqash'", 12, "`strategy` must be one of squash, merge, rebase, ff, not `sqash`");
    check_top("merge = true", 9, "`merge` must be a string, not a boolean");
    check_top("jobs = 0", 8, "`jobs` must be from 1 to 4294967295, not 0");
    check_top("jobs = -1", 8, "`jobs` must be from 1 to 4294967295, not -1");
    check_top("jobs = 1.5", 8, "`jobs` must be an integer, not a float");
    check_top("gates = 'x'", 9, "`gates` must be an array, not a string");
    check_top("gates = ['']", 10, "a gate's command is empty");
    check_top("gates = ['a', {run = ' '}]", 22, "a gate's command is empty");
    check_top("gates = [{flaky = true}]", 10, "this gate has no `run`");
    check_top("gates = [{run = 'x', flakey = true}]", 22, "unknown key `flakey`, did you mean `flaky`?");
    check_top("gates = [{run = 'x', flaky = 1}]", 30, "`flaky` must be a boolean, not an integer");
    check_top(
        "gates = [{run = 'x', net = 'no'}]",
        28,
        "`net` must be \"none\", \"full\" or an array of \"host:port\" strings",
    );
    check_top("gates = [1979-05-27]", 10, "each gate must be a string or a table, not a date");
    check_top("gates = [\"x\\u0000\"]", 10, "a gate's command contains a NUL byte");
}

#[test]
fn faults_of_a_task() {
    check_task("need = ['lexer']", 1, "unknown key `need`, did you mean `needs`?");
    check_task("needs = ['lexr']", 10, "there is no task `lexr`, did you mean `lexer`?");
    check_task("needs = ['parser']", 10, "there is no task `parser`");
    check_task("needs = ['own']", 10, "task `own` needs itself");
    check_task("needs = ['lexer', 'lexer']", 19, "`lexer` stands twice in `needs`");
    check_task("needs = 'lexer'", 9, "`needs` must be an array, not a string");
    check_task("needs = [['lexer']]", 10, "each item of `needs` must be a string, not an array");
    check_task("timeout = 'soon'", 11, "`timeout` must be a duration, not `soon`");
    check_task("timeout = '0s'", 11, "`timeout` must be more than zero");
    check_task("stale = 'never'", 9, "`stale` must be one of warn, block, update, not `never`");
    check_task("timeout = 30", 11, "`timeout` must be a string, not an integer");
    check_task("retries = 101", 11, "`retries` must be from 0 to 100, not 101");
    check_task("net = ['a.b']", 7, "`net` must be \"none\", \"full\" or an array of \"host:port\" strings");
    check_task("net = true", 7, "`net` must be \"none\", \"full\" or an array of \"host:port\" strings");
    check_task("prompt = \"a\\u0000\"", 10, "`prompt` contains a NUL byte");
    check_task("paths = [\"a\\u0000\"]", 10, "each item of `paths` contains a NUL byte");
    check_task(
        "paths = ['/etc/**']",
        10,
        "`/etc/**` in `paths` is absolute, but paths are taken from the top of the repository",
    );
    check_task("paths = ['a/../b']", 10, "`a/../b` in `paths` contains `..`");
    check_task("paths = ['']", 10, "`` in `paths` is empty");
    check_task("paths = ['a[']", 10, "`a[` in `paths` is not a valid pattern: unclosed character class; missing ']'");
    check_task(
        "paths = ['{a']",
        10,
        "`{a` in `paths` is not a valid pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
    );
}

#[test]
fn paths_that_no_file_has_are_refused() {
    for bad in ["src/", "./src", "a//b", ".", &"a".repeat(5000), &"{".repeat(1000)] {
        assert!(glob_fault(bad).is_some(), "{bad}");
    }
    for good in ["src/**", "**", ".gitignore", "a..b", "...", "{a,b}/*.rs", "a\\[b"] {
        assert_eq!(glob_fault(good), None, "{good}");
    }
}

#[test]
fn faults_of_agents_and_commands() {
    check_task("agent = 'command'", 9, "task `own` has no `command`");
    check_task("agent = 'codex'", 9, "task `own` tells its agent nothing");
    check_task("agent = 1", 9, "`agent` must be a string, not an integer");
    check_task("agent = '-x'", 9, "`-x` is no name of an agent");
    check_task("agent = []", 9, "`agent` is empty");
    check(
        "[[task]]\nid = 'a'\nprompt = 'x'\nagent = ['codex', 'codex']",
        "line 4, column 19: `codex` stands twice in `agent`",
    );
    check(
        "[[task]]\nid = 'a'\nprompt = 'x'\nagent = ['codex', 'command']",
        "line 4, column 19: `command` takes over from no agent, and none from it",
    );
    let told = |line: &str| format!("agent = 'codex'\nprompt = 'x'\n{line}");
    check(
        "[[task]]\nid = 'a'\nagent = 'codex'\nprompt = 'x'\nmodel = '-x'",
        "line 5, column 9: `model` must be a name, not `-x`",
    );
    for wrong in [
        "budget = { tokens = 0 }",
        "budget = { cost = 'much' }",
        "budget = { turn = 1 }",
        "handover = 'x'",
        "effort = ''",
    ] {
        assert!(parse(&format!("[[task]]\nid = 'a'\n{}", told(wrong)), Format::Toml).is_err(), "{wrong}");
    }
    check(
        "[[task]]\nid = 'a'\ncommand = ['x']\nmodel = 'y'",
        "line 4, column 1: `model` is for agents, and task `a` has none",
    );
    check(
        "[[task]]\nid = 'a'\nagent = 'codex:m'\nprompt = 'x'\nmodel = 'y'",
        "line 5, column 9: `model` is given twice: `agent` says `codex:m`",
    );
    check_task("command = []", 11, "`command` is empty");
    check_task("command = ['', 'x']", 12, "the program in `command` is empty");
    check_task("command = 'make'", 11, "`command` must be an array of strings, not a string");
    check_task("command = {}", 11, "`command` must be an array, not a table");
    check_task("command = ['x', 1]", 17, "each item of `command` must be a string, not an integer");
    check_task("command = ['x', \"\\u0000\"]", 17, "each item of `command` contains a NUL byte");
    check(
        "[[task]]\nid = 'a'\nagent = 'codex'\ncommand = ['x']",
        "line 3, column 9: task `a` has both `command` and `agent = \"codex\"`",
    );
    check("[[task]]\nid = 'a'", "line 1, column 1: task `a` has neither `command` nor `agent`");
    let error = parse("[[task]]\nid = 'a'\nagent = 'codex'", Format::Toml).expect_err("nothing is told");
    assert_eq!(error.hints(), ["give `prompt = \"…\"`"]);
}

#[test]
fn agents_are_tried_in_order_with_their_models_and_budgets() {
    let text = r#"
        goal = "a port"
        budget = { cost = "20", tokens = 1_000_000 }
        [[task]]
        id = "a"
        agent = ["codex:gpt-5", "claude"]
        handover = "continue"
        budget = { turns = 50, cost = 2 }
        [[task]]
        id = "b"
        agent = "pi"
        model = "m"
        effort = "high"
        prompt = "x"
        retries = 3
    "#;
    let spec = parse(text, Format::Toml).expect("a spec");
    assert_eq!((spec.budget.cost_micros, spec.budget.tokens), (Some(20_000_000), Some(1_000_000)));
    let names = |task: &TaskSpec| task.agents.iter().map(ToString::to_string).collect::<Vec<_>>();
    let [a, b] = &spec.tasks[..] else { panic!("two tasks: {spec:?}") };
    assert_eq!(
        (names(a), a.agent.as_str(), a.retries),
        (vec!["codex:gpt-5".to_owned(), "claude".to_owned()], "codex", 1)
    );
    assert_eq!((a.handover, a.budget.turns, a.budget.cost_micros), (Handover::Continue, Some(50), Some(2_000_000)));
    assert_eq!((names(b), b.effort.as_deref(), b.retries), (vec!["pi:m".to_owned()], Some("high"), 3));
}

#[test]
fn faults_of_ids() {
    check("[[task]]\ncommand = ['x']", "line 1, column 1: this task has no `id`");
    check("task = [{id = 7, command = ['x']}]", "line 1, column 15: `id` must be a string, not an integer");
    check(
        "[[task]]\nid = '../x'\ncommand = ['x']\n[[task]]\nid = 'b'\ncommand = ['x']\nneeds = ['../x']",
        "line 2, column 6: `../x` is not a task id: it must start with a letter, a digit or `_`",
    );
    check(
        "[[task]]\nid = 'a'\ncommand = ['x']\n[[task]]\nid = 'a'\ncommand = ['x']",
        "line 5, column 6: duplicate task id `a`, first on line 2",
    );
}

#[test]
fn circles_are_printed() {
    let tasks = |needs: &[(&str, &str)]| {
        let task = |(id, need): &(&str, &str)| format!("[[task]]\nid='{id}'\ncommand=['x']\nneeds=['{need}']\n");
        needs.iter().map(task).collect::<String>()
    };
    let circle = "tasks need each other in a circle";
    check(&tasks(&[("a", "b"), ("b", "a")]), &format!("line 4, column 7: {circle}: a -> b -> a"));
    check(&tasks(&[("x", "b"), ("b", "c"), ("c", "b")]), &format!("line 8, column 7: {circle}: b -> c -> b"));
    let names: Vec<String> = (0..30).map(|n| format!("t{n}")).collect();
    let ring: Vec<_> = (0..30).map(|n| (names[n].as_str(), names[(n + 1) % 30].as_str())).collect();
    assert!(fault_text(&tasks(&ring)).ends_with("t17 -> … -> t0"), "{}", fault_text(&tasks(&ring)));
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let toml = "jobs = 0\n[[task]]\nid = 'a'\nneeds = ['b', 'x']\n[[task]]\nid = 'b'\nneeds = ['a']\ncommand = []\n";
    let expected = "line 1, column 8: `jobs` must be from 1 to 4294967295, not 0\n\
        line 2, column 1: task `a` has neither `command` nor `agent`\n\
        line 4, column 9: tasks need each other in a circle: a -> b -> a\n\
        line 4, column 15: there is no task `x`\n\
        line 8, column 11: `command` is empty";
    check(toml, expected);
    let json = "{\n\"ü\": 1, \"base\": \"\",\n\"tasks\": [{\"id\": \"a\", \"command\": [\"\\u0000\"],\n\"jobs\": null, \"id\": \"b\"}]}";
    let expected = "line 2, column 1: unknown key `ü`\nline 2, column 17: `base` is empty\n\
        line 3, column 35: each item of `command` contains a NUL byte\n\
        line 4, column 1: unknown key `jobs`\n\
        line 4, column 15: duplicate key `id`, first on line 3";
    check(json, expected);
}

#[test]
fn a_file_of_another_shape_is_one_fault() {
    assert_eq!(
        parse("[1]", Format::Json).map_err(|error| error.to_string()),
        Err("line 1, column 1: a tasks file must be a table, not an array".into())
    );
    check("goal = ", "line 1, column 8: string values must be quoted, expected literal string");
    check("{\"goal\": \"x\"", "line 1, column 12: EOF while parsing an object");
}

#[test]
fn a_file_that_is_too_large_is_refused_and_a_large_one_is_quick() {
    let over = " ".repeat(SIZE_MAX + 1);
    check(&over, "the file has 16777217 bytes, more than the 16777216 that are allowed");
    let task =
        |n: usize| format!("[[task]]\nid='t{n}'\ncommand=['x']\nneeds=['t{}']\nprompt='{}'\n", n + 1, "p".repeat(60));
    let mut large: String = (0..20_000).map(task).collect();
    let start = Instant::now();
    assert!(fault_text(&large).contains("there is no task `t20000`"));
    large = large.replace("needs", "neds");
    assert!(fault_text(&large).contains("more"));
    assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
}

/// Text made of the words of a tasks file, so that it gets beyond the syntax now and then.
fn file_like() -> impl Generator<Value = String> {
    let word = prop::sample::select(vec![
        "[[task]]\n",
        "id = 'a'\n",
        "id = 'b'\n",
        "needs = ['a', 'b']\n",
        "command = ['x']\n",
        "command = ",
        "'x'",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "gates = [{run = 'x'}]\n",
        "net = 'full'\n",
        "\"tasks\": [",
        "\"id\": ",
        "\"a\"",
        ",",
        "jobs = 1\n",
        "\u{feff}",
        "ü",
        "\0",
        "\\u0000",
        "\"",
        "paths = ['**']\n",
    ]);
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

/// Either there is a spec with sound commands, or faults with places inside the text.
fn check_outcome(text: &str, format: Format) -> Result<(), TestCaseError> {
    match parse(text, format) {
        Ok(spec) => prop_assert!(
            !spec.tasks.is_empty() && spec.tasks.iter().all(|task| task.command.is_empty() != task.agents.is_empty())
        ),
        Err(error) => {
            prop_assert!(!error.faults().is_empty());
            let lines = text.split('\n').count();
            prop_assert!(error.faults().iter().all(|fault| fault.line.is_none_or(|line| (1..=lines).contains(&line))));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), like in file_like()) {
        for format in [Format::Toml, Format::Json] {
            check_outcome(&text, format)?;
            check_outcome(&like, format)?;
        }
    }
}
