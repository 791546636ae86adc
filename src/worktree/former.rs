//! Scan: what the log of a ref proves of where it has been: that commits were its own once, and it has given them up.
//!
//! As git's `--fork-point` does it. A log that is not kept, or was cut off, proves nothing either way. Merges do not count:
//! one that treehand made of the two sides of a base was never anywhere, and has nothing of its own.

use super::error::Result;
use super::remote::RemoteBranch;
use crate::model::CommitId;
use crate::sys::git::Reader;

/// What a log says of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Was {
    /// The ref has had it.
    There,
    /// The ref was made after that, or elsewhere: it has never had it.
    Never,
    /// The log does not go back far enough.
    Untold,
}

/// Whether a ref that is at these tips now ever had a commit.
pub fn was_at(reader: &Reader, reference: &str, tips: &[CommitId], commit: &CommitId) -> Result<Was> {
    let log = reader.reflog(reference)?;
    let known: Vec<&CommitId> = log.tips.iter().chain(tips).collect();
    Ok(match reader.count_own(commit, &known)? {
        0 => Was::There,
        _ if log.born => Was::Never,
        _ => Was::Untold,
    })
}

/// How many of the commits that the branch here has beyond the remote's tip were never the remote's. `recorded` are tips that
/// the remote is on record to have named; they count where no log is kept.
pub fn never_there(
    reader: &Reader,
    branch: &RemoteBranch,
    local: &CommitId,
    remote: &CommitId,
    recorded: &[CommitId],
) -> Result<usize> {
    let log = reader.reflog(&branch.tracking)?.tips;
    let known = if log.is_empty() { recorded } else { &log };
    let tips: Vec<&CommitId> = known.iter().chain([remote]).collect();
    Ok(reader.count_own(local, &tips)?)
}
