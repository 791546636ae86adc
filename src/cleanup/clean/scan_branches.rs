//! Scan: the branches of people, for `--branches all`: those that no workspace and no task has.
//!
//! Looks once at the list of branches; what one began on and when it moved last is in its reflog, where it has one.

use std::collections::{BTreeMap, BTreeSet};

use super::ahead::Question;
use super::facts::{Facts, OwnBranch};
use super::look::Scan;
use super::scan_runs::{is_named_like_a_tasks, task_branch};
use super::types::{Kept, Kind};
use crate::cleanup::error::Result;
use crate::cleanup::trunk::Trunk;
use crate::cleanup::verdict::Target;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, WorkspaceRecord};
use crate::model::{BranchName, CommitId, Timestamp};
use crate::worktree::WorktreeError;

/// The branches that are looked at, and where their work would be.
#[derive(Default)]
pub struct Branches {
    listed: Vec<Listed>,
    trunk: Trunk,
}

/// A branch as the list has it.
struct Listed {
    name: String,
    tip: CommitId,
    /// The branch that it is another name of.
    alias_of: String,
    /// Where it was put and when, as far as its log goes; empty where that is another branch's of the name.
    moves: Vec<(CommitId, Timestamp)>,
}

impl Listed {
    fn short(&self) -> &str {
        self.name.strip_prefix("refs/heads/").unwrap_or(&self.name)
    }

    fn began_on(&self) -> Option<&CommitId> {
        self.moves.first().map(|(to, _)| to)
    }

    /// The commit that its work began on. One that was made where it is has none of its own, or all that somebody else did before
    /// it was made here.
    fn work_began_on(&self) -> Option<&CommitId> {
        self.began_on().filter(|base| **base != self.tip)
    }
}

impl Branches {
    /// Lists every branch that is no workspace's and no task's; a name that is no text is named and stays.
    pub fn list(scan: &Scan<'_>, facts: &mut Facts) -> Result<Branches> {
        let trunk = scan.trunk()?;
        let ours: BTreeSet<String> = scan.records.iter().map(|workspace| workspace.branch.full_ref()).collect();
        let mut listed = list(scan, facts)?;
        let is_target = |name: &String| trunk.targets.iter().any(|target| target.reference.as_ref() == Some(name));
        listed.retain(|one| !ours.contains(&one.name) && !is_target(&one.name) && !is_named_like_a_tasks(one.short()));
        for one in &mut listed {
            let log = scan.repo.common_dir.join("logs").join(&one.name);
            one.moves = std::fs::read(&log).map(|log| moves(&log)).unwrap_or_default();
            // With a tip that its log does not know, the log is of another branch of that name.
            if one.moves.last().is_none_or(|(to, _)| *to != one.tip) {
                one.moves.clear();
            }
        }
        Ok(Branches { listed, trunk })
    }

    /// What will be asked about each.
    pub fn questions(&self) -> impl Iterator<Item = Question> + '_ {
        self.listed.iter().map(|one| Question {
            name: one.name.clone(),
            tip: one.tip.clone(),
            base: one.work_began_on().cloned(),
            targets: self.trunk.targets.clone(),
            counted: false,
        })
    }

    /// Looks at each.
    pub fn scan(&self, scan: &Scan<'_>, facts: &mut Facts) -> Result<()> {
        let mut based = based_upon(&scan.records, &scan.store.runs()?);
        for alias in self.listed.iter().filter(|one| !one.alias_of.is_empty()) {
            based.entry(alias.alias_of.clone()).or_insert_with(|| format!("{} is another name of it", alias.name));
        }
        for listed in &self.listed {
            match self.own_branch(scan, listed, based.get(&listed.name)) {
                Ok(found) => facts.branches.push(found),
                Err(error) => {
                    let reason = format!("it cannot be looked at: {}", chain(&error));
                    facts.unreadable.push(Kept { kind: Kind::Branch, item: listed.name.clone(), reason });
                }
            }
        }
        Ok(())
    }

    fn own_branch(&self, scan: &Scan<'_>, listed: &Listed, based: Option<&String>) -> Result<OwnBranch> {
        let name = BranchName::parse(listed.short()).map_err(WorktreeError::from)?;
        let (tip, began_on, targets) = (&listed.tip, listed.began_on(), &self.trunk.targets[..]);
        let needed_by = match based {
            Some(who) => Some(who.clone()),
            _ if self.trunk.standing.contains(&listed.name) => Some("others may be built upon it, by its name".into()),
            _ => None,
        };
        let moved_at = match listed.moves.last() {
            Some((_, at)) => *at,
            None => scan.committed_at(tip)?,
        };
        Ok(OwnBranch {
            has_work: began_on != Some(tip) || !is_on_the_line_of_any(scan, tip, targets)?,
            branch: task_branch(scan, &name, (tip.clone(), listed.work_began_on()), targets, None, None)?,
            moved_at,
            alias_of: Some(listed.alias_of.clone()).filter(|name| !name.is_empty()),
            needed_by,
        })
    }
}

/// True for a commit that a target itself was on: a branch that was made there has nothing of its own.
pub(super) fn is_on_the_line_of_any(scan: &Scan<'_>, tip: &CommitId, targets: &[Target]) -> Result<bool> {
    for target in targets {
        if scan.around.proofs.is_on_line(tip, target, || is_on_line(scan, tip, &target.tip))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_on_line(scan: &Scan<'_>, tip: &CommitId, target: &CommitId) -> Result<bool> {
    let parents = format!("{tip}^@");
    let line = scan.repo.bare(["rev-list", "--first-parent", target.as_str(), "--not", &parents, "--"]).text()?;
    Ok(line.lines().next_back() == Some(tip.as_str()))
}

/// Where a branch was put and when, as its reflog says.
fn moves(log: &[u8]) -> Vec<(CommitId, Timestamp)> {
    let entry = |line: &[u8]| {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\t').next()?).into_owned();
        let to = CommitId::parse(line.split(' ').nth(1)?).ok()?;
        let seconds: i64 = line.rsplit(' ').nth(1)?.parse().ok()?;
        Some((to, Timestamp(seconds.saturating_mul(1000))))
    };
    log.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

fn list(scan: &Scan<'_>, facts: &mut Facts) -> Result<Vec<Listed>> {
    // Nothing is asked for that is in the commits: the list is long, and they need not be read.
    let format = "--format=%(refname)%00%(objectname)%00%(symref)";
    let output = scan.repo.bare(["for-each-ref", format, "refs/heads/"]).run()?.stdout;
    let mut lines = Vec::new();
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line) {
            Ok(line) => lines.push(line),
            Err(_) => {
                let item = String::from_utf8_lossy(line).split('\0').next().unwrap_or_default().to_owned();
                let reason = "its name is not UTF-8".to_owned();
                facts.unreadable.push(Kept { kind: Kind::Branch, item, reason });
            }
        }
    }
    let listed = |line: &str| {
        let mut parts = line.split('\0');
        let (name, tip) = (parts.next()?.to_owned(), CommitId::parse(parts.next()?).ok()?);
        Some(Listed { name, tip, alias_of: parts.next()?.to_owned(), moves: Vec::new() })
    };
    Ok(lines.into_iter().filter_map(listed).collect())
}

/// The branches on which a workspace, or a run that is not over, is based or lands, in words.
pub(super) fn based_upon(workspaces: &[WorkspaceRecord], runs: &[RunRecord]) -> BTreeMap<String, String> {
    let full = |name: &str| format!("refs/heads/{name}");
    let mut found = BTreeMap::new();
    for workspace in workspaces {
        found.extend(
            workspace
                .base
                .references()
                .map(|name| (full(name), format!("the workspace `{}` is based on it", workspace.name))),
        );
    }
    for run in runs.iter().filter(|run| !run.state.is_terminal()) {
        found.extend(
            [run.into.full_ref(), full(&run.base.reference)]
                .map(|name| (name, format!("the run {} is based on it", run.id))),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reflog_tells_where_a_branch_began_and_when_it_moved_last() {
        let (zero, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let log = format!(
            "{zero} {one} A B <a@b> 1700000000 +0100\tbranch: Created from main\nnonsense\n\
             {one} {two} A \u{e9} 7 <a@b> 1700000060 -0500\tcommit: with a\ttab\n"
        );
        let moves = moves(log.as_bytes());
        let found: Vec<(&str, i64)> = moves.iter().map(|(to, at)| (to.as_str(), at.0)).collect();
        assert_eq!(found, [(one.as_str(), 1_700_000_000_000), (two.as_str(), 1_700_000_060_000)]);
    }
}
