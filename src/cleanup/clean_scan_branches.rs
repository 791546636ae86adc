//! Scan: the branches of people, for `--branches all`: those that no workspace and no task has.
//!
//! Looks once at the list of branches; what one began on and when it moved last is in its reflog, where it has one.

use std::collections::{BTreeMap, BTreeSet};

use super::clean_look::Scan;
use super::clean_scan_runs::{is_named_like_a_tasks, task_branch};
use super::clean_types::{Facts, Kept, Kind, OwnBranch};
use super::error::Result;
use super::integration::Target;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, WorkspaceRecord};
use crate::model::{BranchName, CommitId, Timestamp};
use crate::worktree::WorktreeError;

/// A branch as the list has it.
struct Listed {
    name: String,
    tip: CommitId,
    committed_at: Timestamp,
    /// The branch that it is another name of.
    alias_of: String,
}

/// Looks at every branch that is no workspace's, no task's and no target.
pub fn scan(scan: &mut Scan<'_>, facts: &mut Facts) -> Result<()> {
    let targets = scan.targets("")?;
    let workspaces = scan.store.workspaces()?;
    let based = based_upon(&workspaces, &scan.store.runs()?);
    let ours: BTreeSet<String> = workspaces.iter().map(|workspace| workspace.branch.full_ref()).collect();
    let all = list(scan, facts)?;
    let is_target = |name: &String| targets.iter().any(|target| target.reference.as_ref() == Some(name));
    for listed in all.into_iter().filter(|one| !ours.contains(&one.name) && !is_target(&one.name)) {
        let short = listed.name.strip_prefix("refs/heads/").unwrap_or(&listed.name).to_owned();
        if is_named_like_a_tasks(&short) {
            continue;
        }
        match own_branch(scan, &listed, &short, &targets, based.get(&listed.name)) {
            Ok(found) => facts.branches.push(found),
            Err(error) => {
                let reason = format!("it cannot be looked at: {}", chain(&error));
                facts.unreadable.push(Kept { kind: Kind::Branch, item: listed.name, reason });
            }
        }
    }
    Ok(())
}

fn own_branch(
    scan: &Scan<'_>,
    listed: &Listed,
    short: &str,
    targets: &[Target],
    based: Option<&String>,
) -> Result<OwnBranch> {
    let name = BranchName::parse(short).map_err(WorktreeError::from)?;
    let log = scan.repo.common_dir.join("logs").join(&listed.name);
    let moves = std::fs::read(&log).map(|log| moves(&log)).unwrap_or_default();
    // With a tip that its log does not know, the log is of another branch of that name.
    let moves = if moves.last().is_some_and(|(to, _)| *to == listed.tip) { moves } else { Vec::new() };
    let began_on = moves.first().map(|(to, _)| to.clone());
    let needed_by = match (&listed.alias_of, based) {
        (alias, _) if !alias.is_empty() => Some(format!("it is another name of {alias}")),
        (_, Some(who)) => Some(format!("{who} is based on it")),
        (_, None) => None,
    };
    Ok(OwnBranch {
        has_work: began_on.as_ref() != Some(&listed.tip) || !is_on_the_line_of_any(scan, &listed.tip, targets)?,
        branch: task_branch(scan, &name, (listed.tip.clone(), began_on.as_ref()), targets, None, None)?,
        moved_at: moves.last().map_or(listed.committed_at, |(_, at)| *at),
        needed_by,
    })
}

/// True for a commit that a target itself was on: a branch that was made there has nothing of its own.
fn is_on_the_line_of_any(scan: &Scan<'_>, tip: &CommitId, targets: &[Target]) -> Result<bool> {
    for target in targets {
        let (tip, parents) = (tip.as_str(), format!("{tip}^@"));
        let line =
            scan.repo.bare(["rev-list", "--first-parent", target.tip.as_str(), "--not", &parents, "--"]).text()?;
        if line.lines().next_back() == Some(tip) {
            return Ok(true);
        }
    }
    Ok(false)
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

/// Every branch; a name that is no text is named and stays.
fn list(scan: &Scan<'_>, facts: &mut Facts) -> Result<Vec<Listed>> {
    let format = "--format=%(refname)%00%(objectname)%00%(committerdate:unix)%00%(symref)";
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
        let committed_at = Timestamp(parts.next()?.parse::<i64>().ok()?.saturating_mul(1000));
        Some(Listed { name, tip, committed_at, alias_of: parts.next()?.to_owned() })
    };
    Ok(lines.into_iter().filter_map(listed).collect())
}

/// The branches on which a workspace, or a run that is not over, is based or lands, with what that is.
fn based_upon(workspaces: &[WorkspaceRecord], runs: &[RunRecord]) -> BTreeMap<String, String> {
    let full = |name: &str| format!("refs/heads/{name}");
    let mut found = BTreeMap::new();
    for workspace in workspaces {
        found.extend(
            workspace.base.references().map(|name| (full(name), format!("the workspace `{}`", workspace.name))),
        );
    }
    for run in runs.iter().filter(|run| !run.state.is_terminal()) {
        found
            .extend([run.into.full_ref(), full(&run.base.reference)].map(|name| (name, format!("the run {}", run.id))));
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
