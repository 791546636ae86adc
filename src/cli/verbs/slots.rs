//! `__slots`: makes worktrees ready before anybody asks for them, in a process that nobody waits for.
//!
//! What is wanted is on record in the repository, and so is what went wrong: `doctor` says it.

use std::path::Path;

use crate::cli::error::CliError;
use crate::confine::sandbox::close_on_exec_from;
use crate::sys::git::Git;
use crate::sys::{background, env, proc};
use crate::worktree::pool::filler;
use crate::worktree::pool::wanted::VERB;
use crate::worktree::repository::Repository;

/// Set where nothing that is open is anybody else's.
const ALONE: &str = "TREEHAND_SLOTS_ALONE";

/// Makes them.
pub fn run(common_dir: &Path) -> Result<u8, CliError> {
    let cannot = |error: std::io::Error| CliError::io("cannot go into the background", &error);
    if env::var(ALONE).is_none() {
        // Whoever asked for a workspace may wait for the end of a pipe, or of a lock, that only this process would still hold.
        close_on_exec_from(3).map_err(cannot)?;
        let (program, args) = (env::self_again().map_err(cannot)?, [VERB.as_ref(), common_dir.as_os_str()]);
        return Err(cannot(proc::become_again(&program, &args, (ALONE, "1"))));
    }
    background::become_one().map_err(cannot)?;
    let repo = Repository::at_common_dir(&Git::open()?, common_dir)?;
    filler::make_ready(&repo)?;
    Ok(0)
}
