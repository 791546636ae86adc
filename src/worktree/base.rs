//! Scan: what a base means here, which tip it has, and how fresh that tip is.
//!
//! The default branch is detected, never assumed: the current branch's upstream or itself, else what the remote's
//! `HEAD` says. Resolving asks the remote unless told not to, and never moves anything but tracking refs.

use super::base_name::{self, BaseTarget};
use super::error::{Result, WorktreeError};
use super::former;
use super::freshness::{self, Newer, Relation};
use super::remote::{self, Lookup, RemoteAnswer, RemoteBranch};
use super::repository::Repository;
use crate::model::freshness::MISSING_MAX;
use crate::model::{BaseReport, BranchName, CommitId, Freshness, Proof};
use crate::sys::git::Reader;

/// A base with its report and, if it could not be proved, why.
#[derive(Clone, Debug)]
pub struct ResolvedBase {
    /// What it names.
    pub target: BaseTarget,
    /// What is known.
    pub report: BaseReport,
    /// Why the remote gave no full answer.
    pub remote_error: Option<String>,
    /// What the user should know besides: a default branch that changed, a fork that is behind.
    pub notices: Vec<String>,
    /// The two tips, when the branch here and the one on the remote both have commits of their own.
    pub diverged: Option<Diverged>,
    /// The tip of the branch here, when all that it has beyond the remote's was the remote's own and was forced away there.
    pub given_up: Option<CommitId>,
    /// A sentence on what the branch here still has that was forced away at the remote.
    pub forced: Option<String>,
}

impl ResolvedBase {
    /// True when the remote was asked and has no such branch any more.
    pub fn is_gone_there(&self) -> bool {
        matches!(&self.target, BaseTarget::Branch { remote: Some(_), .. })
            && self.report.proof == Proof::LsRemote
            && self.report.remote_commit.is_none()
    }

    /// True when that leaves nothing but where it was there last.
    pub fn is_gone(&self) -> bool {
        self.is_gone_there() && matches!(&self.target, BaseTarget::Branch { local: None, .. })
    }
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
    resolve_from(repo, &repo.reader().knowing_settings()?, asked, lookup, &[])
}

/// The same, with a reader that may know much already, and tips that the remote is on record to have named.
pub fn resolve_from(
    repo: &Repository,
    reader: &Reader,
    asked: Option<&str>,
    lookup: Lookup,
    recorded: &[CommitId],
) -> Result<ResolvedBase> {
    let (reference, target) = name_and_target(repo, reader, asked, lookup)?;
    match target {
        BaseTarget::Fixed(ref commit) => {
            let report = BaseReport::fixed(&reference, commit.clone());
            let (remote_error, notices) = (None, Vec::new());
            Ok(ResolvedBase { target, report, remote_error, notices, diverged: None, given_up: None, forced: None })
        }
        BaseTarget::Branch { local, remote } => {
            let branch = Branch { reference, local, remote };
            resolve_branch(repo, reader, branch, lookup, recorded)
        }
    }
}

/// What a base is, without how fresh it is.
pub fn target(repo: &Repository, reader: &Reader, asked: Option<&str>, lookup: Lookup) -> Result<BaseTarget> {
    Ok(name_and_target(repo, reader, asked, lookup)?.1)
}

fn name_and_target(
    repo: &Repository,
    reader: &Reader,
    asked: Option<&str>,
    lookup: Lookup,
) -> Result<(String, BaseTarget)> {
    match asked {
        Some(text) => base_name::named(repo, reader, text, lookup),
        None => base_name::default_base(repo, reader, lookup),
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

/// A branch that is a base: what it was called, and what that means.
struct Branch {
    reference: String,
    local: Option<BranchName>,
    remote: Option<RemoteBranch>,
}

fn resolve_branch(
    repo: &Repository,
    reader: &Reader,
    branch: Branch,
    lookup: Lookup,
    recorded: &[CommitId],
) -> Result<ResolvedBase> {
    let answer = match &branch.remote {
        Some(branch) if !lookup.offline => Some(remote::ask(repo, reader, branch, lookup)?),
        Some(branch) if lookup.recall => remote::last_answer(repo, reader, branch)?,
        _ => None,
    };
    // A fetch may have moved what was read before it.
    let after;
    let reader = if lookup.offline {
        reader
    } else {
        after = reader.anew();
        &after
    };
    let Tips { commit, newest, diverged, given_up, forced } = tips(reader, &branch, answer.as_ref(), recorded)?;
    let Branch { reference, local, remote } = branch;
    let proof = match (&remote, &answer) {
        (None, _) => Proof::Local,
        (Some(_), Some(answer)) => answer.proof,
        (Some(_), None) => Proof::None,
    };
    let gone = answer.as_ref().is_some_and(RemoteAnswer::is_gone);
    let report = report(reader, &reference, commit, &newest, freshness::weight(proof, gone))?;
    let report = BaseReport {
        proof,
        remote_commit: answer.as_ref().and_then(|answer| answer.tip.clone()),
        fetched_at: answer.as_ref().filter(|answer| answer.proof != Proof::None).map(|answer| answer.at),
        ..report
    };
    let mut notices = notices(reader, &report.commit, remote.as_ref(), answer.as_ref())?;
    notices.extend(forced.clone());
    let remote_error = answer.and_then(|answer| answer.error);
    let target = BaseTarget::Branch { local, remote };
    Ok(ResolvedBase { target, report, remote_error, notices, diverged, given_up, forced })
}

/// Most commits that are named in a sentence.
pub const NAMED_MAX: usize = 5;

/// Commits as a sentence names them.
pub fn listed(commits: &[(CommitId, String)]) -> String {
    let named: Vec<String> =
        commits.iter().take(NAMED_MAX).map(|(commit, subject)| format!("{} {subject}", commit.short())).collect();
    named.join(", ") + if commits.len() > NAMED_MAX { ", …" } else { "" }
}

/// The tips of a branch: the one to take, the newest that it is held against.
struct Tips {
    commit: CommitId,
    newest: CommitId,
    diverged: Option<Diverged>,
    given_up: Option<CommitId>,
    forced: Option<String>,
}

fn tips(reader: &Reader, branch: &Branch, answer: Option<&RemoteAnswer>, recorded: &[CommitId]) -> Result<Tips> {
    let Branch { reference, local, remote: counterpart } = branch;
    let local_tip = local.as_ref().map(|name| reader.ref_commit(&name.full_ref())).transpose()?.flatten();
    let tracked = counterpart.as_ref().map(|branch| reader.ref_commit(&branch.tracking)).transpose()?.flatten();
    // A branch that the remote no longer has leaves only what is here.
    let remote_tip = answer.and_then(|answer| answer.tip.clone()).or(tracked);
    let (local, remote) = match (local_tip, remote_tip) {
        (Some(local), Some(remote)) => (local, remote),
        (Some(only), None) | (None, Some(only)) => {
            return Ok(Tips { commit: only.clone(), newest: only, diverged: None, given_up: None, forced: None });
        }
        (None, None) => {
            let requested = counterpart.as_ref().is_some_and(|remote| remote.branch.starts_with('#'));
            let kind = if requested { "pull request" } else { "branch" };
            return Err(WorktreeError::NotFound { kind, name: reference.clone() });
        }
    };
    let relation = relation(reader, &local, &remote)?;
    let forced = match counterpart {
        Some(branch) if relation.ahead > 0 => forced_away(reader, reference, branch, [&local, &remote], recorded)?,
        _ => None,
    };
    let given_up = forced.as_ref().is_some_and(|forced| forced.all);
    let sides = Diverged { local: local.clone(), remote: remote.clone() };
    let diverged = (relation.ahead > 0 && relation.behind > 0 && !given_up).then_some(sides);
    let commit = match freshness::newer(relation, given_up) {
        Newer::Local => local.clone(),
        Newer::Remote => remote.clone(),
    };
    Ok(Tips {
        commit,
        newest: remote,
        diverged,
        given_up: given_up.then_some(local),
        forced: forced.map(|forced| forced.sentence),
    })
}

/// What a branch here still has of its counterpart that was forced away there.
struct Forced {
    /// It has nothing else beyond that.
    all: bool,
    sentence: String,
}

fn forced_away(
    reader: &Reader,
    reference: &str,
    branch: &RemoteBranch,
    [local, remote]: [&CommitId; 2],
    recorded: &[CommitId],
) -> Result<Option<Forced>> {
    let beyond = reader.count_own(local, &[remote])?;
    let own = former::never_there(reader, branch, local, remote, recorded)?;
    if own >= beyond {
        return Ok(None);
    }
    let still = format!("`{reference}` here still has what was forced away from `{}`", branch.remote);
    let rest = if own == 0 {
        listed(&reader.commits_between(remote, local, NAMED_MAX + 1)?)
    } else {
        let (gone, name) = (beyond - own, format!("{}/{}", branch.remote, branch.branch));
        format!("{gone} of {beyond} commits that are not there; without them: git rebase --fork-point {name}")
    };
    Ok(Some(Forced { all: own == 0, sentence: format!("{still}: {rest}") }))
}

/// What is worth knowing of the remotes: that the default branch is another now, that the fork's original has more.
fn notices(
    reader: &Reader,
    commit: &CommitId,
    remote: Option<&RemoteBranch>,
    answer: Option<&RemoteAnswer>,
) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    let Some(RemoteBranch { remote, branch, .. }) = remote else { return Ok(notices) };
    let below = format!("refs/remotes/{remote}/");
    let known = reader.symbolic_target(&format!("{below}HEAD"))?;
    let known = known.as_deref().and_then(|name| name.strip_prefix(below.as_str()));
    if let (Some(now), Some(known)) = (answer.and_then(|answer| answer.head.as_deref()), known)
        && now != known
        && known == branch
    {
        notices.push(format!(
            "the default branch of `{remote}` is `{now}` now, no longer `{known}` (git remote set-head {remote} --auto)"
        ));
    }
    let original = format!("refs/remotes/upstream/{branch}");
    if remote == "origin"
        && reader.remotes()?.iter().any(|name| name == "upstream")
        && let Some(original) = reader.ref_commit(&original)?
    {
        let (_, behind) = reader.ahead_behind(commit, &original)?;
        if behind > 0 {
            let commits = if behind == 1 { "commit" } else { "commits" };
            notices.push(format!(
                "`upstream/{branch}` has {behind} {commits} that `{branch}` lacks; to start there: --base upstream/{branch}"
            ));
        }
    }
    Ok(notices)
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
        stack: Vec::new(),
    })
}
