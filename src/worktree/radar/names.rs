//! Decision file: what open results are called.
//!
//! A workspace by its name, a task by its id, or `RUN/TASK` where another has that name.

use std::collections::BTreeMap;

use crate::model::{RunId, TaskId, WorkspaceName};

/// Whose result it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A workspace.
    Workspace(WorkspaceName),
    /// A task of a run.
    Task(RunId, TaskId),
}

impl Owner {
    fn short(&self) -> &str {
        match self {
            Owner::Workspace(name) => name.as_str(),
            Owner::Task(_, task) => task.as_str(),
        }
    }
}

/// What each is called among all of them.
pub fn names(owners: &[&Owner]) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    owners.iter().for_each(|owner| *count.entry(owner.short()).or_default() += 1);
    let name = |owner: &&Owner| match owner {
        Owner::Task(run, task) if count.get(task.as_str()) != Some(&1) => format!("{run}/{task}"),
        owner => owner.short().to_owned(),
    };
    owners.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_its_run_in_its_name_where_another_has_the_same() {
        let workspace = |name| Owner::Workspace(WorkspaceName::parse(name).expect("a name"));
        let task = |run, id| Owner::Task(RunId::parse(run).expect("a run"), TaskId::parse(id).expect("a task"));
        let (one, other) = ("0a1b2c3d4e", "0a1b2c3d4f");
        let owners = [workspace("lexer"), workspace("docs"), task(one, "lexer"), task(one, "parser"), task(other, "x")];
        assert_eq!(names(&owners.iter().collect::<Vec<_>>()), ["lexer", "docs", "0a1b2c3d4e/lexer", "parser", "x"]);
        assert_eq!(names(&[&task(one, "x"), &task(other, "x")]), ["0a1b2c3d4e/x", "0a1b2c3d4f/x"]);
    }
}
