//! Scan: of an index that is all that a commit says, the part that a move to another commit is about, so that git makes that move in the
//! time of what differs.
//!
//! git reads and writes the whole index for it, and twice where it is asked beforehand. It moves files in just the same way with an index
//! that has only what differs, and with trees of only that; what it says of them then is put into the whole. With it come the attributes
//! that are about these files, which git reads from the index, and all that is as new as the index: of these git looks at the content
//! before it writes them anew, and only here it is known that they are. Nothing of the worktree is touched here, and nothing of the repository is written.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, OdbLookupFlags};

use super::apply::{Libraries, Trusting};
use super::difference::Difference;
use super::files::raw;
use super::index::{self, Index};
use super::outcome::{FillError, Stop};
use super::shift::differing;
use super::side::{Side, after, held, named, trees};
use crate::model::CommitId;
use crate::sys::fs::{self, FsError};
use crate::sys::git::making;
use crate::sys::git::pack::Whole;

/// What more than so many files are about is no part.
const MOST: usize = 20_000;

/// A part of an index, laid out in a directory of its own.
#[derive(Debug)]
pub struct Part {
    place: PathBuf,
    /// The file that the whole was read from: its inode, length, and time in nanoseconds.
    file: (u64, u64, i64, i64),
    whole: Index,
    difference: Difference,
    /// What it has before, and what it is to have.
    sides: [Side; 2],
    trees: [String; 2],
    syncs: bool,
}

/// Lays out the part of `index` that differs between two commits, in an empty directory; or why that cannot be done.
pub fn part(
    git_dir: &Path,
    index: &Path,
    (from, to): (&CommitId, &CommitId),
    place: &Path,
) -> Result<Result<Part, String>, FillError> {
    let _trusting = Trusting::begin();
    match laid(git_dir, index, (from, to), place) {
        Ok(part) => Ok(Ok(part)),
        Err(Stop::Git(why)) => Ok(Err(why)),
        Err(stop) => stop.into_fill().map(|_| Err("nobody wants it any more".into())),
    }
}

fn laid(git_dir: &Path, file: &Path, (from, to): (&CommitId, &CommitId), place: &Path) -> Result<Part, Stop> {
    let libraries = Libraries::of(git_dir, None);
    let (difference, tree) = differing(&libraries, from, to)?;
    let git = |why: &str| Stop::Git(why.to_owned());
    if difference.has_submodules() {
        return Err(git("submodules differ"));
    }
    let meta = std::fs::metadata(file).map_err(fs::at("look at", file))?;
    let whole = index::read(&std::fs::read(file).map_err(fs::at("read", file))?);
    let whole = whole.filter(|whole| !whole.more && whole.tree() == Some(raw(tree)));
    let whole = whole.ok_or_else(|| git("the index is not just that commit"))?;
    let before = held(&whole, &difference, meta.mtime());
    if before.len().max(difference.came.len()) > MOST {
        return Err(git("very many files differ, or are as new as the index"));
    }
    let sides = [named(&before), after(&before, &difference)];
    let trees = write_trees(&libraries, &sides, &place.join("objects/pack"))?;
    let bytes = index::bytes(Index { entries: before, directories: Vec::new(), more: false });
    let bytes = bytes.ok_or_else(|| git("there are too many files"))?;
    let part = Part { place: place.to_owned(), file: identity(&meta), whole, difference, sides, trees, syncs: false };
    fs::write_new(&part.index(), &bytes)?;
    set_time(&part.index(), &meta)?;
    Ok(part)
}

/// Writes what both sides are as trees into a pack; their ids.
fn write_trees(libraries: &Libraries<'_>, sides: &[Side; 2], packs: &Path) -> Result<[String; 2], Stop> {
    let mut made = BTreeMap::new();
    let [Some(first), Some(second)] = [&sides[0], &sides[1]].map(|side| trees(side, &mut made)) else {
        return Err(Stop::Git("there are no such trees".into()));
    };
    // What the repository has is not there twice: a git that packs it would leave out what is elsewhere.
    libraries.with(|library| {
        let objects = library.odb()?;
        made.retain(|id, _| !objects.exists_ext(*id, OdbLookupFlags::NO_REFRESH));
        Ok(())
    })?;
    std::fs::create_dir_all(packs).map_err(fs::at("create", packs))?;
    let objects = made.iter().map(|(id, data)| Whole { id: *id, kind: ObjectType::Tree, data });
    making::write(&objects.collect::<Vec<_>>(), packs)?;
    Ok([first.to_string(), second.to_string()])
}

fn identity(meta: &Metadata) -> (u64, u64, i64, i64) {
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

/// Makes a file as old as another one.
fn set_time(file: &Path, other: &Metadata) -> Result<(), FsError> {
    let set = || File::options().append(true).open(file)?.set_modified(other.modified()?);
    set().map_err(fs::at("set the time of", file))
}

impl Part {
    /// The part, as an index.
    pub fn index(&self) -> PathBuf {
        self.place.join("index")
    }

    /// Where the trees are.
    pub fn objects(&self) -> PathBuf {
        self.place.join("objects")
    }

    /// What it is before and is to be, as trees.
    pub fn trees(&self) -> &[String; 2] {
        &self.trees
    }

    /// The same, which is on disk before it takes the place of the whole, if so.
    pub fn durable(self, syncs: bool) -> Part {
        Part { syncs, ..self }
    }

    /// True while the file that it is a part of is what it was.
    pub fn is_of(&self, file: &Path) -> bool {
        std::fs::metadata(file).is_ok_and(|meta| identity(&meta) == self.file)
    }

    /// Puts what the part is, after git has moved it, into the whole, and that in the place of the file that it was read from; `aside` is
    /// a name beside it. False, and nothing is written, where that is not what it was to be.
    pub fn join(self, file: &Path, aside: &Path) -> Result<bool, FillError> {
        let part = self.index();
        let read = || Ok((std::fs::metadata(&part)?, std::fs::read(&part)?));
        let (moved, bytes) = read().map_err(fs::at("read", &part))?;
        let Part { whole, difference, sides: [before, after], syncs, .. } = self;
        let Some(entries) = index::entries(&bytes).filter(|entries| named(entries) == after) else { return Ok(false) };
        let joined = difference.patched(whole, before.keys(), entries);
        let Some(bytes) = index::bytes(joined) else { return Ok(false) };
        fs::write_new(aside, &bytes)?;
        // As new as the part: what was changed right after git had moved it is as new as the index then, and git looks at it.
        set_time(aside, &moved)?;
        // As open as well: git goes by what it is told of those who share a repository.
        std::fs::set_permissions(aside, moved.permissions()).map_err(fs::at("write", aside))?;
        if syncs {
            fs::sync(aside)?;
        }
        std::fs::rename(aside, file).map_err(fs::at("replace", file))?;
        Ok(true)
    }
}
