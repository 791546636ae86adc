//! Merging in memory: trees without a checkout, by git's own `ort` with renames.
//! New objects go to a quarantine; no ref, index or worktree is touched.

use super::error::Result;
use super::quarantine::Quarantine;
use crate::model::CommitId;
use crate::sys::git::GitError;

/// What a merge in memory gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a conflict is an answer, not an error"]
pub enum Merged {
    /// The tree.
    Clean(CommitId),
    /// The files that both sides changed in ways that do not go together.
    Conflict(Vec<String>),
}

/// Merges two commits; new objects go to the quarantine. Without a `base` the history's own merge bases count.
pub fn merge_trees(
    quarantine: &Quarantine,
    base: Option<&CommitId>,
    ours: &CommitId,
    theirs: &CommitId,
) -> Result<Merged> {
    let command = quarantine.command(["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"]);
    let command = command.args(base.map(|base| format!("--merge-base={base}")));
    let command = command.args([ours.as_str(), theirs.as_str()]);
    let name = command.name();
    let output = command.output()?;
    let mut records = output.records().map(|record| String::from_utf8_lossy(record).into_owned());
    let tree = records.next().and_then(|id| CommitId::parse(&id).ok());
    let mut paths: Vec<String> = records.collect();
    match (output.code(), tree) {
        (0, Some(tree)) => Ok(Merged::Clean(tree)),
        (1, Some(_)) => {
            paths.sort();
            paths.dedup();
            Ok(Merged::Conflict(paths))
        }
        (0, None) => Err(GitError::Unexpected { command: name, output: "no tree".into() }.into()),
        _ => Err(output.into_error(name).into()),
    }
}

/// Who commits, and when that is not now.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// Variables for `git commit-tree`: author (and date) of the commit that is replayed.
    pub author: Vec<(&'static str, String)>,
}

/// Writes a commit into the quarantine.
pub fn commit_tree(
    quarantine: &Quarantine,
    tree: &CommitId,
    parents: &[&CommitId],
    message: &str,
    signature: &Signature,
) -> Result<CommitId> {
    let mut command = quarantine.command(["commit-tree", tree.as_str()]);
    for parent in parents {
        command = command.args(["-p", parent.as_str()]);
    }
    for (name, value) in &signature.author {
        command = command.env(name, value);
    }
    Ok(command.stdin(message).object_id()?)
}

/// The author of a commit, to be kept by a commit that takes its place.
pub fn author_of(quarantine: &Quarantine, commit: &CommitId) -> Result<Signature> {
    let format = "--format=%an%x00%ae%x00%ad";
    let text = quarantine.command(["show", "-s", "--date=raw", format, commit.as_str(), "--"]).text()?;
    let mut fields = text.split('\0').map(str::to_owned);
    let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE"];
    let mut author: Vec<_> = names.into_iter().zip(fields.by_ref()).filter(|(_, value)| !value.is_empty()).collect();
    if let Some((_, date)) = author.iter_mut().find(|(name, _)| *name == "GIT_AUTHOR_DATE") {
        // Without the mark, git takes a small number for something else than seconds.
        date.insert(0, '@');
    }
    Ok(Signature { author })
}

/// The whole message of a commit.
pub fn message_of(quarantine: &Quarantine, commit: &CommitId) -> Result<String> {
    Ok(quarantine.command(["show", "-s", "--format=%B", commit.as_str(), "--"]).text()?)
}

/// The commits that `tip` has beyond `base`, oldest first, along first parents.
pub fn first_parents(quarantine: &Quarantine, base: &CommitId, tip: &CommitId) -> Result<Vec<CommitId>> {
    let range = format!("{base}..{tip}");
    let text = quarantine.command(["rev-list", "--first-parent", "--reverse", &range, "--"]).text()?;
    Ok(text.lines().filter_map(|line| CommitId::parse(line).ok()).collect())
}
