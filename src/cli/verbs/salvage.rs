//! `salvage`: what was saved before removals: listed, looked into, brought back as a branch, dropped.
//!
//! A whole removal comes back by `undo`; this is for a piece of one, or for what is older.

use serde_json::{Value, json};

use crate::cleanup::salvaged::{self, Salvaged};
use crate::cli::args::SalvageAction;
use crate::cli::error::CliError;
use crate::cli::output::{plain, print_bytes, table};
use crate::cli::session::Session;
use crate::model::{BranchName, Timestamp};

/// Does what was asked for.
pub fn run(session: &Session, action: &SalvageAction) -> Result<u8, CliError> {
    let all = salvaged::list(&session.repo)?;
    match action {
        SalvageAction::Ls => list(session, &all),
        SalvageAction::Show { name } => show(session, named(&all, name)?),
        SalvageAction::Restore { name, branch } => restore(session, named(&all, name)?, branch.as_ref()),
        SalvageAction::Drop { names, yes } => {
            let doomed = names.iter().map(|name| named(&all, name)).collect::<Result<Vec<_>, _>>()?;
            drop_all(session, &doomed, *yes)
        }
    }
}

/// The piece of this name or unique beginning.
fn named<'a>(all: &'a [Salvaged], name: &str) -> Result<&'a Salvaged, CliError> {
    if let Some(exact) = all.iter().find(|salvaged| salvaged.name == name) {
        return Ok(exact);
    }
    let matching: Vec<&Salvaged> = all.iter().filter(|salvaged| salvaged.name.starts_with(name)).collect();
    match (&matching[..], name.is_empty()) {
        ([only], false) => Ok(only),
        ([], _) | (_, true) => Err(CliError::not_found(format!("nothing was saved as `{}`", name.escape_debug()))
            .hint("list what there is: treehand salvage ls")),
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|salvaged| salvaged.name.as_str()).collect();
            Err(CliError::usage(format!("`{name}` could be any of {}", names.join(", "))))
        }
    }
}

fn expires_at(session: &Session, salvaged: &Salvaged) -> Timestamp {
    let retention = i64::try_from(session.settings.clean.retention.0.as_millis()).unwrap_or(i64::MAX);
    Timestamp(salvaged.at.0.saturating_add(retention))
}

fn document(session: &Session, salvaged: &Salvaged) -> Value {
    let part =
        |(part, reference, commit): &(String, String, _)| json!({"part": part, "ref": reference, "commit": commit});
    json!({
        "name": salvaged.name,
        "from": salvaged.from,
        "at": salvaged.at,
        "expires_at": expires_at(session, salvaged),
        "commit": salvaged.tip(),
        "parts": salvaged.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn list(session: &Session, all: &[Salvaged]) -> Result<u8, CliError> {
    let mut rows = vec![["NAME", "WHEN", "HOLDS", "EXPIRES"].map(str::to_owned).to_vec()];
    for salvaged in all {
        let parts: Vec<&str> = salvaged.parts.iter().map(|(part, ..)| part.as_str()).collect();
        let (at, expires) = (salvaged.at.to_string(), expires_at(session, salvaged).to_string());
        rows.push(vec![plain(&salvaged.name), at, parts.join(", "), expires]);
    }
    let documents: Vec<Value> = all.iter().map(|salvaged| document(session, salvaged)).collect();
    session.out.answer("treehand/salvage/v1", json!({"salvage": documents}), || table(&rows))?;
    Ok(0)
}

fn show(session: &Session, salvaged: &Salvaged) -> Result<u8, CliError> {
    let content = salvaged::content(&session.repo, salvaged)?;
    if !session.out.is_json() {
        for (id, subject) in &content.commits {
            session.out.say(format!("commit {} {}", id.get(..12).unwrap_or(id), plain(subject)));
        }
        print_bytes(&content.changes.patch)?;
        return Ok(0);
    }
    let commit = |(id, subject): &(String, String)| json!({"commit": id, "subject": subject});
    let file = |file: &crate::worktree::changes::FileChange| json!({"path": file.path, "status": file.status, "insertions": file.insertions, "deletions": file.deletions});
    let mut document = document(session, salvaged);
    document["commits"] = content.commits.iter().map(commit).collect();
    document["files"] = content.changes.files.iter().map(file).collect();
    document["patch"] = json!(String::from_utf8_lossy(&content.changes.patch));
    session.out.answer("treehand/salvage/v1", json!({"salvage": [document]}), String::new)?;
    Ok(0)
}

fn restore(session: &Session, salvaged: &Salvaged, branch: Option<&BranchName>) -> Result<u8, CliError> {
    let usual = || BranchName::parse(&format!("salvaged/{}", salvaged.from));
    let branch = branch.cloned().map_or_else(usual, Ok).map_err(|error| CliError::usage(error.to_string()))?;
    let commit = salvaged::restore(&session.repo, salvaged, &branch)?;
    let mut document = document(session, salvaged);
    document["branch"] = json!(branch);
    session.out.answer("treehand/salvage/v1", json!({"salvage": [document]}), || {
        format!("{branch} at {}; to work on it: treehand new NAME --base {branch}\n", commit.short())
    })?;
    Ok(0)
}

fn drop_all(session: &Session, doomed: &[&Salvaged], yes: bool) -> Result<u8, CliError> {
    if !yes {
        let names: Vec<&str> = doomed.iter().map(|salvaged| salvaged.name.as_str()).collect();
        let message = format!("dropping {} loses it for good", names.join(", "));
        return Err(CliError::refused(message).hint("look at it: treehand salvage show NAME; to drop it: --yes"));
    }
    for salvaged in doomed {
        salvaged::drop_it(&session.repo, salvaged)?;
    }
    let documents: Vec<Value> = doomed.iter().map(|salvaged| document(session, salvaged)).collect();
    session.out.answer("treehand/salvage/v1", json!({"salvage": documents}), || {
        doomed.iter().map(|salvaged| format!("dropped {}\n", plain(&salvaged.name))).collect()
    })?;
    Ok(0)
}
