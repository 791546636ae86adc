//! The repositories of this user in which treehand is at work, so that what is done for all of them finds each.
//!
//! One small file for each in the user's own state, named by the repository's id: where it is, and which directory holds it. A
//! missing path proves nothing by itself: the disk may not be mounted. Only where the very directory that held the repository
//! is there, and the repository is not, it was deleted or moved.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::departed::Departed;
use super::error::{Result, WorktreeError};
use super::place;
use super::repository::Repository;
use crate::sys::{env, fs};

/// The directory of the user's own state that has the files.
const DIRECTORY: &str = "treehand/known";

/// A repository that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Where it was used last.
    pub common_dir: PathBuf,
    /// The directory that held it: device and inode.
    holder: (u64, u64),
    file: PathBuf,
}

/// What has become of a repository that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is where it was.
    Here,
    /// It was deleted or moved: the directory that held it is there, and it is not.
    Gone,
    /// Nobody can say, for this reason.
    Unreachable(String),
}

/// Makes the repository known, where it is now.
pub fn enrol(repo: &Repository) -> Result<()> {
    let Some(home) = &repo.state_home else { return Ok(()) };
    let directory = home.join(DIRECTORY);
    let (file, line) = (directory.join(repo.id()?), line(&repo.common_dir)?);
    if std::fs::read(&file).is_ok_and(|known| known == line) {
        return Ok(());
    }
    fs::create_private_dir_all(&directory)?;
    Ok(fs::write_atomic(&file, &line)?)
}

/// Every repository that this user's treehand knows, by its path.
pub fn all() -> Result<Vec<Known>> {
    // Without a place for it there is no telling what is known.
    let home = env::state_home().ok_or_else(WorktreeError::no_home)?;
    let directory = home.join(DIRECTORY);
    if !fs::exists(&directory)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(fs::at("read", &directory))? {
        let file = entry.map_err(fs::at("read", &directory))?.path();
        let id = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Anything else there is half-written, or nobody's.
        if id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && let Some((holder, common_dir)) = read(&file)?
        {
            found.push(Known { id, common_dir, holder, file });
        }
    }
    found.sort_by(|one, other| one.common_dir.cmp(&other.common_dir));
    Ok(found)
}

impl Known {
    /// What has become of it.
    pub fn whereabouts(&self) -> Whereabouts {
        match self.look() {
            Ok(found) => found,
            Err(error) => Whereabouts::Unreachable(crate::model::cause::chain(&error)),
        }
    }

    fn look(&self) -> Result<Whereabouts> {
        let unreachable = |why: &str| Ok(Whereabouts::Unreachable(why.into()));
        if fs::exists(&self.common_dir)? {
            return match place::id(&self.common_dir) {
                Some(id) if id == self.id.as_bytes() => Ok(Whereabouts::Here),
                _ => unreachable("something else is at its place"),
            };
        }
        let tree = own_directory(&self.common_dir);
        if tree != self.common_dir && fs::exists(tree)? {
            return unreachable("its directory is there, and no repository is in it");
        }
        let Some(holder) = tree.parent() else { return unreachable("it has no place") };
        if fs::identity(holder)? == Some(self.holder) {
            // One that cannot be read hides what is in it.
            std::fs::read_dir(holder).map_err(fs::at("read", holder))?;
            return Ok(Whereabouts::Gone);
        }
        unreachable("it is not there, but its disk may not be mounted")
    }

    /// The same, as the registry has it now; `None` when it is known no longer.
    pub fn again(&self) -> Result<Option<Known>> {
        if !fs::exists(&self.file)? {
            return Ok(None);
        }
        let now = |(holder, common_dir)| Known { holder, common_dir, ..self.clone() };
        Ok(read(&self.file)?.map(now))
    }

    /// The directory of treehand's own in the user's state, which has the registry and what is outside of repositories.
    pub fn state(&self) -> &Path {
        self.file.parent().and_then(Path::parent).unwrap_or(&self.file)
    }

    /// Where private git dirs of its sealed workspaces are.
    pub fn sealed(&self) -> PathBuf {
        self.state().join("sealed").join(&self.id)
    }

    /// Where its store is, if that is not in the repository.
    pub fn store(&self) -> PathBuf {
        self.state().join("repos").join(&self.id)
    }

    /// What it left that was put away, and since when it is known to be gone.
    pub fn departed(&self) -> Departed {
        Departed::at(self.state(), &self.id)
    }

    /// Where something is left of it outside of the repository, which may be the only copy: private git dirs of its sealed
    /// workspaces, its store, what was put away of both.
    pub fn left(&self) -> Result<Option<PathBuf>> {
        let away = || Ok(self.departed().read()?.is_some_and(|record| record.away.is_some()));
        for place in [self.sealed(), self.store()] {
            if fs::exists(&place)? {
                let mut entries = std::fs::read_dir(&place).map_err(fs::at("read", &place))?;
                if entries.next().is_some() {
                    return Ok(Some(place));
                }
            }
        }
        away().map(|away: bool| away.then(|| self.departed().record()))
    }

    /// Knows it no longer; when it is used again, it is known again. Only where nothing of it is left.
    pub fn forget(&self) -> Result<()> {
        self.departed().forget(None)?;
        Ok(fs::remove_file(&self.file)?)
    }
}

/// The directory that is moved or deleted with the repository: its main worktree, or a bare repository itself.
pub fn own_directory(common_dir: &Path) -> &Path {
    match (common_dir.file_name() == Some(OsStr::new(".git")), common_dir.parent()) {
        (true, Some(tree)) => tree,
        _ => common_dir,
    }
}

fn line(common_dir: &Path) -> Result<Vec<u8>> {
    let own = own_directory(common_dir);
    let holder = own.parent().unwrap_or(own);
    let gone = || fs::at("look at", holder)(std::io::ErrorKind::NotFound.into());
    let (device, inode) = fs::identity(holder)?.ok_or_else(gone)?;
    Ok([format!("{device} {inode}\n").as_bytes(), common_dir.as_os_str().as_bytes()].concat())
}

fn read(file: &Path) -> Result<Option<((u64, u64), PathBuf)>> {
    let bytes = std::fs::read(file).map_err(fs::at("read", file))?;
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let numbers = std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let holder = numbers.and_then(|numbers| numbers.split_once(' '));
    let holder = holder.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    Ok(holder.zip(parts.next()).map(|(holder, path)| (holder, PathBuf::from(OsStr::from_bytes(path)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    fn known(fixture: &Fixture) -> Known {
        let id = fixture.repo.id().expect("an id");
        let file = fixture.dir.path().join("line");
        std::fs::write(&file, line(&fixture.repo.common_dir).expect("a line")).expect("written");
        let (holder, common_dir) = read(&file).expect("read").expect("understood");
        Known { id, common_dir, holder, file }
    }

    #[test]
    fn a_repository_is_gone_only_where_the_very_directory_that_held_it_is_there() {
        let fixture = Fixture::new();
        let known = known(&fixture);
        assert_eq!(known.common_dir, fixture.repo.common_dir);
        assert_eq!(known.whereabouts(), Whereabouts::Here);
        let tree = known.common_dir.parent().expect("a tree");
        let (holder, aside) = (tree.parent().expect("a holder"), fixture.dir.path().join("aside"));
        let id = known.common_dir.join("treehand/id");
        std::fs::rename(&id, id.with_extension("away")).expect("renamed");
        assert_eq!(known.whereabouts(), Whereabouts::Unreachable("something else is at its place".into()));
        std::fs::rename(known.common_dir.as_path(), tree.join("git-away")).expect("renamed");
        let empty = "its directory is there, and no repository is in it";
        assert_eq!(known.whereabouts(), Whereabouts::Unreachable(empty.into()));
        assert!(holder.starts_with(fixture.dir.path()), "the fixture holds it");
        std::fs::rename(tree, &aside).expect("renamed");
        assert_eq!(known.whereabouts(), Whereabouts::Gone);
        let other = Known { holder: (known.holder.0, known.holder.1 ^ 1), ..known.clone() };
        assert!(matches!(other.whereabouts(), Whereabouts::Unreachable(why) if why.contains("mounted")));
        let nowhere = Known { common_dir: holder.join("not/there/.git"), ..known };
        assert!(matches!(nowhere.whereabouts(), Whereabouts::Unreachable(why) if why.contains("mounted")));
    }
}
