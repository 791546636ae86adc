//! Scan: which processes of this user stand in a directory.
//!
//! Reads `/proc`. This process and those that started it do not count: a shell that calls treehand stands where it likes.
//! A process that ends while it is looked at is not found; one of another user cannot be looked at and is not ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::fs::{FsError, at};
use super::proc;
use crate::model::Standing;

/// Every process of this user with its current directory.
#[derive(Debug, Default)]
pub struct Processes(Vec<(Standing, PathBuf)>);

impl Processes {
    /// Looks once at all of them.
    pub fn scan() -> Result<Processes, FsError> {
        let ours = with_ancestors(std::process::id());
        let all = proc::of_this_user().map_err(at("read", Path::new("/proc")))?;
        let standing = |(pid, place): (u32, PathBuf)| {
            let directory = std::fs::read_link(place.join("cwd")).ok()?;
            Some((Standing { pid, name: proc::name_in(&place) }, directory))
        };
        Ok(Processes(all.into_iter().filter(|(pid, _)| !ours.contains(pid)).filter_map(standing).collect()))
    }

    /// Those that stand in this directory or below it.
    pub fn inside(&self, directory: &Path) -> Vec<Standing> {
        // The kernel names places by their real paths.
        let directory = super::fs::without_links(directory);
        self.0.iter().filter(|(_, place)| place.starts_with(&directory)).map(|(process, _)| process.clone()).collect()
    }
}

/// This process and those that it descends from.
pub(super) fn with_ancestors(pid: u32) -> BTreeSet<u32> {
    let mut line = BTreeSet::new();
    let mut next = Some(pid);
    while let Some(pid) = next.filter(|pid| *pid > 0 && line.insert(*pid)) {
        next = parent(pid);
    }
    line
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses; state and parent follow it.
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_do_not_count_and_our_parent_is_one_of_them() {
        let line = with_ancestors(std::process::id());
        assert!(line.contains(&std::process::id()) && line.len() > 1);
        let all = Processes::scan().expect("readable");
        assert!(all.0.iter().all(|(process, _)| !line.contains(&process.pid)));
    }
}
