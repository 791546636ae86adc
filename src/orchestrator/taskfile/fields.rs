//! Typed reading of a tasks file's values: each reader gives the value or pushes a fault and gives nothing.
//!
//! Promises: no text that is handed out contains a NUL byte, no key is silently ignored.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::model::variable::VariableError;
use crate::model::{GateSpec, Network, Span, Variable, VariableName};

use super::fault::{Faults, shown};
use super::tree::{Entry, Node, Value};

const GATE_KEYS: [&str; 6] = ["run", "flaky", "timeout", "net", "env", "secrets"];
/// Most names that one unknown name is compared with: a hint is not worth more.
const COMPARED_MAX: usize = 1000;
/// Longest name that is worth comparing.
const COMPARED_LENGTH_MAX: usize = 64;

/// The entries of one table.
pub(super) struct Fields<'a, 't> {
    entries: &'a [Entry<'t>],
}

impl<'a, 't> Fields<'a, 't> {
    /// The table at `node`, after a fault for each key that is not in `known`; `None` if it is no table.
    pub fn of(what: &str, node: &'a Node<'t>, known: &[&str], faults: &mut Faults<'t>) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            return push_wrong_type(what, "a table", node, faults);
        };
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let guess = did_you_mean(&entry.key, known.iter().copied(), faults);
            faults.push(entry.at, format!("unknown key `{}`{guess}", shown(&entry.key)));
        }
        Some(Fields { entries })
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a Node<'t>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`.
    pub fn entry(&self, key: &str) -> Option<&'a Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A string without NUL bytes.
pub(super) fn text<'a>(name: &str, node: &'a Node<'_>, faults: &mut Faults<'_>) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) if text.contains('\0') => {
            faults.push(node.at, format!("{name} contains a NUL byte"));
            None
        }
        Value::Text(text) => Some(text),
        _ => push_wrong_type(name, "a string", node, faults),
    }
}

/// A whole number in `range`.
pub(super) fn integer(name: &str, node: &Node<'_>, range: RangeInclusive<u32>, faults: &mut Faults<'_>) -> Option<u32> {
    let Value::Integer(number) = node.value else { return push_wrong_type(name, "an integer", node, faults) };
    let fitting = u32::try_from(number).ok().filter(|number| range.contains(number));
    if fitting.is_none() {
        faults.push(node.at, format!("{name} must be from {} to {}, not {number}", range.start(), range.end()));
    }
    fitting
}

/// `true` or `false`.
pub(super) fn flag(name: &str, node: &Node<'_>, faults: &mut Faults<'_>) -> Option<bool> {
    match node.value {
        Value::Bool(flag) => Some(flag),
        _ => push_wrong_type(name, "a boolean", node, faults),
    }
}

/// The items of an array; none if it is not one.
pub(super) fn list<'a, 't>(name: &str, node: &'a Node<'t>, faults: &mut Faults<'_>) -> &'a [Node<'t>] {
    match &node.value {
        Value::List(items) => items,
        _ => push_wrong_type(name, "an array", node, faults).unwrap_or_default(),
    }
}

/// The strings of an array of strings, with their places.
pub(super) fn texts<'a>(name: &str, node: &'a Node<'_>, faults: &mut Faults<'_>) -> Vec<(&'a str, usize)> {
    let item_name = format!("each item of {name}");
    let items = list(name, node, faults).iter();
    items.filter_map(|item| text(&item_name, item, faults).map(|text| (text, item.at))).collect()
}

/// One of a closed list of words.
pub(super) fn word<T: FromStr>(name: &str, node: &Node<'_>, words: &[&str], faults: &mut Faults<'_>) -> Option<T> {
    let written = text(name, node, faults)?;
    let word = written.parse().ok();
    if word.is_none() {
        faults.push(node.at, format!("{name} must be one of {}, not `{}`", words.join(", "), shown(written)));
    }
    word
}

/// A duration above zero.
pub(super) fn timeout(node: &Node<'_>, faults: &mut Faults<'_>) -> Option<Span> {
    let written = text("`timeout`", node, faults)?;
    match written.parse::<Span>() {
        Ok(span) if span.0.is_zero() => {
            faults.push_hinted(node.at, "`timeout` must be more than zero", "leave it out to set no deadline");
            None
        }
        Ok(span) => Some(span),
        Err(_) => {
            let message = format!("`timeout` must be a duration, not `{}`", shown(written));
            faults.push_hinted(node.at, message, "write 90s, 15m, 2h or 1d");
            None
        }
    }
}

/// Gate commands: strings, or tables with more to say.
pub(super) fn gates<'t>(node: &Node<'t>, faults: &mut Faults<'t>) -> Vec<GateSpec> {
    list("`gates`", node, faults).iter().filter_map(|item| gate(item, faults)).collect()
}

fn gate<'t>(node: &Node<'t>, faults: &mut Faults<'t>) -> Option<GateSpec> {
    match &node.value {
        Value::Text(_) => {
            let run = gate_command(node, faults)?;
            Some(GateSpec::plain(run))
        }
        Value::Table(_) => {
            let fields = Fields::of("each gate", node, &GATE_KEYS, faults)?;
            let flaky = fields.get("flaky").and_then(|node| flag("`flaky`", node, faults)).unwrap_or(false);
            let timeout = fields.get("timeout").and_then(|node| timeout(node, faults));
            let net = net(&fields, faults);
            let (env, secrets) = variables(&fields, faults);
            let Some(run) = fields.get("run") else {
                faults.push(node.at, "this gate has no `run`");
                return None;
            };
            gate_command(run, faults).map(|run| GateSpec { run, flaky, timeout, net, env, secrets })
        }
        _ => push_wrong_type("each gate", "a string or a table", node, faults),
    }
}

fn gate_command(node: &Node<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let run = text("a gate's command", node, faults)?;
    if run.trim().is_empty() {
        faults.push(node.at, "a gate's command is empty");
        return None;
    }
    Some(run.to_owned())
}

/// What of the network may be reached: a word, or an array of hosts with ports.
pub(super) fn net(fields: &Fields<'_, '_>, faults: &mut Faults<'_>) -> Option<Network> {
    let node = fields.get("net")?;
    let network = match &node.value {
        Value::Text(word) if matches!(&**word, "none" | "full") => word.parse().ok(),
        Value::List(items) => {
            let place = |item: &Node<'_>| match &item.value {
                Value::Text(place) => place.parse().ok(),
                _ => None,
            };
            items.iter().map(place).collect::<Option<Vec<_>>>().map(Network::Hosts)
        }
        _ => None,
    };
    if network.is_none() {
        faults.push(node.at, "`net` must be \"none\", \"full\" or an array of \"host:port\" strings");
    }
    network
}

/// What a command gets of variables: `env` and `secrets`.
pub(super) fn variables(fields: &Fields<'_, '_>, faults: &mut Faults<'_>) -> (Vec<Variable>, Vec<VariableName>) {
    (parsed("env", fields, faults), parsed("secrets", fields, faults))
}

fn parsed<T: FromStr<Err = VariableError>>(key: &str, fields: &Fields<'_, '_>, faults: &mut Faults<'_>) -> Vec<T> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let written = texts(&format!("`{key}`"), node, faults);
    let mut parse = |(text, at): (&str, usize)| {
        text.parse().map_err(|error: VariableError| faults.push(at, format!("`{key}`: {error}"))).ok()
    };
    written.into_iter().filter_map(&mut parse).collect()
}

/// `, did you mean …?`, or nothing when no name is near.
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>, faults: &Faults<'_>) -> String {
    if faults.is_full() || name.len() > COMPARED_LENGTH_MAX {
        return String::new();
    }
    let limit = (name.len() + 1) / 3;
    let near = |known: &&str| known.len().abs_diff(name.len()) <= limit;
    let measured = known.take(COMPARED_MAX).filter(near).map(|known| (strsim::osa_distance(name, known), known));
    match measured.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance) {
        Some((_, nearest)) => format!(", did you mean `{nearest}`?"),
        None => String::new(),
    }
}

/// Says that `node` should be another kind of value.
pub(super) fn push_wrong_type<T>(name: &str, wanted: &str, node: &Node<'_>, faults: &mut Faults<'_>) -> Option<T> {
    faults.push(node.at, format!("{name} must be {wanted}, not {}", node.value.kind()));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let faults = Faults::new("");
        let guess = |name: &str| did_you_mean(name, ["needs", "net", "paths"].into_iter(), &faults);
        assert_eq!(guess("need"), ", did you mean `needs`?");
        assert_eq!(guess("nest"), ", did you mean `net`?");
        assert_eq!(guess("pahts"), ", did you mean `paths`?");
        for far in ["", "x", "command", &"n".repeat(65)] {
            assert_eq!(guess(far), "", "{far}");
        }
    }
}
