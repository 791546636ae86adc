//! Who does a task, as it is written: a command, or agents with what they are told, on which model, within which budget.
//!
//! Which agents there are is not known here: a name is only held against how names are written.

use std::str::FromStr;

use crate::model::agent::{AgentChoice, Budget, Handover, dollars};
use crate::model::spec::AGENT_RETRIES;

use super::check::command;
use super::fault::{Faults, shown};
use super::fields::{Fields, text, texts, word};
use super::tree::{Node, Value};

/// The name of the agent that is a plain command.
const COMMAND_AGENT: &str = "command";
const GIVE_WORK: &str = "give `agent = \"codex\"` with a `prompt`, or `command = [\"program\", \"argument\", …]`";
const GIVE_COMMAND: &str = "give `command = [\"program\", \"argument\", …]`";
const BUDGET_KEYS: [&str; 3] = ["tokens", "cost", "turns"];

/// The keys that only agents have.
const OF_AGENTS: [&str; 4] = ["model", "effort", "budget", "handover"];

/// Who does a task.
#[derive(Default)]
pub(super) struct Work {
    pub agent: String,
    pub command: Vec<String>,
    pub agents: Vec<AgentChoice>,
    pub effort: Option<String>,
    pub budget: Budget,
    pub handover: Handover,
    pub retries: u32,
}

/// The work of a task, after everything that says who does it was held against each other.
pub(super) fn work<'t>(
    name: &str,
    node: &Node<'t>,
    (fields, has_goal): (&Fields<'_, 't>, bool),
    faults: &mut Faults<'t>,
) -> Work {
    let (agent_node, command_node) = (fields.get("agent"), fields.get("command"));
    let agents = agent_node.map(|node| agents(node, faults)).unwrap_or_default();
    let is_command = agents.iter().all(|(choice, _)| choice.profile == COMMAND_AGENT);
    match (&agents[..], agent_node, command_node) {
        ([(choice, at), ..], _, Some(_)) if !is_command => {
            let message = format!("{name} has both `command` and `agent = \"{}\"`", shown(&choice.to_string()));
            faults.push_hinted(*at, message, "leave `agent` out");
        }
        ([(_, at), ..], _, None) if is_command => {
            faults.push_hinted(*at, format!("{name} has no `command`"), GIVE_COMMAND);
        }
        ([_, ..], Some(node), None) if !has_goal && fields.get("prompt").is_none() => {
            faults.push_hinted(node.at, format!("{name} tells its agent nothing"), "give `prompt = \"…\"`");
        }
        ([], None, None) => {
            faults.push_hinted(node.at, format!("{name} has neither `command` nor `agent`"), GIVE_WORK);
        }
        _ => {}
    }
    if is_command {
        for entry in OF_AGENTS.iter().filter_map(|key| fields.entry(key)) {
            faults.push(entry.at, format!("`{}` is for agents, and {name} has none", entry.key));
        }
        let command = command_node.map(|node| command(node, faults)).unwrap_or_default();
        return Work { agent: COMMAND_AGENT.to_owned(), command, ..Work::default() };
    }
    let mut agents: Vec<AgentChoice> = agents.into_iter().map(|(choice, _)| choice).collect();
    if let Some(node) = fields.get("model") {
        model(node, &mut agents, faults);
    }
    Work {
        agent: agents.first().map(|choice| choice.profile.clone()).unwrap_or_default(),
        command: Vec::new(),
        agents,
        effort: fields.get("effort").and_then(|node| said("`effort`", node, faults)),
        budget: fields.get("budget").map(|node| budget(node, faults)).unwrap_or_default(),
        handover: fields
            .get("handover")
            .and_then(|node| word("`handover`", node, Handover::WORDS, faults))
            .unwrap_or_default(),
        retries: AGENT_RETRIES,
    }
}

/// One agent, or several in the order in which they are tried.
fn agents(node: &Node<'_>, faults: &mut Faults<'_>) -> Vec<(AgentChoice, usize)> {
    let written = match &node.value {
        Value::List(items) if items.is_empty() => {
            faults.push_hinted(node.at, "`agent` is empty", GIVE_WORK);
            Vec::new()
        }
        Value::List(_) => texts("`agent`", node, faults),
        _ => text("`agent`", node, faults).map(|text| (text, node.at)).into_iter().collect(),
    };
    let several = written.len() > 1;
    let mut agents: Vec<(AgentChoice, usize)> = Vec::new();
    for (text, at) in written {
        match AgentChoice::from_str(text) {
            Ok(choice) if several && choice.profile == COMMAND_AGENT => {
                faults.push(at, "`command` takes over from no agent, and none from it");
            }
            Ok(choice) if agents.iter().any(|(known, _)| *known == choice) => {
                faults.push(at, format!("`{}` stands twice in `agent`", shown(text)));
            }
            Ok(choice) => agents.push((choice, at)),
            Err(why) => faults.push(at, why),
        }
    }
    agents
}

/// The model of the one agent that there is.
fn model(node: &Node<'_>, agents: &mut [AgentChoice], faults: &mut Faults<'_>) {
    let Some(model) = said("`model`", node, faults) else { return };
    match agents {
        [one] if one.model.is_none() => one.model = Some(model),
        [one] => {
            let message = format!("`model` is given twice: `agent` says `{}`", shown(&one.to_string()));
            faults.push_hinted(node.at, message, "leave one of them out");
        }
        _ => {
            let hint = "write it behind each name: agent = [\"codex:gpt-5\", \"claude\"]";
            faults.push_hinted(node.at, "`model` is not for several agents at once", hint);
        }
    }
}

/// A word that becomes an argument of its own: not empty, and no flag.
fn said(name: &str, node: &Node<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let said = text(name, node, faults)?;
    if said.trim().is_empty() || said.starts_with('-') || said.contains(char::is_control) {
        faults.push(node.at, format!("{name} must be a name, not `{}`", shown(said)));
        return None;
    }
    Some(said.to_owned())
}

/// What may be used up, as it is written.
pub(super) fn budget<'t>(node: &Node<'t>, faults: &mut Faults<'t>) -> Budget {
    let Some(fields) = Fields::of("`budget`", node, &BUDGET_KEYS, faults) else { return Budget::default() };
    let mut count = |key: &str| {
        let node = fields.get(key)?;
        match node.value {
            Value::Integer(number) if number > 0 => u64::try_from(number).ok(),
            _ => {
                faults.push(node.at, format!("`{key}` must be a whole number above 0"));
                None
            }
        }
    };
    let (tokens, turns) = (count("tokens"), count("turns"));
    Budget {
        tokens,
        turns,
        cost_micros: fields.get("cost").and_then(|node| cost(node, faults)),
        turns_without_tool: None,
    }
}

fn cost(node: &Node<'_>, faults: &mut Faults<'_>) -> Option<u64> {
    let micros = match &node.value {
        Value::Integer(number) => dollars(&number.to_string()),
        Value::Text(text) => dollars(text),
        _ => None,
    };
    if micros.is_none() {
        faults.push_hinted(node.at, "`cost` must be an amount of dollars above 0", "write `cost = \"2.50\"`");
    }
    micros
}
