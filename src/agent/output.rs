//! Decision file: how the output of an agent is to be read: which lines say what, by JSON pointers (RFC 6901) into each.
//!
//! Data of a profile, so that a new agent needs no code. What a rule does not find it does not say; no line is an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::agent::Usage;

/// How the standard output of an agent is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What its lines are.
    #[serde(default)]
    pub format: Format,
    /// Lines that are not kept: they repeat what others say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<Condition>,
    /// What of the usage that a resumed conversation tells of counts from its beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carries: Vec<Carried>,
    /// What its lines say; each rule is held against each line.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A part of the usage that goes on counting in a conversation that is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carried {
    /// Tokens.
    Tokens,
    /// Money.
    Cost,
}

impl Output {
    /// What of an attempt's usage the next one tells of once more, when it goes on with the conversation.
    pub fn carried(&self, before: Usage) -> Usage {
        let tokens = if self.carries.contains(&Carried::Tokens) { before } else { Usage::default() };
        let cost_micros = before.cost_micros.filter(|_| self.carries.contains(&Carried::Cost));
        Usage { cost_micros, ..tokens }
    }
}

/// What the lines of an output are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Words for a person.
    #[default]
    Text,
    /// A JSON value each.
    Jsonl,
}

/// What has to hold: for each pointer, what it leads to.
pub type Condition = BTreeMap<String, Expected>;

/// What a pointer is expected to lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// This.
    Is(Scalar),
    /// One of these.
    OneOf(Vec<Scalar>),
    /// What passes these tests.
    Test(Test),
}

/// A value that is no container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
}

/// Tests of what a pointer leads to; all that are given have to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Test {
    /// It is there (and not null), or is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// It is not this; what is not there is not this, either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Scalar>,
    /// It is a text with this in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// It is no text with this in it; what is not there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// It is a list or an object with something in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled: Option<bool>,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The name of the conversation: `get`.
    Session,
    /// A request to a model was answered.
    Turn,
    /// A tool was used: `name`, and whether it `failed`.
    Tool,
    /// A tool that a line before it told of failed.
    ToolFailed,
    /// The agent said something: `get`. It goes on, so that no earlier error stands.
    Text,
    /// What was used: `input`, `output`, `cached`, `cost`.
    Usage,
    /// An error that stands until the agent goes on: `get`, `status`.
    Error,
    /// It tries again after an error: `get`, `status`. That stands, too, until the agent goes on.
    Retry,
    /// Something was not permitted: `get`.
    Denied,
    /// The agent is done: with `failed`, `get` is the error that stands for good.
    End,
}

/// A rule: which lines say something, and where in them it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What they say.
    pub event: Event,
    /// The lines that say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: Condition,
    /// A list in the line, of which each item is looked at; all other pointers than those of `when` are into the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// What has to hold for an item of `each`.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub item: Condition,
    /// Where the text is: the first of these that leads to one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub get: Vec<String>,
    /// Where the name of the tool is, or what names it: the first of these that leads to a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name: Vec<String>,
    /// What a tool was used for: the first of these that leads to a text. Only a person reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// The text goes on with the one of the line before it, if that was one of this rule, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub part: bool,
    /// Where a name is of what the line is about: one with the name of an earlier line says the same again, and does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// When the tool, or the agent, failed: one of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Condition>,
    /// Where the HTTP status of an error is: a number, or a text that names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Where numbers of tokens that were sent are; they are added up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<String>,
    /// Where the numbers of those out of a cache are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cached: Vec<String>,
    /// Where the numbers of tokens that came are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Where the cost in dollars is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Whether each such line is on top of those before it, or says it all.
    #[serde(default)]
    pub mode: Mode,
}

/// What numbers of usage mean beside those before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They come on top.
    #[default]
    Add,
    /// They are all that there is.
    Total,
}

impl Rule {
    /// Every pointer in it.
    pub fn pointers(&self) -> Vec<&str> {
        let lists =
            [&self.get, &self.name, &self.detail, &self.input, &self.cached, &self.output].into_iter().flatten();
        let conditions = [&self.when, &self.item].into_iter().chain(&self.failed).flat_map(BTreeMap::keys);
        let single = self.each.iter().chain(&self.once).chain(&self.status).chain(&self.cost);
        lists.chain(conditions).chain(single).map(String::as_str).collect()
    }
}
