//! Decision file: how far the wall clock can be believed when something is to be deleted for good.
//!
//! A clock that jumps ahead for a moment makes everything old. What one reading alone says is believed as far as the machine ran
//! since the last believed one, and a night's rest beyond that; what goes further counts when a second reading says so again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Reading, Timestamp};

/// For so long a machine may be off between two readings without a doubt: a job of every night must never wait.
const OFF: Duration = Duration::from_secs(36 * 3600);
/// So far apart two readings do not come from one jump that is put right soon.
const APART: Duration = Duration::from_secs(12 * 3600);

/// What is kept of earlier readings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// The latest that is believed.
    pub believed: Reading,
    /// One that goes further than that, and that nothing has confirmed yet.
    pub claimed: Option<Reading>,
}

impl Account {
    /// An account of which nothing is known but when something was written down last.
    pub fn from_journal(newest: Option<Timestamp>) -> Account {
        let believed = Reading { wall: newest.unwrap_or_default(), ..Reading::default() };
        Account { believed, claimed: None }
    }
}

/// The latest moment that it is for sure, and what is kept of this reading.
pub fn weigh(account: &Account, now: &Reading) -> (Timestamp, Account) {
    let believed = |reading: &Reading| Account { believed: reading.clone(), claimed: None };
    if is_within_reach(&account.believed, now) {
        return (now.wall, believed(now));
    }
    // One that the clock has gone back behind was wrong.
    let standing = account.claimed.as_ref().filter(|claimed| now.wall >= claimed.wall);
    match standing {
        Some(claimed) if are_apart(claimed, now) && is_within_reach(claimed, now) => (now.wall, believed(now)),
        Some(claimed) if are_apart(claimed, now) => {
            (surely(claimed, now), Account { believed: claimed.clone(), claimed: Some(now.clone()) })
        }
        _ => {
            let claimed = Some(standing.unwrap_or(now).clone());
            (surely(&account.believed, now), Account { believed: account.believed.clone(), claimed })
        }
    }
}

fn is_within_reach(believed: &Reading, now: &Reading) -> bool {
    now.wall <= surely(believed, now).plus(OFF)
}

fn are_apart(claimed: &Reading, now: &Reading) -> bool {
    now.running_since(claimed).unwrap_or(now.wall.since(claimed.wall)) >= APART
}

/// What it is at least when a reading was right: a machine that was started since has run since.
fn surely(believed: &Reading, now: &Reading) -> Timestamp {
    let ran = match now.running_since(believed) {
        Some(ran) => ran,
        None if believed.boot_id.is_empty() || believed.boot_id == now.boot_id => Duration::ZERO,
        None => Duration::from_millis(now.up_ms),
    };
    believed.wall.plus(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEARS: i64 = 70 * 365 * 24;

    /// What the clock on the wall says in hours, the boot, and for how many hours that has run.
    type Hours = (i64, &'static str, i64);

    fn reading((wall, boot, up): Hours) -> Reading {
        let up_ms = u64::try_from(up * HOUR).expect("after the boot");
        Reading { wall: Timestamp(wall * HOUR), boot_id: boot.into(), up_ms }
    }

    /// The moments that are for sure at each reading, in hours.
    fn sure(first: &Account, readings: &[Hours]) -> Vec<i64> {
        let mut account = first.clone();
        let weigh_next = |hours: &Hours| {
            let (moment, next) = weigh(&account, &reading(*hours));
            account = next;
            moment.0 / HOUR
        };
        readings.iter().map(weigh_next).collect()
    }

    #[test]
    fn what_is_for_sure_follows_the_clock_and_no_jump_of_it() {
        let first = Account { believed: reading((1000, "a", 10)), claimed: None };
        let table: &[(&str, &[Hours], &[i64])] = &[
            ("every night, always on", &[(1024, "a", 34), (1048, "a", 58)], &[1024, 1048]),
            ("every night, started in between", &[(1025, "b", 0), (1049, "c", 1)], &[1025, 1049]),
            ("a month later, always on", &[(1720, "a", 730)], &[1720]),
            ("after a weekend off", &[(1072, "b", 0), (1096, "b", 24)], &[1000, 1096]),
            ("off for a week, each week", &[(1168, "b", 0), (1336, "c", 1), (1504, "d", 1)], &[1000, 1169, 1337]),
            ("ahead for a night", &[(1000 + YEARS, "a", 34), (1048, "a", 58)], &[1024, 1048]),
            ("ahead at a start", &[(YEARS, "b", 1), (YEARS, "b", 2), (1048, "b", 24)], &[1001, 1002, 1048]),
            ("ahead, and further each time", &[(YEARS, "a", 11), (2 * YEARS, "a", 12)], &[1001, 1002]),
            ("back for a night", &[(0, "a", 34), (1048, "a", 58), (1072, "a", 82)], &[0, 24, 1072]),
        ];
        for (what, readings, expected) in table {
            assert_eq!(sure(&first, readings), *expected, "{what}");
        }
    }

    #[test]
    fn the_first_reading_is_believed_near_what_was_written_down_last() {
        let first = Account::from_journal(Some(Timestamp(1000 * HOUR)));
        assert_eq!(sure(&first, &[(1030, "a", 700)]), [1030]);
        assert_eq!(sure(&first, &[(1040, "a", 700), (1064, "a", 724)]), [1000, 1064]);
        assert_eq!(sure(&Account::from_journal(None), &[(1040, "a", 700), (1064, "a", 724)]), [0, 1064]);
        assert_eq!(sure(&first, &[(1100, "", 0), (1124, "", 0)]), [1000, 1124], "no boot is known");
    }
}
