//! The same errand in every repository that this user's treehand knows, each by a process of its own.
//!
//! So one repository has its own configuration, and one that hangs (a network that does not answer, a lock that nobody gives
//! back) is ended when its time is over and holds up no other. One that cannot be reached is kept; it counts as gone only where
//! `worktree::registry` has the proof. What the errand is, and what came of it, its verb knows.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::args::Global;
use super::error::CliError;
use super::output::{Output, plain};
use crate::model::cause::chain;
use crate::sys::proc::{self, InTime};
use crate::sys::{at_once, env};
use crate::worktree::registry::{self, Known};

/// What is to be done in each.
pub struct Errand<'a> {
    /// The verb and its flags.
    pub argv: Vec<OsString>,
    /// Flags of every command.
    pub global: &'a Global,
    /// The schema of the document that the verb answers with.
    pub schema: &'static str,
    /// Something is changed, not only planned.
    pub apply: bool,
    /// How long each may take.
    pub limit: Duration,
    /// What is said of one that takes longer.
    pub too_late: &'static str,
    /// Most that are done at once.
    pub at_once: usize,
}

/// What became of one repository.
#[derive(Default)]
pub struct Outcome {
    /// In a word: `done`, `planned`, `kept`, `failed`, or one of the verb's own.
    pub word: String,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// The exit code that it asks for.
    pub code: u8,
    /// Its own document, with what was said beside it.
    pub report: Value,
    /// What it said on standard error.
    pub said: String,
}

impl Outcome {
    /// One without a document.
    pub fn of(word: &str, why: String, code: u8) -> Outcome {
        Outcome { word: word.to_owned(), reason: Some(why), code, ..Outcome::default() }
    }
}

/// Every repository that is known, in the order of the registry, with what became of it; `place` finds in a document where
/// it is of.
pub struct Everywhere {
    /// The repositories.
    pub known: Vec<Known>,
    /// What became of each.
    pub outcomes: Vec<Outcome>,
    place: fn(&Value) -> &Value,
}

impl Everywhere {
    /// Each with what became of it and how it is called.
    pub fn each(&self) -> impl Iterator<Item = (&Known, &Outcome, String)> {
        let both = self.known.iter().zip(&self.outcomes);
        both.map(|(known, outcome)| (known, outcome, self.place(known, outcome)))
    }

    fn place(&self, known: &Known, outcome: &Outcome) -> String {
        let own = registry::own_directory(&known.common_dir).to_string_lossy().into_owned();
        (self.place)(&outcome.report).as_str().map_or(own, str::to_owned)
    }
}

impl Errand<'_> {
    /// Does it everywhere, several at once; `one` decides for each, and what each said beside its answer is said again.
    pub fn run(
        &self,
        out: &Output,
        place: fn(&Value) -> &Value,
        one: impl Fn(&OwnProgram<'_>, &Known) -> Outcome + Sync,
    ) -> Result<Everywhere, CliError> {
        let own = env::own_executable().map_err(|error| CliError::io("cannot find our own executable", &error))?;
        let program = OwnProgram { errand: self, own };
        let (known, mut outcomes) = (registry::all()?, Vec::new());
        at_once::each(
            &known,
            self.at_once,
            |known: &Known| one(&program, known),
            |_, outcome| {
                outcomes.push(outcome);
                Ok::<_, CliError>(())
            },
        )?;
        let everywhere = Everywhere { known, outcomes, place };
        for (_, outcome, place) in everywhere.each() {
            outcome.said.lines().for_each(|line| out.warn(format!("{}: {}", plain(&place), plain(line))));
        }
        Ok(everywhere)
    }
}

/// This program, on its errand.
pub struct OwnProgram<'a> {
    errand: &'a Errand<'a>,
    own: PathBuf,
}

impl OwnProgram<'_> {
    /// Does it in one repository; `understood` says what its document and its exit code mean.
    pub fn do_in(&self, known: &Known, understood: impl Fn(Value, u8) -> Outcome) -> Outcome {
        let argv = self.argv(known);
        let argv: Vec<&OsStr> = argv.iter().map(OsString::as_os_str).collect();
        match proc::run_within(&argv, "/".as_ref(), self.errand.limit) {
            Err(error) => Outcome::of("failed", format!("treehand cannot be started: {error}"), 1),
            Ok(InTime::TooLate) => Outcome::of("failed", self.errand.too_late.into(), 1),
            Ok(InTime::Ended { code, output, errors }) => {
                let said = String::from_utf8_lossy(&errors).into_owned();
                let report: Value = serde_json::from_slice(&output).unwrap_or_default();
                let outcome = match report["schema"] == self.errand.schema {
                    true => understood(report, code),
                    false => Outcome::of("failed", why_not(&report, code), 1),
                };
                Outcome { said, ..outcome }
            }
        }
    }

    fn argv(&self, known: &Known) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec![self.own.clone().into(), "-C".into(), known.common_dir.clone().into()];
        argv.extend(self.errand.argv.iter().cloned());
        argv.extend(self.errand.global.set.iter().map(|set| format!("--set={set}").into()));
        argv
    }

    /// A repository that was deleted or moved is known no longer, unless something of its tasks is left.
    pub fn forget(&self, known: &Known) -> Outcome {
        let reason = "it was deleted or moved, and nothing of it is left".to_owned();
        match known.left() {
            Ok(Some(root)) => {
                let why = format!("it was deleted or moved; what is left of its tasks stays in {}", root.display());
                Outcome::of("kept", why, 0)
            }
            Err(error) => {
                Outcome::of("kept", format!("what is left of its tasks cannot be looked at: {}", chain(&error)), 0)
            }
            Ok(None) if !self.errand.apply => Outcome::of("planned", reason, 0),
            Ok(None) => match known.forget() {
                Ok(()) => Outcome::of("done", reason, 0),
                Err(error) => Outcome::of("failed", chain(&error), 1),
            },
        }
    }
}

/// What an answer that is no document of the verb's says: an error, or nothing.
fn why_not(answer: &Value, code: u8) -> String {
    let words: Vec<&str> = ["message", "hint"].iter().filter_map(|part| answer[part].as_str()).collect();
    if words.is_empty() { format!("exit {code}") } else { words.join("; ") }
}
