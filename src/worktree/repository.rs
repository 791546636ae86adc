//! The repository one stands in: where its parts are, and where treehand keeps its own.
//!
//! Promises: paths are absolute and resolved once; nothing is written by looking. What treehand keeps is below
//! `<common dir>/treehand/` and, for what a child may touch, below the user's state directory.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{Result, WorktreeError};
use super::patience::Patience;
use super::pool::decide::Terms;
use crate::model::record::ConfineLevel;
use crate::model::{BranchName, ByteSize, Confinement, Hooks, RunId, TaskId, Token, WorkspaceName};
use crate::sys::fs;
use crate::sys::git::{Git, Reader};
use crate::sys::{env, random};

/// A repository and the paths that follow from it.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The git that works on it.
    pub git: Git,
    /// The git dir that all worktrees share.
    pub common_dir: PathBuf,
    /// The git dir of the worktree one stands in (the common dir in a bare repository).
    pub git_dir: PathBuf,
    /// The root of the worktree one stands in, if any.
    pub here: Option<PathBuf>,
    /// The main worktree, unless the repository is bare.
    pub main_tree: Option<PathBuf>,
    /// The repository's name: the last part of the main worktree's path.
    pub name: String,
    /// The user's state directory, below which private git dirs are.
    pub state_home: Option<PathBuf>,
    /// Whether its hooks run.
    pub hooks: Hooks,
    /// How long git's locks are waited for.
    pub patience: Patience,
    /// How far it is confined what is started on files that a task could write.
    pub confinement: Confinement,
    /// Most that one removal may save into its objects; what is more goes into a bundle.
    pub salvage_max: ByteSize,
    /// How many slots are kept ready, where the user's configuration is known.
    pub pool: Option<Terms>,
    /// Patterns of ignored files that a removal saves, too.
    pub salvage_ignored: Vec<String>,
}

/// What [`Repository::salvage_max`] is unless somebody says otherwise.
pub const SALVAGE_MAX: ByteSize = ByteSize(2 << 30);

/// The file beside the private git dir of a sealed workspace that names the repository's common dir.
pub const SIGN: &str = "repository";

/// Where the main worktree was seen last, below a common dir that lies apart from it.
const MAIN_TREE: &str = "treehand/main-tree";

/// The repository that a private git dir of a sealed workspace belongs to; `None` for any other git dir.
fn owner_of_private(common_dir: &Path) -> Result<Option<PathBuf>> {
    let Some(sealed) = env::state_home().map(|home| home.join("treehand/sealed")) else { return Ok(None) };
    let sealed = sealed.canonicalize().unwrap_or(sealed);
    let Some(private) = common_dir.parent().filter(|parent| parent.starts_with(&sealed)) else { return Ok(None) };
    let sign = private.join(SIGN);
    let owner = std::fs::read(&sign).map(|text| bytes_path(&text)).map_err(fs::at("read", &sign))?;
    if owner.is_dir() {
        return Ok(Some(owner));
    }
    let detail = format!("the repository of this sealed workspace, {}, is not there", owner.display());
    Err(WorktreeError::NoRepository { path: common_dir.to_owned(), detail })
}

impl Repository {
    /// Finds the repository that contains `directory`.
    pub fn discover(git: &Git, directory: &Path) -> Result<Repository> {
        if !directory.is_dir() {
            let detail = "there is no such directory".into();
            return Err(WorktreeError::NoRepository { path: directory.to_owned(), detail });
        }
        let asked = ask(git, directory)?;
        let (common_dir, git_dir) = (canonical(&asked.common_dir)?, canonical(&asked.git_dir)?);
        let here = asked.top_level.as_deref().and_then(top_level).transpose()?;
        if let Some(owner) = owner_of_private(&common_dir)? {
            return Ok(Repository { here, ..Repository::at_common_dir(git, &owner)? });
        }
        let bare = match git_dir == common_dir {
            true => asked.bare,
            false => git.bare(&common_dir, ["rev-parse", "--is-bare-repository"]).text()? == "true",
        };
        Ok(Repository::assemble(git, common_dir, git_dir, here, bare))
    }

    fn assemble(git: &Git, common_dir: PathBuf, git_dir: PathBuf, here: Option<PathBuf>, bare: bool) -> Repository {
        let main_tree = match &here {
            _ if bare => None,
            Some(here) if git_dir == common_dir => Some(here.clone()),
            // One may stand in the git dir itself, which has its worktree all the same.
            _ => main_tree_of(git, &common_dir),
        };
        let named = main_tree.as_deref().unwrap_or(&common_dir);
        let name = named.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = match name.strip_suffix(".git") {
            Some("") | None => name,
            Some(stem) => stem.to_owned(),
        };
        Repository {
            git: git.clone(),
            common_dir,
            git_dir,
            here,
            main_tree,
            name,
            state_home: env::state_home(),
            hooks: Hooks::Never,
            patience: Patience::default(),
            confinement: Confinement { level: ConfineLevel::Off, read: Vec::new() },
            salvage_max: SALVAGE_MAX,
            pool: None,
            salvage_ignored: Vec::new(),
        }
    }

    /// Opens it again from its common dir alone, as a supervisor does.
    pub fn at_common_dir(git: &Git, common_dir: &Path) -> Result<Repository> {
        let bare = git.bare(common_dir, ["rev-parse", "--is-bare-repository"]).text()? == "true";
        let main_tree = if bare { None } else { main_tree_of(git, common_dir) };
        Ok(Repository::assemble(git, common_dir.to_owned(), common_dir.to_owned(), main_tree, bare))
    }

    /// The same as it sees itself, whichever linked worktree of it one stands in.
    pub fn itself(&self) -> Repository {
        Repository { git_dir: self.common_dir.clone(), here: self.main_tree.clone(), ..self.clone() }
    }

    /// Stands in a linked worktree of it from now on; in one that is gone nobody can.
    pub fn stand_in(&mut self, tree: &Path) {
        match Repository::discover(&self.git, tree) {
            Ok(there) if there.common_dir == self.common_dir => (self.git_dir, self.here) = (there.git_dir, there.here),
            Ok(_) => tracing::debug!(tree = %tree.display(), "it is another repository's now"),
            Err(error) => tracing::debug!(tree = %tree.display(), %error, "nobody stands there any more"),
        }
    }

    /// The directory of treehand's own state.
    pub fn state_dir(&self) -> PathBuf {
        self.common_dir.join("treehand")
    }

    /// A temporary directory on the repository's file system, among the quarantines: its name says whose it is, as theirs do.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        let parent = self.state_dir().join("quarantine");
        fs::create_private_dir_all(&parent)?;
        let suffix = super::abandoned::owner_suffix();
        let made = tempfile::Builder::new().prefix("scratch-").suffix(&suffix).tempdir_in(&parent);
        Ok(made.map_err(fs::at("create", &parent))?)
    }

    /// A git dir that lies apart does not say where its worktree is, and git forgets it; a supervisor must know.
    pub(super) fn remember_tree(&self) -> Result<()> {
        let apart = self.git_dir == self.common_dir && self.common_dir.file_name() != Some(".git".as_ref());
        match (&self.main_tree, &self.here) {
            (Some(tree), Some(here))
                if apart && tree == here && remembered_tree(&self.common_dir).as_ref() != Some(tree) =>
            {
                Ok(fs::write_atomic(&self.common_dir.join(MAIN_TREE), tree.as_os_str().as_bytes())?)
            }
            _ => Ok(()),
        }
    }

    /// Opens the repository for reading.
    pub fn reader(&self) -> Reader {
        Reader::open(&self.git, &self.common_dir)
    }

    /// A git command on the repository as such, without a work tree.
    pub fn bare<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> crate::sys::git::GitCommand {
        self.git.bare(&self.common_dir, args)
    }

    /// The repository's id: random, made once, part of paths outside the repository.
    pub fn id(&self) -> Result<String> {
        let path = self.state_dir().join("id");
        if let Some(id) = read_id(&path)? {
            return Ok(id);
        }
        fs::create_dir_all(&self.state_dir())?;
        let token = random::token().map_err(WorktreeError::Random)?;
        // Of two that make it at once the first wins; both read what is there.
        let made = fs::write_new_whole(&path, token.as_str().as_bytes(), &self.state_dir());
        match (made, read_id(&path)?) {
            (_, Some(id)) => Ok(id),
            (Err(error), None) => Err(error.into()),
            (Ok(()), None) => Err(fs::at("read", &path)(std::io::Error::other("it is damaged")).into()),
        }
    }

    /// Where private git dirs of this repository's sealed workspaces are: outside any repository, 0700.
    pub fn sealed_root(&self) -> Result<PathBuf> {
        let home = self.state_home.as_ref().ok_or_else(WorktreeError::no_home)?;
        Ok(home.join("treehand/sealed").join(self.id()?))
    }

    /// The private directory of a run.
    pub fn run_dir(&self, run: &RunId) -> Result<PathBuf> {
        Ok(self.sealed_root()?.join(run.as_str()))
    }

    /// The lock file of this name.
    pub fn lock(&self, name: &str) -> PathBuf {
        self.state_dir().join("locks").join(name)
    }

    /// The lock file whose holder supervises a run.
    pub fn run_lock(&self, run: &RunId) -> PathBuf {
        self.lock(&format!("run-{run}"))
    }

    /// The log of one attempt.
    pub fn attempt_log(&self, run: &RunId, task: &TaskId, n: u32) -> PathBuf {
        self.state_dir().join("logs").join(run.as_str()).join(format!("{task}.{n}.log"))
    }

    /// The log of a setup step before one attempt, beside that of the attempt.
    pub fn setup_log(&self, run: &RunId, task: &TaskId, n: u32, step: u32) -> PathBuf {
        self.attempt_log(run, task, n).with_extension(format!("setup-{step}.log"))
    }

    /// The log of a setup step in the checkout of gates, called after one of the results in it.
    pub fn setup_log_of_gate(&self, run: &RunId, lead: &str, token: &Token, step: u32) -> PathBuf {
        let name = format!("gate-{lead}-{}.setup-{step}.log", token.short());
        self.state_dir().join("logs").join(run.as_str()).join(name)
    }

    /// The tree of a workspace by the template, absolute.
    pub fn workspace_tree(&self, template: &str, part: &str) -> Result<PathBuf> {
        let filled = template.replace("{repo}", &self.name).replace("{workspace}", part);
        let root = self.main_tree.as_deref().unwrap_or(&self.common_dir);
        // git, the kernel and who stands in it call it by its real path: a directory of workspaces may be a link to a disk.
        let path = fs::without_links(&lexical(&root.join(filled)));
        if path.starts_with(&self.common_dir) || path == root {
            let message = format!("worktree.path puts a workspace into the repository itself: {}", path.display());
            return Err(WorktreeError::refused(message, "let worktree.path start with `../`"));
        }
        Ok(path)
    }

    /// The tree of a person's workspace.
    pub fn named_tree(&self, template: &str, name: &WorkspaceName) -> Result<PathBuf> {
        self.workspace_tree(template, &name.path_part())
    }

    /// The branch of a task.
    pub fn task_branch(run: &RunId, task: &TaskId) -> Result<BranchName> {
        Ok(BranchName::parse(&format!("treehand/{run}/{task}"))?)
    }
}

fn read_id(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Some(id)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fs::at("read", path)(error).into()),
    }
}

/// The main worktree of a repository that is not bare: where it is configured, around its `.git`, where one stood in it, or
/// what git takes for it.
fn main_tree_of(git: &Git, common_dir: &Path) -> Option<PathBuf> {
    let configured = git.bare(common_dir, ["config", "-z", "--get", "core.worktree"]).output().ok()?;
    if let (true, Some(path)) = (configured.status.success(), configured.records().next()) {
        return canonical(&common_dir.join(bytes_path(path))).ok();
    }
    if common_dir.file_name() == Some(".git".as_ref()) {
        return common_dir.parent().map(Path::to_owned);
    }
    if let Some(tree) = remembered_tree(common_dir) {
        return Some(tree);
    }
    let output = git.bare(common_dir, ["worktree", "list", "--porcelain", "-z"]).run().ok()?;
    let first = output.records().next()?.strip_prefix(b"worktree ")?.to_vec();
    canonical(&bytes_path(&first)).ok()
}

/// Where one stood in the main worktree of a git dir that lies apart (`--separate-git-dir`, a link), if it still is that.
fn remembered_tree(common_dir: &Path) -> Option<PathBuf> {
    let tree = bytes_path(&std::fs::read(common_dir.join(MAIN_TREE)).ok()?);
    let link = tree.join(".git");
    let back = match link.is_dir() {
        true => link,
        false => tree.join(one_path(std::fs::read(link).ok()?.strip_prefix(b"gitdir: ")?)),
    };
    (back.canonicalize().ok()? == common_dir).then_some(tree)
}

/// What git says of where one stands.
struct Asked {
    common_dir: PathBuf,
    git_dir: PathBuf,
    bare: bool,
    /// As it printed it; `None` where one stands in no worktree.
    top_level: Option<Vec<u8>>,
}

/// Asks git where a directory is.
fn ask(git: &Git, directory: &Path) -> Result<Asked> {
    let ask = |what: &[&str]| {
        let args = ["rev-parse", "--path-format=absolute"].iter().chain(what);
        let output = git.within(directory, args).output()?;
        match output.status.success() || !output.stdout.is_empty() {
            true => Ok(output),
            false => Err(match String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ") {
                detail if detail.contains("dubious ownership") => somebody_elses(directory, &output.stderr),
                detail => WorktreeError::NoRepository { path: directory.to_owned(), detail },
            }),
        }
    };
    // What it has no answer to is the last question: what was asked before has its answers all the same.
    let all = ask(&["--git-common-dir", "--git-dir", "--is-bare-repository", "--show-toplevel"])?;
    let answers = all.stdout.strip_suffix(b"\n").unwrap_or_default();
    let lines: Vec<&[u8]> = answers.split(|byte| *byte == b'\n').collect();
    let top_level = match (lines.get(3..), all.status.success()) {
        (Some([top_level]), true) => Some(Some(top_level.to_vec())),
        (Some([]), false) => Some(None),
        _ => None,
    };
    if let ([common_dir, git_dir, bare, ..], Some(top_level)) = (&lines[..], top_level) {
        let (common_dir, git_dir) = (bytes_path(common_dir), bytes_path(git_dir));
        return Ok(Asked { common_dir, git_dir, bare: *bare == b"true", top_level });
    }
    // A path with a line feed in it: one question at a time has one answer.
    let bare = ask(&["--is-bare-repository"])?.stdout == b"true\n";
    let (common_dir, git_dir) = (ask(&["--git-common-dir"])?.stdout, ask(&["--git-dir"])?.stdout);
    let top_level = git.within(directory, ["rev-parse", "--show-toplevel"]).output()?;
    let top_level = top_level.status.success().then_some(top_level.stdout);
    Ok(Asked { common_dir: one_path(&common_dir), git_dir: one_path(&git_dir), bare, top_level })
}

/// git's refusal of a repository that belongs to somebody else, with the remedy that git names.
fn somebody_elses(directory: &Path, said: &[u8]) -> WorktreeError {
    let said = String::from_utf8_lossy(said);
    let exception = said.lines().map(str::trim).find(|line| line.contains("safe.directory")).unwrap_or_default();
    let message =
        format!("{} is in a repository that belongs to somebody else, and git does not use it", directory.display());
    WorktreeError::refused(message, format!("work in a clone of your own, or if you trust its owner: {exception}"))
}

/// The root of the worktree, as `rev-parse --show-toplevel` prints it: nothing when there is none.
fn top_level(printed: &[u8]) -> Option<Result<PathBuf>> {
    (!printed.is_empty()).then(|| canonical(&one_path(printed)))
}

/// The one path that git printed, ended by a line feed: one inside it is part of it.
fn one_path(printed: &[u8]) -> PathBuf {
    bytes_path(printed.strip_suffix(b"\n").unwrap_or(printed))
}

/// A path from the bytes that git printed.
pub fn bytes_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn canonical(path: &Path) -> Result<PathBuf> {
    Ok(path.canonicalize().map_err(fs::at("resolve", path))?)
}

/// Resolves `.` and `..` in a path whose leading part is canonical already; needs nothing to exist.
pub(super) fn lexical(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
