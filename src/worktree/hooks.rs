//! Hooks of the repository that treehand's own git operations fire: in a sandbox, unless the user's own configuration says otherwise.
//!
//! They are `post-checkout` in a new plain workspace and `post-merge` in a checkout that a landing, an update or an undo brought
//! along. A sandbox is like that of a command in the worktree; where there is none they do not run, and one that fails in it may
//! fail for its sake alone: both are told, and nothing is refused. `post-merge` does not run there when it is a file of the checkout
//! itself, for then a task could have written it, and what it would change is a person's. As git runs them means with all that the
//! user can, `reference-transaction` too: git itself runs that one, with its locks held, so no sandbox is around it. Commits are
//! made in memory, where `pre-commit` and `commit-msg` have nothing to look at: gates are their place.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Result, WorktreeError};
use super::reach::{self, Quarters};
use super::repository::{Repository, bytes_path, lexical};
use crate::confine::launch::Launch;
use crate::confine::level;
use crate::confine::policy::LogPlan;
use crate::confine::shim::ExitRecord;
use crate::confine::view::System;
use crate::model::cause::chain;
use crate::model::record::ConfineLevel;
use crate::model::{Bounds, CommitId, Hooks, Token};
use crate::sys::git::{GitCommand, Settings};
use crate::sys::interrupt::Held;
use crate::sys::{fs, random};

/// How long a hook in a sandbox may take, and how much of what it says is kept.
const DEADLINE: Duration = Duration::from_secs(600);
const SAID_MAX: u64 = 4096;

/// Runs `post-checkout` for a new worktree; one that fails as git runs it is an error, as it is with `git worktree add`.
/// A signal that comes meanwhile ends it. What the worktree is told of the configuration may be known.
pub fn post_checkout(
    repo: &Repository,
    settings: Option<&Settings>,
    (tree, commit): (&Path, &CommitId),
    held: &Held,
) -> Result<()> {
    let zero = commit.zero_like();
    match repo.hooks {
        Hooks::Never => return Ok(()),
        Hooks::Confined => {
            let hook = match settings {
                // git looks for it there where nobody says otherwise.
                Some(settings) if !settings.move_hooks() => {
                    Some(repo.common_dir.join("hooks/post-checkout")).filter(|hook| runs(hook))
                }
                _ => find(repo.git.within(tree, WHERE), tree, "post-checkout")?,
            };
            if let Some(hook) = hook {
                confined(repo, tree, &hook, &[&zero, commit.as_str(), "1"], Some(held))?;
            }
            return Ok(());
        }
        Hooks::Unconfined => {}
    }
    let args = ["hook", "run", "--ignore-missing", "post-checkout", "--", &zero, commit.as_str(), "1"];
    let output = repo.git.within(tree, args).with_hooks().output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    let message = format!("the hook `post-checkout` failed: {said}");
    Err(WorktreeError::refused(message, "mend it, or: --set worktree.hooks=never"))
}

const WHERE: [&str; 2] = ["rev-parse", "--git-path"];

/// The file of a hook, where there is one that can run; the command asks git for it.
fn find(command: GitCommand, tree: &Path, name: &str) -> Result<Option<PathBuf>> {
    let place = command.args([format!("hooks/{name}")]).with_hooks().run()?;
    let line = place.stdout.strip_suffix(b"\n").unwrap_or(&place.stdout);
    let hook = tree.join(bytes_path(line));
    Ok(runs(&hook).then_some(hook))
}

fn runs(hook: &Path) -> bool {
    hook.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a hook in a sandbox of a command in this worktree: it can change the files, and look at the repository. What went
/// wrong with it is told, and no error.
fn confined(repo: &Repository, tree: &Path, hook: &Path, arguments: &[&str], held: Option<&Held>) -> Result<()> {
    let name = hook.file_name().unwrap_or_default().display();
    let granted = match level::require(ConfineLevel::Strict, &reach::ground(repo)) {
        Ok(granted) => granted,
        Err(error) => {
            tracing::warn!("the hook `{name}` did not run in {}: {error} (worktree.hooks)", tree.display());
            return Ok(());
        }
    };
    let token = random::token().map_err(WorktreeError::Random)?;
    let quarters = reach::quarters_of_plain(tree, ConfineLevel::Strict, &token)?;
    let ran = launch(repo, &quarters, hook, arguments, token).and_then(|(launch, machine)| {
        let ended = launch.start(granted, &machine)?.wait_unless(held.map(AsFd::as_fd))?;
        Ok(complaint(&launch, &ended))
    });
    if let Some(directory) = &quarters.directory {
        fs::remove_tree(directory)?;
    }
    if let Some(why) = ran? {
        tracing::warn!("the hook `{name}` failed in its sandbox in {}: {why} (worktree.hooks)", tree.display());
    }
    Ok(())
}

fn launch(
    repo: &Repository,
    quarters: &Quarters,
    hook: &Path,
    arguments: &[&str],
    token: Token,
) -> Result<(Launch, System)> {
    let machine = reach::machine(repo);
    let mut reach = reach::of_plain(repo, quarters, &machine)?;
    reach.read.extend(hook.parent().map(Path::to_owned));
    let output = quarters.directory.as_deref().unwrap_or(&quarters.tmp).join("output");
    let program = hook.to_string_lossy().into_owned();
    let argv = std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect();
    let bounds = Bounds { read: repo.confinement.read.clone(), ..Bounds::default() };
    let mut launch = reach::launch_in(quarters, reach, &bounds, ConfineLevel::Strict, (argv, token));
    launch.timeout = Some(DEADLINE);
    launch.log = Some(LogPlan { output: output.clone(), limit: SAID_MAX, record: output.with_extension("end.json") });
    Ok((launch, machine))
}

/// What a hook that failed said, and how it ended.
fn complaint(launch: &Launch, ended: &ExitRecord) -> Option<String> {
    if ended.exit == Some(0) && ended.stopped.is_none() {
        return None;
    }
    let output = launch.log.as_ref().and_then(|log| std::fs::read(&log.output).ok()).unwrap_or_default();
    let said = String::from_utf8_lossy(&output).trim().replace('\n', " ");
    let how = ended.stopped.map_or_else(|| format!("exit code {}", ended.exit.unwrap_or(-1)), |why| why.to_string());
    Some(if said.is_empty() { how } else { format!("{said} ({how})") })
}

/// Runs `post-merge` in a checkout whose files have moved. Its outcome changes nothing, as with `git merge`.
pub fn post_merge(repo: &Repository, git_dir: &Path, tree: &Path) {
    let ran = match repo.hooks {
        Hooks::Never => Ok(()),
        Hooks::Confined => post_merge_confined(repo, git_dir, tree),
        Hooks::Unconfined => {
            let args = ["hook", "run", "--ignore-missing", "post-merge", "--", "0"];
            let output = repo.git.tree(git_dir, tree, args).with_hooks().output().map_err(WorktreeError::from);
            output.map(|output| tracing::debug!(tree = %tree.display(), status = %output.status, "post-merge ran"))
        }
    };
    if let Err(error) = ran {
        tracing::warn!("the hook `post-merge` did not run in {}: {}", tree.display(), chain(&error));
    }
}

fn post_merge_confined(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<()> {
    let hook = find(repo.git.tree(git_dir, tree, WHERE), tree, "post-merge")?;
    match hook.filter(|hook| !is_of(hook, tree, &repo.common_dir)) {
        Some(hook) => confined(repo, tree, &hook, &["0"], None),
        None => Ok(()),
    }
}

/// The directory of the repository's hooks, where the configuration names one in the tree; from its root.
pub fn directory_in_tree(repo: &Repository) -> Result<Option<String>> {
    let place = repo.bare(WHERE).args(["hooks"]).with_hooks().run()?;
    let configured = bytes_path(place.stdout.strip_suffix(b"\n").unwrap_or(&place.stdout));
    let inside = match &repo.main_tree {
        _ if configured.starts_with(&repo.common_dir) => None,
        Some(tree) if configured.is_absolute() => configured.strip_prefix(tree).ok().map(Path::to_owned),
        _ => Some(configured).filter(|path| !path.is_absolute()),
    };
    let inside = inside.map(|path| lexical(&path).to_string_lossy().into_owned());
    Ok(inside.filter(|path| !path.is_empty()))
}

/// True for a file of this worktree, by whatever link it is reached. What is in its git dir is none.
fn is_of(hook: &Path, tree: &Path, git_dir: &Path) -> bool {
    let Ok(place) = hook.canonicalize() else { return true };
    let within = |directory: &Path| directory.canonicalize().is_ok_and(|directory| place.starts_with(directory));
    within(tree) && !within(git_dir)
}
