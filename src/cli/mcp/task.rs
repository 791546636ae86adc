//! The tools of an agent at work on a task. Each call is handed to the endpoint of its attempt and answered with what that says.
//!
//! Checks what is said before it is handed on, and nothing else; reads no repository and no configuration, for it runs in the sandbox of the task.

use super::endpoint::Endpoint;
use super::server::{Answers, Asked};
use super::tool::{Arguments, Effect, Field, Kind, Outcome, Tool};
use crate::model::agent::SubmissionStatus;

/// What an agent is told of these tools together.
pub const INSTRUCTIONS: &str = "You work on one task of a treehand run, in a git worktree of your own. treehand takes every change in it when you end, so you need not commit or push. Call task_context first if the task is not plain. When you are through, call submit_result: without it nobody knows whether the task is done.";

/// The tools.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "submit_result",
        title: "Submit the result",
        description: "Hand in the result of your task. Call it exactly once, as your last step, when the work is done and checked: done if the task is fulfilled, nothing_to_do if no change was needed, failed if you cannot do it (say why). Changed files are taken from the worktree; they need not be committed. Calling it again replaces what you said before.",
        fields: &[
            Field::required("status", Kind::Word(SubmissionStatus::WORDS), "How the task came out"),
            Field::required(
                "summary",
                Kind::Text(20_000),
                "What you did and how you checked it, or why it could not be done; people read it",
            ),
        ],
        effect: Effect::Adds,
    },
    Tool {
        name: "ask",
        title: "Ask a person",
        description: "Ask a person a question and wait for the answer. It may take hours, and the task rests meanwhile: use it only for what you cannot decide alone from the task and the code, and what would be costly to get wrong. For everything else decide yourself and say so in the summary. Give a default and a deadline when you could go on without an answer.",
        fields: &[
            Field::required("question", Kind::Text(16_000), "The question, with all that one must know to answer it"),
            Field::optional("default", Kind::Text(16_000), "The answer that holds when nobody answers by the deadline"),
            Field::optional("deadline", Kind::Span, "How long to wait for a person at most, like 30m"),
        ],
        effect: Effect::Adds,
    },
    Tool {
        name: "progress",
        title: "Say how far you are",
        description: "Say in a line how far you are, for people who look on. Call it when a larger step is done or a long one begins; it returns at once.",
        fields: &[Field::required("message", Kind::Text(2_000), "What you have done or begin to do")],
        effect: Effect::Adds,
    },
    Tool {
        name: "inbox",
        title: "Read messages",
        description: "Read what people have said to you since you began. Look at the beginning, between larger steps and before you submit: a message may change what is wanted. It returns at once.",
        fields: &[Field::optional(
            "after",
            Kind::Number,
            "Only messages with a number beyond this one; the number of the last that you have read",
        )],
        effect: Effect::Reads,
    },
    Tool {
        name: "conflicts",
        title: "See conflicts with others",
        description: "See which open work of others would conflict with your changes, and in which files. Use it before you touch files that others may be working on, and before you submit; then keep your changes there small.",
        fields: &[],
        effect: Effect::Reads,
    },
    Tool {
        name: "fresh",
        title: "See what the target has got",
        description: "See how your base stands to the branch that your work lands on: what has come there meanwhile and which of it touches files that you changed. Use it during long work and before you submit.",
        fields: &[],
        effect: Effect::Reads,
    },
    Tool {
        name: "task_context",
        title: "See the task",
        description: "See your task: what is wanted, which files you may change, what it is based on and where it lands, and what earlier attempts came to. Use it at the beginning, or when you have lost the thread.",
        fields: &[],
        effect: Effect::Reads,
    },
];

/// Answers by what the endpoint says.
pub struct Task {
    /// The way to it.
    pub endpoint: Endpoint,
}

impl Answers for Task {
    fn tools(&self) -> &'static [Tool] {
        TOOLS
    }

    fn instructions(&self) -> &'static str {
        INSTRUCTIONS
    }

    async fn answer(&self, tool: &'static Tool, arguments: Arguments, mut asked: Asked) -> Outcome {
        let not_yet = asked.not_yet();
        // It is sent although nobody waits for the answer any more.
        let said = tokio::select! {
            biased;
            said = self.endpoint.ask(tool.name, arguments, not_yet) => said,
            why = asked.unwanted() => Err(why.to_owned()),
        };
        match said {
            Ok(value) => Outcome::Right(value),
            Err(text) => Outcome::Wrong { text, document: None },
        }
    }
}
