//! Decision file: whether treehand may leave a repository, what goes with it and what stays.
//!
//! Nothing goes while somebody is at work, while something is half done, or while only treehand holds something that a person
//! may want: that is said, with how much it is and until when. Plain workspaces and branches are git's, and stay.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{Goes, Refusal, Stays, UninstallFacts, UninstallPlan};
use crate::cleanup::clean;
use crate::cleanup::clean::facts::{DirFact, Facts, RunStanding, StoredFact};
use crate::cleanup::clean::types::{CleanAction, CleanPlan, CleanPolicy, Kept, Kind, Step};
use crate::cleanup::ref_names::{SALVAGE_PREFIX, UNDO_PREFIX};
use crate::cleanup::trash::stamped_at;
use crate::model::record::WorkspaceState;
use crate::model::{TaskState, Timestamp};

/// Where work in submodules is kept that have no clone.
const SUBMODULES: &str = "refs/treehand/submodules/";

/// Most reasons that a refusal names.
const REASONS_MAX: usize = 5;

/// Decides. `discard`: what was saved and what is in the trash may go before its time.
pub fn decide(facts: &UninstallFacts, policy: &CleanPolicy, discard: bool) -> UninstallPlan {
    let steps = clean::decide::plan(&nobody_waits(&facts.clean), policy);
    let (mut busy, mut refused) = (at_work(facts), half_done(facts));
    let mut plan = UninstallPlan { stays: facts.stays.clone(), ..UninstallPlan::default() };
    judge_kept(facts, &steps.kept, (&mut busy, &mut refused), &mut plan.stays);
    for sealed in &facts.sealed {
        refused.extend(sealed.refused.clone());
        plan.goes.push(Goes { kind: "workspace", item: sealed.record.name.to_string(), bytes: sealed.bytes });
        plan.sealed.push(sealed.record.clone());
        if sealed.branched {
            let why = format!("the work of `{}` is on it, as far as that is not in its target", sealed.record.name);
            plan.stays.push(Stays { kind: "branch", item: sealed.record.branch.full_ref(), why });
        }
    }
    plan.stays.extend(
        facts.records.iter().filter(|record| !record.sealed && record.state == WorkspaceState::Ready).map(|record| {
            Stays {
                kind: "workspace",
                item: record.path.display().to_string(),
                why: format!("an ordinary worktree of git, on `{}`: git worktree remove", record.branch),
            }
        }),
    );
    let content = content(facts, policy);
    refused.extend(content.refusal().filter(|_| !discard));
    plan.known = content.known;
    plan.steps = taken(steps);
    for action in &plan.steps.actions {
        plan.goes.push(Goes { kind: word(action.kind), item: action.item.clone(), bytes: action.bytes });
    }
    what_else(facts, &mut plan);
    plan.refusal = refusal(busy, refused);
    plan
}

/// Whose result waits for a person waits in vain where treehand goes: it is on its branch, or saved, like that of a dead run.
fn nobody_waits(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    let waits = |state| matches!(state, TaskState::Candidate | TaskState::NeedsAttention);
    for run in facts.runs.iter_mut().filter(|run| run.standing == RunStanding::Over) {
        if run.tasks.iter().any(|task| waits(task.task.state)) {
            run.standing = RunStanding::Abandoned;
        }
    }
    facts
}

fn at_work(facts: &UninstallFacts) -> Vec<String> {
    let unreadable = |run: &str| facts.clean.unreadable.iter().any(|kept| kept.item.starts_with(run));
    let runs = facts.clean.runs.iter().filter(|run| run.standing == RunStanding::AtWork);
    let runs = runs.filter(|run| !unreadable(&format!("{}/", run.run.id)));
    let mut busy: Vec<String> = runs
        .map(|run| format!("run {id} is at work (wait for it, or end it: treehand cancel {id})", id = run.run.id))
        .collect();
    let alive = facts.intents.iter().filter(|intent| intent.alive);
    busy.extend(
        alive.map(|intent| format!("a process is in the middle of `{}` (journal entry {})", intent.kind, intent.seq)),
    );
    let makers = facts.clean.workspaces.iter().filter(|workspace| workspace.owner_alive);
    let makers = makers.filter(|workspace| workspace.facts.record.state != WorkspaceState::Ready);
    busy.extend(makers.map(|workspace| format!("somebody is working on `{}`", workspace.facts.record.name)));
    busy.extend(facts.working.iter().cloned());
    busy
}

/// What recovery could not settle; before it was tried nobody knows.
fn half_done(facts: &UninstallFacts) -> Vec<String> {
    let dead = facts.intents.iter().filter(|intent| facts.recovered && !intent.alive);
    // Removals are completed or put back by what `clean` does.
    dead.filter(|intent| !matches!(intent.kind.as_str(), "rm" | "clean"))
        .map(|intent| {
            format!("`{}` died half-way (journal entry {}): treehand doctor --repair", intent.kind, intent.seq)
        })
        .collect()
}

/// What `clean` would keep: of a person's it stays, of ours it is in the way.
fn judge_kept(
    facts: &UninstallFacts,
    kept: &[Kept],
    (busy, refused): (&mut Vec<String>, &mut Vec<String>),
    stays: &mut Vec<Stays>,
) {
    let records: BTreeMap<String, bool> =
        facts.records.iter().map(|record| (record.name.to_string(), record.sealed)).collect();
    for Kept { kind, item, reason } in kept {
        match kind {
            Kind::Process => busy.push(format!("{item}: {reason}")),
            // Sealed workspaces are looked at by themselves, and plain ones stay.
            Kind::Workspace if records.get(item) == Some(&false) => {}
            Kind::Workspace if records.contains_key(item) && facts.clean.unreadable.iter().all(|k| k.item != *item) => {
            }
            // What nothing on record accounts for is counted below.
            Kind::Workspace if is_unrecorded(&facts.clean, item) => {}
            Kind::Workspace => refused.push(format!("{item}: {reason}")),
            Kind::Branch => stays.push(Stays { kind: "branch", item: item.clone(), why: reason.clone() }),
            Kind::Entry => stays.push(Stays { kind: "entry", item: item.clone(), why: reason.clone() }),
            // What is in the trash is counted below, and private directories of unknown runs, too; locks are git's.
            Kind::State | Kind::Trash | Kind::Temp | Kind::Lock => {}
        }
    }
}

fn is_unrecorded(facts: &Facts, item: &str) -> bool {
    let of_runs = facts.unrecorded_runs.iter().flat_map(|run| &run.boxes);
    of_runs.chain(&facts.unrecorded).any(|one| one.owner.to_string() == item)
}

/// Of what `clean` would take: boxes and branches of tasks, and what died half-way. Workspaces of people stay, and everything
/// else goes with the directories that it is in.
fn taken(plan: CleanPlan) -> CleanPlan {
    let CleanPlan { actions, template, .. } = plan;
    let wanted = |action: &CleanAction| match &action.step {
        Step::Workspace(plan) => plan.record.state == WorkspaceState::Creating,
        Step::Ref(doomed) => doomed.name.starts_with("refs/heads/"),
        Step::Task { .. }
        | Step::Orphans { .. }
        | Step::PutBack { .. }
        | Step::Close(_)
        | Step::Reset(_)
        | Step::Entry(_)
        | Step::EmptyDir(_) => true,
        // Named as what nothing on record accounts for.
        Step::UnrecordedBox { .. }
        | Step::RemoteBranch(_)
        | Step::RunDir { .. }
        | Step::ExpireRef { .. }
        | Step::ExpireDir(_)
        | Step::ExpireBundle(_)
        | Step::Slot(_)
        | Step::Unkeep(_)
        | Step::Lock(_) => false,
    };
    CleanPlan { actions: actions.into_iter().filter(wanted).collect(), kept: Vec::new(), template }
}

/// What only treehand holds, and until when.
#[derive(Debug, Default)]
struct Content {
    saved: BTreeSet<String>,
    undo: usize,
    submodules: usize,
    trash: usize,
    unknown: Vec<String>,
    until: Option<Timestamp>,
    known: BTreeSet<String>,
}

fn content(facts: &UninstallFacts, policy: &CleanPolicy) -> Content {
    let mut content = Content::default();
    let retention = i64::try_from(policy.retention.as_millis()).unwrap_or(i64::MAX);
    let over = |since: Option<Timestamp>| since.is_some_and(|at| policy.proven_now.since(at) >= policy.retention);
    // An uninstall that died has saved things, and put things into the trash, that were proved to be elsewhere.
    let ours = |name: &str| facts.before.as_ref().is_some_and(|before| !before.contains(name));
    let since: BTreeMap<&str, Option<Timestamp>> =
        facts.clean.aged.iter().map(|aged| (aged.name.as_str(), aged.since)).collect();
    for reference in &facts.refs {
        let name = reference.name.as_str();
        let (saved, undo) = (name.starts_with(SALVAGE_PREFIX), name.starts_with(UNDO_PREFIX));
        // What is in a bundle has its moment in its name alone.
        let bundled = || saved.then(|| name.rsplit('/').nth(1).and_then(stamped_at)).flatten();
        let at = since.get(name).copied().unwrap_or_else(bundled);
        if saved || undo {
            content.known.insert(name.to_owned());
        }
        if !reference.alone || over(at) || ours(name) && !name.starts_with(SUBMODULES) {
            continue;
        }
        if saved {
            content.saved.insert(name.rsplit_once('/').map_or(name, |(place, _)| place).to_owned());
        } else if undo {
            content.undo += 1;
        } else if name.starts_with(SUBMODULES) {
            content.submodules += 1;
            continue;
        } else {
            continue;
        }
        content.until = content.until.max(at.map(|at| Timestamp(at.0.saturating_add(retention))));
    }
    for StoredFact { dir, .. } in &facts.clean.trash {
        let name = dir.path.display().to_string();
        if !over(Some(dir.at)) && !ours(&name) {
            content.trash += 1;
            content.until = content.until.max(Some(Timestamp(dir.at.0.saturating_add(retention))));
        }
        content.known.insert(name);
    }
    let unknown = facts.clean.unreadable.iter().filter(|kept| kept.kind == Kind::State);
    content.unknown = unknown.map(|kept| kept.item.clone()).collect();
    let of_runs = facts.clean.unrecorded_runs.iter();
    let of_runs = of_runs.filter(|run| !run.boxes.is_empty() || run.kept_by.is_some());
    content.unknown.extend(of_runs.map(|run| run.dir.path.display().to_string()));
    content
}

impl Content {
    fn refusal(&self) -> Option<String> {
        let count = |n: usize, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{n} {many}")),
        };
        let parts = [
            count(self.saved.len(), "thing that was saved before a removal", "things that were saved before removals"),
            count(self.undo, "ref that undo brings back", "refs that undo brings back"),
            count(self.trash, "removal in the trash", "removals in the trash"),
            count(self.submodules, "commit of a submodule without a clone", "commits of submodules without a clone"),
            count(
                self.unknown.len(),
                "private directory of a run that is not on record",
                "private directories of runs that are not on record",
            ),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return None;
        }
        let until = self.until.map_or_else(String::new, |until| format!(", until {until} at the latest"));
        let unknown = if self.unknown.is_empty() { String::new() } else { format!(" ({})", self.unknown.join(", ")) };
        Some(format!(
            "only treehand holds {}{unknown}{until}; look: treehand salvage ls, treehand log; let it go for good: --discard",
            parts.join(", ")
        ))
    }
}

fn what_else(facts: &UninstallFacts, plan: &mut UninstallPlan) {
    let mut groups: BTreeSet<String> = BTreeSet::new();
    for reference in &facts.refs {
        groups.insert(reference.name.split_inclusive('/').take(3).collect());
    }
    plan.goes.extend(groups.into_iter().map(|item| Goes { kind: "refs", item, bytes: 0 }));
    let inside = |dir: &&DirFact| facts.places.iter().all(|place| !dir.path.starts_with(&place.item));
    for dir in facts.clean.trash.iter().map(|stored| &stored.dir).filter(inside) {
        plan.goes.push(Goes { kind: "trash", item: dir.path.display().to_string(), bytes: 0 });
        plan.beside.push(dir.clone());
    }
    for (path, _) in &facts.clean.keeps {
        plan.goes.push(Goes { kind: "lock", item: path.display().to_string(), bytes: 0 });
        plan.keeps.push(path.clone());
    }
    plan.goes.extend(facts.places.iter().cloned());
}

fn refusal(busy: Vec<String>, refused: Vec<String>) -> Option<Refusal> {
    let is_busy = !busy.is_empty();
    let mut reasons = if is_busy { busy } else { refused };
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    (!reasons.is_empty()).then(|| Refusal { busy: is_busy, reason: reasons.join("; ") })
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Workspace => "workspace",
        Kind::Entry => "entry",
        Kind::Branch => "branch",
        Kind::Process => "process",
        Kind::Temp => "temp",
        Kind::Trash => "trash",
        Kind::Lock => "lock",
        Kind::State => "state",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::cleanup::clean::facts::AgedRef;
    use crate::cleanup::remove::decide::DirId;
    use crate::cleanup::uninstall::types::{IntentFact, RefFact};
    use crate::model::CommitId;

    const DAY: i64 = 86_400_000;

    fn policy() -> CleanPolicy {
        CleanPolicy {
            min_age: Duration::ZERO,
            retention: Duration::from_secs(14 * 86_400),
            proven_now: Timestamp(100 * DAY),
            protect: Vec::new(),
            count_max: 0,
            disk_budget: None,
            template: String::new(),
            now: Timestamp(100 * DAY),
            only: None,
            all_branches: false,
            remote: None,
        }
    }

    fn saved(name: &str, day: Option<i64>, alone: bool) -> UninstallFacts {
        let (name, commit) = (name.to_owned(), CommitId::parse(&"a".repeat(40)).expect("an id"));
        let mut facts =
            UninstallFacts { refs: vec![RefFact { name: name.clone(), alone }], ..UninstallFacts::default() };
        let since = day.map(|day| Timestamp(day * DAY));
        facts.clean.aged.push(AgedRef { name, commit, since, unused: false });
        facts
    }

    fn reason(facts: &UninstallFacts, discard: bool) -> Option<String> {
        decide(facts, &policy(), discard).refusal.map(|refusal| refusal.reason)
    }

    #[test]
    fn only_what_nothing_else_holds_and_whose_time_is_not_over_is_in_the_way() {
        let salvage = "refs/treehand/salvage/w/1-0123abcd/worktree";
        let why = reason(&saved(salvage, Some(99), true), false).expect("it is kept");
        assert!(why.starts_with("only treehand holds 1 thing that was saved before a removal, until "), "{why}");
        assert_eq!(reason(&saved(salvage, Some(99), true), true), None, "it is let go");
        assert_eq!(reason(&saved(salvage, Some(99), false), false), None, "a branch holds it");
        assert_eq!(reason(&saved(salvage, Some(86), true), false), None, "its time is over");
        assert!(reason(&saved(salvage, None, true), false).is_some(), "nobody knows its time");
        let undo = saved("refs/treehand/undo/1-0123abcd/heads/x", Some(99), true);
        assert!(reason(&undo, false).is_some_and(|why| why.contains("1 ref that undo brings back")));
        assert_eq!(reason(&saved("refs/treehand/merged/r/t", None, true), false), None, "what landed is in its target");
        let submodule = "refs/treehand/submodules/libs/heads/x";
        assert!(reason(&saved(submodule, None, true), false).is_some());
        assert!(
            reason(&UninstallFacts { before: Some(BTreeSet::new()), ..saved(submodule, None, true) }, false).is_some()
        );
    }

    #[test]
    fn what_an_uninstall_that_died_put_away_itself_is_not_in_the_way_of_the_next() {
        let salvage = "refs/treehand/salvage/w/1-0123abcd/worktree";
        let mut facts = saved(salvage, Some(99), true);
        let (path, id) = (PathBuf::from("/r/.git/treehand/trash/1-0123abcd"), DirId { dev: 1, ino: 2 });
        let dir = DirFact { path: path.clone(), id, at: Timestamp(99 * DAY) };
        facts.clean.trash.push(StoredFact { dir, bytes: 0 });
        let why = reason(&facts, false).expect("it is kept");
        assert!(why.contains("1 thing") && why.contains("1 removal in the trash"), "{why}");
        facts.before = Some(BTreeSet::new());
        assert_eq!(reason(&facts, false), None);
        facts.before = Some([path.display().to_string()].into());
        assert!(reason(&facts, false).is_some_and(|why| !why.contains("1 thing")), "that was there before");
    }

    #[test]
    fn who_is_at_work_is_named_before_anything_else() {
        let mut facts = saved("refs/treehand/salvage/w/1-0123abcd/worktree", Some(99), true);
        facts.intents.push(IntentFact { seq: 7, kind: "update".into(), alive: true });
        let refusal = decide(&facts, &policy(), false).refusal.expect("it is kept");
        assert!(refusal.busy && refusal.reason.contains("`update`"), "{}", refusal.reason);
        facts.intents[0].alive = false;
        assert!(!decide(&facts, &policy(), true).refusal.is_some_and(|refusal| refusal.busy), "before recovery");
        facts.recovered = true;
        let refusal = decide(&facts, &policy(), true).refusal.expect("it is kept");
        assert!(!refusal.busy && refusal.reason.contains("doctor --repair"), "{}", refusal.reason);
    }
}
