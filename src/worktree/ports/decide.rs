//! Decision file: which block of ports a workspace gets, given what is leased already and what is free at this moment.
//!
//! A block is so many numbers in a row, below those that systems hand out by themselves. The search begins where the path of the
//! tree says, so that the same path tends to get the same ports, and comes past every block.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The first port that is leased.
pub const FIRST: u16 = 20_000;
/// The last one: from the next on Linux takes ports for connections.
pub const LAST: u16 = 32_767;
/// So many a workspace has at most.
pub const MOST: u16 = 100;

/// The ports of one tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The tree.
    #[serde(with = "crate::worktree::departed::path_text")]
    pub tree: PathBuf,
    /// The first of its ports.
    pub first: u16,
    /// How many they are.
    pub count: u16,
}

impl Lease {
    /// All of them.
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.first..=self.first.saturating_add(self.count.saturating_sub(1))
    }

    /// Those that are told where so many are wanted.
    pub fn told(&self, wanted: u16) -> Vec<u16> {
        self.ports().take(wanted.min(self.count).into()).collect()
    }

    /// True where its numbers are ports at all.
    pub fn is_sound(&self) -> bool {
        self.first > 0 && self.count > 0 && self.first.checked_add(self.count - 1).is_some()
    }
}

/// Where the search for a tree's ports begins: always the same for the same path (FNV-1a).
pub fn start(tree: &Path) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    tree.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The first port of a block of so many that nobody has leased and that are all free; `None` where there is no such block.
pub fn next(leases: &[Lease], wanted: u16, start: u64, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
    let blocks = (LAST - FIRST + 2).checked_sub(wanted).filter(|blocks| *blocks > 0 && wanted > 0)?;
    let leased: BTreeSet<u16> = leases.iter().flat_map(Lease::ports).collect();
    let mut is_taken = |port: u16| leased.contains(&port) || !is_free(port);
    let middle = u16::try_from(start % u64::from(blocks)).ok()?;
    search(middle..blocks, wanted, &mut is_taken).or_else(|| search(0..middle, wanted, &mut is_taken))
}

/// The first block that can be had of those that begin so far behind the first port.
fn search(places: Range<u16>, wanted: u16, is_taken: &mut impl FnMut(u16) -> bool) -> Option<u16> {
    let mut place = places.start;
    while place < places.end {
        let first = FIRST + place;
        // From behind: no block with this port in it can be had, so that all of them are passed over at once.
        match (first..first + wanted).rev().find(|port| is_taken(*port)) {
            None => return Some(first),
            Some(taken) => place = taken + 1 - FIRST,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(first: u16, count: u16) -> Lease {
        Lease { tree: "/t".into(), first, count }
    }

    #[test]
    fn a_block_is_the_first_from_the_start_that_nobody_has() {
        let check = |leased: &[(u16, u16)], wanted, start, busy: &[u16], expected| {
            let leases: Vec<Lease> = leased.iter().map(|(first, count)| lease(*first, *count)).collect();
            let found = next(&leases, wanted, start, |port| !busy.contains(&port));
            assert_eq!(found, expected, "{leased:?} {wanted} {start} {busy:?}");
        };
        check(&[], 1, 0, &[], Some(20_000));
        check(&[], 1, 17, &[], Some(20_017));
        check(&[], 1, 12_767, &[], Some(32_767));
        check(&[], 1, 12_768, &[], Some(20_000));
        check(&[(20_017, 1)], 1, 17, &[], Some(20_018));
        check(&[(20_017, 3)], 2, 16, &[], Some(20_020));
        check(&[], 3, 0, &[20_001, 20_004], Some(20_005));
        check(&[(32_767, 1)], 1, 12_767, &[], Some(20_000));
        check(&[], 100, 12_668, &[32_767], Some(20_000));
        check(&[], 2, 12_766, &[32_766], Some(20_000));
        check(&[(20_000, 12_768)], 1, 5, &[], None);
        check(&[(20_000, 12_767)], 1, 5, &[], Some(32_767));
        check(&[(20_000, 12_767)], 2, 5, &[], None);
        check(&[(20_000, 12_767)], 1, 5, &[32_767], None);
        check(&[(60_000, 5_536), (1, 1)], 1, 0, &[], Some(20_000));
        check(&[], 0, 0, &[], None);
        check(&[], 12_768, 3, &[], Some(20_000));
        check(&[], 12_769, 3, &[], None);
        check(&[], u16::MAX, u64::MAX, &[], None);
    }

    #[test]
    fn a_path_has_one_start_for_all_time() {
        assert_eq!(start(Path::new("")), 0xcbf2_9ce4_8422_2325);
        assert_eq!(start(Path::new("foobar")), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_is_told_is_no_more_than_was_leased() {
        assert_eq!(lease(20_000, 3).told(2), [20_000, 20_001]);
        assert_eq!(lease(20_000, 1).told(2), [20_000]);
        assert_eq!(lease(20_000, 3).told(0), [] as [u16; 0]);
        assert!(lease(65_535, 1).is_sound() && !lease(65_535, 2).is_sound());
        assert!(!lease(0, 1).is_sound() && !lease(20_000, 0).is_sound());
    }

    proptest! {
        #[test]
        fn blocks_are_free_and_are_found_where_there_are_any(
            crowd in proptest::collection::vec((19_900_u16..32_900, 1_u16..400), 0..60),
            busy in proptest::collection::btree_set(FIRST..=LAST, 0..200),
            wanted in 1_u16..=MOST,
            start in any::<u64>(),
        ) {
            let leases: Vec<Lease> = crowd.iter().map(|(first, count)| lease(*first, *count)).collect();
            let is_open = |port: u16| !busy.contains(&port) && !leases.iter().any(|lease| lease.ports().contains(&port));
            let fits = |first: u16| (first..first + wanted).all(is_open);
            match next(&leases, wanted, start, |port| !busy.contains(&port)) {
                Some(first) => {
                    prop_assert!(first >= FIRST && first + wanted - 1 <= LAST && fits(first));
                }
                None => prop_assert!(!(FIRST..=LAST + 1 - wanted).any(fits)),
            }
        }

        #[test]
        fn no_two_that_are_leased_one_after_the_other_meet(all in proptest::collection::vec((1_u16..=MOST, any::<u64>()), 1..40)) {
            let mut leases: Vec<Lease> = Vec::new();
            for (wanted, start) in all {
                let first = next(&leases, wanted, start, |_| true).expect("there is room for all of them");
                let new = lease(first, wanted);
                prop_assert!(leases.iter().flat_map(Lease::ports).all(|port| !new.ports().contains(&port)));
                leases.push(new);
            }
        }
    }
}
