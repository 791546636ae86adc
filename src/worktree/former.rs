//! Scan: what the log of a ref proves of where it has been: that commits were its own once, and it has given them up.
//!
//! As git's `--fork-point` does it. A log that is not kept, or was cut off, proves nothing either way.

use super::error::Result;
use super::remote::RemoteBranch;
use crate::model::CommitId;
use crate::sys::git::Reader;

/// What a log says of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Was {
    /// The ref has been there.
    There,
    /// The ref was made after that, or elsewhere: it has never been there.
    Never,
    /// The log does not go back far enough.
    Untold,
}

/// Whether a ref was ever at a commit, or beyond it.
pub fn was_at(reader: &Reader, reference: &str, commit: &CommitId) -> Result<Was> {
    let log = reader.reflog(reference)?;
    let tips: Vec<&CommitId> = log.tips.iter().collect();
    Ok(match reader.is_within(commit, &tips)? {
        true => Was::There,
        false if log.born => Was::Never,
        false => Was::Untold,
    })
}

/// True when all that the branch here has beyond the remote's tip was the remote's own before it was forced elsewhere.
/// `recorded` are tips that the remote is on record to have named; they count where no log is kept.
pub fn gave_up(
    reader: &Reader,
    branch: &RemoteBranch,
    local: &CommitId,
    remote: &CommitId,
    recorded: &[CommitId],
) -> Result<bool> {
    let log = reader.reflog(&branch.tracking)?.tips;
    let known = if log.is_empty() { recorded } else { &log };
    let tips: Vec<&CommitId> = known.iter().chain([remote]).collect();
    Ok(reader.is_within(local, &tips)?)
}
