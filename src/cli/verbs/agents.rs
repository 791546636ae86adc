//! `agents`: the profiles that there are, which of their programs are installed, and what each needs.
//!
//! Looks only, and needs no repository. An own profile that cannot be gone by is an error: no run of it would start.

use serde_json::json;

use crate::cli::agents::{listing, seen};
use crate::cli::agents_args::{AgentsAction, AgentsArgs};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::listing::{Cell, line};
use crate::cli::output::Output;
use crate::cli::session::{Session, directory, resolve_config};
use crate::cli::verbs::agents_check;
use crate::orchestrator::agents::find::{self, Options};
use crate::sys::git::Git;
use crate::worktree::{Repository, WorktreeError};

/// Lists agents, or checks one.
pub fn run(global: &Global, args: &AgentsArgs, out: &Output) -> Result<u8, CliError> {
    match &args.action {
        None => list(global, out),
        Some(AgentsAction::Check(args)) => agents_check::run(&Session::open(global, out)?, args),
    }
}

fn list(global: &Global, out: &Output) -> Result<u8, CliError> {
    let all = seen::all(&find::registry()?, &options(global, out)?)?;
    let documents: Vec<_> = all.iter().map(listing::document).collect();
    out.answer("treehand/agents/v1", json!({"agents": documents}), || {
        let mut rows: Vec<Vec<Cell>> = vec![listing::HEAD.map(|head| (head.to_owned(), None)).to_vec()];
        rows.extend(all.iter().map(listing::cells));
        let widths = listing::widths(&rows, out.terminal_size().map(|(columns, _)| columns));
        rows.iter().map(|row| line(out, row, &widths)).collect()
    })?;
    Ok(0)
}

/// What is said of agents where one stands; outside of repositories the user's own configuration says it.
fn options(global: &Global, out: &Output) -> Result<Options, CliError> {
    let tree = match Repository::discover(&Git::open()?, &directory(global)?) {
        Ok(repo) => repo.here.or(repo.main_tree),
        Err(WorktreeError::NoRepository { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let resolved = resolve_config(global, tree.as_deref())?;
    resolved.warnings.iter().for_each(|warning| out.warn(warning));
    Ok(resolved.settings.agents)
}
