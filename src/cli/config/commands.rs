//! The forms of commands: gates and setup steps, each a line for `sh -c` or a table with more about it.
//!
//! Both have the same keys, but for `flaky`, which only a gate has. A key that is not known is a note and no error, so that a
//! file can be written for a newer version.

use std::str::FromStr;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::error::shown;
use super::forms::{Fault, Form, Node, Notes, found_type};
use super::lists::{shown_all, texts};
use super::nearest::nearest;
use crate::model::variable::VariableError;
use crate::model::{Directory, GateSpec, Network, SetupStep, Span};
use crate::worktree::outputs::decide;

/// What may be said of a command.
struct Kind {
    /// What it is called.
    name: &'static str,
    fields: &'static [&'static str],
}

const GATE: Kind = Kind { name: "a gate", fields: &["run", "flaky", "timeout", "net", "env", "secrets"] };
const STEP: Kind =
    Kind { name: "a setup step", fields: &["run", "timeout", "net", "env", "secrets", "inputs", "outputs"] };

/// Commands that judge a merged tree.
pub(super) struct Gates;

impl Form for Gates {
    type Value = Vec<GateSpec>;
    const EXAMPLE: &'static str = "cargo test";
    fn expected() -> String {
        "a list of commands, each a string or { run = \"…\", flaky = true, timeout = \"10m\" }".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<GateSpec>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![gate(plain_command(text)?, false)]) }
    }
    fn from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<Vec<GateSpec>, Fault> {
        let read = commands(node, &GATE, notes)?;
        Ok(read.into_iter().map(|(command, flaky)| gate(command, flaky)).collect())
    }
    fn to_toml(value: &Vec<GateSpec>) -> Option<Value> {
        let one = |gate: &GateSpec| {
            let GateSpec { run, flaky, timeout, net, env, secrets } = gate.clone();
            command_to_toml(&SetupStep { timeout, net, env, secrets, ..SetupStep::plain(run) }, flaky)
        };
        Some(Value::Array(value.iter().map(one).collect()))
    }
}

fn gate(command: SetupStep, flaky: bool) -> GateSpec {
    let SetupStep { run, timeout, net, env, secrets, .. } = command;
    GateSpec { run, flaky, timeout, net, env, secrets }
}

/// Commands that make a new workspace ready.
pub(super) struct Steps;

impl Form for Steps {
    type Value = Vec<SetupStep>;
    const EXAMPLE: &'static str = "npm ci";
    fn expected() -> String {
        "a list of commands, each a string or { run = \"…\", inputs = [\"…\"], outputs = [\"…\"], timeout = \"10m\" }"
            .to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<SetupStep>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![plain_command(text)?]) }
    }
    fn from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<Vec<SetupStep>, Fault> {
        Ok(commands(node, &STEP, notes)?.into_iter().map(|(step, _)| step).collect())
    }
    fn to_toml(value: &Vec<SetupStep>) -> Option<Value> {
        Some(Value::Array(value.iter().map(|step| command_to_toml(step, false)).collect()))
    }
}

/// The commands of a list, and of each whether it is flaky.
fn commands(node: &Node<'_>, kind: &Kind, notes: &mut Notes) -> Result<Vec<(SetupStep, bool)>, Fault> {
    let all = node.get_ref().as_array().ok_or_else(|| Fault::at(node, found_type(node)))?;
    let one = |node: &Node<'_>| match node.get_ref() {
        DeValue::String(text) => {
            plain_command(text).map(|step| (step, false)).map_err(|reason| Fault::at(node, reason))
        }
        DeValue::Table(table) => command_from_table(node, table, kind, notes),
        _ => Err(Fault::at(node, found_type(node))),
    };
    all.iter().map(one).collect()
}

fn plain_command(text: &str) -> Result<SetupStep, String> {
    // No program can be given a NUL.
    match text.trim().is_empty() || text.contains('\0') {
        true => Err(format!("`{}` is no command", shown(text))),
        false => Ok(SetupStep::plain(text)),
    }
}

fn command_from_table(
    node: &Node<'_>,
    table: &DeTable<'_>,
    kind: &Kind,
    notes: &mut Notes,
) -> Result<(SetupStep, bool), Fault> {
    let run = table.get("run").ok_or_else(|| Fault::at(node, "this one has no `run`".to_owned()))?;
    let text = run.get_ref().as_str().ok_or_else(|| Fault::at(run, format!("`run`: {}", found_type(run))))?;
    let mut command = plain_command(text).map_err(|reason| Fault::at(run, reason))?;
    let mut is_flaky = false;
    if let Some(flaky) = table.get("flaky").filter(|_| kind.fields.contains(&"flaky")) {
        let wrong = || Fault::at(flaky, format!("`flaky`: {}", found_type(flaky)));
        is_flaky = flaky.get_ref().as_bool().ok_or_else(wrong)?;
    }
    if let Some(timeout) = table.get("timeout") {
        command.timeout = Some(Span::from_toml(timeout, notes).map_err(named("timeout"))?);
    }
    if let Some(net) = table.get("net") {
        command.net = Some(Network::from_toml(net, notes).map_err(named("net"))?);
    }
    command.env = variables(table, "env")?;
    command.secrets = variables(table, "secrets")?;
    if kind.fields.contains(&"inputs") {
        (command.inputs, command.outputs) = inputs_and_outputs(node, table)?;
    }
    for (field, _) in table {
        notes.extend(field_warning(field.get_ref(), kind).map(|warning| (field.span(), warning)));
    }
    Ok((command, is_flaky))
}

/// The patterns and paths by which what a step makes is known again: both, or neither.
fn inputs_and_outputs(node: &Node<'_>, table: &DeTable<'_>) -> Result<(Vec<String>, Vec<Directory>), Fault> {
    let pattern = |text: &str| {
        let one = [text.to_owned()];
        let is_one = !text.is_empty() && !text.starts_with('/') && decide::matcher(&one).is_some();
        is_one.then(|| text.to_owned()).ok_or_else(|| format!("`{}` is no pattern of paths", shown(text)))
    };
    let path = |text: &str| Directory::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string());
    let inputs = table.get("inputs").map_or(Ok(Vec::new()), |node| texts(node, pattern).map_err(named("inputs")))?;
    let outputs = table.get("outputs").map_or(Ok(Vec::new()), |node| texts(node, path).map_err(named("outputs")))?;
    if inputs.is_empty() != outputs.is_empty() {
        return Err(Fault::at(
            node,
            "`inputs` and `outputs` go together: what is made, and from what it follows".to_owned(),
        ));
    }
    Ok((inputs, outputs.iter().filter_map(|path| Directory::parse(path).ok()).collect()))
}

/// A fault with the key that it is about.
fn named(key: &str) -> impl Fn(Fault) -> Fault {
    move |fault| Fault { reason: format!("`{key}`: {}", fault.reason), ..fault }
}

/// The variables under a key of a table.
fn variables<T: FromStr<Err = VariableError>>(table: &DeTable<'_>, key: &str) -> Result<Vec<T>, Fault> {
    let Some(node) = table.get(key) else { return Ok(Vec::new()) };
    let read = |text: &str| text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string());
    let texts = texts(node, read).map_err(named(key))?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

fn field_warning(field: &str, kind: &Kind) -> Option<String> {
    if kind.fields.contains(&field) {
        return None;
    }
    let near = nearest(field, kind.fields.iter().copied());
    let hint = near.map(|near| format!(", did you mean `{near}`")).unwrap_or_default();
    Some(format!("{} has no key `{}`{hint}", kind.name, shown(field)))
}

fn command_to_toml(command: &SetupStep, flaky: bool) -> Value {
    let run = Value::String(command.run.clone());
    if !flaky && *command == SetupStep::plain(&command.run) {
        return run;
    }
    let mut table = toml::Table::new();
    table.insert("run".to_owned(), run);
    if flaky {
        table.insert("flaky".to_owned(), Value::Boolean(true));
    }
    if let Some(timeout) = command.timeout {
        table.insert("timeout".to_owned(), Value::String(timeout.to_string()));
    }
    if let Some(net) = command.net.as_ref().and_then(Network::to_toml) {
        table.insert("net".to_owned(), net);
    }
    let lists = [
        ("env", shown_all(&command.env)),
        ("secrets", shown_all(&command.secrets)),
        ("inputs", shown_all(&command.inputs)),
        ("outputs", shown_all(&command.outputs)),
    ];
    for (key, texts) in lists {
        if !texts.is_empty() {
            table.insert(key.to_owned(), Value::Array(texts));
        }
    }
    Value::Table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<F: Form>(toml: &str) -> (Result<String, String>, Vec<String>) {
        let mut notes = Notes::new();
        let node = DeValue::parse(toml).expect("the test's text is TOML");
        let read = F::from_toml(&node, &mut notes);
        let shown = read.map(|list| F::to_toml(&list).expect("a list is a value").to_string());
        (shown.map_err(|fault| fault.reason), notes.into_iter().map(|(_, note)| note).collect())
    }

    fn check<F: Form>(toml: &str, expected: Result<&str, &str>) {
        let (shown, _) = read::<F>(toml);
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{toml}");
    }

    fn check_both(toml: &str, expected: Result<&str, &str>) {
        check::<Gates>(toml, expected);
        check::<Steps>(toml, expected);
    }

    #[test]
    fn commands_are_strings_or_tables_and_show_as_they_are_read() {
        check_both("[]", Ok("[]"));
        check_both(r#"["cargo test", "x"]"#, Ok(r#"["cargo test", "x"]"#));
        check_both(r#"[{ run = "x" }]"#, Ok(r#"["x"]"#));
        check_both(r#"[{ run = "x", timeout = "600s" }]"#, Ok(r#"[{ run = "x", timeout = "10m" }]"#));
        check_both(
            r#"["a", { run = "b", net = ["a.b:443"], env = ["A=b"], secrets = ["C"] }]"#,
            Ok(r#"["a", { env = ["A=b"], net = ["a.b:443"], run = "b", secrets = ["C"] }]"#),
        );
        check::<Gates>(r#"[{ run = "x", flaky = true }]"#, Ok(r#"[{ flaky = true, run = "x" }]"#));
        check_both(r#""x""#, Err("found a string"));
        check_both("[1]", Err("found an integer"));
        check_both(r#"[" "]"#, Err("` ` is no command"));
        check_both("[{ timeout = \"1m\" }]", Err("this one has no `run`"));
        check_both("[{ run = 1 }]", Err("`run`: found an integer"));
        check::<Gates>(r#"[{ run = "x", flaky = "yes" }]"#, Err("`flaky`: found a string"));
        check_both(r#"[{ run = "x", timeout = "soon" }]"#, Err("`timeout`: found `soon`"));
        check_both(r#"[{ run = "x", env = "A" }]"#, Err("`env`: found a string"));
        check::<Steps>(
            r#"[{ run = "x", outputs = ["./a/"], inputs = ["b/*.lock"] }]"#,
            Ok(r#"[{ inputs = ["b/*.lock"], outputs = ["a"], run = "x" }]"#),
        );
        for (lists, why) in [
            (r#"outputs = ["a"]"#, "`inputs` and `outputs` go together: what is made, and from what it follows"),
            (r#"inputs = ["a"]"#, "`inputs` and `outputs` go together: what is made, and from what it follows"),
            (r#"inputs = ["a["], outputs = ["a"]"#, "`inputs`: `a[` is no pattern of paths"),
            (r#"inputs = ["/a"], outputs = ["a"]"#, "`inputs`: `/a` is no pattern of paths"),
            (
                r#"inputs = ["a"], outputs = ["../a"]"#,
                "`outputs`: `../a` cannot be a directory of the repository: it has `..` in it",
            ),
        ] {
            check::<Steps>(&format!("[{{ run = \"x\", {lists} }}]"), Err(why));
        }
    }

    #[test]
    fn fields_that_a_command_does_not_have_are_said_and_no_error() {
        let notes = |toml| [read::<Gates>(toml).1, read::<Steps>(toml).1];
        assert_eq!(notes(r#"[{ run = "x", net = "none" }]"#), [Vec::<String>::new(), Vec::new()]);
        let [gate, step] = notes(r#"[{ run = "x", flaky = true }]"#);
        assert_eq!((gate.len(), &step[..]), (0, &["a setup step has no key `flaky`".to_owned()][..]));
        let [gate, step] = notes(r#"[{ run = "x", timeot = "1m", input = ["package-lock.json"] }]"#);
        let said = |what: &str, hint: &str| {
            [format!("{what} has no key `input`{hint}"), format!("{what} has no key `timeot`, did you mean `timeout`")]
        };
        let sorted = |mut notes: Vec<String>| {
            notes.sort();
            notes
        };
        assert_eq!(
            (sorted(gate), sorted(step)),
            (said("a gate", "").to_vec(), said("a setup step", ", did you mean `inputs`").to_vec())
        );
        assert_eq!(read::<Gates>(r#"[{ run = "x", inputs = ["a"] }]"#).0.as_deref(), Ok(r#"["x"]"#));
    }
}
