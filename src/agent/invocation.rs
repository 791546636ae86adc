//! Decision file: what a task's plain command is started with: its command line, and the variables that every task has.
//! It never starts anything, and knows nothing of agents.

use crate::model::{RunId, TaskSpec};

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
