//! Decision file: when what a repository left is put away, when it is deleted, and what keeps it where it is.
//!
//! Whoever comes back after a while must find everything, so that nothing happens at the first sight, and nothing on the word of
//! one reading of the clock. One reason keeps the whole: half of it is of no use to anybody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cleanup::remove::decide::DirId;
use crate::model::{Span, Standing, Timestamp};
use crate::worktree::departed::Record;

/// By which rules.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// For so long it stays where it is, and then put away.
    pub retention: Duration,
    /// What the clock says.
    pub now: Timestamp,
    /// The latest moment that more than one reading of the clock vouches for.
    pub proven_now: Timestamp,
}

/// What the time has come for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// It is found gone: from this moment on it counts.
    Note(Timestamp),
    /// Nothing before this moment.
    Wait(Timestamp),
    /// To look at what it left, and to put that away.
    PutAway,
    /// To delete what was put away.
    Delete,
}

/// What the time has come for with a repository that is gone.
pub fn due(record: Option<&Record>, policy: &Policy) -> Due {
    let here = policy.now.max(policy.proven_now);
    let after = |since: Timestamp, due: Due| match policy.proven_now.since(since) >= policy.retention {
        true => due,
        false => Due::Wait(since.plus(policy.retention)),
    };
    match record {
        None => Due::Note(here),
        Some(Record { away: Some(away), .. }) if away.doomed => Due::Delete,
        Some(Record { away: Some(away), .. }) => after(away.at, Due::Delete),
        // The clock that said so went ahead.
        Some(record) if record.since > here => Due::Note(here),
        Some(record) => after(record.since, Due::PutAway),
    }
}

/// A directory that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Which it is.
    pub id: DirId,
    /// Why it is the repository's.
    pub proof: String,
    /// When something in it changed last.
    pub changed_at: Timestamp,
    /// Something in it could not be read.
    pub partial: bool,
    /// What is in it.
    pub inside: Inside,
}

/// What uses a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inside {
    /// Where something is mounted in it.
    pub mounted: Vec<PathBuf>,
    /// Processes that stand in it.
    pub processes: Vec<Standing>,
}

/// What a repository left.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// What is provably its.
    pub parts: Vec<Part>,
    /// What is there and not provably its, with the reason.
    pub unproven: Vec<(PathBuf, String)>,
    /// Boxes of which nobody can say whether they are there.
    pub unknown: Vec<PathBuf>,
}

/// Whether all of it may be put away; else why it stays.
pub fn judge(rest: &Rest, policy: &Policy) -> Result<(), String> {
    if let Some(place) = rest.unknown.first() {
        return Err(format!("{} is not there, but its disk may not be mounted", place.display()));
    }
    for part in &rest.parts {
        part.inside.none(&part.path)?;
        let place = part.path.display();
        if part.partial {
            return Err(format!("something in {place} cannot be read"));
        }
        if policy.proven_now.since(part.changed_at) < policy.retention {
            return Err(format!("something in {place} changed less than {} ago", Span(policy.retention)));
        }
    }
    Ok(())
}

impl Inside {
    /// Nothing; else what keeps this place.
    pub fn none(&self, place: &Path) -> Result<(), String> {
        let place = place.display();
        if let Some(mounted) = self.mounted.first() {
            return Err(format!("{} is mounted in {place}", mounted.display()));
        }
        match self.processes.first() {
            Some(process) => Err(format!("{} (pid {}) works in {place}", process.name, process.pid)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::departed::Away;

    const DAY: i64 = 86_400_000;

    fn policy(now: i64, proven_now: i64) -> Policy {
        let [now, proven_now] = [now, proven_now].map(|day| Timestamp(day * DAY));
        Policy { retention: Duration::from_secs(14 * 86_400), now, proven_now }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp(day * DAY)
    }

    #[test]
    fn it_is_noted_then_put_away_then_deleted_and_by_no_clock_that_went_ahead() {
        let gone = |day| Some(Record::new(at(day)));
        let away = |day, doomed| {
            let away = Away { stamp: "1-0".into(), at: at(day), moves: Vec::new(), doomed };
            Some(Record::new(at(0)).with(away))
        };
        let table = [
            ("first seen", None, policy(100, 0), Due::Note(at(100))),
            ("first seen by a clock that went back", None, policy(90, 100), Due::Note(at(100))),
            ("young", gone(90), policy(100, 100), Due::Wait(at(104))),
            ("old", gone(86), policy(100, 100), Due::PutAway),
            ("old by one reading alone", gone(86), policy(400, 99), Due::Wait(at(100))),
            ("first seen by a clock that was ahead", gone(400), policy(100, 100), Due::Note(at(100))),
            ("put away", away(90, false), policy(100, 100), Due::Wait(at(104))),
            ("put away long ago", away(80, false), policy(100, 100), Due::Delete),
            ("put away long ago, by one reading alone", away(80, false), policy(100, 90), Due::Wait(at(94))),
            ("half deleted", away(99, true), policy(100, 0), Due::Delete),
        ];
        for (what, record, policy, expected) in table {
            assert_eq!(due(record.as_ref(), &policy), expected, "{what}");
        }
    }

    #[test]
    fn one_reason_keeps_the_whole() {
        let part = |change: fn(&mut Part)| {
            let mut part = Part {
                path: "/b".into(),
                id: DirId { dev: 1, ino: 2 },
                proof: String::new(),
                changed_at: at(80),
                partial: false,
                inside: Inside::default(),
            };
            change(&mut part);
            part
        };
        let policy = policy(100, 100);
        let verdict = |change| judge(&Rest { parts: vec![part(|_| ()), part(change)], ..Rest::default() }, &policy);
        assert_eq!(verdict(|_| ()), Ok(()));
        let refused = |change| verdict(change).expect_err("it stays");
        assert_eq!(refused(|part| part.changed_at = at(87)), "something in /b changed less than 14d ago");
        assert_eq!(refused(|part| part.partial = true), "something in /b cannot be read");
        assert_eq!(refused(|part| part.inside.mounted = vec!["/b/m".into()]), "/b/m is mounted in /b");
        let standing = |part: &mut Part| part.inside.processes = vec![Standing { pid: 7, name: "sh".into() }];
        assert_eq!(refused(standing), "sh (pid 7) works in /b");
        let unknown = Rest { unknown: vec!["/d/b".into()], ..Rest::default() };
        assert_eq!(judge(&unknown, &policy), Err("/d/b is not there, but its disk may not be mounted".into()));
        let unproven = Rest { unproven: vec![("/b".into(), "why".into())], ..Rest::default() };
        assert_eq!(judge(&unproven, &policy), Ok(()), "what is nobody's keeps nothing");
    }
}
