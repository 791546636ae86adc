//! Decision file: which commands of ours a call of a person's assistant becomes, and what their documents mean as its answer.
//!
//! Values stand in arguments of their own, where none of them can be taken for a flag. Starts nothing.

use serde_json::{Value, json};

use super::tool::{Arguments, Outcome};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The verb, its flags and its arguments.
    pub argv: Vec<String>,
    /// What it reads from standard input.
    pub input: String,
    /// An exit code that is not 0 is part of its answer, not a failure to answer.
    pub code_is_answer: bool,
}

impl Errand {
    fn of(verb: &[&str]) -> Errand {
        let argv = verb.iter().copied().chain(["--json"]).map(str::to_owned).collect();
        Errand { argv, input: String::new(), code_is_answer: false }
    }

    fn flag(mut self, flag: &str, value: Option<&str>) -> Errand {
        self.argv.extend(value.map(|value| format!("--{flag}={value}")));
        self
    }

    fn last(mut self, words: &[&str]) -> Errand {
        self.argv.extend(["--"].iter().chain(words).map(|word| (*word).to_owned()));
        self
    }
}

/// How long `wait` waits that is not told: clients give a call a minute as a rule.
const WAIT: &str = "50s";

fn text<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

fn texts<'a>(arguments: &'a Arguments, name: &str) -> Vec<&'a str> {
    arguments.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Starts a run, which goes on by itself.
pub fn run(arguments: &Arguments) -> Result<Errand, String> {
    let mut errand = Errand::of(&["run"]);
    errand.argv.push("--detach".into());
    for name in ["base", "into", "merge", "strategy", "timeout"] {
        errand = errand.flag(name, text(arguments, name));
    }
    let jobs = arguments.get("jobs").and_then(Value::as_u64).map(|jobs| jobs.to_string());
    errand = errand.flag("jobs", jobs.as_deref());
    for gate in texts(arguments, "gates") {
        errand = errand.flag("gate", Some(gate));
    }
    let (goal, tasks, command) = (text(arguments, "goal"), text(arguments, "tasks"), texts(arguments, "command"));
    let only = |flag: &str, of: &str| match text(arguments, flag) {
        Some(_) => Err(format!("run: `{flag}` goes with `{of}` alone")),
        None => Ok(()),
    };
    match (goal, tasks, &command[..]) {
        (Some(goal), None, []) => {
            only("name", "command")?;
            if goal.starts_with('-') {
                return Err("run: `goal` must not begin with `-`".to_owned());
            }
            errand = errand.flag("agent", text(arguments, "agent"));
            errand.argv.push(goal.to_owned());
            Ok(errand)
        }
        (None, Some(tasks), []) => {
            only("name", "command").and(only("agent", "goal"))?;
            tasks.clone_into(&mut errand.input);
            Ok(errand.flag("tasks", Some("-")))
        }
        (None, None, [_, ..]) => {
            only("agent", "goal")?;
            Ok(errand.flag("name", text(arguments, "name")).last(&command))
        }
        _ => Err("run: give exactly one of `goal`, `tasks` and `command`".to_owned()),
    }
}

/// Lists runs, then workspaces.
pub fn list() -> [Errand; 2] {
    [Errand::of(&["ps"]), Errand::of(&["ls"])]
}

/// Shows a run or a task.
pub fn show(arguments: &Arguments) -> Errand {
    Errand::of(&["show"]).last(&[text(arguments, "name").unwrap_or_default()])
}

/// Waits for the end of a run.
pub fn wait(arguments: &Arguments) -> Errand {
    let timeout = text(arguments, "timeout").unwrap_or(WAIT);
    let errand = Errand::of(&["wait"]).flag("timeout", Some(timeout));
    Errand { code_is_answer: true, ..errand.last(&[text(arguments, "run").unwrap_or_default()]) }
}

/// Answers the question of a task.
pub fn answer(arguments: &Arguments) -> Errand {
    let input = text(arguments, "text").unwrap_or_default().to_owned();
    Errand { input, ..Errand::of(&["answer"]).last(&[text(arguments, "task").unwrap_or_default(), "-"]) }
}

/// Lands something, or with `dry_run` says what would land.
pub fn merge(arguments: &Arguments, dry_run: bool) -> Errand {
    let mut errand = Errand::of(&["merge"]);
    errand.argv.extend(dry_run.then(|| "--dry-run".to_owned()));
    errand = errand.flag("into", text(arguments, "into")).flag("strategy", text(arguments, "strategy"));
    Errand { code_is_answer: dry_run, ..errand.last(&[text(arguments, "name").unwrap_or_default()]) }
}

/// The same as a person would give it.
pub fn merge_in_words(arguments: &Arguments) -> String {
    let flags = ["into", "strategy"]
        .iter()
        .filter_map(|flag| text(arguments, flag).map(|value| format!(" --{flag} {}", quoted(value))));
    format!("treehand merge{} {}", flags.collect::<String>(), quoted(text(arguments, "name").unwrap_or_default()))
}

/// Tells which open results conflict.
pub fn conflicts(arguments: &Arguments) -> Errand {
    Errand::of(&["conflicts"]).flag("into", text(arguments, "into"))
}

/// Plans a cleanup.
pub fn clean_plan() -> Errand {
    Errand::of(&["clean"])
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_^".contains(c);
    let plain = !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain);
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What a command that ended like this answers.
pub fn outcome(errand: &Errand, code: u8, output: &[u8], errors: &str) -> Outcome {
    let Ok(document) = serde_json::from_slice::<Value>(output) else {
        let text = format!("treehand gave no answer (exit {code}): {}", errors.trim());
        return Outcome::Wrong { text, document: None };
    };
    if document["schema"] == "treehand/error/v1" {
        let part = |name: &str| document[name].as_str().filter(|text| !text.is_empty());
        let hint = part("hint").map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let text = format!("{}{hint}", part("message").unwrap_or("it failed"));
        return Outcome::Wrong { text, document: Some(document) };
    }
    if code == 0 || errand.code_is_answer {
        return Outcome::Right(document);
    }
    Outcome::Wrong { text: format!("exit {code}\n{document:#}"), document: Some(document) }
}

/// Runs and workspaces in one.
pub fn listed(runs: Outcome, workspaces: Outcome) -> Outcome {
    match (runs, workspaces) {
        (Outcome::Right(runs), Outcome::Right(workspaces)) => {
            Outcome::Right(json!({"runs": runs["runs"], "workspaces": workspaces["workspaces"]}))
        }
        (wrong @ Outcome::Wrong { .. }, _) | (_, wrong) => wrong,
    }
}

/// What a person is asked before something lands, by what a dry run says of it.
pub fn question(arguments: &Arguments, plan: &Value) -> String {
    let target = plan["target"].as_str().unwrap_or("the branch that it is meant for");
    let name = text(arguments, "name").unwrap_or_default();
    format!("Land {} on {target}? ({}; `treehand undo` takes it back)", name.escape_debug(), merge_in_words(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: Value) -> Arguments {
        value.as_object().cloned().expect("an object")
    }

    fn argv(errand: &Errand) -> String {
        errand.argv.join(" ")
    }

    #[test]
    fn a_run_is_detached_and_of_one_kind() {
        let command =
            arguments(json!({"command": ["sh", "-c", "x"], "name": "a", "into": "main", "gates": ["-g"], "jobs": 2}));
        let errand = run(&command).expect("fine");
        assert_eq!(argv(&errand), "run --json --detach --into=main --jobs=2 --gate=-g --name=a -- sh -c x");
        let errand = run(&arguments(json!({"tasks": "[[task]]"}))).expect("fine");
        assert_eq!((argv(&errand).as_str(), errand.input.as_str()), ("run --json --detach --tasks=-", "[[task]]"));
        let errand = run(&arguments(json!({"goal": "do it", "agent": "codex"}))).expect("fine");
        assert_eq!(errand.argv, ["run", "--json", "--detach", "--agent=codex", "do it"]);
        for wrong in [
            json!({}),
            json!({"goal": "x", "tasks": "y"}),
            json!({"goal": "--confine=off"}),
            json!({"tasks": "x", "agent": "codex"}),
            json!({"command": ["x"], "agent": "codex"}),
            json!({"goal": "x", "name": "y"}),
        ] {
            assert!(run(&arguments(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_value_can_be_taken_for_a_flag() {
        let flag =
            arguments(json!({"name": "--push", "run": "--any", "task": "-C", "text": "--no", "into": "--dry-run"}));
        assert_eq!(argv(&show(&flag)), "show --json -- --push");
        assert_eq!(argv(&wait(&flag)), "wait --json --timeout=50s -- --any");
        assert_eq!(argv(&merge(&flag, false)), "merge --json --into=--dry-run -- --push");
        assert_eq!(argv(&merge(&flag, true)), "merge --json --dry-run --into=--dry-run -- --push");
        let said = answer(&flag);
        assert_eq!((argv(&said).as_str(), said.input.as_str()), ("answer --json -- -C -", "--no"));
        assert_eq!(argv(&clean_plan()), "clean --json");
        assert_eq!(
            merge_in_words(&arguments(json!({"name": "a b", "into": "it's"}))),
            r"treehand merge --into 'it'\''s' 'a b'"
        );
    }

    #[test]
    fn an_error_comes_with_its_hint_and_a_code_can_be_an_answer() {
        let (shown, waited) = (show(&Arguments::new()), wait(&Arguments::new()));
        let error = br#"{"schema":"treehand/error/v1","code":3,"kind":"not_found","message":"there is no run","hint":"list them"}"#;
        let Outcome::Wrong { text, document: Some(_) } = outcome(&shown, 3, error, "") else { panic!("wrong") };
        assert_eq!(text, "there is no run\nhint: list them");
        assert!(matches!(outcome(&waited, 3, error, ""), Outcome::Wrong { .. }));
        let document = br#"{"schema":"treehand/runs/v1"}"#;
        assert!(matches!(outcome(&waited, 124, document, ""), Outcome::Right(_)));
        assert!(matches!(outcome(&shown, 5, document, ""), Outcome::Wrong { document: Some(_), .. }));
        let Outcome::Wrong { text, document: None } = outcome(&shown, 137, b"", "killed\n") else { panic!("wrong") };
        assert_eq!(text, "treehand gave no answer (exit 137): killed");
    }
}
