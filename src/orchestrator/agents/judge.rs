//! What the end of an agent's attempt means, from what its shim and its agent said, and by what its profile takes for success.
//!
//! The verdict itself is pure (`agent::verdict`); here it gets its facts, and what was lent comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ears::TaskEars;
use super::equip::profile_of;
use crate::agent::verdict::{self, Ended};
use crate::confine::shim::Stopped;
use crate::model::agent::{AgentFailure, AgentReport, Budget};
use crate::model::record::TaskRecord;
use crate::orchestrator::attempt::AttemptEnd;
use crate::orchestrator::context::{Context, RunError};
use crate::orchestrator::failure::Wrong;

/// What an agent asked for while nobody was there to hear it, and then ended: what it handed in is stored, a question has no use
/// any more.
pub fn hear_the_rest(context: &Arc<Context>, task: &TaskRecord, end: &AttemptEnd) {
    let ears = TaskEars::new(context, (&task.id, task.attempts.len()), Budget::default());
    for request in end.unanswered.iter().filter(|request| matches!(request.tool.as_str(), "submit_result" | "progress"))
    {
        let _nobody_waits_for_it = ears.answered(request);
    }
}

/// Why an attempt that nobody stopped is a failure all the same, as far as that is known before its work was looked at.
pub fn failure(context: &Context, task: &TaskRecord, end: &AttemptEnd) -> Option<AgentFailure> {
    let agent = task.attempts.last()?.agent.as_ref()?;
    let profile = profile_of(&context.run, &agent.profile)?;
    let nothing_said = AgentReport::default();
    let report = end.agent.as_deref().unwrap_or(&nothing_said);
    verdict::judge(&profile, Ended { exit: end.exit, report, submission: agent.submission.as_ref() })
}

/// The failure of an attempt that was ended for its silence, or by its deadline: of the class of the error that stood then, where that
/// is one that another agent may do without. It had tried again until then.
pub fn with_fault(context: &Context, task: &TaskRecord, end: &AttemptEnd, wrong: Wrong) -> Wrong {
    let by_deadline = matches!(end.stopped, Some(Stopped::Timeout | Stopped::Idle | Stopped::NoStart));
    let fault = end.agent.as_ref().and_then(|report| report.fault.as_ref()).filter(|_| by_deadline);
    let agent = task.attempts.last().and_then(|attempt| attempt.agent.as_ref());
    let class = fault.zip(agent).and_then(|(fault, agent)| {
        let profile = profile_of(&context.run, &agent.profile)?;
        Some(verdict::classify(&profile.classify, fault)).filter(|class| class.is_of_one_agent())
    });
    Wrong { class: class.or(wrong.class), ..wrong }
}

/// Why an attempt that changed nothing is a failure.
pub fn unchanged(context: &Context, task: &TaskRecord) -> Option<AgentFailure> {
    let agent = task.attempts.last()?.agent.as_ref()?;
    let profile = profile_of(&context.run, &agent.profile)?;
    verdict::judge_unchanged(&profile, (&agent.report, agent.submission.as_ref()))
}

/// What the agents that worked in a task's tree leave there that is no work.
pub fn leaves(context: &Context, task: &TaskRecord) -> Vec<String> {
    let names: BTreeSet<&str> =
        task.attempts.iter().filter_map(|attempt| attempt.agent.as_ref()).map(|agent| agent.profile.as_str()).collect();
    names.into_iter().filter_map(|name| profile_of(&context.run, name)).flat_map(|profile| profile.leaves).collect()
}

/// Takes back what the agent of a task's last attempt was lent.
pub fn take_back(context: &Context, task: &TaskRecord) -> Result<(), RunError> {
    let agent = task.attempts.last().and_then(|attempt| attempt.agent.as_ref());
    let Some(agent) = agent.filter(|agent| !agent.loans.is_empty()) else { return Ok(()) };
    super::loan::take_back(&agent.loans, &context.paths(&task.id)?.home);
    Ok(())
}
