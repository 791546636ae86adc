//! Decision file: how much of the repository a task gets, by what it and the tasks that it builds on say.
//!
//! Promises: with `auto` every file that one of them may change is there. Whether a directory exists is not asked here.

use std::collections::BTreeSet;

use crate::model::sparse::directories_of;
use crate::model::{Directory, Sparse, TaskSpec};

/// The directories that are all a task gets; `None` for everything.
pub fn extent(task: &TaskSpec, all: &[&TaskSpec]) -> Option<Vec<Directory>> {
    match &task.sparse {
        Sparse::Whole => None,
        Sparse::Directories(directories) => Some(directories.clone()),
        Sparse::Auto => {
            let builds_on = built_on(task, all);
            let anything = builds_on.iter().any(|task| task.paths.is_empty());
            let patterns = builds_on.iter().flat_map(|task| task.paths.iter().map(String::as_str));
            if anything { None } else { directories_of(patterns) }
        }
    }
}

/// The task, what it needs, what that needs and so on.
fn built_on<'a>(task: &'a TaskSpec, all: &[&'a TaskSpec]) -> Vec<&'a TaskSpec> {
    let (mut found, mut seen) = (vec![task], BTreeSet::from([&task.id]));
    let mut next = 0;
    while let Some(one) = found.get(next).copied() {
        next += 1;
        found.extend(all.iter().copied().filter(|other| one.needs.contains(&other.id) && seen.insert(&other.id)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;

    fn task(name: &str, needs: &[&str], paths: &[&str]) -> TaskSpec {
        let id = |text: &&str| TaskId::parse(text).expect("an id");
        TaskSpec {
            needs: needs.iter().map(id).collect(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            sparse: Sparse::Auto,
            ..TaskSpec::plain(id(&name), "command", Vec::new())
        }
    }

    #[test]
    fn a_task_gets_what_it_and_what_it_builds_on_may_change() {
        let all = [
            task("a", &[], &["a/**"]),
            task("b", &["a"], &["b/x/*.rs", "*.md"]),
            task("c", &["b", "a"], &["c/**"]),
            task("free", &[], &[]),
            task("after", &["free"], &["d/**"]),
        ];
        let all: Vec<&TaskSpec> = all.iter().collect();
        let names = |at: usize| {
            let found = extent(all[at], &all)?;
            Some(found.iter().map(Directory::to_string).collect::<Vec<_>>().join(" "))
        };
        let expected = [Some("a"), Some("a b/x"), Some("a b/x c"), None, None];
        assert_eq!([0, 1, 2, 3, 4].map(names), expected.map(|text| text.map(str::to_owned)));
        let whole = TaskSpec { sparse: Sparse::Whole, ..all[0].clone() };
        assert_eq!(extent(&whole, &all), None);
        let named = Sparse::Directories(vec![Directory::parse("z").expect("a directory")]);
        let named = TaskSpec { sparse: named, ..all[3].clone() };
        assert_eq!(extent(&named, &all).map(|found| found.len()), Some(1));
    }
}
