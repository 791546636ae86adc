//! Decision file: whether a run may take a place that all runs of a user share, and whether the machine has room for one more task.
//!
//! Places go to the run that has the fewest of them; among those with as many, to the one that has waited longest. So a run of
//! five hundred tasks does not keep one of two waiting for longer than until the next place is free.

use crate::model::{AdmissionPolicy, ByteSize, Free, Share, Timestamp};

/// A run that wants a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// How many it has.
    pub held: usize,
    /// Since when it waits.
    pub since: Timestamp,
    /// Its id.
    pub run: String,
}

/// True when one of the free places is for this claim, beside those of the others that wait.
pub fn may_take(mine: &Claim, others: &[Claim], free: usize) -> bool {
    others.iter().filter(|other| *other < mine).count() < free
}

/// What is free, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Memory.
    pub memory: Option<Free>,
    /// Disk space: of the repository, and where the workspaces are.
    pub disks: Vec<Free>,
    /// Other tasks of the run are at work.
    pub others_at_work: bool,
}

/// Why no further task may start, in words; nothing where it may. Memory never holds up the only task of a run: it might be
/// somebody else's for good.
pub fn short_of(facts: &Facts, policy: &AdmissionPolicy) -> Option<String> {
    let is_short = |free: &Free, share: Share| free.free < share.of(free.total).0;
    let disk = facts.disks.iter().find(|disk| is_short(disk, policy.reserve_disk));
    let memory = facts.memory.as_ref().filter(|memory| facts.others_at_work && is_short(memory, policy.reserve_memory));
    let words = |what: &str, free: &Free, share: Share, key: &str| {
        let (free, wanted) = (round(free.free), share.of(free.total));
        format!("waits for {what}: {free} are free, {wanted} have to be ({key})")
    };
    let disk = disk.map(|free| words("disk space", free, policy.reserve_disk, "supervise.reserve_disk"));
    disk.or_else(|| memory.map(|free| words("memory", free, policy.reserve_memory, "supervise.reserve_memory")))
}

/// In mebibytes, as people read it.
fn round(bytes: u64) -> ByteSize {
    ByteSize(bytes >> 20 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(held: usize, since: i64, run: &str) -> Claim {
        Claim { held, since: Timestamp(since), run: run.into() }
    }

    #[test]
    fn a_place_goes_to_who_has_fewest_and_then_to_who_has_waited_longest() {
        let (greedy, modest, late) = (claim(7, 1, "a"), claim(1, 9, "b"), claim(1, 10, "c"));
        let all = [greedy.clone(), modest.clone(), late.clone()];
        let takes = |mine: &Claim, free| {
            let others: Vec<Claim> = all.iter().filter(|other| *other != mine).cloned().collect();
            may_take(mine, &others, free)
        };
        assert_eq!([takes(&greedy, 1), takes(&modest, 1), takes(&late, 1)], [false, true, false]);
        assert_eq!([takes(&greedy, 2), takes(&modest, 2), takes(&late, 2)], [false, true, true]);
        assert_eq!([takes(&greedy, 3), takes(&modest, 0)], [true, false]);
        assert!(may_take(&greedy, &[], 1));
    }

    #[test]
    fn what_is_short_is_said_and_memory_never_holds_up_the_only_task_of_a_run() {
        let disk = Share::Bytes(ByteSize(1 << 30));
        let policy =
            AdmissionPolicy { reserve_memory: Share::Percent(5), reserve_disk: disk, ..AdmissionPolicy::default() };
        let free = |free: u64, total: u64| Free { free, total };
        let facts = |memory, disk, others_at_work| Facts { memory: Some(memory), disks: vec![disk], others_at_work };
        let (much, little) = (free(50 << 30, 100 << 30), free(900 << 20, 100 << 30));
        assert_eq!(short_of(&facts(much, much, true), &policy), None);
        let words = short_of(&facts(much, little, false), &policy).expect("disk is short");
        assert_eq!(words, "waits for disk space: 900M are free, 1G have to be (supervise.reserve_disk)");
        let words = short_of(&facts(little, much, true), &policy).expect("memory is short");
        assert_eq!(words, "waits for memory: 900M are free, 5G have to be (supervise.reserve_memory)");
        assert_eq!(short_of(&facts(little, much, false), &policy), None);
        assert_eq!(short_of(&Facts::default(), &policy), None, "what is not known is not short");
    }

    proptest! {
        /// Whatever the claims are, as many may take a place as there are places, and no more.
        #[test]
        fn exactly_as_many_claims_as_there_are_places_may_take_one(
            claims in proptest::collection::btree_set((0usize..4, 0i64..4, 0u32..9), 1..12), free in 0usize..14,
        ) {
            let claims: Vec<Claim> = claims.iter().map(|(held, since, run)| claim(*held, *since, &run.to_string())).collect();
            let takers = claims.iter().filter(|mine| {
                let others: Vec<Claim> = claims.iter().filter(|other| other != mine).cloned().collect();
                may_take(mine, &others, free)
            });
            prop_assert_eq!(takers.count(), free.min(claims.len()));
        }
    }
}
