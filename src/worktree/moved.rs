//! A repository that was moved, or copied, after workspaces were made: told by the place it was last used at, and mended on
//! request.
//!
//! A workspace is where it was, or where it is now if it moved along; its links, its record and what `undo` needs are brought
//! up to that. What becomes of a copy is `parted`'s business.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::conversion::quote;
use super::error::Result;
use super::moved_submodules::{self, Pair};
use super::place::{self, Place};
use super::plain::named_sealed;
use super::repository::{Repository, SIGN, bytes_path};
use super::sealed::{SealedPaths, link_line, path_line};
use super::{checkouts, moved_trash, parted};
use crate::model::record::WorkspaceRecord;
use crate::store::Store;
use crate::sys::fs;

/// Mends what a move broke; what was done, in sentences. Repeating it changes nothing.
pub fn repair(repo: &Repository, store: &Store, template: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    match place::place(&repo.common_dir)? {
        Place::Same => return Ok(done),
        Place::CopyOf(original) => parted::make_own(repo, store, &original, &mut done)?,
        Place::MovedFrom(before) => {
            let shift = Shift {
                before: top(&before),
                now: top(&repo.common_dir),
                common: (before.clone(), repo.common_dir.clone()),
                private: repo.sealed_root().ok(),
            };
            for record in store.workspaces()? {
                match if record.sealed {
                    sealed(repo, store, &record, template, &shift)
                } else {
                    plain(repo, store, &record, &shift)
                } {
                    Ok(Some(place)) => done.push(format!("workspace {} is at {}", record.name, place.display())),
                    Ok(None) => done.push(format!(
                        "not repaired: workspace {} is not at {} any more",
                        record.name,
                        record.path.display()
                    )),
                    Err(error) => done.push(format!("not repaired: workspace {}: {error}", record.name)),
                }
            }
            tasks(repo, store, &shift, &mut done)?;
            moved_trash::mend(repo, store, template, &shift)?;
            done.push(format!("the repository was moved from {}", before.display()));
        }
    }
    place::settle(&repo.common_dir)?;
    Ok(done)
}

/// Most bytes that a file with one path in it has.
pub const LINK_MAX: u64 = 64 << 10;

/// From where to where the repository moved: main worktree or bare repository.
pub(super) struct Shift {
    before: PathBuf,
    now: PathBuf,
    /// The same of its common git dir.
    pub common: (PathBuf, PathBuf),
    /// Where private git dirs are, now.
    pub private: Option<PathBuf>,
}

fn top(common_dir: &Path) -> PathBuf {
    let parent = common_dir.parent().filter(|_| common_dir.file_name() == Some(".git".as_ref()));
    parent.unwrap_or(common_dir).to_owned()
}

impl Shift {
    /// A repository that is where it was, for what moved within the user's state directory.
    pub fn none(repo: &Repository) -> Shift {
        let (top, common) = (top(&repo.common_dir), repo.common_dir.clone());
        Shift { before: top.clone(), now: top, common: (common.clone(), common), private: None }
    }

    /// Where something may be now, most likely first: where it was; at the same place as seen from the repository.
    pub fn candidates(&self, path: &Path) -> Vec<PathBuf> {
        let mut found = vec![path.to_owned()];
        found.extend(path.strip_prefix(&self.before).ok().map(|rest| self.now.join(rest)));
        if let (Some(before), Some(now)) = (self.before.parent(), self.now.parent()) {
            found.extend(path.strip_prefix(before).ok().map(|rest| now.join(rest)));
        }
        found
    }

    /// Where something in the git dir is now.
    pub fn within(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.common.0).ok().map(|rest| self.common.1.join(rest))
    }

    /// Where something that was removed comes back: at the same place as seen from the repository.
    pub fn beside(&self, path: &Path) -> PathBuf {
        let stays = self.private.as_ref().is_some_and(|private| path.starts_with(private));
        let seen = || self.candidates(path).pop().filter(|_| !stays);
        self.within(path).or_else(seen).unwrap_or_else(|| path.to_owned())
    }

    /// Where something is that is there.
    pub fn there(&self, path: &Path) -> PathBuf {
        self.within(path).or_else(|| self.find(path)).unwrap_or_else(|| self.beside(path))
    }

    /// The repository's name before, which the tree of every sealed workspace has.
    pub fn name(&self) -> String {
        let name = self.before.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.strip_suffix(".git").map_or(name.clone(), str::to_owned)
    }

    fn find(&self, path: &Path) -> Option<PathBuf> {
        self.candidates(path).into_iter().find(|candidate| candidate.is_dir())
    }
}

/// Lets git mend the links of a plain worktree in both directions; where it is, or `None` when it is nowhere to be found.
fn plain(repo: &Repository, store: &Store, record: &WorkspaceRecord, shift: &Shift) -> Result<Option<PathBuf>> {
    let Some(path) = shift.find(&record.path) else { return Ok(None) };
    repo.bare(["worktree", "repair"]).arg(&path).run()?;
    repo.git.within(&path, ["rev-parse", "--git-dir"]).run()?;
    if let Some(checkout) = checkouts::at(repo, &path)? {
        let git_dir = &checkout.git_dir;
        let before = git_dir.strip_prefix(&shift.common.1).map_or(git_dir.clone(), |rest| shift.common.0.join(rest));
        let now = Pair { tree: &path, git_dir };
        moved_submodules::mend(repo, Pair { tree: &record.path, git_dir: &before }, now, now)?;
        moved_submodules::mend_storage(repo, git_dir, &shift.common.0)?;
    }
    if path != record.path {
        store.put_workspace("workspace.moved", &WorkspaceRecord { path: path.clone(), ..record.clone() })?;
    }
    Ok(Some(path))
}

fn sealed(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    template: &str,
    shift: &Shift,
) -> Result<Option<PathBuf>> {
    let paths = named_sealed(repo, template, &record.name)?;
    let enclosure = record.path.parent().unwrap_or(&record.path);
    let Some(name) = record.path.file_name() else { return Ok(None) };
    if !settle(repo, &paths, enclosure, &enclosure.join(name), shift)? {
        return Ok(None);
    }
    store.put_workspace("workspace.moved", &WorkspaceRecord { path: paths.tree.clone(), ..record.clone() })?;
    Ok(Some(paths.tree))
}

/// Moves a box to where the names lead now, and writes every path in it anew; false when it is nowhere to be found.
fn settle(repo: &Repository, paths: &SealedPaths, enclosure: &Path, tree: &Path, shift: &Shift) -> Result<bool> {
    if !fs::exists(&paths.enclosure)? {
        let Some(found) = shift.find(enclosure) else { return Ok(false) };
        fs::move_path_within(&found, &paths.enclosure)?;
    }
    let place = BoxPlace { enclosure: &paths.enclosure, private: Some(&paths.private), entry: Some(&paths.entry) };
    mend_box(repo, shift, paths, &[tree.to_owned()], place)?;
    Ok(true)
}

/// Where the parts of a sealed workspace are now: in their places, or in the trash still.
#[derive(Clone, Copy)]
pub(super) struct BoxPlace<'a> {
    /// The directory around the tree.
    pub enclosure: &'a Path,
    /// The directory of its private git dir.
    pub private: Option<&'a Path>,
    /// Its entry in the repository.
    pub entry: Option<&'a Path>,
}

/// Writes every path in a sealed workspace anew, for the places in `paths`; before, its tree was at one of `trees`. Its
/// processes could write there, so no link is followed. Repeating it changes nothing.
pub(super) fn mend_box(
    repo: &Repository,
    shift: &Shift,
    paths: &SealedPaths,
    trees: &[PathBuf],
    at: BoxPlace<'_>,
) -> Result<()> {
    let tree = at.enclosure.join(&repo.name);
    for inside in trees.iter().filter_map(|tree| tree.file_name()).map(|name| at.enclosure.join(name)) {
        if !fs::exists(&tree)? && fs::exists(&inside)? {
            fs::move_path(&inside, &tree)?;
        }
    }
    let back = path_line(&paths.tree.join(".git"));
    if let Some(entry) = at.entry.filter(|entry| entry.is_dir()) {
        fs::write_atomic(&entry.join("gitdir"), &back)?;
    }
    let Some(private) = at.private.filter(|private| private.is_dir()) else { return Ok(()) };
    fs::write_atomic(&private.join(SIGN), repo.common_dir.as_os_str().as_bytes())?;
    let git_dir = private.join("common.git");
    let (admin, link) = (Path::new("worktrees/wt"), Path::new(&repo.name).join(".git"));
    if !fs::is_directory_beneath(&git_dir, admin)? {
        return Ok(());
    }
    fs::write_beneath(&git_dir, &admin.join("gitdir"), &back, None)?;
    if fs::open_beneath(at.enclosure, &link, LINK_MAX)?.is_some() {
        fs::write_beneath(at.enclosure, &link, &link_line(&paths.admin), None)?;
        let (will, now) = (Pair { tree: &paths.tree, git_dir: &paths.admin }, git_dir.join(admin));
        for was in trees {
            let was = Pair { tree: was, git_dir: &paths.admin };
            moved_submodules::mend(repo, was, will, Pair { tree: &tree, git_dir: &now })?;
        }
    }
    lend_again(paths, private)?;
    let [was, is] = [&shift.common.0, &shift.common.1].map(|common| quote(&common.join("lfs").to_string_lossy()));
    rewrite(&git_dir, "config", &format!("\tstorage = {was}\n"), &format!("\tstorage = {is}\n"))
}

/// Lets a private git dir borrow from its lender where that is now.
fn lend_again(paths: &SealedPaths, private: &Path) -> Result<()> {
    let beneath = Path::new("common.git/objects/info/alternates");
    let Some(text) = fs::read_beneath(private, beneath, LINK_MAX)? else { return Ok(()) };
    let lenders = [Some(paths.private.as_path()), paths.private.parent()].into_iter().flatten();
    let mut lenders = lenders.map(|place| place.join("base.git/objects"));
    let own = private.join("base.git/objects").is_dir();
    let Some(lender) = (if own { lenders.next() } else { lenders.nth(1) }) else { return Ok(()) };
    let named = bytes_path(text.trim_ascii_end());
    // One that the trash has, too, is named by where it comes back.
    if named != lender && named.ends_with("base.git/objects") && !named.is_dir() {
        fs::write_beneath(private, beneath, &path_line(&lender), None)?;
    }
    Ok(())
}

/// Replaces one text in a file of a private git dir by another.
fn rewrite(git_dir: &Path, name: &str, was: &str, is: &str) -> Result<()> {
    let Some(bytes) = fs::read_beneath(git_dir, Path::new(name), LINK_MAX)? else { return Ok(()) };
    let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
    if was != is && text.contains(was) {
        fs::write_atomic(&git_dir.join(name), text.replace(was, is).as_bytes())?;
    }
    Ok(())
}

fn tasks(repo: &Repository, store: &Store, shift: &Shift, done: &mut Vec<String>) -> Result<()> {
    for run in store.runs()? {
        for task in store.tasks(&run.id)? {
            let Some(enclosure) = &task.workspace else { continue };
            let paths = SealedPaths::of_task(repo, &run.template, &run.id, &task.id)?;
            if settle(repo, &paths, enclosure, &enclosure.join(shift.name()), shift)? {
                let data = json!({"path": paths.enclosure});
                let place = paths.enclosure.clone();
                store.edit_task(&run.id, &task.id, "task.moved", data, |task| task.workspace = Some(place))?;
                done.push(format!("workspace of {}/{} is at {}", run.id, task.id, paths.enclosure.display()));
            }
        }
    }
    Ok(())
}
