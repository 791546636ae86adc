//! What a child is started with and may reach: the one document that treehand hands to a shim.
//!
//! Decision file: plain data, read back strictly. A policy that contradicts itself is refused whole.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::leaf::Leaf;
use crate::agent::output::Output;
use crate::model::agent::Budget;
use crate::model::health::HealthSpans;
use crate::model::record::ConfineLevel;
use crate::model::{Network, Token};

pub use super::limits::{DiskLimit, LimitKind, Limits};

/// The version of this document; a shim of another one refuses it.
const VERSION: u32 = 1;

/// Most bytes of a policy.
pub const POLICY_MAX: u64 = 16 << 20;

/// Everything that a shim has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    version: u32,
    /// How far the child is confined.
    pub level: ConfineLevel,
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The values in it that are kept out of the log.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// The mark of everything it starts.
    pub token: Token,
    /// Whose streams it has.
    pub streams: Streams,
    /// What of the file system exists for it (level `strict`), or may be touched by it (level `landlock`).
    pub view: View,
    /// Nobody else on the machine can go where it writes.
    pub private: bool,
    /// What of the network it may reach.
    pub network: Network,
    /// Its limits.
    pub limits: Limits,
    /// Where its output and its end are kept; `None` for a child with our own streams.
    pub log: Option<LogPlan>,
    /// How long it may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long it may say and do nothing, in milliseconds.
    #[serde(default)]
    pub idle_ms: Option<u64>,
    /// How long it may say nothing at all after it began, in milliseconds.
    #[serde(default)]
    pub start_up_ms: Option<u64>,
    /// When its silence counts; `None` for one that nobody is told of how it is.
    #[serde(default)]
    pub health: Option<HealthSpans>,
    /// How it outlives who supervises it; `None` when it ends with them.
    #[serde(default)]
    pub adoption: Option<Adoption>,
    /// The cgroup that it is in, where its run has a scope.
    #[serde(default)]
    pub leaf: Option<Leaf>,
    /// A file whose content is its standard input, for [`Streams::Own`]; nothing, at once at its end, without one.
    #[serde(default)]
    pub input: Option<PathBuf>,
    /// What makes it an agent.
    #[serde(default)]
    pub agent: Option<AgentWatch>,
    /// How long it has to end after it was asked to, at most, in milliseconds.
    #[serde(default)]
    pub grace_ms: Option<u64>,
}

/// How an agent is watched, beyond what is kept of any child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentWatch {
    /// How what it says is read.
    pub output: Output,
    /// What it may use up.
    pub budget: Budget,
    /// Where its tools reach treehand: a socket that the shim makes, for this attempt alone.
    pub endpoint: PathBuf,
}

/// How a child outlives who supervises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// Where a successor finds its shim.
    pub socket: PathBuf,
    /// How long it waits for one, in milliseconds.
    pub grace_ms: u64,
    /// The number of the supervisor that starts it.
    pub epoch: u64,
}

/// Where a child's streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Standard input from `/dev/null`, output to a log, a session of its own.
    Own,
    /// Those of the caller: a person looks on.
    Inherited,
    /// Those of the caller, but its output goes to standard error: the answer is the caller's.
    Narrated,
    /// A socket of the caller's; a session of its own, and what it says on standard error is lost.
    Line,
}

/// What of the file system exists for a child. Order does not matter: parents are put in place before what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Files and directories.
    pub mounts: Vec<Mount>,
    /// Symbolic links: path and what it says.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// One file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What is shown, a path outside; empty for an empty directory.
    pub source: PathBuf,
    /// Where it is shown, a path inside.
    pub target: PathBuf,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and executed.
    Read,
    /// Read, executed and changed.
    Write,
    /// A directory with a layer over it: all that is changed is the child's own, and gone when it ends.
    Layer,
    /// A file of ours laid over one that the child could otherwise change: read, never replaced.
    Pin,
    /// An empty directory in which nothing can be made: it hides what is there, and holds other mounts.
    Hide,
}

impl Access {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Layer => "layer",
            Access::Pin => "pin",
            Access::Hide => "hide",
        }
    }
}

/// Where output and end of a child are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPlan {
    /// Both streams.
    pub output: PathBuf,
    /// Most bytes of each stream.
    pub limit: u64,
    /// The exit record.
    pub record: PathBuf,
}

/// A document that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no policy for a child: {0}")]
pub struct PolicyError(String);

impl Policy {
    /// A policy that confines nothing yet: what comes from the command line and the workspace.
    pub fn new(level: ConfineLevel, argv: Vec<String>, directory: PathBuf, token: Token) -> Policy {
        Policy {
            version: VERSION,
            level,
            argv,
            env: Vec::new(),
            secrets: Vec::new(),
            directory,
            token,
            streams: Streams::Own,
            view: View::default(),
            private: false,
            network: Network::None,
            limits: Limits::default(),
            log: None,
            timeout_ms: None,
            idle_ms: None,
            start_up_ms: None,
            health: None,
            adoption: None,
            leaf: None,
            input: None,
            agent: None,
            grace_ms: None,
        }
    }

    /// The document, to be handed on.
    pub fn encode(&self) -> Result<Vec<u8>, PolicyError> {
        serde_json::to_vec(self).map_err(|error| PolicyError(error.to_string()))
    }

    /// Reads a document back. Whatever it holds, this answers or refuses; it never panics.
    pub fn decode(bytes: &[u8]) -> Result<Policy, PolicyError> {
        let policy: Policy = serde_json::from_slice(bytes).map_err(|error| PolicyError(error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.adoption.as_ref().is_some_and(|adoption| self.log.is_none() || !adoption.socket.is_absolute()) {
            return Err(PolicyError("a child whose end nobody may be there to hear, without a record of it".into()));
        }
        let refuse = |message: String| Err(PolicyError(message));
        if self.version != VERSION {
            return refuse(format!("its version is {}, not {VERSION}", self.version));
        }
        if self.argv.first().is_none_or(String::is_empty) {
            return refuse("the command is empty".into());
        }
        let texts = self.argv.iter().chain(self.env.iter().flat_map(|(name, value)| [name, value]));
        if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
            return refuse(format!("a zero byte in {text:?}"));
        }
        if let Some((name, _)) = self.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return refuse(format!("no variable can be called {name:?}"));
        }
        let targets = self.view.mounts.iter().map(|mount| &mount.target);
        let links = self.view.links.iter().map(|(path, _)| path);
        let logs = self.log.iter().flat_map(|log| [&log.output, &log.record]);
        let whole = targets
            .chain(links)
            .chain(logs)
            .chain(self.leaf.iter().map(|leaf| &leaf.directory))
            .chain(&self.input)
            .chain(self.agent.iter().map(|agent| &agent.endpoint))
            .chain(Some(&self.directory).filter(|path| path.as_path() != Path::new("/")));
        if let Some(path) = whole.into_iter().find(|path| !is_plain(path)) {
            return refuse(format!("{} is not an absolute path without `..`", path.display()));
        }
        match self.view.mounts.iter().find(|mount| {
            !is_plain(&mount.target) || (mount.access == Access::Hide) != mount.source.as_os_str().is_empty()
        }) {
            Some(mount) => refuse(format!("{} cannot be shown as {:?}", mount.target.display(), mount.access)),
            None => Ok(()),
        }
    }
}

/// An absolute path with nothing but names in it, and at least one.
pub fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> Policy {
        let token = Token::from_bytes([7; 16]);
        let mut policy = Policy::new(ConfineLevel::Strict, vec!["true".into()], "/w".into(), token);
        let mount = |source: &str, target: &str, access| Mount { source: source.into(), target: target.into(), access };
        policy.view.mounts = vec![mount("/usr", "/usr", Access::Read), mount("", "/home", Access::Hide)];
        policy
    }

    #[test]
    fn a_policy_reads_back_as_it_was_written() {
        let written = policy().encode().expect("a document");
        assert_eq!(Policy::decode(&written), Ok(policy()));
    }

    #[test]
    fn what_contradicts_itself_is_refused_whole() {
        let refused = |change: fn(&mut Policy)| {
            let mut policy = policy();
            change(&mut policy);
            assert!(Policy::decode(&policy.encode().expect("a document")).is_err(), "{policy:?}");
        };
        refused(|policy| policy.version = 2);
        refused(|policy| policy.argv.clear());
        refused(|policy| policy.argv = vec!["a\0b".into()]);
        refused(|policy| policy.env = vec![("A=B".into(), "c".into())]);
        refused(|policy| policy.directory = "w".into());
        refused(|policy| policy.view.mounts[0].target = "/".into());
        refused(|policy| policy.view.mounts[0].target = "/usr/../etc".into());
        refused(|policy| policy.view.mounts[0].source = PathBuf::new());
        refused(|policy| policy.view.mounts[1].source = "/etc".into());
        refused(|policy| policy.view.links = vec![("bin".into(), "usr/bin".into())]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Policy::decode(&bytes);
        }

        #[test]
        fn no_change_of_a_document_makes_the_decoder_panic(place in 0usize..600, byte in any::<u8>()) {
            let mut document = policy().encode().expect("a document");
            let place = place % document.len();
            document[place] = byte;
            if let Ok(policy) = Policy::decode(&document) {
                prop_assert!(!policy.argv.is_empty() && policy.view.mounts.iter().all(|mount| is_plain(&mount.target)));
            }
        }
    }
}
