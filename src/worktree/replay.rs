//! Replaying commits onto another one in memory, as `git rebase` does: each is merged with its own parent as merge base.
//!
//! What becomes empty, and what the other side has already, is left out; what was empty from the start is kept, authors and messages are kept. New objects go to
//! a quarantine; no ref, index or worktree is touched.

use super::error::{Result, WorktreeError};
use super::merge::{self, Merged, Signature, merge_trees};
use super::quarantine::Quarantine;
use crate::model::CommitId;
use crate::sys::git::GitError;

/// A commit as it is to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: CommitId,
    /// Its first parent; `None` for a root.
    pub parent: Option<CommitId>,
    /// Who wrote it, and when.
    pub author: Signature,
    /// Its message.
    pub message: String,
    /// The other side of the range has the same change already (only where the selection asks for `--cherry-mark`).
    pub known: bool,
}

/// What replaying gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a conflict is an answer, not an error"]
pub enum Replayed {
    /// The new tip.
    Done(CommitId),
    /// A commit whose changes do not go together with what it is put on.
    Conflict {
        /// The commit.
        commit: CommitId,
        /// The files.
        paths: Vec<String>,
    },
}

/// The commits that a revision range selects, parents before children; `selection` is what `git log` takes.
pub fn picks(quarantine: &Quarantine, selection: &[&str]) -> Result<Vec<Pick>> {
    let format = "--format=%m%n%H%n%T%n%P%n%an%n%ae%n%ad%n%B";
    let command = quarantine.command(["log", "-z", "--reverse", "--topo-order", "--date=raw", format]);
    let command = command.args(["--no-show-signature", "--no-decorate", "--no-notes"]).args(selection).arg("--");
    let name = command.name();
    let output = command.run()?;
    let read = |record: &[u8]| {
        let text = String::from_utf8_lossy(record);
        pick(&text).ok_or_else(|| GitError::Unexpected { command: name.clone(), output: text.into_owned() }.into())
    };
    output.records().map(read).collect()
}

fn pick(record: &str) -> Option<Pick> {
    let mut fields = record.splitn(8, '\n');
    let known = fields.next()? == "=";
    let mut id = || CommitId::parse(fields.next()?).ok();
    let (commit, tree) = (id()?, id()?);
    let parent = fields.next()?.split(' ').next().and_then(|id| CommitId::parse(id).ok());
    let author = Signature::of_author(fields.next()?, fields.next()?, fields.next()?);
    Some(Pick { commit, tree, parent, author, message: fields.next()?.to_owned(), known })
}

/// Puts commits on another one, in order. `message` gives each its words; a commit that needs no change stays what it is
/// where `message` is `None`.
pub fn replay(
    quarantine: &Quarantine,
    picks: &[Pick],
    onto: &CommitId,
    message: Option<&dyn Fn(&Pick) -> String>,
) -> Result<Replayed> {
    let mut tip = onto.clone();
    let mut tip_tree = tree_of(quarantine, onto)?;
    for pick in picks {
        if message.is_none() && pick.parent.as_ref() == Some(&tip) {
            (tip, tip_tree) = (pick.commit.clone(), pick.tree.clone());
            continue;
        }
        let base = match &pick.parent {
            Some(parent) => parent.clone(),
            None => merge::empty_commit(quarantine)?,
        };
        let was_empty = || Ok::<_, WorktreeError>(tree_of(quarantine, &base)? == pick.tree);
        if pick.known && !was_empty()? {
            continue;
        }
        let tree = match merge_trees(quarantine, Some(&base), &tip, &pick.commit)? {
            Merged::Conflict(paths) => return Ok(Replayed::Conflict { commit: pick.commit.clone(), paths }),
            Merged::Clean(tree) => tree,
        };
        if tree == tip_tree && !was_empty()? {
            continue;
        }
        let words = message.map_or_else(|| pick.message.clone(), |message| message(pick));
        tip = merge::commit_tree(quarantine, &tree, &[&tip], &words, &pick.author)?;
        tip_tree = tree;
    }
    Ok(Replayed::Done(tip))
}

/// The tree of a commit that may still be in quarantine.
pub fn tree_of(quarantine: &Quarantine, commit: &CommitId) -> Result<CommitId> {
    Ok(quarantine.command(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id()?)
}
