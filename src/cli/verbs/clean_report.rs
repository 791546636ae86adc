//! `clean report`: the last cleanups, a line each, and of the newest what failed and why things stayed.
//!
//! Looks at the user's own state alone, wherever it is called. Changes nothing.

use serde_json::json;

use crate::cleanup::clean::report::{Report, Scope};
use crate::cleanup::clean::report_files;
use crate::cli::clean_args::ReportArgs;
use crate::cli::error::CliError;
use crate::cli::output::{Output, plain, size, table};

/// The schema.
pub(super) const SCHEMA: &str = "treehand/clean-report/v1";

/// Shows them.
pub fn run(args: &ReportArgs, out: &Output) -> Result<u8, CliError> {
    let mut found = report_files::all()?;
    for file in &found.unreadable {
        out.warn(format!("a report cannot be read: {}", plain(file)));
    }
    found.reports.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    out.answer(SCHEMA, json!({"runs": found.reports}), || text(&found.reports))?;
    Ok(0)
}

/// For people.
fn text(reports: &[Report]) -> String {
    let Some(newest) = reports.first() else { return "no cleanup is on record yet\n".to_owned() };
    let mut rows = vec![["WHEN", "OUTCOME", "EXIT", "FREED", "DONE", "SKIPPED", "FAILED", "WHERE"].map(str::to_owned)];
    rows.extend(reports.iter().map(row));
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    format!("{}{}", table(&rows), details(newest))
}

fn row(report: &Report) -> [String; 8] {
    let place = match (report.scope, &report.repo) {
        (Scope::AllRepositories, _) => "all repositories".to_owned(),
        (Scope::Repository, repo) => repo.as_deref().map_or("-".to_owned(), plain),
    };
    [
        report.at.to_string(),
        report.outcome.word().to_owned(),
        report.exit.map_or("-".to_owned(), |exit| exit.to_string()),
        size(report.freed_bytes),
        report.done.to_string(),
        report.skipped.to_string(),
        report.failures.to_string(),
        place,
    ]
}

/// Of the newest, what a person may have to look after.
fn details(report: &Report) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        text.push_str(&format!("error: {}\n", plain(&error.message)));
    }
    for failure in &report.failed {
        let [repo, kind, item, reason] =
            [&failure.repo, &failure.kind, &failure.item, &failure.reason].map(|part| plain(part));
        let place = if kind == "repo" { String::new() } else { format!(" in {repo}") };
        text.push_str(&format!("failed: {kind} {item}{place}: {reason}\n"));
    }
    let unlisted = report.failures.saturating_sub(report.failed.len() as u64 + u64::from(report.error.is_some()));
    if unlisted > 0 {
        text.push_str(&format!("failed: {unlisted} more\n"));
    }
    for kept in &report.kept {
        text.push_str(&format!("kept {}: {}\n", kept.count, plain(&kept.reason)));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}
