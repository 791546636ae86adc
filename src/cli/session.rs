//! What most verbs need: the repository one stands in, its configuration, its store, and names resolved to things.
//!
//! Only here are the environment, the current directory and the configuration files read.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::config::{self, Settings, Sources};
use super::error::CliError;
use super::output::{Output, plain};
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord};
use crate::model::{Confinement, RunId, TaskId};
use crate::store::Store;
use crate::sys::git::Git;
use crate::sys::{env, fs};
use crate::worktree::Repository;
use crate::worktree::place::{self, Place};
use crate::worktree::remote::Lookup;

/// A command at work.
pub struct Session {
    /// How to speak.
    pub out: Output,
    /// The flags of every command.
    pub global: Global,
    /// The repository.
    pub repo: Repository,
    /// The configuration.
    pub settings: Settings,
    /// Every value with its origin.
    pub origins: Vec<config::ShownValue>,
}

/// The directory that the command is about.
pub fn directory(global: &Global) -> Result<PathBuf, CliError> {
    let current = env::current_dir().map_err(|error| CliError::io("cannot tell the current directory", &error))?;
    Ok(global.directory.as_ref().map_or(current.clone(), |directory| current.join(directory)))
}

impl Session {
    /// Finds the repository and reads the configuration.
    pub fn open(global: &Global, out: &Output) -> Result<Session, CliError> {
        let directory = directory(global)?;
        let (git, found) = Git::open_beside(|git| Repository::discover(git, &directory))?;
        let mut repo = Repository { git, ..found? };
        if let Place::MovedFrom(from) | Place::CopyOf(from) = place::place(&repo.common_dir)? {
            let from = plain(&from.to_string_lossy());
            out.warn(format!(
                "the repository was moved or copied from {from}; bring it in order: treehand doctor --repair"
            ));
        }
        let resolved = resolve_config(global, repo.here.as_deref().or(repo.main_tree.as_deref()))?;
        for warning in &resolved.warnings {
            out.warn(warning);
        }
        let (settings, origins) = (resolved.settings, resolved.origins);
        repo.hooks = settings.worktree.hooks;
        repo.patience.limit = settings.merge.lock_wait.0;
        repo.confinement = Confinement { level: settings.confine.level, read: settings.confine.read.clone() };
        repo.pool = Some(settings.worktree.slots());
        repo.salvage_max = settings.clean.salvage_max;
        repo.salvage_ignored.clone_from(&settings.clean.salvage_ignored);
        Ok(Session { out: out.clone(), global: global.clone(), repo, settings, origins })
    }

    /// The store, made when it is new.
    pub fn store(&self) -> Result<Store, CliError> {
        Ok(self.repo.store()?)
    }

    /// The store for a verb that only looks: nothing is made where there is none.
    pub fn look(&self) -> Result<Store, CliError> {
        Ok(self.repo.look()?)
    }

    /// How bases are looked up.
    pub fn lookup(&self, offline: bool) -> Lookup {
        let worktree = &self.settings.worktree;
        let (deadline, window) = (worktree.fetch_deadline.0, worktree.fetch_window.0);
        Lookup { offline, deadline, window, recall: false }
    }

    /// The workspace of this name: in full, by a unique prefix, or `@` for the one that one stands in.
    pub fn workspace(&self, store: &Store, name: &str) -> Result<WorkspaceRecord, CliError> {
        let all = store.workspaces()?;
        if name == "@" {
            let here = self.repo.here.clone().unwrap_or_default();
            return all
                .into_iter()
                .find(|workspace| workspace.path == here || fs::without_links(&workspace.path) == here)
                .ok_or_else(|| CliError::not_found("this is no workspace of treehand").hint("list them: treehand ls"));
        }
        if let Some(exact) = all.iter().find(|workspace| workspace.name.as_str() == name) {
            return Ok(exact.clone());
        }
        let matching: Vec<&WorkspaceRecord> = all.iter().filter(|w| w.name.as_str().starts_with(name)).collect();
        match (&matching[..], name.is_empty()) {
            ([only], false) => Ok((*only).clone()),
            ([], _) if self.is_task(store, name) => {
                let (run, _) = name.split_once('/').unwrap_or((name, ""));
                Err(CliError::refused(format!("`{name}` is the workspace of a task, which belongs to its run")).hint(
                    format!("look at it: treehand show {run}, treehand diff {name}; it goes with: treehand clean"),
                ))
            }
            ([], _) | (_, true) => Err(CliError::not_found(format!("there is no workspace `{}`", name.escape_debug()))
                .hint("list them: treehand ls")),
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|workspace| workspace.name.as_str()).collect();
                Err(CliError::usage(format!("`{name}` could be any of {}", names.join(", "))))
            }
        }
    }

    fn is_task(&self, store: &Store, name: &str) -> bool {
        matches!(self.target(store, name), Ok((_, Some(_))))
    }

    /// The run of this id or unique prefix.
    pub fn run(&self, store: &Store, text: &str) -> Result<RunRecord, CliError> {
        if let Ok(id) = RunId::parse(text) {
            return Ok(store.run(&id)?);
        }
        let matching: Vec<RunRecord> =
            store.runs()?.into_iter().filter(|run| run.id.as_str().starts_with(text)).collect();
        match (matching.len(), text.is_empty()) {
            (1, false) => Ok(matching.into_iter().next().ok_or_else(|| CliError::not_found("no run"))?),
            (0, _) | (_, true) => Err(CliError::not_found(format!("there is no run `{}`", text.escape_debug()))
                .hint("list them: treehand ps")),
            (several, _) => Err(CliError::usage(format!("`{text}` could be any of {several} runs"))),
        }
    }

    /// A run, or one of its tasks: `RUN` or `RUN/TASK`.
    pub fn target(&self, store: &Store, text: &str) -> Result<(RunRecord, Option<TaskRecord>), CliError> {
        let Some((run, task)) = text.split_once('/') else { return Ok((self.run(store, text)?, None)) };
        let run = self.run(store, run)?;
        if let Ok(id) = TaskId::parse(task)
            && let Ok(record) = store.task(&run.id, &id)
        {
            return Ok((run, Some(record)));
        }
        let tasks = store.tasks(&run.id)?;
        let matching: Vec<&TaskRecord> = tasks.iter().filter(|record| record.id.as_str().starts_with(task)).collect();
        match (&matching[..], task.is_empty()) {
            ([only], false) => Ok((run, Some((*only).clone()))),
            _ => Err(CliError::not_found(format!("run {} has no task `{}`", run.id, task.escape_debug()))),
        }
    }
}

/// Reads the layers of the configuration.
pub fn resolve_config(global: &Global, tree: Option<&Path>) -> Result<config::Resolved, CliError> {
    let user = env::config_home().map(|home| home.join("treehand/config.toml"));
    let project = tree.map(|tree| tree.join(".treehand.toml"));
    let sources = Sources {
        user: user.map(read_layer).transpose()?.flatten(),
        project: project.map(read_layer).transpose()?.flatten(),
        env: env::vars().into_iter().filter(|(name, _)| name.starts_with("TREEHAND_") && name.contains("__")).collect(),
        set: global.set.clone(),
    };
    config::resolve(&sources).map_err(|error| {
        let shown = CliError::usage(error.to_string());
        match error.hint() {
            Some(hint) => shown.hint(hint),
            None => shown,
        }
    })
}

fn read_layer(path: PathBuf) -> Result<Option<(PathBuf, String)>, CliError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(CliError::io(&format!("cannot read {}", path.display()), &error)),
    }
}
