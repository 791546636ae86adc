//! The forms of lists: variables, paths, glob patterns and lines of `.gitignore`.
//!
//! As a bare text a list is one entry, or none when the text is empty: the environment and `--set` replace the whole.

use std::path::{Path, PathBuf};

use toml::Value;

use super::error::shown;
use super::forms::{Fault, Form, Node, Notes, found_type};
use crate::confine::policy::is_plain;
use crate::model::agent::AgentChoice;
use crate::model::variable::VariableError;
use crate::model::{ProfileSlots, Variable, VariableName};

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

pub(super) fn shown_all(items: &[impl ToString]) -> Vec<Value> {
    items.iter().map(|item| Value::String(item.to_string())).collect()
}

fn variable(text: &str) -> Result<Variable, String> {
    text.parse().map_err(|error: VariableError| error.to_string())
}

/// How many tasks of which profiles run at once.
pub(super) struct Profiles;

impl Form for Profiles {
    type Value = Vec<ProfileSlots>;
    const EXAMPLE: &'static str = "codex=4";
    fn expected() -> String {
        "a list of profiles with a number, each PROFILE=NUMBER".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<ProfileSlots>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![text.parse()?]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<ProfileSlots>, Fault> {
        let written = texts(node, |text| text.parse::<ProfileSlots>().map(|_| text.to_owned()))?;
        Ok(written.iter().filter_map(|text| text.parse().ok()).collect())
    }
    fn to_toml(value: &Vec<ProfileSlots>) -> Option<Value> {
        Some(Value::Array(shown_all(value)))
    }
}

/// Agents, in the order in which they are tried.
pub(super) struct AgentNames;

impl Form for AgentNames {
    type Value = Vec<String>;
    const EXAMPLE: &'static str = "claude";
    fn expected() -> String {
        "a list of agents, each NAME or NAME:MODEL".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<String>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { text.split(',').map(|one| agent(one.trim())).collect() }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<String>, Fault> {
        texts(node, agent)
    }
    fn to_toml(value: &Vec<String>) -> Option<Value> {
        Some(Value::Array(shown_all(value)))
    }
}

fn agent(text: &str) -> Result<String, String> {
    text.parse::<AgentChoice>().map(|choice| choice.to_string())
}

/// The names of secrets.
pub(super) struct Secrets;

impl Form for Secrets {
    type Value = Vec<VariableName>;
    const EXAMPLE: &'static str = "API_KEY";
    fn expected() -> String {
        "a list of names of variables".to_owned()
    }
    fn from_text(text: &str) -> Result<Vec<VariableName>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { Ok(vec![secret(text)?]) }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Vec<VariableName>, Fault> {
        let written = texts(node, |text| secret(text).map(|_| text.to_owned()))?;
        Ok(written.iter().filter_map(|text| text.parse().ok()).collect())
    }
    fn to_toml(value: &Vec<VariableName>) -> Option<Value> {
        Some(Value::Array(shown_all(value)))
    }
}

fn secret(text: &str) -> Result<VariableName, String> {
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
        // As `config show` writes it; a pattern may begin like that, too.
        let list = format!("list = {text}").parse::<toml::Table>().ok();
        let list = list.and_then(|table| table.get("list").and_then(Value::as_array).cloned());
        match list {
            _ if text.is_empty() => Ok(Vec::new()),
            Some(list) => list.iter().map(|item| pattern(item.as_str().ok_or("a pattern is a text")?)).collect(),
            None => Ok(vec![pattern(text)?]),
        }
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
pub(super) fn texts(node: &Node<'_>, one: fn(&str) -> Result<String, String>) -> Result<Vec<String>, Fault> {
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

    #[test]
    fn patterns_are_globs() {
        assert_eq!(Patterns::from_text("release/*"), Ok(vec!["release/*".to_owned()]));
        assert_eq!(Patterns::from_text(""), Ok(vec![]));
        assert!(Patterns::from_text("release/[").is_err());
        assert_eq!(IgnoreLines::from_text("!a/[b"), Ok(vec!["!a/[b".to_owned()]), "git decides what a pattern is");
        assert!(IgnoreLines::from_text("a\nb").is_err() && IgnoreLines::from_text(" ").is_err());
    }
}
