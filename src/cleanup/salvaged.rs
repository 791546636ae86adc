//! What was saved before removals: listing it, looking into it, bringing it back as a branch, dropping it.
//!
//! One removal saves up to three commits under one name (`head`, `index`, `worktree`; see [`super::salvage`]). Bringing back
//! never moves a branch that is there; dropping deletes by compare-and-swap.

use std::collections::BTreeMap;

use super::error::{CleanupError, Result};
use super::salvage::PREFIX;
use super::trash;
use crate::model::{BranchName, CommitId, Timestamp};
use crate::sys::git::GitError;
use crate::worktree::changes::{self, Changes};
use crate::worktree::import::update_ref;
use crate::worktree::{Repository, WorktreeError};

/// Parts that hold files, the fullest first.
const FULLEST: [&str; 3] = ["worktree", "index", "head"];

/// Everything that one removal saved of one workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Salvaged {
    /// What the verbs take: where it is from, and a mark of the removal.
    pub name: String,
    /// The workspace, or `RUN/TASK`.
    pub from: String,
    /// When.
    pub at: Timestamp,
    /// Part, ref in full, commit.
    pub parts: Vec<(String, String, CommitId)>,
}

impl Salvaged {
    /// The commit that holds most of it: what lay in the worktree, on top of what was committed.
    pub fn tip(&self) -> Option<&CommitId> {
        let of = |part: &&str| self.parts.iter().find(|(name, ..)| name == *part);
        FULLEST.iter().find_map(of).or(self.parts.first()).map(|(.., commit)| commit)
    }

    /// The part of this name.
    pub fn part(&self, part: &str) -> Option<&CommitId> {
        self.parts.iter().find(|(name, ..)| name == part).map(|(.., commit)| commit)
    }
}

/// Everything that was saved, newest first.
pub fn list(repo: &Repository) -> Result<Vec<Salvaged>> {
    let refs = repo.reader().refs_below(PREFIX)?;
    let mut found: BTreeMap<String, Salvaged> = BTreeMap::new();
    for (reference, commit) in refs {
        let Some((from, at, mark, part)) = parse(&reference) else { continue };
        let name = format!("{from}@{mark}");
        let salvaged = found.entry(name.clone());
        let salvaged = salvaged.or_insert_with(|| Salvaged { name, from: from.to_owned(), at, parts: Vec::new() });
        salvaged.parts.push((part.to_owned(), reference.clone(), commit));
    }
    let mut found: Vec<Salvaged> = found.into_values().collect();
    found.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.name.cmp(&other.name)));
    Ok(found)
}

/// Where it is from, when, the mark, the part: `…/FROM/<millis>-<mark>/PART`.
fn parse(reference: &str) -> Option<(&str, Timestamp, &str, &str)> {
    let (rest, part) = reference.strip_prefix(PREFIX)?.rsplit_once('/')?;
    let (from, stamp) = rest.rsplit_once('/')?;
    let at = trash::stamped_at(stamp)?;
    Some((from, at, stamp.split_once('-')?.1, part))
}

/// What a piece holds beyond what branches and tags hold.
#[derive(Clone, Debug)]
pub struct Content {
    /// Commits that were committed there: id and subject, newest first.
    pub commits: Vec<(String, String)>,
    /// All of it, committed or not.
    pub changes: Changes,
}

/// Looks into one.
pub fn content(repo: &Repository, salvaged: &Salvaged) -> Result<Content> {
    let Some(tip) = salvaged.tip() else {
        return Err(WorktreeError::NotFound { kind: "salvage", name: salvaged.name.clone() }.into());
    };
    let head = salvaged.part("head").unwrap_or(tip);
    let held = ["--not", "--branches", "--tags", "--remotes", "--"];
    let args = ["log", "--no-show-signature", "--format=%H %s", head.as_str()];
    let text = repo.bare(args).args(held).text()?;
    let commit = |line: &str| line.split_once(' ').map(|(id, subject)| (id.to_owned(), subject.to_owned()));
    let commits: Vec<(String, String)> = text.lines().filter_map(commit).collect();
    let bounded = repo.bare(["rev-list", "--boundary", head.as_str()]).args(held).text()?;
    let boundary = bounded.lines().find_map(|line| line.strip_prefix('-')).and_then(|id| CommitId::parse(id).ok());
    let base = match (boundary, commits.is_empty()) {
        (Some(base), _) => base,
        (None, true) => head.clone(),
        (None, false) => empty_tree(repo)?,
    };
    Ok(Content { commits, changes: changes::between(repo, &base, tip)? })
}

fn empty_tree(repo: &Repository) -> std::result::Result<CommitId, GitError> {
    repo.bare(["hash-object", "-t", "tree", "--stdin"]).stdin("").object_id()
}

/// Brings one back as a new branch.
pub fn restore(repo: &Repository, salvaged: &Salvaged, branch: &BranchName) -> Result<CommitId> {
    let Some(tip) = salvaged.tip() else {
        return Err(WorktreeError::NotFound { kind: "salvage", name: salvaged.name.clone() }.into());
    };
    match update_ref(repo, &branch.full_ref(), Some(tip), None, "treehand: brought back") {
        Ok(()) => Ok(tip.clone()),
        Err(WorktreeError::Busy { .. }) => {
            let message = format!("there is a branch `{branch}` already");
            Err(CleanupError::refused(message, "name another: --branch BRANCH"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets one go for good.
pub fn drop_it(repo: &Repository, salvaged: &Salvaged) -> Result<()> {
    for (_, reference, commit) in &salvaged.parts {
        update_ref(repo, reference, None, Some(commit), "treehand: salvage dropped")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_tells_where_it_is_from_and_when() {
        let check = |rest: &str, expected: Option<(&str, i64, &str, &str)>| {
            let reference = format!("{PREFIX}{rest}");
            let found = parse(&reference).map(|(from, at, mark, part)| (from, at.0, mark, part));
            assert_eq!(found, expected, "{rest}");
        };
        check("w/1700000000000-0123abcd/head", Some(("w", 1_700_000_000_000, "0123abcd", "head")));
        check(
            "feature/x/1700000000000-0123abcd/worktree",
            Some(("feature/x", 1_700_000_000_000, "0123abcd", "worktree")),
        );
        check("w/head", None);
        check("w/yesterday/head", None);
    }
}
