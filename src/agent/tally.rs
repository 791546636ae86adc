//! Decision file: what single lines of an agent say, added up to what is known of it.
//! Bounded, whatever it says: texts are shortened, lists have a most, numbers stay at the greatest that there is.

use std::collections::VecDeque;

use serde_json::Value;

use super::output::{Event, Mode, Rule};
use super::plain;
use super::pointer::{self, Said};
use crate::model::agent::{AgentFault, AgentReport, Usage};

/// Most bytes of what an agent said last.
pub const TEXT_MAX: usize = 16 * 1024;
/// Most bytes of an error, and of anything else in a report.
const MESSAGE_MAX: usize = 2 * 1024;
/// Most bytes of the name of a conversation.
const SESSION_MAX: usize = 200;
/// Most bytes of the name of a tool.
const NAME_MAX: usize = 200;
/// Most things that were not permitted.
const DENIED_MAX: usize = 20;
/// So many of the latest names that `once` led to are known.
const ONCE_MAX: usize = 64;

/// What was said so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Added up.
    pub report: AgentReport,
    heard: VecDeque<(usize, String)>,
    /// The rule whose text the next line may go on with.
    open: Option<usize>,
}

impl Tally {
    /// Takes in what one line says. `false` if it says nothing.
    pub fn hear(&mut self, rules: &[Rule], line: &Value) -> bool {
        let open = self.open.take();
        let mut says = false;
        for said in pointer::said(rules, line) {
            says = true;
            if !self.is_again(&said) {
                self.take(&said, open);
            }
        }
        says
    }

    fn is_again(&mut self, said: &Said<'_, '_>) -> bool {
        let Some(name) = said.rule.once.as_ref().and_then(|at| pointer::text(said.at, at)) else { return false };
        let heard = (said.place, plain::line(&name, NAME_MAX));
        let is_again = self.heard.contains(&heard);
        if !is_again {
            self.heard.push_back(heard);
            while self.heard.len() > ONCE_MAX {
                self.heard.pop_front();
            }
        }
        is_again
    }

    fn take(&mut self, said: &Said<'_, '_>, open: Option<usize>) {
        let report = &mut self.report;
        match said.event() {
            Event::Session => report.session = said.text(&said.rule.get).and_then(session).or(report.session.take()),
            Event::Turn => {
                report.turns = report.turns.saturating_add(1);
                report.turns_without_tool = report.turns_without_tool.saturating_add(1);
            }
            Event::Tool => {
                report.tools = report.tools.saturating_add(1);
                report.turns_without_tool = 0;
                if let Some(name) = said.text(&said.rule.name) {
                    report.last_tool = Some(plain::line(&name, NAME_MAX));
                }
                if said.has_failed() {
                    report.tool_failures = report.tool_failures.saturating_add(1);
                }
                self.goes_on();
            }
            Event::ToolFailed => report.tool_failures = report.tool_failures.saturating_add(1),
            Event::Text => self.text(said, open),
            Event::Usage => report.usage = usage(report.usage, said),
            Event::Error => report.fault = Some(fault(said)),
            Event::Retry => {
                report.retries = report.retries.saturating_add(1);
                if said.text(&said.rule.get).is_some() {
                    report.fault = Some(fault(said));
                }
            }
            Event::Denied => {
                let what = said.text(&said.rule.get).map(|what| plain::line(&what, MESSAGE_MAX));
                report.denied.extend(what.filter(|_| report.denied.len() < DENIED_MAX));
            }
            Event::End => self.end(said),
        }
    }

    fn goes_on(&mut self) {
        if !self.report.ended {
            self.report.fault = None;
        }
    }

    fn text(&mut self, said: &Said<'_, '_>, open: Option<usize>) {
        let Some(text) = said.text(&said.rule.get) else { return };
        let mut plain = plain::lines(&text, TEXT_MAX);
        let goes_on = said.rule.part && open == Some(said.place);
        self.open = said.rule.part.then_some(said.place);
        if goes_on && let Some(begun) = &self.report.text {
            plain.insert_str(0, begun);
            plain::cut(&mut plain, TEXT_MAX);
        } else if plain.trim().is_empty() {
            return;
        }
        self.report.text = Some(plain);
        self.goes_on();
    }

    fn end(&mut self, said: &Said<'_, '_>) {
        if said.has_failed() {
            let told = fault(said);
            let standing = self.report.fault.take();
            self.report.fault = match standing {
                Some(standing) if said.text(&said.rule.get).is_none() => Some(standing),
                Some(standing) => Some(AgentFault { status: told.status.or(standing.status), ..told }),
                None => Some(told),
            };
        } else {
            self.goes_on();
        }
        self.report.ended = true;
    }
}

/// The name of a conversation, if it can be an argument: one that is shortened would be another's, and one with a dash before it a flag.
fn session(name: String) -> Option<String> {
    let fits = !name.is_empty() && name.len() <= SESSION_MAX && !name.starts_with('-');
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
    (fits && !name.contains(is_odd) && plain::line(&name, SESSION_MAX) == name).then_some(name)
}

fn fault(said: &Said<'_, '_>) -> AgentFault {
    let message = said.text(&said.rule.get).map(|text| plain::line(&text, MESSAGE_MAX)).unwrap_or_default();
    let status = said.rule.status.as_ref().and_then(|at| pointer::status(said.at, at));
    AgentFault { message, status }
}

fn usage(before: Usage, said: &Said<'_, '_>) -> Usage {
    let rule = said.rule;
    let sum = |pointers: &[String]| pointer::sum(said.at, pointers);
    let (input, cached, output) = (sum(&rule.input), sum(&rule.cached), sum(&rule.output));
    let cost_micros = rule.cost.as_ref().and_then(|at| pointer::micros(said.at, at));
    match rule.mode {
        Mode::Add => before.plus(Usage {
            input: input.unwrap_or(0),
            cached: cached.unwrap_or(0),
            output: output.unwrap_or(0),
            cost_micros,
        }),
        Mode::Total => Usage {
            input: input.unwrap_or(before.input),
            cached: cached.unwrap_or(before.cached),
            output: output.unwrap_or(before.output),
            cost_micros: cost_micros.or(before.cost_micros),
        },
    }
}
