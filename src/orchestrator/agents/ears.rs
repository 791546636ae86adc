//! What a supervisor makes of what a task's shim tells it: how its command is, what its agent says of itself, and what that asks for
//! by its tools: its result is stored, its question parks the task, the rest is told from what is on record.
//!
//! Promises: what is answered with success is on record; asked again, after a gap or by who did not hear the answer, it is the same
//! request. Nothing that an agent says here is believed of anybody but its own task.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::clashes;
use super::spent::{self, NEARLY};
use crate::agent::plain;
use crate::model::agent::{AgentRecord, AgentReport, AgentRequest, Budget, BudgetPart, Reply, Submission};
use crate::model::cause::chain;
use crate::model::health::Health;
use crate::model::mail::{MessageKind, Question};
use crate::model::record::TaskRecord;
use crate::model::{Span, TaskId, TaskState, Timestamp};
use crate::orchestrator::attempt::Ears;
use crate::orchestrator::context::{Context, RunError, blocking};
use crate::orchestrator::mail::{self, TEXT_MAX};
use crate::orchestrator::{health, lookout};
use crate::store::StoreError;
use crate::sys::clock;

/// How often at most it is written down what an agent says of itself while it works: the end is written down in any case.
const PACE: Duration = Duration::from_secs(5);

/// Most bytes of a summary and of a line on progress.
const SUMMARY_MAX: usize = 64 << 10;
const PROGRESS_MAX: usize = 8 << 10;

/// Most bytes of all that an attempt hands in and says of its progress: each of them is on record for good.
const TOLD_MAX: usize = 4 << 20;

/// So often an attempt may look at what takes git; one look at a time.
const LOOKS_MAX: usize = 500;

/// Most bytes of an answer, and of what one message of many is in it: a shim takes no longer ones, and who asked would wait for ever.
const ANSWER_MAX: usize = 768 << 10;
const QUOTED_MAX: usize = 8 << 10;

/// What the journal calls it that nearly all of a budget is used.
pub const WARNED: &str = "attempt.budget";

/// Of so many of a hundred of its time somebody is warned.
const NEARLY_OF_TIME: u32 = 80;

/// The ears of a supervisor for one attempt of a task.
pub struct TaskEars {
    context: Arc<Context>,
    id: TaskId,
    budget: Budget,
    /// How many attempts there are, this one included.
    attempt: usize,
    noted: Mutex<Noted>,
    told: AtomicUsize,
    looks: AtomicUsize,
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Noted {
    at: Option<Instant>,
    session: Option<String>,
    warned: Option<BudgetPart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    question: String,
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    deadline: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Inbox {
    after: Option<usize>,
}

impl Ears for TaskEars {
    fn health(&self, told: Health) {
        health::note(&self.context, &self.id, &told);
    }

    fn agent(&self, report: AgentReport) {
        if let Err(error) = self.note(report) {
            tracing::warn!(task = %self.id, error = chain(&error), "what an agent says of itself could not be written down");
        }
    }

    fn asked(&self, request: AgentRequest) -> Option<Reply> {
        match request.tool.as_str() {
            "fresh" | "conflicts" if self.looks.fetch_add(1, Ordering::Relaxed) < LOOKS_MAX => {
                self.look(request);
                None
            }
            "fresh" | "conflicts" => Some(Reply::Error("it was asked so often that nobody looks any more".into())),
            _ => self.answered(&request),
        }
    }
}

impl TaskEars {
    /// Those for an attempt of a task, the how-manieth that is, which may use up so much.
    pub fn new(context: &Arc<Context>, (id, attempt): (&TaskId, usize), budget: Budget) -> TaskEars {
        let (context, id) = (Arc::clone(context), id.clone());
        let (told, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        TaskEars { context, id, budget, attempt, noted: Mutex::default(), told, looks, looking: Arc::default() }
    }

    /// Follows an attempt of an agent to its end, and warns when it has so much of its time behind it; `started` is when that began.
    pub async fn timed<T>(
        &self,
        attempt: impl Future<Output = T>,
        (started, timeout): (Timestamp, Option<Duration>),
    ) -> T {
        let nearly = timeout.map(|timeout| started.plus(timeout * NEARLY_OF_TIME / 100).left(started, clock::now()));
        tokio::pin!(attempt);
        tokio::select! {
            ended = &mut attempt => return ended,
            () = mail::after(nearly) => {
                if let Err(error) = self.warn_of(BudgetPart::Time) {
                    tracing::warn!(task = %self.id, error = chain(&error), "that its time is nearly over could not be written down");
                }
            }
        }
        attempt.await
    }

    /// Tells once that nearly all of something is used.
    fn warn_of(&self, part: BudgetPart) -> Result<(), StoreError> {
        let task = self.context.task(&self.id)?;
        let agent = task.attempts.last().and_then(|attempt| attempt.agent.as_ref());
        match agent {
            Some(agent) if agent.warned.is_none() => {
                self.edit(WARNED, json!({"nearly_used_up": part}), |agent| agent.warned = Some(part))
            }
            _ => Ok(()),
        }
    }

    /// The answer to a request, where that is known at once.
    pub fn answered(&self, request: &AgentRequest) -> Option<Reply> {
        match self.reply(request) {
            Ok(value) => value.map(fitting),
            Err(Refused::Wrong(why)) => Some(Reply::Error(why)),
            Err(Refused::Failed(error)) => {
                tracing::warn!(task = %self.id, tool = request.tool, error = chain(&error), "a tool of an agent failed");
                Some(Reply::Error(format!("treehand could not do it: {}", chain(&error))))
            }
        }
    }

    /// Writes down what an agent says of itself: at once what another attempt would need, or what a person is to know, else now and
    /// then; the whole of it is in the record of its end.
    fn note(&self, report: AgentReport) -> Result<(), StoreError> {
        let warned = self.budget.reached(&report, NEARLY);
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = noted.session != report.session || noted.warned != warned;
            if !is_news && noted.at.is_some_and(|at| at.elapsed() < PACE) {
                return Ok(());
            }
            *noted = Noted { at: Some(Instant::now()), session: report.session.clone(), warned };
        }
        let data = json!({"session": report.session, "turns": report.turns, "tools": report.tools, "usage": report.usage,
            "nearly_used_up": warned});
        self.edit("attempt.agent", data, |agent| agent.report = report)?;
        spent::warn(&self.context)?;
        warned.map_or(Ok(()), |part| self.warn_of(part))
    }

    fn edit(&self, kind: &str, data: Value, change: impl FnOnce(&mut AgentRecord)) -> Result<(), StoreError> {
        let of_last =
            |task: &mut TaskRecord| task.attempts.last_mut().and_then(|last| last.agent.as_mut()).map_or((), change);
        self.context.store(|store| store.edit_task(&self.context.run.id, &self.id, kind, data, of_last)).map(drop)
    }

    fn reply(&self, request: &AgentRequest) -> Result<Option<Value>, Refused> {
        let args = || if request.args.is_null() { json!({}) } else { request.args.clone() };
        match request.tool.as_str() {
            "submit_result" => self.submit(read(args())?).map(Some),
            "progress" => self.progress(&read::<Progress>(args())?.message).map(Some),
            "inbox" => self.inbox(read::<Inbox>(args())?.after.unwrap_or(0)).map(Some),
            "ask" => self.ask(request.n, read(args())?),
            "task_context" => self.task_context().map(Some),
            other => Err(Refused::Wrong(format!("there is no tool `{}`", other.escape_debug()))),
        }
    }

    fn submit(&self, submission: Submission) -> Result<Value, Refused> {
        let summary = self.heard("summary", &submission.summary, SUMMARY_MAX)?;
        let submission = Submission { summary, ..submission };
        let data = json!({"submission": submission});
        self.edit("attempt.submitted", data, |agent| agent.submission = Some(submission)).map_err(RunError::from)?;
        Ok(json!({"stored": true}))
    }

    fn progress(&self, message: &str) -> Result<Value, Refused> {
        let message = self.heard("message", message, PROGRESS_MAX)?;
        self.edit("attempt.progress", json!({"message": message}), |agent| agent.progress = Some(message))
            .map_err(RunError::from)?;
        Ok(json!({}))
    }

    /// A text as it is kept: nothing in it steers a terminal, and no secret is in it. There is an end to what one attempt may say.
    fn heard(&self, name: &str, text: &str, most: usize) -> Result<String, Refused> {
        bounded(name, text, most)?;
        if self.told.fetch_add(text.len(), Ordering::Relaxed) >= TOLD_MAX {
            return Err(Refused::Wrong("it has said so much that no more of it is kept".into()));
        }
        Ok(mail::kept(&self.context, text)?)
    }

    fn inbox(&self, after: usize) -> Result<Value, Refused> {
        let task = self.context.task(&self.id).map_err(RunError::from)?;
        let mut room = ANSWER_MAX / 2;
        let messages = (1..).zip(&task.mail).skip(after).map_while(|(n, message): (usize, _)| {
            // The rest is there for who asks for what comes after the last one of these.
            room = room.checked_sub(message.text.len())?;
            Some(json!({"n": n, "kind": message.kind, "text": message.text, "at": message.at}))
        });
        Ok(json!({"messages": messages.collect::<Vec<_>>()}))
    }

    /// Parks the task, or says what was answered meanwhile. The same question asked again (after a gap, by a client that did not
    /// wait so long) is the same request.
    fn ask(&self, n: u64, asked: Ask) -> Result<Option<Value>, Refused> {
        bounded("question", &asked.question, TEXT_MAX)?;
        asked.default.as_ref().map_or(Ok(()), |default| bounded("default", default, TEXT_MAX))?;
        let (context, run) = (&self.context, &self.context.run.id);
        let task = context.task(&self.id).map_err(RunError::from)?;
        let text = mail::kept(context, &asked.question)?;
        if let Some(question) = task.question.as_ref().filter(|question| question.text == text) {
            let is_known = question.requests.contains(&n);
            if task.state == TaskState::Waiting {
                let waits = |task: &mut TaskRecord| {
                    if let Some(question) = task.question.as_mut().filter(|_| !is_known) {
                        question.requests.push(n);
                    }
                };
                let data = json!({"request": n});
                context
                    .store(|s| s.edit_task(run, &self.id, "task.asked_again", data, waits))
                    .map_err(RunError::from)?;
                return Ok(None);
            }
            if let Some(answer) = answer_to(&task, question).filter(|_| is_known) {
                return Ok(Some(json!({"answer": answer})));
            }
        }
        if task.state != TaskState::Running {
            return Err(Refused::Wrong("another question waits for its answer: one at a time".into()));
        }
        if task.mail.len() >= mail::MESSAGES_MAX {
            return Err(Refused::Wrong("it has asked and heard so much that no further question is heard".into()));
        }
        let Ask { question, default, deadline } = asked;
        mail::park(context, &self.id, mail::Asked { question, default, deadline }, vec![n])?;
        // Its deadline is kept where its mail is.
        context.bell(&self.id).notify_one();
        Ok(None)
    }

    fn task_context(&self) -> Result<Value, Refused> {
        let context = &self.context;
        let task = context.task(&self.id).map_err(RunError::from)?;
        let needs = task.spec.needs.iter().map(|need| {
            let need = context.task(need)?;
            let summary = need.submission().map(|submission| quoted(&submission.summary));
            Ok(json!({"task": need.id, "state": need.state, "commit": need.commit, "summary": summary}))
        });
        let needs = needs.collect::<Result<Vec<Value>, StoreError>>().map_err(RunError::from)?;
        let earlier = task.attempts.iter().rev().skip(1).rev().map(|attempt| {
            let agent = attempt.agent.as_ref();
            json!({"n": attempt.n, "agent": agent.map(|agent| &agent.profile),
                "error": attempt.error.as_ref().map(|error| &error.message),
                "summary": agent.and_then(|agent| agent.submission.as_ref()).map(|submission| quoted(&submission.summary))})
        });
        let run = &context.run;
        Ok(json!({
            "run": run.id, "task": task.id, "goal": run.spec.goal, "prompt": task.spec.prompt, "paths": task.spec.paths,
            "branch": task.branch, "base": task.base, "into": run.into, "needs": needs,
            "gates": run.spec.gates.iter().chain(&task.spec.gates).map(|gate| &gate.run).collect::<Vec<_>>(),
            "attempt": task.attempts.len(), "earlier": earlier.collect::<Vec<_>>(),
        }))
    }

    /// Later, by whoever has the time: what takes git is not done where the shim is listened to.
    fn look(&self, request: AgentRequest) {
        let (context, id, turn) = (Arc::clone(&self.context), self.id.clone(), Arc::clone(&self.looking));
        let attempt = self.attempt;
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            let looked = {
                let (context, id, tool) = (Arc::clone(&context), id.clone(), request.tool);
                blocking(move || match tool.as_str() {
                    "fresh" => lookout::document(&context, &id),
                    _ => clashes::of(&context, &id),
                })
            };
            let reply = match looked.await.and_then(|found| found) {
                Ok(found) => fitting(found),
                Err(error) => Reply::Error(format!("treehand could not do it: {}", chain(&error))),
            };
            // Requests are counted for each attempt: what came too late for one is no answer for the next.
            let is_its = || context.task(&id).is_ok_and(|task| task.attempts.len() == attempt);
            context.sign(&id, |signs| {
                if is_its() {
                    signs.answers.insert(request.n, reply);
                }
            });
        });
    }
}

/// Tells an agent that asked by a tool what was answered, if something was.
pub fn pass_on(context: &Context, task: &TaskRecord) {
    let Some(question) = task.question.as_ref().filter(|question| !question.requests.is_empty()) else { return };
    if task.state == TaskState::Waiting {
        return;
    }
    let Some(answer) = answer_to(task, question) else { return };
    let reply = Reply::Ok(json!({"answer": answer}));
    context.sign(&task.id, |signs| {
        for n in &question.requests {
            signs.answers.entry(*n).or_insert_with(|| reply.clone());
        }
    });
}

/// What was answered to a question that waits no more.
fn answer_to<'a>(task: &'a TaskRecord, question: &Question) -> Option<&'a str> {
    let answers = task.mail.get(question.heard..)?.iter().filter(|message| message.kind == MessageKind::Answer);
    answers.map(|message| message.text.as_str()).next()
}

/// Why an agent gets nothing for what it asked.
enum Refused {
    /// It is to blame.
    Wrong(String),
    /// It is not.
    Failed(RunError),
}

impl From<RunError> for Refused {
    fn from(error: RunError) -> Refused {
        Refused::Failed(error)
    }
}

fn read<T: serde::de::DeserializeOwned>(args: Value) -> Result<T, Refused> {
    serde_json::from_value(args).map_err(|error| Refused::Wrong(format!("the arguments are not understood: {error}")))
}

/// An answer that a shim takes.
fn fitting(value: Value) -> Reply {
    match value.to_string().len() {
        0..=ANSWER_MAX => Reply::Ok(value),
        _ => Reply::Error("the answer is too long".into()),
    }
}

/// The beginning of a text.
fn quoted(text: &str) -> String {
    let mut text = text.to_owned();
    plain::cut(&mut text, QUOTED_MAX);
    text
}

fn bounded(name: &str, text: &str, most: usize) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(Refused::Wrong(format!("`{name}` is empty")));
    }
    if text.len() > most {
        return Err(Refused::Wrong(format!("`{name}` has more than {most} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::granted::Granted;
    use crate::model::agent::Usage;
    use crate::model::record::{AttemptRecord, ConfineLevel};
    use crate::store::fixture::attempt;
    use crate::worktree::Repository;
    use crate::worktree::fixture::{Fixture, run};
    use crate::worktree::sealed::Identity;

    fn context_of(fixture: &Fixture, budget: Budget) -> (Arc<Context>, TaskId) {
        let (mut record, mut task) = run(&fixture.base(), "running", "t", "running");
        record.spec.budget = budget;
        task.attempts = vec![AttemptRecord { agent: Some(AgentRecord::default()), ..attempt(1) }];
        let other = TaskRecord { id: TaskId::parse("other").expect("an id"), ordinal: 1, ..task.clone() };
        fixture.store.create_run(&record, &[task.clone(), other]).expect("recorded");
        let identity = Identity { name: "Someone".into(), email: "someone@example.org".into() };
        let repo = Repository::discover(&fixture.repo.git, &fixture.root).expect("found");
        let store = fixture.repo.store().expect("a store");
        let context = Context::new(repo, (record, 1), identity, Granted::on_record(ConfineLevel::Off), store, None);
        (Arc::new(context), task.id)
    }

    /// Has it look, and something happen before it does; then whether that was answered.
    async fn is_answered(context: &Context, ears: &TaskEars, (n, tool): (u64, &str), before: impl FnOnce()) -> bool {
        let others_turn = ears.looking.lock().await;
        let request = AgentRequest { n, tool: tool.into(), args: Value::Null };
        assert!(ears.asked(request).is_none(), "later");
        // It is in the line for its turn, and has had that when it is ours.
        tokio::task::yield_now().await;
        before();
        drop(others_turn);
        let _ours = ears.looking.lock().await;
        let mut is_there = false;
        context.sign(&ears.id, |signs| is_there = signs.answers.contains_key(&n));
        is_there
    }

    #[tokio::test]
    async fn a_look_that_came_too_late_answered_the_request_of_the_next_attempt_with_the_same_number() {
        let fixture = Fixture::new();
        let (context, id) = context_of(&fixture, Budget::default());
        let ears = |attempt| TaskEars::new(&context, (&id, attempt), Budget::default());
        let first = ears(1);
        assert!(is_answered(&context, &first, (1, "fresh"), || ()).await);
        assert!(is_answered(&context, &first, (2, "conflicts"), || ()).await);
        let next = || {
            let begins = |task: &mut TaskRecord| task.attempts.push(attempt(2));
            context.store(|store| store.edit_task(&context.run.id, &id, "attempt", json!({}), begins)).expect("begun");
            context.sign(&id, |signs| signs.answers.clear());
        };
        assert!(!is_answered(&context, &first, (1, "fresh"), next).await);
        assert!(!is_answered(&context, &first, (2, "conflicts"), || ()).await);
        assert!(is_answered(&context, &ears(2), (1, "fresh"), || ()).await);
    }
    #[test]
    fn agents_that_use_nearly_all_of_a_runs_budget_together_are_told_of_once_and_who_begins_has_what_is_left() {
        let fixture = Fixture::new();
        let (context, t) = context_of(&fixture, Budget { tokens: Some(1_000), ..Budget::default() });
        let other = TaskId::parse("other").expect("an id");
        let says = |id: &TaskId, session: &str, input| {
            let usage = Usage { input, ..Usage::default() };
            let report = AgentReport { session: Some(session.into()), usage, ..AgentReport::default() };
            TaskEars::new(&context, (id, 1), Budget::default()).agent(report);
            let entries = context.store(|store| store.entries_after(0, Some(&context.run.id))).expect("read");
            entries.iter().filter(|entry| entry.kind == spent::RUN_WARNED).count()
        };
        let left = || spent::left(&context).map(|left| left.tokens).ok();
        assert_eq!((says(&t, "a", 400), says(&other, "b", 399), left()), (0, 0, Some(Some(201))));
        assert_eq!((says(&t, "a", 401), says(&other, "b", 598), left()), (1, 1, Some(Some(1))));
        assert_eq!((says(&other, "b", 599), left()), (1, None), "nothing is left");
    }
}
