//! What a check of an agent comes to: each step, and the failure of the first that did not go well, with what to do about it.
//!
//! Decision file: from what is known of the agent and what is on record of its run. An agent that was told to change nothing and did
//! just that is well, whatever it calls that; one without tools has nothing to hand in.

use serde_json::{Value, json};

use super::in_runs;
use super::listing::log_in;
use super::seen::Seen;
use crate::model::agent::{AgentRecord, SubmissionStatus, shown_dollars};
use crate::model::record::{AttemptError, AttemptRecord, RunRecord, TaskRecord};
use crate::model::{FailureClass, TaskState};

/// What a check came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// Why not all is well.
    pub failure: Option<Failure>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Whether it went well; `None` where that is not known, or it was not come to.
    pub ok: Option<bool>,
    /// What there is to say of it.
    pub detail: String,
}

/// Why an agent is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind: that of its attempt's error, of its task's reason, or `no_agent`, `no_tools`, `run`.
    pub kind: String,
    /// In words.
    pub message: String,
    /// Its class, where its attempt has one.
    pub class: Option<FailureClass>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kind of an attempt that changed nothing and handed nothing in.
const NO_RESULT: &str = "no_result";

/// Said of a step that was not come to.
const NOT_REACHED: &str = "not reached";

/// The verdict on an agent; `ended` is its run, where there was one.
pub fn judge(seen: &Seen, ended: Option<(&RunRecord, &TaskRecord)>) -> Verdict {
    let failure = match (&seen.found, ended) {
        (None, _) => Some(not_there(seen)),
        (Some(_), None) => None,
        (Some(_), Some((run, task))) => why_not(seen, run, task),
    };
    let attempt = ended.and_then(|(_, task)| task.attempts.last());
    let mut steps = vec![found(seen), version(seen), login(seen)];
    steps.extend(of_attempt(seen, attempt, failure.as_ref()));
    Verdict { steps, failure }
}

fn step(name: &'static str, ok: Option<bool>, detail: impl Into<String>) -> Step {
    Step { name, ok, detail: detail.into() }
}

fn not_there(seen: &Seen) -> Failure {
    let program = seen.options.command.as_ref().unwrap_or(&seen.profile.program);
    let hint = Some(seen.profile.install.clone()).filter(|install| !install.is_empty());
    Failure {
        kind: "no_agent".into(),
        message: format!("{} is not installed: `{program}` is not there", seen.name),
        class: Some(FailureClass::Missing),
        hint,
    }
}

fn found(seen: &Seen) -> Step {
    match &seen.found {
        Some(found) => step("found", Some(true), found.program.to_string_lossy()),
        None => step("found", Some(false), "not installed"),
    }
}

fn version(seen: &Seen) -> Step {
    match seen.found.as_ref().map(|found| &found.version) {
        None => step("version", None, NOT_REACHED),
        Some(Some(version)) => step("version", Some(true), version),
        Some(None) => step("version", None, "it does not say"),
    }
}

/// That no login was found is no failure yet: whether the agent gets in, it shows itself.
fn login(seen: &Seen) -> Step {
    match seen.login.is_there() {
        Some(true) => step("login", Some(true), seen.login.by.join(", ")),
        Some(false) => step("login", None, "none found"),
        None => step("login", None, "its profile names none"),
    }
}

fn of_attempt(seen: &Seen, attempt: Option<&AttemptRecord>, failure: Option<&Failure>) -> [Step; 4] {
    let names = ["started", "answered", "tools", "ended"];
    let Some((attempt, agent)) = attempt.and_then(|attempt| Some((attempt, attempt.agent.as_ref()?))) else {
        return names.map(|name| step(name, None, NOT_REACHED));
    };
    if attempt.process.is_none() {
        let rest = names.map(|name| step(name, None, NOT_REACHED));
        let [_, answered, tools, ended] = rest;
        return [step("started", Some(false), "it could not be started"), answered, tools, ended];
    }
    let said = failure.map(|failure| failure.message.clone());
    let well = said.is_none();
    [
        step("started", Some(true), agent.model.as_ref().map(|model| format!("model {model}")).unwrap_or_default()),
        step("answered", Some(has_answered(agent)), answer(agent)),
        tools(seen, agent),
        step("ended", Some(well), said.unwrap_or_else(|| "and changed nothing".into())),
    ]
}

fn has_answered(agent: &AgentRecord) -> bool {
    let report = &agent.report;
    let said = agent.submission.is_some() || report.text.is_some() || report.turns > 0 || report.ended;
    said && report.fault.is_none()
}

/// What an agent said of its conversation, in words.
fn answer(agent: &AgentRecord) -> String {
    let report = &agent.report;
    let (usage, mut parts) = (agent.used(), Vec::new());
    parts.extend(report.session.as_ref().map(|session| format!("session {session}")));
    parts.extend((report.turns > 0).then(|| format!("{} turns", report.turns)));
    parts.extend((usage.tokens() > 0).then(|| format!("{} tokens", usage.tokens())));
    parts.extend(usage.cost_micros.map(shown_dollars));
    parts.extend(report.fault.as_ref().map(|fault| fault.message.clone()));
    if parts.is_empty() && !has_answered(agent) {
        return "it said nothing".into();
    }
    parts.join(", ")
}

fn tools(seen: &Seen, agent: &AgentRecord) -> Step {
    match (seen.profile.has_tools(), &agent.submission) {
        (false, _) => step("tools", None, "it has none"),
        (true, Some(_)) => step("tools", Some(true), "it handed in a result"),
        (true, None) if agent.report.fault.is_some() => step("tools", None, NOT_REACHED),
        (true, None) => step("tools", Some(false), "it handed in no result"),
    }
}

/// Why an agent that was run is not well.
fn why_not(seen: &Seen, run: &RunRecord, task: &TaskRecord) -> Option<Failure> {
    let attempt = task.attempts.last();
    let agent = attempt.and_then(|attempt| attempt.agent.as_ref());
    let submission = agent.and_then(|agent| agent.submission.as_ref());
    let error = attempt.and_then(|attempt| attempt.error.as_ref());
    let logs = || format!("see what it said: treehand logs {}", run.id);
    if let Some(error) = error.filter(|error| !is_forgiven(seen, error, agent)) {
        let reason = task.reason.as_ref().map(|reason| reason.message.clone());
        let message = reason.unwrap_or_else(|| format!("{} {}", seen.name, error.message));
        return Some(Failure {
            kind: error.kind.clone(),
            message,
            class: error.class,
            hint: Some(hint(seen, error, logs())),
        });
    }
    let failure = |kind: &str, message: String, hint: String| {
        Some(Failure { kind: kind.into(), message, class: None, hint: Some(hint) })
    };
    if let Some(error) = &run.error {
        return failure("run", format!("the supervisor gave up: {error}"), logs());
    }
    if let (None, TaskState::Rejected | TaskState::NeedsAttention, Some(reason)) = (error, task.state, &task.reason) {
        let kind = serde_json::to_value(reason.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        let message = format!("{} changed files, and was told not to: {}", seen.name, reason.paths.join(", "));
        let hint = format!("see what: treehand diff {}/{}", run.id, task.id);
        return failure(&kind.unwrap_or_default(), message, hint);
    }
    if let (None, Some(reason)) = (error, &task.reason) {
        return failure("run", reason.message.clone(), logs());
    }
    if seen.profile.has_tools() && submission.is_none() {
        let message = format!("{} ended and handed in no result: it does not reach the tools of treehand", seen.name);
        return failure("no_tools", message, logs());
    }
    None
}

/// True for what is a failure of a task and none here: there was nothing to do.
fn is_forgiven(seen: &Seen, error: &AttemptError, agent: Option<&AgentRecord>) -> bool {
    let handed_in = agent.and_then(|agent| agent.submission.as_ref());
    let is_done = handed_in.is_some_and(|submission| submission.status != SubmissionStatus::Failed);
    error.kind == NO_RESULT && (is_done || !seen.profile.has_tools())
}

fn hint(seen: &Seen, error: &AttemptError, logs: String) -> String {
    match error.class {
        Some(FailureClass::Auth) => log_in(&seen.profile.program, &seen.login),
        Some(FailureClass::Missing) if !seen.profile.install.is_empty() => seen.profile.install.clone(),
        Some(FailureClass::RateLimit) => "try again later".into(),
        _ => logs,
    }
}

impl Verdict {
    /// The document, without its run.
    pub fn document(&self, seen: &Seen, attempt: Option<&AttemptRecord>) -> Value {
        let steps: Vec<Value> =
            self.steps.iter().map(|step| json!({"step": step.name, "ok": step.ok, "detail": step.detail})).collect();
        let error = self.failure.as_ref().map(|failure| {
            json!({"kind": failure.kind, "message": failure.message, "class": failure.class, "hint": failure.hint})
        });
        let agent = attempt.and_then(|attempt| attempt.agent.as_ref());
        json!({
            "agent": seen.name,
            "ok": self.failure.is_none(),
            "steps": steps,
            "error": error,
            "model": agent.and_then(|agent| agent.model.as_ref()),
            "version": seen.found.as_ref().and_then(|found| found.version.as_ref()),
            "session": agent.and_then(|agent| agent.report.session.as_ref()),
            "turns": agent.map(|agent| agent.report.turns),
            "usage": in_runs::usage(agent.into_iter()),
            "text": agent.and_then(|agent| agent.report.text.as_ref()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::registry::Registry;
    use crate::cli::agents::seen::Login;
    use crate::model::agent::{AgentFault, AgentOptions, AgentReport, Submission};
    use crate::model::{BaseReport, CommitId, ProcId, Reason, ReasonKind};
    use crate::orchestrator::agents::find::Found;
    use crate::store::fixture::{self, attempt, tasks};

    fn seen(name: &str) -> Seen {
        let profile = Registry::new(&[]).expect("profiles").get(name).expect("a profile");
        let login = Login { variables: profile.env.secrets.clone(), has_files: true, by: Vec::new() };
        let found = Some(Found { version: Some("1.0".into()), ..Found::default() });
        let options = AgentOptions::default();
        Seen { name: name.into(), profile, file: None, options, found, login, files: Vec::new() }
    }

    fn run() -> RunRecord {
        let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
        fixture::run(&base, "failed", "check", "failed").0
    }

    fn submitted(status: SubmissionStatus) -> Option<Submission> {
        Some(Submission { status, summary: "ok".into() })
    }

    /// A task whose one attempt was started and ended in this way.
    fn task(state: &str, agent: AgentRecord, error: Option<(&str, FailureClass)>) -> TaskRecord {
        let mut task = tasks(&[("check", state, &[])]).remove(0);
        let error = error.map(|(kind, class)| AttemptError {
            kind: kind.into(),
            message: "came to nothing".into(),
            class: Some(class),
            retry_after: None,
        });
        let process = Some(ProcId { pid: 1, start_time: 1, boot_id: "b".into() });
        task.attempts = vec![AttemptRecord { process, error, agent: Some(agent), ..attempt(1) }];
        task
    }

    fn said(report: AgentReport, submission: Option<Submission>) -> AgentRecord {
        AgentRecord { profile: "codex".into(), report, submission, ..AgentRecord::default() }
    }

    fn spoken() -> AgentReport {
        AgentReport { session: Some("s".into()), turns: 2, ended: true, ..AgentReport::default() }
    }

    fn judged(name: &str, task: &TaskRecord) -> (Vec<Option<bool>>, Option<String>) {
        let verdict = judge(&seen(name), Some((&run(), task)));
        (verdict.steps[3..].iter().map(|step| step.ok).collect(), verdict.failure.map(|failure| failure.kind))
    }

    #[test]
    fn an_agent_that_answered_handed_in_and_changed_nothing_is_well() {
        let nothing = said(spoken(), submitted(SubmissionStatus::NothingToDo));
        let all = vec![Some(true); 4];
        assert_eq!(judged("codex", &task("no_change", nothing, None)), (all.clone(), None));
        let done = task(
            "failed",
            said(spoken(), submitted(SubmissionStatus::Done)),
            Some(("no_result", FailureClass::Failure)),
        );
        assert_eq!(judged("codex", &done), (all, None), "whatever it calls that");
        let without = task("failed", said(spoken(), None), Some(("no_result", FailureClass::Failure)));
        assert_eq!(
            judged("aider", &without),
            (vec![Some(true), Some(true), None, Some(true)], None),
            "it has no tools"
        );
        let (steps, kind) = judged("codex", &without);
        assert_eq!((steps[2], kind.as_deref()), (Some(false), Some("no_result")));
        let silent = task("no_change", said(spoken(), None), None);
        assert_eq!(judged("codex", &silent).1.as_deref(), Some("no_tools"));
    }

    #[test]
    fn the_first_step_that_does_not_go_well_says_what_to_do() {
        let fault = AgentFault { message: "401".into(), status: Some(401) };
        let report = AgentReport { session: Some("s".into()), fault: Some(fault), ..AgentReport::default() };
        let refused = task("failed", said(report, None), Some(("auth", FailureClass::Auth)));
        assert_eq!(judged("codex", &refused), (vec![Some(true), Some(false), None, Some(false)], Some("auth".into())));
        let failure = judge(&seen("codex"), Some((&run(), &refused))).failure.expect("a failure");
        assert_eq!(failure.message, "codex came to nothing");
        assert_eq!(failure.hint.as_deref(), Some("log in with `codex`, or set CODEX_API_KEY or OPENAI_API_KEY"));
        let mut unstarted = task("failed", AgentRecord::default(), Some(("spawn", FailureClass::Failure)));
        unstarted.attempts[0].process = None;
        assert_eq!(judged("codex", &unstarted), (vec![Some(false), None, None, None], Some("spawn".into())));
        let mut meddling = task("rejected", said(spoken(), submitted(SubmissionStatus::Done)), None);
        meddling.reason = Some(Reason::new(ReasonKind::Policy, "outside").with_paths(vec!["a.txt".into()]));
        assert_eq!(judged("codex", &meddling).1.as_deref(), Some("policy"));
        let mut unmade = tasks(&[("check", "failed", &[])]).remove(0);
        unmade.reason = Some(Reason::new(ReasonKind::Failed, "the workspace cannot be made"));
        assert_eq!(judged("codex", &unmade), (vec![None; 4], Some("run".into())));
    }

    #[test]
    fn an_agent_that_is_not_installed_is_not_run_and_says_how_it_is_got() {
        let verdict = judge(&Seen { found: None, ..seen("codex") }, None);
        let failure = verdict.failure.expect("a failure");
        assert_eq!((failure.kind.as_str(), verdict.steps[0].ok), ("no_agent", Some(false)));
        assert_eq!(failure.hint.as_deref(), Some("npm install -g @openai/codex"));
        assert!(verdict.steps[1..].iter().all(|step| step.ok.is_none()));
    }
}
