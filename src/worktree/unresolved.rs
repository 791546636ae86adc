//! Apply and scan: a conflict laid out in a new sealed workspace, as a person has it who merges: the files with marks, and in the
//! index all versions of each, the common one as stage 1, that of the branch as 2, that of the result as 3. And whether marks of
//! it are left in what somebody made of that.
//!
//! The workspace is nobody's yet: what git does there it does with files that treehand has just written.

use super::error::Result;
use super::repository::Repository;
use super::sealed::SealedPaths;
use crate::model::CommitId;

/// A result that does not go onto what a workspace has checked out.
#[derive(Clone, Copy, Debug)]
pub struct Laid<'a> {
    /// The result.
    pub commit: &'a CommitId,
    /// What it was made on: the common version.
    pub base: &'a CommitId,
    /// How its side is called at the marks.
    pub name: &'a str,
    /// What the workspace has checked out, and how that is called.
    pub onto: (&'a CommitId, &'a str),
}

/// Merges a result into the files and the index of a workspace; the answer is the paths in conflict.
pub fn lay_out(repo: &Repository, paths: &SealedPaths, laid: &Laid<'_>) -> Result<Vec<String>> {
    let (onto, branch) = laid.onto;
    let merge = repo.git.tree(&paths.admin, &paths.tree, ["-c", "merge.conflictStyle=diff3", "merge-recursive"]);
    let merge = merge.args([laid.base.as_str(), "--", onto.as_str(), laid.commit.as_str()]);
    let merge = merge.env(format!("GITHEAD_{onto}"), branch).env(format!("GITHEAD_{}", laid.commit), laid.name);
    // Content that LFS has nowhere near stays a pointer, as when a workspace is made.
    let merge = merge.env("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1").env("GIT_NO_REPLACE_OBJECTS", "1");
    let name = merge.name();
    let output = merge.output()?;
    // 1 is a conflict, and what it is for.
    if !matches!(output.code(), 0 | 1) {
        return Err(output.into_error(name).into());
    }
    let listed = repo.git.tree(&paths.admin, &paths.tree, ["ls-files", "--unmerged", "-z"]).run()?;
    // `MODE OBJECT STAGE<tab>PATH`
    let path = |record: &[u8]| {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        Some(String::from_utf8_lossy(record.get(tab + 1..)?).into_owned())
    };
    let mut conflicting: Vec<String> = listed.records().filter_map(path).collect();
    conflicting.dedup();
    Ok(conflicting)
}

/// The files that have a mark of the conflict in a commit and had none in the one before it; `name` is that of the result's side.
pub fn marked(repo: &Repository, (before, after): (&CommitId, &CommitId), name: &str) -> Result<Vec<String>> {
    // The line that ends the result's side; attributes may want more marks than seven, and lines may end as on Windows.
    let mark = format!("-G^>>>>>>>+ {}\r?$", pattern(name));
    let search = repo.bare(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv"]);
    let search = search.args(["--text", &mark, before.as_str(), after.as_str()]).env("GIT_NO_REPLACE_OBJECTS", "1");
    Ok(search.run()?.records().map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

/// A text as an extended regular expression that it alone matches.
fn pattern(text: &str) -> String {
    let one = |c: char| if r"\.*[]^$+?(){}|".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn marks_that_came_are_found_whatever_the_file_is_called_and_how_its_lines_end() {
        let fixture = Fixture::new();
        let before = fixture.commit("old", "<<<<<<< main\n=======\n>>>>>>> run/t.1\n");
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
        std::fs::write(fixture.root.join(odd), ">>>>>>>> run/t.1\n").expect("written");
        std::fs::write(fixture.root.join("windows"), "a\r\n>>>>>>> run/t.1\r\n").expect("written");
        std::fs::write(fixture.root.join("other"), ">>>>>>> run/tx1\n>> run/t.1\n >>>>>>> run/t.1\n").expect("written");
        fixture.git(&["add", "--all"]);
        let after = fixture.commit("old", "<<<<<<< main\n=======\n>>>>>>> run/t.1\nmore\n");
        let found = marked(&fixture.repo, (&before, &after), "run/t.1").expect("looked");
        assert_eq!(found, ["odd\u{fffd}", "windows"]);
    }
}
