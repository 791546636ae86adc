//! State: since when it is known of a branch on a remote that its work has landed: it goes a while after that.
//!
//! A file in the repository's own state. Where it cannot be read or written, the time begins anew; what is not asked for any more
//! is forgotten. A branch that moves is another question.

use std::collections::BTreeMap;

use super::types::DoomedRemoteBranch;
use crate::model::Timestamp;
use crate::worktree::Repository;
use crate::worktree::memo::Memo;

/// What is known.
#[derive(Debug)]
pub struct Grace {
    memo: Memo,
    before: BTreeMap<String, Timestamp>,
    now: BTreeMap<String, Timestamp>,
}

impl Grace {
    /// What was kept.
    pub fn open(repo: &Repository) -> Grace {
        let memo = Memo::of(repo, "remote-proofs.json");
        let before = memo.read().unwrap_or_default();
        Grace { memo, before, now: BTreeMap::new() }
    }

    /// Since when the work of this branch is known to have landed: since now, if that was not known before.
    pub fn since(&mut self, branch: &DoomedRemoteBranch, now: Timestamp) -> Timestamp {
        let key = format!("{} {} {}", branch.remote, branch.tip, branch.branch);
        // One in the future is by a clock that was wrong.
        let since = self.before.get(&key).copied().filter(|since| *since <= now).unwrap_or(now);
        self.now.insert(key, since);
        since
    }

    /// Keeps what is known of a remote that did not answer.
    pub fn retain(&mut self, remote: &str) {
        let of = |key: &&String| key.split(' ').next() == Some(remote);
        let kept: Vec<String> = self.before.keys().filter(of).cloned().collect();
        self.now.extend(kept.into_iter().filter_map(|key| Some((key.clone(), *self.before.get(&key)?))));
    }

    /// Keeps what was asked for.
    pub fn keep(&self) {
        // Where it cannot be kept, what could go stays a little longer.
        if self.now != self.before {
            self.memo.write(&self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn the_time_begins_once_for_each_tip_and_again_when_nobody_asked_meanwhile() {
        let fixture = Fixture::new();
        std::fs::create_dir_all(fixture.repo.state_dir()).expect("made");
        let tip = fixture.tip("refs/heads/main");
        let branch = |name: &str, remote: &str| DoomedRemoteBranch {
            remote: remote.into(),
            branch: name.into(),
            tip: tip.clone(),
            targets: Vec::new(),
            deadline: Duration::ZERO,
        };
        let ask = |names: &[(&str, &str)], now: i64, silent: &[&str]| {
            let mut grace = Grace::open(&fixture.repo);
            let found: Vec<i64> =
                names.iter().map(|(name, remote)| grace.since(&branch(name, remote), Timestamp(now)).0).collect();
            silent.iter().for_each(|remote| grace.retain(remote));
            grace.keep();
            found
        };
        assert_eq!(ask(&[("a", "origin"), ("b", "fork")], 5, &[]), [5, 5]);
        assert_eq!(ask(&[("a", "origin")], 7, &["fork"]), [5]);
        assert_eq!(ask(&[("a", "origin"), ("b", "fork"), ("c", "fork")], 8, &[]), [5, 5, 8]);
        assert_eq!(ask(&[("b", "fork")], 9, &[]), [5]);
        assert_eq!(ask(&[("a", "origin"), ("b", "fork")], 10, &[]), [10, 5], "nobody had asked for the first");
        assert_eq!(ask(&[("a", "origin")], 3, &[]), [3], "a clock that went back");
        std::fs::write(fixture.repo.state_dir().join("remote-proofs.json"), "[").expect("written");
        assert_eq!(ask(&[("a", "origin")], 11, &[]), [11]);
    }
}
