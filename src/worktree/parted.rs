//! A copy of a repository becomes one of its own: it gets a store and an id, keeps what was made in it, and forgets what is
//! the original's.
//!
//! Whose a workspace is, the links say that tie it to a git dir; a record that nothing contradicts stays. Nothing of the
//! original's is touched. Files come first, the place last, so that it can be repeated.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::checkouts;
use super::error::Result;
use super::moved::{BoxPlace, LINK_MAX, Shift, mend_box};
use super::place::{self, Place};
use super::repository::{Repository, SIGN, bytes_path, lexical};
use super::sealed::SealedPaths;
use super::store_place;
use crate::model::operation::{RemovedItem, UndoData};
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord};
use crate::model::{Reason, ReasonKind, RunState, TaskEvent};
use crate::store::Store;
use crate::sys::fs;

/// Parts a copy from the original's store, where that lies outside both; to be done before a store is opened.
pub fn part(repo: &Repository) -> Result<Option<String>> {
    let Place::CopyOf(original) = place::place(&repo.common_dir)? else { return Ok(None) };
    // One that died half-way has nothing left of the original's but its place.
    let died = place::is_parting(&repo.common_dir)? && !fs::exists(&Store::file_in(&repo.state_dir()))?;
    if !died && !store_place::is_elsewhere(repo)? {
        return Ok(None);
    }
    place::part_from(&repo.common_dir, &original)?;
    store_place::disown(repo)?;
    renew_id(repo, &original)?;
    place::settle(&repo.common_dir)?;
    Ok(Some(format!("this copy of {} has a store and an id of its own", original.display())))
}

fn renew_id(repo: &Repository, original: &Path) -> Result<()> {
    if place::id(original) == place::id(&repo.common_dir) {
        fs::remove_file(&repo.state_dir().join("id"))?;
    }
    repo.id()?;
    Ok(())
}

/// Gives a copy an id of its own, and sorts what its store has on record.
pub(super) fn make_own(repo: &Repository, store: &Store, original: &Path, done: &mut Vec<String>) -> Result<()> {
    // Where both had their private git dirs: by the id that the original keeps.
    let shared = place::id(original).map(|id| bytes_path(&id)).zip(repo.sealed_root()?.parent().map(Path::to_owned));
    let parting = Parting { repo, store, original, shared: shared.map(|(id, all)| all.join(id)) };
    place::part_from(&repo.common_dir, original)?;
    renew_id(repo, original)?;
    for record in store.workspaces()? {
        if parting.is_ours(&record)? {
            done.push(format!("workspace {} was made in this copy and stays", record.name));
        } else {
            parting.forget(&record)?;
            done.push(format!("workspace {} is {}'s and forgotten here", record.name, original.display()));
        }
    }
    for run in store.runs()? {
        parting.sort_tasks(&run, store.tasks(&run.id)?)?;
    }
    parting.leave_the_trash()?;
    done.push(format!("this copy of {} has an id of its own", original.display()));
    Ok(())
}

struct Parting<'a> {
    repo: &'a Repository,
    store: &'a Store,
    original: &'a Path,
    /// Where the private git dirs of both are, before the copy has an id of its own.
    shared: Option<PathBuf>,
}

impl Parting<'_> {
    /// Whether a workspace is this repository's; a sealed one that is gets its private git dir to where it belongs now.
    fn is_ours(&self, record: &WorkspaceRecord) -> Result<bool> {
        if record.sealed {
            let paths = SealedPaths::of_record(self.repo, record)?;
            return self.adopt(&paths, Path::new("named").join(record.name.path_part()));
        }
        let linked = self.linked(&record.path)?;
        Ok(match linked {
            Some(git_dir) => !git_dir.starts_with(self.original),
            // Its directory is gone; the original's entry for it says whose it was.
            None => !entries(self.original)?.contains(&record.path),
        })
    }

    /// The git dir that a tree names; `None` where there is no such tree.
    fn linked(&self, tree: &Path) -> Result<Option<PathBuf>> {
        if !tree.is_dir() {
            return Ok(None);
        }
        let link = fs::read_beneath(tree, Path::new(".git"), LINK_MAX)?;
        let named = link.as_deref().and_then(|link| link.strip_prefix(b"gitdir: "));
        let git_dir = named.map(|named| lexical(&tree.join(bytes_path(named.trim_ascii_end()))));
        Ok(git_dir.map(|git_dir| git_dir.canonicalize().unwrap_or(git_dir)))
    }

    /// Brings the private directory of a sealed workspace from among the original's; false when it is not this repository's.
    fn adopt(&self, paths: &SealedPaths, part: PathBuf) -> Result<bool> {
        let before = self.shared.as_ref().map(|shared| shared.join(part));
        if let Some(before) = before.filter(|before| before.is_dir() && *before != paths.private) {
            if !self.signed(&before)? {
                return Ok(false);
            }
            if let Some(parent) = paths.private.parent() {
                fs::create_private_dir_all(parent)?;
            }
            relend(&before, &paths.private)?;
            fs::move_path(&before, &paths.private)?;
        }
        if !self.signed(&paths.private)? {
            return Ok(false);
        }
        let at = BoxPlace { enclosure: &paths.enclosure, private: Some(&paths.private), entry: Some(&paths.entry) };
        mend_box(self.repo, &Shift::none(self.repo), paths, std::slice::from_ref(&paths.tree), at)?;
        Ok(true)
    }

    /// True when the file beside a private git dir names this repository.
    fn signed(&self, private: &Path) -> Result<bool> {
        if !private.is_dir() {
            return Ok(false);
        }
        let sign = fs::read_beneath(private, Path::new(SIGN), LINK_MAX)?;
        Ok(sign.is_some_and(|sign| sign == self.repo.common_dir.as_os_str().as_bytes()))
    }

    /// Forgets a workspace of the original's, with the copy of its entry: git would take it for a checkout of this repository.
    fn forget(&self, record: &WorkspaceRecord) -> Result<()> {
        for checkout in checkouts::scan(self.repo)?.into_iter().filter(|it| it.git_dir != self.repo.common_dir) {
            if checkout.tree.as_ref() == Some(&record.path) {
                fs::remove_tree(&checkout.git_dir)?;
            }
        }
        Ok(self.store.forget_workspace(&record.name, WHY)?)
    }

    /// What the original removed lies in its trash, and only there can it be taken back.
    fn leave_the_trash(&self) -> Result<()> {
        let theirs = |item: &RemovedItem| match item {
            RemovedItem::Directory { from, trash } => {
                from.starts_with(self.original) || trash.starts_with(self.original)
            }
            _ => false,
        };
        let note = json!({"original": self.original});
        Ok(self.store.edit_operations("operation.parted", note, |operation| {
            if matches!(&operation.undo, UndoData::Removal { items } if items.iter().any(theirs)) {
                (operation.undone, operation.taken_back) = (true, None);
            }
        })?)
    }

    /// Sorts the tasks of a run, which were made here, all of them, or there.
    fn sort_tasks(&self, run: &RunRecord, tasks: Vec<TaskRecord>) -> Result<()> {
        let before = self.shared.as_ref().map(|shared| shared.join(run.id.as_str()));
        let now = self.repo.run_dir(&run.id)?;
        let mut ours = false;
        for task in &tasks {
            for place in before.iter().chain([&now]) {
                ours |= self.signed(&place.join(task.id.as_str()))?;
            }
        }
        if let Some(before) = before.filter(|before| ours && before.is_dir() && *before != now) {
            relend(&before, &now)?;
            fs::move_path(&before, &now)?;
        }
        for task in tasks.iter().filter(|task| task.workspace.is_some()) {
            let paths = SealedPaths::of_task(self.repo, &run.template, &run.id, &task.id)?;
            if !self.adopt(&paths, Path::new(run.id.as_str()).join(task.id.as_str()))? {
                let data = json!({"why": WHY});
                fs::remove_tree(&paths.entry)?;
                self.store.edit_task(&run.id, &task.id, "task.parted", data, |task| task.workspace = None)?;
            }
        }
        if ours || run.state.is_terminal() { Ok(()) } else { self.end(run, &tasks) }
    }

    /// A run that goes on in the original is over here: its supervisor and its processes are not for this one to end.
    fn end(&self, run: &RunRecord, tasks: &[TaskRecord]) -> Result<()> {
        let mut states = Vec::new();
        for task in tasks {
            states.push(match task.state.is_terminal() {
                true => task.state,
                false => {
                    let (reason, data) = (Reason::new(ReasonKind::Cancelled, WHY), json!({"why": WHY}));
                    let end = |task: &mut TaskRecord| task.reason = Some(reason);
                    self.store.move_task(&run.id, &task.id, TaskEvent::Cancel, data, end)?.state
                }
            });
        }
        self.store.set_run_state(&run.id, RunState::derive(&states, true))?;
        Ok(())
    }
}

/// Why something of the original's is not known in the copy any more.
const WHY: &str = "it belongs to the repository that this one was copied from";

/// The trees that a repository has entries of.
fn entries(common_dir: &Path) -> Result<Vec<PathBuf>> {
    let admin = common_dir.join("worktrees");
    let mut trees = Vec::new();
    if fs::exists(&admin)? {
        for entry in std::fs::read_dir(&admin).map_err(fs::at("read", &admin))? {
            let git_dir = entry.map_err(fs::at("read", &admin))?.path();
            let Some(text) = fs::read_beneath(&git_dir, Path::new("gitdir"), LINK_MAX)? else { continue };
            trees.extend(git_dir.join(bytes_path(text.trim_ascii_end())).parent().map(Path::to_owned));
        }
    }
    Ok(trees)
}

/// Lets whatever borrows objects within a private directory find them where that will be. No planted link is followed.
fn relend(before: &Path, now: &Path) -> Result<()> {
    let [was, is] = [before, now].map(|path| path.as_os_str().as_bytes().to_vec());
    let all = walkdir::WalkDir::new(before).follow_links(false).into_iter().filter_map(std::result::Result::ok);
    for entry in all.filter(|entry| entry.path().ends_with("objects/info/alternates")) {
        let Ok(beneath) = entry.path().strip_prefix(before) else { continue };
        let Some(text) = fs::read_beneath(before, beneath, LINK_MAX)? else { continue };
        let lines = text.split(|byte| *byte == b'\n').map(|line| match line.strip_prefix(&was[..]) {
            Some(rest) => [&is[..], rest].concat(),
            None => line.to_vec(),
        });
        let mended = lines.collect::<Vec<_>>().join(&b'\n');
        if mended != text {
            fs::write_beneath(before, beneath, &mended, None)?;
        }
    }
    Ok(())
}
