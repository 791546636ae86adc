//! Scan and apply: keeps what only the git dir of a removed worktree names, and tells whether it is all there when it comes back.
//!
//! What is on the index in any version, in reflogs, in refs of the worktree alone and in operations in progress is held by a
//! ref until the retention ends, so that no gc in between breaks what undo puts back. What was saved for people to look at
//! is apart from that (`salvage`), and may be dropped.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::Result;
use super::named::{self, Kinds};
use super::ref_names::UNDO_PREFIX;
use super::undo::print::is_git_dir;
use crate::model::operation::RemovedItem;
use crate::model::{BranchName, CommitId};
use crate::sys::git::{GitCommand, fill};
use crate::sys::{clock, fs};
use crate::worktree::Repository;
use crate::worktree::import::update_ref;
use crate::worktree::quarantine::Quarantine;

/// Refs that a worktree has for itself.
const OWN_REFS: [&str; 3] = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];

/// Holds what the git dirs among these items name, before they go.
pub fn keep(repo: &Repository, items: &[RemovedItem]) -> Result<()> {
    for (from, trash) in git_dirs(repo, items) {
        if let Some(place) = place(trash)
            && fs::exists(from)?
            && repo.reader().ref_commit(&objects(&place))?.is_none()
        {
            keep_one(repo, from, &place)?;
        }
    }
    Ok(())
}

/// Lets go of it, for a removal that did not happen.
pub fn let_go(repo: &Repository, items: &[RemovedItem]) -> Result<()> {
    for (_, trash) in git_dirs(repo, items) {
        let Some(place) = place(trash) else { continue };
        for (name, held) in refs_at(repo, &place)? {
            update_ref(repo, &name, None, Some(&held), "treehand: nothing was removed")?;
        }
    }
    Ok(())
}

/// What git dirs in the trash name and is gone since they went there, in sentences.
pub fn gone(repo: &Repository, items: &[RemovedItem]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (from, trash) in git_dirs(repo, items) {
        if !fs::exists(trash)? {
            continue;
        }
        let head = match head(repo, trash)?.commit {
            None => items.iter().find_map(branch).cloned(),
            head => head,
        };
        let mut missing = kinds(repo, &named_by(repo, trash, head.as_ref())?)?.missing;
        if let Some(held) = place(trash).map(|place| repo.reader().ref_commit(&objects(&place))).transpose()?.flatten()
        {
            let text = repo.bare(["cat-file", "commit", held.as_str()]).text()?;
            let before = named::missing(&text);
            missing.retain(|id| !before.contains(id));
        }
        if let Some(first) = missing.first() {
            let (count, from) = (missing.len(), from.display());
            let more = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
            found.push(format!("{from} needs the object {}{more}, which the repository has no longer", first.short()));
        }
    }
    Ok(found)
}

/// Where a branch is that may be gone, so that HEAD leads nowhere.
fn branch(item: &RemovedItem) -> Option<&CommitId> {
    match item {
        RemovedItem::Ref { commit, .. } => Some(commit),
        _ => None,
    }
}

fn git_dirs<'a>(repo: &Repository, items: &'a [RemovedItem]) -> Vec<(&'a Path, &'a Path)> {
    let directory = |item: &'a RemovedItem| match item {
        RemovedItem::Directory { from, trash } if is_git_dir(repo, from) => Some((from.as_path(), trash.as_path())),
        _ => None,
    };
    items.iter().filter_map(directory).collect()
}

/// Where the refs are that hold what a git dir names, by its place in the trash: `STAMP/NUMBER-NAME`.
fn place(trash: &Path) -> Option<String> {
    let stamp = trash.parent()?.file_name()?.to_str()?;
    let number = trash.file_name()?.to_str()?.split('-').next()?;
    Some(format!("{UNDO_PREFIX}{stamp}/git-dirs/{number}"))
}

/// The ref that holds all but tags.
fn objects(place: &str) -> String {
    format!("{place}/objects")
}

/// The refs at a place, each with what it names itself: a tag is not taken for its commit.
pub fn refs_at(repo: &Repository, place: &str) -> Result<Vec<(String, CommitId)>> {
    let text = repo.bare(["for-each-ref", "--format=%(objectname) %(refname)", place]).text()?;
    let line = |line: &str| {
        let (id, name) = line.split_once(' ')?;
        Some((name.to_owned(), CommitId::parse(id).ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn keep_one(repo: &Repository, git_dir: &Path, place: &str) -> Result<()> {
    let Head { commit: head, on_branch } = head(repo, git_dir)?;
    let mut named = named_by(repo, git_dir, head.as_ref())?;
    named.retain(|id| Some(id) != head.as_ref());
    let mut kinds = kinds(repo, &named)?;
    keep_tags(repo, place, &mut kinds)?;
    let reference = &objects(place);
    kinds.commits.extend(head.clone());
    let mut tips = tips(repo, &kinds.commits, head.as_ref())?;
    // A branch holds what it is at.
    if !on_branch || tips.iter().any(|tip| Some(tip) != head.as_ref()) {
        leave_out_broken(repo, &mut tips, &mut kinds)?;
    }
    match tips.first() {
        Some(only) if tips.len() == 1 && kinds.others.is_empty() && kinds.missing.is_empty() => {
            Ok(update_ref(repo, reference, Some(only), None, "treehand: what a removed git dir names")?)
        }
        None if kinds.others.is_empty() => Ok(()),
        _ => hold(repo, reference, &tips, &kinds),
    }
}

/// Nothing but a ref holds a tag.
fn keep_tags(repo: &Repository, place: &str, kinds: &mut Kinds) -> Result<()> {
    let held = if kinds.tags.is_empty() { Vec::new() } else { refs_at(repo, place)? };
    for tag in &kinds.tags {
        let name = format!("{place}/tag-{tag}");
        if !is_whole(repo, &[tag])? {
            kinds.missing.insert(tag.clone());
        } else if held.iter().all(|(held, _)| *held != name) {
            update_ref(repo, &name, Some(tag), None, "treehand: what a removed git dir names")?;
        }
    }
    Ok(())
}

/// Every object that the files of a git dir name, wherever that lies, but for what its index has as HEAD does: most of it.
fn named_by(repo: &Repository, git_dir: &Path, head: Option<&CommitId>) -> Result<BTreeSet<CommitId>> {
    let mut found = BTreeSet::new();
    for entry in walkdir::WalkDir::new(git_dir).follow_links(false).into_iter().filter_entry(|entry| {
        // A submodule's clone keeps its objects itself.
        entry.depth() != 1 || entry.file_name() != "modules"
    }) {
        let Ok(entry) = entry else { continue };
        let path = entry.path().strip_prefix(git_dir).unwrap_or(entry.path()).to_string_lossy();
        if entry.file_type().is_file() && named::is_read(&path) {
            let text = std::fs::read(entry.path()).map_err(fs::at("read", entry.path()))?;
            found.extend(named::ids(&text));
        }
    }
    if !fs::exists(&git_dir.join("HEAD"))? {
        return Ok(found);
    }
    if fs::exists(&git_dir.join("reftable"))? {
        found.extend(in_tables(repo, git_dir)?);
    }
    if fs::exists(&git_dir.join("index"))? {
        found.extend(in_index(repo, git_dir, head)?);
    }
    Ok(found)
}

/// What an index names, in conflict and from before it was resolved, but for what is as in this commit.
fn in_index(repo: &Repository, git_dir: &Path, head: Option<&CommitId>) -> Result<BTreeSet<CommitId>> {
    if let Some(head) = head {
        if let Ok(Some(tree)) = fill::tree_of(&git_dir.join("index"))
            && repo.reader().tree_of(head).is_ok_and(|of_head| of_head.as_str() == tree)
        {
            return Ok(BTreeSet::new());
        }
        let beside = ["diff-index", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", head.as_str(), "--"];
        // Each reads the whole index.
        let (beside, more) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| git(repo, git_dir, &beside).output());
            let more = git(repo, git_dir, &["ls-files", "--unmerged", "--resolve-undo", "-z"]).output();
            (beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), more)
        });
        let (beside, more) = (beside?, more?);
        if beside.status.success() {
            let mut found = named::differing(beside.records());
            found.extend(named::staged(more.records()));
            return Ok(found);
        }
    }
    let mut found = BTreeSet::new();
    for list in [["ls-files", "--stage", "-z"], ["ls-files", "--resolve-undo", "-z"]] {
        // An index that cannot be read names nothing that anybody could use.
        let listed = git(repo, git_dir, &list).output()?;
        found.extend(named::staged(listed.records()));
    }
    Ok(found)
}

/// The same of refs and reflogs that are in tables.
fn in_tables(repo: &Repository, git_dir: &Path) -> Result<BTreeSet<CommitId>> {
    let mut found = BTreeSet::new();
    let refs = git(repo, git_dir, &["for-each-ref", "--format=%(objectname)"]).args(OWN_REFS).output()?;
    let log = git(repo, git_dir, &["log", "-g", "--format=%H", "HEAD", "--"]).output()?;
    for output in [refs, log] {
        found.extend(named::ids(&output.stdout));
    }
    for name in ["ORIG_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "AUTO_MERGE"] {
        found.extend(named::ids(&git(repo, git_dir, &["rev-parse", "--verify", "--quiet", name]).output()?.stdout));
    }
    Ok(found)
}

/// A git command on a git dir, wherever that lies: in the trash, the way to the common dir that it names leads nowhere.
fn git(repo: &Repository, git_dir: &Path, args: &[&str]) -> GitCommand {
    repo.git.bare(git_dir, args).env("GIT_COMMON_DIR", &repo.common_dir)
}

fn kinds(repo: &Repository, ids: &BTreeSet<CommitId>) -> Result<Kinds> {
    if ids.is_empty() {
        return Ok(Kinds::default());
    }
    let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
    // What a remote would give on demand is not asked for: it is no loss.
    let command = repo.bare(["cat-file", "--batch-check", "--buffer"]).env("GIT_NO_LAZY_FETCH", "1");
    Ok(Kinds::parse(&command.stdin(lines).text()?))
}

/// The commit that a git dir is at.
#[derive(Default)]
struct Head {
    commit: Option<CommitId>,
    /// It is the tip of a branch.
    on_branch: bool,
}

fn head(repo: &Repository, git_dir: &Path) -> Result<Head> {
    let file = git_dir.join("HEAD");
    if !fs::exists(&file)? {
        return Ok(Head::default());
    }
    // Where refs are in tables, say, it names no branch, and git has to be asked.
    let text = std::fs::read_to_string(&file).ok();
    let branch = text.as_deref().and_then(|text| text.strip_prefix("ref: refs/heads/")).map(str::trim_end);
    if let Some(Ok(branch)) = branch.map(BranchName::parse)
        && let Some(tip) = repo.reader().ref_commit(&branch.full_ref())?
    {
        return Ok(Head { commit: Some(tip), on_branch: true });
    }
    let output = git(repo, git_dir, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).output()?;
    let commit = CommitId::parse(String::from_utf8_lossy(&output.stdout).trim()).ok();
    Ok(Head { commit, on_branch: false })
}

/// The commits that hold all the others.
fn tips(repo: &Repository, commits: &BTreeSet<CommitId>, head: Option<&CommitId>) -> Result<BTreeSet<CommitId>> {
    if commits.iter().all(|commit| Some(commit) == head) {
        return Ok(commits.clone());
    }
    let mut lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
    lines.extend(head.map(|head| format!("^{head}\n")));
    if lines.is_empty() {
        return Ok(BTreeSet::new());
    }
    let listed = repo.bare(["rev-list", "--parents", "--stdin"]).stdin(lines).output()?;
    // Where a history has holes each of them is looked at by itself.
    let mut tips = match listed.status.success() {
        true => named::tips(commits, &String::from_utf8_lossy(&listed.stdout)),
        false => commits.clone(),
    };
    tips.extend(head.cloned());
    Ok(tips)
}

/// A ref to a history with holes would keep git from collecting anything: such a commit counts as missing.
fn leave_out_broken(repo: &Repository, tips: &mut BTreeSet<CommitId>, kinds: &mut Kinds) -> Result<()> {
    if is_whole(repo, &tips.iter().collect::<Vec<_>>())? {
        return Ok(());
    }
    for tip in tips.clone() {
        if !is_whole(repo, &[&tip])? {
            tips.remove(&tip);
            kinds.missing.insert(tip);
        }
    }
    Ok(())
}

/// True when everything is there that these reach and no ref holds.
fn is_whole(repo: &Repository, tips: &[&CommitId]) -> Result<bool> {
    let lines: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    // Refs alone: HEADs, which `--all` takes in, are many where worktrees are, and one of them is about to go.
    let walk = ["rev-list", "--objects", "--quiet", "--stdin", "--not", "--glob=refs/*"];
    Ok(repo.bare(walk).stdin(lines).output()?.status.success())
}

/// Makes one commit that reaches all of it, and a ref for that.
fn hold(repo: &Repository, reference: &str, tips: &BTreeSet<CommitId>, kinds: &Kinds) -> Result<()> {
    let Some(like) = tips.first().or(kinds.others.first().map(|(id, _)| id)) else { return Ok(()) };
    let quarantine = Quarantine::create(repo, like)?;
    let made = || -> Result<()> {
        let tree = quarantine.command(["mktree", "-z"]).stdin(named::tree(&kinds.others)).object_id()?;
        let text = named::commit(&tree, tips, &kinds.missing, clock::now());
        let commit = quarantine.command(["hash-object", "-t", "commit", "-w", "--stdin"]).stdin(text).object_id()?;
        let known: Vec<CommitId> = tips.iter().cloned().collect();
        let kept = quarantine.migrate(std::slice::from_ref(&commit), &known)?;
        let held = update_ref(repo, reference, Some(&commit), None, "treehand: what a removed git dir names");
        kept.release()?;
        Ok(held?)
    };
    let made = made();
    let discarded = quarantine.discard();
    made?;
    Ok(discarded?)
}
