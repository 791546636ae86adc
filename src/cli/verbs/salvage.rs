//! `salvage`: what was saved before removals: listed, shown, made a branch of, dropped for good.
//!
//! Every name is resolved before anything happens. Only `drop` takes anything away, and only when told `--yes`.

use serde_json::{Value, json};

use super::{diff, new};
use crate::cleanup::salvage::listed::{self, Restored, Salvage};
use crate::cleanup::salvage::saved::{self, Saved, Unresolved};
use crate::cli::args::{NewArgs, SalvageAction, SalvageDropArgs, SalvageRestoreArgs};
use crate::cli::error::CliError;
use crate::cli::output::{plain, print_bytes, table};
use crate::cli::session::Session;
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, WorkspaceName};

/// The schema of all four.
const SCHEMA: &str = "treehand/salvage/v1";

/// Does one of the four.
pub fn run(session: &Session, action: &SalvageAction) -> Result<u8, CliError> {
    let salvage = listed::scan(&session.repo)?;
    match action {
        SalvageAction::Ls => list(session, &salvage),
        SalvageAction::Show(args) => show(session, &salvage, resolve(&salvage, &args.saved)?),
        SalvageAction::Restore(args) => restore(session, &salvage, args),
        SalvageAction::Drop(args) => drop(session, &salvage, args),
    }
}

fn resolve<'a>(salvage: &'a Salvage, text: &str) -> Result<&'a Saved, CliError> {
    saved::resolve(&salvage.saved, text).map_err(|why| match why {
        Unresolved::Unknown => CliError::not_found(format!("nothing is saved under `{}`", text.escape_debug()))
            .hint("list what is: treehand salvage ls"),
        Unresolved::Several(names) => {
            CliError::usage(format!("`{}` could be any of {}", text.escape_debug(), plain(&names.join(", "))))
        }
    })
}

fn list(session: &Session, salvage: &Salvage) -> Result<u8, CliError> {
    let mut rows = vec![["NAME", "WHEN", "FROM", "COMMITS", "FILES", "EXPIRES", "REF"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for saved in &salvage.saved {
        let extent = salvage.extent(saved, session.settings.clean.retention.0);
        let moment = |at: Option<crate::model::Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
        rows.push(vec![
            plain(&saved.name),
            moment(saved.at),
            plain(&saved.from),
            extent.commits.to_string(),
            extent.files.to_string(),
            moment(extent.expires_at),
            plain(&saved.main.reference),
        ]);
        documents.push(document(session, salvage, saved));
    }
    let text = || if documents.is_empty() { "nothing is saved\n".to_owned() } else { table(&rows) };
    session.out.answer(SCHEMA, json!({"salvage": documents}), text)?;
    Ok(0)
}

fn document(session: &Session, salvage: &Salvage, saved: &Saved) -> Value {
    let extent = salvage.extent(saved, session.settings.clean.retention.0);
    let part = |part: &saved::Part| {
        json!({"part": part.part, "ref": part.reference,
        "commit": part.commit, "uncommitted": part.uncommitted})
    };
    json!({
        "name": saved.name, "ref": saved.main.reference, "commit": saved.main.commit, "at": saved.at,
        "from": saved.from, "commits": extent.commits, "files": extent.files, "expires_at": extent.expires_at,
        "parts": saved.parts().map(part).collect::<Vec<_>>(), "bundle": saved.bundle(),
    })
}

fn show(session: &Session, salvage: &Salvage, saved: &Saved) -> Result<u8, CliError> {
    let (base, changes) = salvage.changes(&session.repo, saved)?;
    if session.out.is_json() {
        let mut document = diff::document(&changes);
        document["name"] = json!(saved.name);
        document["ref"] = json!(saved.main.reference);
        document["commit"] = json!(saved.main.commit);
        document["base"] = json!(base);
        session.out.answer(SCHEMA, document, String::new)?;
    } else {
        let since = base.as_ref().map_or("nothing".to_owned(), |base| base.short().to_owned());
        session.out.say(format!("{} holds {} on top of {since}", plain(&saved.name), plain(&saved.main.reference)));
        print_bytes(&changes.patch)?;
    }
    Ok(0)
}

fn restore(session: &Session, salvage: &Salvage, args: &SalvageRestoreArgs) -> Result<u8, CliError> {
    let saved = resolve(salvage, &args.saved)?;
    let branch = match &args.branch {
        Some(branch) => branch.clone(),
        None => BranchName::parse(&format!("salvaged/{}", saved.name))
            .map_err(|error| CliError::refused(error.to_string()).hint("name another: --branch BRANCH"))?,
    };
    // Before anything is made.
    args.workspace.as_deref().map(|name| is_free(session, name)).transpose()?;
    let made = salvage.restore(&session.repo, saved, &branch)?;
    let workspace = args.workspace.as_ref().map(|name| workspace_on(session, name, &branch)).transpose()?;
    let (record, workspace) = workspace.unzip();
    let document = json!({"name": saved.name, "ref": saved.main.reference, "commit": saved.main.commit,
        "branch": branch, "branches": made, "workspace": workspace});
    session.out.answer(SCHEMA, document, || restored(saved, &made, record.as_ref()))?;
    Ok(0)
}

fn is_free(session: &Session, name: &str) -> Result<(), CliError> {
    let name = WorkspaceName::parse(name).map_err(|error| CliError::usage(error.to_string()))?;
    match session.store()?.workspace(&name)? {
        None => Ok(()),
        Some(_) => Err(CliError::refused(format!("there is a workspace `{name}` already")).hint("name another one")),
    }
}

/// A workspace that starts from a branch that is there now, and that nobody needs to be asked for.
fn workspace_on(session: &Session, name: &str, branch: &BranchName) -> Result<(WorkspaceRecord, Value), CliError> {
    let (name, base) = (name.to_owned(), Some(branch.to_string()));
    let args = NewArgs { name, base, offline: true, ..NewArgs::default() };
    let kept = |error: CliError| error.hint(format!("it is on the branch {branch}: treehand new NAME --base {branch}"));
    let (record, _, document) = new::make(session, &args).map_err(kept)?;
    Ok((record, document))
}

fn restored(saved: &Saved, made: &[Restored], workspace: Option<&WorkspaceRecord>) -> String {
    let mut text = String::new();
    for Restored { branch, part, commit } in made {
        let branch = plain(branch.as_str());
        text.push_str(&format!("branch {branch} at {} holds {part} of {}\n", commit.short(), plain(&saved.name)));
    }
    if let Some(record) = workspace {
        text.push_str(&format!("{}\n", record.path.display()));
    } else if let Some(first) = made.first() {
        let branch = plain(first.branch.as_str());
        text.push_str(&format!("look at it: git log -p {branch}; work on it: treehand new NAME --base {branch}\n"));
    }
    text
}

fn drop(session: &Session, salvage: &Salvage, args: &SalvageDropArgs) -> Result<u8, CliError> {
    let mut doomed: Vec<&Saved> = Vec::new();
    for name in &args.saved {
        let saved = resolve(salvage, name)?;
        if !doomed.contains(&saved) {
            doomed.push(saved);
        }
    }
    if !args.yes {
        return Err(refusal(session, salvage, &doomed));
    }
    let documents: Vec<Value> = doomed.iter().map(|saved| document(session, salvage, saved)).collect();
    listed::discard(&session.repo, &session.store()?, &doomed)?;
    let line = |saved: &&Saved| format!("dropped {}, which was {}\n", plain(&saved.name), saved.main.commit.short());
    session.out.answer(SCHEMA, json!({"dropped": documents}), || doomed.iter().map(line).collect())?;
    Ok(0)
}

/// What would be lost, and how to say that it may be.
fn refusal(session: &Session, salvage: &Salvage, doomed: &[&Saved]) -> CliError {
    let lost = |saved: &&Saved| {
        let extent = salvage.extent(saved, session.settings.clean.retention.0);
        let (commits, files) = (counted(extent.commits, "commit"), counted(extent.files, "uncommitted file"));
        format!("{} ({commits} that no branch holds, {files})", plain(&saved.name))
    };
    let lost: Vec<String> = doomed.iter().map(lost).collect();
    let names: Vec<String> = doomed.iter().map(|saved| plain(&saved.name)).collect();
    let message = format!("this would be lost for good, and `undo` of the removal may need it: {}", lost.join(", "));
    CliError::refused(message).hint(format!(
        "keep it on a branch: treehand salvage restore {}; let it go: treehand salvage drop --yes {}",
        names.first().map_or("NAME", String::as_str),
        names.join(" ")
    ))
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
