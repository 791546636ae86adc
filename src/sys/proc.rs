//! Processes: who they are, whether they live, and signals that can only reach the one that was meant.
//!
//! Promises: a signal goes through a pidfd after the start time was compared, so a reused pid is never hit; the search
//! for marked processes looks at the environment mark alone, never at names, and only at our own user's processes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::aside;
use crate::model::health::Work;
use crate::model::{ProcId, Token};

/// The variable by which a supervisor and what it starts to help it are known; its value is the run.
pub const SUPERVISES: &str = "TREEHAND_SUPERVISES";

/// The variable that marks everything an attempt starts.
pub const MARK: &str = "TREEHAND_ATTEMPT";

/// How often the search for marked processes is repeated.
const KILL_ROUNDS: u32 = 100;

/// What a signal met.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a process that is gone may need no further step"]
pub enum Signalled {
    /// It was sent.
    Sent,
    /// There is no such process any more.
    Gone,
}

/// Identifies a living process; `None` when there is none with this pid (a zombie counts as none).
pub fn identify(pid: u32) -> Option<ProcId> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program name in parentheses and may itself contain both blanks and parentheses.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcId { pid, start_time, boot_id: boot_id() })
}

/// This process.
pub fn own() -> Option<ProcId> {
    identify(std::process::id())
}

/// Ends this process as `kill -9` does: nothing of it runs any more.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to signals")]
pub fn die() {
    if let Err(errno) = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL) {
        tracing::warn!(%errno, "cannot end this process");
    }
}

/// True for a process that is known and no longer alive.
pub fn is_known_dead(process: Option<&ProcId>) -> bool {
    process.is_some_and(|process| !is_alive(process))
}

/// True when exactly this process lives.
pub fn is_alive(process: &ProcId) -> bool {
    identify(process.pid).as_ref() == Some(process)
}

/// What the kernel calls this boot; empty where it does not say.
pub fn boot_id() -> String {
    static BOOT_ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT_ID.get_or_init(read).clone()
}

fn open_verified(process: &ProcId) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // Compared after the fd is open: from here on the fd means this process or a dead one, whatever the pid becomes.
    Ok(is_alive(process).then_some(fd))
}

#[expect(clippy::disallowed_methods, reason = "this is the gateway to signals; the identity was compared")]
fn send(process: &ProcId, signal: Signal) -> io::Result<Signalled> {
    let Some(fd) = open_verified(process)? else { return Ok(Signalled::Gone) };
    match pidfd_send_signal(&fd, signal) {
        Ok(()) => Ok(Signalled::Sent),
        Err(rustix::io::Errno::SRCH) => Ok(Signalled::Gone),
        Err(errno) => Err(errno.into()),
    }
}

/// Asks a process to end.
pub fn terminate(process: &ProcId) -> io::Result<Signalled> {
    send(process, Signal::TERM)
}

/// Ends a process.
pub fn kill(process: &ProcId) -> io::Result<Signalled> {
    send(process, Signal::KILL)
}

/// Waits until the process is gone; false when it still lives after `limit`.
pub fn wait_gone(process: &ProcId, limit: Duration) -> io::Result<bool> {
    let Some(fd) = open_verified(process)? else { return Ok(true) };
    wait_readable(&fd, limit)
}

/// Waits until a pidfd reports the end of its process; false after `limit`.
pub fn wait_readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> io::Result<bool> {
    Ok(first_readable(&[fd.as_fd()], Some(limit))?.is_some())
}

/// Waits until one of these can be read from; the first that can, or `None` after `limit`.
pub fn first_readable(fds: &[std::os::fd::BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Option<usize>> {
    let timeout = limit.and_then(|limit| rustix::time::Timespec::try_from(limit).ok());
    loop {
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => return Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Every living process of this user that carries the attempt's mark in its environment, this one excepted.
pub fn marked(token: &Token) -> io::Result<Vec<ProcId>> {
    carrying(MARK, token.as_str())
}

/// Waits until nothing is left of what earlier supervisors of a run had started to help them (git, for the most part): it
/// outlives them by moments, and works where a successor does. What does not end in time is killed.
pub fn wait_for_helpers(run: &str, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let helpers = carrying(SUPERVISES, run)?;
        if helpers.is_empty() {
            return Ok(());
        }
        for helper in &helpers {
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_gone(helper, left)? {
                return kill_until_none(&format!("processes with {SUPERVISES}={run}"), || carrying(SUPERVISES, run))
                    .map(drop);
            }
        }
    }
}

/// The processes of this user, and where the kernel tells of each. One that ends meanwhile is not found.
pub(super) fn of_this_user() -> io::Result<Vec<(u32, PathBuf)>> {
    let own_uid = rustix::process::geteuid().as_raw();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if entry.metadata().is_ok_and(|meta| meta.uid() == own_uid) {
            found.push((pid, entry.path()));
        }
    }
    Ok(found)
}

/// What a process is called, for people.
pub(super) fn name_in(place: &Path) -> String {
    fs::read_to_string(place.join("comm")).unwrap_or_default().trim_end().to_owned()
}

fn carrying(variable: &str, value: &str) -> io::Result<Vec<ProcId>> {
    let needle = format!("{variable}={value}");
    // A process that ends between two reads is simply not found; one whose environment we may not read is not ours.
    let carries = |environ: Vec<u8>| environ.split(|b| *b == 0).any(|pair| pair == needle.as_bytes());
    let others = of_this_user()?.into_iter().filter(|(pid, _)| *pid != std::process::id());
    let carrying = others.filter(|(_, place)| fs::read(place.join("environ")).is_ok_and(carries));
    Ok(carrying.filter_map(|(pid, _)| identify(pid)).collect())
}

/// Kills everything that carries the mark until nothing does, and says how many it met.
pub fn kill_marked(token: &Token) -> io::Result<usize> {
    kill_until_none(&format!("processes with {MARK}={}", token.as_str()), || marked(token))
}

/// Kills every child of this process, and what becomes one by that; how many there were.
pub fn kill_children() -> io::Result<usize> {
    let own = std::process::id();
    kill_until_none("children", || children_of(own))
}

/// Kills what is found until nothing is; how many there were.
pub(super) fn kill_until_none(what: &str, find: impl Fn() -> io::Result<Vec<ProcId>>) -> io::Result<usize> {
    let mut killed = 0;
    // Each round kills what the last one missed because it was forking; a process that survives all rounds is stuck in
    // the kernel and is reported instead of waited for.
    for _ in 0..KILL_ROUNDS {
        let living = find()?;
        if living.is_empty() {
            return Ok(killed);
        }
        for process in &living {
            if kill(process)? == Signalled::Sent {
                killed += 1;
            }
        }
        for process in &living {
            wait_gone(process, Duration::from_secs(2))?;
        }
    }
    Err(io::Error::other(format!("{what} do not die")))
}

fn children_of(parent: u32) -> io::Result<Vec<ProcId>> {
    let pids = fs::read_dir("/proc")?.filter_map(Result::ok);
    let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.is_some_and(|stat| parent_in(&stat) == Some(parent))
    };
    Ok(pids.filter(is_child).filter_map(identify).collect())
}

/// What everything below a process has worked and holds that still lives.
pub fn work_below(ancestor: u32) -> io::Result<Work> {
    // A walk down costs what is below; the whole table, what there is on the machine.
    match walk_below(ancestor) {
        Some(work) => Ok(work),
        None => Ok(Table::scan()?.work_below(ancestor)),
    }
}

/// The processes of this machine at one moment.
pub struct Table {
    stats: HashMap<u32, String>,
    children: HashMap<u32, Vec<u32>>,
}

impl Table {
    /// Looks once at all of them.
    pub fn scan() -> io::Result<Table> {
        let pids = fs::read_dir("/proc")?.filter_map(Result::ok);
        let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        let mut table = Table { stats: HashMap::new(), children: HashMap::new() };
        for (pid, stat) in pids.filter_map(|pid| Some((pid, stat_of(pid)?))) {
            parent_in(&stat).into_iter().for_each(|parent| table.children.entry(parent).or_default().push(pid));
            table.stats.insert(pid, stat);
        }
        Ok(table)
    }

    /// What everything below a process has worked and holds.
    pub fn work_below(&self, ancestor: u32) -> Work {
        let children = |pid: u32| self.children.get(&pid).cloned().unwrap_or_default();
        add_up(ancestor, |pid| self.stats.get(&pid).cloned(), |pid| Some(children(pid))).unwrap_or_default()
    }
}

/// The same by the kernel's own lists of children; `None` where it keeps none.
fn walk_below(ancestor: u32) -> Option<Work> {
    add_up(ancestor, stat_of, |pid| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
        let mut children = Vec::new();
        for thread in threads {
            match fs::read_to_string(thread.path().join("children")) {
                Ok(list) => children.extend(list.split(' ').filter_map(|pid| pid.parse::<u32>().ok())),
                // Without such lists there is a thread all the same.
                Err(_) if thread.path().join("stat").exists() => return None,
                Err(_) => {}
            }
        }
        Some(children)
    })
}

/// Adds up what is below a process; `None` where its children are not known.
fn add_up(
    ancestor: u32,
    stat: impl Fn(u32) -> Option<String>,
    children: impl Fn(u32) -> Option<Vec<u32>>,
) -> Option<Work> {
    // What it waited for itself were children, too.
    let waited_for = stat(ancestor).and_then(|stat| usage_in(&stat)).map(|usage| usage.waited_for);
    let (mut known, mut work) = (vec![ancestor], Work { cpu: waited_for.unwrap_or_default(), ..Work::default() });
    let mut n = 0;
    while let Some(here) = known.get(n).copied() {
        for child in children(here)? {
            known.push(child);
            if let Some(usage) = stat(child).and_then(|stat| usage_in(&stat)) {
                work.processes += 1;
                work.cpu += usage.own + usage.waited_for;
                work.memory += usage.resident;
            }
        }
        n += 1;
    }
    Some(work)
}

fn stat_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// What a process takes.
#[derive(Debug, PartialEq, Eq)]
struct Usage {
    /// Its own processor time.
    own: Duration,
    /// That of its children that ended and were waited for.
    waited_for: Duration,
    /// Bytes of its memory.
    resident: u64,
}

/// What a line of `/proc/PID/stat` says; `None` for one that has ended and is not waited for yet.
fn usage_in(stat: &str) -> Option<Usage> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1));
    Some(Usage {
        own: time(number(11)? + number(12)?),
        waited_for: time(number(13)? + number(14)?),
        resident: number(21)?.saturating_mul(rustix::param::page_size() as u64),
    })
}

/// The parent that a line of `/proc/PID/stat` names.
fn parent_in(stat: &str) -> Option<u32> {
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(1)?.parse().ok()
}

/// Sends TERM to a whole process group whose leader is this living process.
pub fn terminate_group(leader: &ProcId) -> io::Result<Signalled> {
    signal_group(leader, nix::sys::signal::Signal::SIGTERM)
}

/// Sends KILL to a whole process group whose leader is this living process.
pub fn kill_group(leader: &ProcId) -> io::Result<Signalled> {
    signal_group(leader, nix::sys::signal::Signal::SIGKILL)
}

#[expect(clippy::disallowed_methods, reason = "this is the gateway to signals; the leader's identity was compared")]
fn signal_group(leader: &ProcId, signal: nix::sys::signal::Signal) -> io::Result<Signalled> {
    let Some(_held) = open_verified(leader)? else { return Ok(Signalled::Gone) };
    let pid = nix::unistd::Pid::from_raw(i32::try_from(leader.pid).unwrap_or(i32::MAX));
    match nix::sys::signal::killpg(pid, signal) {
        Ok(()) => Ok(Signalled::Sent),
        Err(nix::errno::Errno::ESRCH) => Ok(Signalled::Gone),
        Err(errno) => Err(errno.into()),
    }
}

/// Processor time (user and system) that this process has used itself, and that its ended children have used.
pub fn cpu_time() -> io::Result<(Duration, Duration)> {
    use nix::sys::resource::{UsageWho, getrusage};
    let total = |who| -> io::Result<Duration> {
        let usage = getrusage(who).map_err(io::Error::from)?;
        let part = |time: nix::sys::time::TimeVal| {
            let seconds = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0));
            seconds + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
        };
        Ok(part(usage.user_time()) + part(usage.system_time()))
    };
    Ok((total(UsageWho::RUSAGE_SELF)?, total(UsageWho::RUSAGE_CHILDREN)?))
}

/// A process that outlives us; what it says first comes through its standard output.
#[derive(Debug)]
pub struct Detached {
    child: std::process::Child,
}

impl Detached {
    /// Its standard output, once.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Ends it, where it has not become what it was started for.
    pub fn give_up(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

/// Variables of a process beside ours, each with its value, or without one where it is not to have it.
pub type Variables<'a> = &'a [(String, Option<String>)];

/// Starts a program, with some variables beside ours, that will leave our session by itself ([`leave_session`]); its errors go
/// to `stderr`.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to our own detached processes")]
pub fn spawn_detached(
    program: &Path,
    args: &[&OsStr],
    variables: Variables<'_>,
    stderr: fs::File,
) -> io::Result<Detached> {
    let mut command = Command::new(program);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    Ok(Detached { child: command.spawn()? })
}

/// Becomes this program, with our environment, one variable beside it, and our
/// standard streams; all else that is open is closed by that. Comes back only
/// with an error.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to our own processes")]
pub fn become_again(program: &Path, args: &[&OsStr], variable: (&str, &str)) -> io::Error {
    use std::os::unix::process::CommandExt;
    Command::new(program).args(args).env(variable.0, variable.1).exec()
}

/// True when this process leads a session of its own already.
pub fn leads_its_session() -> bool {
    nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid())
}

/// Makes this process the leader of a session of its own: no terminal, no group that a Ctrl-C reaches.
pub fn leave_session() -> io::Result<()> {
    nix::unistd::setsid().map(|_| ()).map_err(io::Error::from)
}

/// Runs a program with our terminal, our environment and these variables beside it, and waits for it.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to what the user runs in the foreground")]
pub fn run_in_foreground(argv: &[&str], directory: &Path, env: &[(&str, &str)]) -> io::Result<ExitStatus> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    Command::new(program).args(args).current_dir(directory).envs(env.iter().copied()).status()
}

/// The same with the program's answer sent to `answer` instead of our standard output.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to what the user runs in the foreground")]
pub fn run_with_output_to(
    answer: impl Into<Stdio>,
    argv: &[&str],
    directory: &Path,
    env: &[(&str, &str)],
) -> io::Result<ExitStatus> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    Command::new(program).args(args).current_dir(directory).envs(env.iter().copied()).stdout(answer).status()
}

/// Runs a program for its standard output.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to what the user runs in the foreground")]
pub fn run_for_output(argv: &[&str], directory: &Path, env: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(directory).envs(env.iter().copied()).stdin(Stdio::null());
    Ok(command.stderr(Stdio::inherit()).output()?.stdout)
}

/// What a program came to that had so much time.
#[derive(Debug)]
pub enum InTime {
    /// It ended by itself.
    Ended {
        /// Its exit code, as a shell would give it.
        code: u8,
        /// What it wrote to standard output.
        output: Vec<u8>,
        /// What it wrote to standard error.
        errors: Vec<u8>,
    },
    /// Its time was over, and it was ended.
    TooLate,
}

/// How long a program may take to end that was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a program for what it writes, for at most this long: then it is asked to end, and killed when it does not.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to our own processes")]
pub fn run_within(argv: &[&OsStr], directory: &Path, limit: Duration) -> io::Result<InTime> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (output, errors) = (aside::read_aside(child.stdout.take()), aside::read_aside(child.stderr.take()));
    match ended_within(&mut child, limit, GRACE, (terminate, kill))? {
        None => Ok(InTime::TooLate),
        Some(code) => {
            Ok(InTime::Ended { code, output: aside::joined_soon(output)?, errors: aside::joined_soon(errors)? })
        }
    }
}

/// How a process is told to end.
type Told = fn(&ProcId) -> io::Result<Signalled>;

/// Waits for a child; one whose time is over is asked to end, and killed when it has not after the grace. Its exit code, as a
/// shell would give it; `None` when its time was over.
pub(super) fn ended_within(
    child: &mut std::process::Child,
    limit: Duration,
    grace: Duration,
    (ask, end): (Told, Told),
) -> io::Result<Option<u8>> {
    // Not reaped yet, it is who it says; one that is not found has ended already.
    if let Some(process) = identify(child.id())
        && !wait_gone(&process, limit)?
    {
        // One that has just ended needs no signal.
        let _gone_or_sent = ask(&process)?;
        if !wait_gone(&process, grace)? {
            let _gone_or_sent = end(&process)?;
        }
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(exit_code(child.wait()?)))
}

/// The exit code as a shell would give it: 128 and the signal for a child that a signal ended.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Closes standard output by putting `/dev/null` in its place, so that who reads it sees its end.
pub fn close_stdout() -> io::Result<()> {
    let null = fs::File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(&null)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn who_has_ended_is_not_waited_for_because_of_whom_it_left_behind() {
        let argv = ["sh", "-c", "sleep 600 & echo $!; echo said >&2"].map(OsStr::new);
        let begun = Instant::now();
        let ended = run_within(&argv, Path::new("/"), Duration::from_secs(600)).expect("started");
        let InTime::Ended { code: 0, output, errors } = ended else { panic!("it has ended") };
        assert!(begun.elapsed() < Duration::from_secs(300), "it was waited for");
        let left: u32 = String::from_utf8_lossy(&output).trim().parse().expect("a pid");
        assert_eq!(errors, b"said\n");
        let left = identify(left).expect("it lives");
        assert!(matches!(kill(&left), Ok(Signalled::Sent)), "it goes");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test wants a child")]
    fn what_we_started_counts_as_work_below_us() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
        // A program that has only just been started holds nothing yet.
        child.stdin.as_mut().expect("piped").write_all(b"x").expect("written");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("it runs");
        let ours = work_below(std::process::id()).expect("looked");
        assert!(ours.processes > 0 && ours.memory > 0, "{ours:?}");
        assert!(Table::scan().expect("looked").work_below(std::process::id()).processes > 0);
        assert_eq!(work_below(child.id()).expect("looked"), Work::default());
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn a_line_of_the_process_table_says_what_a_process_took_and_what_it_waited_for() {
        let line = "7 (a b) c) S 1 7 7 0 -1 0 0 0 0 0 150 50 30 10 20 0 1 0 5 4096 3 0\n";
        let ticks = |count: u64| Duration::from_millis(count * 1000 / rustix::param::clock_ticks_per_second());
        let resident = 3 * rustix::param::page_size() as u64;
        assert_eq!(usage_in(line), Some(Usage { own: ticks(200), waited_for: ticks(40), resident }));
        assert_eq!(usage_in("7 (a) Z 1 7 7 0 -1 0 0 0 0 0 150 50 9 9 20 0 1 0 5 4096 3"), None);
        let stats = |pid: u32| (pid != 4).then(|| line.to_owned());
        let children = |pid: u32| Some(if pid == 1 { vec![2, 3, 4] } else { Vec::new() });
        let work = add_up(1, stats, children).expect("known");
        assert_eq!(work, Work { processes: 2, cpu: ticks(40 + 2 * 240), memory: resident * 2 });
    }

    #[test]
    fn we_are_alive_and_our_pid_with_another_start_time_is_not() {
        let own = own().expect("we live");
        assert!(is_alive(&own));
        let reused = ProcId { start_time: own.start_time + 1, ..own };
        assert!(!is_alive(&reused));
        assert_eq!(terminate(&reused).expect("no error"), Signalled::Gone, "a reused pid was signalled");
    }
}
