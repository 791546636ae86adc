//! What is known of the agent of an attempt: what it said of itself on its output, what it used, what it handed in.
//! Plain data, kept with the attempt; how it is read is in `agent::digest`, what follows from it in `agent::verdict`.

use serde::{Deserialize, Serialize};

use super::FailureClass;

/// What an agent says that it used. It counts itself, so that this is a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that it sent, those out of a cache included.
    pub input: u64,
    /// Those of them that came out of a cache.
    pub cached: u64,
    /// Tokens that it got.
    pub output: u64,
    /// What it cost, in millionths of a dollar, which is written in dollars; `None` where it does not say.
    #[serde(default, rename = "cost_usd", with = "in_dollars")]
    pub cost_micros: Option<u64>,
}

impl Usage {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// This one without that, which is part of it.
    #[must_use]
    pub fn less(self, part: Usage) -> Usage {
        let cost = self.cost_micros.map(|cost| cost.saturating_sub(part.cost_micros.unwrap_or(0)));
        Usage {
            input: self.input.saturating_sub(part.input),
            cached: self.cached.saturating_sub(part.cached),
            output: self.output.saturating_sub(part.output),
            cost_micros: cost,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        let cost_micros = match (self.cost_micros, other.cost_micros) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        Usage {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
            cost_micros,
        }
    }
}

/// An error that an agent told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFault {
    /// In its words, shortened.
    pub message: String,
    /// The HTTP status that it names.
    #[serde(default)]
    pub status: Option<u16>,
}

/// What an agent said of itself on its output, added up. Bounded, however much it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// Its name for the conversation, by which it can be resumed.
    pub session: Option<String>,
    /// Requests to a model, as far as it tells of them.
    pub turns: u64,
    /// Uses of tools.
    pub tools: u64,
    /// Those of them that failed.
    pub tool_failures: u64,
    /// The tool that it used last.
    pub last_tool: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// What it said last, shortened.
    pub text: Option<String>,
    /// What it wrote last where errors go, shortened.
    pub aside: Option<String>,
    /// The error that stands: nothing that it did after it says that it went on.
    pub fault: Option<AgentFault>,
    /// Errors after which it tried again, by its own word.
    pub retries: u64,
    /// What it was not permitted to do; the first few.
    pub denied: Vec<String>,
    /// It said that it is done.
    pub ended: bool,
    /// Requests since it used a tool last.
    pub turns_without_tool: u64,
    /// Lines that were understood and say nothing that counts.
    pub unknown: u64,
    /// Lines that are none of its format.
    pub malformed: u64,
}

/// What an attempt may use up at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Tokens, sent and got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Money, in millionths of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Requests to a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Requests one after the other without the use of a tool: who only talks goes round in a circle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns_without_tool: Option<u64>,
}

/// What of a budget is used up, or nearly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPart {
    /// Tokens.
    Tokens,
    /// Money.
    Cost,
    /// Requests.
    Turns,
    /// Requests without the use of a tool.
    TurnsWithoutTool,
    /// The time until its deadline, which is no part of a [`Budget`].
    Time,
}

impl BudgetPart {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            BudgetPart::Tokens => "tokens",
            BudgetPart::Cost => "money",
            BudgetPart::Turns => "turns",
            BudgetPart::TurnsWithoutTool => "turns without the use of a tool",
            BudgetPart::Time => "time",
        }
    }
}

impl Budget {
    /// The first part of which so many of a hundred are used.
    pub fn reached(&self, report: &AgentReport, percent: u64) -> Option<BudgetPart> {
        let parts = [
            (BudgetPart::Tokens, self.tokens, report.usage.tokens()),
            (BudgetPart::Cost, self.cost_micros, report.usage.cost_micros.unwrap_or(0)),
            (BudgetPart::Turns, self.turns, report.turns),
            (BudgetPart::TurnsWithoutTool, self.turns_without_tool, report.turns_without_tool),
        ];
        let is_reached = |most: u64, used: u64| used.saturating_mul(100) >= most.saturating_mul(percent);
        parts
            .into_iter()
            .find(|(_, most, used)| most.is_some_and(|most| is_reached(most, *used)))
            .map(|(part, ..)| part)
    }

    /// This one, and the other one where this says nothing, part by part.
    #[must_use]
    pub fn or(self, other: Budget) -> Budget {
        Budget {
            tokens: self.tokens.or(other.tokens),
            cost_micros: self.cost_micros.or(other.cost_micros),
            turns: self.turns.or(other.turns),
            turns_without_tool: self.turns_without_tool.or(other.turns_without_tool),
        }
    }

    /// What is left of it; nothing of a part that is used up.
    #[must_use]
    pub fn without(self, used: Usage, turns: u64) -> Budget {
        let left = |most: Option<u64>, used: u64| most.map(|most| most.saturating_sub(used));
        Budget {
            tokens: left(self.tokens, used.tokens()),
            cost_micros: left(self.cost_micros, used.cost_micros.unwrap_or(0)),
            turns: left(self.turns, turns),
            turns_without_tool: self.turns_without_tool,
        }
    }

    /// So much more than that: what was used before it is told once more.
    #[must_use]
    pub fn beyond(self, used: Usage) -> Budget {
        let more = |most: Option<u64>, used: u64| most.map(|most| most.saturating_add(used));
        let cost_micros = more(self.cost_micros, used.cost_micros.unwrap_or(0));
        Budget { tokens: more(self.tokens, used.tokens()), cost_micros, ..self }
    }

    /// The smaller of both, part by part.
    #[must_use]
    pub fn within(self, other: Budget) -> Budget {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Budget {
            tokens: least(self.tokens, other.tokens),
            cost_micros: least(self.cost_micros, other.cost_micros),
            turns: least(self.turns, other.turns),
            turns_without_tool: least(self.turns_without_tool, other.turns_without_tool),
        }
    }
}

/// What an agent handed in as its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Whether it says that the task is done.
    pub status: SubmissionStatus,
    /// What it did, or why not.
    pub summary: String,
}

/// What an agent says of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// It is done.
    Done,
    /// There was nothing to do.
    NothingToDo,
    /// It could not be done.
    Failed,
}

super::text_enum!(SubmissionStatus { Done = "done", NothingToDo = "nothing_to_do", Failed = "failed" });

/// A file of the user's of which an agent has a copy while it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loan {
    /// The user's.
    pub from: std::path::PathBuf,
    /// The copy, below the agent's home.
    pub to: std::path::PathBuf,
    /// What the agent makes of it comes back.
    pub refresh: bool,
    /// What the user's was like then.
    pub seen: String,
}

/// Who worked in an attempt, where that is no plain command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// The profile.
    pub profile: String,
    /// The model that was asked for, by its task or by the user.
    #[serde(default)]
    pub model: Option<String>,
    /// The program, resolved.
    pub program: std::path::PathBuf,
    /// What it says that its version is.
    #[serde(default)]
    pub version: Option<String>,
    /// The conversation that this attempt goes on with.
    #[serde(default)]
    pub resumed: Option<String>,
    /// What it said of itself.
    #[serde(default)]
    pub report: AgentReport,
    /// What it handed in.
    #[serde(default)]
    pub submission: Option<Submission>,
    /// What it said last of how far it is.
    #[serde(default)]
    pub progress: Option<String>,
    /// The part of its budget of which nearly all is used.
    #[serde(default)]
    pub warned: Option<BudgetPart>,
    /// What of the usage that it tells of belongs to the attempt whose conversation it goes on with.
    #[serde(default)]
    pub carried: Usage,
    /// What it was lent of the user's.
    #[serde(default)]
    pub loans: Vec<Loan>,
}

impl AgentRecord {
    /// What it used in this attempt.
    pub fn used(&self) -> Usage {
        self.report.usage.less(self.carried)
    }
}

/// An amount of dollars, as it is written (`3`, `2.50`, `$2.50`), in millionths; `None` for what is none, or nothing.
pub fn dollars(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix('$').unwrap_or(text);
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 6 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
    let micros = number(whole)?.checked_mul(1_000_000)?.checked_add(number(&format!("{part:0<6}"))?)?;
    (micros > 0).then_some(micros)
}

/// An amount in millionths of a dollar, as a person reads it: `$0.0042`, `$2.50`.
pub fn shown_dollars(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let part = format!("{part:06}");
    let kept = part.trim_end_matches('0').len().max(2);
    format!("${whole}.{}", &part[..kept])
}

/// Millionths of a dollar in dollars, as documents have them.
mod in_dollars {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(micros: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        micros.map(|micros| micros as f64 / 1e6).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.map(|dollars| (dollars * 1e6).round() as u64))
    }
}

/// An agent as a run knows it: what was said of it when the run was planned, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSetup {
    /// Its name.
    pub name: String,
    /// Its profile, whole.
    pub profile: serde_json::Value,
    /// Its program; `None` where it is not there.
    pub program: Option<std::path::PathBuf>,
    /// What that says that its version is.
    #[serde(default)]
    pub version: Option<String>,
    /// Directories that it is in, and that it reads.
    #[serde(default)]
    pub reads: Vec<std::path::PathBuf>,
    /// What the user says of it.
    #[serde(default)]
    pub options: AgentOptions,
}

/// What a user says of an agent, beyond its profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentOptions {
    /// Its program, in the place of the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The model, where a task names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How hard it is to think, where a task does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// The address of a model's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Who is tried after it, where a task names it alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// Variables that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<super::Variable>,
    /// The same, kept out of logs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<super::VariableName>,
    /// What of the network it reaches, in the place of what its profile needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<super::Network>,
    /// What an attempt of it may use up.
    #[serde(skip_serializing_if = "is_default")]
    pub budget: Budget,
}

fn is_default(budget: &Budget) -> bool {
    *budget == Budget::default()
}

/// One of the agents that may work on a task, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentChoice {
    /// The profile.
    pub profile: String,
    /// The model, if it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl std::fmt::Display for AgentChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.model {
            Some(model) => write!(f, "{}:{model}", self.profile),
            None => f.write_str(&self.profile),
        }
    }
}

impl std::str::FromStr for AgentChoice {
    type Err = String;

    /// `NAME` or `NAME:MODEL`.
    fn from_str(text: &str) -> Result<AgentChoice, String> {
        let (profile, model) = match text.split_once(':') {
            Some((profile, model)) => (profile, Some(model)),
            None => (text, None),
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if !is_name(profile) || profile.starts_with(['-', '.']) {
            return Err(format!("`{}` is no name of an agent", text.escape_debug()));
        }
        if model.is_some_and(|model| model.is_empty() || model.starts_with('-') || model.contains(char::is_control)) {
            return Err(format!("`{}` names no model after the colon", text.escape_debug()));
        }
        Ok(AgentChoice { profile: profile.to_owned(), model: model.map(str::to_owned) })
    }
}

/// What becomes of what an agent left behind that another one takes over from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// The next one goes on in the same workspace.
    Continue,
    /// The next one begins in a fresh one; the old one is in the trash.
    #[default]
    Fresh,
}

super::text_enum!(Handover { Continue = "continue", Fresh = "fresh" });

/// What an agent asks treehand for, by one of the tools that it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRequest {
    /// Its number within the attempt.
    pub n: u64,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub args: serde_json::Value,
}

/// What an agent gets for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// This.
    Ok(serde_json::Value),
    /// Nothing, for this reason.
    Error(String),
}

/// A verdict on an attempt that is a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFailure {
    /// The kind that its record has: `agent`, `auth`, `rate_limit`, `no_result`, `denied`, `cut`, `gave_up`.
    pub kind: &'static str,
    /// In words.
    pub message: String,
    /// What follows from it for the next attempt.
    pub class: FailureClass,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_reached_by_its_first_part_that_is() {
        let budget = Budget { tokens: Some(1_000), turns: Some(10), ..Budget::default() };
        let used =
            |input, turns| AgentReport { usage: Usage { input, ..Usage::default() }, turns, ..AgentReport::default() };
        assert_eq!(budget.reached(&used(799, 7), 80), None);
        assert_eq!(budget.reached(&used(800, 7), 80), Some(BudgetPart::Tokens));
        assert_eq!(budget.reached(&used(0, 10), 100), Some(BudgetPart::Turns));
        assert_eq!(Budget::default().reached(&used(u64::MAX, u64::MAX), 100), None);
        let narrow = budget.within(Budget { tokens: Some(5), ..Budget::default() });
        assert_eq!((narrow.tokens, narrow.turns), (Some(5), Some(10)));
    }

    #[test]
    fn an_amount_of_money_reads_back_and_nothing_is_none() {
        for (text, micros) in
            [("3", 3_000_000), ("2.50", 2_500_000), ("$0.000001", 1), (".5", 500_000), ("5.", 5_000_000)]
        {
            assert_eq!(dollars(text), Some(micros), "{text}");
            assert_eq!(dollars(&shown_dollars(micros)), Some(micros), "{text}");
        }
        for text in ["", "0", "-1", "1e3", "0.0000001", "1,5", "$", ".", "99999999999999999999"] {
            assert_eq!(dollars(text), None, "{text}");
        }
        assert_eq!([shown_dollars(4_200), shown_dollars(2_500_000)], ["$0.0042", "$2.50"]);
    }

    #[test]
    fn what_was_used_is_written_in_dollars_and_reads_back_to_the_millionth() {
        for micros in [None, Some(0), Some(1), Some(4_200), Some(2_500_000), Some(123_456_789_012_345)] {
            let usage = Usage { input: 3, cached: 2, output: 1, cost_micros: micros };
            let text = serde_json::to_string(&usage).expect("written");
            assert_eq!(serde_json::from_str::<Usage>(&text).expect("read"), usage, "{text}");
        }
        let usage = Usage { cost_micros: Some(4_200), ..Usage::default() };
        assert_eq!(serde_json::json!(usage)["cost_usd"], 0.0042);
    }

    #[test]
    fn a_choice_reads_back_and_what_could_be_a_flag_is_none() {
        for text in ["codex", "claude:opus-4", "qwen:qwen2.5:7b", "mini-swe-agent"] {
            assert_eq!(text.parse::<AgentChoice>().map(|choice| choice.to_string()), Ok(text.to_owned()));
        }
        for text in ["", ":x", "codex:", "-x", "a b", "codex:--dangerous", "../x", ".x"] {
            assert!(text.parse::<AgentChoice>().is_err(), "{text}");
        }
    }
}
