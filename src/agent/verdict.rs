//! Decision file: what the end of an agent means: success needs evidence, and an exit code is none.
//!
//! Known traps are its cases: programs that end with 0 after an error, say "success" of a failure, end in the middle of a sentence,
//! or were not permitted to do anything. What the errors mean for the next attempt is told by words and status, as a profile says.

use super::output::Format;
use super::profile::{Classify, Evidence, Profile};
use crate::model::FailureClass;
use crate::model::agent::{AgentFailure, AgentFault, AgentReport, Submission, SubmissionStatus};

/// How an agent ended that nobody stopped.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its exit code; `None` where a signal ended it.
    pub exit: Option<i32>,
    /// What it said of itself.
    pub report: &'a AgentReport,
    /// What it handed in.
    pub submission: Option<&'a Submission>,
}

/// Longest text of an agent that is told again.
const TOLD_MAX: usize = 300;

/// Why that is a failure, as far as it is known before its work was looked at; `None` for a success so far.
pub fn judge(profile: &Profile, ended: Ended<'_>) -> Option<AgentFailure> {
    let failure = |kind, message: String, class| Some(AgentFailure { kind, message, class });
    let report = ended.report;
    if let Some(fault) = &report.fault {
        let class = classify(&profile.classify, fault);
        return failure(kind_of(class), format!("ended with an error: {}", told(&fault.message)), class);
    }
    if let Some(Submission { status: SubmissionStatus::Failed, summary }) = ended.submission {
        return failure("gave_up", format!("gave up: {}", told(summary)), FailureClass::Failure);
    }
    if let Some(denied) = report.denied.first() {
        return failure("denied", format!("was not permitted: {}", told(denied)), FailureClass::Policy);
    }
    match ended.exit {
        Some(code) if profile.success.exit.contains(&code) => {}
        Some(code) => {
            // Who did not get as far as a request says why where errors go.
            let aside = report.aside.as_ref().filter(|_| report.turns == 0 && profile.output.format != Format::Text);
            let said =
                AgentFault { message: aside.or(report.text.as_ref()).cloned().unwrap_or_default(), status: None };
            return failure("exit", format!("exited with {code}"), classify(&profile.classify, &said));
        }
        None => return failure("signal", "was ended by a signal".into(), FailureClass::Crash),
    }
    if profile.success.end && !report.ended {
        return failure("cut", "ended without saying that it is done".into(), FailureClass::Transient);
    }
    if profile.success.require == Evidence::Submission && ended.submission.is_none() {
        return failure("no_result", "ended and handed in no result".into(), FailureClass::Failure);
    }
    None
}

/// Why an agent that changed nothing failed; `None` where that is all right. One whose output has no errors that could be told from
/// words is held to its words then.
pub fn judge_unchanged(
    profile: &Profile,
    (report, submission): (&AgentReport, Option<&Submission>),
) -> Option<AgentFailure> {
    let said_so = submission.is_some_and(|one| one.status == SubmissionStatus::NothingToDo);
    let none = profile.success.require == Evidence::None;
    let message = match submission {
        Some(_) => "handed in a result and changed nothing",
        None => "ended, changed nothing and handed in no result",
    };
    if said_so || none {
        return None;
    }
    let said = report.text.as_ref().filter(|_| profile.output.format == Format::Text && submission.is_none());
    let said = said.map(|text| AgentFault { message: text.clone(), status: None });
    let class = said.map_or(FailureClass::Failure, |said| classify(&profile.classify, &said));
    let kind = if class.is_of_one_agent() { kind_of(class) } else { "no_result" };
    Some(AgentFailure { kind, message: message.into(), class })
}

fn kind_of(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Auth => "auth",
        FailureClass::RateLimit => "rate_limit",
        _ => "agent",
    }
}

/// The class of an error: a status first, then words, the ones that another attempt is of no use for before the others.
pub fn classify(words: &Classify, fault: &AgentFault) -> FailureClass {
    let message = fault.message.to_lowercase();
    let says = |words: &[String]| {
        words.iter().any(|word| match (word.parse::<u16>(), fault.status) {
            (Ok(number), Some(status)) => number == status,
            (Ok(_), None) => has_word(&message, word),
            (Err(_), _) => message.contains(word.as_str()),
        })
    };
    match fault.status {
        Some(401 | 403) => return FailureClass::Auth,
        Some(429) => return FailureClass::RateLimit,
        Some(500..=599 | 408) => return FailureClass::Transient,
        _ => {}
    }
    let classes = [
        (FailureClass::Auth, &words.auth),
        (FailureClass::RateLimit, &words.rate_limit),
        (FailureClass::Policy, &words.permanent),
        (FailureClass::Transient, &words.transient),
    ];
    classes.into_iter().find(|(_, words)| says(words)).map_or(FailureClass::Failure, |(class, _)| class)
}

/// A number stands by itself: 401 is not in 14013.
fn has_word(text: &str, number: &str) -> bool {
    let is_digit = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_digit());
    text.match_indices(number)
        .any(|(at, _)| !is_digit(text[..at].chars().next_back()) && !is_digit(text[at + number.len()..].chars().next()))
}

fn told(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match line.char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
