//! Decision file: what `clean` takes and what it leaves, and why.
//!
//! What belongs to a person goes only when it is clean and its work has landed, or when its directory is provably gone. What
//! is ours goes when its owner is provably gone or its time is over. Everything else stays, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::facts::{DirFact, EntryFact, Facts, OpenIntent, RunStanding, StoredFact, WorkspaceFacts};
use super::types::{CleanAction, CleanPlan, CleanPolicy, Kept, Kind, Step, action, old_enough};
use super::{branches, remote, runs, unrecorded};
use crate::cleanup::remove;
use crate::cleanup::remove::decide::{BranchFate, RemovalPlan, RemoveOptions, TreeFact};
use crate::model::operation::RemovedItem;
use crate::model::record::WorkspaceState;
use crate::model::{ByteSize, Span, Timestamp, WorkspaceName};

/// While a run is at work, temporary directories younger than this may be in use.
pub(super) const IN_USE: Duration = Duration::from_secs(3600);

/// A history that no new store took for so long is not kept for the next one.
const OF_NO_USE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Why what seems old enough is not deleted yet.
const DOUBT: &str = "that went ahead further than this machine ran; it goes when the clock still says so 12h later";

/// Decides on everything.
pub fn plan(facts: &Facts, policy: &CleanPolicy) -> CleanPlan {
    let mut plan =
        CleanPlan { kept: facts.unreadable.clone(), template: policy.template.clone(), ..CleanPlan::default() };
    // Before anything that one of them would hold up.
    locks(facts, policy, &mut plan);
    plan.actions.extend(facts.intents.iter().filter_map(intent));
    let covered: BTreeSet<&WorkspaceName> = facts.intents.iter().flat_map(covers).collect();
    for workspace in facts.workspaces.iter().filter(|w| !covered.contains(&w.facts.record.name)) {
        match decide_workspace(workspace, policy) {
            Ok(action) => plan.actions.push(action),
            Err(reason) => {
                let item = workspace.facts.record.name.to_string();
                plan.kept.push(Kept { kind: Kind::Workspace, item, reason });
            }
        }
    }
    unrecorded::decide(facts, policy, &mut plan);
    runs::decide(facts, policy, &mut plan);
    branches::decide(facts, policy, &mut plan);
    remote::decide(facts, policy, &mut plan);
    for entry in &facts.entries {
        match decide_entry(entry, policy) {
            Ok(action) => plan.actions.push(action),
            Err(reason) => {
                plan.kept.push(Kept { kind: Kind::Entry, item: entry.dir.path.display().to_string(), reason });
            }
        }
    }
    // What was begun ends first: then everything is looked at anew.
    plan.actions.sort_by_key(|action| action.kind != Kind::Lock && !action.step.ends_what_was_begun());
    leftovers(facts, policy, &mut plan);
    expiries(facts, policy, &mut plan);
    if let Some(only) = &policy.only {
        plan.actions.retain(|action| only.contains(&action.kind));
        plan.kept.retain(|kept| only.contains(&kept.kind));
    }
    plan
}

fn covers(intent: &OpenIntent) -> impl Iterator<Item = &WorkspaceName> {
    intent.items.iter().filter(|_| !intent.recorded && !intent.owner_alive).filter_map(|item| match item {
        RemovedItem::Workspace { record } => Some(&record.name),
        _ => None,
    })
}

fn intent(open: &OpenIntent) -> Option<CleanAction> {
    if open.owner_alive {
        return None;
    }
    let item = format!("journal entry {}", open.entry.seq);
    let expect = "it is open".to_owned();
    let entry = Box::new(open.entry.clone());
    Some(if open.recorded {
        action(Kind::State, item, "the removal that it speaks of is recorded", expect, Step::Close(entry))
    } else {
        let proof = "the removal that it speaks of died half-way: what it took is put back";
        action(Kind::State, item, proof, expect, Step::PutBack { entry, items: open.items.clone() })
    })
}

fn decide_workspace(workspace: &WorkspaceFacts, policy: &CleanPolicy) -> Result<CleanAction, String> {
    let record = &workspace.facts.record;
    let at_work = || {
        let owner = record.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{owner} is working on it")
    };
    match record.state {
        WorkspaceState::Creating | WorkspaceState::Removing if workspace.owner_alive => Err(at_work()),
        WorkspaceState::Creating => half_made(workspace),
        WorkspaceState::Removing => {
            let proof = "its removal died before it began";
            let plan = Box::new(removal(workspace, BranchFate::Keep { why: proof.into() }));
            Ok(action(Kind::State, record.name.as_str(), proof, "its record is as it was", Step::Reset(plan)))
        }
        WorkspaceState::Ready => ready(workspace, policy),
    }
}

fn removal(workspace: &WorkspaceFacts, branch: BranchFate) -> RemovalPlan {
    let facts = &workspace.facts;
    let tree = match facts.tree {
        TreeFact::Present(id) => Some(id),
        TreeFact::Gone | TreeFact::Foreign(_) => None,
    };
    RemovalPlan {
        record: facts.record.clone(),
        tree,
        git_dir: facts.git_dir.clone(),
        dirty: !facts.dirty.is_empty(),
        head: facts.head.clone(),
        salvage: false,
        capture: false,
        branch_tip: facts.branch.as_ref().map(|branch| branch.tip.clone()),
        branch,
        delete_unmerged: false,
        bytes: facts.bytes,
    }
}

/// A workspace whose maker died before it was handed to anybody.
fn half_made(workspace: &WorkspaceFacts) -> Result<CleanAction, String> {
    let facts = &workspace.facts;
    if let TreeFact::Foreign(what) = &facts.tree {
        return Err(format!("what is in its place is not ours: {what}"));
    }
    if !facts.dirty.is_empty() && !workspace.initializing {
        return Err(format!("it was not finished, and there are changes in it: {}", facts.dirty.join(", ")));
    }
    if let Some(process) = facts.processes.first() {
        return Err(format!("{} (pid {}) works in it", process.name, process.pid));
    }
    let fate = match &facts.branch {
        Some(branch) if branch.tip == facts.record.base.commit && branch.elsewhere.is_none() => {
            remove::decide::branch_fate(facts.branch.as_ref(), false)
        }
        Some(_) => BranchFate::Keep { why: "it has commits of its own".into() },
        None => BranchFate::Keep { why: "it was not made".into() },
    };
    let plan = removal(workspace, fate);
    let expect = expectation(&plan);
    let step = Step::Workspace(Box::new(plan));
    Ok(action(Kind::Workspace, facts.record.name.as_str(), "who made it died before it was ready", expect, step))
}

/// True for a workspace that stays whatever its files are.
pub fn stays(workspace: &WorkspaceFacts, policy: &CleanPolicy) -> bool {
    ready(workspace, policy).is_err()
}

fn ready(workspace: &WorkspaceFacts, policy: &CleanPolicy) -> Result<CleanAction, String> {
    let facts = &workspace.facts;
    if let Some(pattern) = &workspace.protected {
        return Err(format!("`{}` is protected by `{pattern}`", facts.record.branch));
    }
    if let Some(why) = &workspace.request {
        return Err(why.clone());
    }
    let gone = facts.tree == TreeFact::Gone;
    if gone && !workspace.disk_there {
        return Err("its directory is not there, but its disk may not be mounted".into());
    }
    let plan = remove::decide::decide(facts, RemoveOptions::default()).map_err(|refusal| refusal.message)?;
    old_enough(workspace.active_at, policy)?;
    let proof = if gone {
        "its directory is gone".to_owned()
    } else {
        if plan.salvage {
            return Err("its HEAD is in no branch".into());
        }
        if !facts.on_branch {
            return Err(format!("its own branch `{}` is not checked out in it", facts.record.branch));
        }
        if facts.branch.as_ref().is_some_and(|branch| branch.tip == facts.record.base.commit) {
            return Err("no work yet".into());
        }
        match &plan.branch {
            BranchFate::Delete { proof } => format!("clean, {proof}"),
            BranchFate::Keep { why } => return Err(format!("`{}`: {why}", facts.record.branch)),
            BranchFate::DeleteUnmerged => return Err("its work is in no target".into()),
        }
    };
    let expect = expectation(&plan);
    Ok(action(Kind::Workspace, facts.record.name.as_str(), proof, expect, Step::Workspace(Box::new(plan))))
}

fn expectation(plan: &RemovalPlan) -> String {
    let place = plan.tree.map_or("no directory".to_owned(), |id| id.to_string());
    match &plan.branch_tip {
        Some(tip) => format!("{place}, `{}` at {}", plan.record.branch, tip.short()),
        None => place,
    }
}

fn decide_entry(entry: &EntryFact, policy: &CleanPolicy) -> Result<CleanAction, String> {
    if entry.tree_there {
        return Err("its directory is there, and nothing is recorded of it".into());
    }
    if !entry.disk_there {
        return Err("its directory is not there, but its disk may not be mounted".into());
    }
    old_enough(entry.dir.at, policy)?;
    let (path, expect) = (entry.dir.path.display().to_string(), entry.dir.id.to_string());
    Ok(action(Kind::Entry, path, "its directory is gone", expect, Step::Entry(entry.dir.clone())))
}

fn leftovers(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    let at_work = facts.runs.iter().any(|run| run.standing == RunStanding::AtWork);
    let least = if at_work { policy.min_age.max(IN_USE) } else { policy.min_age };
    let old = |at: Timestamp| policy.now.since(at) >= least;
    for dir in facts.quarantines.iter().filter(|dir| old(dir.at)) {
        plan.actions.push(expire(Kind::Temp, dir, "a quarantine that nothing uses any more", Step::ExpireDir));
    }
    for (kept, what) in [(&facts.stock, "a history for stores to come"), (&facts.outputs, "what a setup step made")] {
        for dir in kept.iter().filter(|dir| policy.proven_now.since(dir.at) >= OF_NO_USE) {
            let proof = format!("{what}, of no use for {}", Span(OF_NO_USE));
            plan.actions.push(expire(Kind::Temp, dir, &proof, Step::ExpireDir));
        }
    }
    for (path, why) in &facts.slots {
        let item = path.display().to_string();
        plan.actions.push(action(Kind::Temp, item, why, "nobody has it in hand", Step::Slot(path.clone())));
    }
    for dir in &facts.emptied {
        let (item, expect) = (dir.path.display().to_string(), format!("{}, empty", dir.id));
        let proof = "the workspace in it was removed, and nothing is in it";
        plan.actions.push(action(Kind::Temp, item, proof, expect, Step::EmptyDir(dir.clone())));
    }
    for (path, _) in facts.keeps.iter().filter(|(_, at)| old(*at)) {
        let (item, proof) = (path.display().to_string(), "it was to last until a ref was made");
        plan.actions.push(action(Kind::Lock, item, proof, "it is ours by its content", Step::Unkeep(path.clone())));
    }
}

fn locks(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    for lock in &facts.locks {
        let item = lock.path.display().to_string();
        let verdict = match &lock.held_by {
            Some(why) => Err(why.clone()),
            None => old_enough(lock.at, policy),
        };
        match verdict {
            Ok(()) => {
                let (proof, expect) = ("no git lives that was there when it was made", format!("file {}", lock.id.ino));
                plan.actions.push(action(Kind::Lock, item, proof, expect, Step::Lock(lock.clone())));
            }
            Err(reason) => plan.kept.push(Kept { kind: Kind::Lock, item, reason }),
        }
    }
}

fn expiries(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    let over = |at: Timestamp| policy.proven_now.since(at) >= policy.retention;
    let seems_over = |at: Timestamp| policy.now.since(at) >= policy.retention && !over(at);
    let proof = format!("older than {}", Span(policy.retention));
    let doubtful = |kind: Kind, item: String| Kept { kind, item, reason: format!("{proof} by a clock {DOUBT}") };
    for (kind, stored, what, step) in stored(facts) {
        if over(stored.dir.at) {
            plan.actions.push(expire(kind, &stored.dir, &format!("{what}{proof}"), step));
        } else if seems_over(stored.dir.at) {
            plan.kept.push(doubtful(kind, stored.dir.path.display().to_string()));
        }
    }
    let mut early: BTreeSet<PathBuf> = BTreeSet::new();
    if policy.count_max > 0 {
        beyond_count(facts, policy, &mut early, plan);
    }
    if let Some(budget) = policy.disk_budget {
        beyond_budget(facts, policy, (budget, &early), plan);
    }
    for aged in facts.aged.iter().filter(|aged| !aged.unused && aged.since.is_some_and(seems_over)) {
        plan.kept.push(doubtful(Kind::State, aged.name.clone()));
    }
    for aged in facts.aged.iter().filter(|aged| aged.unused || aged.since.is_some_and(over)) {
        let proof = if aged.unused { "nothing is based on it any more" } else { &proof };
        let step = Step::ExpireRef { name: aged.name.clone(), commit: aged.commit.clone() };
        let expect = format!("at {}", aged.commit.short());
        plan.actions.push(action(Kind::State, aged.name.as_str(), proof, expect, step));
    }
}

/// What is kept for a time: its kind, itself, what it is where the kind does not say so, and what deletes it.
type Stored<'a> = (Kind, &'a StoredFact, &'static str, fn(DirFact) -> Step);

fn stored(facts: &Facts) -> impl Iterator<Item = Stored<'_>> {
    let all = |kind, what, step: fn(DirFact) -> Step| move |stored| (kind, stored, what, step);
    let trash = facts.trash.iter().map(all(Kind::Trash, "", Step::ExpireDir));
    let logs = facts.logs.iter().map(all(Kind::State, "logs of a run that ended, ", Step::ExpireDir));
    let bundles = facts.bundles.iter().map(all(Kind::State, "a bundle of what was saved, ", Step::ExpireBundle));
    trash.chain(logs).chain(bundles)
}

/// What is kept although it might go if it were older, the oldest first.
fn not_over<'a>(facts: &'a Facts, policy: &CleanPolicy) -> Vec<Stored<'a>> {
    let mut left: Vec<Stored<'_>> =
        stored(facts).filter(|(_, stored, ..)| policy.proven_now.since(stored.dir.at) < policy.retention).collect();
    left.sort_by_key(|(_, stored, ..)| stored.dir.at);
    left
}

/// The oldest of each kind go, until there are not too many.
fn beyond_count(facts: &Facts, policy: &CleanPolicy, early: &mut BTreeSet<PathBuf>, plan: &mut CleanPlan) {
    let most = usize::try_from(policy.count_max).unwrap_or(usize::MAX);
    let (left, mut newer): (_, BTreeMap<&str, usize>) = (not_over(facts, policy), BTreeMap::new());
    let mut beyond = Vec::new();
    for one in left.into_iter().rev() {
        let count = newer.entry(one.2).or_default();
        *count += 1;
        beyond.extend((*count > most).then_some(one));
    }
    for (kind, stored, what, step) in beyond.into_iter().rev() {
        let path = stored.dir.path.display().to_string();
        plan.kept.retain(|kept| kept.item != path);
        early.insert(stored.dir.path.clone());
        let proof = format!("{what}older than the last {most}, which are all that are kept");
        plan.actions.push(expire(kind, &stored.dir, &proof, step));
    }
}

/// The oldest of what is kept goes, until the rest is within the budget; without what goes early anyway.
fn beyond_budget(
    facts: &Facts,
    policy: &CleanPolicy,
    (budget, early): (ByteSize, &BTreeSet<PathBuf>),
    plan: &mut CleanPlan,
) {
    let mut left = not_over(facts, policy);
    left.retain(|(_, stored, ..)| !early.contains(&stored.dir.path));
    let mut total: u64 = left.iter().map(|(_, stored, ..)| stored.bytes).sum();
    for (kind, stored, what, step) in left {
        if total <= budget.0 {
            break;
        }
        let path = stored.dir.path.display().to_string();
        plan.kept.retain(|kept| kept.item != path);
        let proof = format!("{what}the oldest of {}, beyond the disk budget of {budget}", ByteSize(total));
        plan.actions.push(expire(kind, &stored.dir, &proof, step));
        total -= stored.bytes.min(total);
    }
}

fn expire(kind: Kind, dir: &DirFact, proof: &str, step: fn(DirFact) -> Step) -> CleanAction {
    action(kind, dir.path.display().to_string(), proof, dir.id.to_string(), step(dir.clone()))
}
