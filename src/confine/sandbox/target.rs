//! The last steps before a child's program starts: limits, descriptors, fence, capabilities, filter.
//!
//! Promises: it starts with no capability, no way to get one, no descriptor but its three streams, default signals and
//! exactly the environment of its policy. Order matters: each step is the last that may need what the next takes away.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::fence::{self, Fence};
use super::filter::{self, FilterPlan};
use super::{raw, root, terminal};
use crate::confine::policy::Policy;
use crate::model::Network;
use crate::model::record::ConfineLevel;

/// What an agent's memory is worth to the kernel against that of the desktop, when there is none left.
const OOM_SCORE: &str = "500";

/// How much nicer than the user's own programs a child is.
const NICE: i32 = 5;

/// A step that failed: its name, the error, and whether only the program is at fault.
#[derive(Debug)]
pub struct Failure {
    /// What was tried.
    pub step: String,
    /// The error.
    pub error: io::Error,
    /// The sandbox stands; the program cannot be started.
    pub program: bool,
}

fn step<T, E: Into<io::Error>>(step: &str, result: Result<T, E>) -> Result<T, Failure> {
    result.map_err(|error| Failure { step: step.to_owned(), error: error.into(), program: false })
}

/// Confines this process and becomes the program; returns only when that failed.
pub fn become_program(policy: &Policy) -> Failure {
    match confine(policy).and_then(|()| execute(policy)) {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}

fn confine(policy: &Policy) -> Result<(), Failure> {
    step("take default signals", raw::default_signals())?;
    let place = rustix::process::chdir(&policy.directory);
    place.map_err(|error| Failure {
        step: format!("enter {}", policy.directory.display()),
        error: error.into(),
        program: true,
    })?;
    limit(policy)?;
    step("close descriptors", raw::close_on_exec_from(3))?;
    step("give up privileges", rustix::thread::set_no_new_privs(true))?;
    let abi = fence::abi().unwrap_or(landlock::ABI::Unsupported);
    if abi >= landlock::ABI::V1 {
        let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts"];
        // Where there is one, we made it: the directory is closed.
        let terminal = Some(terminal::PLACE).filter(|place| Path::new(place).exists());
        let fence = Fence {
            read: vec!["/".into()],
            write: root::writable(policy),
            devices: devices.into_iter().chain(terminal).map(Into::into).collect(),
            no_network: false,
            reading_is_free: step("look at the streams", holds_no_file())?,
        };
        step("put the fence up (landlock)", fence::enter(&fence, abi))?;
    }
    step("drop capabilities", drop_capabilities())?;
    let plan = FilterPlan { own_processes: true, sockets: true, private: policy.private };
    let program = step("make the filter (seccomp)", filter::program(plan))?;
    step("install the filter (seccomp)", filter::install(&program))
}

/// True when no stream is a file that can be opened anew through `/proc/self/fd`, to read or to truncate what was handed
/// in for something else: all are pipes, sockets or devices of the terminal's kind.
fn holds_no_file() -> io::Result<bool> {
    use rustix::fs::FileType;
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        match rustix::fs::fstat(stream) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Fifo | FileType::Socket | FileType::CharacterDevice => {}
                _ => return Ok(false),
            },
            Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// What stands around a child of level `landlock`: the fence and the filter, without namespaces.
pub fn enter_fence(policy: &Policy) -> io::Result<()> {
    let failed = |failure: Failure| io::Error::other(format!("cannot {}: {}", failure.step, failure.error));
    limit(policy).map_err(failed)?;
    rustix::thread::set_no_new_privs(true)?;
    let mounts = &policy.view.mounts;
    let paths = |wanted: &[crate::confine::policy::Access]| -> Vec<_> {
        let of = mounts.iter().filter(|mount| wanted.contains(&mount.access));
        of.map(|mount| mount.source.clone()).filter(|path| path.exists()).collect()
    };
    use crate::confine::policy::Access;
    let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    let mut read = paths(&[Access::Read, Access::Layer]);
    read.push("/proc".into());
    let no_network = policy.network == Network::None;
    let devices = devices.map(Into::into).to_vec();
    let fence = Fence { read, write: paths(&[Access::Write]), devices, no_network, reading_is_free: false };
    fence::enter(&fence, fence::abi()?)?;
    drop_capabilities()?;
    let plan = FilterPlan { own_processes: false, sockets: !no_network, private: policy.private };
    debug_assert_eq!(policy.level, ConfineLevel::Landlock);
    filter::install(&filter::program(plan)?)
}

/// The limits that the kernel keeps for each process, and for each user where no cgroup keeps them for the child.
fn limit(policy: &Policy) -> Result<(), Failure> {
    let (limits, leaf) = (&policy.limits, policy.leaf.as_ref());
    let memory = limits.memory.filter(|_| !leaf.is_some_and(|leaf| leaf.memory));
    let processes = limits.processes.filter(|_| !leaf.is_some_and(|leaf| leaf.processes));
    let set = |what: &str, resource, value: Option<u64>| match value {
        None => Ok(()),
        Some(value) => step(&format!("limit {what}"), lower(resource, value)),
    };
    set("core files", Resource::RLIMIT_CORE, Some(0))?;
    set("open files", Resource::RLIMIT_NOFILE, limits.open_files)?;
    set("the size of files", Resource::RLIMIT_FSIZE, limits.file_size)?;
    set("memory", Resource::RLIMIT_DATA, memory)?;
    set("processes", Resource::RLIMIT_NPROC, processes)?;
    let score = Path::new("/proc/self/oom_score_adj");
    if let Err(error) = std::fs::write(score, OOM_SCORE)
        && error.kind() != io::ErrorKind::PermissionDenied
    {
        return step("set the score for out-of-memory", Err(error));
    }
    step("be nice", rustix::process::nice(NICE).map(drop))
}

/// Never above what we have ourselves.
fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let (_, hard) = nix::sys::resource::getrlimit(resource)?;
    let value = value.min(hard);
    Ok(setrlimit(resource, value, value)?)
}

fn drop_capabilities() -> io::Result<()> {
    let known = CapabilitySet::all();
    for capability in known.iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that the kernel does not know is in no set; without the right to, none may be left to take away.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(rustix::io::Errno::PERM) if !has_capabilities()? => break,
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

fn has_capabilities() -> io::Result<bool> {
    Ok(!rustix::thread::capabilities(None)?.permitted.is_empty())
}

/// Looks the program up in the PATH of the child, as `execvp` would, and becomes it.
fn execute(policy: &Policy) -> Result<std::convert::Infallible, Failure> {
    let text = |text: &str| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let made = || -> io::Result<(Vec<CString>, Vec<CString>)> {
        let argv = policy.argv.iter().map(|argument| text(argument)).collect::<io::Result<_>>()?;
        let env = policy.env.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect::<io::Result<_>>()?;
        Ok((argv, env))
    };
    let (argv, env) = step("pass the arguments", made())?;
    let program = policy.argv.first().map_or("", String::as_str);
    let mut last = nix::Error::ENOENT;
    for candidate in candidates(program, &policy.env) {
        let candidate = step("pass the arguments", text(&candidate))?;
        let Err(error) = nix::unistd::execve(&candidate, &argv, &env);
        // One that is there and may not be executed says more than one that is not there.
        if !matches!(error, nix::Error::ENOENT | nix::Error::ENOTDIR) || last == nix::Error::ENOENT {
            last = error;
        }
        if !matches!(error, nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::EACCES) {
            break;
        }
    }
    Err(Failure { step: format!("start `{program}`"), error: last.into(), program: true })
}

fn candidates(program: &str, env: &[(String, String)]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, value)| value);
    let in_it = |directory: &str| format!("{}/{program}", if directory.is_empty() { "." } else { directory });
    path.split(':').map(in_it).collect()
}
