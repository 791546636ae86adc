//! Decision file: whether an attempt of an agent goes on with what the one before it left: in the same workspace, in the same
//! conversation. Anything else begins anew, and what was there is in the trash.

use crate::model::FailureClass;
use crate::model::agent::{AgentChoice, Handover};
use crate::model::record::{AttemptRecord, TaskRecord};

/// With what an attempt goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesOn {
    /// The conversation of the attempt before it; `None` for another agent's.
    pub session: Option<String>,
    /// What an agent is told of that.
    pub told: String,
}

/// The attempt before the next one, where that counts.
fn before(task: &TaskRecord) -> Option<&AttemptRecord> {
    let pardoned = usize::try_from(task.pardoned).unwrap_or(usize::MAX);
    task.attempts.get(pardoned..)?.last()
}

/// With what the next attempt of a task goes on, if it does. `can_resume` says of an agent that it can go on with a conversation,
/// `model` which model it would have.
pub fn goes_on(
    task: &TaskRecord,
    can_resume: impl Fn(&str) -> bool,
    model: impl Fn(&AgentChoice) -> Option<String>,
) -> Option<GoesOn> {
    let (last, next) = (before(task)?, task.next_agent()?);
    if task.resolving.is_some() {
        return None;
    }
    let (agent, error) = (last.agent.as_ref()?, last.error.as_ref()?);
    let class = error.class.unwrap_or(FailureClass::Failure);
    if class == FailureClass::Missing || !last.reached_its_command() {
        // It never began, and its setup steps may not have run.
        return None;
    }
    if (&agent.profile, &agent.model) != (&next.profile, &model(next)) {
        let told = format!(
            "{} worked here before you and had to stop ({}). What it changed so far is still in the worktree: go on with it.",
            agent.profile,
            class.words()
        );
        return (task.spec.handover == Handover::Continue).then_some(GoesOn { session: None, told });
    }
    let interrupted = matches!(
        class,
        FailureClass::Crash | FailureClass::Transient | FailureClass::Timeout | FailureClass::RateLimit
    );
    // Of a conversation in which the model has said nothing there is nothing to go on with, and some agents keep none.
    let has_begun = agent.report.turns > 0 || agent.report.tools > 0;
    let goes = |name: &String| interrupted && has_begun && is_name(name) && can_resume(&next.profile);
    let session = agent.report.session.clone().filter(goes)?;
    let told = format!("You were interrupted ({}). Your work so far is still there: go on with it.", class.words());
    Some(GoesOn { session: Some(session), told })
}

/// True for what can be the name of a conversation: it becomes an argument of the next attempt, and an agent may say anything. What
/// could be a flag, or a path, is none.
fn is_name(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    text.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && !text.contains("..") && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::agent::{AgentRecord, AgentReport};
    use crate::model::record::AttemptError;
    use crate::store::fixture::{attempt, tasks};

    fn task(agents: &[&str], ended: &[(&str, FailureClass)]) -> TaskRecord {
        let mut task = tasks(&[("t", "queued", &[])]).remove(0);
        task.spec.agents = agents.iter().map(|name| name.parse().expect("an agent")).collect();
        task.attempts = (1..)
            .zip(ended)
            .map(|(n, (name, class))| {
                let error =
                    AttemptError { kind: "agent".into(), message: "x".into(), class: Some(*class), retry_after: None };
                let report = AgentReport { session: Some(format!("s{n}")), turns: 1, ..AgentReport::default() };
                let agent = AgentRecord { profile: (*name).to_owned(), report, ..AgentRecord::default() };
                AttemptRecord { error: Some(error), agent: Some(agent), ..attempt(n) }
            })
            .collect();
        task
    }

    fn session(task: &TaskRecord) -> Option<Option<String>> {
        goes_on(task, |name| name != "aider", |choice| choice.model.clone()).map(|goes_on| goes_on.session)
    }

    #[test]
    fn an_interrupted_agent_goes_on_with_its_conversation_and_a_failed_one_begins_anew() {
        use FailureClass as C;
        for (class, expected) in [
            (C::Crash, Some(Some("s1".to_owned()))),
            (C::Transient, Some(Some("s1".to_owned()))),
            (C::Timeout, Some(Some("s1".to_owned()))),
            (C::RateLimit, Some(Some("s1".to_owned()))),
            (C::Failure, None),
            (C::Policy, None),
        ] {
            assert_eq!(session(&task(&["codex"], &[("codex", class)])), expected, "{class:?}");
        }
        assert_eq!(session(&task(&["codex"], &[])), None);
        assert_eq!(session(&task(&["aider"], &[("aider", C::Crash)])), None, "it cannot");
        let mut pardoned = task(&["codex"], &[("codex", C::Crash)]);
        pardoned.pardoned = 1;
        assert_eq!(session(&pardoned), None, "a person wants it done again");
        let mut configured = task(&["codex"], &[("codex", C::Crash)]);
        let with = |task: &TaskRecord, model: &str| goes_on(task, |_| true, |_| Some(model.to_owned()));
        if let Some(agent) = &mut configured.attempts[0].agent {
            agent.model = Some("a".into());
        }
        assert!(with(&configured, "a").is_some() && with(&configured, "b").is_none(), "the model is that of the user");
    }

    #[test]
    fn gemini_could_not_go_on_with_a_conversation_in_which_nothing_was_said() {
        let mut task = task(&["gemini"], &[("gemini", FailureClass::Transient)]);
        assert_eq!(session(&task), Some(Some("s1".to_owned())));
        if let Some(agent) = &mut task.attempts[0].agent {
            agent.report.turns = 0;
        }
        assert_eq!(session(&task), None);
    }

    #[test]
    fn what_is_no_name_of_a_conversation_is_not_gone_on_with() {
        let mut task = task(&["codex"], &[("codex", FailureClass::Crash)]);
        let mut says = |name: &str| {
            let agent = task.attempts[0].agent.as_mut().expect("an agent");
            agent.report.session = Some(name.to_owned());
            session(&task)
        };
        for name in ["0193-ab", "ses_1", "a.b:c"] {
            assert_eq!(says(name), Some(Some(name.to_owned())), "{name}");
        }
        for name in ["", "-x", "--resume", "../x", "a..b", ".", "/etc/passwd", "a/b", "a b", "a\nb", "a\0", "\u{202e}a"]
        {
            assert_eq!(says(name), None, "{name:?}");
        }
    }

    #[test]
    fn nobody_goes_on_where_an_agent_never_began() {
        let mut task = task(&["codex", "claude"], &[("codex", FailureClass::Missing)]);
        task.spec.handover = Handover::Continue;
        assert_eq!(session(&task), None);
        let error = task.attempts[0].error.as_mut().expect("an error");
        (error.kind, error.class) = ("setup".into(), Some(FailureClass::RateLimit));
        assert_eq!(session(&task), None);
        assert_eq!(task.next_agent().map(ToString::to_string).as_deref(), Some("codex"), "it is not to blame");
    }

    #[test]
    fn the_next_agent_goes_on_in_the_same_workspace_where_that_is_wanted() {
        let ended = [("codex", FailureClass::Auth)];
        let mut task = task(&["codex", "claude"], &ended);
        assert_eq!(task.next_agent().map(ToString::to_string).as_deref(), Some("claude"));
        assert_eq!(session(&task), None);
        task.spec.handover = Handover::Continue;
        assert_eq!(session(&task), Some(None));
    }
}
