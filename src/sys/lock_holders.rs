//! Scan: which living process may hold a lock file of git's, so that nobody takes one away from a git at work.
//!
//! A git lock names nobody. It counts as held while a process has it open, and while a git lives that was there when the file
//! came: one that waits for an editor has its lock closed. Where another machine, or another user, may have made it, nobody can
//! tell. Reads `/proc`; goes by the name of the program only to spare the lock.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::proc;
use crate::model::{Standing, Timestamp};

/// How far the clock by which a file got its time, and the one by which a process began, may be apart.
const APART: Duration = Duration::from_secs(120);

/// Every process of this user that may hold a lock.
#[derive(Debug, Default)]
pub struct LockHolders(Vec<Suspect>);

/// A process, and what makes it one that may hold a lock.
#[derive(Debug)]
struct Suspect {
    standing: Standing,
    is_git: bool,
    /// How long it lives.
    age: Duration,
    /// Files that it has open, by device and inode.
    open: Vec<(u64, u64)>,
}

/// Who may hold a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Nobody who lives.
    Nobody,
    /// This process.
    Process(Standing),
    /// Somebody who cannot be seen from here, in words.
    Unseen(&'static str),
}

impl LockHolders {
    /// Looks once at all of them.
    pub fn scan() -> io::Result<LockHolders> {
        let (own, up) = (std::process::id(), uptime()?);
        let mut found = Vec::new();
        for (pid, place) in proc::of_this_user()?.into_iter().filter(|(pid, _)| *pid != own) {
            let name = proc::name_in(&place);
            // One that has ended meanwhile holds nothing.
            let Some(process) = proc::identify(pid) else { continue };
            found.push(Suspect {
                is_git: super::git::is_program(&name) && !is_daemon(&place),
                standing: Standing { pid, name },
                age: up.saturating_sub(since_boot(process.start_time)),
                open: open_files(&place),
            });
        }
        Ok(LockHolders(found))
    }

    /// Who may hold the lock at this path, which was last written at that moment.
    pub fn of(&self, lock: &Path, written: Timestamp, now: Timestamp) -> io::Result<Holder> {
        let meta = std::fs::symlink_metadata(lock)?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Ok(Holder::Unseen("another user made it"));
        }
        if is_shared_between_machines(lock)? {
            return Ok(Holder::Unseen("another machine may hold it"));
        }
        let (file, since) = ((meta.dev(), meta.ino()), now.since(written));
        let holds = |suspect: &&Suspect| suspect.open.contains(&file) || suspect.is_git && suspect.age + APART >= since;
        Ok(self.0.iter().find(holds).map_or(Holder::Nobody, |suspect| Holder::Process(suspect.standing.clone())))
    }
}

/// True for a helper of git's that lives for days and locks nothing: one that watches files, or keeps passwords.
fn is_daemon(process: &Path) -> bool {
    let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).nth(1).is_some_and(|word| word.ends_with(b"--daemon"))
}

fn open_files(process: &Path) -> Vec<(u64, u64)> {
    let Ok(entries) = std::fs::read_dir(process.join("fd")) else { return Vec::new() };
    let identity = |entry: io::Result<std::fs::DirEntry>| {
        let meta = std::fs::metadata(entry.ok()?.path()).ok()?;
        meta.is_file().then(|| (meta.dev(), meta.ino()))
    };
    entries.filter_map(identity).collect()
}

fn uptime() -> io::Result<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Ok(Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default()))
}

/// The kernel counts the starts of processes in ticks.
fn since_boot(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
}

/// File systems on which somebody else's machine may work.
fn is_shared_between_machines(path: &Path) -> io::Result<bool> {
    // As statfs(2) has them: NFS, SMB, CIFS, 9P, FUSE, Ceph, AFS, Lustre, OCFS2, GFS2.
    const SHARED: [u32; 11] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6573_5546,
        0x00c3_6400,
        0x5346_414f,
        0x0bd0_0bd0,
        0x7461_636f,
        0x0116_1970,
    ];
    let kind = rustix::fs::statfs(path)?.f_type;
    // The kernel's type is signed on some machines.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are of 32 bits")]
    let kind = kind as u32;
    Ok(SHARED.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_lives_for_days_holds_no_lock() {
        let process = tempfile::tempdir().expect("a directory");
        let daemon = |command: &str| {
            std::fs::write(process.path().join("cmdline"), command).expect("written");
            is_daemon(process.path())
        };
        assert!(daemon("git\0fsmonitor--daemon\0run\0--detach\0") && daemon("git\0credential-cache--daemon\0/x\0"));
        assert!(!daemon("git\0commit\0-m\0--daemon--\0") && !daemon(""));
    }

    #[test]
    fn a_lock_is_held_by_who_has_it_open_and_by_a_git_that_was_there_when_it_came() {
        let place = tempfile::tempdir().expect("a directory");
        let lock = place.path().join("index.lock");
        std::fs::write(&lock, "").expect("written");
        let meta = std::fs::metadata(&lock).expect("there");
        let now = Timestamp(1_800_000_000_000);
        let before = |seconds: i64| Timestamp(now.0 - seconds * 1000);
        let suspect = |is_git, age: u64, open: bool| Suspect {
            standing: Standing { pid: 7, name: "x".into() },
            is_git,
            age: Duration::from_secs(age),
            open: if open { vec![(meta.dev(), meta.ino())] } else { Vec::new() },
        };
        let table = [
            (suspect(false, 9000, false), false),
            (suspect(false, 1, true), true),
            (suspect(true, 9000, false), true),
            (suspect(true, 3600, false), true),
            (suspect(true, 3400, false), false),
        ];
        for (suspect, expected) in table {
            let shown = format!("{suspect:?}");
            let found = LockHolders(vec![suspect]).of(&lock, before(3600), now).expect("looked at");
            assert_eq!(found != Holder::Nobody, expected, "{shown}");
        }
        let own = LockHolders::scan().expect("readable");
        assert!(own.0.iter().all(|suspect| suspect.standing.pid != std::process::id()));
    }
}
