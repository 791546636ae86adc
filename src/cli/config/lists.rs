//! The forms of lists: gates, glob patterns and lines of `.gitignore`.
//!
//! As a bare text a list is one entry, or none when the text is empty: the environment and `--set` replace the whole.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::error::shown;
use super::forms::{Fault, Form, Node, Notes, found_type};
use super::nearest::nearest;
use crate::confine::policy::is_plain;
use crate::model::variable::VariableError;
use crate::model::{GateSpec, Network, Span, Variable};

const GATE_FIELDS: [&str; 6] = ["run", "flaky", "timeout", "net", "env", "secrets"];

/// Commands that judge a merged tree.
pub(super) struct Gates;

impl Form for Gates {
    type Value = Vec<GateSpec>;
    const EXAMPLE: &'static str = "cargo test";
    fn expected() -> String {
        "a list of commands, each a string or { run = \"…\", flaky = true, timeout = \"10m\" }".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<GateSpec>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![plain_gate(text)?]) }
    }
    fn from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<Vec<GateSpec>, Fault> {
        let gates = node.get_ref().as_array().ok_or_else(|| Fault::at(node, found_type(node)))?;
        gates.iter().map(|gate| gate_from_toml(gate, notes)).collect()
    }
    fn to_toml(value: &Vec<GateSpec>) -> Option<Value> {
        Some(Value::Array(value.iter().map(gate_to_toml).collect()))
    }
}

fn plain_gate(text: &str) -> Result<GateSpec, String> {
    // No program can be given a NUL.
    match text.trim().is_empty() || text.contains('\0') {
        true => Err(format!("`{}` is no command", shown(text))),
        false => Ok(GateSpec::plain(text)),
    }
}

fn gate_from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<GateSpec, Fault> {
    match node.get_ref() {
        DeValue::String(text) => plain_gate(text).map_err(|reason| Fault::at(node, reason)),
        DeValue::Table(table) => gate_from_table(node, table, notes),
        _ => Err(Fault::at(node, found_type(node))),
    }
}

fn gate_from_table(node: &Node<'_>, table: &DeTable<'_>, notes: &mut Notes) -> Result<GateSpec, Fault> {
    let run = table.get("run").ok_or_else(|| Fault::at(node, "this one has no `run`".to_owned()))?;
    let command = run.get_ref().as_str().ok_or_else(|| Fault::at(run, format!("`run`: {}", found_type(run))))?;
    let mut gate = plain_gate(command).map_err(|reason| Fault::at(run, reason))?;
    if let Some(flaky) = table.get("flaky") {
        let wrong = || Fault::at(flaky, format!("`flaky`: {}", found_type(flaky)));
        gate.flaky = flaky.get_ref().as_bool().ok_or_else(wrong)?;
    }
    if let Some(timeout) = table.get("timeout") {
        let named = |fault: Fault| Fault { reason: format!("`timeout`: {}", fault.reason), ..fault };
        gate.timeout = Some(Span::from_toml(timeout, notes).map_err(named)?);
    }
    if let Some(net) = table.get("net") {
        let named = |fault: Fault| Fault { reason: format!("`net`: {}", fault.reason), ..fault };
        gate.net = Some(Network::from_toml(net, notes).map_err(named)?);
    }
    gate.env = variables(table, "env")?;
    gate.secrets = variables(table, "secrets")?;
    for (field, _) in table {
        notes.extend(field_warning(field.get_ref()).map(|warning| (field.span(), warning)));
    }
    Ok(gate)
}

/// The variables under a key of a table.
fn variables<T: FromStr<Err = VariableError>>(table: &DeTable<'_>, key: &str) -> Result<Vec<T>, Fault> {
    let Some(node) = table.get(key) else { return Ok(Vec::new()) };
    let named = |fault: Fault| Fault { reason: format!("`{key}`: {}", fault.reason), ..fault };
    let read = |text: &str| text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string());
    let texts = texts(node, read).map_err(named)?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

fn field_warning(field: &str) -> Option<String> {
    if GATE_FIELDS.contains(&field) {
        return None;
    }
    let hint = nearest(field, GATE_FIELDS).map(|near| format!(", did you mean `{near}`")).unwrap_or_default();
    Some(format!("a gate has no key `{}`{hint}", shown(field)))
}

fn gate_to_toml(gate: &GateSpec) -> Value {
    let run = Value::String(gate.run.clone());
    if *gate == GateSpec::plain(&gate.run) {
        return run;
    }
    let mut table = toml::Table::new();
    table.insert("run".to_owned(), run);
    if gate.flaky {
        table.insert("flaky".to_owned(), Value::Boolean(true));
    }
    if let Some(timeout) = gate.timeout {
        table.insert("timeout".to_owned(), Value::String(timeout.to_string()));
    }
    if let Some(net) = gate.net.as_ref().and_then(Network::to_toml) {
        table.insert("net".to_owned(), net);
    }
    for (key, texts) in [("env", shown_all(&gate.env)), ("secrets", shown_all(&gate.secrets))] {
        if !texts.is_empty() {
            table.insert(key.to_owned(), Value::Array(texts));
        }
    }
    Value::Table(table)
}

fn shown_all(items: &[impl ToString]) -> Vec<Value> {
    items.iter().map(|item| Value::String(item.to_string())).collect()
}

/// Variables that commands are given.
pub(super) struct Variables;

impl Form for Variables {
    type Value = Vec<Variable>;
    const EXAMPLE: &'static str = "CI=true";
    fn expected() -> String {
        "a list of variables, each NAME or NAME=VALUE".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<Variable>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![variable(text)?]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<Variable>, Fault> {
        let written = texts(node, |text| variable(text).map(|_| text.to_owned()))?;
        Ok(written.iter().filter_map(|text| text.parse().ok()).collect())
    }
    fn to_toml(value: &Vec<Variable>) -> Option<Value> {
        Some(Value::Array(shown_all(value)))
    }
}

fn variable(text: &str) -> Result<Variable, String> {
    text.parse().map_err(|error: VariableError| error.to_string())
}

/// Glob patterns of branches.
pub(super) struct Patterns;

impl Form for Patterns {
    type Value = Vec<String>;
    const EXAMPLE: &'static str = "release/*";
    fn expected() -> String {
        "a list of glob patterns".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<String>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![pattern(text)?]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<String>, Fault> {
        texts(node, pattern)
    }
    fn to_toml(value: &Vec<String>) -> Option<Value> {
        Some(Value::Array(value.iter().cloned().map(Value::String).collect()))
    }
}

/// Files and directories.
pub(super) struct Paths;

impl Form for Paths {
    type Value = Vec<PathBuf>;
    const EXAMPLE: &'static str = "/opt/toolchain";
    fn expected() -> String {
        "a list of absolute paths".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<PathBuf>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![absolute(text)?.into()]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<PathBuf>, Fault> {
        Ok(texts(node, absolute)?.into_iter().map(PathBuf::from).collect())
    }
    fn to_toml(value: &Vec<PathBuf>) -> Option<Value> {
        Some(Value::Array(value.iter().map(|path| Value::String(path.to_string_lossy().into_owned())).collect()))
    }
}

fn absolute(text: &str) -> Result<String, String> {
    match is_plain(Path::new(text)) {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is no absolute path below `/`", shown(text))),
    }
}

/// Patterns of files, each a line of `.gitignore`.
pub(super) struct IgnoreLines;

impl Form for IgnoreLines {
    type Value = Vec<String>;
    const EXAMPLE: &'static str = "node_modules/";
    fn expected() -> String {
        "a list of patterns as in .gitignore".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<String>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![ignore_line(text)?]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<String>, Fault> {
        texts(node, ignore_line)
    }
    fn to_toml(value: &Vec<String>) -> Option<Value> {
        Some(Value::Array(value.iter().cloned().map(Value::String).collect()))
    }
}

fn ignore_line(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.contains(char::is_control) {
        true => Err(format!("`{}` is none", shown(text))),
        false => Ok(text.to_owned()),
    }
}

/// A list of strings, each as `one` reads it.
fn texts(node: &Node<'_>, one: fn(&str) -> Result<String, String>) -> Result<Vec<String>, Fault> {
    let all = node.get_ref().as_array().ok_or_else(|| Fault::at(node, found_type(node)))?;
    let read = |node: &Node<'_>| {
        let text = node.get_ref().as_str().ok_or_else(|| Fault::at(node, found_type(node)))?;
        one(text).map_err(|reason| Fault::at(node, reason))
    };
    all.iter().map(read).collect()
}

fn pattern(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("one of them is empty".to_owned());
    }
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{}` is none, {}", shown(text), error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<&str, &str>) {
        let mut notes = Notes::new();
        let node = DeValue::parse(toml).expect("the test's text is TOML");
        let read = Gates::from_toml(&node, &mut notes);
        let shown = read.as_ref().map(|gates| Gates::to_toml(gates).expect("a list is a value").to_string());
        assert_eq!(shown.as_deref().map_err(|fault| fault.reason.as_str()), expected, "{toml}");
    }

    #[test]
    fn gates_are_strings_or_tables_and_show_as_they_are_read() {
        check("[]", Ok("[]"));
        check(r#"["cargo test", "x"]"#, Ok(r#"["cargo test", "x"]"#));
        check(r#"[{ run = "x" }]"#, Ok(r#"["x"]"#));
        check(
            r#"[{ run = "x", flaky = true, timeout = "600s" }]"#,
            Ok(r#"[{ flaky = true, run = "x", timeout = "10m" }]"#),
        );
        check(r#""x""#, Err("found a string"));
        check("[1]", Err("found an integer"));
        check(r#"[" "]"#, Err("` ` is no command"));
        check("[{ flaky = true }]", Err("this one has no `run`"));
        check(r#"[{ run = "x", flaky = "yes" }]"#, Err("`flaky`: found a string"));
        check(r#"[{ run = "x", timeout = "soon" }]"#, Err("`timeout`: found `soon`"));
    }

    #[test]
    fn fields_that_a_gate_does_not_have_are_said() {
        assert_eq!(field_warning("flaky"), None);
        assert_eq!(field_warning("flakey").as_deref(), Some("a gate has no key `flakey`, did you mean `flaky`"));
        assert_eq!(field_warning("net"), None);
    }

    #[test]
    fn patterns_are_globs() {
        assert_eq!(Patterns::from_text("release/*"), Ok(vec!["release/*".to_owned()]));
        assert_eq!(Patterns::from_text(""), Ok(vec![]));
        assert!(Patterns::from_text("release/[").is_err());
        assert_eq!(IgnoreLines::from_text("!a/[b"), Ok(vec!["!a/[b".to_owned()]), "git decides what a pattern is");
        assert!(IgnoreLines::from_text("a\nb").is_err() && IgnoreLines::from_text(" ").is_err());
    }
}
