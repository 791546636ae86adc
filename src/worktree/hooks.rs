//! Hooks of the repository that treehand's own git operations fire: never, unless the user's own configuration says otherwise.
//!
//! Confined ones run in a sandbox like that of a command in the worktree (`reference-transaction` does not: git itself would run it, and
//! wait for it with its locks held). As git does means: `post-checkout` in a new plain workspace, `post-merge` in a checkout that a landing, an update or an undo
//! brought along, `reference-transaction` for branches that treehand moves. Commits are made in memory, where `pre-commit`
//! and `commit-msg` have nothing to look at: gates are their place.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::error::{Result, WorktreeError};
use super::reach::{self, Quarters};
use super::repository::{Repository, bytes_path};
use crate::confine::granted::Granted;
use crate::confine::machine;
use crate::confine::policy::LogPlan;
use crate::model::record::ConfineLevel;
use crate::model::{Bounds, CommitId, Hooks, Token};
use crate::sys::{env, fs, random};

/// How long a hook in a sandbox may take, and how much of what it says is kept.
const DEADLINE: Duration = Duration::from_secs(600);
const SAID_MAX: u64 = 4096;

/// Runs `post-checkout` for a new worktree; one that fails is an error, as it is with `git worktree add`.
pub fn post_checkout(repo: &Repository, tree: &Path, commit: &CommitId) -> Result<()> {
    let zero = commit.zero_like();
    match repo.hooks {
        Hooks::Never => return Ok(()),
        Hooks::Confined => {
            let failed = confined(repo, tree, "post-checkout", &[&zero, commit.as_str(), "1"])?;
            return failed.map_or(Ok(()), |why| Err(refused(&why)));
        }
        Hooks::Unconfined => {}
    }
    let args = ["hook", "run", "--ignore-missing", "post-checkout", "--", &zero, commit.as_str(), "1"];
    let output = repo.git.within(tree, args).with_hooks().output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(refused(&said))
}

fn refused(why: &str) -> WorktreeError {
    let message = format!("the hook `post-checkout` failed: {why}");
    WorktreeError::refused(message, "mend it, or: --set worktree.hooks=never")
}

/// Runs a hook in a sandbox of a command in this worktree: it can change the files, and look at the repository. The answer says
/// how it failed, if it did.
fn confined(repo: &Repository, tree: &Path, name: &str, arguments: &[&str]) -> Result<Option<String>> {
    let place = repo.git.within(tree, ["rev-parse", "--git-path", &format!("hooks/{name}")]).with_hooks().run()?;
    let line = place.stdout.strip_suffix(b"\n").unwrap_or(&place.stdout);
    let hook = tree.join(bytes_path(line));
    if !hook.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0) {
        return Ok(None);
    }
    let token = random::token().map_err(WorktreeError::Random)?;
    let quarters = reach::quarters_of_plain(tree, ConfineLevel::Strict, &token)?;
    let ran = run_in(repo, &quarters, &hook, (arguments, token));
    if let Some(directory) = &quarters.directory {
        fs::remove_tree(directory)?;
    }
    ran
}

fn run_in(
    repo: &Repository,
    quarters: &Quarters,
    hook: &Path,
    (arguments, token): (&[&str], Token),
) -> Result<Option<String>> {
    let machine = machine::look(env::home().as_deref(), &env::vars(), &repo.confinement.read);
    let mut reach = reach::of_plain(repo, quarters, &machine)?;
    reach.read.extend(hook.parent().map(Path::to_owned));
    let output = quarters.directory.as_deref().unwrap_or(&quarters.tmp).join("output");
    let program = hook.to_string_lossy().into_owned();
    let argv = std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect();
    let bounds = Bounds { read: repo.confinement.read.clone(), ..Bounds::default() };
    let mut launch = reach::launch_in(quarters, reach, &bounds, ConfineLevel::Strict, (argv, token));
    launch.timeout = Some(DEADLINE);
    launch.log = Some(LogPlan { output: output.clone(), limit: SAID_MAX, record: output.with_extension("end.json") });
    let ended = launch.start(Granted::on_record(ConfineLevel::Strict), &machine)?.wait()?;
    if ended.exit == Some(0) && ended.stopped.is_none() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&std::fs::read(&output).unwrap_or_default()).trim().replace('\n', " ");
    let how = ended.stopped.map_or_else(|| format!("exit code {}", ended.exit.unwrap_or(-1)), |why| why.to_string());
    Ok(Some(if said.is_empty() { how } else { format!("{said} ({how})") }))
}

/// Runs `post-merge` in a checkout whose files have moved. Its outcome changes nothing, as with `git merge`.
pub fn post_merge(repo: &Repository, tree: &Path) -> Result<()> {
    if repo.hooks == Hooks::Confined
        && let Some(why) = confined(repo, tree, "post-merge", &["0"])?
    {
        tracing::warn!("the hook `post-merge` failed in {}: {why}", tree.display());
    }
    if repo.hooks == Hooks::Unconfined {
        let args = ["hook", "run", "--ignore-missing", "post-merge", "--", "0"];
        let output = repo.git.within(tree, args).with_hooks().output()?;
        tracing::debug!(tree = %tree.display(), status = %output.status, "post-merge ran");
    }
    Ok(())
}
