//! Scan: what the name of a base means here: a branch, a remote's branch, a pull request, a tag, a commit.
//!
//! The default is detected, never assumed: the branch one stands on, else what the remote's `HEAD` says. Only where that is
//! not known here, or a pull request is named, is a remote asked; nothing is moved.

use super::error::{Result, WorktreeError};
use super::remote::{self, Lookup, RemoteBranch};
use super::repository::Repository;
use super::spelling;
use crate::model::{BranchName, CommitId, Freshness, Proof};
use crate::sys::git::Reader;

/// What a base names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BaseTarget {
    /// A branch, here or on a remote or both.
    Branch {
        /// The local branch.
        local: Option<BranchName>,
        /// Its counterpart.
        remote: Option<RemoteBranch>,
    },
    /// Something that does not move: a tag, a commit.
    Fixed(CommitId),
}

/// Where the refs are that track pull requests: remote, then number.
pub const REQUESTS: &str = "refs/treehand/pull/";

/// What a name means, and the name that it goes by.
pub(super) fn named(repo: &Repository, reader: &Reader, text: &str, lookup: Lookup) -> Result<(String, BaseTarget)> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(WorktreeError::NotFound { kind: "ref", name: text.escape_debug().to_string() });
    }
    // To git `heads/x` is the branch `x` before anything else.
    for name in spelling::branch_in_full(text).into_iter().chain([text]) {
        if let Some(branch) = here(reader, name)? {
            let remote = counterpart(reader, &branch)?;
            return Ok((branch.to_string(), BaseTarget::Branch { local: Some(branch), remote }));
        }
    }
    let remotes = reader.remotes()?;
    if let Some((remote, branch)) = spelling::remote_in_full(text).and_then(|path| spelling::split(path, &remotes)) {
        return on_remote(repo, reader, (text, remote, branch), lookup);
    }
    if let Some(followed) = followed(repo, reader, text)? {
        return on_remote(repo, reader, (text, &followed.remote, Some(&followed.branch)), lookup);
    }
    if let Ok(branch) = BranchName::parse(text) {
        let same_name = |name: &String| reader.ref_commit(&format!("refs/remotes/{name}/{branch}"));
        let mut known = Vec::new();
        for name in &remotes {
            known.extend(same_name(name)?.map(|_| name));
        }
        // As git itself guesses for `switch` and `worktree add`: one remote has a branch of this name.
        if let ([only], None) = (&known[..], reader.revision(text)?) {
            let remote = Some(remote_branch(only, branch.as_str()));
            return Ok((text.to_owned(), BaseTarget::Branch { local: None, remote }));
        }
        if let Some((remote, branch)) = spelling::split(text, &remotes)
            && reader.ref_commit(&format!("refs/tags/{text}"))?.is_none()
        {
            return on_remote(repo, reader, (text, remote, branch), lookup);
        }
    }
    let target = match (pull_request(reader, text)?, reader.revision(text)?) {
        (Some(request), _) => BaseTarget::Branch { local: None, remote: Some(request) },
        (None, Some(commit)) => BaseTarget::Fixed(commit),
        (None, None) => return Err(WorktreeError::NotFound { kind: "ref", name: text.to_owned() }),
    };
    Ok((text.to_owned(), target))
}

/// The branch of this name, if it is here.
fn here(reader: &Reader, name: &str) -> Result<Option<BranchName>> {
    let Ok(branch) = BranchName::parse(name) else { return Ok(None) };
    Ok(reader.ref_commit(&branch.full_ref())?.map(|_| branch))
}

/// A branch of a remote, or its default branch, however it was spelled.
fn on_remote(
    repo: &Repository,
    reader: &Reader,
    (text, remote, branch): (&str, &str, Option<&str>),
    lookup: Lookup,
) -> Result<(String, BaseTarget)> {
    let branch = match branch {
        Some(branch) => Some(branch.to_owned()),
        None => default_of(repo, reader, remote, lookup)?,
    };
    let Some(branch) = branch else {
        return Err(WorktreeError::NotFound { kind: "ref", name: text.to_owned() });
    };
    let short = format!("{remote}/{branch}");
    // A branch here may have that name.
    let name = if here(reader, &short)?.is_some() { format!("refs/remotes/{short}") } else { short };
    Ok((name, BaseTarget::Branch { local: None, remote: Some(remote_branch(remote, &branch)) }))
}

/// The default branch of a remote. What the remote says now counts: it may have changed since the clone.
fn default_of(repo: &Repository, reader: &Reader, remote: &str, lookup: Lookup) -> Result<Option<String>> {
    let asked = if lookup.offline { None } else { remote::default_branch(repo, reader, remote, lookup.deadline) };
    if asked.is_some() {
        return Ok(asked);
    }
    let below = format!("refs/remotes/{remote}/");
    let tracked = reader.symbolic_target(&format!("{below}HEAD"))?;
    Ok(tracked.and_then(|name| Some(name.strip_prefix(&below)?.to_owned())))
}

/// The remote branch that is meant by `@{upstream}` after the name of a branch, or of the one that is checked out.
fn followed(repo: &Repository, reader: &Reader, text: &str) -> Result<Option<RemoteBranch>> {
    let Some(name) = spelling::of_upstream(text) else { return Ok(None) };
    let branch = match name {
        "" | "HEAD" => current(repo)?,
        name => here(reader, name)?,
    };
    branch.map_or(Ok(None), |branch| counterpart(reader, &branch))
}

/// The branch that is checked out.
fn current(repo: &Repository) -> Result<Option<BranchName>> {
    let target = Reader::open(&repo.git, &repo.git_dir).symbolic_target("HEAD")?;
    let name = target.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
    Ok(name.and_then(|name| BranchName::parse(name).ok()))
}

/// The base that is meant when none is named, with its name.
pub(super) fn default_base(repo: &Repository, reader: &Reader, lookup: Lookup) -> Result<(String, BaseTarget)> {
    if let Some(branch) = current(repo)? {
        // A bare repository's HEAD names its default branch, a worktree's the branch one works on: both are what is meant.
        if reader.ref_commit(&branch.full_ref())?.is_some() {
            let remote = counterpart(reader, &branch)?;
            return Ok((branch.to_string(), BaseTarget::Branch { local: Some(branch), remote }));
        }
    }
    let remotes = reader.remotes()?;
    let origin = remotes.iter().find(|name| *name == "origin").or(remotes.first());
    if let Some(origin) = origin
        && let Some(branch) = default_of(repo, reader, origin, lookup)?
    {
        let local = here(reader, &branch)?;
        return Ok((branch.clone(), BaseTarget::Branch { local, remote: Some(remote_branch(origin, &branch)) }));
    }
    match Reader::open(&repo.git, &repo.git_dir).revision("HEAD")? {
        Some(_) => Err(WorktreeError::refused(
            "HEAD is detached and no default branch is known",
            "name the base: --base BRANCH",
        )),
        None => Err(WorktreeError::Unborn),
    }
}

/// The remote branch that a local one follows: its configured upstream, else the branch of the same name that is
/// tracked from `origin` or the only remote.
fn counterpart(reader: &Reader, branch: &BranchName) -> Result<Option<RemoteBranch>> {
    let remote = reader.config(&format!("branch.{branch}.remote"))?;
    let merge = reader.config(&format!("branch.{branch}.merge"))?;
    if let (Some(remote), Some(merge)) = (remote, merge) {
        let followed = merge.strip_prefix("refs/heads/").filter(|_| remote != ".");
        return Ok(followed.map(|followed| remote_branch(&remote, followed)));
    }
    let remotes = reader.remotes()?;
    let candidate = match &remotes[..] {
        [only] => Some(only),
        several => several.iter().find(|name| *name == "origin"),
    };
    let same_name = candidate.map(|name| remote_branch(name, branch.as_str()));
    match same_name {
        Some(same) if reader.ref_commit(&same.tracking)?.is_some() => Ok(Some(same)),
        _ => Ok(None),
    }
}

fn remote_branch(remote: &str, branch: &str) -> RemoteBranch {
    RemoteBranch {
        remote: remote.to_owned(),
        branch: branch.to_owned(),
        tracking: format!("refs/remotes/{remote}/{branch}"),
        there: vec![format!("refs/heads/{branch}")],
    }
}

/// What the name of a pull request is: `REMOTE#NUMBER`.
fn pull_request(reader: &Reader, text: &str) -> Result<Option<RemoteBranch>> {
    let Some((remote, number)) = text.rsplit_once('#') else { return Ok(None) };
    let Ok(number) = number.parse::<u32>() else { return Ok(None) };
    Ok(reader.remotes()?.iter().any(|name| name == remote).then(|| request_of(remote, number)))
}

fn request_of(remote: &str, number: u32) -> RemoteBranch {
    RemoteBranch {
        remote: remote.to_owned(),
        branch: format!("#{number}"),
        tracking: format!("{REQUESTS}{remote}/{number}"),
        // GitHub, Forgejo and Gitea, then GitLab.
        there: vec![format!("refs/pull/{number}/head"), format!("refs/merge-requests/{number}/head")],
    }
}

/// The name of the base that a pull request is. Of several remotes that have one of this number the original of a fork
/// comes first, then `origin`.
pub fn of_pull_request(repo: &Repository, number: u32, lookup: Lookup) -> Result<String> {
    let reader = repo.reader().knowing_settings()?;
    let mut remotes = reader.remotes()?;
    remotes.sort_by_key(|name| match name.as_str() {
        "upstream" => 0,
        "origin" => 1,
        _ => 2,
    });
    let mut silent = Vec::new();
    for remote in &remotes {
        let request = request_of(remote, number);
        let known = || Ok::<_, WorktreeError>(repo.reader().ref_commit(&request.tracking)?.is_some());
        let found = if lookup.offline {
            known()?
        } else {
            let answer = remote::ask(repo, &reader, &request, lookup)?;
            if let (Some(error), Proof::None) = (&answer.error, answer.proof) {
                silent.push(format!("{remote}: {error}"));
            }
            answer.tip.is_some()
        };
        if found {
            return Ok(format!("{remote}#{number}"));
        }
    }
    if silent.is_empty() {
        return Err(WorktreeError::NotFound { kind: "pull request", name: format!("#{number}") });
    }
    let message = format!("pull request #{number} was not found, and not every remote answered: {}", silent.join("; "));
    Err(WorktreeError::NotFresh { freshness: Freshness::Unknown, message })
}
