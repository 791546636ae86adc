//! Scan: how a workspace stands now: its tip, its freshness, what it is in the middle of; where to look for changes.
//!
//! git is run only in plain workspaces; in a sealed one a child could have planted what git would start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::base::{self, ResolvedBase};
use super::checkouts::{self, Checkout};
use super::error::{Result, WorktreeError};
use super::former::{Was, was_at};
use super::freshness::{self, Relation};
use super::index_copy::LookedAt;
use super::landed;
use super::links::{self, Lower};
use super::remote::Lookup;
use super::repository::Repository;
use super::seen::Seen;
use super::stack::{Facts, Standing, standing_on};
use super::together;
use super::update::Foreign;
use crate::model::freshness::MISSING_MAX;
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, BranchName, CommitId, Freshness, Proof};
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
    landed: BTreeMap<(CommitId, CommitId), bool>,
    recorded: BTreeMap<String, Vec<CommitId>>,
}

/// What a workspace is to be brought up to.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its base as it is now.
    pub base: ResolvedBase,
    /// What of its history is not its own work.
    pub foreign: Foreign,
    /// It stands on another base than is on record.
    pub moved: bool,
    /// Why, or what is to be known of its base.
    pub why: Option<String>,
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
        let (checkouts, lower) = (checkouts::scan(repo)?, links::lower(records));
        let mut recorded: BTreeMap<String, Vec<CommitId>> = BTreeMap::new();
        for base in records.iter().map(|record| &record.base) {
            recorded.entry(base.reference.clone()).or_default().extend(base.remote_commit.clone());
        }
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
            landed: BTreeMap::new(),
            recorded,
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
        let (reference, stack, due) = self.standing_on(record)?;
        let resolved = match self.newest(&reference)? {
            Newest::Known(resolved) => *resolved,
            // Nothing can be said about freshness, and that is what is said.
            Newest::Gone(why) => {
                let report = BaseReport { freshness: Freshness::Unknown, proof: Proof::None, ..record.base.clone() };
                return Ok((report, Some(why)));
            }
        };
        let tip = self.tip(record)?.unwrap_or_else(|| record.base.commit.clone());
        let given_up = self.given_up(record, &due, &resolved, &tip)?;
        let standing = self.standing(&resolved, tip)?;
        let ResolvedBase { report: newest, remote_error, diverged, forced, .. } = resolved;
        let diverged = diverged.is_some().then(|| base::describe(&newest, None));
        let report = BaseReport {
            freshness: if given_up.is_some() { Freshness::Diverged } else { standing.freshness },
            commit: record.base.commit.clone(),
            remote_commit: newest.remote_commit,
            fetched_at: newest.fetched_at.or(record.base.fetched_at),
            stack,
            ..standing
        };
        let forced = given_up.or(forced);
        let told: Vec<String> = if due.why.is_some() || remote_error.is_some() {
            due.why.into_iter().chain(remote_error).collect()
        } else {
            diverged.into_iter().chain(forced).collect()
        };
        Ok((report, (!told.is_empty()).then(|| told.join("; "))))
    }

    /// How a tip stands to a base: ahead, behind, what it lacks, and how fresh that makes it.
    fn standing(&mut self, base: &ResolvedBase, tip: CommitId) -> Result<BaseReport> {
        let (newest, proof) = (&base.report, freshness::weight(base.report.proof, base.is_gone_there()));
        if let Some(sides) = &base.diverged {
            let sides = [&sides.local, &sides.remote];
            let (ahead, behind, missing) = together::standing(&self.reader, &tip, sides, MISSING_MAX)?;
            let freshness = freshness::judge(Relation { ahead, behind }, proof);
            return Ok(BaseReport { freshness, ahead, behind, missing, ..newest.clone() });
        }
        let pair = (tip, newest.commit.clone());
        let known = match self.standings.get(&pair) {
            Some(known) => known.clone(),
            None => base::report(&self.reader, "", pair.0.clone(), &pair.1, newest.proof)?,
        };
        self.standings.insert(pair, known.clone());
        let freshness = freshness::judge(Relation { ahead: known.ahead, behind: known.behind }, proof);
        Ok(BaseReport { reference: newest.reference.clone(), freshness, proof: newest.proof, ..known })
    }

    /// What a workspace still has of its base that this went back behind, in a sentence; `None` when there is no such thing.
    fn given_up(
        &self,
        record: &WorkspaceRecord,
        standing: &Standing,
        base: &ResolvedBase,
        tip: &CommitId,
    ) -> Result<Option<String>> {
        let (known, now, reader) = (&record.base.commit, &base.report.commit, &self.reader);
        let same = standing.at == 0 && !standing.foreign.is_empty() && base.diverged.is_none();
        if !same || known == now || !reader.has_commit(known)? || !reader.is_ancestor(now, known)? {
            return Ok(None);
        }
        let list = base::listed(&reader.commits_between(now, known, base::NAMED_MAX + 1)?);
        let sentence =
            || format!("its base `{}` went back, and it still has what that had: {list}", base.report.reference);
        Ok(reader.is_ancestor(known, tip)?.then(sentence))
    }

    /// What a workspace is to be brought up to; an error when its base is gone.
    pub fn due(&mut self, record: &WorkspaceRecord) -> Result<Due> {
        let (reference, stack, standing) = self.standing_on(record)?;
        let Newest::Known(resolved) = self.newest(&reference)? else {
            return Err(WorktreeError::NotFound { kind: "base", name: reference });
        };
        let tip = self.tip(record)?.unwrap_or_else(|| record.base.commit.clone());
        let given_up = self.given_up(record, &standing, &resolved, &tip)?.is_some();
        let mut commits = standing.foreign;
        // What was its own and had landed there before that was forced away stays its own.
        if let Some(forced) = &resolved.given_up
            && !self.reader.is_ancestor(&tip, forced)?
        {
            commits.push(forced.clone());
        }
        let base = ResolvedBase { report: BaseReport { stack, ..resolved.report }, ..*resolved };
        Ok(Due { base, foreign: Foreign { commits, given_up }, moved: standing.at > 0, why: standing.why })
    }

    /// The base that a workspace is to be held against, what is below that, and how that was found.
    fn standing_on(&mut self, record: &WorkspaceRecord) -> Result<(String, Vec<String>, Standing)> {
        let base = &record.base;
        let standing = if base.stack.is_empty() {
            Standing { at: 0, why: None, foreign: vec![base.commit.clone()] }
        } else {
            let lower = std::mem::take(&mut self.lower);
            let standing = standing_on(&lower, record, self);
            self.lower = lower;
            standing?
        };
        let own = record.branch.as_str();
        let mut names = base.references().skip(standing.at).filter(|name| *name != own).cloned();
        let reference = names.next().unwrap_or_else(|| base.reference.clone());
        Ok((reference, names.collect(), standing))
    }

    fn newest(&mut self, reference: &str) -> Result<Newest> {
        if let Some(known) = self.bases.get(reference) {
            return Ok(known.clone());
        }
        let recorded = self.recorded.get(reference).map(Vec::as_slice).unwrap_or_default();
        let newest = match base::resolve_from(self.repo, &self.reader, Some(reference), self.lookup, recorded) {
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

    /// What it reads branches and settings with.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Where the files of a plain workspace are.
    pub(super) fn looked_at(&self, record: &WorkspaceRecord) -> Result<LookedAt> {
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

impl Facts for Survey<'_> {
    fn tips(&mut self, name: &str) -> Result<Vec<CommitId>> {
        Ok(match self.newest(name)? {
            Newest::Known(resolved) if resolved.is_gone() => Vec::new(),
            Newest::Known(resolved) => match resolved.diverged {
                Some(sides) => vec![sides.local, sides.remote],
                None => vec![resolved.report.commit],
            },
            Newest::Gone(_) => Vec::new(),
        })
    }

    fn has_landed(&mut self, work: &CommitId, target: &CommitId) -> Result<bool> {
        let pair = (work.clone(), target.clone());
        if let Some(known) = self.landed.get(&pair) {
            return Ok(*known);
        }
        let landed = self.reader.has_commit(work)? && landed::has_landed(self.repo, work, target)?;
        self.landed.insert(pair, landed);
        Ok(landed)
    }

    fn has_had(&mut self, name: &str, commit: &CommitId) -> Result<bool> {
        let tips = self.tips(name)?;
        for tip in &tips {
            if !self.reader.has_commit(commit)? || self.reader.is_ancestor(commit, tip)? {
                return Ok(true);
            }
        }
        let Ok(branch) = BranchName::parse(name) else { return Ok(false) };
        // Of a branch that is only on the remote no log tells what was here.
        let here = self.reader.ref_commit(&branch.full_ref())?.is_some();
        Ok(match was_at(&self.reader, &branch.full_ref(), &tips, commit)? {
            Was::There => true,
            Was::Never => false,
            Was::Untold => here,
        })
    }
}
