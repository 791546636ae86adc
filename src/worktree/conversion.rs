//! How the user's git takes files in and gives them out: line endings, configured filters (LFS among them), what of a file's
//! mode and name counts, and which files are ignored.
//!
//! A private git dir without these settings would take in what the user's own git would not commit, and show as changed
//! what it landed. Only the user's configuration is read, never a task's; attributes come from the tree as always.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::repository::{Repository, bytes_path};
use crate::sys::fs;

/// What of `core` decides which bytes, modes and names are taken in, and which files are not.
const CORE: &str = "autocrlf|eol|checkroundtripencoding|filemode|symlinks|ignorecase|precomposeunicode|protecthfs|\
    protectntfs|excludesfile|attributesfile";

/// Copies the repository's own ignore rules and attributes, which live outside its tracked files.
pub fn copy_info(repo: &Repository, git_dir: &Path) -> Result<()> {
    for name in ["exclude", "attributes"] {
        let from = repo.common_dir.join("info").join(name);
        if fs::exists(&from)? {
            let to = git_dir.join("info");
            fs::create_private_dir_all(&to)?;
            std::fs::copy(&from, to.join(name)).map_err(fs::at("copy", &from))?;
        }
    }
    Ok(())
}

/// The settings as lines of a configuration file.
pub fn settings(repo: &Repository) -> Result<String> {
    let pattern = format!(r"^(core\.({CORE})|filter\..+\.(clean|smudge|process|required))$");
    let command = repo.bare(["config", "--includes", "-z", "--get-regexp", &pattern]);
    let name = command.name();
    let output = command.output()?;
    match output.code() {
        0 => {
            let lines: String = output.records().filter_map(|record| line(&String::from_utf8_lossy(record))).collect();
            Ok(if lines.contains("[filter \"lfs\"]") { lines + &lfs_storage(repo)? } else { lines })
        }
        // There are none.
        1 => Ok(String::new()),
        _ => Err(output.into_error(name).into()),
    }
}

/// Where LFS keeps the content of files: with the repository. What it kept in a private git dir would go with that one, and
/// the landed pointer would point to nothing.
fn lfs_storage(repo: &Repository) -> Result<String> {
    Ok(format!("[lfs]\n\tstorage = {}\n", quote(&lfs_place(repo)?.to_string_lossy())))
}

fn lfs_place(repo: &Repository) -> Result<PathBuf> {
    let set = repo.bare(["config", "--includes", "-z", "--type=path", "--get", "lfs.storage"]).output()?;
    let place = set.records().next().map_or_else(|| "lfs".into(), bytes_path);
    Ok(repo.common_dir.join(place))
}

/// What the settings lead to outside the git dir.
#[derive(Debug, Default)]
pub struct Outside {
    /// Files that are read.
    pub read: Vec<PathBuf>,
    /// Directories that a filter keeps content in.
    pub write: Vec<PathBuf>,
}

/// Which files and directories the settings name, for who has to make them visible.
pub fn outside(repo: &Repository) -> Result<Outside> {
    let mut outside = Outside::default();
    for key in ["core.excludesFile", "core.attributesFile"] {
        let set = repo.bare(["config", "--includes", "-z", "--type=path", "--get", key]).output()?;
        outside.read.extend(set.records().next().map(bytes_path).filter(|path| path.is_absolute()));
    }
    if settings(repo)?.contains("[filter \"lfs\"]") {
        let place = lfs_place(repo)?;
        fs::create_dir_all(&place)?;
        outside.write.push(place);
    }
    Ok(outside)
}

/// One record of `git config -z`: the key, a line feed, the value (nothing at all after a key without `=`).
pub(super) fn line(record: &str) -> Option<String> {
    let (key, value) = record.split_once('\n').unwrap_or((record, "true"));
    let (section, rest) = key.split_once('.')?;
    let (header, name) = match rest.rsplit_once('.') {
        Some((subsection, name)) => (format!("{section} {}", quote(subsection)), name),
        None => (section.to_owned(), rest),
    };
    Some(format!("[{header}]\n\t{name} = {}\n", quote(value)))
}

/// A value or a subsection as a git configuration file wants it.
pub fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_lines_that_git_reads_back() {
        let check = |record: &str, expected: &str| assert_eq!(line(record).as_deref(), Some(expected));
        check("core.autocrlf\ninput", "[core]\n\tautocrlf = \"input\"\n");
        check("filter.lfs.required", "[filter \"lfs\"]\n\trequired = \"true\"\n");
        check("filter.a.b.clean\nsed \"s/x/\\t/\"", "[filter \"a.b\"]\n\tclean = \"sed \\\"s/x/\\\\t/\\\"\"\n");
        assert_eq!(line("odd"), None);
    }
}
