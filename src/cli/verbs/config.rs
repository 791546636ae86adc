//! `config show`: each value with where it came from.
//!
//! Works outside a repository too, without the project's file then.

use serde_json::{Value, json};

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain, table};
use crate::cli::session::{directory, resolve_config};
use crate::sys::git::Git;
use crate::worktree::Repository;

/// Shows the configuration.
pub fn show(global: &Global, out: &Output) -> Result<u8, CliError> {
    let repo = Repository::discover(&Git::open()?, &directory(global)?).ok();
    let tree = repo.and_then(|repo| repo.here.or(repo.main_tree));
    let resolved = resolve_config(global, tree.as_deref())?;
    for warning in &resolved.warnings {
        out.warn(plain(warning));
    }
    let row =
        |value: &crate::cli::config::ShownValue| vec![value.key.to_string(), plain(&value.value), plain(&value.origin)];
    let rows: Vec<Vec<String>> = resolved.origins.iter().map(row).collect();
    let document = |value: &crate::cli::config::ShownValue| json!({"key": value.key, "value": value.value, "origin": value.origin});
    let documents: Vec<Value> = resolved.origins.iter().map(document).collect();
    out.answer("treehand/config/v1", json!({"values": documents}), || table(&rows))?;
    Ok(0)
}
