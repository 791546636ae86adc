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

/// Which of these files still have a mark of the conflict in a commit.
pub fn marked(repo: &Repository, commit: &CommitId, files: &[String], laid: &Laid<'_>) -> Result<Vec<String>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    // The line that ends the result's side; attributes may want more marks than seven.
    let mark = format!("^>>>>>>>>* {}$", basic_pattern(laid.name));
    let search = repo.bare(["grep", "-l", "-z", "--no-color", "-e", &mark, commit.as_str(), "--"]);
    let search =
        search.args(files.iter().map(|file| format!(":(top,literal){file}"))).env("GIT_NO_REPLACE_OBJECTS", "1");
    let name = search.name();
    let output = search.output()?;
    match output.code() {
        0 => {}
        1 => return Ok(Vec::new()),
        _ => return Err(output.into_error(name).into()),
    }
    // `COMMIT:PATH`
    let path =
        |record: &[u8]| record.get(commit.as_str().len() + 1..).map(|path| String::from_utf8_lossy(path).into_owned());
    Ok(output.records().filter_map(path).collect())
}

/// A text as a basic regular expression that it alone matches.
fn basic_pattern(text: &str) -> String {
    let one = |c: char| if r"\.*[]^$".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(one).collect()
}
