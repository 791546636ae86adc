//! `doctor`: what this machine and repository can do, and the remedy for each problem.
//!
//! Only looks, but with `--repair`: then a damaged store is mended, and what a dead process was landing or undoing is
//! completed. Exit 0 only if the main job can run as configured; else the exit code that `run` would have.

use std::path::Path;

use serde_json::{Value, json};

use crate::cleanup;
use crate::cli::agents::seen;
use crate::cli::args::{DoctorArgs, Global};
use crate::cli::error::CliError;
use crate::cli::output::{Output, Paint, plain};
use crate::cli::session::{directory, resolve_config};
use crate::confine;
use crate::model::ByteSize;
use crate::model::cause::chain;
use crate::orchestrator;
use crate::orchestrator::agents::find;
use crate::store::Store;
use crate::sys::git::{Git, MINIMUM_VERSION};
use crate::sys::scope::{self, Manager};
use crate::worktree::moved;
use crate::worktree::place::{self, Place};
use crate::worktree::pool::{slot, wanted};
use crate::worktree::sealed::Identity;
use crate::worktree::{Repository, departed, parted, reach, store_place, update};

/// One thing that was looked at.
struct Check {
    name: &'static str,
    result: Result<Found, CliError>,
}

/// What is well, and what would make it better.
#[derive(Clone, Default)]
struct Found {
    detail: String,
    better: Option<&'static str>,
}

impl From<String> for Found {
    fn from(detail: String) -> Found {
        Found { detail, better: None }
    }
}

impl Check {
    fn new(name: &'static str, result: Result<impl Into<Found>, CliError>) -> Check {
        Check { name, result: result.map(Into::into) }
    }
}

/// Looks at everything.
pub fn run(global: &Global, args: &DoctorArgs, out: &Output) -> Result<u8, CliError> {
    let (mut checks, mut repaired, mut tree) = (Vec::new(), Vec::new(), None);
    let git = Git::open().map_err(CliError::from);
    let version = |git: &Git| format!("git {} (at least {MINIMUM_VERSION})", git.version());
    checks.push(Check::new("git_version", git.as_ref().map(version).map_err(copy)));
    let repo = match git {
        Ok(git) => Some(Repository::discover(&git, &directory(global)?).map_err(CliError::from)),
        Err(_) => None,
    };
    if let Some(repo) = repo {
        let place = |repo: &Repository| plain(&repo.common_dir.to_string_lossy());
        checks.push(Check::new("repository", repo.as_ref().map(place).map_err(copy)));
        if let Ok(repo) = &repo {
            tree = repo.here.clone().or(repo.main_tree.clone());
            if args.repair {
                repair(global, repo, &mut repaired)?;
            }
            checks.push(Check::new("place", whereabouts(repo)));
            checks.push(Check::new("departed", put_away(repo)));
            checks.push(Check::new("identity", identity(repo)));
            checks.push(Check::new("store", store(repo)));
            checks.push(Check::new("interrupted", interrupted(repo)));
            checks.push(Check::new("slots", slots(repo)));
            checks.push(Check::new("confinement", confinement(global, repo)));
        }
    }
    checks.push(Check::new("scope", Ok(a_scope())));
    checks.push(Check::new("agents", agents(global, tree.as_deref())));
    report(out, &checks, &repaired)
}

fn copy(error: &CliError) -> CliError {
    CliError { code: error.code, kind: error.kind, message: error.message.clone(), hint: error.hint.clone() }
}

/// Mends what can be mended without asking; what was done, in sentences.
fn repair(global: &Global, repo: &Repository, repaired: &mut Vec<String>) -> Result<(), CliError> {
    repaired.extend(parted::part(repo)?);
    // What follows goes by where things are.
    let stuck = departed::come_back(repo).and_then(|()| departed::stuck_of(repo));
    let stuck = stuck.unwrap_or_else(|error| vec![chain(&error)]);
    if !stuck.is_empty() {
        repaired.extend(stuck.into_iter().map(|why| format!("not repaired: {why}")));
        return Ok(());
    }
    if let Some(mended) = Store::repair(&store_place::store_dir(repo)?)? {
        let place = mended.set_aside.display();
        repaired
            .push(format!("the damaged store is set aside as {place}; {} records were carried over", mended.carried));
    }
    let Some(store) = store_place::open_existing(repo)? else { return Ok(()) };
    let settings = resolve_config(global, repo.here.as_deref().or(repo.main_tree.as_deref()))?.settings;
    repaired.extend(moved::repair(repo, &store, &settings.worktree.path)?);
    let landings = orchestrator::recover::recover(repo, &store)?;
    let others = cleanup::undo::recover::recover(repo, &store)?.recovered;
    repaired.extend(landings.settled.into_iter().chain(others.settled));
    repaired.extend(landings.blocked.into_iter().chain(others.blocked).map(|why| format!("not repaired: {why}")));
    Ok(())
}

/// Whether the repository is where it was when its workspaces were made.
fn whereabouts(repo: &Repository) -> Result<String, CliError> {
    let message = match place::place(&repo.common_dir)? {
        Place::Same => return Ok("where it was".into()),
        Place::MovedFrom(before) => format!("the repository was moved from {}", plain(&before.to_string_lossy())),
        Place::CopyOf(original) => format!("this is a copy of {}", plain(&original.to_string_lossy())),
    };
    let error = CliError { code: 1, kind: "moved", message, hint: None };
    Err(error.hint("bring its workspaces in order: treehand doctor --repair"))
}

/// Whether all is back that was put away while the repository was not to be found.
fn put_away(repo: &Repository) -> Result<String, CliError> {
    let stuck = departed::stuck_of(repo)?;
    let Some(first) = stuck.first() else { return Ok("nothing of it is put away".into()) };
    let error = CliError { code: 1, kind: "put_away", message: plain(first), hint: None };
    Err(error.hint("bring it back, or see why it does not come: treehand doctor --repair"))
}

fn identity(repo: &Repository) -> Result<String, CliError> {
    let identity = Identity::of_user(repo)?;
    Ok(plain(&format!("{} <{}>", identity.name, identity.email)))
}

fn store(repo: &Repository) -> Result<String, CliError> {
    let Some(store) = store_place::open_existing(repo)? else { return Ok("none yet".into()) };
    match store.check()?.first() {
        None => Ok("whole".into()),
        Some(first) => {
            let message = format!("the store is damaged: {}", plain(first));
            let error = CliError { code: 1, kind: "store_corrupt", message, hint: None };
            Err(error.hint("set it aside, keeping what can be read: treehand doctor --repair"))
        }
    }
}

/// What processes began and did not live to finish.
fn interrupted(repo: &Repository) -> Result<String, CliError> {
    let Ok(Some(store)) = store_place::open_existing(repo) else { return Ok("nothing".into()) };
    let landings = orchestrator::recover::open(&store)?.len();
    let undos = cleanup::undo::recover::open_undos(&store)?.len();
    let updates = update::open(&store)?.len();
    if landings + undos + updates > 0 {
        let message = format!(
            "{landings} landings, {undos} undos and {updates} updates died half-way: a checkout may be behind its branch"
        );
        let error = CliError { code: 1, kind: "interrupted", message, hint: None };
        return Err(error.hint("complete them: treehand doctor --repair"));
    }
    let removals = store.open_intents()?.len();
    Ok(match removals {
        0 => "nothing".into(),
        some => format!("{some} actions are under way or were interrupted; `treehand clean` shows which"),
    })
}

/// How many worktrees are ready, and why not as many as are wanted.
fn slots(repo: &Repository) -> Result<Found, CliError> {
    let Some(wanted) = wanted::wanted(repo) else {
        return Ok("no worktrees are kept ready (worktree.pool)".to_owned().into());
    };
    let ready = slot::ready(repo)?;
    let bytes: u64 = ready.iter().map(|slot| slot.record.bytes).sum();
    let at = ready.iter().filter(|slot| slot.record.commit == wanted.commit).count();
    let counted = format!("{} of {} ready, {at} at {}", ready.len(), wanted.terms.size, wanted.commit.short());
    let detail = format!("{counted}, {}", ByteSize(bytes));
    Ok(match wanted::failure(repo) {
        None => detail.into(),
        Some(failure) => Found {
            detail: plain(&format!("{detail}; none can be made of {}: {}", failure.commit.short(), failure.why)),
            better: Some("workspaces are written when they are made; to try no more: worktree.pool = 0"),
        },
    })
}

fn confinement(global: &Global, repo: &Repository) -> Result<String, CliError> {
    let resolved = resolve_config(global, repo.here.as_deref().or(repo.main_tree.as_deref()))?;
    let level = resolved.settings.confine.level;
    confine::require(level, &reach::ground(repo))?;
    Ok(match confine::level::caution(level) {
        Some(caution) => format!("{level}: {caution}"),
        None => format!("{level}: the self-test found no way out"),
    })
}

/// Whether the commands of a run get cgroups. Without any, their limits are kept all the same, by looking.
fn a_scope() -> Found {
    match scope::manager().and_then(|manager| scope::probe(manager).map(|()| manager)) {
        Ok(Manager::System) => "each run has a scope of the machine's systemd".to_owned().into(),
        Ok(Manager::User) => "each run has a scope of your systemd".to_owned().into(),
        Err(why) => {
            let detail = plain(&format!("{why}; without a scope for runs, limits are kept by looking"));
            Found { detail, better: why.remedy() }
        }
    }
}

/// The agents whose programs are there. A run of commands needs none.
fn agents(global: &Global, tree: Option<&Path>) -> Result<Found, CliError> {
    let options = resolve_config(global, tree)?.settings.agents;
    let found = seen::installed(&find::registry()?, &options)?;
    Ok(match found.is_empty() {
        true => Found { detail: "none found".into(), better: Some("see how to get one: treehand agents") },
        false => found.join(", ").into(),
    })
}

fn report(out: &Output, checks: &[Check], repaired: &[String]) -> Result<u8, CliError> {
    let document = |check: &Check| match &check.result {
        Ok(Found { detail, better }) => json!({"name": check.name, "ok": true, "detail": detail, "remedy": better}),
        Err(error) => json!({"name": check.name, "ok": false, "detail": error.message, "remedy": error.hint}),
    };
    let documents: Vec<Value> = checks.iter().map(document).collect();
    let code = checks.iter().find_map(|check| check.result.as_ref().err().map(|error| error.code)).unwrap_or(0);
    let text = || {
        let done = repaired.iter().map(|what| format!("{} {}\n", out.paint(Paint::Green, "fix"), plain(what)));
        let line = |check: &Check| match &check.result {
            Ok(Found { detail, better }) => {
                format!("{} {}: {detail}\n{}", out.paint(Paint::Green, "ok "), check.name, hint(*better))
            }
            Err(error) => {
                let hint = hint(error.hint.as_deref());
                format!("{} {}: {}\n{hint}", out.paint(Paint::Red, "bad"), check.name, error.message)
            }
        };
        done.chain(checks.iter().map(line)).collect()
    };
    let document = json!({"ok": code == 0, "checks": documents, "repaired": repaired});
    out.answer("treehand/doctor/v1", document, text)?;
    Ok(code)
}

fn hint(hint: Option<&str>) -> String {
    hint.map(|hint| format!("    hint: {hint}\n")).unwrap_or_default()
}
