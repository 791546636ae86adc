//! Decision file: what decides how a result is judged: its gates, and all that these are run with. What has the same terms may
//! be judged together; what a gate said of a tree counts for the same gate with the same surroundings alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::model::record::RunRecord;
use crate::model::{GateSpec, TaskSpec};

/// Variables that say how a terminal is, and decide nothing.
const OF_TERMINALS: [&str; 3] = ["COLORTERM", "SHELL", "TERM"];

/// The terms of the result of a task.
pub fn of(run: &RunRecord, task: &TaskSpec) -> String {
    let gates: Vec<&GateSpec> = run.spec.gates.iter().chain(&task.gates).collect();
    if gates.is_empty() {
        // Who commits is said by where the run was asked for.
        let told = run.asked_in.is_some() || run.push.is_some();
        return if told { digest(&json!([run.asked_in, run.push])) } else { String::new() };
    }
    // What is secret, or set where its run was asked for, is known to the supervisor of that run alone.
    let by_one_alone = gates.iter().any(|gate| !gate.secrets.is_empty() || !gate.env.is_empty())
        || run.setup.iter().any(|step| !step.secrets.is_empty() || !step.env.is_empty());
    let run_alone = by_one_alone.then(|| run.id.to_string());
    digest(&json!([gates, surroundings(run), run.asked_in, run.push, run_alone]))
}

/// Under what the result of a gate on a tree is kept.
pub fn of_gate(run: &RunRecord, gate: &GateSpec) -> String {
    let told = json!([gate.net, gate.env, gate.secrets, surroundings(run)]);
    format!("{} {}", digest(&told), gate.run)
}

/// What a gate is run with, whichever it is.
fn surroundings(run: &RunRecord) -> Value {
    let environment: Vec<&(String, String)> =
        run.environment.iter().filter(|(name, _)| !OF_TERMINALS.contains(&name.as_str())).collect();
    json!([run.confine, run.bounds, run.setup, run.submodules, environment])
}

fn digest(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BaseReport, CommitId, SetupStep};
    use crate::store::fixture;

    fn run() -> (RunRecord, TaskSpec) {
        let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
        let (mut run, task) = fixture::run(&base, "running", "t", "candidate");
        run.spec.gates.push(GateSpec::plain("make test"));
        run.environment = vec![("PATH".into(), "/bin".into()), ("TERM".into(), "xterm".into())];
        (run, task.spec)
    }

    #[test]
    fn runs_that_judge_alike_have_the_same_terms_and_everything_that_can_change_a_verdict_changes_them() {
        let ((first, task), (second, _)) = (run(), run());
        let (terms, gate) = (of(&first, &task), of_gate(&first, &first.spec.gates[0]));
        assert_eq!(of(&second, &task), terms);
        let same: [fn(&mut RunRecord); 2] = [|run| run.environment[1].1 = "dumb".into(), |run| run.jobs = 7];
        for change in same {
            let mut other = first.clone();
            change(&mut other);
            assert_eq!((of(&other, &task), of_gate(&other, &other.spec.gates[0])), (terms.clone(), gate.clone()));
        }
        let changes: [fn(&mut RunRecord); 5] = [
            |run| run.environment[0].1 = "/usr/bin".into(),
            |run| run.setup.push(SetupStep::plain("make deps")),
            |run| run.confine = crate::model::record::ConfineLevel::Strict,
            |run| run.spec.gates[0].run.push_str(" -k"),
            |run| run.spec.gates[0].net = Some(crate::model::Network::Full),
        ];
        for change in changes {
            let mut other = first.clone();
            change(&mut other);
            assert_ne!(of(&other, &task), terms);
            assert_ne!(of_gate(&other, &other.spec.gates[0]), gate);
        }
    }

    #[test]
    fn a_gate_with_a_secret_is_run_by_its_own_run_and_nothing_to_judge_is_the_same_everywhere() {
        let ((mut first, mut task), (mut second, _)) = (run(), run());
        for run in [&mut first, &mut second] {
            run.spec.gates[0].secrets = vec!["TOKEN".parse().expect("a name")];
        }
        assert_ne!(of(&first, &task), of(&second, &task));
        (first.spec.gates, task.gates) = (Vec::new(), Vec::new());
        assert_eq!(of(&first, &task), "");
        task.gates.push(GateSpec::plain("make lint"));
        assert_ne!(of(&first, &task), "");
    }
}
