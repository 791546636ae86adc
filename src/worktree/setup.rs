//! Setup steps in a person's new workspace: run in order and confined, told while they run, until one fails or a signal comes.
//!
//! They share a home and a temporary directory of their own, which go with the last one. The workspace stays whatever becomes of
//! them: it was whole before. Also says for everybody what launches a step and how the end of one is put.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::{Result, WorktreeError};
use super::inside::{Furnished, Inside};
use super::narrated::{self, Growing, Heard};
use super::outputs::ages::Ages;
use super::outputs::kept::{self, Brought, Outputs, Turn, Workspace};
use super::reach;
use crate::confine::Launch;
use crate::confine::environment::SecretError;
use crate::confine::granted::Granted;
use crate::confine::policy::LogPlan;
use crate::confine::shim::Stopped;
use crate::confine::view::System;
use crate::model::{ByteSize, SetupStep, Token};
use crate::store::{EntryDraft, Store};
use crate::sys::interrupt::Held;
use crate::sys::{fs, random};

/// How long a lock that gives no event is left alone between two looks.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The command line of a step.
pub fn argv(step: &SetupStep) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), step.run.clone()]
}

/// Gives a launch what a step has of its own: its command, variables, secrets, network and deadline.
pub fn give(launch: &mut Launch, step: &SetupStep) -> std::result::Result<(), SecretError> {
    launch.argv = argv(step);
    launch.give(&step.env, &step.secrets)?;
    if let Some(network) = &step.net {
        launch.network.clone_from(network);
    }
    launch.timeout = Some(step.deadline());
    Ok(())
}

/// Why a step that ended like this failed; `None` when it did not.
pub fn failure(
    step: &SetupStep,
    (exit, signal, stopped): (Option<i32>, Option<i32>, Option<Stopped>),
) -> Option<String> {
    let how = match (stopped, exit, signal) {
        (None, Some(0), _) => return None,
        (Some(Stopped::Timeout), ..) => format!("it ran out of time ({})", crate::model::Span(step.deadline())),
        (Some(why), ..) => why.to_string(),
        (None, Some(code), _) => format!("exit {code}"),
        (None, None, Some(signal)) => format!("signal {signal}"),
        (None, None, None) => "it ended in an unknown way".to_owned(),
    };
    Some(format!("setup step `{}` failed: {how}", step.name()))
}

/// What happens meanwhile.
pub enum News<'a> {
    /// A step begins.
    Begins(&'a SetupStep),
    /// Another workspace is at the same step, and what it makes may be what this one needs.
    Waits,
    /// It is not run: this is what it made before.
    Brought(&'a Brought),
    /// What it made is not kept for the next workspace, for this reason.
    NotKept(&'a str),
    /// It said this.
    Said(&'a [u8]),
    /// It has ended.
    Ended,
}

/// What a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// Milliseconds.
    pub ms: u64,
    /// It was not run: what it makes was there from before.
    pub cached: bool,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step did its work, in order.
    Ready(Vec<Took>),
    /// One did not.
    Failed {
        /// Which, counted from 0.
        step: usize,
        /// A sentence that names it.
        message: String,
    },
    /// A signal came.
    Interrupted {
        /// During which, counted from 0.
        step: usize,
        /// The signal's number.
        signal: u32,
    },
}

/// Where steps are to run.
pub struct Place<'a> {
    /// The workspace.
    pub inside: Inside<'a>,
    /// The proof that its level of confinement was granted.
    pub granted: Granted,
    /// Most bytes of each of a step's streams that are told.
    pub output_limit: ByteSize,
    /// How many seconds older the ignored files got that came along.
    pub older: u32,
}

/// Runs the steps.
pub fn run(
    place: &Place<'_>,
    store: &Store,
    steps: &[SetupStep],
    observe: &mut dyn FnMut(News<'_>),
) -> Result<Outcome> {
    let held = Held::hold().map_err(WorktreeError::Signals)?;
    let machine = reach::machine(place.inside.repo);
    let token = random::token().map_err(WorktreeError::Random)?;
    let logs = reach::directory_of_command(&token)?;
    fs::create_private_dir_all(&logs)?;
    let furnished = place.inside.furnish(&machine, (Vec::new(), token));
    let ran = furnished.and_then(|furnished| {
        let ran = in_order(place, store, steps, &furnished, (&machine, &held, &logs), observe);
        furnished.leave().and(ran)
    });
    fs::remove_tree(&logs)?;
    for path in place.inside.mend()? {
        tracing::warn!("a setup step replaced {}, which says where the git dir is; it was put back", path.display());
    }
    ran
}

fn in_order(
    place: &Place<'_>,
    store: &Store,
    steps: &[SetupStep],
    furnished: &Furnished,
    (machine, held, logs): (&System, &Held, &Path),
    observe: &mut dyn FnMut(News<'_>),
) -> Result<Outcome> {
    // A step may find what one before it has left in their home.
    let (mut all, mut ages, mut secrets) = (Vec::new(), Ages::default(), Vec::new());
    let admin = place.inside.admin()?;
    for (n, step) in steps.iter().enumerate() {
        let begun = Instant::now();
        let took = |cached| Took { ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), cached };
        observe(News::Begins(step));
        let key = key_of(place, (&steps[..n], step), &admin)?;
        let outputs = key.as_deref().map(|key| place.outputs(step, key, &admin));
        let turn = outputs.as_ref().map(|outputs| turn(outputs, held, observe)).transpose()?;
        match &turn {
            Some(Err(signal)) => return Ok(Outcome::Interrupted { step: n, signal: *signal }),
            Some(Ok(Turn::Brought(brought))) => {
                outputs.as_ref().map_or(Ok(()), |outputs| ages.follow(outputs, brought))?;
                observe(News::Brought(brought));
                all.push(took(true));
                continue;
            }
            Some(Ok(Turn::Mine(_) | Turn::Taken)) | None => ages.end(),
        }
        let mut launch = furnished.launch.clone();
        give(&mut launch, step)?;
        let output = logs.join(format!("setup-{}.log", n + 1));
        let record = output.with_extension("end.json");
        launch.log = Some(LogPlan { output: output.clone(), limit: place.output_limit.0, record });
        note(place, store, step, &launch)?;
        let mut log = Growing::begin(&output)?;
        let shim = launch.start(place.granted, machine)?;
        let Heard { ended, signal } = narrated::listen(shim, &mut log, held, &mut |bytes| observe(News::Said(bytes)))?;
        observe(News::Ended);
        if let Some(signal) = signal {
            return Ok(Outcome::Interrupted { step: n, signal });
        }
        if let Some(message) = failure(step, (ended.exit, ended.signal, ended.stopped)) {
            return Ok(Outcome::Failed { step: n, message });
        }
        // The turn lasts until others can have it.
        secrets.append(&mut launch.secrets);
        if let Some(why) = outputs.and_then(|outputs| outputs.keep_or_why(&secrets)) {
            observe(News::NotKept(&why));
        }
        all.push(took(false));
    }
    Ok(Outcome::Ready(all))
}

/// Waits until it is known who makes what a step makes; the number of a signal that comes first.
fn turn(
    outputs: &Outputs<'_>,
    held: &Held,
    observe: &mut dyn FnMut(News<'_>),
) -> Result<std::result::Result<Turn, u32>> {
    let mut told = false;
    loop {
        match outputs.turn()? {
            Turn::Taken => {}
            turn => return Ok(Ok(turn)),
        }
        if let Some(signal) = held.noticed().map_err(WorktreeError::Signals)? {
            return Ok(Err(signal));
        }
        if !std::mem::replace(&mut told, true) {
            observe(News::Waits);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn key_of(place: &Place<'_>, steps: (&[SetupStep], &SetupStep), admin: &Path) -> Result<Option<String>> {
    let Inside { repo, record, level, .. } = place.inside;
    let git = |args: &[&str]| repo.bare(args);
    kept::key(Workspace { tree: &record.path, commit: &record.base.commit, git: &git, admin, level }, steps)
}

impl Place<'_> {
    fn outputs<'a>(&'a self, step: &'a SetupStep, key: &'a str, admin: &'a Path) -> Outputs<'a> {
        let Inside { repo, record, .. } = self.inside;
        let commit = &record.base.commit;
        Outputs { repo, step, key, tree: &record.path, commit, trusted: commit, admin, older: self.older }
    }
}

fn note(place: &Place<'_>, store: &Store, step: &SetupStep, launch: &Launch) -> Result<()> {
    let (name, level): (_, _) = (&place.inside.record.name, place.inside.level);
    let token: &Token = &launch.token;
    let data = json!({"workspace": name, "command": step.run, "confine": level, "net": launch.network, "token": token});
    store.note(&EntryDraft::new("setup", data))?;
    tracing::info!(workspace = %name, confine = %level, net = %json!(launch.network), deadline = ?launch.timeout, "setup step: {}", step.run);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::policy::LimitKind;

    #[test]
    fn the_end_of_a_step_names_it_and_says_how() {
        let step = SetupStep { timeout: "90s".parse().ok(), ..SetupStep::plain("npm ci") };
        let check = |end, expected: Option<&str>| {
            let expected = expected.map(|how| format!("setup step `npm ci` failed: {how}"));
            assert_eq!(failure(&step, end), expected, "{end:?}");
        };
        check((Some(0), None, None), None);
        check((Some(1), None, None), Some("exit 1"));
        check((None, Some(9), None), Some("signal 9"));
        check((Some(0), None, Some(Stopped::Timeout)), Some("it ran out of time (90s)"));
        check((None, None, None), Some("it ended in an unknown way"));
        let disk = Stopped::Limit(LimitKind::Disk);
        check((None, Some(9), Some(disk)), Some(&disk.to_string()));
        let script = SetupStep::plain("\n  set -e\n  make deps\n");
        assert_eq!(failure(&script, (Some(2), None, None)).as_deref(), Some("setup step `set -e …` failed: exit 2"));
    }
}
