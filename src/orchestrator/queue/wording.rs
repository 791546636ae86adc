//! Decision file: the message of the commit that a result becomes: that of `messages`, or what a template makes of it.
//!
//! The trailers that tell where a commit comes from, and who wrote some of it, are there in either case.

use super::stack::Subject;
use crate::model::record::{RunRecord, TaskRecord};
use crate::orchestrator::message_template::{self, Words};
use crate::orchestrator::messages::{self, Origin, Told};
use crate::orchestrator::template::TemplateFault;

/// What of a run goes into the words, beside what is of the task.
#[derive(Clone, Debug, Default)]
pub struct Wording {
    /// The template.
    pub template: Option<String>,
    /// What the run is for.
    goal: String,
    /// The branch of the task.
    branch: String,
}

impl Wording {
    /// That of a task of this run.
    pub fn of(run: &RunRecord, task: &TaskRecord) -> Wording {
        let (template, goal) = (run.message_template.clone(), run.spec.goal.clone().unwrap_or_default());
        Wording { template, goal, branch: task.branch.to_string() }
    }
}

/// The message of a squash of these commits.
pub fn squash(subject: &Subject, told: &[Told]) -> Result<String, TemplateFault> {
    let author = told.last().map(|told| told.author.clone()).unwrap_or_default();
    let default = match &subject.offered {
        Some(label) => messages::squash_offered(label, told, &author),
        None => {
            let subjects: Vec<String> = told.iter().map(|told| told.subject.clone()).collect();
            messages::squash(&subject.spec, &subjects, &origin(subject))
        }
    };
    worded(subject, told, default, |text| match subject.offered {
        Some(_) => messages::with_authors(&text, told, &author),
        None => messages::with_trailers(&text, &origin(subject), true),
    })
}

/// The message of a commit that merges these.
pub fn merge(subject: &Subject, told: &[Told]) -> Result<String, TemplateFault> {
    let default = match &subject.offered {
        Some(label) => messages::merge_offered(label, subject.entry.target.as_str()),
        None => messages::merge(&subject.spec, &origin(subject)),
    };
    worded(subject, told, default, |text| match subject.offered {
        Some(_) => text,
        None => messages::with_trailers(&text, &origin(subject), true),
    })
}

fn worded(
    subject: &Subject,
    told: &[Told],
    default: String,
    finish: impl FnOnce(String) -> String,
) -> Result<String, TemplateFault> {
    let Some(template) = &subject.wording.template else { return Ok(default) };
    let (offered, prompt) = (subject.offered.as_deref(), subject.spec.prompt.as_deref());
    let words = Words {
        task: subject.entry.task.as_str(),
        run: subject.entry.run.as_str(),
        goal: &subject.wording.goal,
        prompt: prompt.filter(|_| offered.is_none()).unwrap_or_default(),
        commits: told,
        branch: offered.unwrap_or(&subject.wording.branch),
        target: subject.entry.target.as_str(),
        strategy: &subject.strategy.to_string(),
        default: &default,
    };
    Ok(finish(message_template::render(template, &words)?))
}

fn origin(subject: &Subject) -> Origin<'_> {
    Origin { run: &subject.entry.run, task: &subject.entry.task }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BaseReport, CommitId, Strategy};
    use crate::store::fixture;

    fn subject(template: Option<&str>, offered: Option<&str>) -> Subject {
        let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
        let (mut run, mut task) = fixture::run(&base, "running", "t", "candidate");
        (run.message_template, run.spec.goal) = (template.map(str::to_owned), Some("port it".into()));
        (task.offered, task.spec.prompt) = (offered.map(str::to_owned), Some("do it".into()));
        Subject { strategy: Strategy::Merge, ..Subject::of(fixture::entry(&run, &task), &run, task) }
    }

    #[test]
    fn whatever_a_template_says_the_trailers_are_there_once() {
        let one = |subject: &str, author: &str| {
            let message = format!("{subject}\n\nbody\n");
            Told { subject: subject.into(), message, author: author.into(), id: "1".repeat(40) }
        };
        let told = [one("first", "B <b@x>"), one("last", "A <a@x>")];
        let task = subject(Some("{{ goal }}: {{ prompt }} on {{ branch }}\n\nTreehand-Task: mine"), None);
        let (run, branch) = (task.entry.run.clone(), format!("treehand/{}/t", task.entry.run));
        let trailers = format!("Treehand-Run: {run}\nTreehand-Task: t\n");
        assert_eq!(squash(&task, &told), Ok(format!("port it: do it on {branch}\n\n{trailers}")));
        assert_eq!(merge(&task, &[]), Ok(format!("port it: do it on {branch}\n\n{trailers}")));
        let same = subject(Some("{{ default }}"), None);
        let plain = Subject { wording: Wording::default(), ..same.clone() };
        assert_eq!((squash(&same, &told), merge(&same, &told)), (squash(&plain, &told), merge(&plain, &told)));
        let offered = subject(Some("{{ branch }}{{ prompt }} by {{ strategy }}"), Some("w"));
        assert_eq!(squash(&offered, &told), Ok("w by merge\n\nCo-authored-by: B <b@x>\n".to_owned()));
        assert_eq!(merge(&offered, &told), Ok("w by merge\n".to_owned()));
        let named = subject(Some("x\n\nCo-authored-by: {{ commits[0].author }}"), Some("w"));
        assert_eq!(squash(&named, &told), Ok("x\n\nCo-authored-by: B <b@x>\n".to_owned()));
        assert!(squash(&subject(Some("{{ nothing }}"), None), &told).is_err());
    }
}
