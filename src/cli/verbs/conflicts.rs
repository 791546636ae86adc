//! `conflicts`: which open results would conflict with each other, or with the branch that they are meant for, and in which files.
//!
//! Looks only. That there are conflicts is the answer, not a failure: exit 0.

use serde_json::{Value, json};

use crate::cli::args::ConflictsArgs;
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::worktree::radar::{self, ConflictFile, Radar};

/// Looks at what is open.
pub fn run(session: &Session, args: &ConflictsArgs) -> Result<u8, CliError> {
    let store = session.look()?;
    let found = radar::look(&session.repo, &store, args.into.as_deref(), session.lookup(true))?;
    if !session.out.is_json() {
        for unreadable in &found.unreadable {
            session.out.warn(format!("{}: {}", plain(&unreadable.name), plain(&unreadable.reason)));
        }
    }
    session.out.answer("treehand/conflicts/v1", document(&found), || text(&found))?;
    Ok(0)
}

fn document(found: &Radar) -> Value {
    let paths = |files: &[ConflictFile]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let hunks = |files: &[ConflictFile]| files.iter().map(|file| file.hunks).collect::<Vec<_>>();
    let pair = |clash: &radar::Clash| json!({"a": clash.a, "b": clash.b, "paths": paths(&clash.files), "hunks": hunks(&clash.files)});
    let against = |against: &radar::Against| json!({"a": against.a, "paths": paths(&against.files), "hunks": hunks(&against.files)});
    let unreadable = |unreadable: &radar::Unreadable| json!({"name": unreadable.name, "reason": unreadable.reason});
    json!({
        "into": found.into.as_str(),
        "results": found.results,
        "pairs": found.pairs.iter().map(pair).collect::<Vec<_>>(),
        "target": found.against_target.iter().map(against).collect::<Vec<_>>(),
        "unreadable": found.unreadable.iter().map(unreadable).collect::<Vec<_>>(),
    })
}

fn text(found: &Radar) -> String {
    let against = found.against_target.iter().map(|against| (&against.a, found.into.as_str(), &against.files));
    let pairs = found.pairs.iter().map(|clash| (&clash.a, clash.b.as_str(), &clash.files));
    let lines: String = against
        .chain(pairs)
        .map(|(a, b, files)| format!("{} and {}: {}\n", plain(a), plain(b), listed(files)))
        .collect();
    if lines.is_empty() { "nothing conflicts\n".to_owned() } else { lines }
}

fn listed(files: &[ConflictFile]) -> String {
    files.iter().map(|file| plain(&file.path)).collect::<Vec<_>>().join(", ")
}
