//! Scan: what the name of a base means here: a branch, a remote's branch, a pull request, a tag, a commit.
//!
//! The default is detected, never assumed: the branch one stands on, else what the remote's `HEAD` says. Only where that is
//! not known here, or a pull request is named, is a remote asked; nothing is moved.

use super::error::{Result, WorktreeError};
use super::remote::{self, Lookup, RemoteBranch};
use super::repository::Repository;
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

/// What a name means.
pub(super) fn named(reader: &Reader, text: &str) -> Result<BaseTarget> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(WorktreeError::NotFound { kind: "ref", name: text.escape_debug().to_string() });
    }
    if let Ok(branch) = BranchName::parse(text) {
        if reader.ref_commit(&branch.full_ref())?.is_some() {
            let remote = counterpart(reader, &branch)?;
            return Ok(BaseTarget::Branch { local: Some(branch), remote });
        }
        let remotes = reader.remotes()?;
        let split = |name: &&String| text.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let on_remote = remotes.iter().find(|name| split(name).is_some());
        let same_name = |name: &&String| reader.ref_commit(&format!("refs/remotes/{name}/{branch}"));
        let mut known = Vec::new();
        for name in &remotes {
            known.extend(same_name(&name)?.map(|_| name));
        }
        // As git itself guesses for `switch` and `worktree add`: one remote has a branch of this name.
        if let ([only], None) = (&known[..], reader.revision(text)?) {
            return Ok(BaseTarget::Branch { local: None, remote: Some(remote_branch(only, branch.as_str())) });
        }
        if let Some((name, branch)) = on_remote.and_then(|name| Some((name, split(&name)?))) {
            return Ok(BaseTarget::Branch { local: None, remote: Some(remote_branch(name, branch)) });
        }
    }
    if let Some(request) = pull_request(reader, text)? {
        return Ok(BaseTarget::Branch { local: None, remote: Some(request) });
    }
    match reader.revision(text)? {
        Some(commit) => Ok(BaseTarget::Fixed(commit)),
        None => Err(WorktreeError::NotFound { kind: "ref", name: text.to_owned() }),
    }
}

/// The base that is meant when none is named, with its name.
pub(super) fn default_base(repo: &Repository, reader: &Reader, lookup: Lookup) -> Result<(String, BaseTarget)> {
    let here = Reader::open(&repo.git, &repo.git_dir);
    let current = here.symbolic_target("HEAD")?;
    let current = current.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
    if let Some(branch) = current.and_then(|name| BranchName::parse(name).ok()) {
        // A bare repository's HEAD names its default branch, a worktree's the branch one works on: both are what is meant.
        if reader.ref_commit(&branch.full_ref())?.is_some() {
            let remote = counterpart(reader, &branch)?;
            return Ok((branch.to_string(), BaseTarget::Branch { local: Some(branch), remote }));
        }
    }
    let remotes = reader.remotes()?;
    let origin = remotes.iter().find(|name| *name == "origin").or(remotes.first());
    if let Some(origin) = origin {
        let tracked = reader.symbolic_target(&format!("refs/remotes/{origin}/HEAD"))?;
        let tracked = tracked.and_then(|name| Some(name.strip_prefix(&format!("refs/remotes/{origin}/"))?.to_owned()));
        // What the remote says now counts: its default branch may have changed since the clone.
        let asked = if lookup.offline { None } else { remote::default_branch(repo, origin, lookup.deadline) };
        if let Some(branch) = asked.or(tracked) {
            let local = BranchName::parse(&branch)?;
            let local = Some(local).filter(|name| matches!(reader.ref_commit(&name.full_ref()), Ok(Some(_))));
            return Ok((branch.clone(), BaseTarget::Branch { local, remote: Some(remote_branch(origin, &branch)) }));
        }
    }
    match here.revision("HEAD")? {
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
    let mut remotes = repo.reader().remotes()?;
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
            let answer = remote::ask(repo, &request, lookup)?;
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
