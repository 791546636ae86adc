//! Decision file: which branches of remotes `clean --remote` takes: those whose work is provably in a branch of the same remote, that
//! nobody uses here and no open pull request there, and for which that has been known for the least age.

use std::collections::BTreeSet;

use super::facts::{Facts, RemoteBranchFact};
use super::runs::untouchable;
use super::types::{CleanPlan, CleanPolicy, Kept, Kind, Step, action, old_enough};
use crate::model::{Span, WorkspaceName};

/// Decides on all of them, after everything here.
pub fn decide(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    let going: BTreeSet<WorkspaceName> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.step {
            Step::Workspace(plan) => Some(plan.record.name.clone()),
            _ => None,
        })
        .collect();
    for fact in &facts.remote_branches {
        let item = fact.branch.name.clone();
        match decide_one(fact, policy, &going) {
            Ok(proof) => {
                let expect = format!("at {} on {}", fact.doomed.tip.short(), fact.doomed.remote);
                let step = Step::RemoteBranch(fact.doomed.clone());
                plan.actions.push(action(Kind::Branch, item, proof, expect, step));
            }
            Err(reason) => plan.kept.push(Kept { kind: Kind::Branch, item, reason }),
        }
    }
}

fn decide_one(
    fact: &RemoteBranchFact,
    policy: &CleanPolicy,
    going: &BTreeSet<WorkspaceName>,
) -> Result<String, String> {
    untouchable(&fact.branch)?;
    if let Some(why) = &fact.needed_by {
        return Err(why.clone());
    }
    let proof = fact.branch.integrated.as_ref().map_err(ToString::to_string)?;
    if let Some(workspace) = fact.workspace.as_ref().filter(|name| !going.contains(name)) {
        return Err(format!("the workspace `{workspace}` is on it"));
    }
    if !fact.has_work {
        return Err("no work yet".into());
    }
    old_enough(fact.committed_at, policy)?;
    let since = fact.proven_since.unwrap_or(policy.now);
    // What others see is left alone for a while after it was found out, as far as the clock can be trusted.
    if policy.proven_now.since(since) < policy.min_age {
        return Err(format!("{proof}, which is known for less than {}", Span(policy.min_age)));
    }
    Ok(proof.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cleanup::clean::facts::TaskBranch;
    use crate::cleanup::clean::types::DoomedRemoteBranch;
    use crate::cleanup::verdict::{Integration, NotIntegrated};
    use crate::model::{CommitId, Timestamp};
    use crate::worktree::landed::Proof;

    const HOUR: i64 = 3_600_000;

    fn policy() -> CleanPolicy {
        CleanPolicy {
            min_age: Duration::from_secs(7200),
            retention: Duration::ZERO,
            proven_now: Timestamp(100 * HOUR),
            count_max: 0,
            disk_budget: None,
            protect: Vec::new(),
            template: String::new(),
            now: Timestamp(100 * HOUR),
            only: None,
            all_branches: true,
            remote: Some(Duration::ZERO),
        }
    }

    fn fact() -> RemoteBranchFact {
        let tip = CommitId::parse(&"a".repeat(40)).expect("an id");
        let branch = TaskBranch {
            name: "refs/remotes/origin/w".into(),
            tip: tip.clone(),
            elsewhere: None,
            integrated: Ok(Integration { proof: Proof::PatchId, target: "origin/main".into() }),
            landed: None,
            protected: None,
        };
        let (remote, deadline) = ("origin".to_owned(), Duration::ZERO);
        let doomed = DoomedRemoteBranch { remote, branch: "w".into(), tip, targets: Vec::new(), deadline };
        RemoteBranchFact {
            doomed,
            branch,
            has_work: true,
            committed_at: Timestamp(0),
            proven_since: Some(Timestamp(98 * HOUR)),
            workspace: None,
            needed_by: None,
        }
    }

    #[test]
    fn a_branch_goes_when_everything_is_known_for_long_enough_and_stays_for_the_first_reason() {
        let name = || WorkspaceName::parse("w").expect("a name");
        let open = TaskBranch { integrated: Err(NotIntegrated::Unproved), ..fact().branch };
        let protected = TaskBranch { protected: Some("w*".into()), ..fact().branch };
        let since = |hour: i64| RemoteBranchFact { proven_since: Some(Timestamp(hour * HOUR)), ..fact() };
        let soon = "patch-id of `origin/main`, which is known for less than 2h";
        let table = [
            (fact(), Ok("patch-id of `origin/main`")),
            (RemoteBranchFact { branch: protected, needed_by: Some("x".into()), ..fact() }, Err("protected by `w*`")),
            (RemoteBranchFact { branch: open.clone(), needed_by: Some("x".into()), ..fact() }, Err("x")),
            (RemoteBranchFact { branch: open, ..fact() }, Err("its work is in no target")),
            (RemoteBranchFact { workspace: Some(name()), ..fact() }, Err("the workspace `w` is on it")),
            (RemoteBranchFact { has_work: false, ..fact() }, Err("no work yet")),
            (RemoteBranchFact { committed_at: Timestamp(99 * HOUR), ..fact() }, Err("younger than 2h")),
            (since(99), Err(soon)),
            (RemoteBranchFact { proven_since: None, ..fact() }, Err(soon)),
        ];
        for (fact, expected) in table {
            let found = decide_one(&fact, &policy(), &BTreeSet::new());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{fact:?}");
        }
        let with_its_workspace = RemoteBranchFact { workspace: Some(name()), ..fact() };
        assert!(decide_one(&with_its_workspace, &policy(), &BTreeSet::from([name()])).is_ok(), "which goes, too");
        let doubtful = CleanPolicy { proven_now: Timestamp(98 * HOUR), ..policy() };
        assert!(decide_one(&fact(), &doubtful, &BTreeSet::new()).is_err(), "a clock that nothing vouches for");
    }
}
