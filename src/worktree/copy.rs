//! Scan and apply: what git ignores in the main worktree, brought into a new workspace as `copy_plan` decides.
//!
//! Which files a pattern matches and which are ignored is asked of git, never worked out here. Without patterns nothing
//! is asked at all. Promises: nothing in the new workspace is overwritten, nothing is reached through a link; a
//! signal ends it soon, with an error.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkouts;
use super::copy_plan::{self, CopyFacts, CopyPlan, Withheld, WithheldReason};
use super::error::{Result, WorktreeError};
use super::filled::admin_of;
use super::outputs::ages;
use super::repository::{Repository, bytes_path};
use crate::sys::carry::{Carried, Carrier};
use crate::sys::fs;
use crate::sys::interrupt::Held;

/// The project's list of patterns, at the root of the main worktree.
pub const INCLUDE_FILE: &str = ".worktreeinclude";

/// A workspace that files are brought into.
#[derive(Clone, Copy, Debug)]
pub struct CopyTarget<'a> {
    /// Its tree.
    pub tree: &'a Path,
    /// The git dir whose ignore rules hold for it.
    pub git_dir: &'a Path,
    /// The template of workspace paths: where others are.
    pub template: &'a str,
    /// It is for commands, not for a person.
    pub sealed: bool,
    /// Patterns besides those of the project's list.
    pub patterns: &'a [String],
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyProgress {
    /// Files that are done.
    pub done: usize,
    /// All of them.
    pub files: usize,
    /// Bytes that are done.
    pub bytes: u64,
}

/// What came along.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// How many files and links.
    pub files: u64,
    /// How long they are together.
    pub bytes: u64,
    /// How many of them share their blocks with the original.
    pub reflinked: u64,
    /// What stayed behind although a pattern matches.
    pub withheld: Vec<Withheld>,
    /// How many seconds older they got.
    pub older: u32,
}

/// Brings files into a workspace that was just checked out. A repository without a main worktree has none to bring.
pub fn bring(repo: &Repository, target: &CopyTarget<'_>, observe: &dyn Fn(CopyProgress)) -> Result<Copied> {
    let Some(main) = repo.main_tree.as_ref().filter(|main| main.is_dir()) else { return Ok(Copied::default()) };
    let plan = scan(repo, main, target)?;
    apply(main, target.tree, plan, observe)
}

fn scan(repo: &Repository, main: &Path, target: &CopyTarget<'_>) -> Result<CopyPlan> {
    let list = main.join(INCLUDE_FILE);
    let listed = match std::fs::read(&list) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(fs::at("read", &list)(error).into()),
    };
    if listed.is_none() && target.patterns.is_empty() {
        return Ok(CopyPlan::default());
    }
    let lines = listed.iter().flat_map(|text| text.split(|byte| *byte == b'\n')).map(<[u8]>::to_vec);
    let patterns: Vec<Vec<u8>> = lines.chain(target.patterns.iter().map(|line| line.as_bytes().to_vec())).collect();
    let matched = matched(repo, main, listed.is_some().then_some(&list), target.patterns)?;
    if matched.is_empty() {
        return Ok(CopyPlan::default());
    }
    let facts = CopyFacts {
        patterns: &patterns,
        matched: &matched,
        ignored_in_main: &ignored(repo, &repo.common_dir, main, &matched)?,
        ignored_in_new: &ignored(repo, target.git_dir, target.tree, &matched)?,
        excluded: &excluded(repo, main, target.template)?,
        sealed: target.sealed,
    };
    Ok(copy_plan::plan(&facts))
}

/// Untracked files of the main worktree that the patterns match.
fn matched(repo: &Repository, main: &Path, list: Option<&PathBuf>, patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut command = repo.git.tree(&repo.common_dir, main, ["ls-files", "--others", "--ignored", "-z"]);
    if let Some(list) = list {
        let mut from = std::ffi::OsString::from("--exclude-from=");
        from.push(list);
        command = command.arg(from);
    }
    let output = command.args(patterns.iter().map(|pattern| format!("--exclude={pattern}"))).run()?;
    Ok(output.records().map(bytes_path).collect())
}

/// Those of the paths that the ignore rules of a worktree ignore. What lies behind a link there is not asked about, since
/// nothing will be put there.
fn ignored(repo: &Repository, git_dir: &Path, tree: &Path, paths: &[PathBuf]) -> Result<HashSet<PathBuf>> {
    let mut behind_link = Vec::<PathBuf>::new();
    let (mut last, mut asked) = (None, Vec::new());
    for path in paths {
        let parent = path.parent();
        if parent != last {
            behind_link.extend(first_link(tree, parent));
            last = parent;
        }
        if !behind_link.last().is_some_and(|link| path.starts_with(link)) {
            asked.extend_from_slice(path.as_os_str().as_bytes());
            asked.push(0);
        }
    }
    // `--no-index`: what is tracked there is in the way, and a submodule in the index would be an error.
    let command = repo.git.tree(git_dir, tree, ["check-ignore", "--no-index", "-z", "--stdin"]).stdin(asked);
    let name = command.name();
    let output = command.output()?;
    match output.code() {
        0 | 1 => Ok(output.records().map(bytes_path).collect()),
        _ => Err(output.into_error(name).into()),
    }
}

/// The first symbolic link on the way to a directory below a root.
fn first_link(root: &Path, directory: Option<&Path>) -> Option<PathBuf> {
    let mut way = PathBuf::new();
    for part in directory?.iter() {
        way.push(part);
        match std::fs::symlink_metadata(root.join(&way)) {
            Ok(meta) if meta.is_symlink() => return Some(way),
            Ok(_) => {}
            // Nothing further down is there either.
            Err(_) => return None,
        }
    }
    None
}

/// Directories of the main worktree that are worktrees, hold workspaces or are the repository itself.
fn excluded(repo: &Repository, main: &Path, template: &str) -> Result<Vec<PathBuf>> {
    let trees = checkouts::scan(repo)?.into_iter().filter_map(|checkout| checkout.tree);
    let workspaces = (repo.workspace_tree(template, "a")?, repo.workspace_tree(template, "b")?);
    let shared = workspaces.0.iter().zip(workspaces.1.iter()).take_while(|(a, b)| a == b).map(|(part, _)| part);
    let all = trees.chain([shared.collect(), repo.common_dir.clone()]);
    let inside = all.filter_map(|path| path.strip_prefix(main).ok().map(Path::to_owned));
    Ok(inside.filter(|path| !path.as_os_str().is_empty()).collect())
}

fn apply(main: &Path, tree: &Path, plan: CopyPlan, observe: &dyn Fn(CopyProgress)) -> Result<Copied> {
    let mut copied = Copied { withheld: plan.withheld, ..Copied::default() };
    if !plan.copy.is_empty() {
        // It may take long, and whoever has enough of it wants nothing half made.
        let held = Held::hold().map_err(WorktreeError::Signals)?;
        // A build would take what is newer than the files of the commit for made of them.
        let older = newest(main, &plan.copy).saturating_sub(ages::oldest(tree, &admin_of(tree)?)?.saturating_sub(2));
        copied.older = older;
        let mut carrier = Carrier::open(main, tree)?.older(Duration::from_secs(older.into()));
        let files = plan.copy.len();
        for (done, path) in plan.copy.into_iter().enumerate() {
            let (before, mut signal) = (copied.bytes, Ok(None));
            let mut go_on = |bytes| {
                observe(CopyProgress { done, files, bytes: before + bytes });
                signal = held.noticed();
                matches!(signal, Ok(None))
            };
            let carried = if go_on(0) { carrier.carry(&path, &mut go_on)? } else { Carried::Stopped };
            if let Some(signal) = signal.map_err(WorktreeError::Signals)? {
                return Err(WorktreeError::Interrupted { signal });
            }
            let stayed = |reason| Withheld { path: path.clone(), reason };
            match carried {
                Carried::Done { bytes, reflinked } => {
                    copied.files += 1;
                    copied.bytes += bytes;
                    copied.reflinked += u64::from(reflinked);
                }
                // Somebody took it away in between; what is stopped has said why above.
                Carried::Gone | Carried::Stopped => {}
                Carried::InTheWay => copied.withheld.push(stayed(WithheldReason::InTheWay)),
                Carried::Unreadable => copied.withheld.push(stayed(WithheldReason::Unreadable)),
            }
        }
        observe(CopyProgress { done: files, files, bytes: copied.bytes });
    }
    copied.withheld.sort();
    Ok(copied)
}

/// The second in which the newest of these files was written.
fn newest(main: &Path, files: &[PathBuf]) -> u32 {
    let written = |file: &PathBuf| std::fs::symlink_metadata(main.join(file)).ok()?.mtime().try_into().ok();
    files.iter().filter_map(written).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BranchName, Submodules, WorkspaceName};
    use crate::worktree::fixture::{Fixture, TEMPLATE};
    use crate::worktree::plain::{self, NewWorkspace};

    #[test]
    fn an_interrupt_in_the_middle_unmakes_the_workspace() {
        for sealed in [false, true] {
            let fixture = Fixture::new();
            for name in ["a.log", "b.log", "c.log"] {
                std::fs::write(fixture.root.join(name), "x").expect("written");
            }
            let (name, branch) = (WorkspaceName::parse("x"), BranchName::parse("x"));
            let request = NewWorkspace {
                name: &name.expect("a name"),
                branch: &branch.expect("a name"),
                base: fixture.base(),
                template: TEMPLATE,
                sealed,
                submodules: Submodules::Local,
                copy: &["*.log".to_owned()],
                sparse: &[],
                settings: None,
            };
            // Not the one of the terminal, which who runs the tests in the background may have ignored.
            let interrupt = |progress: CopyProgress| {
                if progress.done == 1 {
                    nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).expect("raised");
                }
            };
            let made = plain::create(&fixture.repo, &fixture.store, &request, &interrupt);
            assert!(matches!(made, Err(WorktreeError::Interrupted { signal: 15 })), "{made:?}");
            assert_eq!(fixture.find("refs/heads/x"), None, "the branch is left");
            assert_eq!(fixture.store.workspaces().expect("readable"), []);
            let left = std::fs::read_dir(fixture.dir.path()).expect("readable");
            let mut left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
            left.sort();
            assert!(left.iter().all(|name| name == "work" || name == "state"), "{left:?}");
            assert_eq!(fixture.git(&["worktree", "list"]).lines().count(), 1);
            assert!(plain::create(&fixture.repo, &fixture.store, &request, &|_| {}).is_ok(), "the name is free again");
        }
    }
}
