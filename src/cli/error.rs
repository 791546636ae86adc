//! Errors on the command line: message, hint, kind and exit code, given to each error of the rooms once, here.
//!
//! The table of exit codes is that of `docs/cli.md`.

use serde_json::{Value, json};

use super::output::with_schema;
use crate::cleanup::CleanupError;
use crate::confine::environment::SecretError;
use crate::confine::{LaunchError, Unavailable};
use crate::model::Freshness;
use crate::model::cause::chain;
use crate::orchestrator::context::RunError;
use crate::orchestrator::taskfile::TaskFileError;
use crate::store::StoreError;
use crate::sys::fs::FsError;
use crate::sys::git::GitError;
use crate::sys::lock::LockError;
use crate::worktree::WorktreeError;

/// An error as it is shown.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub code: u8,
    /// One word for scripts.
    pub kind: &'static str,
    /// What is wrong with what.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl CliError {
    fn new(code: u8, kind: &'static str, message: impl Into<String>) -> CliError {
        CliError { code, kind, message: message.into(), hint: None }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> CliError {
        CliError::new(2, "usage", message)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> CliError {
        CliError::new(3, "not_found", message)
    }

    /// A refusal.
    pub fn refused(message: impl Into<String>) -> CliError {
        CliError::new(4, "refused", message)
    }

    /// An error of the operating system.
    pub fn io(what: &str, error: &std::io::Error) -> CliError {
        CliError::new(1, "io", format!("{what}: {error}"))
    }

    /// Confinement that cannot be had.
    pub fn unavailable(message: impl Into<String>) -> CliError {
        CliError::new(10, "confinement_unavailable", message)
    }

    /// A setup step that did not do its work.
    pub fn setup(message: impl Into<String>) -> CliError {
        CliError::new(1, "setup", message)
    }

    /// A timer that cannot be had, or not be asked about.
    pub fn unscheduled(message: impl Into<String>) -> CliError {
        CliError::new(1, "unscheduled", message)
    }

    /// A server that could not serve.
    pub fn unserved(message: impl Into<String>) -> CliError {
        CliError::new(1, "unserved", message)
    }

    /// A signal that was obeyed.
    pub fn interrupted(signal: u32, message: impl Into<String>) -> CliError {
        CliError::new(u8::try_from(128 + signal).unwrap_or(1), "interrupted", message)
    }

    /// The document of it.
    pub fn document(&self) -> Value {
        let CliError { code, kind, message, hint } = self;
        with_schema("treehand/error/v1", json!({"code": code, "kind": kind, "message": message, "hint": hint}))
    }

    /// The same with a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        CliError::io("cannot write the answer", &error)
    }
}

impl From<Unavailable> for CliError {
    fn from(error: Unavailable) -> Self {
        CliError::unavailable(error.to_string()).hint(error.remedy)
    }
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> CliError {
        let name = match &error {
            SecretError::Unset { name } | SecretError::Short { name } => name.clone(),
        };
        CliError::new(9, "secret", error.to_string()).hint(format!("set it where you start treehand: export {name}=…"))
    }
}

impl From<LaunchError> for CliError {
    fn from(error: LaunchError) -> Self {
        match &error {
            LaunchError::Confinement { .. } => CliError::unavailable(error.to_string())
                .hint("see what this machine can do: treehand doctor; to accept the risk: --confine off"),
            _ => CliError::new(1, "io", chain(&error)),
        }
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        let text = chain(&error);
        match error {
            GitError::Start(_) => CliError::new(1, "git_missing", text).hint("install git, or put it on PATH"),
            GitError::TooOld { .. } => CliError::new(1, "git_too_old", text).hint("install a newer git"),
            GitError::Failed { ref stderr, .. } if names_a_filter(stderr) => CliError::new(1, "git_failed", text)
                .hint("install the filter that git cannot start, for LFS git-lfs, or mend it: git config --list | grep filter"),
            _ => CliError::new(1, "git_failed", text),
        }
    }
}

/// A file or directory that could not be used; for one that may not be written the remedy is known.
fn unusable(error: &FsError, text: String) -> CliError {
    let shown = CliError::new(1, "io", text);
    match error.source.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            shown.hint("make it writable for you, or work in a clone of your own")
        }
        _ => shown,
    }
}

/// True when git says that a filter of `.gitattributes` that is required did not do its work.
fn names_a_filter(stderr: &str) -> bool {
    stderr.contains("smudge filter") || stderr.contains("clean filter")
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let text = chain(&error);
        match error {
            _ if error.is_corrupt() => CliError::new(1, "store_corrupt", text).hint(
                "set it aside, keeping what can be read: treehand doctor --repair; refs and worktrees are not in it",
            ),
            StoreError::Newer { .. } => {
                CliError::new(1, "store_newer", text).hint("use the newer treehand that wrote it")
            }
            StoreError::NotOurs { .. } => {
                CliError::new(4, "not_ours", text).hint("run treehand as its owner, or in a clone of your own")
            }
            StoreError::PathTooLong(_) => CliError::new(4, "refused", text)
                .hint("move the repository to a shorter path, or work in a clone there"),
            StoreError::Fs(error) => unusable(&error, text),
            StoreError::Busy => CliError::new(8, "busy", text).hint("try again"),
            StoreError::NotFound { .. } => CliError::new(3, "not_found", text),
            StoreError::Exists { .. } => CliError::new(4, "exists", text),
            StoreError::Illegal(_) => CliError::new(4, "refused", text),
            _ => CliError::new(1, "store", text),
        }
    }
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> Self {
        let text = chain(&error);
        match error {
            LockError::Held { .. } => CliError::new(8, "busy", text),
            LockError::Io { .. } => CliError::new(1, "io", text),
        }
    }
}

impl From<WorktreeError> for CliError {
    fn from(error: WorktreeError) -> Self {
        let text = chain(&error);
        match error {
            WorktreeError::NoRepository { .. } => {
                CliError::new(3, "no_repository", text).hint("go to a git repository, or name one: -C DIR")
            }
            WorktreeError::NotFound { .. } => CliError::new(3, "not_found", text),
            WorktreeError::Unborn => CliError::new(3, "unborn", text).hint("make a first commit"),
            WorktreeError::Refused { hint, .. } => CliError { hint, ..CliError::new(4, "refused", text) },
            WorktreeError::NotFresh { freshness, .. } => CliError::new(6, "not_fresh", text).hint(match freshness {
                Freshness::Unknown => "try again when the remote answers, or accept it: --stale warn",
                _ => "bring the base up to date, or accept it: --stale warn",
            }),
            WorktreeError::Busy { .. } => CliError::new(8, "busy", text),
            WorktreeError::Locked { .. } => CliError::new(8, "busy", text)
                .hint("try again; if no git process is at work, it was left by one that died: remove it"),
            WorktreeError::Conflict { .. } => {
                CliError::new(5, "conflict", text).hint("bring them together by hand, then try again")
            }
            WorktreeError::Interrupted { signal } => CliError::interrupted(signal, text),
            WorktreeError::BadResult { .. } => CliError::new(4, "policy", text),
            WorktreeError::Unsigned { .. } => CliError::new(9, "attention", text).hint(
                "unlock the key for this session (gpg-agent, ssh-agent) and try again, or: git config commit.gpgSign false",
            ),
            WorktreeError::Name(_) => CliError::new(2, "usage", text),
            WorktreeError::Git(error) => error.into(),
            WorktreeError::Store(error) => error.into(),
            WorktreeError::Lock(error) => error.into(),
            WorktreeError::Read(_) => CliError::new(1, "git_failed", text),
            WorktreeError::Fs(error) => unusable(&error, text),
            WorktreeError::Launch(error) => error.into(),
            WorktreeError::Secret(error) => error.into(),
            WorktreeError::Random(_)
            | WorktreeError::Signals(_)
            | WorktreeError::Program(_)
            | WorktreeError::Apart(_) => CliError::new(1, "io", text),
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let text = chain(&error);
        match error {
            RunError::Worktree(error) => error.into(),
            RunError::Store(error) => error.into(),
            RunError::Unavailable(error) => error.into(),
            RunError::Lock(error) => error.into(),
            RunError::Usage { .. } => CliError::new(2, "usage", text),
            RunError::Refused { .. } => CliError::new(4, "refused", text),
            RunError::SupervisorSilent { run } => {
                CliError::new(1, "supervisor_silent", text).hint(format!("it goes on; look again: treehand wait {run}"))
            }
            RunError::SupervisorDead { run, .. } => CliError::new(1, "supervisor_dead", text)
                .hint(format!("see how far it came: treehand show {run}; end it: treehand cancel {run}")),
            RunError::Behind { .. } => {
                CliError::new(1, "behind", text).hint("make room, then: treehand doctor --repair")
            }
            RunError::Secret(error) => error.into(),
            RunError::UnknownAgent { name, known } => {
                let near = super::config::nearest(&name, known.iter().map(String::as_str));
                let hint = near.map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                CliError::new(2, "usage", text).hint(hint)
            }
            RunError::NoAgent { hint, .. } => CliError::new(1, "no_agent", text).hint(hint.clone()),
            RunError::Missing { install, .. } => CliError::new(1, "no_agent", text).hint(install.clone()),
            RunError::Profile { .. } | RunError::Instructions(_) => CliError::new(2, "usage", text),
            RunError::UsedUp { .. } => CliError::new(4, "refused", text),
            RunError::Setup { .. } => CliError::setup(text),
            RunError::Launch(error) => error.into(),
            RunError::Fs(error) => unusable(&error, text),
            RunError::Io { .. } => CliError::new(1, "io", text),
        }
    }
}

impl From<TaskFileError> for CliError {
    fn from(error: TaskFileError) -> Self {
        let hints = error.hints().join("; ");
        let shown = CliError::new(2, "usage", error.to_string());
        if hints.is_empty() { shown } else { shown.hint(hints) }
    }
}

impl From<CleanupError> for CliError {
    fn from(error: CleanupError) -> Self {
        let text = chain(&error);
        match error {
            CleanupError::Worktree(error) => error.into(),
            CleanupError::Store(error) => error.into(),
            CleanupError::Git(error) => error.into(),
            CleanupError::Refused { hint, .. } => CliError { hint, ..CliError::new(4, "refused", text) },
            CleanupError::NothingToUndo | CleanupError::NothingToRedo => CliError::new(3, "not_found", text),
            _ => CliError::new(1, "io", text),
        }
    }
}
