//! Decision file: what `clean` takes of sealed boxes that no run and no workspace on record accounts for: whoever had them on
//! record is gone with it, as after a store that was lost.
//!
//! One of a task is nobody's, and goes saved once it is old enough. One that has a person's name may be worked in: only where
//! its tree is gone, too, what is left of it goes, saved as well.

use std::path::Path;

use super::decide::IN_USE;
use super::facts::{BoxOwner, Facts, UnrecordedBox, UnrecordedRun};
use super::types::{CleanAction, CleanPlan, CleanPolicy, Kept, Kind, Step, action};
use crate::model::Span;

/// Decides on all of them, and on the private directories of their runs.
pub fn decide(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    let boxes = policy.only.as_ref().is_none_or(|only| only.contains(&Kind::Workspace));
    for run in &facts.unrecorded_runs {
        let mut left = !boxes && !run.boxes.is_empty();
        for one in &run.boxes {
            left |= put(plan, one, decide_task(run, one, policy));
        }
        if !left {
            put_run(plan, run, policy);
        }
    }
    for one in &facts.unrecorded {
        put(plan, one, decide_box(one, policy));
    }
}

/// The tree of a box that stays and has this branch.
pub fn stays_with<'a>(facts: &'a Facts, branch: &str, policy: &CleanPolicy) -> Option<&'a Path> {
    let run = facts.unrecorded_runs.iter().find(|run| run.boxes.iter().any(|one| one.branch == branch))?;
    let one = run.boxes.iter().find(|one| one.branch == branch)?;
    let taken = policy.only.as_ref().is_none_or(|only| only.contains(&Kind::Workspace));
    let goes = taken && decide_task(run, one, policy).is_ok();
    (!goes).then_some(one.paths.tree.as_path())
}

fn decide_task(run: &UnrecordedRun, one: &UnrecordedBox, policy: &CleanPolicy) -> Result<CleanAction, String> {
    if run.at_work { Err("its run has a supervisor".to_owned()) } else { decide_box(one, policy) }
}

/// Puts it where the verdict says; true when it stays.
fn put(plan: &mut CleanPlan, one: &UnrecordedBox, verdict: Result<CleanAction, String>) -> bool {
    match verdict {
        Ok(action) => plan.actions.push(action),
        Err(reason) => {
            plan.kept.push(Kept { kind: Kind::Workspace, item: one.owner.to_string(), reason });
            return true;
        }
    }
    false
}

fn decide_box(one: &UnrecordedBox, policy: &CleanPolicy) -> Result<CleanAction, String> {
    let nothing = match &one.owner {
        BoxOwner::Task(..) => "no run of this id is recorded",
        BoxOwner::Workspace(_) => "no workspace of this name is recorded",
    };
    let stays = |why: &str| Err(format!("{nothing}, {why}"));
    if let Some(process) = one.processes.first() {
        return stays(&format!("and {} (pid {}) works in it", process.name, process.pid));
    }
    if let Some(mounted) = one.mounted.first() {
        return stays(&format!("and something is mounted in it: {}", mounted.display()));
    }
    if let Some(tree) = &one.elsewhere {
        return stays(&format!("and its tree is not where the template puts it: {}", tree.display()));
    }
    if !one.disk_there {
        return stays("and its directory is not there, but its disk may not be mounted");
    }
    if let (BoxOwner::Workspace(_), Some(_)) = (&one.owner, one.enclosure) {
        return stays("and its tree is there; what is needed of it has to be copied by hand");
    }
    let Some(base) = &one.base else {
        return stays("and the objects that it borrows from are gone; what is needed of it has to be copied by hand");
    };
    let least = policy.min_age.max(IN_USE);
    if policy.now.since(one.changed_at) < least {
        return stays(&format!("and it is younger than {}", Span(least)));
    }
    let proof = format!("{nothing}; what no branch holds of it is saved first");
    let expect = one.enclosure.or(one.private).map_or_else(|| "no directory".to_owned(), |id| id.to_string());
    let step = Step::UnrecordedBox { found: Box::new(one.clone()), base: base.clone() };
    Ok(action(Kind::Workspace, one.owner.to_string(), proof, expect, step))
}

fn put_run(plan: &mut CleanPlan, run: &UnrecordedRun, policy: &CleanPolicy) {
    let item = run.dir.path.display().to_string();
    if let Some(why) = &run.kept_by {
        let reason = format!("no run of this id is recorded, and {why}");
        plan.kept.push(Kept { kind: Kind::State, item, reason });
        return;
    }
    // Whoever begins a run makes it before it is on record; what its boxes are younger than it is, too.
    if run.boxes.is_empty() && policy.now.since(run.dir.at) < policy.min_age.max(IN_USE) {
        return;
    }
    let proof = "no run of this id is recorded, and no task has a part in it";
    let step = Step::RunDir { path: run.dir.path.clone(), id: run.dir.id };
    plan.actions.push(action(Kind::State, item, proof, run.dir.id.to_string(), step));
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cleanup::clean::cleaning_tests::policy;
    use crate::cleanup::remove::decide::DirId;
    use crate::model::{CommitId, RunId, Standing, TaskId, Timestamp, WorkspaceName};
    use crate::worktree::sealed::SealedPaths;

    fn abandoned(now: Timestamp) -> UnrecordedBox {
        let place = |name: &str| PathBuf::from(format!("/trees/{name}"));
        let paths = SealedPaths {
            enclosure: place("box"),
            tree: place("box/repo"),
            home: place("box/home"),
            tmp: place("box/tmp"),
            private: place("private"),
            git_dir: place("private/common.git"),
            admin: place("private/common.git/worktrees/wt"),
            entry: place("entry"),
        };
        let run = RunId::parse("0w253tzej6").expect("an id");
        UnrecordedBox {
            owner: BoxOwner::Task(run, TaskId::parse("t").expect("an id")),
            branch: "refs/heads/treehand/0w253tzej6/t".into(),
            paths,
            lender: place("run"),
            base: CommitId::parse(&"a".repeat(40)).ok(),
            enclosure: Some(DirId { dev: 1, ino: 2 }),
            private: Some(DirId { dev: 1, ino: 3 }),
            elsewhere: None,
            mounted: Vec::new(),
            processes: Vec::new(),
            disk_there: true,
            changed_at: Timestamp(now.0 - 3 * 86_400_000),
        }
    }

    #[test]
    fn a_box_of_nobody_goes_and_whatever_speaks_against_it_keeps_it() {
        let policy = policy(0);
        let now = policy.now;
        let named = BoxOwner::Workspace(WorkspaceName::parse("w").expect("a name"));
        type Change<'a> = Box<dyn Fn(&mut UnrecordedBox) + 'a>;
        let table: Vec<(Option<&str>, Change<'_>)> = vec![
            (None, Box::new(|_| {})),
            (None, Box::new(|one| one.enclosure = None)),
            (
                Some("sh (pid 7) works in it"),
                Box::new(|one| one.processes.push(Standing { pid: 7, name: "sh".into() })),
            ),
            (Some("something is mounted in it: /m"), Box::new(|one| one.mounted.push("/m".into()))),
            (Some("not where the template puts it: /x"), Box::new(|one| one.elsewhere = Some("/x".into()))),
            (Some("its disk may not be mounted"), Box::new(|one| one.disk_there = false)),
            (Some("the objects that it borrows from are gone"), Box::new(|one| one.base = None)),
            (Some("younger than"), Box::new(|one| one.changed_at = Timestamp(now.0 - 60_000))),
            (Some("younger than"), Box::new(|one| one.changed_at = Timestamp(now.0 + 60_000))),
            (Some("its tree is there"), Box::new(|one| one.owner = named.clone())),
            (None, Box::new(|one| (one.owner, one.enclosure) = (named.clone(), None))),
        ];
        for (stays, change) in table {
            let mut one = abandoned(now);
            change(&mut one);
            match (stays, decide_box(&one, &policy)) {
                (None, Ok(_)) => {}
                (Some(part), Err(why)) => assert!(why.contains(part), "{why}"),
                (stays, verdict) => panic!("{stays:?}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn the_directory_of_a_run_stays_with_any_of_its_boxes() {
        let policy = policy(0);
        let dir = crate::cleanup::clean::facts::DirFact {
            path: "/sealed/0w253tzej6".into(),
            id: DirId { dev: 1, ino: 4 },
            at: policy.now,
        };
        let run =
            |boxes: Vec<UnrecordedBox>, at_work| UnrecordedRun { dir: dir.clone(), boxes, kept_by: None, at_work };
        let young = UnrecordedBox { changed_at: policy.now, ..abandoned(policy.now) };
        let table = [
            (run(vec![abandoned(policy.now)], false), 2, 0),
            (run(vec![abandoned(policy.now), young], false), 1, 1),
            (run(vec![abandoned(policy.now)], true), 0, 1),
            (run(Vec::new(), false), 0, 0),
            (UnrecordedRun { kept_by: Some("it holds".into()), ..run(vec![abandoned(policy.now)], false) }, 1, 1),
        ];
        for (run, actions, kept) in table {
            let facts = Facts { unrecorded_runs: vec![run], ..Facts::default() };
            let mut plan = CleanPlan::default();
            decide(&facts, &policy, &mut plan);
            assert_eq!((plan.actions.len(), plan.kept.len()), (actions, kept), "{plan:?}");
            let stays = stays_with(&facts, "refs/heads/treehand/0w253tzej6/t", &policy).is_some();
            assert_eq!(stays, actions == 0 && kept == 1, "{plan:?}");
        }
    }
}
