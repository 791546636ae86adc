//! Files in the repository's own state that only save work: what is found in them need not be found again.
//!
//! One that cannot be read says nothing, and one that cannot be written is as good as none: whoever asks finds out anew. What
//! is in it, and when it holds, is for who keeps it.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::repository::Repository;
use crate::model::cause::chain;
use crate::sys::fs;

/// Largest file that is read.
const SIZE_MAX: u64 = 64 << 20;

/// Where something is kept.
#[derive(Clone, Debug)]
pub struct Memo {
    directory: PathBuf,
    name: &'static str,
}

impl Memo {
    /// The file of this name.
    pub fn of(repo: &Repository, name: &'static str) -> Memo {
        Memo { directory: repo.state_dir(), name }
    }

    /// What is kept; `None` where there is nothing of the kind.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let kept = fs::read_beneath(&self.directory, self.name.as_ref(), SIZE_MAX).ok().flatten();
        kept.and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// Keeps this instead.
    pub fn write<T: Serialize>(&self, what: &T) {
        let file = self.directory.join(self.name);
        let written = serde_json::to_vec(what).map(|bytes| fs::write_replaceable(&file, &bytes));
        if let Ok(Err(error)) = written {
            // The next one finds it anew.
            tracing::debug!("{} is not kept: {}", self.name, chain(&error));
        }
    }
}
