//! Opening the store for who only looks: nothing is made where there is none, and a place that cannot be written can be read.
//!
//! SQLite's write-ahead log wants to write even for reading, so that a store on a read-only disk is read from a copy.

use std::path::Path;

use super::{Store, StoreError};
use crate::sys::fs;

impl Store {
    /// The store in this state directory as it is; an empty one, in memory, where there is none.
    pub fn look(state_dir: &Path) -> Result<Store, StoreError> {
        let path = Store::file_in(state_dir);
        if !fs::exists(&path)? {
            return Store::in_memory();
        }
        if fs::is_writable(state_dir)? && fs::is_writable(&path)? {
            return Store::open(state_dir);
        }
        // The copy is gone when its last user is: an open file needs no name.
        let copy = fs::temporary_dir()?;
        for suffix in ["", "-wal"] {
            let from = path.with_file_name(format!("state.db{suffix}"));
            if fs::exists(&from)? {
                fs::copy_private(&from, &copy.path().join(format!("state.db{suffix}")))?;
            }
        }
        Store::open(copy.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_where_there_is_no_store_makes_none() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let state = dir.path().join("treehand");
        assert_eq!(Store::look(&state).expect("an empty one").workspaces().expect("read"), []);
        assert!(!state.exists());
    }
}
