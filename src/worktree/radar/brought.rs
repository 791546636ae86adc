//! Apply, in a quarantine: open results are brought onto the target, as if each landed alone, and what that changes there is told.
//!
//! A result that has the target's tip in its history is there already. Any other is merged with it: by the history of both, or by
//! the base that landing takes. After that all of them have one base, the target, whatever commits they began from, and a
//! conflict between two of them is one of their own.

use super::hunks::{ConflictFile, count};
use super::interact::Changed;
use super::kin::Standing;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::git::GitError;
use crate::worktree::error::Result;
use crate::worktree::merge::{Outcome, stand_ins};
use crate::worktree::merging::{Merger, Pair};
use crate::worktree::quarantine::Quarantine;

/// A result that is to be brought onto the target.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its commit.
    pub commit: &'a CommitId,
    /// The commit that landing takes for its base, where that is another one than history says.
    pub base: Option<&'a CommitId>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Brought {
    /// It has nothing that the target has not.
    Nothing,
    /// It is this commit, which has the target's tip in its history.
    Onto(CommitId),
    /// It conflicts with the target.
    Against(Vec<ConflictFile>),
    /// git does not merge it with the target, for this reason, so nothing is known of it.
    Apart(String),
}

/// Brings each of them.
pub fn bring(
    (quarantine, merger): (&Quarantine, &mut Merger<'_>),
    target: &CommitId,
    sides: &[(Side<'_>, Standing)],
) -> Result<Vec<Brought>> {
    let beside = sides.iter().filter(|(_, standing)| *standing == Standing::Beside);
    let pairs: Vec<Pair<'_>> =
        beside.map(|(side, _)| Pair { base: side.base, ours: target, theirs: side.commit }).collect();
    let outcomes = merger.merge_each(&pairs);
    let (mut trees, mut conflicts) = (Vec::new(), Vec::new());
    for outcome in outcomes.iter().flatten() {
        match &outcome.conflicts {
            None => trees.push((&outcome.tree, target)),
            Some(paths) => conflicts.push((&outcome.tree, target, &paths[..])),
        }
    }
    let mut made = stand_ins(quarantine, &trees)?.into_iter();
    let mut counted = count(quarantine, &conflicts)?.into_iter();
    let merged = outcomes.iter().map(|outcome| match outcome {
        Ok(Outcome { conflicts: None, .. }) => made.next().map_or(Brought::Nothing, Brought::Onto),
        Ok(Outcome { conflicts: Some(_), .. }) => Brought::Against(counted.next().unwrap_or_default()),
        Err(error) => Brought::Apart(chain(error)),
    });
    let mut merged = merged.collect::<Vec<_>>().into_iter();
    let brought = |(side, standing): &(Side<'_>, Standing)| match standing {
        Standing::Within => Brought::Nothing,
        Standing::Ahead => Brought::Onto(side.commit.clone()),
        Standing::Unrelated => Brought::Apart("it has no history in common with the target".into()),
        Standing::Beside => merged.next().unwrap_or(Brought::Nothing),
    };
    Ok(sides.iter().map(brought).collect())
}

/// What each commit changes against another; in their order.
pub fn changed(quarantine: &Quarantine, commits: &[(&CommitId, &CommitId)]) -> Result<Vec<Changed>> {
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let args = ["diff-tree", "--stdin", "--always", "-r", "-t", "-z", "--raw", "--no-renames", "--no-abbrev"];
    // A commit, and what is to count as its parent.
    let lines: String = commits.iter().map(|(commit, base)| format!("{commit} {base}\n")).collect();
    let output = quarantine.command(args).stdin(lines).run()?.stdout;
    let mut found: Vec<Changed> = Vec::with_capacity(commits.len());
    let mut fields = output.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    while let Some(field) = fields.next() {
        match (field.strip_prefix(b":"), found.last_mut()) {
            (Some(entry), Some(changed)) => {
                let mut words = entry.split(|byte| *byte == b' ');
                if let (Some(before), Some(after), Some(path)) = (words.next(), words.next(), fields.next()) {
                    changed.add(before, after, path);
                }
            }
            (Some(_), None) => break,
            (None, _) => found.push(Changed::default()),
        }
    }
    if found.len() == commits.len() {
        return Ok(found);
    }
    let output = format!("{} commits for {}", found.len(), commits.len());
    Err(GitError::Unexpected { command: "diff-tree --stdin".into(), output }.into())
}
