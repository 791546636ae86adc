//! Scan: what a base means here, which tip it has, and how fresh that tip is.
//!
//! The default branch is detected, never assumed: the current branch's upstream or itself, else what the remote's
//! `HEAD` says. Resolving asks the remote unless told not to, and never moves anything but tracking refs.

use std::time::Duration;

use super::error::{Result, WorktreeError};
use super::freshness::{self, Newer, Relation, Verdict};
use super::quarantine::Kept;
use super::remote::{self, RemoteBranch};
use super::repository::Repository;
use super::together::{Together, together};
use crate::model::freshness::MISSING_MAX;
use crate::model::{BaseReport, BranchName, CommitId, Freshness, Proof, StalePolicy};
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

/// How a base is to be looked up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Do not ask the remote.
    pub offline: bool,
    /// How long a remote may take.
    pub deadline: Duration,
    /// Offline, the last answer of the remote counts as far as nothing has moved since: for looking, never for a decision.
    pub recall: bool,
}

/// A base with its report and, if it could not be proved, why.
#[derive(Clone, Debug)]
pub struct ResolvedBase {
    /// What it names.
    pub target: BaseTarget,
    /// What is known.
    pub report: BaseReport,
    /// Why the remote gave no full answer.
    pub remote_error: Option<String>,
    /// The two tips, when the branch here and the one on the remote both have commits of their own.
    pub diverged: Option<Diverged>,
}

/// The tips of a branch that has diverged from its counterpart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diverged {
    /// Of the branch here.
    pub local: CommitId,
    /// Of the one on the remote.
    pub remote: CommitId,
}

/// Resolves a base to a commit and reports its freshness.
pub fn resolve(repo: &Repository, asked: Option<&str>, lookup: Lookup) -> Result<ResolvedBase> {
    let reader = repo.reader();
    let (reference, target) = match asked {
        Some(text) => (text.to_owned(), named(repo, &reader, text)?),
        None => default_base(repo, &reader, lookup)?,
    };
    match target {
        BaseTarget::Fixed(ref commit) => {
            let report = BaseReport::fixed(&reference, commit.clone());
            Ok(ResolvedBase { target, report, remote_error: None, diverged: None })
        }
        BaseTarget::Branch { local, remote } => resolve_branch(repo, reference, local, remote, lookup),
    }
}

/// A base that the policy accepts, to start from.
#[derive(Debug)]
#[must_use = "what keeps the commit has to be released"]
pub struct Accepted {
    /// What is known of it, its commit included.
    pub report: BaseReport,
    /// What keeps a commit that was made for it until a ref holds it.
    pub kept: Option<Kept>,
    /// What is to be said about it.
    pub warning: Option<String>,
}

/// Applies the policy: a refusal, or a base with what is to be said about it.
pub fn enforce(repo: &Repository, base: &ResolvedBase, policy: StalePolicy) -> Result<Accepted> {
    let report = base.report.clone();
    let sentence = describe(&base.report, base.remote_error.as_deref());
    match freshness::verdict(report.freshness, policy) {
        Verdict::Proceed => Ok(Accepted { report, kept: None, warning: None }),
        Verdict::Warn => Ok(Accepted { report, kept: None, warning: Some(sentence) }),
        Verdict::Block => Err(WorktreeError::NotFresh { freshness: report.freshness, message: sentence }),
        Verdict::Update => {
            let Together { report, kept } = together(repo, base)?;
            Ok(Accepted { report, kept, warning: Some(format!("{sentence}; both sides were brought together")) })
        }
    }
}

/// The sentence that says how a base stands.
pub fn describe(report: &BaseReport, remote_error: Option<&str>) -> String {
    let name = &report.reference;
    match (report.freshness, remote_error) {
        (Freshness::Fresh, _) => format!("base `{name}` is fresh"),
        (Freshness::Stale, _) => format!("base `{name}` is stale: {} commits behind", report.behind),
        (Freshness::Diverged, _) => {
            format!("base `{name}` has diverged from its remote: {} ahead, {} behind", report.ahead, report.behind)
        }
        (Freshness::Unknown, Some(error)) => format!("freshness of base `{name}` is unknown: {error}"),
        (Freshness::Unknown, None) => format!("freshness of base `{name}` is unknown: the remote was not asked"),
    }
}

fn named(repo: &Repository, reader: &Reader, text: &str) -> Result<BaseTarget> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(WorktreeError::NotFound { kind: "ref", name: text.escape_debug().to_string() });
    }
    if let Ok(branch) = BranchName::parse(text) {
        if reader.ref_commit(&branch.full_ref())?.is_some() {
            let remote = counterpart(repo, reader, &branch)?;
            return Ok(BaseTarget::Branch { local: Some(branch), remote });
        }
        let remotes = remotes(repo)?;
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
    match reader.revision(text)? {
        Some(commit) => Ok(BaseTarget::Fixed(commit)),
        None => Err(WorktreeError::NotFound { kind: "ref", name: text.to_owned() }),
    }
}

fn default_base(repo: &Repository, reader: &Reader, lookup: Lookup) -> Result<(String, BaseTarget)> {
    let here = Reader::open(&repo.git, &repo.git_dir);
    let current = here.symbolic_target("HEAD")?;
    let current = current.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
    if let Some(branch) = current.and_then(|name| BranchName::parse(name).ok()) {
        // A bare repository's HEAD names its default branch, a worktree's the branch one works on: both are what is meant.
        if reader.ref_commit(&branch.full_ref())?.is_some() {
            let remote = counterpart(repo, reader, &branch)?;
            return Ok((branch.to_string(), BaseTarget::Branch { local: Some(branch), remote }));
        }
    }
    let remotes = remotes(repo)?;
    let origin = remotes.iter().find(|name| *name == "origin").or(remotes.first());
    if let Some(origin) = origin {
        let tracked = reader.symbolic_target(&format!("refs/remotes/{origin}/HEAD"))?;
        let tracked = tracked.and_then(|name| Some(name.strip_prefix(&format!("refs/remotes/{origin}/"))?.to_owned()));
        let asked = || if lookup.offline { None } else { remote::default_branch(repo, origin, lookup.deadline) };
        if let Some(branch) = tracked.or_else(asked) {
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
fn counterpart(repo: &Repository, reader: &Reader, branch: &BranchName) -> Result<Option<RemoteBranch>> {
    let remote = reader.config(&format!("branch.{branch}.remote"))?;
    let merge = reader.config(&format!("branch.{branch}.merge"))?;
    if let (Some(remote), Some(merge)) = (remote, merge) {
        let followed = merge.strip_prefix("refs/heads/").filter(|_| remote != ".");
        return Ok(followed.map(|followed| remote_branch(&remote, followed)));
    }
    let remotes = remotes(repo)?;
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
    }
}

fn remotes(repo: &Repository) -> Result<Vec<String>> {
    Ok(repo.bare(["remote"]).text()?.lines().map(str::to_owned).collect())
}

fn resolve_branch(
    repo: &Repository,
    reference: String,
    local: Option<BranchName>,
    remote: Option<RemoteBranch>,
    lookup: Lookup,
) -> Result<ResolvedBase> {
    let answer = match &remote {
        Some(branch) if !lookup.offline => Some(remote::ask(repo, branch, lookup.deadline)?),
        Some(branch) if lookup.recall => remote::last_answer(repo, branch)?,
        _ => None,
    };
    let reader = repo.reader();
    let local_tip = local.as_ref().map(|name| reader.ref_commit(&name.full_ref())).transpose()?.flatten();
    let tracked = remote.as_ref().map(|branch| reader.ref_commit(&branch.tracking)).transpose()?.flatten();
    // A branch that the remote no longer has leaves only what is here.
    let remote_tip = answer.as_ref().and_then(|answer| answer.tip.clone()).or(tracked);
    let mut diverged = None;
    let (commit, newest) = match (local_tip, remote_tip) {
        (Some(local), Some(remote)) => {
            let relation = relation(&reader, &local, &remote)?;
            if relation.ahead > 0 && relation.behind > 0 {
                diverged = Some(Diverged { local: local.clone(), remote: remote.clone() });
            }
            match freshness::newer(relation) {
                Newer::Local => (local, remote),
                Newer::Remote => (remote.clone(), remote),
            }
        }
        (Some(only), None) | (None, Some(only)) => (only.clone(), only),
        (None, None) => return Err(WorktreeError::NotFound { kind: "branch", name: reference }),
    };
    let proof = match (&remote, &answer) {
        (None, _) => Proof::Local,
        (Some(_), Some(answer)) => answer.proof,
        (Some(_), None) => Proof::None,
    };
    let report = report(&reader, &reference, commit, &newest, proof)?;
    let report = BaseReport {
        remote_commit: answer.as_ref().and_then(|answer| answer.tip.clone()),
        fetched_at: answer.as_ref().filter(|answer| answer.proof != Proof::None).map(|answer| answer.at),
        ..report
    };
    let remote_error = answer.and_then(|answer| answer.error);
    Ok(ResolvedBase { target: BaseTarget::Branch { local, remote }, report, remote_error, diverged })
}

fn relation(reader: &Reader, local: &CommitId, remote: &CommitId) -> Result<Relation> {
    let (ahead, behind) = reader.ahead_behind(local, remote)?;
    Ok(Relation { ahead, behind })
}

/// How `commit` stands to the newest tip known of its base.
pub fn report(
    reader: &Reader,
    reference: &str,
    commit: CommitId,
    newest: &CommitId,
    proof: Proof,
) -> Result<BaseReport> {
    let (ahead, behind) = reader.ahead_behind(&commit, newest)?;
    let missing = if behind == 0 { Vec::new() } else { reader.commits_between(&commit, newest, MISSING_MAX)? };
    Ok(BaseReport {
        reference: reference.to_owned(),
        freshness: freshness::judge(Relation { ahead, behind }, proof),
        commit,
        ahead,
        behind,
        missing: missing.into_iter().map(|(_, subject)| subject).collect(),
        remote_commit: None,
        fetched_at: None,
        proof,
    })
}
