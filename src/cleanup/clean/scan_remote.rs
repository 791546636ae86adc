//! Scan: the branches of remotes, for `clean --remote`: asks each remote what it has and its forge for pull requests, fetches the tips
//! that are to be judged, and looks at each.
//!
//! A remote that does not answer, or that is pushed to elsewhere, is named, and all that it has stays. A pull request of which nothing
//! is known may be open.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::ahead::Question;
use super::facts::{Facts, RemoteBranchFact, TaskBranch};
use super::look::Scan;
use super::remote_asked::{self, Asked, Pulls};
use super::remote_grace::Grace;
use super::scan_branches::{based_upon, is_on_the_line_of_any};
use super::scan_runs::is_named_like_a_tasks;
use super::types::{CleanPolicy, DoomedRemoteBranch, Kept, Kind};
use super::whole;
use crate::cleanup::error::Result;
use crate::cleanup::integration;
use crate::cleanup::trunk::BUILT_UPON;
use crate::cleanup::verdict::{NotIntegrated, Target, Verdict};
use crate::model::cause::chain;
use crate::model::operation::{OperationRecord, RemovedItem, UndoData};
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, BranchName, CommitId, WorkspaceName};
use crate::store::Store;
use crate::worktree::Repository;
use crate::worktree::remote_push::RemoteTip;
use crate::worktree::remote_refs::{fetch, silence, tracking};

/// What was asked of remotes, and whose their branches are.
#[derive(Default)]
pub struct Remotes {
    asked: Vec<Asked>,
    /// Branches that workspaces were made with, by name.
    made: BTreeMap<String, Made>,
    /// What is known of remotes that did not answer stays known.
    silent: Vec<String>,
    deadline: Duration,
}

/// A branch that a workspace was made with.
struct Made {
    /// What it began on.
    base: BaseReport,
    /// Where it was when its workspace was removed; none while there is a workspace.
    removed_at: Option<CommitId>,
}

impl Made {
    /// True where a branch of that name with this tip is that one, and no other of the same name.
    fn is(&self, tip: &CommitId) -> bool {
        self.removed_at.as_ref().is_none_or(|removed| removed == tip)
    }
}

impl Remotes {
    /// Asks all of them, and fetches what will be looked at.
    pub fn ask(
        repo: &Repository,
        store: &Store,
        (policy, deadline): (&CleanPolicy, Duration),
        operations: &[OperationRecord],
        facts: &mut Facts,
    ) -> Result<Remotes> {
        let made = made(store.workspaces()?, operations);
        let mut remotes = Remotes { made, deadline, ..Remotes::default() };
        for remote in repo.reader().remotes()? {
            let asked = remote_asked::ask(repo, &remote, deadline).and_then(|mut asked| {
                let built_upon = BUILT_UPON.map(str::to_owned);
                let bases = remotes
                    .made
                    .values()
                    .flat_map(|made| made.base.references())
                    .map(|name| on(&remote, name).to_owned());
                let targets: BTreeSet<String> =
                    asked.has.default.iter().cloned().chain(built_upon).chain(bases).collect();
                let ours = |(name, tip): &(&String, &CommitId)| {
                    is_named_like_a_tasks(name) || remotes.made.get(*name).is_some_and(|made| made.is(tip))
                };
                let wanted = asked.has.branches.iter().filter(|branch| policy.all_branches || ours(branch));
                asked.candidates = wanted.map(|(name, _)| name.clone()).collect();
                let names = asked.candidates.iter().chain(&targets).collect::<BTreeSet<_>>();
                let there: Vec<(&str, &CommitId)> = names
                    .into_iter()
                    .filter_map(|name| asked.has.branches.get_key_value(name))
                    .map(|(name, tip)| (name.as_str(), tip))
                    .collect();
                fetch(repo, &remote, &there, deadline).map_err(|error| silence(&error))?;
                Ok(asked)
            });
            match asked {
                Ok(asked) => {
                    let stays = |name: &String| Kept {
                        kind: Kind::Branch,
                        item: tracking(&remote, name),
                        reason: "no branch may be called so here".to_owned(),
                    };
                    facts.unreadable.extend(asked.has.unreadable.iter().map(stays));
                    remotes.asked.push(asked);
                }
                Err(reason) => {
                    facts.unreadable.push(Kept { kind: Kind::Branch, item: remote.clone(), reason });
                    remotes.silent.push(remote);
                }
            }
        }
        Ok(remotes)
    }

    /// Finds out where the work of each would be.
    pub fn compared(self, scan: &mut Scan<'_>) -> Result<Compared> {
        let trunk = scan.trunk()?;
        let mut compared = Compared { candidates: Vec::new(), remotes: self };
        for asked in &compared.remotes.asked {
            for name in &asked.candidates {
                let is_standing = asked.has.default.as_ref() == Some(name) || BUILT_UPON.contains(&name.as_str());
                let Some(tip) = asked.has.branches.get(name).filter(|_| !is_standing) else { continue };
                let base = compared.remotes.made.get(name).filter(|made| made.is(tip)).map(|made| &made.base);
                let mut here = base.map_or(Ok(Vec::new()), |base| scan.targets_of(base))?;
                here.extend_from_slice(&trunk.targets);
                // What somebody else's copy of the repository has taken in is nothing to this one.
                let (itself, named) = (tracking(&asked.remote, name), asked.targets(&here));
                let named: Vec<(RemoteTip, Target)> = named.into_iter().filter(|(tip, _)| tip.0 != *name).collect();
                let (there, targets) = named.into_iter().unzip();
                let question = Question {
                    tip: tip.clone(),
                    base: base.map(|base| base.commit.clone()),
                    targets,
                    name: itself,
                    counted: false,
                };
                let alias = asked.has.aliases.get(name).map(|of| format!("it is another name of `{of}`"));
                let named_by = asked.has.aliases.iter().find(|(_, of)| *of == name);
                let stays = alias.or(named_by.map(|(other, _)| format!("`{other}` is another name of it")));
                let (remote, branch) = (asked.remote.clone(), name.clone());
                compared.candidates.push(Candidate { remote, branch, question, there, stays });
            }
        }
        Ok(compared)
    }
}

/// A branch of a remote that may go, by whose it is.
struct Candidate {
    remote: String,
    branch: String,
    question: Question,
    /// Its targets, by their names there.
    there: Vec<RemoteTip>,
    /// Why it stays whatever its work is.
    stays: Option<String>,
}

/// What was asked, and what is to be found out.
pub struct Compared {
    remotes: Remotes,
    candidates: Vec<Candidate>,
}

/// A branch here: its name, its tip, and what it tracks.
struct Local {
    name: BranchName,
    tip: CommitId,
    upstream: String,
}

/// The branches here, to be found by name and by what they track.
struct Locals {
    all: Vec<Local>,
    by_name: HashMap<String, usize>,
    by_upstream: HashMap<String, Vec<usize>>,
}

impl Locals {
    fn new(all: Vec<Local>) -> Locals {
        let by_name = all.iter().enumerate().map(|(number, local)| (local.name.to_string(), number)).collect();
        let mut by_upstream: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, local) in all.iter().enumerate() {
            by_upstream.entry(local.upstream.clone()).or_default().push(number);
        }
        Locals { all, by_name, by_upstream }
    }

    /// Those that are called like a branch of a remote, or track it.
    fn of(&self, branch: &str, tracking: &str) -> Vec<&Local> {
        let tracks = self.by_upstream.get(tracking).into_iter().flatten();
        let numbers: BTreeSet<&usize> = self.by_name.get(branch).into_iter().chain(tracks).collect();
        numbers.into_iter().filter_map(|number| self.all.get(*number)).collect()
    }
}

/// What is here and is looked up once.
struct Here {
    locals: Locals,
    /// Branches that something is based on, in words.
    based: BTreeMap<String, String>,
    /// Where the history of a shallow clone ends.
    edge: BTreeSet<String>,
}

impl Compared {
    /// What will be asked about each.
    pub fn questions(&self) -> impl Iterator<Item = Question> + '_ {
        self.candidates.iter().map(|candidate| candidate.question.clone())
    }

    fn pulls(&self) -> impl Iterator<Item = &Pulls> {
        self.remotes.asked.iter().map(|asked| &asked.pulls)
    }

    /// Notes for each tip that a forge merged, and that nothing else proves, that it is in its target.
    pub fn prove_by_forge(&self, scan: &Scan<'_>, questions: &[Question]) -> Result<()> {
        for question in questions {
            let merged: Vec<CommitId> = self.pulls().flat_map(|pulls| pulls.merged_as(&question.tip)).collect();
            if merged.is_empty() || verdict(scan, question)? != Err(NotIntegrated::Unproved) {
                continue;
            }
            let targets = integration::others(&question.name, &question.targets);
            if let Some(verdict) = remote_asked::by_forge(scan.repo, &question.tip, &merged, &targets)? {
                scan.around.proofs.learn((&question.tip, question.base.as_ref()), &targets, &verdict);
            }
        }
        Ok(())
    }

    /// Looks at each, and at what pull requests need here.
    pub fn scan(&self, scan: &Scan<'_>, facts: &mut Facts) -> Result<()> {
        if scan.policy.remote.is_none() {
            return Ok(());
        }
        let based = based_upon(&scan.records, &scan.store.runs()?);
        let here = Here { locals: locals(scan)?, based, edge: whole::edge(scan.repo)? };
        let mut grace = Grace::open(scan.repo);
        for candidate in &self.candidates {
            match self.look(scan, candidate, &here) {
                Ok(mut fact) => {
                    if fact.branch.integrated.is_ok() {
                        fact.proven_since = Some(grace.since(&fact.doomed, scan.policy.now));
                    }
                    facts.remote_branches.push(fact);
                }
                Err(error) => {
                    let reason = format!("it cannot be looked at: {}", chain(&error));
                    let item = candidate.question.name.clone();
                    facts.unreadable.push(Kept { kind: Kind::Branch, item, reason });
                }
            }
        }
        self.remotes.silent.iter().for_each(|remote| grace.retain(remote));
        grace.keep();
        let needs = |name: &str, tip: &CommitId| self.pulls().find_map(|pulls| pulls.needs(name, tip));
        for own in &mut facts.branches {
            let name = own.branch.name.strip_prefix("refs/heads/").unwrap_or(&own.branch.name);
            own.needed_by = own.needed_by.take().or_else(|| needs(name, &own.branch.tip));
        }
        for workspace in &mut facts.workspaces {
            let tip = workspace.facts.branch.as_ref().map(|branch| &branch.tip);
            workspace.request = tip.and_then(|tip| needs(workspace.facts.record.branch.as_str(), tip));
        }
        Ok(())
    }

    fn look(&self, scan: &Scan<'_>, candidate: &Candidate, around: &Here) -> Result<RemoteBranchFact> {
        let Candidate { remote, branch, question, there, stays } = candidate;
        let Question { name, tip, base, targets, .. } = question;
        let here = around.locals.of(branch, name);
        let on_it = |record: &&WorkspaceRecord| here.iter().any(|local| local.name == record.branch);
        let workspace = scan.records.iter().find(on_it);
        let tree = workspace.map(|record| record.path.as_path()).unwrap_or_else(|| "".as_ref());
        let elsewhere = here.iter().find_map(|local| scan.around.used_elsewhere(local.name.as_str(), None, tree));
        let needed = [branch.clone(), format!("{remote}/{branch}")]
            .into_iter()
            .chain(here.iter().map(|local| local.name.to_string()))
            .find_map(|name| around.based.get(&format!("refs/heads/{name}")));
        let request = || self.pulls().find_map(|pulls| pulls.needs(branch, tip));
        let needed_by = match stays.clone().or(needed.cloned()).or_else(request) {
            Some(why) => Some(why),
            None => ahead_here(scan, question, &here)?,
        };
        let integrated = verdict(scan, question)?;
        let needed_by = match needed_by {
            // Of one that stays anyway nobody has to know.
            None if integrated.is_ok() && !whole::is_here(scan.repo, &around.edge, tip, targets)? => {
                Some("what it has is not all here, so it could not be brought back".to_owned())
            }
            other => other,
        };
        let has_work = match base {
            Some(base) => base != tip,
            None => is_named_like_a_tasks(branch) || !is_on_the_line_of_any(scan, tip, targets)?,
        };
        let doomed = DoomedRemoteBranch {
            remote: remote.clone(),
            branch: branch.clone(),
            tip: tip.clone(),
            targets: there.clone(),
            deadline: self.remotes.deadline,
        };
        let branch = TaskBranch {
            name: name.clone(),
            elsewhere,
            integrated,
            landed: None,
            protected: scan.protected(branch),
            tip: tip.clone(),
        };
        let workspace: Option<WorkspaceName> = workspace.map(|record| record.name.clone());
        let committed_at = scan.committed_at(tip)?;
        Ok(RemoteBranchFact { doomed, branch, has_work, committed_at, proven_since: None, workspace, needed_by })
    }
}

/// Where the work of a branch is, as far as that can be proved.
fn verdict(scan: &Scan<'_>, question: &Question) -> Result<Verdict> {
    let Question { name, tip, base, targets, .. } = question;
    integration::integrated(scan.repo, &scan.around.proofs, name, (tip, base.as_ref()), targets)
}

/// Says which branch here has work that nothing but itself has yet: its next push needs the one there.
fn ahead_here(scan: &Scan<'_>, question: &Question, here: &[&Local]) -> Result<Option<String>> {
    for local in here.iter().filter(|local| local.tip != question.tip) {
        let is_behind = scan.around.reader.is_ancestor(&local.tip, &question.tip)?;
        let work = Question { tip: local.tip.clone(), ..question.clone() };
        if !is_behind && verdict(scan, &work)?.is_err() {
            return Ok(Some(format!("the branch `{}` here has work that is in no target", local.name)));
        }
    }
    Ok(None)
}

/// The branch of a remote that a base means, where it means one.
fn on<'a>(remote: &str, base: &'a str) -> &'a str {
    base.strip_prefix(remote).and_then(|rest| rest.strip_prefix('/')).unwrap_or(base)
}

/// The branches of workspaces: of those that are there, and of those that were removed.
fn made(workspaces: Vec<WorkspaceRecord>, operations: &[OperationRecord]) -> BTreeMap<String, Made> {
    let mut found = BTreeMap::new();
    for operation in operations {
        let UndoData::Removal { items } = &operation.undo else { continue };
        for item in items {
            if let RemovedItem::Workspace { record } = item {
                let full = record.branch.full_ref();
                let tip = items.iter().find_map(|item| match item {
                    RemovedItem::Ref { name, commit, .. } if *name == full => Some(commit.clone()),
                    _ => None,
                });
                let removed_at = tip.or(Some(record.base.commit.clone()));
                found.insert(record.branch.to_string(), Made { base: record.base.clone(), removed_at });
            }
        }
    }
    let there = |record: WorkspaceRecord| {
        let branch = record.branch.to_string();
        (branch, Made { base: record.base, removed_at: None })
    };
    found.extend(workspaces.into_iter().map(there));
    found
}

fn locals(scan: &Scan<'_>) -> Result<Locals> {
    let format = "--format=%(refname:lstrip=2)%00%(objectname)%00%(upstream)";
    let output = scan.repo.bare(["for-each-ref", format, "refs/heads/"]).run()?.stdout;
    let local = |line: &[u8]| {
        let mut parts = std::str::from_utf8(line).ok()?.split('\0');
        let (name, tip) = (BranchName::parse(parts.next()?).ok()?, CommitId::parse(parts.next()?).ok()?);
        Some(Local { name, tip, upstream: parts.next()?.to_owned() })
    };
    Ok(Locals::new(output.split(|byte| *byte == b'\n').filter_map(local).collect()))
}
