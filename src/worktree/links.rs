//! Decision file: which links between stacked workspaces hold.
//!
//! A link is the name of a branch. Where that was removed and made again on top of the workspace that stands on it, the older
//! link means a branch that is gone: it is stale, and is passed over.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::BaseReport;
use crate::model::record::{MadeAt, WorkspaceRecord};

/// What there is to know of a workspace that others may be stacked on.
#[derive(Clone, Debug, PartialEq)]
pub struct LowerOne {
    /// Its base on record.
    pub base: BaseReport,
    /// When it was made.
    pub made_at: MadeAt,
}

/// The workspaces that others may be stacked on, by branch.
pub type Lower = BTreeMap<String, LowerOne>;

/// The workspaces of the repository, by branch.
pub fn lower(records: &[WorkspaceRecord]) -> Lower {
    let one = |record: &WorkspaceRecord| LowerOne { base: record.base.clone(), made_at: record.made_at() };
    records.iter().map(|record| (record.branch.to_string(), one(record))).collect()
}

/// The bases below a base, nearest first, for a workspace with this branch; none when it is no workspace's branch.
pub fn below(lower: &Lower, reference: &str, own: &str) -> Vec<String> {
    let Some(one) = lower.get(reference) else { return Vec::new() };
    let holds = |name: &&String| *name != reference && *name != own && !is_stale(lower, reference, one.made_at, name);
    one.base.references().filter(holds).cloned().collect()
}

/// True when the link to `name` of a workspace with the branch `own`, made at that time, means a branch that is gone: the
/// one of this name is newer, and stands on that workspace itself.
pub fn is_stale(lower: &Lower, own: &str, made: MadeAt, name: &str) -> bool {
    name == own || lower.get(name).is_some_and(|one| one.made_at > made && comes_back(lower, own, name))
}

/// True when the bases on record lead from one branch to another.
fn comes_back(lower: &Lower, own: &str, name: &str) -> bool {
    let (mut seen, mut at) = (BTreeSet::new(), name);
    while let Some(one) = lower.get(at).filter(|_| seen.insert(at)) {
        at = &one.base.reference;
        if at == own {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CommitId, Timestamp};

    fn nth(order: i64) -> MadeAt {
        MadeAt { order, at: Timestamp(0) }
    }

    /// Workspaces as branch, base and what that stands on, in the order in which they were made.
    fn made(all: &[(&str, &str, &[&str])]) -> Lower {
        let commit = CommitId::parse(&"a".repeat(40)).expect("an id");
        let one = |(at, (branch, base, stack)): (usize, &(&str, &str, &[&str]))| {
            let stack = stack.iter().map(|name| (*name).to_owned()).collect();
            let base = BaseReport { stack, ..BaseReport::fixed(base, commit.clone()) };
            let at = i64::try_from(at).expect("small");
            ((*branch).to_owned(), LowerOne { base, made_at: nth(at) })
        };
        all.iter().enumerate().map(one).collect()
    }

    #[test]
    fn what_is_below_is_listed_nearest_first() {
        let lower = made(&[("l", "main", &[]), ("m", "l", &["main"])]);
        assert_eq!(below(&lower, "m", "u"), ["l", "main"]);
        assert_eq!(below(&lower, "main", "u"), Vec::<String>::new());
    }

    #[test]
    fn a_branch_made_again_on_what_stood_on_it_is_no_base_of_that() {
        let lower = made(&[("s2", "s1", &["main"]), ("s1", "s2", &["main"])]);
        assert!(is_stale(&lower, "s2", nth(0), "s1"), "the older link");
        assert!(!is_stale(&lower, "s1", nth(1), "s2"), "the newer one");
        // The one that is made again is not on record yet.
        let lower = made(&[("s2", "s1", &["main"])]);
        assert_eq!(below(&lower, "s2", "s1"), ["main"]);
    }

    #[test]
    fn which_of_two_was_made_later_is_told_by_their_order_whatever_the_clock_said() {
        // Order and clock of `s2`, which stands on an older `s1`, and of `s1`, which was made again on top of it.
        let table = [
            ("a right clock", (1, 10), (2, 20)),
            ("the clock was set back", (1, 20), (2, 10)),
            ("the same moment", (1, 10), (2, 10)),
            ("both by an older treehand", (0, 10), (0, 20)),
            ("one by an older treehand, and the clock was set back", (0, 20), (7, 10)),
            ("both at once", (3, 10), (3, 20)),
        ];
        for (what, upper, again) in table {
            let at = |(order, at)| MadeAt { order, at: Timestamp(at) };
            let mut lower = made(&[("s2", "s1", &["main"]), ("s1", "s2", &["main"])]);
            for (name, made_at) in [("s2", at(upper)), ("s1", at(again))] {
                lower.get_mut(name).expect("made").made_at = made_at;
            }
            let stale = (is_stale(&lower, "s2", at(upper), "s1"), is_stale(&lower, "s1", at(again), "s2"));
            assert_eq!(stale, (true, false), "{what}");
        }
    }

    #[test]
    fn a_longer_circle_is_broken_where_it_is_stale_and_nowhere_else() {
        let lower = made(&[("b", "a", &["main"]), ("c", "b", &["a", "main"]), ("a", "c", &["b", "main"])]);
        let stale = |own: &str, made, name: &str| is_stale(&lower, own, nth(made), name);
        assert_eq!((stale("b", 0, "a"), stale("c", 1, "b"), stale("a", 2, "c")), (true, false, false));
        assert_eq!(below(&lower, "a", "u"), ["c", "b", "main"]);
        assert!(stale("a", 2, "a"), "no branch stands on itself");
    }
}
