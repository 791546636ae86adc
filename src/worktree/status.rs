//! Scan: how a workspace stands now: its tip, its freshness, what it is in the middle of; where to look for changes.
//!
//! git is run only in plain workspaces; in a sealed one a child could have planted what git would start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::base::{self, ResolvedBase};
use super::checkouts::{self, Checkout};
use super::error::{Result, WorktreeError};
use super::freshness::{self, Relation};
use super::index_copy::LookedAt;
use super::remote::Lookup;
use super::repository::Repository;
use super::seen::Seen;
use super::stack::{self, Lower};
use super::together;
use crate::model::freshness::MISSING_MAX;
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, CommitId, Freshness, Proof};
use crate::sys::fs;
use crate::sys::git::Reader;

/// How a workspace stands.
#[derive(Clone, Debug)]
pub struct WorkspaceStatus {
    /// Its base, with freshness, ahead and behind as of its tip.
    pub base: BaseReport,
    /// Why the remote gave no full answer.
    pub remote_error: Option<String>,
    /// Where uncommitted changes are to be looked for; `None` when that must not be from outside (sealed) or cannot be (gone).
    pub looked_at: Option<LookedAt>,
    /// Its directory is there.
    pub present: bool,
    /// What it has checked out, when that is not its own branch: another branch, or `HEAD` for none.
    pub elsewhere: Option<String>,
    /// What it is in the middle of.
    pub operations: Vec<&'static str>,
}

/// Looks at any number of workspaces: the worktrees are scanned once, and each base is resolved (and its remote asked) once.
pub struct Survey<'a> {
    repo: &'a Repository,
    reader: Reader,
    checkouts: Vec<Checkout>,
    by_tree: BTreeMap<PathBuf, usize>,
    lower: Lower,
    lookup: Lookup,
    bases: BTreeMap<String, Newest>,
    standings: BTreeMap<(CommitId, CommitId), BaseReport>,
}

/// The newest tip of a base, or why there is none any more.
#[derive(Clone)]
enum Newest {
    Known(Box<ResolvedBase>),
    Gone(String),
}

impl<'a> Survey<'a> {
    /// Scans the worktrees; `records` are all workspaces of the repository.
    pub fn begin(repo: &'a Repository, records: &[WorkspaceRecord], lookup: Lookup) -> Result<Self> {
        let (checkouts, lower) = (checkouts::scan(repo)?, stack::lower(records));
        let trees = checkouts.iter().enumerate().filter_map(|(at, checkout)| Some((checkout.tree.clone()?, at)));
        let by_tree = trees.collect();
        // Who only looks looks at one moment; who asks remotes or moves branches reads each time.
        let reader = if lookup.recall { repo.reader().remembering()? } else { repo.reader() };
        Ok(Survey {
            repo,
            reader,
            checkouts,
            by_tree,
            lower,
            lookup,
            bases: BTreeMap::new(),
            standings: BTreeMap::new(),
        })
    }

    /// Looks at a workspace.
    pub fn status(&mut self, record: &WorkspaceRecord) -> Result<WorkspaceStatus> {
        let present = fs::exists(&record.path)?;
        let (base, remote_error) = self.freshness(record)?;
        let looked_at = if record.sealed || !present { None } else { Some(self.looked_at(record)?) };
        let checkout = self.checkout(record).filter(|_| !record.sealed);
        let branch = checkout.map(|checkout| checkout.branch.clone().unwrap_or_else(|| "HEAD".into()));
        let elsewhere = branch.filter(|branch| *branch != record.branch.as_str());
        let operations = checkout.iter().flat_map(|checkout| checkout.held.iter().map(|(_, what)| *what)).collect();
        Ok(WorkspaceStatus { base, remote_error, looked_at, present, elsewhere, operations })
    }

    /// How fresh a workspace is against the newest tip of its base, and why the remote gave no full answer.
    pub fn freshness(&mut self, record: &WorkspaceRecord) -> Result<(BaseReport, Option<String>)> {
        let (reference, stack, moved) = self.standing_on(record)?;
        let ResolvedBase { report: newest, remote_error, diverged, .. } = match self.newest(&reference)? {
            Newest::Known(resolved) => *resolved,
            // Nothing can be said about freshness, and that is what is said.
            Newest::Gone(why) => {
                let report = BaseReport { freshness: Freshness::Unknown, proof: Proof::None, ..record.base.clone() };
                return Ok((report, Some(why)));
            }
        };
        let tip = self.tip(record)?.unwrap_or_else(|| record.base.commit.clone());
        let reader = &self.reader;
        let standing = match &diverged {
            None => {
                let pair = (tip, newest.commit.clone());
                let known = match self.standings.get(&pair) {
                    Some(known) => known.clone(),
                    None => base::report(reader, "", pair.0.clone(), &pair.1, newest.proof)?,
                };
                self.standings.insert(pair, known.clone());
                let freshness = freshness::judge(Relation { ahead: known.ahead, behind: known.behind }, newest.proof);
                BaseReport { reference: newest.reference.clone(), freshness, proof: newest.proof, ..known }
            }
            Some(sides) => {
                let sides = [&sides.local, &sides.remote];
                let (ahead, behind, missing) = together::standing(reader, &tip, sides, MISSING_MAX)?;
                let freshness = freshness::judge(Relation { ahead, behind }, newest.proof);
                BaseReport { freshness, ahead, behind, missing, ..newest.clone() }
            }
        };
        let diverged = diverged.is_some().then(|| base::describe(&newest, None));
        let report = BaseReport {
            commit: record.base.commit.clone(),
            remote_commit: newest.remote_commit,
            fetched_at: newest.fetched_at.or(record.base.fetched_at),
            stack,
            ..standing
        };
        Ok((report, remote_error.or(moved).or(diverged)))
    }

    /// The base of a workspace as it is now; an error when it is gone.
    pub fn base(&mut self, record: &WorkspaceRecord) -> Result<ResolvedBase> {
        let (reference, stack, _) = self.standing_on(record)?;
        match self.newest(&reference)? {
            Newest::Known(resolved) => {
                Ok(ResolvedBase { report: BaseReport { stack, ..resolved.report }, ..*resolved })
            }
            Newest::Gone(_) => Err(WorktreeError::NotFound { kind: "base", name: reference }),
        }
    }

    /// The base that a workspace is to be held against, what is below that, and why it is another than on record.
    fn standing_on(&self, record: &WorkspaceRecord) -> Result<(String, Vec<String>, Option<String>)> {
        let base = &record.base;
        if base.stack.is_empty() {
            return Ok((base.reference.clone(), Vec::new(), None));
        }
        let (at, why) = stack::standing_on(self.repo, &self.lower, base)?;
        let mut names = base.references().skip(at).cloned();
        let reference = names.next().unwrap_or_else(|| base.reference.clone());
        Ok((reference, names.collect(), why))
    }

    fn newest(&mut self, reference: &str) -> Result<Newest> {
        if let Some(known) = self.bases.get(reference) {
            return Ok(known.clone());
        }
        let newest = match base::resolve_from(self.repo, &self.reader, Some(reference), self.lookup) {
            Ok(resolved) => Newest::Known(Box::new(resolved)),
            Err(WorktreeError::NotFound { kind, name }) => {
                Newest::Gone(format!("there is no {kind} `{name}` any more"))
            }
            Err(error) => return Err(error),
        };
        self.bases.insert(reference.to_owned(), newest.clone());
        Ok(newest)
    }

    /// What a workspace's HEAD is: its branch's tip in general, something else when a person switched.
    fn tip(&self, record: &WorkspaceRecord) -> Result<Option<CommitId>> {
        match self.checkout(record).filter(|_| !record.sealed) {
            None => Ok(self.reader.ref_commit(&record.branch.full_ref())?),
            Some(checkout) => self.head(checkout),
        }
    }

    /// The commit that a worktree has checked out.
    fn head(&self, checkout: &Checkout) -> Result<Option<CommitId>> {
        Ok(match &checkout.branch {
            Some(branch) => self.reader.ref_commit(&format!("refs/heads/{branch}"))?,
            None => Reader::open(&self.repo.git, &checkout.git_dir).revision("HEAD")?,
        })
    }

    fn looked_at(&self, record: &WorkspaceRecord) -> Result<LookedAt> {
        let Some(checkout) = self.checkout(record) else {
            let message = format!("{} is no worktree of this repository any more", record.path.display());
            let hint = "see `git worktree list`; `git worktree repair` mends moved ones";
            return Err(WorktreeError::refused(message, hint));
        };
        Ok(LookedAt { git_dir: checkout.git_dir.clone(), tree: record.path.clone(), head: self.tip(record)? })
    }

    /// The repository's main worktree, if it has one: what it has checked out, and where to look.
    pub fn main_tree(&self) -> Result<Option<(Option<String>, LookedAt)>> {
        let main = self.checkouts.iter().find(|checkout| checkout.git_dir == self.repo.common_dir);
        let Some((main, tree)) = main.and_then(|main| Some((main, main.tree.clone()?))) else { return Ok(None) };
        Ok(Some((main.branch.clone(), LookedAt { git_dir: main.git_dir.clone(), tree, head: self.head(main)? })))
    }

    /// What was found when files were last looked at.
    pub fn seen(&self) -> Result<Seen<'a>> {
        Seen::open(self.repo, &self.reader)
    }

    fn checkout(&self, record: &WorkspaceRecord) -> Option<&Checkout> {
        let at = |tree: &PathBuf| self.by_tree.get(tree).map(|at| &self.checkouts[*at]);
        at(&record.path).or_else(|| at(&fs::without_links(&record.path)))
    }
}
