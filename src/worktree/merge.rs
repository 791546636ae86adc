//! Merging in memory: trees without a checkout, by git's own `ort` with renames.
//! New objects go to a quarantine; no ref, index or worktree is touched.

use std::time::Duration;

use super::conflict_paths;
use super::error::{Result, WorktreeError};
use super::quarantine::Quarantine;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::fs;
use crate::sys::git::{GitCommand, GitError, Version};

/// What a merge in memory gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a conflict is an answer, not an error"]
pub enum Merged {
    /// The tree.
    Clean(CommitId),
    /// The files that both sides changed in ways that do not go together.
    Conflict(Vec<String>),
}

/// All that a merge in memory tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The tree that it made. Where there is a conflict, files in it have marks.
    pub tree: CommitId,
    /// The files in conflict, in order; `None` when it is clean.
    pub conflicts: Option<Vec<String>>,
}

impl From<Outcome> for Merged {
    fn from(outcome: Outcome) -> Merged {
        match outcome.conflicts {
            None => Merged::Clean(outcome.tree),
            Some(paths) => Merged::Conflict(paths),
        }
    }
}

/// The first git whose `merge-tree` takes a merge base from outside.
const TAKES_A_BASE: Version = Version(2, 40, 0);

/// The first git that reads attributes from a commit.
pub(super) const TAKES_ATTRIBUTES: Version = Version(2, 41, 0);

/// Merges two commits; new objects go to the quarantine. Without a `base` the history's own merge bases count.
pub fn merge_trees(
    quarantine: &Quarantine,
    base: Option<&CommitId>,
    ours: &CommitId,
    theirs: &CommitId,
) -> Result<Merged> {
    outcome_of(quarantine, base, ours, theirs).map(Merged::from)
}

/// The same with the tree that it made in any case.
pub fn outcome_of(
    quarantine: &Quarantine,
    base: Option<&CommitId>,
    ours: &CommitId,
    theirs: &CommitId,
) -> Result<Outcome> {
    let mut command = merge_tree(quarantine, ours).args(["--write-tree", "-z", "--name-only", "--messages"]);
    match base {
        Some(base) if quarantine.git_version() < TAKES_A_BASE => {
            // Two commits with the same trees and that base as their only parent have it as their merge base.
            let base = stand_in(quarantine, base, None)?;
            let sides = [stand_in(quarantine, ours, Some(&base))?, stand_in(quarantine, theirs, Some(&base))?];
            command = command.args(sides.iter().map(CommitId::as_str));
        }
        Some(base) => {
            command = command.arg(format!("--merge-base={base}")).args([ours.as_str(), theirs.as_str()]);
        }
        None => command = command.args([ours.as_str(), theirs.as_str()]),
    }
    let name = command.name();
    let output = command.output()?;
    let told = conflict_paths::parse(&output.stdout).and_then(|(id, paths)| Some((CommitId::parse(&id).ok()?, paths)));
    match (output.code(), told) {
        (0, Some((tree, _))) => Ok(Outcome { tree, conflicts: None }),
        (1, Some((tree, paths))) => Ok(Outcome { tree, conflicts: Some(paths) }),
        (0, None) => Err(GitError::Unexpected { command: name, output: "no tree".into() }.into()),
        _ => Err(output.into_error(name).into()),
    }
}

pub(super) fn merge_tree(quarantine: &Quarantine, ours: &CommitId) -> GitCommand {
    // In a directory without `.gitattributes`: those of wherever one stands would count otherwise.
    // Its objects live until they are packed: to deflate them twice would take longer than to merge.
    let command = quarantine.command(["-c", "core.looseCompression=0", "merge-tree"]).directory(quarantine.git_dir());
    match quarantine.git_version() >= TAKES_ATTRIBUTES {
        // Those of our side count, as when it is checked out.
        true => command.env("GIT_ATTR_SOURCE", ours.as_str()),
        false => command,
    }
}

/// The first git whose `merge-tree` takes many pairs from its input.
const TAKES_MANY: Version = Version(2, 39, 0);

/// Merges each of these commits into ours, all in one process; the tree of each that merges clean. `None` where git cannot.
pub fn merge_many(
    quarantine: &Quarantine,
    ours: &CommitId,
    theirs: &[&CommitId],
) -> Result<Option<Vec<Option<CommitId>>>> {
    if quarantine.git_version() < TAKES_MANY {
        return Ok(None);
    }
    let command = merge_tree(quarantine, ours).args(["--stdin", "--name-only", "--no-messages"]);
    let pairs: String = theirs.iter().map(|theirs| format!("{ours} {theirs}\n")).collect();
    let output = command.stdin(pairs).run()?.stdout;
    match many(&output) {
        Some(trees) if trees.len() == theirs.len() => Ok(Some(trees)),
        _ => {
            let output = format!("no {} merges", theirs.len());
            Err(GitError::Unexpected { command: "merge-tree --stdin".into(), output }.into())
        }
    }
}

/// Reads merges one after the other: whether it is clean, its tree, the files in conflict, and an empty field.
fn many(output: &[u8]) -> Option<Vec<Option<CommitId>>> {
    let mut fields = output.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0);
    let mut found = Vec::new();
    while let Some(clean) = fields.next() {
        let tree = CommitId::parse(std::str::from_utf8(fields.next()?).ok()?).ok()?;
        found.push(match clean {
            b"1" => Some(tree),
            b"0" => None,
            _ => return None,
        });
        while !fields.next()?.is_empty() {}
    }
    Some(found)
}

/// A commit that has the tree of another and one parent, or none; it is never kept.
fn stand_in(quarantine: &Quarantine, like: &CommitId, parent: Option<&CommitId>) -> Result<CommitId> {
    let tree = format!("{like}^{{tree}}");
    let mut command = quarantine.command(["commit-tree", "-m", "stand-in", &tree]);
    if let Some(parent) = parent {
        command = command.args(["-p", parent.as_str()]);
    }
    for who in ["AUTHOR", "COMMITTER"] {
        command =
            command.env(format!("GIT_{who}_NAME"), "treehand").env(format!("GIT_{who}_EMAIL"), "treehand@localhost");
    }
    Ok(command.object_id()?)
}

/// Commits for trees, each with one parent, for who needs nothing of them but that they are commits: the same two make the same one.
pub fn stand_ins(quarantine: &Quarantine, trees: &[(&CommitId, &CommitId)]) -> Result<Vec<CommitId>> {
    const WHO: &str = "treehand <treehand@localhost> 0 +0000";
    if trees.is_empty() {
        return Ok(Vec::new());
    }
    let place =
        tempfile::tempdir_in(quarantine.git_dir()).map_err(fs::at("make a directory in", quarantine.git_dir()))?;
    let mut names = Vec::new();
    for (at, (tree, parent)) in trees.iter().enumerate() {
        let file = place.path().join(at.to_string());
        let text = format!("tree {tree}\nparent {parent}\nauthor {WHO}\ncommitter {WHO}\n\nstand-in\n");
        fs::write_new(&file, text.as_bytes())?;
        names.extend_from_slice(format!("{at}\n").as_bytes());
    }
    let args = ["hash-object", "-t", "commit", "-w", "--no-filters", "--stdin-paths"];
    let made = quarantine.command(args).directory(place.path()).stdin(names).text()?;
    let ids: Vec<CommitId> = made.lines().filter_map(|line| CommitId::parse(line).ok()).collect();
    if ids.len() == trees.len() {
        return Ok(ids);
    }
    Err(GitError::Unexpected { command: "hash-object --stdin-paths".into(), output: made }.into())
}

/// A commit with no files and no parent, to merge a root commit against.
pub fn empty_commit(quarantine: &Quarantine) -> Result<CommitId> {
    let tree = quarantine.command(["mktree"]).stdin("").object_id()?;
    stand_in(quarantine, &tree, None)
}

/// Who wrote a commit, and when, where that is not who commits it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Variables for `git commit-tree`.
    author: Vec<(&'static str, String)>,
}

impl Signature {
    /// An author as `git log --date=raw` prints name, address and date.
    pub fn of_author(name: &str, address: &str, date: &str) -> Signature {
        let known = [("GIT_AUTHOR_NAME", name), ("GIT_AUTHOR_EMAIL", address)];
        let mut author: Vec<_> = known.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        // Without the mark, git takes a small number for something else than seconds.
        let date = format!("@{date}");
        if date.len() > 1 {
            author.push(("GIT_AUTHOR_DATE", &date));
        }
        Signature { author: author.into_iter().map(|(name, value)| (name, value.to_owned())).collect() }
    }

    /// True when nothing is known of it.
    pub fn is_nobodys(&self) -> bool {
        self.author.is_empty()
    }

    /// The author as a commit has it; `None` where something of it is left to git.
    pub fn line(&self) -> Option<String> {
        let part = |name| self.author.iter().find(|(is, _)| *is == name).map(|(_, value)| value.as_str());
        let (name, address) = (part("GIT_AUTHOR_NAME")?, part("GIT_AUTHOR_EMAIL")?);
        let date = part("GIT_AUTHOR_DATE")?.strip_prefix('@')?;
        let plain = |text: &str| !text.contains(['<', '>', '\n', '\0']) && text.trim() == text;
        (plain(name) && plain(address)).then(|| format!("{name} <{address}> {date}"))
    }

    /// The user, at a moment of their own choosing (seconds of Unix time).
    pub fn at(seconds: i64) -> Signature {
        let date = format!("@{seconds} +0000");
        Signature { author: vec![("GIT_AUTHOR_DATE", date.clone()), ("GIT_COMMITTER_DATE", date)] }
    }
}

/// Writes a commit into the quarantine; it is signed where the user's configuration has their commits signed.
pub fn commit_tree(
    quarantine: &Quarantine,
    tree: &CommitId,
    parents: &[&CommitId],
    message: &str,
    signature: &Signature,
) -> Result<CommitId> {
    let mut command = quarantine.as_person(["commit-tree", tree.as_str()]);
    for parent in parents {
        command = command.args(["-p", parent.as_str()]);
    }
    for (name, value) in &signature.author {
        command = command.env(name, value);
    }
    if !quarantine.signs_commits()? {
        return Ok(command.stdin(message).object_id()?);
    }
    // A key that asks for its passphrase finds no terminal; one that asks elsewhere is not waited for without end.
    let signed = command.arg("-S").deadline(SIGNING_DEADLINE).stdin(message).object_id();
    signed.map_err(|error| WorktreeError::Unsigned { cause: chain(&error) })
}

/// How long a signing program may take.
const SIGNING_DEADLINE: Duration = Duration::from_secs(60);
