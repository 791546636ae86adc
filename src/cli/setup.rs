//! What `new` has to do with setup steps: refuses in time what cannot be had, tells what they say, and says what became of them.
//!
//! What a step says is told line by line and cannot steer the terminal. The answer of the command comes after the last one.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Output, Paint, plain, size};
use super::session::Session;
use crate::confine::granted::Granted;
use crate::confine::{self, environment};
use crate::model::record::{ConfineLevel, WorkspaceRecord};
use crate::model::{Network, SetupStep, Variable, VariableName};
use crate::store::Store;
use crate::worktree::inside::Inside;
use crate::worktree::outputs::kept::Brought;
use crate::worktree::plain::named_sealed;
use crate::worktree::reach;
use crate::worktree::setup::{self, News, Outcome, Place, Took};

/// So many of the last lines of a step that failed are in the error.
const LAST_LINES: usize = 3;
/// Of a line without an end, so much is told at once.
const LINE_MAX: usize = 4096;

/// Refuses, before anything is made, what would keep the steps from running; what was granted is the answer.
pub fn check(session: &Session) -> Result<Option<Granted>, CliError> {
    let steps = &session.settings.worktree.setup;
    if steps.is_empty() {
        return Ok(None);
    }
    check_secrets(steps)?;
    let level = session.settings.confine.level;
    let granted = confine::require(level, &reach::ground(&session.repo))?;
    if let Some(caution) = confine::level::caution(level) {
        session.out.warn(caution);
    }
    let open = matches!(level, ConfineLevel::Off | ConfineLevel::External);
    if open && steps.iter().any(|step| step.net.as_ref().is_some_and(|net| *net != Network::Full)) {
        session.out.warn("`net` of a setup step is not enforced either: it has the network that you have");
    }
    Ok(Some(granted))
}

/// An error unless every secret is there, and written down nowhere.
fn check_secrets(steps: &[SetupStep]) -> Result<(), CliError> {
    let secrets: Vec<VariableName> = steps.iter().flat_map(|step| &step.secrets).cloned().collect();
    let variables = steps.iter().flat_map(|step| &step.env).filter_map(Variable::written);
    let texts: Vec<&String> = steps.iter().map(|step| &step.run).chain(variables).collect();
    for (name, value) in environment::secrets(&secrets)? {
        if texts.iter().any(|text| text.contains(&value)) {
            let message = format!("a setup step has the value of the secret `{name}` in it");
            return Err(CliError::usage(message).hint(format!("what is written there is kept: write ${name} instead")));
        }
    }
    Ok(())
}

/// Runs the steps in a workspace that was just made, with its ports; the ignored files that came along
/// are so many seconds older than where they came from. What the document says of them is the answer.
pub fn run(
    session: &Session,
    store: &Store,
    (record, ports, older): (&WorkspaceRecord, &[u16], u32),
    granted: Option<Granted>,
) -> Result<Value, CliError> {
    let (settings, Some(granted)) = (&session.settings, granted) else { return Ok(json!([])) };
    let steps = &settings.worktree.setup;
    let sealed = record.sealed.then(|| named_sealed(&session.repo, &settings.worktree.path, &record.name));
    let (sealed, bounds) = (sealed.transpose()?, settings.confine.bounds());
    let (sealed, level) = (sealed.as_ref(), settings.confine.level);
    let inside = Inside { repo: &session.repo, record, sealed, level, bounds: &bounds, ports };
    let place = Place { inside, granted, output_limit: settings.confine.limits.output, older };
    let mut told = Told { out: &session.out, begun: Vec::new(), last: VecDeque::new() };
    match setup::run(&place, store, steps, &mut |news| told.hear(news))? {
        Outcome::Ready(took) => {
            let one =
                |(step, took): (&SetupStep, Took)| json!({"command": step.run, "ms": took.ms, "cached": took.cached});
            Ok(steps.iter().zip(took).map(one).collect())
        }
        Outcome::Failed { step, message } => {
            // Who has just read them needs them no more.
            let untold = session.out.is_json() || session.out.is_quiet();
            let last: Vec<String> = told.last.into_iter().filter(|_| untold).collect();
            let said = if last.is_empty() { String::new() } else { format!(": {}", last.join(" / ")) };
            Err(CliError::setup(format!("the {message}{said}")).hint(what_now(record, &steps[step])))
        }
        Outcome::Interrupted { step, signal } => {
            let message = format!("interrupted in the setup step `{}`", steps[step].name());
            Err(CliError::interrupted(signal, message).hint(what_now(record, &steps[step])))
        }
    }
}

/// How to go on with a workspace that is not set up.
fn what_now(record: &WorkspaceRecord, step: &SetupStep) -> String {
    let name = &record.name;
    let mut flags = match &step.net {
        None => String::new(),
        Some(Network::None) => " --net none".to_owned(),
        Some(Network::Full) => " --net full".to_owned(),
        Some(Network::Hosts(hosts)) => {
            format!(" --net {}", hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
    };
    step.env.iter().for_each(|variable| flags.push_str(&format!(" --env {}", quoted(&variable.to_string()))));
    step.secrets.iter().for_each(|secret| flags.push_str(&format!(" --secret {secret}")));
    let again = format!("treehand exec {name}{flags} -- sh -c {}", quoted(&step.run));
    format!("the workspace stays; try again in it: {again}; or let it go: treehand rm {name}")
}

/// As a shell reads it back; of what a line cannot hold the place alone.
fn quoted(text: &str) -> String {
    if plain(text) == text { format!("'{}'", text.replace('\'', r"'\''")) } else { "…".to_owned() }
}

/// Tells what is going on, and remembers the last lines.
struct Told<'a> {
    out: &'a Output,
    begun: Vec<u8>,
    last: VecDeque<String>,
}

impl Told<'_> {
    fn hear(&mut self, news: News<'_>) {
        match news {
            News::Begins(step) => {
                self.last.clear();
                self.out.say(format!("{} {}", self.out.paint(Paint::Dim, "setup:"), plain(&step.run)));
            }
            News::Waits => self.out.say("  another workspace is at the same step: waiting for what it makes"),
            News::Brought(Brought { files, bytes, .. }) => {
                self.out.say(format!("  not run: {files} files ({}) from the last time", size(*bytes)));
            }
            News::NotKept(why) => self.out.say(format!("  what it made is not kept for the next workspace: {why}")),
            News::Said(bytes) => {
                self.begun.extend_from_slice(bytes);
                while let Some(end) = self.begun.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = self.begun.drain(..=end).collect();
                    self.line(&line);
                }
                if self.begun.len() > LINE_MAX {
                    self.rest();
                }
            }
            News::Ended => self.rest(),
        }
    }

    fn rest(&mut self) {
        let rest = std::mem::take(&mut self.begun);
        if !rest.is_empty() {
            self.line(&rest);
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let line = plain(String::from_utf8_lossy(bytes).trim_end());
        self.out.say(format!("  {line}").trim_end());
        if !line.is_empty() {
            self.last.push_back(line.trim_start().to_owned());
            self.last.drain(..self.last.len().saturating_sub(LAST_LINES));
        }
    }
}
