//! Scan: the words that fit at a place, from clap, the store and the repository's refs.
//!
//! Looks where the command would look (`-C`), makes no store where there is none, and asks git for refs only where a
//! base or a branch is wanted. Whatever cannot be read offers nothing: a key press is no moment for an error.

use clap::{Arg, Command, ValueHint};

use super::kinds::{Kind, kind_of};
use super::place::{Place, Wanted};
use crate::cleanup::salvage::listed;
use crate::cleanup::salvage::saved::Saved;
use crate::cli::config::{self, Sources};
use crate::model::record::RunRecord;
use crate::orchestrator::agents::find;
use crate::store::Store;
use crate::sys::env;
use crate::sys::git::Git;
use crate::worktree::{Repository, store_place};

/// A word that fits, and what it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// The whole word.
    pub word: String,
    /// What it is, in a few words; may be empty.
    pub about: String,
}

/// What a shell is to offer.
#[derive(PartialEq, Eq, Debug)]
pub enum Offer {
    /// These words.
    Words(Vec<Candidate>),
    /// Files, as the shell completes them.
    Files,
    /// Directories, as the shell completes them.
    Directories,
    /// A command line, as far as the shell can.
    CommandLine,
}

/// Whatever could go wrong; nobody is told.
type Attempt<T> = Result<T, Box<dyn std::error::Error>>;

/// What to offer at this place.
pub fn offer(place: &Place<'_>) -> Attempt<Offer> {
    let found = match place.wanted {
        Wanted::Verb(command) => verbs(command),
        Wanted::Option(command) => options(command),
        Wanted::Escape => vec![named("--", "the command line comes next")],
        Wanted::CommandLine => return Ok(Offer::CommandLine),
        Wanted::Nothing => Vec::new(),
        Wanted::Value(arg) => match arg.get_value_hint() {
            ValueHint::DirPath => return Ok(Offer::Directories),
            ValueHint::AnyPath | ValueHint::FilePath => return Ok(Offer::Files),
            _ => values(place, arg)?,
        },
    };
    Ok(Offer::Words(fitting(place, found)))
}

/// Those that begin as the word does, each as the whole word.
fn fitting(place: &Place<'_>, found: Vec<Candidate>) -> Vec<Candidate> {
    // Of a list with commas the last part is meant.
    let (listed, last) = match place.wanted {
        Wanted::Value(arg) if arg.get_value_delimiter() == Some(',') => {
            place.current.rsplit_once(',').map_or(("", place.current.as_str()), |(_, last)| {
                (&place.current[..place.current.len() - last.len()], last)
            })
        }
        _ => ("", place.current.as_str()),
    };
    let fits = |candidate: &Candidate| candidate.word.starts_with(last) && !place.given.contains(&candidate.word);
    let whole =
        |candidate: Candidate| Candidate { word: format!("{}{listed}{}", place.lead, candidate.word), ..candidate };
    found.into_iter().filter(fits).map(whole).collect()
}

fn named(word: impl Into<String>, about: impl Into<String>) -> Candidate {
    Candidate { word: word.into(), about: about.into() }
}

fn verbs(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    shown.map(|inner| named(inner.get_name(), text(inner.get_about()))).collect()
}

fn options(command: &Command) -> Vec<Candidate> {
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional()).collect();
    let longs = shown.iter().filter_map(|arg| Some(named(format!("--{}", arg.get_long()?), text(arg.get_help()))));
    let only_short = shown.iter().filter(|arg| arg.get_long().is_none());
    let shorts = only_short.filter_map(|arg| Some(named(format!("-{}", arg.get_short()?), text(arg.get_help()))));
    longs.chain(shorts).collect()
}

fn text(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default()
}

fn values(place: &Place<'_>, arg: &Arg) -> Attempt<Vec<Candidate>> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        return Ok(shown.map(|value| named(value.get_name(), text(value.get_help()))).collect());
    }
    match kind_of(&place.verb, arg.get_id().as_str()).unwrap_or(Kind::Free) {
        Kind::Free => Ok(Vec::new()),
        Kind::Words(words) => Ok(words.iter().map(|word| named(*word, "")).collect()),
        Kind::Setting => Ok(settings()),
        Kind::Agent => agents(),
        kind => from_repository(place, kind),
    }
}

fn agents() -> Attempt<Vec<Candidate>> {
    let known = find::registry()?;
    let about = |name: &String| known.get(name).map(|profile| profile.summary);
    Ok(known.names().into_iter().map(|name| named(name.clone(), about(&name).unwrap_or_default())).collect())
}

fn settings() -> Vec<Candidate> {
    let defaults = config::resolve(&Sources::default()).map(|resolved| resolved.origins).unwrap_or_default();
    defaults.into_iter().map(|shown| named(format!("{}=", shown.key), shown.value)).collect()
}

fn from_repository(place: &Place<'_>, kind: Kind) -> Attempt<Vec<Candidate>> {
    let current = env::current_dir()?;
    let directory = place.directories.last().map_or(current.clone(), |directory| current.join(directory));
    let repo = Repository::discover(&Git::open()?, &directory)?;
    match kind {
        Kind::Branch => return refs(&repo, &["refs/heads/"]),
        Kind::Saved => return saved(&repo),
        Kind::Revision => return refs(&repo, &["refs/heads/", "refs/remotes/", "refs/tags/"]),
        _ => {}
    }
    let Some(store) = store_place::open_existing(&repo)? else { return Ok(Vec::new()) };
    match kind {
        Kind::Workspace => workspaces(&store),
        Kind::Place => Ok([workspaces(&store)?, targets(&store, &place.current)?].concat()),
        Kind::Target => targets(&store, &place.current),
        Kind::Unfinished => {
            let mut runs = store.runs()?;
            runs.retain(|run| !run.state.is_terminal());
            Ok(named_runs(&runs))
        }
        _ => operations(&store),
    }
}

fn workspaces(store: &Store) -> Attempt<Vec<Candidate>> {
    let all = store.workspaces()?;
    Ok(all.into_iter().map(|record| named(record.name.as_str(), format!("on {}", record.branch))).collect())
}

/// Runs; of the only one that fits its tasks too, so that a `/` needs no thought.
fn targets(store: &Store, current: &str) -> Attempt<Vec<Candidate>> {
    let run_part = current.split('/').next().unwrap_or_default();
    let mut runs = store.runs()?;
    runs.retain(|run| run.id.as_str().starts_with(run_part));
    let mut found = named_runs(&runs);
    if let ([only], false) = (&runs[..], run_part.is_empty()) {
        let tasks = store.tasks(&only.id)?;
        found.extend(tasks.iter().map(|task| named(format!("{}/{}", only.id, task.id), task.state.word())));
    }
    Ok(found)
}

/// Newest first.
fn named_runs(runs: &[RunRecord]) -> Vec<Candidate> {
    let about = |run: &RunRecord| run.spec.goal.clone().unwrap_or_else(|| run.state.word().to_owned());
    runs.iter().rev().map(|run| named(run.id.as_str(), about(run))).collect()
}

fn operations(store: &Store) -> Attempt<Vec<Candidate>> {
    let all = store.operations()?.into_iter().filter(|operation| !operation.undone);
    Ok(all.map(|operation| named(operation.op.to_string(), operation.summary)).collect())
}

fn saved(repo: &Repository) -> Attempt<Vec<Candidate>> {
    let about = |saved: &Saved| format!("of {}{}", saved.from, saved.at.map_or(String::new(), |at| format!(", {at}")));
    Ok(listed::names(repo)?.iter().map(|saved| named(saved.name.as_str(), about(saved))).collect())
}

fn refs(repo: &Repository, prefixes: &[&str]) -> Attempt<Vec<Candidate>> {
    let mut found = Vec::new();
    for prefix in prefixes {
        let names = repo.reader().refs_below(prefix)?.into_iter();
        let short = names.filter_map(|(name, _)| name.strip_prefix(prefix).map(str::to_owned));
        found.extend(short.filter(|name| !name.ends_with("/HEAD")).map(|name| named(name, "")));
    }
    Ok(found)
}
