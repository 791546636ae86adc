//! `logs`: what a run's attempts and the setup steps before them printed, in the order of attempts; `-f` goes on until the run
//! is over.
//!
//! The bytes are the children's own; of an agent whose output is made for programs a person reads what it says, and with `--raw` all of
//! it. On a terminal control characters are shown, not obeyed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::agent::output::Output;
use crate::agent::render;
use crate::cli::args::LogsArgs;
use crate::cli::error::CliError;
use crate::cli::output::{plain, print_bytes, print_document};
use crate::cli::session::Session;
use crate::cli::verbs::logs_document::{Document, Log, Text};
use crate::model::agent::AgentSetup;
use crate::model::record::RunRecord;
use crate::model::{RunId, SetupRecord, TaskId};
use crate::orchestrator::agents::equip;
use crate::orchestrator::context::RunError;
use crate::orchestrator::follow::{self, OnInterrupt};
use crate::store::Store;

/// Prints logs.
pub fn run(session: &Session, args: &LogsArgs) -> Result<u8, CliError> {
    let store = session.look()?;
    let (run, task) = session.target(&store, &args.target)?;
    let only = task.map(|task| task.id);
    if session.out.is_json() {
        return documents(session, &store, &run.id, only.as_ref());
    }
    let outputs = if args.raw { BTreeMap::new() } else { outputs(&run) };
    let mut printed = Printed { outputs, ..Printed::default() };
    printed.print_new(&store, &run.id, only.as_ref())?;
    if args.follow && !run.state.is_terminal() {
        let news = |store: &Store| {
            printed.print_new(store, &run.id, only.as_ref()).map_err(|error| RunError::Usage { message: error.message })
        };
        let _followed = follow::follow(&session.repo, &store, &run.id, None, OnInterrupt::Leave, news)?;
    }
    Ok(0)
}

/// How the output of each of a run's agents is read.
fn outputs(run: &RunRecord) -> BTreeMap<String, Output> {
    let of = |setup: &AgentSetup| Some((setup.name.clone(), equip::profile_of(run, &setup.name)?.output));
    run.agents.iter().filter_map(of).collect()
}

fn documents(session: &Session, store: &Store, run: &RunId, only: Option<&TaskId>) -> Result<u8, CliError> {
    let log = |Kept { task, n, step, path, .. }: Kept| {
        let (setup, error) = step.map(|step| (step.command, step.error)).unzip();
        let text = Text::of(&path);
        Log { attempt: n, error: error.flatten(), path: path.to_string_lossy().into_owned(), setup, task, text }
    };
    let logs = kept(store, run, only)?.into_iter().map(log).collect();
    let document = Document { logs, run, schema: "treehand/logs/v1" };
    print_document(&document)?;
    for failure in document.logs.iter().filter_map(|log| log.text.failure()) {
        session.out.warn(failure);
    }
    Ok(0)
}

/// A log: that of an attempt, or of a setup step before it.
struct Kept {
    task: TaskId,
    n: u32,
    step: Option<SetupRecord>,
    path: PathBuf,
    /// The agent whose words it has.
    agent: Option<String>,
    /// Nothing more comes.
    is_over: bool,
}

/// The logs in the order in which they were written; that of an attempt whose setup failed was not.
fn kept(store: &Store, run: &RunId, only: Option<&TaskId>) -> Result<Vec<Kept>, CliError> {
    let mut found = Vec::new();
    for task in store.tasks(run)?.into_iter().filter(|task| only.is_none_or(|id| *id == task.id)) {
        for attempt in task.attempts {
            let (id, n) = (&task.id, attempt.n);
            let step = |step: SetupRecord| Kept {
                task: id.clone(),
                n,
                path: step.log.clone(),
                step: Some(step),
                agent: None,
                is_over: true,
            };
            let started = attempt.setup.iter().all(|step| step.error.is_none());
            found.extend(attempt.setup.into_iter().map(step));
            let (agent, is_over) = (attempt.agent.map(|agent| agent.profile), attempt.ended_at.is_some());
            let own = || Kept { task: id.clone(), n, path: attempt.log, step: None, agent, is_over };
            found.extend(started.then(own));
        }
    }
    Ok(found)
}

/// How far each log has been printed.
#[derive(Default)]
struct Printed {
    offsets: BTreeMap<PathBuf, u64>,
    /// How the output of agents is read that is made for programs.
    outputs: BTreeMap<String, Output>,
    /// Setup steps whose failure has been said.
    failed: BTreeSet<PathBuf>,
}

impl Printed {
    fn print_new(&mut self, store: &Store, run: &RunId, only: Option<&TaskId>) -> Result<(), CliError> {
        let all = kept(store, run, only)?;
        let named = only.is_none() || all.iter().any(|log| log.step.is_some());
        for Kept { task, n, step, path, agent, is_over } in all {
            // The command has not started: what it says comes behind its setup.
            if step.is_none() && !path.exists() {
                continue;
            }
            let new = !self.offsets.contains_key(&path);
            let offset = self.offsets.entry(path.clone()).or_default();
            if new && named {
                let what = step.as_ref().map(|step| format!(", setup: {}", plain(&step.command))).unwrap_or_default();
                print_bytes(format!("==> {run}/{task} attempt {n}{what} <==\n").as_bytes())?;
            }
            *offset += match agent.and_then(|agent| self.outputs.get(&agent)) {
                Some(output) => print_said(&path, *offset, (output, is_over))?,
                None => print_from(&path, *offset)?,
            };
            if let Some(error) = step.and_then(|step| step.error)
                && self.failed.insert(path)
            {
                print_bytes(format!("==> {} <==\n", plain(&error)).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// A file from an offset on, if it is there.
fn open_at(path: &Path, offset: u64) -> Result<Option<File>, CliError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(path)(error)),
    };
    file.seek(SeekFrom::Start(offset)).map_err(unread(path))?;
    Ok(Some(file))
}

fn unread(path: &Path) -> impl Fn(std::io::Error) -> CliError + '_ {
    move |error| CliError::io(&format!("cannot read {}", path.display()), &error)
}

/// Prints what an agent says in its log, line by line, and says how much of that was read: a line that is not whole yet waits for
/// its rest.
fn print_said(path: &Path, offset: u64, (output, is_over): (&Output, bool)) -> Result<u64, CliError> {
    let Some(file) = open_at(path, offset)? else { return Ok(0) };
    let (mut reader, mut total) = (BufReader::new(file), 0);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).map_err(unread(path))?;
        if read == 0 || !(line.ends_with(b"\n") || is_over) {
            return Ok(total);
        }
        total += read as u64;
        if let Some(said) = render::line(output, line.strip_suffix(b"\n").unwrap_or(&line)) {
            print_bytes(format!("{said}\n").as_bytes())?;
        }
    }
}

/// Prints a file from an offset on, in pieces, and says how much that was.
fn print_from(path: &Path, offset: u64) -> Result<u64, CliError> {
    let Some(mut file) = open_at(path, offset)? else { return Ok(0) };
    let (mut buffer, mut total) = (vec![0u8; 64 * 1024], 0u64);
    let terminal = std::io::stdout().is_terminal();
    loop {
        let read = file.read(&mut buffer).map_err(unread(path))?;
        if read == 0 {
            return Ok(total);
        }
        total += read as u64;
        if terminal { print_bytes(&harmless(&buffer[..read]))? } else { print_bytes(&buffer[..read])? }
    }
}

fn harmless(bytes: &[u8]) -> Vec<u8> {
    let shown = |byte: &u8| match byte {
        b'\n' | b'\t' => vec![*byte],
        0..=31 | 127 => format!("\\x{byte:02x}").into_bytes(),
        other => vec![*other],
    };
    bytes.iter().flat_map(shown).collect()
}
