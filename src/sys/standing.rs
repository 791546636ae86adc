//! Scan: which processes of this user stand in a directory.
//!
//! Reads `/proc`. This process and those that started it do not count: a shell that calls treehand stands where it likes.
//! A process that has ended or gone elsewhere by the time it is asked for is not found (git looks at a directory from within);
//! one of another user cannot be looked at and is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::fs::{FsError, at};
use super::proc;
use crate::model::Standing;

/// Every process of this user by its current directory.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<Vec<u8>, Vec<u32>>);

impl Processes {
    /// Looks once at all of them.
    pub fn scan() -> Result<Processes, FsError> {
        let ours = with_ancestors(std::process::id());
        let all = proc::of_this_user().map_err(at("read", Path::new("/proc")))?;
        let mut found = Processes::default();
        for (pid, place) in all.into_iter().filter(|(pid, _)| !ours.contains(pid)) {
            if let Ok(directory) = std::fs::read_link(place.join("cwd")) {
                found.0.entry(directory.into_os_string().into_vec()).or_default().push(pid);
            }
        }
        Ok(found)
    }

    /// Those that stand in this directory or below it, still.
    pub fn inside(&self, directory: &Path) -> Vec<Standing> {
        // The kernel names places by their real paths.
        let directory = super::fs::without_links(directory);
        let within = directory.as_os_str().as_bytes();
        let stays = |pid: &u32| {
            let place = std::fs::read_link(format!("/proc/{pid}/cwd"));
            place.is_ok_and(|place| is_below(place.as_os_str().as_bytes(), within))
        };
        let standing = |pid: u32| Standing { pid, name: proc::name_in(Path::new(&format!("/proc/{pid}"))) };
        self.seen_in(within).into_iter().filter(stays).map(standing).collect()
    }

    /// Those that stood there when all were looked at.
    fn seen_in(&self, within: &[u8]) -> Vec<u32> {
        let near = self.0.range(within.to_vec()..).take_while(|(place, _)| place.starts_with(within));
        near.filter(|(place, _)| is_below(place, within)).flat_map(|(_, pids)| pids.clone()).collect()
    }
}

/// True for a directory and what is below it.
fn is_below(place: &[u8], within: &[u8]) -> bool {
    matches!(place.strip_prefix(within), Some([] | [b'/', ..])) || within == b"/"
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
    fn who_stands_beside_a_directory_does_not_stand_in_it() {
        let places = ["/x", "/x/w", "/x/w-2", "/x/w/a", "/x/w0", "/x/w (deleted)"];
        let pids = (u32::MAX - 5..=u32::MAX).map(|pid| vec![pid]);
        let all = Processes(places.iter().map(|place| place.as_bytes().to_vec()).zip(pids).collect());
        let inside = |directory: &str| -> Vec<u32> {
            all.seen_in(directory.as_bytes()).iter().map(|pid| u32::MAX - pid).collect()
        };
        assert_eq!((inside("/x/w"), inside("/x/w-2"), inside("/y")), (vec![4, 2], vec![3], vec![]));
        assert_eq!((inside("/x").len(), inside("/").len()), (6, 6));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process that stands somewhere is what this is about")]
    fn what_has_ended_since_does_not_stand_there() {
        let place = tempfile::tempdir().expect("a directory");
        let mut child =
            std::process::Command::new("sleep").arg("60").current_dir(place.path()).spawn().expect("started");
        let all = Processes::scan().expect("readable");
        let within = crate::sys::fs::without_links(place.path());
        assert_eq!(all.seen_in(within.as_os_str().as_bytes()), [child.id()]);
        assert_eq!(all.inside(place.path()).len(), 1);
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert_eq!(all.inside(place.path()), []);
    }

    #[test]
    fn the_callers_do_not_count_and_our_parent_is_one_of_them() {
        let line = with_ancestors(std::process::id());
        assert!(line.contains(&std::process::id()) && line.len() > 1);
        let all = Processes::scan().expect("readable");
        assert!(all.0.values().flatten().all(|pid| !line.contains(pid)));
    }
}
