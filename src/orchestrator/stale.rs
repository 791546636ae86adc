//! Decision file: what becomes of a result whose target has got something since its run began.
//!
//! The policy is that of the task, else that of the run. What the run itself has landed meanwhile is no reason to refuse what the
//! same run makes: a run of two tasks would refuse one of them.

use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{StalePolicy, Strategy};

/// What is known when a result has been captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the user wants done about it.
    pub policy: StalePolicy,
    /// It lacks something of its target.
    pub behind: bool,
    /// Somebody else than its own run brought some of that there.
    pub foreign: bool,
    /// The target itself has some of that, not only its counterpart on the remote.
    pub here: bool,
    /// How the result is to become commits of the target.
    pub strategy: Strategy,
    /// All that it builds on has landed.
    pub stands_alone: bool,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused result must not land"]
pub enum Step {
    /// Nothing.
    Proceed,
    /// Say so and go on; why it is not brought forward, where that was wanted.
    Tell(Option<&'static str>),
    /// Reject it.
    Refuse,
    /// Put it onto the tip of the target.
    BringForward,
}

/// The policy that a task is under.
pub fn policy(run: &RunRecord, task: &TaskRecord) -> StalePolicy {
    task.spec.stale.or(run.spec.stale).unwrap_or_default()
}

/// Decides.
pub fn decide(facts: &Facts) -> Step {
    match facts.policy {
        _ if !facts.behind => Step::Proceed,
        StalePolicy::Warn => Step::Tell(None),
        StalePolicy::Block if facts.foreign => Step::Refuse,
        StalePolicy::Block => Step::Tell(None),
        // On top of what the target does not have, it would not be what lands there.
        StalePolicy::Update if !facts.here => Step::Tell(Some("only the remote has what it lacks")),
        StalePolicy::Update if !facts.stands_alone => Step::Tell(Some("what it builds on has not landed")),
        // The merge commit would claim a history whose files a target that was taken back does not have.
        StalePolicy::Update if facts.strategy == Strategy::Merge => {
            Step::Tell(Some("its merge commit brings both together"))
        }
        StalePolicy::Update => Step::BringForward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StalePolicy::{Block, Update, Warn};

    #[test]
    fn what_becomes_of_a_result_by_policy_and_by_who_moved_the_target() {
        let facts = |policy, behind, foreign, here| Facts {
            policy,
            behind,
            foreign,
            here,
            strategy: Strategy::Squash,
            stands_alone: true,
        };
        for policy in [Warn, Block, Update] {
            assert_eq!(decide(&facts(policy, false, false, false)), Step::Proceed);
        }
        // Policy, foreign, here.
        let table = [
            (Warn, true, true, Step::Tell(None)),
            (Block, true, true, Step::Refuse),
            (Block, true, false, Step::Refuse),
            (Block, false, true, Step::Tell(None)),
            (Update, true, true, Step::BringForward),
            (Update, false, true, Step::BringForward),
            (Update, true, false, Step::Tell(Some("only the remote has what it lacks"))),
        ];
        for (policy, foreign, here, expected) in table {
            assert_eq!(decide(&facts(policy, true, foreign, here)), expected, "{policy:?} {foreign} {here}");
        }
        let update = facts(Update, true, true, true);
        let told = |facts: Facts| matches!(decide(&facts), Step::Tell(Some(_)));
        assert!(told(Facts { stands_alone: false, ..update }) && told(Facts { strategy: Strategy::Merge, ..update }));
        for strategy in [Strategy::Rebase, Strategy::Ff] {
            assert_eq!(decide(&Facts { strategy, ..update }), Step::BringForward);
        }
    }
}
