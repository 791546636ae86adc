//! The tools of a person's own assistant, in a repository: each call is our own program with `--json`, and its document the answer.
//!
//! Promises: nothing lands by `merge`, and no task gets more than every command does, without the person's word, asked for through the client; `clean` is
//! only planned. A call that is cancelled ends
//! its program; a run that was begun goes on.

use std::ffi::OsString;
use std::path::PathBuf;

use super::errand::{self, Errand};
use super::loosened::loosened;
use super::server::{Answers, Asked, Consent};
use super::tool::{Arguments, Effect, Field, Kind, Outcome, Tool};
use crate::model::{MergePolicy, Strategy};
use crate::orchestrator::taskfile::{self, Format};
use crate::sys::own_program;

/// What an assistant is told of these tools together.
pub const INSTRUCTIONS: &str = "treehand runs tasks, each in a fresh git worktree of its own, and lands their results on a branch through a merge queue. Start work with run, which returns at once; follow it with wait or show; answer what a task asks with answer. Nothing here removes anything.";

const NAME_MAX: usize = 1_000;

/// The tools.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "run",
        title: "Start a run",
        description: "Start work in worktrees of its own and return at once with the run's id; it goes on by itself and lands its results on the branch `into` unless merge is manual. Give exactly one of goal (for an agent), tasks (several tasks, with dependencies) and command (one plain command). Use it for work that should not touch the files the person has open.",
        fields: &[
            Field::optional("goal", Kind::Text(100_000), "What an agent is to do"),
            Field::optional("agent", Kind::Text(200), "With goal: the agent profile, or PROFILE:MODEL"),
            Field::optional(
                "tasks",
                Kind::Text(1_000_000),
                "A tasks file as text, TOML or JSON: [[task]] with id, command or prompt, needs, paths, timeout; net, env and secrets need the person's consent",
            ),
            Field::optional(
                "command",
                Kind::Texts(1_000),
                "One command as its words: [\"sh\", \"-c\", \"make fmt\"]; what it changes is the result",
            ),
            Field::optional("name", Kind::Text(NAME_MAX), "With command: the id of the task"),
            Field::optional(
                "base",
                Kind::Text(NAME_MAX),
                "What to start from: a branch, tag or commit (default: the current branch)",
            ),
            Field::optional(
                "into",
                Kind::Text(NAME_MAX),
                "The branch that results land on (default: the branch of the base)",
            ),
            Field::optional(
                "merge",
                Kind::Word(MergePolicy::WORDS),
                "auto: land results by themselves; manual: leave that to the person",
            ),
            Field::optional("strategy", Kind::Word(Strategy::WORDS), "How results become commits"),
            Field::optional(
                "gates",
                Kind::Texts(100),
                "Command lines that must succeed on the merged tree before it lands",
            ),
            Field::optional("jobs", Kind::Number, "How many tasks at once"),
            Field::optional("timeout", Kind::Span, "How long an attempt of a task may take, like 30m"),
        ],
        effect: Effect::Changes,
    },
    Tool {
        name: "list",
        title: "List runs and workspaces",
        description: "List the runs and the workspaces of this repository with their states. Use it to find names and ids, or when asked what is going on.",
        fields: &[],
        effect: Effect::Reads,
    },
    Tool {
        name: "show",
        title: "Show a run or a task",
        description: "Show a run or one task of it: states, attempts, what landed, what was rejected and why, questions that wait for an answer.",
        fields: &[Field::required("name", Kind::Text(NAME_MAX), "RUN or RUN/TASK, as list and run give it")],
        effect: Effect::Reads,
    },
    Tool {
        name: "wait",
        title: "Wait for a run",
        description: "Wait until a run is over, at most `timeout`, and return its state. A state that is not over means that time ran out: look with show, then wait again.",
        fields: &[
            Field::required("run", Kind::Text(NAME_MAX), "The run"),
            Field::optional("timeout", Kind::Span, "How long at most, like 5m (default 50s)"),
        ],
        effect: Effect::Reads,
    },
    Tool {
        name: "answer",
        title: "Answer a task's question",
        description: "Answer the question with which a task waits (see show). Ask the person first unless you know what they want.",
        fields: &[
            Field::required("task", Kind::Text(NAME_MAX), "RUN/TASK"),
            Field::required("text", Kind::Text(16_000), "The answer"),
        ],
        effect: Effect::Changes,
    },
    Tool {
        name: "merge",
        title: "Land a result",
        description: "Land a workspace, a branch or the results of a run on the person's branch, through the merge queue and its gates. The person is asked for consent first; where that is not possible it is refused, and says which command they can give. With dry_run it only says what would land and what conflicts, and asks nobody: use that first.",
        fields: &[
            Field::required("name", Kind::Text(NAME_MAX), "A workspace, a branch, RUN or RUN/TASK"),
            Field::optional(
                "into",
                Kind::Text(NAME_MAX),
                "The branch to land on (default: the one that it is meant for)",
            ),
            Field::optional("strategy", Kind::Word(Strategy::WORDS), "How it becomes commits"),
            Field::optional("dry_run", Kind::Flag, "Only say what would come of it"),
        ],
        effect: Effect::Changes,
    },
    Tool {
        name: "conflicts",
        title: "See conflicts",
        description: "Tell which open results (workspaces, tasks at work, results that wait) would conflict with each other or with their target, and in which files.",
        fields: &[Field::optional(
            "into",
            Kind::Text(NAME_MAX),
            "Only what is meant for this branch (default: the current one)",
        )],
        effect: Effect::Reads,
    },
    Tool {
        name: "clean_plan",
        title: "Plan a cleanup",
        description: "Say which workspaces, branches, processes and files are landed or left over and could go, each with its proof, and what stays and why. Nothing is removed; the person does that with `treehand clean --yes`.",
        fields: &[],
        effect: Effect::Reads,
    },
];

/// Answers by our own program.
pub struct Person {
    /// Where the repository is.
    pub directory: PathBuf,
    /// Flags for each command: what was set for this one.
    pub flags: Vec<OsString>,
}

impl Answers for Person {
    fn tools(&self) -> &'static [Tool] {
        TOOLS
    }

    fn instructions(&self) -> &'static str {
        INSTRUCTIONS
    }

    async fn answer(&self, tool: &'static Tool, arguments: Arguments, mut asked: Asked) -> Outcome {
        drop(asked.not_yet());
        let errand = match tool.name {
            "run" => return self.run(&arguments, &asked).await,
            "list" => {
                let [runs, workspaces] = errand::list();
                return errand::listed(self.does(&runs, &asked).await, self.does(&workspaces, &asked).await);
            }
            "merge" => return self.merge(&arguments, &asked).await,
            "show" => errand::show(&arguments),
            "wait" => errand::wait(&arguments),
            "answer" => errand::answer(&arguments),
            "conflicts" => errand::conflicts(&arguments),
            "clean_plan" => errand::clean_plan(),
            other => return Outcome::Wrong { text: format!("nothing is done for `{other}`"), document: None },
        };
        self.does(&errand, &asked).await
    }
}

impl Person {
    /// Starts a run; one whose tasks would get more than every command gets only with the person's word.
    async fn run(&self, arguments: &Arguments, asked: &Asked) -> Outcome {
        let errand = match errand::run(arguments) {
            Ok(errand) => errand,
            Err(text) => return Outcome::Wrong { text, document: None },
        };
        // What is wrong with a tasks file the command itself says.
        let tasks = taskfile::parse(&errand.input, Format::guess(&errand.input));
        let more = tasks.map(|spec| loosened(&spec)).unwrap_or_default().join("; ");
        let refused = |why: &str| Outcome::Wrong {
            text: format!(
                "not started: {more}, and {why}\nhint: leave net, env and secrets out, or let the person save the tasks and give the command: treehand run --tasks FILE"
            ),
            document: None,
        };
        if more.is_empty() {
            return self.does(&errand, asked).await;
        }
        match asked.consent(format!("Start a run in which {more}?")).await {
            Consent::Given => self.does(&errand, asked).await,
            Consent::Refused => refused("the person did not consent"),
            Consent::CannotAsk => refused("that needs the person's consent, for which this client cannot ask"),
        }
    }

    /// Says what would land; unless only that was wanted, asks the person, and lands it.
    async fn merge(&self, arguments: &Arguments, asked: &Asked) -> Outcome {
        let plan = self.does(&errand::merge(arguments, true), asked).await;
        let (Outcome::Right(document), false) = (&plan, arguments.get("dry_run") == Some(&true.into())) else {
            return plan;
        };
        let command = errand::merge_in_words(arguments);
        let refused = |why: &str| Outcome::Wrong {
            text: format!("not landed: {why}\nhint: the person can give the command: {command}"),
            document: None,
        };
        match asked.consent(errand::question(arguments, document)).await {
            Consent::Given => self.does(&errand::merge(arguments, false), asked).await,
            Consent::Refused => refused("the person did not consent"),
            Consent::CannotAsk => refused("it needs the person's consent, and this client cannot ask for it"),
        }
    }

    async fn does(&self, errand: &Errand, asked: &Asked) -> Outcome {
        let mut args: Vec<OsString> = vec!["-C".into(), self.directory.clone().into()];
        args.extend(self.flags.iter().cloned());
        args.extend(errand.argv.iter().map(OsString::from));
        let unwanted = async {
            asked.unwanted().await;
        };
        match own_program::ask(&args, &self.directory, errand.input.as_bytes(), unwanted).await {
            Ok(Some(said)) => errand::outcome(errand, said.code, &said.output, &String::from_utf8_lossy(&said.errors)),
            Ok(None) => {
                Outcome::Wrong { text: "it was ended: nobody wanted the answer any more".to_owned(), document: None }
            }
            Err(error) => Outcome::Wrong { text: format!("treehand cannot be started: {error}"), document: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_name_of_its_own_and_none_applies_a_cleanup() {
        let names: std::collections::BTreeSet<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), TOOLS.len());
        assert!(!errand::clean_plan().argv.contains(&"--yes".to_owned()));
    }
}
