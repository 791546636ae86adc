//! Decision file: whether a workspace may be removed, what is saved first, and what becomes of its branch.
//!
//! Takes facts and gives a plan or a refusal with its remedy. The plan carries what it expects; whoever applies it looks again.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::cleanup::integration::{Integration, NotIntegrated, Proof, Verdict};
use crate::model::record::WorkspaceRecord;
use crate::model::{CommitId, Standing};

/// Which directory it is, whatever its name becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct DirId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl fmt::Display for DirId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {}:{}", self.dev, self.ino)
    }
}

/// What is at the path of a workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeFact {
    /// The workspace.
    Present(DirId),
    /// Nothing, although one can look.
    Gone,
    /// Something else, which is none of ours.
    Foreign(String),
}

/// How a workspace's branch stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchFact {
    /// Its tip.
    pub tip: CommitId,
    /// Another worktree that has it checked out or is in the middle of something with it.
    pub elsewhere: Option<PathBuf>,
    /// The proof that its work is in a target, or why there is none.
    pub integrated: Verdict,
    /// How many commits no target has.
    pub unmerged: usize,
    /// The first target's name.
    pub target: Option<String>,
}

/// What is known of a workspace that may be removed.
#[derive(Clone, PartialEq, Debug)]
pub struct RemoveFacts {
    /// Its record.
    pub record: WorkspaceRecord,
    /// What is at its path.
    pub tree: TreeFact,
    /// Its git dir (plain only).
    pub git_dir: Option<PathBuf>,
    /// The repository is not where it was used last, and what it knows of workspaces was not mended since.
    pub moved: bool,
    /// The caller stands in it.
    pub here: bool,
    /// Why git has it locked.
    pub locked: Option<String>,
    /// Operations in progress.
    pub held: Vec<String>,
    /// Paths with changes that are not committed (plain only).
    pub dirty: Vec<String>,
    /// Its submodules with commits that are nowhere else (plain only).
    pub unpushed: Vec<String>,
    /// Its HEAD.
    pub head: Option<CommitId>,
    /// Its HEAD names its own branch.
    pub on_branch: bool,
    /// A branch, tag or remote branch holds its HEAD.
    pub head_held: bool,
    /// Its branch, if there still is one.
    pub branch: Option<BranchFact>,
    /// Processes in it.
    pub processes: Vec<Standing>,
    /// Where in it something is mounted.
    pub mounted: Vec<PathBuf>,
    /// Repositories and worktrees in it of which git says nothing and that hold something of their own (plain only).
    pub nested: Vec<String>,
    /// What its files take on the disk, where that was measured.
    pub bytes: Option<u64>,
}

/// What the caller accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemoveOptions {
    /// Remove although there are uncommitted changes.
    pub force_dirty: bool,
    /// Delete the branch although its work is in no target.
    pub delete_unmerged: bool,
}

/// What becomes of the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BranchFate {
    /// It goes: its work is in the target.
    Delete {
        /// The proof.
        proof: Integration,
    },
    /// It stays.
    Keep {
        /// Why.
        why: String,
    },
    /// It goes although its work is in no target; it is saved first.
    DeleteUnmerged,
}

/// A removal that was decided, with what it expects.
#[derive(Clone, PartialEq, Debug)]
pub struct RemovalPlan {
    /// The workspace as the store knows it.
    pub record: WorkspaceRecord,
    /// The directory; `None` when it is gone.
    pub tree: Option<DirId>,
    /// Its git dir in the repository (plain only).
    pub git_dir: Option<PathBuf>,
    /// Whether something was uncommitted.
    pub dirty: bool,
    /// Its HEAD.
    pub head: Option<CommitId>,
    /// Something would be lost, so it is saved first.
    pub salvage: bool,
    /// It is sealed and may hold work that was not imported.
    pub capture: bool,
    /// Where its branch must be.
    pub branch_tip: Option<CommitId>,
    /// What becomes of the branch.
    pub branch: BranchFate,
    /// What the caller accepts; needed again when a capture moves the branch.
    pub delete_unmerged: bool,
    /// What its files take on the disk, where that was measured.
    pub bytes: Option<u64>,
}

/// Why not, and what helps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// One sentence.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

/// Most paths and processes that a refusal names.
const NAMED_MAX: usize = 5;

/// Decides.
pub fn decide(facts: &RemoveFacts, options: RemoveOptions) -> Result<RemovalPlan, Refusal> {
    if let Some(refusal) = refuse(facts, options) {
        return Err(refusal);
    }
    let fate = branch_fate(facts.branch.as_ref(), options.delete_unmerged);
    let tree = match facts.tree {
        TreeFact::Present(id) => Some(id),
        TreeFact::Gone | TreeFact::Foreign(_) => None,
    };
    let loose_head = facts.head.is_some() && !facts.head_held;
    Ok(RemovalPlan {
        record: facts.record.clone(),
        tree,
        git_dir: facts.git_dir.clone(),
        dirty: !facts.dirty.is_empty(),
        head: facts.head.clone(),
        salvage: !facts.dirty.is_empty() || !facts.held.is_empty() || loose_head || fate == BranchFate::DeleteUnmerged,
        capture: facts.record.sealed,
        branch_tip: facts.branch.as_ref().map(|branch| branch.tip.clone()),
        branch: fate,
        delete_unmerged: options.delete_unmerged,
        bytes: facts.bytes,
    })
}

fn refuse(facts: &RemoveFacts, options: RemoveOptions) -> Option<Refusal> {
    let (name, path) = (&facts.record.name, facts.record.path.display());
    let refusal = |message: String, hint: String| Some(Refusal { message, hint });
    if facts.here {
        return refusal(format!("you stand in the workspace `{name}`"), "go somewhere else first: cd".into());
    }
    if facts.moved && !matches!(facts.tree, TreeFact::Present(_)) {
        let what = if let TreeFact::Foreign(what) = &facts.tree { what } else { "nothing is there" };
        let hint = "the repository was moved or copied; mend it first: treehand doctor --repair";
        return refusal(format!("{path} is not the workspace `{name}`: {what}"), hint.into());
    }
    if let TreeFact::Foreign(what) = &facts.tree {
        return refusal(format!("{path} is not the workspace `{name}`: {what}"), "move it away".into());
    }
    if let Some(reason) = &facts.locked {
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        return refusal(format!("the workspace `{name}` is locked{why}"), format!("git worktree unlock {path}"));
    }
    if !facts.processes.is_empty() {
        let list = named(facts.processes.iter().map(|p| format!("{} (pid {})", p.name, p.pid)).collect());
        return refusal(format!("processes work in `{name}`: {list}"), "end them, or let them go elsewhere".into());
    }
    if let Some(mounted) = facts.mounted.first() {
        let mounted = mounted.display();
        return refusal(format!("something is mounted in `{name}`: {mounted}"), format!("umount {mounted}"));
    }
    let whole = facts.held.is_empty() && facts.dirty.is_empty() && facts.unpushed.is_empty() && facts.nested.is_empty();
    if options.force_dirty || options.delete_unmerged && whole {
        return None;
    }
    let hint = format!("commit, or remove it anyway, saved first: treehand rm -f {name}");
    if !facts.held.is_empty() {
        return refusal(format!("`{name}` is in the middle of {}", facts.held.join(", ")), hint);
    }
    if !facts.dirty.is_empty() {
        let list = named(facts.dirty.clone());
        return refusal(format!("`{name}` has changes that are not committed: {list}"), hint);
    }
    if !facts.unpushed.is_empty() {
        let list = named(facts.unpushed.clone());
        let hint = format!("push them; or remove it anyway, `undo` brings it back for a time: treehand rm -f {name}");
        return refusal(format!("submodules of `{name}` have commits that are nowhere else: {list}"), hint);
    }
    if !facts.nested.is_empty() {
        let list = named(facts.nested.clone());
        let hint =
            format!("move them away; or remove it anyway, `undo` brings it back for a time: treehand rm -f {name}");
        return refusal(format!("`{name}` holds what is not its own: {list}"), hint);
    }
    if facts.head.is_some() && !facts.head_held {
        let hint =
            format!("keep it: git -C {path} branch NAME; or remove it anyway, saved first: treehand rm -D {name}");
        return refusal(format!("the HEAD of `{name}` is in no branch"), hint);
    }
    None
}

fn named(mut list: Vec<String>) -> String {
    // A line feed in a name is part of the name, not of what is said.
    for name in &mut list {
        *name =
            name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    }
    let more = list.len().saturating_sub(NAMED_MAX);
    list.truncate(NAMED_MAX);
    let text = list.join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// What becomes of a branch whose workspace goes.
pub fn branch_fate(branch: Option<&BranchFact>, delete_unmerged: bool) -> BranchFate {
    let keep = |why: String| BranchFate::Keep { why };
    let Some(branch) = branch else { return keep("it is gone already".into()) };
    if let Some(place) = &branch.elsewhere {
        return keep(format!("it is in use in {}", place.display()));
    }
    match (&branch.integrated, delete_unmerged, &branch.target) {
        (Ok(proof), ..) => BranchFate::Delete { proof: proof.clone() },
        (Err(_), true, _) => BranchFate::DeleteUnmerged,
        (Err(why @ NotIntegrated::TakenBack { .. }), false, _) => keep(why.to_string()),
        (Err(NotIntegrated::Unproved), false, Some(target)) => {
            let commits = if branch.unmerged == 1 {
                "1 commit that is".to_owned()
            } else {
                format!("{} commits that are", branch.unmerged)
            };
            keep(format!("it has {commits} not in `{target}`"))
        }
        (Err(NotIntegrated::Unproved), false, None) => keep("no branch is known that its work could be in".into()),
    }
}

/// True when the deleted branch's commits stay reachable from the target's history.
pub fn stays_reachable(fate: &BranchFate) -> bool {
    matches!(fate, BranchFate::Delete { proof } if proof.proof == Proof::Ancestor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::WorkspaceState;
    use crate::model::{BaseReport, BranchName, Token, WorkspaceName};

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    fn facts() -> RemoveFacts {
        let base = BaseReport::fixed("main", id('a'));
        let record = WorkspaceRecord {
            name: WorkspaceName::parse("w").expect("a name"),
            state: WorkspaceState::Ready,
            path: "/x/w/r".into(),
            branch: BranchName::parse("w").expect("a name"),
            base,
            sealed: false,
            strategy: "git-worktree".into(),
            strategy_why: String::new(),
            lease: Token::from_bytes([1; 16]),
            created_at: crate::model::Timestamp(0),
            order: 1,
            owner: None,
            imported: None,
            disk: None,
            sparse: Vec::new(),
        };
        RemoveFacts {
            record,
            tree: TreeFact::Present(DirId { dev: 1, ino: 2 }),
            git_dir: Some("/x/.git/worktrees/r".into()),
            moved: false,
            here: false,
            locked: None,
            held: Vec::new(),
            dirty: Vec::new(),
            unpushed: Vec::new(),
            head: Some(id('b')),
            on_branch: true,
            head_held: true,
            branch: Some(branch(None)),
            processes: Vec::new(),
            mounted: Vec::new(),
            nested: Vec::new(),
            bytes: None,
        }
    }

    fn branch(integrated: Option<Proof>) -> BranchFact {
        let integrated = integrated.map(|proof| Integration { proof, target: "main".into() });
        let integrated = integrated.ok_or(NotIntegrated::Unproved);
        BranchFact { tip: id('b'), elsewhere: None, integrated, unmerged: 2, target: Some("main".into()) }
    }

    #[test]
    fn what_stands_in_the_way() {
        let check = |change: &dyn Fn(&mut RemoveFacts), plain: bool, forced: bool| {
            let mut facts = facts();
            change(&mut facts);
            let force = RemoveOptions { force_dirty: true, delete_unmerged: true };
            assert_eq!(decide(&facts, RemoveOptions::default()).is_ok(), plain, "{facts:?}");
            assert_eq!(decide(&facts, force).is_ok(), forced, "{facts:?}");
        };
        check(&|_| {}, true, true);
        check(&|f| f.here = true, false, false);
        check(&|f| f.locked = Some("away".into()), false, false);
        check(&|f| f.tree = TreeFact::Foreign("a clone".into()), false, false);
        check(&|f| f.processes = vec![Standing { pid: 7, name: "vi".into() }], false, false);
        check(&|f| f.held = vec!["a rebase".into()], false, true);
        check(&|f| f.dirty = vec!["a".into()], false, true);
        check(&|f| f.unpushed = vec!["lib".into()], false, true);
        check(&|f| f.nested = vec!["build/other".into()], false, true);
        check(&|f| f.mounted = vec!["/x/w/r/data".into()], false, false);
        check(&|f| f.tree = TreeFact::Gone, true, true);
        check(&|f| (f.tree, f.moved) = (TreeFact::Gone, true), false, false);
        check(&|f| f.head_held = false, false, true);
    }

    #[test]
    fn in_a_moved_repository_the_remedy_was_to_move_the_workspace_away() {
        let check = |moved: bool, expected: &str| {
            let tree = TreeFact::Foreign("it belongs to /old".into());
            let facts = RemoveFacts { tree, moved, ..facts() };
            let hint = decide(&facts, RemoveOptions::default()).expect_err("refused").hint;
            assert!(hint.contains(expected), "{hint}");
        };
        check(false, "move it away");
        check(true, "treehand doctor --repair");
    }

    #[test]
    fn what_is_saved_first() {
        let check = |change: &dyn Fn(&mut RemoveFacts), options: RemoveOptions, expected: bool| {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(decide(&facts, options).expect("allowed").salvage, expected, "{facts:?}");
        };
        let (plain, all) = (RemoveOptions::default(), RemoveOptions { force_dirty: true, delete_unmerged: true });
        check(&|_| {}, plain, false);
        check(&|f| f.head_held = false, RemoveOptions { force_dirty: false, delete_unmerged: true }, true);
        check(&|_| {}, all, true);
        check(&|f| f.branch = Some(branch(Some(Proof::Ancestor))), all, false);
        check(&|f| f.dirty = vec!["a".into()], RemoveOptions { force_dirty: true, delete_unmerged: false }, true);
    }

    #[test]
    fn what_becomes_of_the_branch() {
        let check = |branch: Option<BranchFact>, unmerged: bool, word: &str| {
            let shown = match branch_fate(branch.as_ref(), unmerged) {
                BranchFate::Delete { proof } => format!("delete: {proof}"),
                BranchFate::Keep { why } => format!("keep: {why}"),
                BranchFate::DeleteUnmerged => "unmerged".to_owned(),
            };
            assert_eq!(shown, word);
        };
        check(None, true, "keep: it is gone already");
        check(Some(branch(None)), false, "keep: it has 2 commits that are not in `main`");
        check(Some(branch(None)), true, "unmerged");
        check(Some(branch(Some(Proof::NoDiff))), true, "delete: no-diff of `main`");
        let taken_back = NotIntegrated::TakenBack { by: id('c'), target: "main".into() };
        let reverted = BranchFact { integrated: Err(taken_back), ..branch(None) };
        check(Some(reverted.clone()), false, "keep: its work was in `main` and was reverted by cccccccccccc");
        check(Some(reverted), true, "unmerged");
        let elsewhere = BranchFact { elsewhere: Some("/other".into()), ..branch(Some(Proof::Ancestor)) };
        check(Some(elsewhere), true, "keep: it is in use in /other");
    }
}
