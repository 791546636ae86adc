//! The mail of a task at work: what a person says comes into its inbox, and when it asks something, it is parked until it has an
//! answer. That it uses a tool it says there, too, and how its base stands is told there (`lookout`).
//!
//! Messages are files that are there whole or not at all, numbered in the order in which they were said; the question is a file
//! that the command writes. The directory is the command's own: nothing there is followed, and nothing that is wrong with it
//! harms more than this task. What was said is on record before it is delivered, so that a successor delivers it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;

use super::agents::ears;
use super::asking;
use super::context::{Context, RunError};
use super::lookout;
use crate::agent::plain;
use crate::model::mail::{Message, MessageKind, Question};
use crate::model::record::TaskRecord;
use crate::model::{Span, TaskEvent, TaskId, TaskState};
use crate::store::StoreError;
use crate::sys::{clock, fs};

/// The directory in a task's home, and what is in it.
const DIRECTORY: &str = ".treehand";
const INBOX: &str = ".treehand/inbox";
const QUESTION: &str = ".treehand/question.json";
const TOOL: &str = ".treehand/tool";

/// Largest question, and largest thing that a person may say.
pub const TEXT_MAX: usize = 64 << 10;

/// So many characters of a tool's name are kept.
const TOOL_NAME_MAX: usize = 200;

/// So many messages a task may have before no further question of it is heard: who asks without end is no conversation.
pub const MESSAGES_MAX: usize = 1000;

/// How long a question may be half written, and how often it is looked for one where nothing tells.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look at least lasts: a command that writes there all the time does not keep the supervisor busy.
const PACE: Duration = Duration::from_millis(20);

/// What a command writes when it asks.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// In words.
    pub question: String,
    /// The answer when nobody gives one in time.
    pub default: Option<String>,
    /// How long a person has.
    pub deadline: Option<Span>,
}

/// How a task's command finds its mail directory.
pub fn variable(home: &Path) -> (String, String) {
    ("TREEHAND_MAIL".to_owned(), home.join(DIRECTORY).to_string_lossy().into_owned())
}

/// Makes the mail directory of an attempt. In a home in which an earlier one was at work, that may have put anything in its place: its
/// inbox is emptied, for nobody else has said what is in there, and what it asked last is not asked again.
pub fn open(home: &Path) -> Result<(), RunError> {
    let directory = Path::new(DIRECTORY);
    if !fs::is_directory_beneath(home, directory)? {
        fs::remove_beneath(home, directory)?;
        fs::create_private_dir(&home.join(directory))?;
    }
    for of_before in [INBOX, QUESTION, TOOL] {
        fs::remove_tree(&home.join(of_before))?;
    }
    Ok(fs::create_private_dir(&home.join(INBOX))?)
}

/// Follows an attempt to its end, and sees to its mail meanwhile. Afterwards it is not parked any more.
pub async fn attended<T>(
    context: &Arc<Context>,
    id: &TaskId,
    home: PathBuf,
    attempt: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let ended = tokio::select! {
        ended = attempt => ended,
        Err(error) = attend(context, id, &home) => Err(error),
    };
    unpark(context, id, "its command ended")?;
    context.sign(id, |signs| signs.tool = None);
    ended
}

/// A task whose attempt is over waits for no answer any more.
pub fn unpark(context: &Context, id: &TaskId, why: &str) -> Result<(), RunError> {
    if context.task(id)?.state != TaskState::Waiting {
        return Ok(());
    }
    let data = json!({"why": why});
    let moved = context.store(|store| store.move_task(&context.run.id, id, TaskEvent::Answer, data, |_| {}));
    told_running(context, id, moved.map(drop))
}

/// Tells that a task runs again. A person's answer may have come in the same moment: then it does already.
fn told_running(context: &Context, id: &TaskId, moved: Result<(), StoreError>) -> Result<(), RunError> {
    match moved {
        Ok(()) => context.tell(id, TaskState::Running),
        Err(StoreError::Illegal(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Never comes back but with an error of the store.
async fn attend(context: &Arc<Context>, id: &TaskId, home: &Path) -> Result<std::convert::Infallible, RunError> {
    let (bell, watched) = (context.bell(id), context.watch_mail(id, &home.join(DIRECTORY)));
    let (mut half_written, mut listens) = (false, true);
    let (mut news, mut untold) = (context.target_news(), true);
    if context.task(id)?.unanswered {
        // Whoever wrote that down did not live to end it.
        context.stopping(|stopping| stopping.stop(id));
    }
    loop {
        if std::mem::take(&mut untold) {
            lookout::tell(context, id, home).await?;
        }
        let task = deliver(context, context.task(id)?, home)?;
        ears::pass_on(context, &task);
        if let Some((name, at)) = tool_used(home) {
            let name = context.masked(&name)?;
            context.sign(id, |signs| signs.tool = Some((name, at)));
        }
        let mut look_again = watched.is_none().then_some(LOOK);
        if task.state == TaskState::Running && listens && task.mail.len() < MESSAGES_MAX {
            match asked(home) {
                Ok(None) => half_written = false,
                Ok(Some(asked)) => {
                    park(context, id, asked, Vec::new())?;
                    listens = take_away(home);
                    continue;
                }
                Err(why) if half_written => {
                    half_written = false;
                    listens = take_away(home);
                    let text = format!("question.json is not understood: {why}");
                    context.store(|store| asking::say(store, &context.run.id, id, (MessageKind::Error, &text)))?;
                    continue;
                }
                Err(_) => {
                    half_written = true;
                    look_again = Some(LOOK);
                }
            }
        }
        let question = task.question.as_ref().filter(|_| task.state == TaskState::Waiting && !task.unanswered);
        let left = question.and_then(|question| question.left(clock::now()));
        tokio::select! {
            () = bell.notified() => {}
            moved = news.changed() => untold = moved.is_ok(),
            () = after(look_again) => {}
            () = after(left) => overdue(context, id, question)?,
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Waits so long; for ever where there is no time.
pub async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Writes what was said into the inbox. What cannot be delivered is told in the journal, and not tried again.
fn deliver(context: &Context, task: TaskRecord, home: &Path) -> Result<TaskRecord, RunError> {
    if task.delivered >= task.mail.len() {
        return Ok(task);
    }
    let mut failed = Vec::new();
    for (n, Message { kind, text, .. }) in (1..).zip(&task.mail).skip(task.delivered) {
        let name = format!("{INBOX}/{n:04}-{}.txt", kind.word());
        if let Err(error) = fs::write_beneath(home, Path::new(&name), text.as_bytes(), None) {
            failed.push(format!("{name}: {}", crate::model::cause::chain(&error)));
        }
    }
    let (run, count, data) = (&context.run.id, task.mail.len(), json!({"failed": failed}));
    Ok(context.store(|s| s.edit_task(run, &task.id, "task.mail", data, |task| task.delivered = count))?)
}

/// The question that is asked; an error in words for one that is not understood.
fn asked(home: &Path) -> Result<Option<Asked>, String> {
    let read = fs::read_beneath(home, Path::new(QUESTION), TEXT_MAX as u64);
    let Some(bytes) = read.map_err(|error| crate::model::cause::chain(&error))? else { return Ok(None) };
    let asked: Asked = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if asked.question.trim().is_empty() { Err("the question is empty".into()) } else { Ok(Some(asked)) }
}

/// The last tool that a command said it used, and when: the first line of a file that stays, so that none is lost that is
/// said while this is read, and a successor knows it, too.
fn tool_used(home: &Path) -> Option<(String, SystemTime)> {
    let read = fs::read_beneath_with_time(home, Path::new(TOOL), TEXT_MAX as u64);
    let (content, at) = read
        .inspect_err(|error| tracing::debug!("what is not a file says nothing: {}", crate::model::cause::chain(error)))
        .ok()??;
    let text = String::from_utf8_lossy(&content);
    let line = text.lines().next().unwrap_or_default().trim();
    let name: String = line.chars().filter(|letter| !letter.is_control()).take(TOOL_NAME_MAX).collect();
    // It is just being written.
    (!name.is_empty()).then_some((name, at))
}

/// False for a question that cannot be taken away: it would be asked again for ever.
fn take_away(home: &Path) -> bool {
    let taken = fs::remove_beneath(home, Path::new(QUESTION));
    taken.inspect_err(|error| tracing::warn!(%error, "no further question of this attempt is heard")).is_ok()
}

/// What a task says, as it is kept: without what steers a terminal, which could be in the midst of a secret, and then without those.
pub fn kept(context: &Context, text: &str) -> Result<String, RunError> {
    context.masked(&plain::lines(text, TEXT_MAX))
}

/// Parks a task until its question has an answer. `requests` are those of its agent that wait for it.
pub fn park(context: &Context, id: &TaskId, asked: Asked, requests: Vec<u64>) -> Result<(), RunError> {
    let now = clock::now();
    let until = asked.deadline.map(|deadline| now.plus(deadline.0));
    let text = kept(context, &asked.question)?;
    let default = asked.default.map(|default| kept(context, &default)).transpose()?;
    let heard = context.task(id)?.mail.len();
    let question = Question { text, default, asked_at: now, until, requests, heard };
    let data = json!({"question": question});
    context.store(|store| {
        store.move_task(&context.run.id, id, TaskEvent::Ask, data, |task| {
            (task.question, task.unanswered) = (Some(question), false);
        })
    })?;
    context.tell(id, TaskState::Waiting);
    Ok(())
}

/// Nobody answered in time: its default is the answer, or a person has to look.
fn overdue(context: &Context, id: &TaskId, question: Option<&Question>) -> Result<(), RunError> {
    let run = &context.run.id;
    if context.task(id)?.state != TaskState::Waiting {
        return Ok(());
    }
    match question.and_then(|question| question.default.as_ref()) {
        Some(default) => {
            let answered = context.store(|store| asking::answer(store, run, id, default));
            told_running(context, id, answered)?;
        }
        None => {
            let change = |task: &mut TaskRecord| task.unanswered = true;
            context.store(|store| store.edit_task(run, id, "task.unanswered", json!({}), change))?;
            context.stopping(|stopping| stopping.stop(id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written_and_anything_else_is_none() {
        let home = tempfile::tempdir().expect("a temp dir");
        open(home.path()).expect("made");
        let ask = |text: &str| {
            std::fs::write(home.path().join(QUESTION), text).expect("written");
            asked(home.path())
        };
        assert_eq!(asked(home.path()), Ok(None));
        let whole = r#"{"question": "Which port?", "default": "8080", "deadline": "10m"}"#;
        let question = Asked {
            question: "Which port?".into(),
            default: Some("8080".into()),
            deadline: Some(Span(Duration::from_secs(600))),
        };
        assert_eq!(ask(whole), Ok(Some(question)));
        assert!(matches!(ask(r#"{"question": "Which?"}"#), Ok(Some(Asked { default: None, deadline: None, .. }))));
        for wrong in ["", "{", r#"{"question": " "}"#, r#"{"question": 1}"#, r#"{"question": "x", "deadline": "soon"}"#]
        {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
        assert!(take_away(home.path()));
        assert_eq!(asked(home.path()), Ok(None));
        std::fs::create_dir(home.path().join(QUESTION)).expect("made");
        assert!(asked(home.path()).is_err() && !take_away(home.path()));
    }

    #[test]
    fn a_tool_is_the_first_line_and_what_is_no_file_is_none() {
        let home = tempfile::tempdir().expect("a temp dir");
        open(home.path()).expect("made");
        let path = home.path().join(TOOL);
        let tool = |content: &[u8]| {
            std::fs::write(&path, content).expect("written");
            tool_used(home.path()).map(|(name, _)| name)
        };
        assert_eq!(tool_used(home.path()), None);
        assert_eq!(tool(b" cargo test \nmore\n").as_deref(), Some("cargo test"));
        assert_eq!(tool(b"a\x1b[31m\xff").as_deref(), Some("a[31m\u{fffd}"));
        assert_eq!(tool("\u{e4}".repeat(500).as_bytes()), Some("\u{e4}".repeat(TOOL_NAME_MAX)));
        for none in [&b""[..], b"\n", b" \t\n"] {
            assert_eq!(tool(none), None);
        }
        assert_eq!(tool(&vec![b'x'; TEXT_MAX + 1]), None);
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("linked");
        assert_eq!(tool_used(home.path()), None);
    }

    #[test]
    fn a_mail_directory_is_made_anew_whatever_an_earlier_attempt_left_in_its_place() {
        let (home, outside) = (tempfile::tempdir().expect("a temp dir"), tempfile::tempdir().expect("a temp dir"));
        let at = |name: &str| home.path().join(name);
        let link = |name: &str| std::os::unix::fs::symlink(outside.path(), at(name)).expect("linked");
        let inbox = || std::fs::read_dir(at(INBOX)).expect("an inbox").count();
        link(DIRECTORY);
        open(home.path()).expect("made");
        assert!(!at(DIRECTORY).is_symlink() && inbox() == 0);
        std::fs::write(at(INBOX).join("0009-steer.txt"), "not said by anybody").expect("written");
        std::fs::write(at(QUESTION), r#"{"question": "x"}"#).expect("written");
        std::fs::create_dir(at(TOOL)).expect("made");
        open(home.path()).expect("made");
        assert_eq!((inbox(), asked(home.path()), at(TOOL).exists()), (0, Ok(None), false));
        fs::remove_tree(&at(INBOX)).expect("removed");
        link(INBOX);
        open(home.path()).expect("made");
        assert!(!at(INBOX).is_symlink());
        fs::remove_tree(&at(DIRECTORY)).expect("removed");
        std::fs::write(at(DIRECTORY), "x").expect("written");
        open(home.path()).expect("made");
        assert_eq!((inbox(), std::fs::read_dir(outside.path()).expect("listed").count()), (0, 0));
    }

    #[test]
    fn a_mail_directory_that_leads_elsewhere_is_not_followed() {
        let (home, outside) = (tempfile::tempdir().expect("a temp dir"), tempfile::tempdir().expect("a temp dir"));
        let theirs = outside.path().join("question.json");
        std::fs::write(&theirs, r#"{"question": "x"}"#).expect("written");
        std::os::unix::fs::symlink(outside.path(), home.path().join(DIRECTORY)).expect("linked");
        assert!(asked(home.path()).is_err());
        assert!(!take_away(home.path()));
        assert!(theirs.exists(), "what is elsewhere stays");
        assert!(fs::write_beneath(home.path(), Path::new(".treehand/inbox/0001-steer.txt"), b"x", None).is_err());
    }
}
