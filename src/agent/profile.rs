//! Decision file: profiles: what treehand knows of an agent, as data.
//!
//! A document in TOML, embedded or the user's own; one that `extends` another says only what is different. What it names
//! that does not exist is an error when it is read, not when an agent starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command;
use super::output::{Output, Rule};
use crate::model::{ByteSize, Network, Span, VariableName};

/// The profile of a plain command, whose exit code is the answer.
pub const COMMAND: &str = "command";

/// The version of the format.
const SCHEMA: u32 = 1;

/// What treehand knows of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of the format.
    pub schema: u32,
    /// What it is, in a few words.
    pub summary: String,
    /// Its program: a name that is looked for on `PATH`, or an absolute path.
    pub program: String,
    /// The arguments with which it says its version.
    #[serde(default)]
    pub version: Vec<String>,
    /// How one gets it, for a person.
    #[serde(default)]
    pub install: String,
    /// Its arguments.
    pub args: Vec<Arg>,
    /// How it is told what to do.
    #[serde(default)]
    pub prompt: Prompt,
    /// Its variables.
    #[serde(default)]
    pub env: Env,
    /// Files that are written before it starts.
    #[serde(default)]
    pub files: Vec<File>,
    /// Files of the user's that it gets copies of.
    #[serde(default)]
    pub bring: Vec<Bring>,
    /// Directories of the user's that it reads: where its program is, beside the program itself.
    #[serde(default)]
    pub reads: Vec<String>,
    /// Files that it leaves in the tree and that are no result: patterns, as in `.gitignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<String>,
    /// What of the network it needs.
    #[serde(default)]
    pub network: Network,
    /// How what it says is read.
    #[serde(default)]
    pub output: Output,
    /// What errors mean, by words in them.
    #[serde(default)]
    pub classify: Classify,
    /// What it may take.
    #[serde(default)]
    pub limits: AgentLimits,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopSequence,
    /// What counts as success.
    #[serde(default)]
    pub success: Success,
}

/// An argument, or several that stand and fall together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// One.
    One(String),
    /// Several, of which none is given when a placeholder in one of them has no value.
    Group(Vec<String>),
    /// Several that are given in some cases only.
    Case {
        /// Which.
        when: Case,
        /// The arguments.
        args: Vec<String>,
    },
}

/// A case in which something is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// treehand's own sandbox is around the agent: it may be told to do without its own guards.
    Confined,
    /// It is not.
    Unconfined,
    /// It goes on with a conversation.
    Resumed,
    /// It begins one.
    Begun,
    /// The address of a model's server was given.
    Address,
    /// None was given.
    NoAddress,
}

/// How an agent is told what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prompt {
    /// Where it is.
    pub delivery: Delivery,
    /// Most bytes of it in an argument; a longer one is in a file, and the argument says so.
    pub arg_max: usize,
}

impl Default for Prompt {
    fn default() -> Prompt {
        Prompt { delivery: Delivery::Arg, arg_max: 100_000 }
    }
}

/// Where a prompt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// In the argument with the placeholder `{prompt}`.
    Arg,
    /// On the standard input, which ends with it.
    Stdin,
    /// In the file `{prompt_file}`.
    File,
}

/// The variables of an agent, beyond those that every child has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Env {
    /// With these values, in which placeholders stand; one whose placeholder has no value is not set.
    pub set: BTreeMap<VariableName, String>,
    /// As they are set here, if they are.
    pub pass: Vec<VariableName>,
    /// The same, kept out of logs.
    pub secrets: Vec<VariableName>,
}

/// A file that is written before an agent starts, readable by nobody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where, below `{home}`.
    pub path: String,
    /// What is in it, in which placeholders stand.
    pub content: String,
    /// In which case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Case>,
}

/// A file of the user's that an agent gets a copy of: credentials, settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bring {
    /// Where it is: below `~/`, or below a directory that a variable names: `$CODEX_HOME/auth.json`. The first that is there.
    pub from: Vec<String>,
    /// Where the agent finds it, below `{home}`.
    pub to: String,
    /// The agent may change it (it refreshes a token), and what it changed is taken back.
    #[serde(default)]
    pub refresh: bool,
    /// With it the agent can log in.
    #[serde(default)]
    pub login: bool,
    /// In which case: what lets it in at one server is none of another's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Case>,
}

/// Words in errors, in lower case, that say what they mean; a number is a status as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Classify {
    /// A service wants fewer requests.
    pub rate_limit: Vec<String>,
    /// A service does not accept who asks.
    pub auth: Vec<String>,
    /// Something outside was not there for the moment.
    pub transient: Vec<String>,
    /// Asked once more it would be no other: a wrong request, an unknown model.
    pub permanent: Vec<String>,
}

/// What an agent may take, unless the task or the user says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentLimits {
    /// How long it may say nothing at all after it began.
    pub start: Option<Span>,
    /// How long it may say and do nothing.
    pub idle: Option<Span>,
    /// How long it may run.
    pub wall: Option<Span>,
    /// Requests to a model.
    pub turns: Option<u64>,
    /// Requests one after the other without the use of a tool.
    pub turns_without_tool: Option<u64>,
    /// Memory of all its processes.
    pub memory: Option<ByteSize>,
}

/// How an agent is stopped: it is asked to end (SIGTERM), and after a time everything that it started is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopSequence {
    /// The time.
    pub grace: Span,
}

impl Default for StopSequence {
    fn default() -> StopSequence {
        StopSequence { grace: Span(std::time::Duration::from_secs(5)) }
    }
}

/// What counts as success. An exit code alone never does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Success {
    /// The exit codes that can be one.
    pub exit: Vec<i32>,
    /// It has to have said that it is done.
    pub end: bool,
    /// What has to be there at the end.
    pub require: Evidence,
}

impl Default for Success {
    fn default() -> Success {
        Success { exit: vec![0], end: false, require: Evidence::Change }
    }
}

/// What shows that an agent did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// It handed in a result.
    Submission,
    /// It changed something, or handed in a result that says that there was nothing to do.
    Change,
    /// Nothing is asked for.
    None,
}

/// Why a document is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It does not keep to the format.
    #[error("{0}")]
    Format(String),
    /// It extends what is not there, or itself.
    #[error("it extends `{0}`, which is no other profile")]
    Extends(String),
}

impl Profile {
    /// True when it can go on with a conversation: one of its arguments names it.
    pub fn can_resume(&self) -> bool {
        self.args_name("{session")
    }

    /// True when it has the tools of treehand: it is told where they are.
    pub fn has_tools(&self) -> bool {
        let names = |text: &String| text.contains("{endpoint");
        self.args_name("{endpoint")
            || self.files.iter().any(|file| names(&file.content))
            || self.env.set.values().any(names)
    }

    fn args_name(&self, placeholder: &str) -> bool {
        let names = |text: &String| text.contains(placeholder);
        self.args.iter().any(|arg| match arg {
            Arg::One(text) => names(text),
            Arg::Group(texts) | Arg::Case { args: texts, .. } => texts.iter().any(names),
        })
    }

    /// An error where something in it does not fit: its version, a placeholder, a pattern that cannot be.
    pub fn check(&self) -> Result<(), ProfileError> {
        let wrong = |message: String| Err(ProfileError::Format(message));
        if self.schema != SCHEMA {
            return wrong(format!("its schema is {}, and {SCHEMA} is understood", self.schema));
        }
        if self.program.is_empty() || self.program.contains('\0') {
            return wrong("`program` is empty".into());
        }
        if self.program.contains('/') && !self.program.starts_with('/') {
            return wrong("`program` is neither a name nor an absolute path".into());
        }
        let args = self.args.iter().flat_map(|arg| match arg {
            Arg::One(text) => std::slice::from_ref(text),
            Arg::Group(texts) | Arg::Case { args: texts, .. } => texts,
        });
        let files = self.files.iter().flat_map(|file| [&file.path, &file.content]);
        let brought = self.bring.iter().map(|bring| &bring.to);
        args.chain(self.env.set.values()).chain(files).chain(brought).try_for_each(|text| command::check(text))?;
        let pointers = self.output.rules.iter().flat_map(Rule::pointers);
        match pointers.into_iter().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            Some(pointer) => wrong(format!("`{pointer}` is no JSON pointer: it starts with `/`")),
            None => Ok(()),
        }
    }
}
