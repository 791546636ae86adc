//! Apply: brings what a setup step made in an earlier workspace into a new one, and keeps what it made in this one.
//!
//! What is kept is in treehand's directory of the repository, by the key of the step and the commit of the workspace that made it, and is
//! never changed: who gets it gets copies, as shared blocks where the file system can. It is given only to workspaces whose commit goes
//! on from that one: what may have run is in their history. A list says of each file its size and when it was last changed, which nobody
//! can set: what was touched since is removed, and the step runs. Nothing is reached through a link.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;

use super::ages;
use super::decide::{self, Asked, moved};
use super::place::{FILES, Kept, LIST, List, Listed, kept, place, read, remove, whole};
use super::search::{Search, Seen};
use crate::confine::environment;
use crate::model::cause::chain;
use crate::model::record::ConfineLevel;
use crate::model::{CommitId, SetupStep};
use crate::sys::carry::{Carried, Carrier};
use crate::sys::git::GitCommand;
use crate::sys::lock::{FileLock, LockError};
use crate::sys::{crew, fs, machine, random};
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::repository::{Repository, bytes_path};
use crate::worktree::stock::goes_on;

/// So many results are kept; the one that was of use longest ago goes first.
const MOST: usize = 12;
/// Where it is in the tree until all of it is there.
const INCOMING: &str = ".treehand-outputs";
/// What is kept has room on the disk so many times over.
const ROOM: u64 = 4;

/// The result of a step in a workspace, there or not.
#[derive(Clone, Debug)]
pub struct Outputs<'a> {
    /// The repository.
    pub repo: &'a Repository,
    /// The step.
    pub step: &'a SetupStep,
    /// What it follows from.
    pub key: &'a str,
    /// The tree of the workspace.
    pub tree: &'a Path,
    /// Its commit.
    pub commit: &'a CommitId,
    /// A commit of the repository that it goes on from: itself, where the repository has it.
    pub trusted: &'a CommitId,
    /// Its own part of a git dir.
    pub admin: &'a Path,
    /// How many seconds older those files got that were brought along before: these get no less, or what changed in those would
    /// seem to have been there when these were made.
    pub older: u32,
}

/// What came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// How many files and links.
    pub files: u64,
    /// How long they are together.
    pub bytes: u64,
    /// The commit of the workspace in which they were made.
    pub(super) made_at: CommitId,
    /// The second after which they were made there, as their times say it now, where that is known.
    pub(super) after: Option<u32>,
}

/// Who makes what a step makes.
#[derive(Debug)]
pub enum Turn {
    /// It is there.
    Brought(Brought),
    /// This one, as long as it holds that, and others wait for it.
    Mine(FileLock),
    /// Somebody else is at it: worth another look in a moment.
    Taken,
}

/// A workspace in which a step is to run.
#[derive(Clone, Copy)]
pub struct Workspace<'a> {
    /// Its tree.
    pub tree: &'a Path,
    /// Its commit.
    pub commit: &'a CommitId,
    /// A git that has the commit.
    pub git: &'a dyn Fn(&[&str]) -> GitCommand,
    /// Its own part of a git dir.
    pub admin: &'a Path,
    /// How far steps are confined.
    pub level: ConfineLevel,
}

/// What the result of a step follows from, where it is one that can be known again, and nothing is at its place.
pub fn key(workspace: Workspace<'_>, (before, step): (&[SetupStep], &SetupStep)) -> Result<Option<String>> {
    let Some(matcher) = decide::matcher(&step.inputs).filter(|_| !step.outputs.is_empty()) else { return Ok(None) };
    for output in &step.outputs {
        if fs::exists(&workspace.tree.join(output.as_str()))? {
            return Ok(None);
        }
    }
    let listed = (workspace.git)(&["ls-tree", "-r", "-z", "--full-tree", workspace.commit.as_str(), "--"]);
    let listed = listed.args(decide::places(&step.inputs)).run()?;
    let path = |record: &[u8]| record.iter().position(|byte| *byte == b'\t').map(|at| bytes_path(&record[at + 1..]));
    let matched = listed.records().filter(|record| path(record).is_some_and(|path| matcher.is_match(path)));
    // A place in another is listed twice.
    let inputs: BTreeSet<Vec<u8>> = matched.map(<[u8]>::to_vec).collect();
    let inputs: Vec<Vec<u8>> = inputs.into_iter().collect();
    let (sparse, system) = (read(&workspace.admin.join("info/sparse-checkout"))?, system()?);
    Ok(decide::key(&Asked {
        step,
        before,
        level: workspace.level,
        inputs: &inputs,
        variables: &environment::passed(&step.env),
        sparse: sparse.as_deref(),
        system: &system,
    }))
}

impl Outputs<'_> {
    /// Brings it, else gives the right to make it, which one has at a time, so that others find it made.
    pub fn turn(&self) -> Result<Turn> {
        if let Some(brought) = self.bring()? {
            return Ok(Turn::Brought(brought));
        }
        let Some(turn) = self.lock()? else { return Ok(Turn::Taken) };
        // Whoever had it until now may have made it.
        Ok(self.bring()?.map_or(Turn::Mine(turn), Turn::Brought))
    }

    fn lock(&self) -> Result<Option<FileLock>> {
        let lock = self.repo.lock(&format!("outputs-{}", self.key.get(..2).unwrap_or_default()));
        match FileLock::try_acquire(&lock, &format!("pid {}, at a setup step", std::process::id())) {
            Err(LockError::Held { .. }) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Brings it, where it is kept.
    pub fn bring(&self) -> Result<Option<Brought>> {
        let Some(from) = self.found()? else { return Ok(None) };
        if let Some((list, newest)) = whole(&from.place)? {
            // A build takes what is newer than a file for made of it: of these files nothing was, as far as anybody knows yet.
            let oldest = ages::oldest(self.tree, self.admin)?;
            let older = newest.saturating_sub(oldest.saturating_sub(2)).max(self.older);
            if let Some((files, bytes)) = self.carry(&from.place, &list, Duration::from_secs(older.into()))? {
                // That it is of use is what `clean` goes by.
                fs::touch(&from.place)?;
                let after = list.sources.map(|sources| sources.saturating_sub(older));
                return Ok(Some(Brought { files, bytes, made_at: from.commit, after }));
            }
        }
        tracing::debug!(place = %from.place.display(), "what is kept of a setup step is not whole");
        self.unbring()?;
        remove(&from.place)?;
        Ok(None)
    }

    /// The newest result that may be given to this workspace.
    fn found(&self) -> Result<Option<Kept>> {
        let repo = self.repo;
        for kept in kept(repo)?.into_iter().filter(|kept| kept.key == self.key) {
            let same = kept.commit == *self.trusted;
            if same || repo.reader().has_commit(&kept.commit)? && goes_on(repo, &kept.commit, self.trusted)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Copies it into the tree, so much older; `None` where a file is not there, or something is in its way. Who is killed meanwhile
    /// leaves nothing that looks like all of it.
    fn carry(&self, from: &Path, list: &List, older: Duration) -> Result<Option<(u64, u64)>> {
        let token = random::token().map_err(WorktreeError::Random)?;
        let aside = self.tree.join(format!("{INCOMING}-{}", token.short()));
        fs::create_private_dir(&aside)?;
        let carried = self.carry_to(&aside, from, list, older).and_then(|carried| {
            carried
                .map(|all| self.put_in_place(&aside).map(|placed| placed.then_some(all)))
                .transpose()
                .map(Option::flatten)
        });
        fs::remove_tree(&aside)?;
        carried.inspect_err(|_| {
            if let Err(error) = self.unbring() {
                tracing::warn!(%error, "a part of what a setup step makes stays behind");
            }
        })
    }

    /// Moves what is aside to where it belongs; false where something is there.
    fn put_in_place(&self, aside: &Path) -> Result<bool> {
        for output in &self.step.outputs {
            let (from, to) = (aside.join(output.as_str()), self.tree.join(output.as_str()));
            // One in another has come with that.
            if !fs::exists(&from)? {
                continue;
            }
            if fs::exists(&to)? || !parent_is_made(self.tree, Path::new(output.as_str()))? {
                return Ok(false);
            }
            fs::move_path_within(&from, &to)?;
        }
        Ok(true)
    }

    fn carry_to(&self, aside: &Path, from: &Path, list: &List, older: Duration) -> Result<Option<(u64, u64)>> {
        let (source, tree) = (from.join(FILES), self.tree);
        let (old, new) = (list.tree.as_os_str().as_bytes(), tree.as_os_str().as_bytes());
        let carried = in_parts(&list.files, |files| {
            let mut carrier = Carrier::open(&source, aside)?.older(older);
            let mut all = (0, 0);
            for file in files {
                let change = |content: &[u8]| moved(content, old, new);
                let carried = if file.moves {
                    carrier.carry_changed(&file.path, &change)?
                } else {
                    carrier.carry(&file.path, &mut |_| true)?
                };
                let Carried::Done { bytes, .. } = carried else { return Ok(None) };
                all = (all.0 + 1, all.1 + bytes);
            }
            Ok(Some(all))
        });
        let carried = carried?;
        let add = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        Ok(carried.into_iter().collect::<Option<Vec<_>>>().map(|all| all.into_iter().fold((0, 0), add)))
    }

    /// Takes away what is at its place.
    fn unbring(&self) -> Result<()> {
        for output in &self.step.outputs {
            let output = Path::new(output.as_str());
            if is_beneath(self.tree, output)? {
                fs::remove_tree(&self.tree.join(output))?;
            }
        }
        Ok(())
    }

    /// Keeps what the step has just made; why not, where it cannot be kept. That is a loss of time and nothing else.
    pub fn keep_or_why(&self, secrets: &[String]) -> Option<String> {
        match self.keep(secrets) {
            Ok(why) => why.map(str::to_owned),
            Err(error) => Some(chain(&error)),
        }
    }

    /// Keeps what the step has just made, where nothing of it is secret and the disk has the room; what keeps it from that is the answer.
    fn keep(&self, secrets: &[String]) -> Result<Option<&'static str>> {
        let repo = self.repo;
        let all = place(repo);
        let paths = match self.made()? {
            Ok(paths) => paths,
            Err(why) => return Ok(Some(why)),
        };
        if paths.is_empty() {
            return Ok(Some("it made nothing there"));
        }
        let bytes: u64 = paths.iter().map(|(_, bytes)| bytes).sum();
        fs::create_private_dir_all(&all)?;
        if machine::disk(&all).is_some_and(|disk| disk.free / ROOM < bytes) {
            return Ok(Some("the disk has too little room"));
        }
        // Only who has the turn makes it, so that one that is there already is a dead one's.
        let aside = all.join(format!("new-{}", self.key.get(..2).unwrap_or_default()));
        fs::remove_tree(&aside)?;
        let made = self.put(&aside, paths, secrets).and_then(|why| {
            let into = all.join(format!("{}-{}", self.key, self.commit));
            match why {
                None => {
                    remove(&into)?;
                    fs::move_path(&aside, &into)?;
                }
                Some(_) => fs::remove_tree(&aside)?,
            }
            Ok(why)
        });
        if made.is_err() {
            fs::remove_tree(&aside)?;
        }
        kept(repo)?.iter().skip(MOST).try_for_each(|old| remove(&old.place))?;
        made
    }

    /// What is at its place, with its size; why not, where there is something that cannot be kept.
    fn made(&self) -> Result<std::result::Result<Vec<(PathBuf, u64)>, &'static str>> {
        let (tree, mut found) = (self.tree, BTreeMap::new());
        for output in &self.step.outputs {
            let output = Path::new(output.as_str());
            if !is_beneath(tree, output)? {
                match fs::exists(&tree.join(output))? {
                    true => return Ok(Err("a part of it is behind a link")),
                    false => continue,
                }
            }
            for entry in WalkDir::new(tree.join(output)).follow_root_links(false) {
                let entry = match entry {
                    Err(error)
                        if error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) =>
                    {
                        continue;
                    }
                    Err(_) => return Ok(Err("a directory in it cannot be read")),
                    Ok(entry) => entry,
                };
                let kind = entry.file_type();
                let relative = entry.path().strip_prefix(tree).unwrap_or(entry.path()).to_owned();
                if kind.is_dir() {
                    continue;
                } else if !(kind.is_file() || kind.is_symlink()) || relative.to_str().is_none() {
                    return Ok(Err(
                        "there is something in it that is neither file nor link, or has a name that is no text",
                    ));
                }
                // One output in another is walked twice.
                found.insert(relative, entry.metadata().map_or(0, |meta| meta.len()));
            }
        }
        Ok(Ok(found.into_iter().collect()))
    }

    /// Copies it aside, and lists it.
    fn put(&self, aside: &Path, paths: Vec<(PathBuf, u64)>, secrets: &[String]) -> Result<Option<&'static str>> {
        let (files, tree) = (aside.join(FILES), self.tree);
        fs::create_private_dir(aside)?;
        fs::create_private_dir(&files)?;
        let search = Search::new(tree, secrets)?;
        let parts = in_parts(&paths, |paths| {
            let mut carrier = Carrier::open(tree, &files)?;
            let mut listed = Vec::new();
            for (path, _) in paths {
                // Before it is anywhere else.
                let found = search.look(path)?;
                if found == Seen::Secret {
                    return Ok(Err("the value of a secret is in it"));
                }
                if !matches!(carrier.carry(path, &mut |_| true)?, Carried::Done { .. }) {
                    return Ok(Err("a file in it cannot be read"));
                }
                let at = files.join(path);
                let meta = std::fs::symlink_metadata(&at).map_err(fs::at("look at", &at))?;
                let changed = (meta.ctime(), meta.ctime_nsec());
                listed.push(Listed { path: path.clone(), bytes: meta.len(), changed, moves: found == Seen::Path });
            }
            Ok(Ok(listed))
        })?;
        let listed: Vec<Listed> = match parts.into_iter().collect::<std::result::Result<Vec<_>, _>>() {
            Ok(parts) => parts.into_iter().flatten().collect(),
            Err(why) => return Ok(Some(why)),
        };
        let list = List { tree: tree.to_owned(), sources: ages::newest(self.admin)?, files: listed };
        let text = serde_json::to_vec(&list).unwrap_or_default();
        fs::write_atomic(&aside.join(LIST), &text)?;
        Ok(None)
    }
}

/// Makes the directories above a path; false where one of them is something else.
fn parent_is_made(tree: &Path, path: &Path) -> Result<bool> {
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new(""))
        && !fs::exists(&tree.join(parent))?
    {
        fs::create_dir_all(&tree.join(parent))?;
    }
    is_beneath(tree, path)
}

/// True for a path to which no link leads out of the tree.
fn is_beneath(tree: &Path, path: &Path) -> Result<bool> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    Ok(parent.map_or(Ok(true), |parent| fs::is_directory_beneath(tree, parent))?)
}

/// What a program that was built may depend on beyond its sources: the processor and the release of the system.
fn system() -> Result<Vec<u8>> {
    let release = read(Path::new("/etc/os-release"))?.unwrap_or_default();
    Ok([std::env::consts::OS.as_bytes(), b" ", std::env::consts::ARCH.as_bytes(), b"\n", &release].concat())
}

/// Works on a list in as many parts as there are processors.
fn in_parts<T: Sync, R: Send>(all: &[T], work: impl Fn(&[T]) -> Result<R> + Sync) -> Result<Vec<R>> {
    crew::each(all.chunks(crew::part_of(all.len())), work).into_iter().collect()
}
