//! Profiles: from a task to the command line that runs it.
//! A profile says how to start a task's program; it never starts it.

use crate::model::{RunId, TaskSpec};

/// The only profile of this version.
pub const COMMAND: &str = "command";

/// A command line with the variables that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beyond the baseline.
    pub env: Vec<(String, String)>,
}

/// The invocation of a task's command.
pub fn invocation(run: &RunId, task: &TaskSpec, attempt: u32) -> Invocation {
    let env = vec![
        ("TREEHAND_RUN".to_owned(), run.to_string()),
        ("TREEHAND_TASK".to_owned(), task.id.to_string()),
        ("TREEHAND_ATTEMPT_NUMBER".to_owned(), attempt.to_string()),
    ];
    Invocation { argv: task.command.clone(), env }
}
