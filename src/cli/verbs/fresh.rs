//! `fresh`: how workspaces stand to the newest tips of their bases, the remotes asked.
//!
//! Changes nothing in a workspace. With `--check`, exit 6 when any is stale or diverged.

use serde_json::json;

use crate::cli::args::FreshArgs;
use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;
use crate::model::Freshness;
use crate::worktree::status::Survey;

/// Reports freshness.
pub fn run(session: &Session, args: &FreshArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let records = if args.names.is_empty() {
        store.workspaces()?
    } else {
        args.names.iter().map(|name| session.workspace(&store, name)).collect::<Result<_, _>>()?
    };
    let mut rows = vec![["NAME", "FRESHNESS", "BASE", "AHEAD", "BEHIND"].map(str::to_owned).to_vec()];
    let (mut documents, mut missing, mut behind) = (Vec::new(), String::new(), false);
    let mut survey = Survey::begin(&session.repo, session.lookup(args.offline))?;
    for record in &records {
        let (base, reason) = survey.freshness(record)?;
        if let Some(reason) = &reason {
            session.out.warn(format!("{}: {}", record.name, plain(reason)));
        }
        behind |= matches!(base.freshness, Freshness::Stale | Freshness::Diverged);
        let word = base.freshness.word().to_owned();
        let (ahead, lacks) = (base.ahead.to_string(), base.behind.to_string());
        rows.push(vec![record.name.to_string(), word, plain(&base.reference), ahead, lacks]);
        for subject in &base.missing {
            missing.push_str(&format!("  {} lacks: {}\n", record.name, plain(subject)));
        }
        documents.push(json!({"name": record.name, "base": base, "updated": false, "reason": reason}));
    }
    session.out.answer("treehand/freshness/v1", json!({"workspaces": documents}), || table(&rows) + &missing)?;
    Ok(if args.check && behind { 6 } else { 0 })
}
