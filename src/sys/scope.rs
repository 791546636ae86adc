//! The gateway to systemd: whether there is a manager here that outlives our terminal, and a program in a scope of its own.
//!
//! A scope is a cgroup that its program may divide. Promises: who is refused one learns why, in words for a person; a program
//! that did not begin leaves nothing that could still begin.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::env;
use super::proc::{self, Detached};
use super::units;

/// The program that makes scopes.
const PROGRAM: &str = "systemd-run";

/// Which manager makes a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// That of the machine, for root.
    System,
    /// The user's own.
    User,
}

/// Why no scope can be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScope {
    /// The machine, or this user, has no manager.
    #[error("no systemd manager is here")]
    NoManager,
    /// The user's manager ends with the last session.
    #[error("your systemd manager ends with your last session, and a run must not")]
    NoLinger,
    /// The program that makes scopes would not take a path for what it is.
    #[error("systemd-run would look for a variable in {}", .0.display())]
    Dollar(PathBuf),
    /// The program that makes scopes failed.
    #[error("systemd-run failed: {0}")]
    Failed(String),
}

impl NoScope {
    /// What gives one.
    pub fn remedy(&self) -> Option<&'static str> {
        matches!(self, NoScope::NoLinger).then_some("loginctl enable-linger")
    }
}

/// The manager that a scope can be had from.
pub fn manager() -> Result<Manager, NoScope> {
    if rustix::process::geteuid().is_root() {
        let booted = Path::new("/run/systemd/system").is_dir();
        return if booted { Ok(Manager::System) } else { Err(NoScope::NoManager) };
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let is_socket = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !runtime.is_some_and(|runtime| is_socket(runtime.join("systemd/private"))) {
        return Err(NoScope::NoManager);
    }
    // Not to be told is no.
    if units::linger() == Some(true) { Ok(Manager::User) } else { Err(NoScope::NoLinger) }
}

/// Starts a program in a scope of this name, which it may divide as it likes. What goes wrong before the program begins is said
/// on `stderr`, and nothing comes on its standard output.
pub fn spawn(
    manager: Manager,
    unit: &str,
    program: &Path,
    args: &[&OsStr],
    variables: proc::Variables<'_>,
    stderr: fs::File,
) -> Result<Detached, NoScope> {
    let given = std::iter::once(program.as_os_str()).chain(args.iter().copied());
    if let Some(dollar) = given.clone().find(|text| text.as_encoded_bytes().contains(&b'$')) {
        return Err(NoScope::Dollar(dollar.into()));
    }
    let unit = OsString::from(format!("--unit={unit}"));
    let mut all: Vec<&OsStr> = flags(manager).map(OsStr::new).collect();
    all.extend([&unit, OsStr::new("--")]);
    all.extend(given);
    proc::spawn_detached(Path::new(PROGRAM), &all, variables, stderr).map_err(|error| NoScope::Failed(why(&error)))
}

fn flags(manager: Manager) -> impl Iterator<Item = &'static str> {
    let user = (manager == Manager::User).then_some("--user");
    user.into_iter().chain(["--scope", "--quiet", "--collect", "--property=Delegate=yes"])
}

/// Tries whether one can be had.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to systemd")]
pub fn probe(manager: Manager) -> Result<(), NoScope> {
    let mut command = Command::new(PROGRAM);
    command.args(flags(manager)).args(["--", "true"]).stdin(Stdio::null());
    let output = command.output().map_err(|error| NoScope::Failed(why(&error)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = || said.lines().last().map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
    if output.status.success() { Ok(()) } else { Err(NoScope::Failed(last())) }
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "it is not installed".into() } else { error.to_string() }
}
