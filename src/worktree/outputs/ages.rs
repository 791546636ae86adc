//! Apply: the times of a workspace's files beside those of what was brought into it.
//!
//! A build takes what is newer than its sources for made of them. What is brought is therefore made older than every file of the commit,
//! so that all of it is built again, and then the files that are as they were where it was made get older still: just what is made of the
//! others is built again. Nothing is made older once a step has run in the tree: that may have changed anything in it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::kept::{Brought, Outputs};
use crate::model::cause::chain;
use crate::sys::fs;
use crate::sys::git::fill;
use crate::worktree::error::Result;

/// Largest index that is read where commands may have written it.
const LARGEST: u64 = 1 << 30;

/// What was brought into one workspace so far.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    /// The files that are not what they were where one of the results was made.
    changed: BTreeSet<Vec<u8>>,
    /// Something has run in it.
    over: bool,
}

impl Ages {
    /// A step has run in the workspace.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Makes older what is as it was where this result was made. Where that is not known builds begin anew.
    pub fn follow(&mut self, outputs: &Outputs<'_>, brought: &Brought) -> Result<()> {
        let (Some(after), false) = (brought.after, self.over || outputs.commit != outputs.trusted) else {
            return Ok(());
        };
        self.changed.extend(outputs.repo.reader().changed_files(&brought.made_at, outputs.commit)?);
        match fill::age(outputs.tree, outputs.admin, &self.changed, after) {
            Ok(followed) => {
                tracing::debug!(followed, changed = self.changed.len(), "files are older than what was made of them");
            }
            // What is not older is built again, and that is all.
            Err(error) => tracing::warn!("builds begin anew in {}: {}", outputs.tree.display(), chain(&error)),
        }
        Ok(())
    }
}

/// The second in which the oldest file of a commit was written into a tree.
pub fn oldest(tree: &Path, admin: &Path) -> Result<u32> {
    if let Some((oldest, _)) = index(admin)?.as_deref().and_then(fill::ages) {
        return Ok(oldest);
    }
    // git has written it, after it had made this.
    let link = tree.join(".git");
    let made = std::fs::symlink_metadata(&link).map_err(fs::at("look at", &link))?;
    Ok(u32::try_from(made.mtime()).unwrap_or(0))
}

/// The second in which the newest was, where that is known.
pub fn newest(admin: &Path) -> Result<Option<u32>> {
    Ok(index(admin)?.as_deref().and_then(fill::ages).map(|(_, newest)| newest))
}

fn index(admin: &Path) -> Result<Option<Vec<u8>>> {
    // Below what no command can replace.
    let Some(above) = admin.parent().and_then(Path::parent) else { return Ok(None) };
    let within = admin.strip_prefix(above).unwrap_or(admin);
    Ok(fs::read_beneath(above, &within.join("index"), LARGEST)?)
}
