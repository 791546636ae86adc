//! Tests of verdicts: by hand, case by case, and on the recordings of real agents.
//! None of these is believed for its exit code.

use super::profile::{Evidence, Profile};
use super::recorded_tests::{read, recordings};
use super::registry::Registry;
use super::verdict::{Ended, classify, judge, judge_unchanged};
use crate::model::FailureClass;
use crate::model::agent::{AgentFault, AgentReport, Submission, SubmissionStatus};

fn profile(name: &str) -> Profile {
    Registry::new(&[]).expect("profiles").get(name).expect("a profile")
}

fn verdict(
    profile: &Profile,
    exit: Option<i32>,
    report: &AgentReport,
    submission: Option<&Submission>,
) -> Option<(&'static str, FailureClass)> {
    judge(profile, Ended { exit, report, submission }).map(|failure| (failure.kind, failure.class))
}

fn submission(status: SubmissionStatus) -> Submission {
    Submission { status, summary: "so it is".into() }
}

#[test]
fn each_end_has_its_verdict_the_worst_first() {
    use FailureClass as C;
    let codex = profile("codex");
    let ended = AgentReport { ended: true, ..AgentReport::default() };
    let fault = |message: &str, status| AgentReport {
        fault: Some(AgentFault { message: message.into(), status }),
        ..ended.clone()
    };
    let words = "a warning\ncodex: not logged in\nsee the manual";
    let aside = |turns| AgentReport { aside: Some(words.into()), turns, ..AgentReport::default() };
    let denied = AgentReport { denied: vec!["Bash".into()], ..ended.clone() };
    let (done, failed) = (submission(SubmissionStatus::Done), submission(SubmissionStatus::Failed));
    let table = [
        ("well", Some(0), &ended, None, None),
        ("with a result", Some(0), &ended, Some(&done), None),
        ("an error event and exit 0", Some(0), &fault("boom", None), Some(&done), Some(("agent", C::Failure))),
        ("401", Some(1), &fault("x", Some(401)), None, Some(("auth", C::Auth))),
        ("429", Some(0), &fault("x", Some(429)), None, Some(("rate_limit", C::RateLimit))),
        ("gave up", Some(0), &ended, Some(&failed), Some(("gave_up", C::Failure))),
        ("denied", Some(0), &denied, None, Some(("denied", C::Policy))),
        ("exit 1", Some(1), &ended, None, Some(("exit", C::Failure))),
        ("no login, and not a word", Some(1), &aside(0), None, Some(("exit", C::Auth))),
        ("the same in the middle", Some(1), &aside(1), None, Some(("exit", C::Failure))),
        ("a signal", None, &ended, None, Some(("signal", C::Crash))),
        ("in the middle", Some(0), &AgentReport::default(), None, Some(("cut", C::Transient))),
    ];
    for (what, exit, report, submission, expected) in table {
        assert_eq!(verdict(&codex, exit, report, submission), expected, "{what}");
    }
}

#[test]
fn who_changes_nothing_says_that_there_was_nothing_to_do() {
    let (codex, aider) = (profile("codex"), profile("aider"));
    let kind = |profile: &Profile, text: &str, submission: Option<&Submission>| {
        let report = AgentReport { text: Some(text.into()), ..AgentReport::default() };
        judge_unchanged(profile, (&report, submission)).map(|failure| (failure.kind, failure.class))
    };
    assert_eq!(kind(&codex, "", Some(&submission(SubmissionStatus::NothingToDo))), None);
    assert_eq!(kind(&codex, "", Some(&submission(SubmissionStatus::Done))), Some(("no_result", FailureClass::Failure)));
    let words = "litellm.AuthenticationError: Check your API key.";
    assert_eq!(kind(&codex, words, None), Some(("no_result", FailureClass::Failure)), "its errors are events");
    assert_eq!(kind(&aider, words, None), Some(("auth", FailureClass::Auth)), "it has nothing but words");
    let words = "raw.githubusercontent.com: OSError('Tunnel connection failed: 403 Forbidden')\nTokens: 500 sent, 429 received.";
    assert_eq!(kind(&aider, words, None), Some(("no_result", FailureClass::Failure)), "that is not its model's server");
}

#[test]
fn a_number_in_words_stands_by_itself() {
    let words = &profile("codex").classify;
    let class = |message: &str| classify(words, &AgentFault { message: message.into(), status: None });
    assert_eq!(
        [class("last status: 429 Too Many"), class("14293 tokens")],
        [FailureClass::RateLimit, FailureClass::Failure]
    );
}

#[test]
fn every_recorded_end_has_its_verdict_whatever_the_exit_code_says() {
    use FailureClass as C;
    let mut wrong = Vec::new();
    for (agent, case, bytes) in recordings() {
        let (profile, what) = (profile(&agent), format!("{agent} {case}"));
        let (report, _) = read(&agent, &bytes);
        // A stream that was cut ends these as if they were done: only a result that they handed in shows that.
        let ended_well = ["ok", "mcp", "resume", "429-twice", "failed-tool"].contains(&case.as_str());
        let hands_in = profile.success.require == Evidence::Submission;
        let done = submission(SubmissionStatus::Done);
        let handed_in = Some(&done).filter(|_| hands_in && ended_well);
        let class = verdict(&profile, Some(0), &report, handed_in).map(|(_, class)| class);
        let unchanged = judge_unchanged(&profile, (&report, None)).map(|failure| failure.class);
        let with_events = profile.output.format != super::output::Format::Text;
        let is_right = match (case.as_str(), with_events) {
            _ if ended_well => class.is_none(),
            ("401", true) => class == Some(C::Auth),
            ("401", false) => (class, unchanged) == (None, Some(C::Auth)),
            ("400", _) => class == Some(C::Policy),
            // One that only tries again and says nothing is cut when its time is over.
            ("429", _) => matches!(class, Some(C::RateLimit | C::Transient)),
            ("500", _) => class == Some(C::Transient),
            ("denied" | "unconfined", _) => class == Some(C::Policy),
            ("cut", _) if hands_in => class.is_some(),
            // Some try again without a stream, and end well.
            ("cut", _) => matches!(class, Some(C::Transient) | None),
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{what}: {class:?}, unchanged {unchanged:?}, fault {:?}", report.fault));
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}
