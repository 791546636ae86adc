//! Which files differ between two trees, renames not followed: only directories that differ are opened, where libgit2's own diff goes
//! through all of both trees.

use git2::{ObjectType, Repository, Tree, TreeEntry};

/// The files that differ, in order, and whether only the second tree has them.
pub(super) fn differing(
    library: &Repository,
    from: Option<&Tree<'_>>,
    to: &Tree<'_>,
) -> Result<Vec<(Vec<u8>, bool)>, git2::Error> {
    let mut differing = Differing { library, found: Vec::new() };
    differing.compare(from, Some(to), &[])?;
    differing.found.sort_unstable();
    Ok(differing.found)
}

struct Differing<'a> {
    library: &'a Repository,
    found: Vec<(Vec<u8>, bool)>,
}

impl<'a> Differing<'a> {
    fn compare(&mut self, from: Option<&Tree<'a>>, to: Option<&Tree<'a>>, at: &[u8]) -> Result<(), git2::Error> {
        for entry in to.into_iter().flat_map(Tree::iter) {
            let before = from.and_then(|from| from.get_name_bytes(entry.name_bytes()));
            self.entry(before.as_ref(), Some(&entry), &path(at, &entry))?;
        }
        for entry in from.into_iter().flat_map(Tree::iter) {
            if to.is_none_or(|to| to.get_name_bytes(entry.name_bytes()).is_none()) {
                self.entry(Some(&entry), None, &path(at, &entry))?;
            }
        }
        Ok(())
    }

    /// One name in both trees, or in one of them.
    fn entry(
        &mut self,
        before: Option<&TreeEntry<'_>>,
        after: Option<&TreeEntry<'_>>,
        path: &[u8],
    ) -> Result<(), git2::Error> {
        let print = |entry: &TreeEntry<'_>| (entry.id(), entry.filemode());
        if before.map(print) == after.map(print) {
            return Ok(());
        }
        let is_file = |entry: &&TreeEntry<'_>| entry.kind() != Some(ObjectType::Tree);
        let (old_file, new_file) = (before.filter(is_file), after.filter(is_file));
        if old_file.is_some() || new_file.is_some() {
            self.found.push((path.to_vec(), old_file.is_none()));
        }
        let tree = |entry: Option<&TreeEntry<'_>>| {
            entry.filter(|entry| !is_file(entry)).map(|entry| self.library.find_tree(entry.id())).transpose()
        };
        match (tree(before)?, tree(after)?) {
            (None, None) => Ok(()),
            (old, new) => self.compare(old.as_ref(), new.as_ref(), path),
        }
    }
}

fn path(at: &[u8], entry: &TreeEntry<'_>) -> Vec<u8> {
    if at.is_empty() { entry.name_bytes().to_vec() } else { [at, b"/", entry.name_bytes()].concat() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::git::Git;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Files, links, directories in the place of each other, and modes: it is what `git diff-tree` says.
        #[test]
        fn random_trees_differ_as_git_says(
            entries in prop::collection::vec((0..2_u8, 0..7_u8, 0..3_u8, 0..3_u8), 0..24),
        ) {
            let dir = tempfile::tempdir().expect("a temp dir");
            let git = Git::open().expect("git");
            let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
            run(&["init", "-q", "-b", "main"]);
            let trees = [0, 1].map(|side| {
                run(&["read-tree", "--empty"]);
                for (_, path, mode, content) in entries.iter().filter(|(of, ..)| *of == side || *of == 1) {
                    let path = ["a", "a/b", "a/b/c", "a-b", "d", "d/e", "a.b"][usize::from(*path)];
                    let mode = ["100644", "100755", "120000"][usize::from(*mode)];
                    let name = dir.path().join("content");
                    std::fs::write(&name, content.to_string()).expect("written");
                    let id = run(&["hash-object", "-w", &name.to_string_lossy()]);
                    // What is in its place goes.
                    run(&["update-index", "--add", "--replace", "--cacheinfo", &format!("{mode},{id},{path}")]);
                }
                run(&["write-tree"])
            });
            let library = Repository::open(dir.path()).expect("opened");
            let tree = |id: &str| library.find_tree(git2::Oid::from_str(id).expect("an id")).expect("a tree");
            let found = differing(&library, Some(&tree(&trees[0])), &tree(&trees[1])).expect("read");
            let told = run(&["diff-tree", "-r", "--name-status", "--no-renames", &trees[0], &trees[1]]);
            let told = told.lines().map(|line| (line.as_bytes()[2..].to_vec(), line.starts_with('A')));
            let mut told: Vec<(Vec<u8>, bool)> = told.collect();
            told.sort_unstable();
            prop_assert_eq!(found, told);
        }
    }
}
