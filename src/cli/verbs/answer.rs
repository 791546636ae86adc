//! `answer` and `steer`: what a person says to a task at work. An answer is for one that is parked with a question.
//!
//! It is on record when the command returns, and comes into the task's inbox then.

use std::io::Read;

use super::run::report;
use crate::cli::args::MessageArgs;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::model::mail::MessageKind;
use crate::orchestrator::control::Command;
use crate::orchestrator::mail::TEXT_MAX;
use crate::orchestrator::{asking, client};

/// Answers the question of a task.
pub fn answer(session: &Session, args: &MessageArgs) -> Result<u8, CliError> {
    say(session, args, MessageKind::Answer)
}

/// Says something to a task.
pub fn steer(session: &Session, args: &MessageArgs) -> Result<u8, CliError> {
    say(session, args, MessageKind::Steer)
}

fn say(session: &Session, args: &MessageArgs, kind: MessageKind) -> Result<u8, CliError> {
    let store = session.store()?;
    let (run, task) = session.target(&store, &args.target)?;
    let Some(task) = task else {
        return Err(CliError::usage(format!("`{}` names a run: say which task, RUN/TASK", args.target)));
    };
    let (run, id, text) = (&run.id, &task.id, text(args)?);
    if let Some(why) = asking::deaf(&task, kind) {
        return Err(CliError::refused(format!("{run}/{id} {why}")));
    }
    let command = Command::Say { task: id.clone(), kind, text: text.clone() };
    client::command(&session.repo, &store, run, &command, |store| match kind {
        MessageKind::Answer => asking::answer(store, run, id, &text),
        _ => asking::say(store, run, id, (kind, &text)),
    })?;
    report(session, &store, run).map(|_| 0)
}

fn text(args: &MessageArgs) -> Result<String, CliError> {
    let mut text = args.text.clone();
    if text == "-" {
        text.clear();
        let read = std::io::stdin().take(TEXT_MAX as u64 + 1).read_to_string(&mut text);
        read.map_err(|error| CliError::io("cannot read the text", &error))?;
    }
    if text.len() > TEXT_MAX {
        return Err(CliError::usage(format!("the text has more than {TEXT_MAX} bytes")));
    }
    Ok(text)
}
