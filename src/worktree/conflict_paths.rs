//! Decision file: what `merge-tree -z --name-only --messages` prints, and the files that are in conflict by it.
//!
//! Where a file and a directory, or two kinds of file, want one name, git gives the file another that is nowhere else, such as
//! `b~22a6a1f`. Its messages say which name that was, and that is the one that people know. A conflict over where a directory
//! went is in no file at all; then its message has the only names that there are.

use std::collections::BTreeMap;

/// The tree that was written, and the files that are in conflict, in order; `None` when it is nothing of the kind.
pub fn parse(stdout: &[u8]) -> Option<(String, Vec<String>)> {
    let mut fields = stdout.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    let tree = fields.next().filter(|tree| !tree.is_empty())?;
    // An empty field is between the names and the messages.
    let names: Vec<String> = fields.by_ref().take_while(|name| !name.is_empty()).collect();
    let told = told(&mut fields);
    let known = |name: String| told.renamed.get(&name).cloned().unwrap_or(name);
    let names = if names.is_empty() { told.in_conflict } else { names };
    let mut paths: Vec<String> = names.into_iter().map(known).collect();
    paths.sort();
    paths.dedup();
    Some((tree, paths))
}

/// What the messages tell.
#[derive(Default)]
struct Told {
    /// The names that git made, each with the one that it stands for.
    renamed: BTreeMap<String, String>,
    /// Whatever is named in a conflict.
    in_conflict: Vec<String>,
}

/// A message is a count, as many paths, its kind and its text.
fn told(fields: &mut dyn Iterator<Item = String>) -> Told {
    let mut told = Told::default();
    while let Some(count) = fields.next().and_then(|count| count.parse::<usize>().ok()) {
        let paths: Vec<String> = fields.take(count).collect();
        let kind = fields.next().unwrap_or_default();
        match (&kind[..], &paths[..]) {
            ("CONFLICT (file/directory)", [made, path]) => {
                told.renamed.insert(made.clone(), path.clone());
            }
            ("CONFLICT (distinct modes)", [path, made @ ..]) => {
                told.renamed.extend(made.iter().map(|made| (made.clone(), path.clone())));
            }
            _ => {}
        }
        if kind.starts_with("CONFLICT") {
            told.in_conflict.extend(paths);
        }
        fields.next();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(records: &[&str], expected: &[&str]) {
        let (tree, paths) = parse(records.join("\0").as_bytes()).expect("an answer");
        assert_eq!(
            (tree.as_str(), &paths[..]),
            ("t1", &expected.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()[..])
        );
    }

    #[test]
    fn names_that_git_made_are_those_of_the_files_by_its_own_record() {
        let moved = ["2", "b~main", "b", "CONFLICT (file/directory)", "directory in the way of b"];
        let kinds = ["2", "c", "c~main", "CONFLICT (distinct modes)", "c had different types"];
        let plain = ["1", "x~y", "CONFLICT (contents)", "Merge conflict in x~y"];
        let names = ["t1", "b~main", "c", "c~main", "x~y", ""];
        check(&[&names[..], &moved, &kinds, &plain, &[""]].concat(), &["b", "c", "x~y"]);
    }

    #[test]
    fn a_conflict_that_is_in_no_file_has_the_names_of_its_message() {
        let split = ["1", "d", "CONFLICT (directory rename unclear split)", "unclear where to rename d to"];
        let merged = ["1", "x", "Auto-merging", "Auto-merging x"];
        check(&[&["t1", ""][..], &merged, &split, &[""]].concat(), &["d"]);
    }

    #[test]
    fn without_messages_the_names_stay_what_they_are() {
        check(&["t1", "b~main", "a", ""], &["a", "b~main"]);
        check(&["t1", ""], &[]);
        check(&["t1", "", "1", "a", "Auto-merging", "Auto-merging a", ""], &[]);
        assert_eq!(parse(b""), None);
    }
}
