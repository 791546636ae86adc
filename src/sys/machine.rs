//! What of the machine is free: memory, and disk space where a path is.
//!
//! What a control group around us allows counts as the machine. What cannot be read is `None`, never zero.

use std::path::Path;

use crate::model::Free;

/// The memory that programs can still take without driving others out.
pub fn memory() -> Option<Free> {
    let machine = in_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let place = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let groups = root.join(place);
    let groups = groups.ancestors().take_while(|group| group.starts_with(root));
    Some(groups.filter_map(in_group).fold(machine, least))
}

fn least(one: Free, other: Free) -> Free {
    Free { free: one.free.min(other.free), total: one.total.min(other.total) }
}

fn in_meminfo(text: &str) -> Option<Free> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
    };
    Some(Free { free: value("MemAvailable:")?, total: value("MemTotal:")? })
}

/// What a control group allows, where it has a limit. Its cache of files is free, as it is in `MemAvailable`.
fn in_group(group: &Path) -> Option<Free> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let total: u64 = read("memory.max")?.trim().parse().ok()?;
    let current: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat")?;
    let cache = stat.lines().find_map(|line| line.strip_prefix("file "))?.parse().ok()?;
    Some(Free { free: total.saturating_sub(current.saturating_sub(cache)), total })
}

/// The disk space for ordinary users where a path is or will be.
pub fn disk(path: &Path) -> Option<Free> {
    let there = path.ancestors().find_map(|place| rustix::fs::statvfs(place).ok())?;
    let bytes = |blocks: u64| blocks.saturating_mul(there.f_frsize);
    Some(Free { free: bytes(there.f_bavail), total: bytes(there.f_blocks) })
}

/// How many files a path's disk has room for, where it keeps a number of places for them.
pub fn files(path: &Path) -> Option<Free> {
    let there = path.ancestors().find_map(|place| rustix::fs::statvfs(place).ok())?;
    (there.f_files > 0).then_some(Free { free: there.f_favail, total: there.f_files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_disk_are_what_the_kernel_says() {
        let text = "MemTotal:       2000 kB\nMemFree:  1 kB\nMemAvailable:    500 kB\n";
        assert_eq!(in_meminfo(text), Some(Free { free: 500 << 10, total: 2000 << 10 }));
        assert_eq!(in_meminfo("MemTotal: 2000 kB\n"), None);
        let dir = tempfile::tempdir().expect("a temp dir");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("memory.max", "max\n");
        write("memory.current", "900\n");
        write("memory.stat", "anon 100\nfile 300\nfile_mapped 7\n");
        assert_eq!(in_group(dir.path()), None, "no limit");
        write("memory.max", "1000\n");
        assert_eq!(in_group(dir.path()), Some(Free { free: 400, total: 1000 }));
        let here = disk(&dir.path().join("not/there/yet")).expect("a file system");
        assert!(here.total >= here.free && here.total > 0);
        assert!(files(dir.path()).is_none_or(|files| files.total >= files.free));
        assert_eq!(disk(Path::new("")), None);
    }
}
