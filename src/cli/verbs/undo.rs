//! `undo`: takes back the last operation that was not taken back yet, or the one named; with `--revert` by a new commit.
//!
//! A landing that others built on, or a place that is occupied again, refuses before anything is touched.

use serde_json::{Value, json};

use super::undo_landing;
use crate::cleanup::undo;
use crate::cleanup::undo::revert::{self, Begun, Reverted};
use crate::cli::args::UndoArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::record::RunRecord;
use crate::orchestrator::queue::asked;

/// Takes an operation back.
pub fn run(session: &Session, args: &UndoArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    if args.revert {
        return match revert::revert(&session.repo, &store, args.operation)? {
            Begun::Whole(reverted) => report(session, &reverted, None),
            Begun::ToLand(made) => undo_landing::land(session, &store, made),
        };
    }
    let undone = undo::undo(&session.repo, &store, args.operation)?;
    for of in &undone.queued {
        asked::attend_again(&session.repo, &store, (&of.run, &of.tasks), of.was_over)?;
    }
    let document = json!({"op": undone.op, "kind": undone.kind, "summary": undone.summary,
        "restored": undone.restored, "removed": undone.removed, "revert": Value::Null});
    let gone = undone.removed.iter().map(|branch| format!("; branch {branch}, made for it, is gone again"));
    let gone: String = gone.collect();
    session.out.answer("treehand/undo/v1", document, || format!("undone: {}{gone}\n", plain(&undone.summary)))?;
    Ok(0)
}

/// How it was taken back by a commit, which a run of its own landed if it had to land.
pub(super) fn report(session: &Session, reverted: &Reverted, run: Option<&RunRecord>) -> Result<u8, CliError> {
    let original = &reverted.original;
    let restored: [String; 0] = [];
    let (by, pushed) = (run.map(|run| &run.id), run.and_then(|run| run.push.as_ref()).map(ToString::to_string));
    let revert =
        json!({"op": reverted.op, "branch": reverted.branch, "commit": reverted.commit, "run": by, "pushed": pushed});
    let document = json!({"op": original.op, "kind": original.kind, "summary": original.summary,
        "restored": restored, "removed": restored, "revert": revert});
    let (branch, commit) = (&reverted.branch, reverted.commit.short());
    let also = pushed.map(|pushed| format!(" and {}", plain(&pushed))).unwrap_or_default();
    let text = || format!("undone by {commit} on {branch}{also}: {}\n", plain(&original.summary));
    session.out.answer("treehand/undo/v1", document, text)?;
    Ok(0)
}
