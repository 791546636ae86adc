//! Decision file: what is said later of one `clean --yes`: how it came out, what it freed, what failed, and why things stayed.
//!
//! Plain data, made from the document of that cleanup. Lists have an end, so that no report grows with what it is about.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Timestamp;

/// How many reports are kept, and for how long.
const KEPT_MOST: usize = 60;
const KEPT_FOR: Duration = Duration::from_secs(90 * 86_400);
/// The longest list of a report.
const LISTED_MOST: usize = 200;

/// What a cleanup was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One repository.
    Repository,
    /// Every one of the user.
    AllRepositories,
}

/// How a cleanup came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is at work.
    Running,
    /// Everything went well.
    Done,
    /// An action, a repository or the whole failed.
    Failed,
    /// It died in the middle.
    Interrupted,
}

impl Outcome {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// An action or a repository that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The repository.
    pub repo: String,
    /// What kind of thing it is; `repo` for the repository itself.
    pub kind: String,
    /// What it is.
    pub item: String,
    /// Why.
    pub reason: String,
}

/// Why so many things stayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptFor {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What became of one repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RepositoryEnd {
    /// The repository.
    pub repo: String,
    /// `done`, `kept` or `failed`.
    pub outcome: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// Why a cleanup came to nothing, as on the command line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// One word for scripts.
    pub kind: String,
    /// What is wrong with what.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// What is said of one `clean --yes`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// When it began.
    pub at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// What it was about.
    pub scope: Scope,
    /// The repository, of one.
    pub repo: Option<String>,
    /// Whether it changed anything: what only plans leaves no report.
    pub applied: bool,
    /// How it came out.
    pub outcome: Outcome,
    /// Its exit code.
    pub exit: Option<u8>,
    /// Disk that what went took.
    pub freed_bytes: u64,
    /// How many actions were done.
    pub done: u64,
    /// How many were not as expected.
    pub skipped: u64,
    /// What failed, as far as it is listed.
    pub failed: Vec<Failure>,
    /// How many that are.
    pub failures: u64,
    /// Why things stayed, the most frequent reason first, as far as it is listed.
    pub kept: Vec<KeptFor>,
    /// The repositories, of all.
    pub repos: Vec<RepositoryEnd>,
    /// Why it came to nothing.
    pub error: Option<Fault>,
}

impl Report {
    /// One of a cleanup that begins.
    pub fn begun(at: Timestamp, scope: Scope, repo: Option<String>) -> Report {
        Report {
            at,
            ended_at: None,
            scope,
            repo,
            applied: true,
            outcome: Outcome::Running,
            exit: None,
            freed_bytes: 0,
            done: 0,
            skipped: 0,
            failed: Vec::new(),
            failures: 0,
            kept: Vec::new(),
            repos: Vec::new(),
            error: None,
        }
    }

    /// The cleanup is over, with this document and exit code.
    pub fn end(&mut self, now: Timestamp, document: &Value, exit: u8) {
        self.close(now, exit);
        self.freed_bytes = document["freed_bytes"].as_u64().unwrap_or_default();
        let with = |outcome: &str| list(&document["actions"]).filter(|one| one["outcome"] == outcome).count() as u64;
        (self.done, self.skipped) = (with("done"), with("skipped"));
        let mut failed: Vec<Failure> = list(&document["actions"]).filter_map(failed_action).collect();
        failed.extend(list(&document["repos"]).filter_map(failed_repository));
        self.failures = failed.len() as u64;
        failed.truncate(LISTED_MOST);
        (self.failed, self.kept) = (failed, reasons(&document["kept"]));
        self.repos = list(&document["repos"]).map(repository_end).collect();
    }

    /// The cleanup came to nothing.
    pub fn fail(&mut self, now: Timestamp, fault: Fault, exit: u8) {
        self.close(now, exit);
        (self.outcome, self.error, self.failures) = (Outcome::Failed, Some(fault), 1);
    }

    fn close(&mut self, now: Timestamp, exit: u8) {
        self.outcome = if exit == 0 { Outcome::Done } else { Outcome::Failed };
        (self.ended_at, self.exit) = (Some(now), Some(exit));
    }

    /// Whose maker is dead was interrupted.
    pub fn seen_with(mut self, maker_is_dead: bool) -> Report {
        if self.outcome == Outcome::Running && maker_is_dead {
            self.outcome = Outcome::Interrupted;
        }
        self
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn failed_action(action: &Value) -> Option<Failure> {
    let [repo, kind, item, reason] = ["repo", "kind", "item", "reason"].map(|field| text(&action[field]));
    (action["outcome"] == "failed").then_some(Failure { repo, kind, item, reason })
}

fn failed_repository(end: &Value) -> Option<Failure> {
    let (repo, reason) = (text(&end["repo"]), text(&end["reason"]));
    (end["outcome"] == "failed").then(|| Failure { item: repo.clone(), repo, kind: "repo".into(), reason })
}

fn repository_end(end: &Value) -> RepositoryEnd {
    let reason = end["reason"].as_str().map(str::to_owned);
    RepositoryEnd { repo: text(&end["repo"]), outcome: text(&end["outcome"]), reason }
}

/// The most frequent reason first; what is too many to be listed is counted in the last.
fn reasons(kept: &Value) -> Vec<KeptFor> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in list(kept).map(|kept| kept["reason"].as_str().unwrap_or_default()) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut all: Vec<KeptFor> =
        counts.into_iter().map(|(reason, count)| KeptFor { reason: reason.to_owned(), count }).collect();
    all.sort_by_key(|kept| Reverse(kept.count));
    let rest: u64 = all.iter().skip(LISTED_MOST).map(|kept| kept.count).sum();
    all.truncate(LISTED_MOST);
    all.extend((rest > 0).then(|| KeptFor { reason: "(other reasons)".into(), count: rest }));
    all
}

/// Which of the reports of these moments, the newest first, are kept no longer, by their places.
pub fn outgrown(moments: &[Timestamp], now: Timestamp) -> Vec<usize> {
    let old = |(place, at): (usize, &Timestamp)| (place >= KEPT_MOST || now.since(*at) > KEPT_FOR).then_some(place);
    moments.iter().enumerate().filter_map(old).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        Report::begun(Timestamp(1000), Scope::AllRepositories, None)
    }

    #[test]
    fn a_report_counts_what_went_and_names_what_did_not() {
        let action =
            |outcome: &str| json!({"kind": "branch", "item": "b", "repo": "/r", "reason": "no", "outcome": outcome});
        let kept = |reason: &str| json!({"kind": "branch", "item": "x", "repo": "/r", "reason": reason});
        let mut report = report();
        let document = json!({
            "actions": [action("done"), action("skipped"), action("done"), action("failed")],
            "kept": [kept("young"), kept("in use"), kept("in use")], "freed_bytes": 7,
            "repos": [{"repo": "/r", "outcome": "done", "reason": null}, {"repo": "/s", "outcome": "failed", "reason": "gone"}],
        });
        report.end(Timestamp(2000), &document, 1);
        assert_eq!((report.done, report.skipped, report.failures, report.freed_bytes), (2, 1, 2, 7));
        let failed: Vec<_> = report.failed.iter().map(|one| (one.kind.as_str(), one.reason.as_str())).collect();
        assert_eq!(failed, [("branch", "no"), ("repo", "gone")]);
        let kept: Vec<_> = report.kept.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        assert_eq!(kept, [("in use", 2), ("young", 1)]);
        assert_eq!((report.outcome, report.exit, report.repos.len()), (Outcome::Failed, Some(1), 2));
        let text = serde_json::to_string(&report).expect("a document");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("it reads back"), report);
    }

    #[test]
    fn no_report_grows_with_what_it_is_about() {
        let many = |n: usize| (0..n).map(|n| json!({"outcome": "failed", "reason": n.to_string()})).collect::<Vec<_>>();
        let mut report = report();
        report.end(Timestamp(0), &json!({"actions": many(300), "kept": many(300)}), 1);
        assert_eq!((report.failed.len(), report.failures, report.kept.len()), (LISTED_MOST, 300, LISTED_MOST + 1));
        assert_eq!(report.kept.iter().map(|kept| kept.count).sum::<u64>(), 300);
    }

    #[test]
    fn only_what_is_at_work_can_have_been_interrupted() {
        assert_eq!(report().seen_with(true).outcome, Outcome::Interrupted);
        assert_eq!(report().seen_with(false).outcome, Outcome::Running);
        let mut done = report();
        done.end(Timestamp(2000), &json!({}), 0);
        assert_eq!(done.seen_with(true).outcome, Outcome::Done);
    }

    #[test]
    fn what_is_too_many_or_too_old_is_kept_no_longer() {
        let day = 86_400_000;
        let moments: Vec<Timestamp> = (0..70).map(|n| Timestamp((200 - n) * day)).collect();
        assert_eq!(outgrown(&moments, Timestamp(200 * day)), (60..70).collect::<Vec<_>>());
        assert_eq!(outgrown(&moments[..3], Timestamp(290 * day)), [1, 2]);
        assert_eq!(outgrown(&moments[..3], Timestamp(0)), [0; 0], "a clock that was set back");
    }
}
