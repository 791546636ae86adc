//! Stories of `clean` and branches of a remote: what changes between the plan and its application, and what a crash leaves.
//!
//! Each has a repository and a bare one as its remote.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::cleaning::{self, CleanPlan, CleanPolicy, CleanReport, Outcome};
use super::cleaning_tests::policy;
use crate::cleanup::undo;
use crate::model::CommitId;
use crate::model::operation::RemovedItem;
use crate::store::EntryDraft;
use crate::sys::proc;
use crate::worktree::fixture::Fixture;

struct WithRemote {
    fixture: Fixture,
    remote: PathBuf,
    policy: CleanPolicy,
}

impl WithRemote {
    /// The branches `one` and `two` are merged there, and nowhere here.
    fn new() -> WithRemote {
        let fixture = Fixture::new();
        let remote = fixture.dir.path().join("remote.git");
        let place = remote.to_string_lossy().into_owned();
        fixture.git(&["init", "-q", "--bare", "-b", "main", &place]);
        fixture.git(&["remote", "add", "origin", &place]);
        for branch in ["one", "two"] {
            fixture.git(&["branch", branch]);
            fixture.commit_on(branch, &[(branch, "x")]);
            fixture.git(&["merge", "-q", "--no-ff", "-m", branch, branch]);
            fixture.git(&["push", "-q", "origin", branch, "main"]);
            fixture.git(&["branch", "-q", "-D", branch]);
        }
        let policy = CleanPolicy { remote: Some(Duration::from_secs(60)), all_branches: true, ..policy(2) };
        WithRemote { fixture, remote, policy: CleanPolicy { min_age: Duration::ZERO, ..policy } }
    }

    fn planned(&self) -> CleanPlan {
        let plan = cleaning::plan(&self.fixture.repo, &self.fixture.store, &self.policy).expect("planned");
        let items: Vec<&str> = plan.actions.iter().map(|action| action.item.as_str()).collect();
        assert_eq!(items, ["refs/remotes/origin/one", "refs/remotes/origin/two"]);
        plan
    }

    fn applied(&self, plan: CleanPlan) -> CleanReport {
        cleaning::apply(&self.fixture.repo, &self.fixture.store, plan).expect("applied")
    }

    fn there(&self) -> String {
        self.fixture
            .run_in(&self.remote, &["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads/"])
    }

    fn tip(&self, branch: &str) -> CommitId {
        self.fixture.tip(&format!("refs/remotes/origin/{branch}"))
    }

    fn undo_refs(&self) -> Vec<String> {
        self.fixture.refs("refs/treehand/undo/")
    }
}

fn outcomes(report: &CleanReport) -> Vec<(Outcome, Option<&str>)> {
    report.actions.iter().map(|action| (action.outcome, action.reason.as_deref())).collect()
}

#[test]
fn what_has_moved_since_the_plan_is_skipped_and_the_rest_goes() {
    let world = WithRemote::new();
    let plan = world.planned();
    let fixture = &world.fixture;
    fixture.git(&["push", "-q", "origin", "main:one"]);
    // Others go on there: what was found is there still.
    fixture.commit("more", "x");
    fixture.git(&["push", "-q", "origin", "main"]);
    let report = world.applied(plan);
    assert_eq!(outcomes(&report), [(Outcome::Skipped, Some("it is elsewhere now")), (Outcome::Done, None)]);
    assert!(!world.there().contains("two "));
    assert_eq!(world.undo_refs().len(), 1, "only what went is held");
    undo::undo(&fixture.repo, &fixture.store, report.op).expect("undone");
    assert!(world.there().contains("two "));
}

#[test]
fn a_target_that_lost_what_it_had_keeps_what_was_found_in_it() {
    let world = WithRemote::new();
    let (plan, before) = (world.planned(), world.there());
    let first = world.fixture.git(&["rev-list", "--max-parents=0", "main"]);
    world.fixture.git(&["push", "-q", "-f", "origin", &format!("{}:refs/heads/main", first.trim())]);
    let report = world.applied(plan);
    let why = Some("`main` on origin does not have what it had");
    assert_eq!(outcomes(&report), [(Outcome::Skipped, why), (Outcome::Skipped, why)]);
    assert_eq!(report.op, None);
    assert_eq!(world.there().lines().count(), before.lines().count());
    assert_eq!(world.undo_refs(), [] as [String; 0]);
}

#[test]
fn a_remote_that_goes_away_before_the_push_loses_nothing() {
    let world = WithRemote::new();
    let (plan, before) = (world.planned(), world.there());
    let away = world.remote.with_extension("away");
    std::fs::rename(&world.remote, &away).expect("moved");
    let report = world.applied(plan);
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Failed), "{:?}", outcomes(&report));
    std::fs::rename(&away, &world.remote).expect("moved");
    assert_eq!(world.there(), before);
    assert!(world.fixture.store.open_intents().expect("readable").is_empty());
    let report = world.applied(world.planned());
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Done), "{:?}", outcomes(&report));
}

#[test]
fn what_a_killed_clean_deleted_on_a_remote_is_pushed_back_before_anything_else() {
    let world = WithRemote::new();
    let (fixture, before) = (&world.fixture, world.there());
    let dead = proc::own().map(|own| crate::model::ProcId { start_time: own.start_time + 1, ..own });
    let item = |branch: &str| RemovedItem::RemoteBranch {
        remote: "origin".into(),
        branch: branch.into(),
        commit: world.tip(branch),
    };
    let tip = world.tip("one");
    fixture.git(&["update-ref", "refs/treehand/undo/1-00000000/remotes/origin/one", tip.as_str()]);
    let data = json!({"items": [item("one"), item("two")], "owner": dead});
    assert!(fixture.store.intend(&EntryDraft::new("clean", data)).is_ok());
    fixture.git(&["push", "-q", "origin", ":one"]);
    let quiet = CleanPolicy { remote: None, ..world.policy.clone() };
    let report = cleaning::clean(&fixture.repo, &fixture.store, &quiet).expect("cleaned");
    assert_eq!(outcomes(&report)[0], (Outcome::Done, None));
    assert_eq!(world.there(), before, "both are where they were");
    assert!(fixture.store.open_intents().expect("readable").is_empty());
}

#[test]
fn what_was_on_a_remote_that_is_not_known_any_more_holds_up_nobody() {
    let world = WithRemote::new();
    let fixture = &world.fixture;
    let dead = proc::own().map(|own| crate::model::ProcId { start_time: own.start_time + 1, ..own });
    let item = RemovedItem::RemoteBranch { remote: "gone".into(), branch: "one".into(), commit: world.tip("one") };
    assert!(fixture.store.intend(&EntryDraft::new("clean", json!({"items": [item], "owner": dead}))).is_ok());
    let quiet = CleanPolicy { remote: None, ..world.policy.clone() };
    let report = cleaning::clean(&fixture.repo, &fixture.store, &quiet).expect("cleaned");
    assert_eq!(outcomes(&report)[0], (Outcome::Done, None));
    assert!(fixture.store.open_intents().expect("readable").is_empty());
}
