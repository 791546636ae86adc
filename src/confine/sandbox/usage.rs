//! How much memory everything in the sandbox takes together, as pid 1 sees it in its own `/proc`.
//! Looked at only where the kernel gives no event, and thoroughly only when a quick look comes near the limit.

use std::fs;
use std::time::Duration;

/// How often memory is looked at while it is far from its limit, and while it is not.
const FAR: Duration = Duration::from_secs(10);
const NEAR: Duration = Duration::from_secs(2);

/// What a look came to.
pub struct Look {
    /// The limit is passed.
    pub over: bool,
    /// When to look again.
    pub again: Duration,
}

/// Looks at the memory of every process but this one, against a limit in bytes.
pub fn look(limit: u64) -> Look {
    let pids: Vec<String> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    let resident: u64 = pids.iter().filter_map(|pid| resident(pid)).sum();
    if resident < limit / 4 {
        return Look { over: false, again: FAR };
    }
    // What processes share is counted once for each of them above; near the limit each gets its part.
    let over = resident > limit && pids.iter().filter_map(|pid| proportional(pid)).sum::<u64>() > limit;
    Look { over, again: NEAR }
}

fn resident(pid: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// A process that ended meanwhile counts nothing.
fn proportional(pid: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}
