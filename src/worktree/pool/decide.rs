//! Decision file: which slot is taken for a commit, and what has to be done so that as many are ready as are wanted.
//!
//! A slot at another commit is worth taking, too: what differs is written. Where nobody has wanted one for long, or the disk is nearly
//! full, slots are the first to go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::admission::Free;
use crate::model::{CommitId, Timestamp};

/// How many are kept ready, and when not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How many.
    pub size: u32,
    /// So many bytes of the disk stay free.
    pub free: u64,
    /// They go when nobody has made a workspace for so long.
    pub age: Duration,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// How many, and when not.
    pub terms: Terms,
    /// At which commit: that of the last workspace.
    pub commit: CommitId,
    /// When that was made.
    pub at: Timestamp,
}

impl Wanted {
    /// True when nobody has wanted one for too long.
    pub fn is_old(&self, now: Timestamp) -> bool {
        let idle = u64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0);
        u128::from(idle) > self.terms.age.as_millis()
    }
}

/// A slot that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFact {
    /// Its commit.
    pub commit: CommitId,
    /// When it was made.
    pub made_at: Timestamp,
    /// How much it takes.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
}

/// What the disk has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// So many bytes.
    pub bytes: u64,
    /// So many files, of so many, where that is limited.
    pub files: Option<Free>,
}

/// One file in so many stays free.
const FILES_FREE: u64 = 20;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// One more.
    Make,
    /// This one is brought to the wanted commit.
    Bring(usize),
    /// This one goes, for this reason.
    Discard(usize, &'static str),
    /// Nothing.
    Enough,
}

/// The slots that fit a commit, the best first: those at it, then the newest.
pub fn choice(slots: &[SlotFact], commit: &CommitId) -> Vec<usize> {
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|at| (slots[*at].commit != *commit, std::cmp::Reverse(slots[*at].made_at)));
    order
}

/// Why a slot goes that the disk has no room for.
pub const SCARCE: &str = "the disk is nearly full";

/// The next step; `room` is what the disk has, and `last` what the last slot took, in bytes and files, where that is known.
pub fn next(
    slots: &[SlotFact],
    wanted: &Wanted,
    (room, last_took): (Option<Room>, Option<(u64, u64)>),
    now: Timestamp,
) -> Next {
    let size = usize::try_from(wanted.terms.size).unwrap_or(usize::MAX);
    // Those that have most to catch up with go first.
    let last = choice(slots, &wanted.commit).pop();
    let is_scarce = |bytes: u64, files: u64| {
        let Some(room) = room else { return false };
        let few = |all: Free| all.free < (all.total / FILES_FREE).saturating_add(files);
        room.bytes < wanted.terms.free.saturating_add(bytes) || room.files.is_some_and(few)
    };
    match last {
        Some(last) if slots.len() > size => Next::Discard(last, "more are ready than are wanted"),
        Some(last) if wanted.is_old(now) => Next::Discard(last, "nobody has wanted one for long"),
        Some(last) if is_scarce(0, 0) => Next::Discard(last, SCARCE),
        Some(last) if slots[last].commit != wanted.commit => Next::Bring(last),
        _ => {
            // There are directories, too.
            let known = slots.iter().map(|slot| (slot.bytes, slot.files)).chain(last_took);
            let (bytes, files) = known.max().unwrap_or_default();
            let files = files.saturating_mul(2);
            if slots.len() < size && !wanted.is_old(now) && !is_scarce(bytes, files) {
                Next::Make
            } else {
                Next::Enough
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: &str) -> CommitId {
        CommitId::parse(&digit.repeat(40)).expect("an id")
    }

    fn slots(text: &str) -> Vec<SlotFact> {
        let slot = |(at, digit): (usize, &str)| SlotFact {
            commit: commit(digit),
            made_at: Timestamp(at as i64),
            bytes: 10,
            files: 10,
        };
        text.split_whitespace().enumerate().map(slot).collect()
    }

    #[test]
    fn the_best_slot_is_at_the_commit_or_the_newest() {
        assert_eq!(choice(&slots("1 2 3"), &commit("2")), [1, 2, 0]);
        assert_eq!(choice(&slots("1 2 2"), &commit("2")), [2, 1, 0]);
        assert_eq!(choice(&slots(""), &commit("2")), [0_usize; 0]);
    }

    #[test]
    fn what_is_to_be_done() {
        let terms = Terms { size: 2, free: 100, age: Duration::from_secs(1) };
        let check = |text: &str, size: u32, free: u64, now: i64, expected: Next| {
            let wanted = Wanted { terms: Terms { size, ..terms }, commit: commit("2"), at: Timestamp(0) };
            let room = Room { bytes: free, files: Some(Free { free: free / 10, total: 200 }) };
            assert_eq!(
                next(&slots(text), &wanted, (Some(room), None), Timestamp(now)),
                expected,
                "{text} {size} {free} {now}"
            );
        };
        check("", 2, 1000, 10, Next::Make);
        check("2", 2, 1000, 10, Next::Make);
        check("2 2", 2, 1000, 10, Next::Enough);
        check("1 2", 2, 1000, 10, Next::Bring(0));
        check("2 1", 2, 1000, 10, Next::Bring(1));
        check("2 1", 1, 1000, 10, Next::Discard(1, "more are ready than are wanted"));
        check("2", 0, 1000, 10, Next::Discard(0, "more are ready than are wanted"));
        check("", 0, 1000, 10, Next::Enough);
        // The disk: what is there goes, and what would not fit is not made.
        check("2 2", 2, 99, 10, Next::Discard(0, "the disk is nearly full"));
        check("", 2, 99, 10, Next::Enough);
        check("2", 2, 105, 10, Next::Enough);
        let wanted = Wanted { terms, commit: commit("2"), at: Timestamp(0) };
        let scarce = |free| Some(Room { bytes: 1000, files: Some(Free { free, total: 200 }) });
        assert_eq!(next(&slots("2"), &wanted, (scarce(29), None), Timestamp(1)), Next::Enough);
        assert_eq!(next(&slots("2"), &wanted, (scarce(30), None), Timestamp(1)), Next::Make);
        assert_eq!(
            next(&slots("2"), &wanted, (scarce(9), None), Timestamp(1)),
            Next::Discard(0, "the disk is nearly full")
        );
        assert_eq!(next(&slots(""), &wanted, (None, None), Timestamp(1)), Next::Make);
        // One that went for the sake of the disk is known to have taken as much as it gave back.
        let gave_back = Some(Room { bytes: 105, files: None });
        assert_eq!(next(&slots(""), &wanted, (gave_back, Some((10, 10))), Timestamp(1)), Next::Enough);
        assert_eq!(next(&slots(""), &wanted, (gave_back, Some((5, 10))), Timestamp(1)), Next::Make);
        // Nobody comes any more; a clock that went back changes nothing.
        check("2 2", 2, 1000, 1001, Next::Discard(0, "nobody has wanted one for long"));
        check("", 2, 1000, 1001, Next::Enough);
        check("2 2", 2, 1000, -5000, Next::Enough);
    }
}
