//! How much memory everything in the sandbox takes together, and what its open files without a name take of the disk, as pid 1
//! sees it in its own `/proc`. Looked at only where the kernel gives no event, when the machine has lost memory or the last look
//! was long ago, and thoroughly only when a quick look comes near the limit.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How often it is asked whether the machine has lost memory, and how often memory is looked at that is near its limit.
const FAR: Duration = Duration::from_secs(2);
const NEAR: Duration = Duration::from_secs(1);

/// Longest time between two looks: what others give back may hide what is taken here.
const RARELY: Duration = Duration::from_secs(16);

/// What is known of the memory that everything in the sandbox takes.
#[derive(Debug)]
pub struct MemoryWatch {
    limit: u64,
    /// What the machine had left when it was looked at last.
    free_then: u64,
    due: Instant,
    interval: Duration,
}

/// What a look came to.
pub struct Look {
    /// The limit is passed.
    pub over: bool,
    /// When to look again.
    pub again: Duration,
    /// It is known, and not only that the machine has lost too little for it.
    pub measured: bool,
}

impl MemoryWatch {
    /// Watches against a limit in bytes.
    pub fn new(limit: u64, now: Instant) -> MemoryWatch {
        MemoryWatch { limit, free_then: 0, due: now, interval: FAR }
    }

    /// Looks, when the machine has lost memory since the last time, when that was long ago, or when it is `wanted`.
    pub fn look(&mut self, now: Instant, wanted: bool) -> Look {
        let free = free_memory();
        if !wanted && now < self.due && self.free_then.saturating_sub(free) < self.limit / 16 {
            return Look { over: false, again: FAR, measured: false };
        }
        self.free_then = free;
        let (over, near) = measure(self.limit);
        self.interval = if near { FAR } else { (self.interval * 2).min(RARELY) };
        self.due = if near { now } else { now + self.interval };
        Look { over, again: if near { NEAR } else { FAR }, measured: true }
    }
}

/// What the machine has left of memory and swap, in bytes.
fn free_memory() -> u64 {
    let now = rustix::system::sysinfo();
    let units = now.freeram.saturating_add(now.freeswap);
    units.saturating_mul(u64::from(now.mem_unit))
}

/// Looks at the memory of every process but this one: whether it is over the limit, and whether it is anywhere near. Not to be
/// able to look is to be over it.
fn measure(limit: u64) -> (bool, bool) {
    let Ok(pids) = processes() else { return (true, true) };
    let shared = open_files(&pids).memory.saturating_add(kept_in_memory());
    let resident: u64 = pids.iter().filter_map(|pid| resident(*pid)).sum();
    if resident.saturating_add(shared) < limit / 4 {
        return (false, false);
    }
    // What processes share is counted once for each of them above; near the limit each gets its part, and of what is shared
    // memory counts what is mapped or what there is, whichever is more.
    let over = resident.saturating_add(shared) > limit && {
        let parts = pids.iter().filter_map(|pid| proportional(*pid));
        let (all, mapped) = parts.fold((0, 0), |(all, mapped): (u64, u64), part| (all + part.0, mapped + part.1));
        all.saturating_sub(mapped).saturating_add(mapped.max(shared)) > limit
    };
    (over, true)
}

/// What open files without a name take of the disk.
pub fn nameless_files() -> u64 {
    processes().map_or(0, |pids| open_files(&pids).disk)
}

/// Every process in here but this one.
pub fn processes() -> io::Result<Vec<Pid>> {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).filter(|pid| *pid != 1).map(Pid::from_raw).collect())
}

/// Bytes of open files that no directory names.
#[derive(Default)]
struct OpenFiles {
    memory: u64,
    disk: u64,
}

fn open_files(pids: &[Pid]) -> OpenFiles {
    let (mut found, mut seen) = (OpenFiles::default(), BTreeSet::new());
    let descriptors = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    for descriptor in descriptors.flatten().flatten() {
        // A process that ends between two looks has nothing open any more.
        let Ok(link) = fs::read_link(descriptor.path()) else { continue };
        let link = link.as_os_str().as_bytes();
        let in_memory = [&b"/memfd:"[..], b"/dev/zero", b"/SYSV"].iter().any(|start| link.starts_with(start));
        if !in_memory && !link.ends_with(b" (deleted)") {
            continue;
        }
        let Ok(meta) = fs::metadata(descriptor.path()) else { continue };
        if meta.is_file() && seen.insert((meta.dev(), meta.ino())) {
            let bytes = meta.blocks().saturating_mul(512);
            *if in_memory { &mut found.memory } else { &mut found.disk } += bytes;
        }
    }
    found
}

/// What is in the file systems in memory, and in memory that is shared by number.
fn kept_in_memory() -> u64 {
    let used = |place: &&str| {
        let room = rustix::fs::statvfs(Path::new(place)).ok()?;
        Some(room.f_blocks.saturating_sub(room.f_bfree).saturating_mul(room.f_frsize))
    };
    let files: u64 = ["/dev/shm", "/run"].iter().filter_map(used).sum();
    // The second last column of each line is what is resident.
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let resident = |line: &str| line.split_ascii_whitespace().nth_back(1)?.parse::<u64>().ok();
    files.saturating_add(segments.lines().filter_map(resident).sum())
}

fn resident(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// The part of a process, all of it and what of it is shared memory. A process that ended meanwhile counts nothing.
fn proportional(pid: Pid) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let bytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    };
    Some((bytes("Pss:")?, bytes("Pss_Shmem:").unwrap_or(0)))
}
