//! Decision file: which tip a base means, how a commit stands to it, and what the policy makes of that.
//!
//! Facts in, verdict out; the facts are gathered by `base` and `remote`.

use crate::model::{Freshness, Proof, StalePolicy};

/// How the local branch stands to the remote one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relation {
    /// Commits that the local one has and the remote one lacks.
    pub ahead: usize,
    /// Commits that the remote one has and the local one lacks.
    pub behind: usize,
}

/// Which of two tips a base means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Newer {
    /// The local branch: it has everything the remote has, or both have something of their own.
    Local,
    /// The remote branch: it has everything the local one has and more.
    Remote,
}

/// Takes the newer of local and remote. Where both have commits of their own no tip is newer: the branch that the user
/// named is taken, and its freshness says `diverged`. Commits that the remote has given up are nobody's own.
pub fn newer(relation: Relation, given_up: bool) -> Newer {
    match relation {
        Relation { ahead: 1.., .. } if given_up => Newer::Remote,
        Relation { ahead: 0, behind: 1.. } => Newer::Remote,
        _ => Newer::Local,
    }
}

/// What a proof is worth. A remote that has no such branch any more has answered, and named nothing that could be newest.
pub fn weight(proof: Proof, gone: bool) -> Proof {
    if gone { Proof::None } else { proof }
}

/// How a commit stands to the newest tip known, given how that tip is known.
pub fn judge(relation: Relation, proof: Proof) -> Freshness {
    match (proof, relation.behind, relation.ahead) {
        (Proof::None, 0, _) => Freshness::Unknown,
        (_, 0, _) => Freshness::Fresh,
        (_, _, 0) => Freshness::Stale,
        _ => Freshness::Diverged,
    }
}

/// What the policy makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a blocked base must not be used"]
pub enum Verdict {
    /// Nothing to say.
    Proceed,
    /// Go on and say so.
    Warn,
    /// Refuse.
    Block,
    /// Bring it up to date first.
    Update,
}

/// Applies the policy.
pub fn verdict(freshness: Freshness, policy: StalePolicy) -> Verdict {
    match (freshness, policy) {
        (Freshness::Fresh, _) => Verdict::Proceed,
        (_, StalePolicy::Warn) => Verdict::Warn,
        (_, StalePolicy::Block) => Verdict::Block,
        // What the remote has is unknown, so there is nothing to bring in.
        (Freshness::Unknown, StalePolicy::Update) => Verdict::Warn,
        (_, StalePolicy::Update) => Verdict::Update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_tip_is_taken_and_a_fork_keeps_the_named_branch() {
        let check = |ahead, behind, expected| {
            assert_eq!(newer(Relation { ahead, behind }, false), expected, "{ahead}/{behind}")
        };
        check(0, 0, Newer::Local);
        check(3, 0, Newer::Local);
        check(0, 2, Newer::Remote);
        check(3, 2, Newer::Local);
    }

    #[test]
    fn what_the_remote_has_given_up_makes_no_branch_newer() {
        let check =
            |ahead, behind, expected| assert_eq!(newer(Relation { ahead, behind }, true), expected, "{ahead}/{behind}");
        check(3, 2, Newer::Remote);
        check(3, 0, Newer::Remote);
        check(0, 0, Newer::Local);
    }

    #[test]
    fn freshness_table() {
        use Freshness::*;
        let check = |ahead, behind, proof, expected| {
            assert_eq!(judge(Relation { ahead, behind }, proof), expected, "{ahead}/{behind} by {proof:?}");
        };
        for proof in [Proof::LsRemote, Proof::Fetch, Proof::Local] {
            check(0, 0, proof, Fresh);
            check(4, 0, proof, Fresh);
            check(0, 1, proof, Stale);
            check(1, 1, proof, Diverged);
        }
        // What is known to be missing is missing, whether or not the remote answered; what looks fresh then is not proved.
        check(0, 0, Proof::None, Unknown);
        check(2, 0, Proof::None, Unknown);
        check(0, 3, Proof::None, Stale);
        check(1, 3, Proof::None, Diverged);
    }

    #[test]
    fn a_branch_that_the_remote_no_longer_has_is_not_known_to_be_fresh() {
        let check = |behind, expected| {
            let relation = Relation { ahead: 0, behind };
            assert_eq!(judge(relation, weight(Proof::LsRemote, true)), expected, "{behind}");
        };
        check(0, Freshness::Unknown);
        check(1, Freshness::Stale);
        assert_eq!(weight(Proof::LsRemote, false), Proof::LsRemote);
    }

    #[test]
    fn only_fresh_passes_a_block() {
        for freshness in [Freshness::Stale, Freshness::Diverged, Freshness::Unknown] {
            assert_eq!(verdict(freshness, StalePolicy::Warn), Verdict::Warn);
            assert_eq!(verdict(freshness, StalePolicy::Block), Verdict::Block);
        }
        assert_eq!(verdict(Freshness::Unknown, StalePolicy::Update), Verdict::Warn);
        assert_eq!(verdict(Freshness::Diverged, StalePolicy::Update), Verdict::Update);
        for policy in [StalePolicy::Warn, StalePolicy::Block, StalePolicy::Update] {
            assert_eq!(verdict(Freshness::Fresh, policy), Verdict::Proceed);
        }
    }
}
