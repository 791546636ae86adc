//! How the user's git takes files in and gives them out: line endings, configured filters (LFS among them), what of a file's
//! mode and name counts, and which files are ignored.
//!
//! A private git dir without these settings would take in what the user's own git would not commit, and show as changed
//! what it landed. Only the user's configuration is read, never a task's; attributes come from the tree as always.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::repository::{Repository, bytes_path};
use crate::sys::fs;
use crate::sys::git::user_file;

/// What of `core` decides which bytes, modes and names are taken in, and which files are not.
const CORE: &str = "autocrlf|eol|checkroundtripencoding|filemode|symlinks|ignorecase|precomposeunicode|protecthfs|\
    protectntfs";

/// Where a git dir of ours keeps a copy of the user's own attributes for all repositories, below it.
const USER_ATTRIBUTES: &str = "info/user-attributes";

/// Copies ignore rules and attributes that live outside the tracked files: the repository's own, and the user's for all
/// repositories, which a sandbox does not show.
pub fn copy_info(repo: &Repository, git_dir: &Path) -> Result<()> {
    let info = repo.common_dir.join("info");
    let user = |key, usual| for_all_repositories(repo, key, usual);
    // In one file the later pattern counts, as between the two.
    let excludes = [user("core.excludesFile", "ignore")?, read(&info.join("exclude"))?].into_iter().flatten();
    let excludes: Vec<Vec<u8>> = excludes.collect();
    let files = [
        ("info/exclude", (!excludes.is_empty()).then(|| excludes.join(&b'\n'))),
        ("info/attributes", read(&info.join("attributes"))?),
        (USER_ATTRIBUTES, user("core.attributesFile", "attributes")?),
    ];
    for (name, content) in files {
        if let Some(content) = content {
            fs::create_private_dir_all(&git_dir.join("info"))?;
            fs::write_atomic(&git_dir.join(name), &content)?;
        }
    }
    Ok(())
}

/// A file of the user's for all repositories, where the configuration says or where git looks by itself.
fn for_all_repositories(repo: &Repository, key: &str, usual: &str) -> Result<Option<Vec<u8>>> {
    let set = repo.bare(["config", "--includes", "-z", "--type=path", "--get", key]).output()?;
    let set = set.records().next().map(bytes_path);
    // A relative path is meant from wherever git is started; nobody can follow that.
    set.or_else(|| user_file(usual)).filter(|path| path.is_absolute()).map_or(Ok(None), |path| read(&path))
}

/// What is in a file; a file that is not there, or that git could not read either, has nothing.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    use std::io::ErrorKind;
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(fs::at("read", path)(error).into()),
    }
}

/// Where LFS keeps what the processes of a sealed workspace take in, in its private git dir.
pub const LFS_IN_PRIVATE: &str = "rw/lfs";

/// The settings for a git dir of ours, with what [`copy_info`] puts there. LFS keeps what it takes in with the repository.
///
/// What it kept in a private git dir would go with that one, and the landed pointer would point to nothing.
pub fn settings_in(repo: &Repository, git_dir: &Path) -> Result<String> {
    let settings = settings(repo)?;
    let place = have_lfs(&settings).then(|| lfs_place(repo)).transpose()?;
    Ok(settings + &files_in(git_dir) + &place.map(|place| storage(&place)).unwrap_or_default())
}

/// The same for a git dir in which a workspace's own processes work: what LFS takes in there stays there until it is captured.
pub fn settings_in_private(repo: &Repository, git_dir: &Path) -> Result<String> {
    let settings = settings(repo)?;
    let storage = if have_lfs(&settings) { storage(&git_dir.join(LFS_IN_PRIVATE)) } else { String::new() };
    Ok(settings + &files_in(git_dir) + &storage)
}

/// The same for who only looks: what LFS takes in goes with this directory.
pub fn settings_for_a_look(repo: &Repository, content: &Path) -> Result<String> {
    let settings = settings(repo)?;
    let storage = if have_lfs(&settings) { storage(content) } else { String::new() };
    Ok(settings + &storage)
}

fn files_in(git_dir: &Path) -> String {
    let attributes = git_dir.join(USER_ATTRIBUTES);
    format!("[core]\n\texcludesFile = /dev/null\n\tattributesFile = {}\n", quote(&attributes.to_string_lossy()))
}

/// Where LFS keeps the content of files, as settings say it.
fn storage(place: &Path) -> String {
    format!("[lfs]\n\tstorage = {}\n", quote(&place.to_string_lossy()))
}

/// Where the repository's own LFS keeps content, where it has such a filter.
pub fn lfs(repo: &Repository) -> Result<Option<PathBuf>> {
    have_lfs(&settings(repo)?).then(|| lfs_place(repo)).transpose()
}

fn have_lfs(settings: &str) -> bool {
    settings.contains("[filter \"lfs\"]")
}

/// The settings as lines of a configuration file.
fn settings(repo: &Repository) -> Result<String> {
    let pattern = format!(r"^(core\.({CORE})|filter\..+\.(clean|smudge|process|required))$");
    let command = repo.bare(["config", "--includes", "-z", "--get-regexp", &pattern]);
    let name = command.name();
    let output = command.output()?;
    match output.code() {
        0 => Ok(output.records().filter_map(|record| line(&String::from_utf8_lossy(record))).collect()),
        // There are none.
        1 => Ok(String::new()),
        _ => Err(output.into_error(name).into()),
    }
}

fn lfs_place(repo: &Repository) -> Result<PathBuf> {
    let set = repo.bare(["config", "--includes", "-z", "--type=path", "--get", "lfs.storage"]).output()?;
    let place = set.records().next().map_or_else(|| "lfs".into(), bytes_path);
    Ok(repo.common_dir.join(place))
}

/// What the settings lead to outside the git dir.
#[derive(Debug, Default)]
pub struct Outside {
    /// Directories that a filter keeps content in.
    pub write: Vec<PathBuf>,
}

/// Which files and directories the settings name, for who has to make them visible.
pub fn outside(repo: &Repository) -> Result<Outside> {
    let mut outside = Outside::default();
    if let Some(place) = lfs(repo)? {
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
