//! Where a supervisor lives: in a scope of its own where there is a manager that makes one, else as a plain process.
//!
//! `start` is the client's side, [`Place`] what the supervisor is told, `settle` its own side. Promises: a supervisor is started
//! once; where it has no scope, it knows why, and the journal has it.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::RunError;
use crate::confine::leaf::Scope;
use crate::model::RunId;
use crate::sys::proc::{self, Detached, Variables};
use crate::sys::scope::{self, NoScope};
use crate::sys::{env, fs, random};
use crate::worktree::WorktreeError;

/// The first word of a supervisor: from here on it is one, and nobody else is to be started.
pub const BEGUN: &str = "begun\n";

/// The second one: a client may rely on it.
pub const READY: &str = "ready\n";

/// How long a scope may take to be made.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a supervisor is told of where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the scope of this name.
    Scope(String),
    /// In none, for this reason.
    Plain(String),
}

impl Place {
    /// As the arguments of a supervisor.
    pub fn arguments(&self) -> [&OsStr; 2] {
        match self {
            Place::Scope(unit) => ["--scope".as_ref(), unit.as_ref()],
            Place::Plain(why) => ["--plain".as_ref(), why.as_ref()],
        }
    }
}

/// Starts the supervisor of a run with these variables; true when it said that it is ready. What it says else goes to `log`.
pub fn start(common_dir: &Path, run: &RunId, variables: Variables<'_>, log: &Path) -> Result<bool, RunError> {
    let known_by = (proc::SUPERVISES.to_owned(), Some(run.to_string()));
    // Each thread with an arena of its own would keep what it once needed for as long as the run lasts.
    let arenas = ("MALLOC_ARENA_MAX".to_owned(), Some("2".to_owned()));
    let variables: Vec<_> = variables.iter().cloned().chain([known_by, arenas]).collect();
    let why = match scope::manager() {
        Ok(manager) => {
            let unit = format!("treehand-{run}-{}.scope", random::token().map_err(WorktreeError::Random)?.short());
            match in_scope(manager, &unit, (common_dir, run), &variables, log)? {
                Ok(begun) => return Ok(is_ready(begun)),
                Err(why) => why,
            }
        }
        Err(why) => why,
    };
    let (executable, why) = (own_executable()?, why.to_string());
    let args: [&OsStr; 5] =
        ["__supervise".as_ref(), "--plain".as_ref(), why.as_ref(), common_dir.as_os_str(), run.as_str().as_ref()];
    let started = proc::spawn_detached(&executable, &args, &variables, fs::open_log(log)?);
    let mut child = started.map_err(RunError::io("cannot start the supervisor"))?;
    Ok(child.take_stdout().is_some_and(|mut said| begins(&mut said) && is_ready(said)))
}

fn own_executable() -> Result<std::path::PathBuf, RunError> {
    env::own_executable().map_err(RunError::io("cannot find our own executable"))
}

type Output = std::process::ChildStdout;

/// Starts it in a scope; the answer is what it says next, or why it never began.
fn in_scope(
    manager: scope::Manager,
    unit: &str,
    (common_dir, run): (&Path, &RunId),
    variables: Variables<'_>,
    log: &Path,
) -> Result<Result<Output, NoScope>, RunError> {
    let stderr = fs::open_log(log)?;
    let said_before = stderr.metadata().map_err(RunError::io("cannot look at the log of the supervisor"))?.len();
    let args: [&OsStr; 5] =
        ["__supervise".as_ref(), "--scope".as_ref(), unit.as_ref(), common_dir.as_os_str(), run.as_str().as_ref()];
    let mut child = match scope::spawn(manager, unit, &own_executable()?, &args, variables, stderr) {
        Ok(child) => child,
        Err(why) => return Ok(Err(why)),
    };
    let Some(mut said) = child.take_stdout() else { return Ok(Err(never_began(child, log, said_before)?)) };
    let spoke = proc::wait_readable(&said, PATIENCE).map_err(RunError::io("cannot wait for the supervisor"))?;
    if spoke && begins(&mut said) { Ok(Ok(said)) } else { Ok(Err(never_began(child, log, said_before)?)) }
}

/// Makes sure that it never will; the answer is why not.
fn never_began(child: Detached, log: &Path, said_before: u64) -> Result<NoScope, RunError> {
    child.give_up().map_err(RunError::io("cannot end systemd-run"))?;
    let text = std::fs::read(log).map_err(RunError::io("cannot read the log of the supervisor"))?;
    let said = text.get(usize::try_from(said_before).unwrap_or(usize::MAX)..).unwrap_or_default();
    let said = String::from_utf8_lossy(said);
    let last = said.lines().last().map_or("it said nothing", str::trim);
    Ok(NoScope::Failed(last.to_owned()))
}

fn begins(said: &mut Output) -> bool {
    let mut word = [0; BEGUN.len()];
    said.read_exact(&mut word).is_ok() && word == BEGUN.as_bytes()
}

fn is_ready(said: Output) -> bool {
    let mut word = String::new();
    said.take(64).read_to_string(&mut word).is_ok() && word == READY
}

/// Makes itself at home in the scope; the second is what the journal says of it.
pub fn settle(place: &Place) -> (Option<Arc<Scope>>, Value) {
    let without = |why: &str| (None, json!({"unit": null, "why": why}));
    let unit = match place {
        Place::Plain(why) => return without(why),
        Place::Scope(unit) => unit,
    };
    match Scope::enter(unit) {
        Ok(scope) => {
            let keeps = scope.keeps();
            (Some(Arc::new(scope)), json!({"unit": unit, "memory": keeps.memory, "processes": keeps.processes}))
        }
        Err(error) => {
            tracing::warn!(%error, "no cgroups for the commands of this run");
            without(&error.to_string())
        }
    }
}
