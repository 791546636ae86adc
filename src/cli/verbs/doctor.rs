//! `doctor`: what this machine and repository can do, and the remedy for each problem.
//!
//! Only looks. Exit 0 only if the main job can run as configured; else the exit code that `run` would have.

use serde_json::{Value, json};

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::output::{Output, Paint, plain};
use crate::cli::session::{directory, resolve_config};
use crate::confine;
use crate::store::Store;
use crate::sys::git::{Git, MINIMUM_VERSION};
use crate::worktree::Repository;
use crate::worktree::sealed::Identity;

/// One thing that was looked at.
struct Check {
    name: &'static str,
    result: Result<String, CliError>,
}

/// Looks at everything.
pub fn run(global: &Global, out: &Output) -> Result<u8, CliError> {
    let mut checks = Vec::new();
    let git = Git::open().map_err(CliError::from);
    let version = |git: &Git| format!("git {} (at least {MINIMUM_VERSION})", git.version());
    checks.push(Check { name: "git_version", result: git.as_ref().map(version).map_err(copy) });
    let repo = match git {
        Ok(git) => Some(Repository::discover(&git, &directory(global)?).map_err(CliError::from)),
        Err(_) => None,
    };
    if let Some(repo) = repo {
        let place = |repo: &Repository| plain(&repo.common_dir.to_string_lossy());
        checks.push(Check { name: "repository", result: repo.as_ref().map(place).map_err(copy) });
        if let Ok(repo) = &repo {
            checks.push(Check { name: "identity", result: identity(repo) });
            checks.push(Check { name: "store", result: store(repo) });
            checks.push(Check { name: "confinement", result: confinement(global, repo) });
        }
    }
    report(out, &checks)
}

fn copy(error: &CliError) -> CliError {
    CliError { code: error.code, kind: error.kind, message: error.message.clone(), hint: error.hint.clone() }
}

fn identity(repo: &Repository) -> Result<String, CliError> {
    let identity = Identity::of_user(repo)?;
    Ok(plain(&format!("{} <{}>", identity.name, identity.email)))
}

fn store(repo: &Repository) -> Result<String, CliError> {
    let Some(store) = Store::open_existing(&repo.state_dir())? else { return Ok("none yet".into()) };
    let findings = store.check()?;
    if let Some(first) = findings.first() {
        let message = format!("the store is damaged: {}", plain(first));
        let hint =
            format!("move {} away; refs and worktrees are not in it", repo.state_dir().join("state.db").display());
        return Err(CliError { code: 1, kind: "store_corrupt", message, hint: None }.hint(hint));
    }
    let open = store.open_intents()?.len();
    Ok(format!("whole; {open} interrupted actions"))
}

fn confinement(global: &Global, repo: &Repository) -> Result<String, CliError> {
    let resolved = resolve_config(global, repo.here.as_deref().or(repo.main_tree.as_deref()))?;
    let level = resolved.settings.confine.level;
    confine::require(level)?;
    Ok(format!("{level}: {}", confine::level::NOTHING_CONFINES))
}

fn report(out: &Output, checks: &[Check]) -> Result<u8, CliError> {
    let document = |check: &Check| match &check.result {
        Ok(detail) => json!({"name": check.name, "ok": true, "detail": detail, "remedy": Value::Null}),
        Err(error) => json!({"name": check.name, "ok": false, "detail": error.message, "remedy": error.hint}),
    };
    let documents: Vec<Value> = checks.iter().map(document).collect();
    let code = checks.iter().find_map(|check| check.result.as_ref().err().map(|error| error.code)).unwrap_or(0);
    let text = || {
        let line = |check: &Check| match &check.result {
            Ok(detail) => format!("{} {}: {detail}\n", out.paint(Paint::Green, "ok "), check.name),
            Err(error) => {
                let hint = error.hint.as_ref().map(|hint| format!("    hint: {hint}\n")).unwrap_or_default();
                format!("{} {}: {}\n{hint}", out.paint(Paint::Red, "bad"), check.name, error.message)
            }
        };
        checks.iter().map(line).collect()
    };
    out.answer("treehand/doctor/v1", json!({"ok": code == 0, "checks": documents}), text)?;
    Ok(code)
}
