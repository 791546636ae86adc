//! The self-test of a level: the real thing is started, and tries to get out.
//!
//! Not the kernel's version is asked but the kernel: a child under the very policy of a task tries to read a secret and the
//! repository's configuration, to plant a hook, to connect to listeners, to signal a process outside, to use a descriptor
//! that was left open. Whatever succeeds refuses the level, and so does a step that fails, with its name and the kernel's
//! answer.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::granted::{Granted, Unavailable};
use super::launch::{Launch, LaunchError};
use super::view::{System, needs_hiding};
use super::{descriptor, machine};
use crate::model::record::ConfineLevel;
use crate::model::{ProcId, Token};
use crate::sys::{env, proc, random};

/// The argument that makes our own executable the tester inside.
pub const TESTER: &str = "__escape";

/// Where our own executable is shown to a child that is to be us.
pub const SELF_INSIDE: &str = "/run/treehand";

/// What the tester inside tries to reach.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Canaries {
    secret: PathBuf,
    tcp: u16,
    abstract_name: String,
    socket: PathBuf,
    process: Option<ProcId>,
    descriptor: i32,
    config: Option<PathBuf>,
    hook: Option<PathBuf>,
}

/// Where a level is to hold.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// What the machine shows to children.
    pub machine: System,
    /// The git dir of the repository that they must not reach.
    pub repository: Option<PathBuf>,
}

impl Ground {
    /// This machine, and no repository.
    pub fn without_repository() -> Ground {
        Ground { machine: machine::look(None, &[], &[]), repository: None }
    }
}

/// What each exit code of the tester means, from [`FIRST`] on.
const BREACHES: &[&str] = &[
    "it read a file of yours outside the workspace",
    "it wrote a file of yours outside the workspace",
    "it connected to a port of this machine",
    "it connected to an abstract socket of this machine",
    "it connected to a socket file outside the workspace",
    "it signalled a process outside",
    "it read the environment of a process outside",
    "it used a descriptor that was left open",
    "it read the configuration of the repository",
    "it planted a hook in the repository",
];
const FIRST: u8 = 100;

/// Tries a level on this ground; whatever gets out refuses it.
pub fn run(level: ConfineLevel, ground: &Ground) -> Result<(), Unavailable> {
    let refused = |why: String, remedy: &str| Unavailable { level, why, remedy: remedy.to_owned() };
    let broken = |error: io::Error| refused(format!("the self-test cannot be made: {error}"), "see the error");
    let directory = tempfile::tempdir().map_err(broken)?;
    let held = Held::new(directory.path(), ground.repository.as_deref()).map_err(broken)?;
    let code = attempt(level, ground, &held).map_err(|error| unavailable(level, &error))?;
    match usize::from(code.checked_sub(FIRST).unwrap_or(u8::MAX)) {
        _ if code == 0 => Ok(()),
        breach if breach < BREACHES.len() => {
            let why = format!("the self-test got out: {}", BREACHES[breach]);
            Err(refused(why, "this is a defect of treehand or of this kernel: please report it"))
        }
        _ => {
            Err(refused(format!("the self-test ended with {code}"), "run `treehand doctor -v` and report what it says"))
        }
    }
}

fn unavailable(level: ConfineLevel, error: &LaunchError) -> Unavailable {
    let why = match error {
        LaunchError::Confinement { step, text } => format!("cannot {step}: {text}"),
        error => crate::model::cause::chain(error),
    };
    Unavailable { level, remedy: remedy(level, &why).to_owned(), why }
}

/// What helps against the usual causes.
fn remedy(level: ConfineLevel, why: &str) -> &'static str {
    let namespaces = ["make the namespaces", "map the user", "mounts private", "make a root"];
    if !cfg!(target_os = "linux") {
        "this system has no sandbox that treehand knows; run it on Linux, or accept the risk: --confine off"
    } else if level == ConfineLevel::Landlock && why.contains("cannot hide") {
        "show less to commands (confine.read), or choose --confine strict, external or off"
    } else if level == ConfineLevel::Landlock {
        "it takes Linux 6.12 or later with Landlock enabled (`lsm=landlock,…`); or accept the risk: --confine off"
    } else if namespaces.iter().any(|step| why.contains(step)) {
        "this kernel or container does not let you make user namespaces. On Ubuntu: an AppArmor profile with `userns,` for \
         treehand, or sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container: run it with \
         --security-opt seccomp=unconfined --security-opt systempaths=unconfined; or choose --confine landlock, external or off"
    } else if why.contains("mount /proc") {
        "in a container /proc is masked: run it with --security-opt systempaths=unconfined, or choose --confine landlock or \
         external"
    } else {
        "or choose another level: --confine landlock, external or off"
    }
}

/// What the canaries are outside, alive while the tester runs.
struct Held {
    canaries: Canaries,
    _listeners: (TcpListener, UnixListener, UnixListener),
    _secret: std::os::fd::OwnedFd,
}

impl Held {
    fn new(directory: &Path, repository: Option<&Path>) -> io::Result<Held> {
        let secret = directory.join("secret");
        std::fs::write(&secret, "canary")?;
        let socket = directory.join("socket");
        let tcp = TcpListener::bind(("127.0.0.1", 0))?;
        let name = format!("treehand-canary-{}", random::token()?.as_str());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let listeners = (tcp, hidden, UnixListener::bind(&socket)?);
        let left = std::os::fd::OwnedFd::from(std::fs::File::open(&secret)?);
        let canaries = Canaries {
            secret,
            tcp: listeners.0.local_addr()?.port(),
            config: repository.map(|place| place.join("config")),
            hook: repository.map(|place| place.join("hooks").join(&name)),
            abstract_name: name,
            socket,
            process: proc::own(),
            descriptor: left.as_raw_fd(),
        };
        Ok(Held { canaries, _listeners: listeners, _secret: left })
    }
}

fn attempt(level: ConfineLevel, ground: &Ground, held: &Held) -> Result<u8, LaunchError> {
    let token: Token = random::token().map_err(LaunchError::Shim)?;
    let canaries = serde_json::to_string(&held.canaries).map_err(|error| LaunchError::Shim(error.into()))?;
    let inside = if level == ConfineLevel::Strict {
        PathBuf::from(SELF_INSIDE)
    } else {
        env::own_executable().map_err(LaunchError::Shim)?
    };
    let argv = vec![inside.to_string_lossy().into_owned(), TESTER.into(), canaries];
    let mut launch = Launch::new(argv, "/".into(), token);
    launch.left_open = Some(held.canaries.descriptor);
    show_self(&mut launch, level).map_err(LaunchError::Shim)?;
    let hidden = ground.repository.iter().filter(|place| needs_hiding(place, &ground.machine));
    launch.reach.hide.extend(hidden.cloned());
    let record = launch.start(Granted::on_record(level), &ground.machine)?.wait()?;
    Ok(record.exit.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Shows our own executable to a child that is to be us.
pub fn show_self(launch: &mut Launch, level: ConfineLevel) -> io::Result<()> {
    if level == ConfineLevel::Strict {
        launch.reach.pins.push((env::own_executable()?, SELF_INSIDE.into()));
    } else {
        launch.reach.read.push(env::own_executable()?);
    }
    Ok(())
}

/// The tester: tries every way out, and says by its exit code which one is open.
pub fn escape(canaries: &str) -> u8 {
    let Ok(canaries) = serde_json::from_str::<Canaries>(canaries) else { return 99 };
    // Pids are counted anew in a pid namespace: the number may be that of a process inside.
    let is_it = |outside: &ProcId| proc::identify(outside.pid).is_none_or(|seen| seen.start_time == outside.start_time);
    let outside = canaries.process.filter(is_it).map(|outside| outside.pid);
    let tried = [
        std::fs::read(&canaries.secret).is_ok(),
        std::fs::write(&canaries.secret, "x").is_ok(),
        TcpStream::connect(("127.0.0.1", canaries.tcp)).is_ok(),
        SocketAddr::from_abstract_name(&canaries.abstract_name)
            .and_then(|address| UnixStream::connect_addr(&address))
            .is_ok(),
        UnixStream::connect(&canaries.socket).is_ok(),
        outside.is_some_and(can_signal),
        outside.is_some_and(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok()),
        descriptor::adopt(canaries.descriptor).is_ok(),
        canaries.config.is_some_and(|config| std::fs::read(config).is_ok()),
        canaries.hook.is_some_and(|hook| plants(&hook)),
    ];
    let breach = tried.iter().position(|open| *open).and_then(|at| u8::try_from(at).ok());
    breach.map_or(0, |at| FIRST.saturating_add(at))
}

/// True when a hook could be made; it is taken away again.
fn plants(hook: &Path) -> bool {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(hook).is_ok();
    if made && let Err(error) = std::fs::remove_file(hook) {
        tracing::warn!(%error, "the canary {} is left", hook.display());
    }
    made
}

#[expect(clippy::disallowed_methods, reason = "signal 0 reaches nobody: it only asks whether one could")]
fn can_signal(process: u32) -> bool {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap_or(i32::MAX));
    nix::sys::signal::kill(pid, None).is_ok()
}
