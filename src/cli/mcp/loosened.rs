//! Decision file: what the tasks of an assistant would get beyond what every command gets: network, variables of the person's, secrets.
//!
//! A tasks file that the person names may give that; one that an assistant wrote may when the person says so.

use crate::cli::output::plain;
use crate::model::{GateSpec, Network, RunSpec, Variable, VariableName};

/// What is asked for, in words; nothing where nothing is.
pub fn loosened(spec: &RunSpec) -> Vec<String> {
    let gate =
        |gate: &GateSpec| gets(&format!("gate `{}`", plain(&gate.run)), gate.net.as_ref(), &gate.env, &gate.secrets);
    let mut all: Vec<String> = spec.gates.iter().filter_map(gate).collect();
    for task in &spec.tasks {
        all.extend(gets(&format!("task `{}`", task.id), task.net.as_ref(), &task.env, &task.secrets));
        all.extend(task.gates.iter().filter_map(gate));
    }
    all
}

fn gets(who: &str, net: Option<&Network>, env: &[Variable], secrets: &[VariableName]) -> Option<String> {
    let mut what = Vec::new();
    match net {
        None | Some(Network::None) => {}
        Some(Network::Full) => what.push("the whole network".to_owned()),
        Some(Network::Hosts(hosts)) => {
            what.push(hosts.iter().map(|host| plain(&host.to_string())).collect::<Vec<_>>().join(", "));
        }
    }
    // A value that was written down is the assistant's own.
    let passed_on = env.iter().filter(|variable| variable.written().is_none()).map(Variable::name);
    let variables: Vec<&str> = passed_on.chain(secrets).map(VariableName::as_str).collect();
    if !variables.is_empty() {
        what.push(format!("your {}", variables.join(", ")));
    }
    (!what.is_empty()).then(|| format!("{who} gets {}", what.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::taskfile::{self, Format};

    fn of(text: &str) -> Vec<String> {
        loosened(&taskfile::parse(text, Format::guess(text)).expect("a tasks file"))
    }

    #[test]
    fn network_variables_and_secrets_are_told_and_what_was_written_down_is_not() {
        let plain =
            "gates = [\"true\"]\n[[task]]\nid = \"a\"\ncommand = [\"x\"]\nnet = \"none\"\nenv = [\"CI=true\"]\n";
        assert_eq!(of(plain), [""; 0]);
        let text = "gates = [{ run = \"check\", net = \"full\" }]\n[[task]]\nid = \"a\"\ncommand = [\"x\"]\n\
                    net = [\"example.com:443\"]\nenv = [\"EDITOR\", \"CI=1\"]\nsecrets = [\"TOKEN\"]\n";
        assert_eq!(
            of(text),
            ["gate `check` gets the whole network", "task `a` gets example.com:443 and your EDITOR, TOKEN"]
        );
    }
}
