//! A disk that takes nothing: full, read-only, failing. The run waits until it takes something again, and goes on.
//!
//! The supervisor gives up everything that it has in hand and begins anew, as its own successor: whatever a write that failed
//! left half done is what a crash leaves. The attempts go on meanwhile.

use std::error::Error;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use super::attempt;
use super::context::RunError;
use super::sockets;
use crate::model::RunId;
use crate::model::cause::chain;
use crate::model::record::RunRecord;
use crate::store::Store;
use crate::sys::lock::FileLock;
use crate::sys::{clock, env, proc};
use crate::worktree::{Repository, WorktreeError};

/// How long until it is tried again: the kernel does not say when there is room.
const AGAIN: Duration = Duration::from_secs(1);

/// What git says, whose words are all that there is of its errors.
const WORDS: [&str; 3] = ["No space left on device", "Disk quota exceeded", "Read-only file system"];

/// The variable that lets a supervisor die at a moment of its journal: the seam of the crash tests.
const CRASH: &str = "TREEHAND_CRASH_AT";

/// What a lock says whose holder waits.
pub const WAITS: &str = "waits for room on the disk";

/// True for an error of a disk that takes nothing, wherever in the chain it is.
pub fn is_full(error: &RunError) -> bool {
    if let RunError::Store(store) | RunError::Worktree(WorktreeError::Store(store)) = error
        && store.is_disk()
    {
        return true;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem];
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| kinds.contains(&error.kind())) {
            return true;
        }
        cause = error.source();
    }
    let said = chain(error);
    WORDS.iter().any(|word| said.contains(word))
}

/// Makes this process the supervisor of a run, as soon as the disk takes that. The attempts of the run are not left alone for as
/// long as it waits; `waits` is called when it does. What is said of the scope goes into the journal.
pub fn take_over(
    repo: &Repository,
    run: &RunId,
    scope: &Value,
    (right, holder): (&mut FileLock, &str),
    waits: impl Fn(),
) -> Result<(Store, RunRecord, u64), RunError> {
    // Open for as long as it takes.
    let mut held: Vec<UnixStream> = Vec::new();
    let mut waited = false;
    loop {
        match try_to_take_over(repo, run, scope) {
            Ok(taken) => {
                right.sign_anew(holder);
                return Ok(taken);
            }
            Err(error) if is_full(&error) => {
                if !waited {
                    waited = true;
                    right.sign_anew(&format!("{WAITS}: {holder}"));
                    tracing::warn!(%run, error = chain(&error), "{WAITS}");
                    held.extend(hold(repo, run));
                    waits();
                }
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
}

fn try_to_take_over(repo: &Repository, run: &RunId, scope: &Value) -> Result<(Store, RunRecord, u64), RunError> {
    sockets::require_place()?;
    let store = repo.store()?;
    if let Some(moment) = env::var(CRASH) {
        store.die_at(&moment);
    }
    let (record, epoch) = store.take_over(run, (proc::own(), scope), clock::now())?;
    Ok((store, record, epoch))
}

/// Lines to the shims of a run: who has one waits for no successor.
fn hold(repo: &Repository, run: &RunId) -> Vec<UnixStream> {
    let Ok(store) = repo.look() else { return Vec::new() };
    let (tasks, epoch) = (store.tasks(run).unwrap_or_default(), store.epoch(run).unwrap_or_default());
    let open = tasks.iter().filter_map(|task| task.attempts.last()).filter(|attempt| attempt.ended_at.is_none());
    open.filter_map(|attempt| attempt::hold(&sockets::door(&attempt.token).ok()?, epoch)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::FsError;

    #[test]
    fn a_full_disk_is_known_by_whatever_ran_into_it() {
        let io = |kind| RunError::io("cannot write")(std::io::Error::from(kind));
        assert!(is_full(&io(ErrorKind::StorageFull)) && is_full(&io(ErrorKind::ReadOnlyFilesystem)));
        assert!(!is_full(&io(ErrorKind::PermissionDenied)));
        let raw = std::io::Error::from_raw_os_error(libc::EDQUOT);
        let fs = FsError { action: "write", path: "/x".into(), source: raw };
        assert!(is_full(&RunError::Worktree(WorktreeError::from(fs))));
        let git = |said: &str| RunError::Behind { message: format!("git said: {said}") };
        assert!(is_full(&git("error: unable to write file a: No space left on device")));
        assert!(!is_full(&git("error: unable to write file a: Permission denied")));
    }
}
