//! What a repository left that is not at its place any more, once that was put away: where it lies, and the way back.
//!
//! A directory for each in the user's own state, by the repository's id, with a record that names every rename before the first
//! one is done. It comes back by itself when the repository is used again, at whatever place: by renames onto nothing. What cannot
//! come back stays where it lies, and the record says so. Nothing is deleted here, and nobody decides here what is put away.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Result, WorktreeError};
use super::place::{self, Place};
use super::registry;
use super::repository::{Repository, bytes_path};
use super::sealed::remove_if_empty;
use crate::model::Timestamp;
use crate::model::cause::chain;
use crate::sys::lock::FileLock;
use crate::sys::{clock, fs};

/// The directory of the user's own state that has all of them.
pub const DIRECTORY: &str = "departed";
const RECORD: &str = "record.json";
const LOCK: &str = "lock";
/// What the records are written in.
const VERSION: u32 = 1;
/// So long who uses a repository again waits for who is putting away what it left.
const PATIENCE: Duration = Duration::from_secs(10);

/// One rename.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shelved {
    /// Where it was, and comes back.
    #[serde(with = "path_text")]
    pub from: PathBuf,
    /// Where it lies.
    #[serde(with = "path_text")]
    pub to: PathBuf,
    /// Its device, which has another number after some restarts.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// What was put away, or is about to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Away {
    /// Part of the names of the places where it lies.
    pub stamp: String,
    /// Since when.
    pub at: Timestamp,
    /// Every rename.
    pub moves: Vec<Shelved>,
    /// It is being deleted: nothing of it comes back any more.
    pub doomed: bool,
}

/// What is known of a repository that is not at its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// When that was found first.
    pub since: Timestamp,
    /// What it left, where that was put away.
    pub away: Option<Away>,
}

impl Record {
    /// One of a repository that is found gone.
    pub fn new(since: Timestamp) -> Record {
        Record { version: VERSION, since, away: None }
    }

    /// The same repository's, when that was put away.
    pub fn with(&self, away: Away) -> Record {
        Record { away: Some(away), ..self.clone() }
    }
}

impl Shelved {
    /// True while the rename waits to be done: the very directory is where it was.
    pub fn is_pending(&self) -> Result<bool> {
        Ok(directory_at(&self.from)? == Some((self.device, self.inode)) && !fs::exists(&self.to)?)
    }

    /// True where this very directory lies.
    pub fn lies(&self) -> Result<bool> {
        Ok(directory_at(&self.to)?.is_some_and(|(_, inode)| inode == self.inode))
    }

    /// Puts it away.
    pub fn shelve(&self) -> Result<()> {
        self.to.parent().map_or(Ok(()), fs::create_private_dir_all)?;
        Ok(fs::rename_onto_nothing(&self.from, &self.to)?)
    }

    /// Brings it back. What is where it was has never been put away, or is back already.
    fn back(&self) -> Result<()> {
        let (is_there, lies) = (fs::exists(&self.from)?, fs::exists(&self.to)?);
        if !lies && !is_there {
            let message = format!("{} is not there, but its disk may not be mounted", self.to.display());
            return Err(WorktreeError::refused(message, "mount it, and use the repository again"));
        }
        if !lies {
            return Ok(());
        }
        if is_there {
            let message = format!("something else is at {}", self.from.display());
            return Err(WorktreeError::refused(message, "move that away, and use the repository again"));
        }
        self.from.parent().map_or(Ok(()), fs::create_private_dir_all)?;
        fs::rename_onto_nothing(&self.to, &self.from)?;
        tracing::info!("{} is back; it was put away while its repository was not to be found", self.from.display());
        Ok(())
    }
}

/// The directory at a path, by device and inode; a link to one is none.
fn directory_at(path: &Path) -> Result<Option<(u64, u64)>> {
    if !fs::exists(path)? {
        return Ok(None);
    }
    let meta = std::fs::symlink_metadata(path).map_err(fs::at("look at", path))?;
    Ok(meta.is_dir().then(|| (meta.dev(), meta.ino())))
}

/// Where all that is of one repository.
#[derive(Clone, Debug)]
pub struct Departed {
    directory: PathBuf,
}

impl Departed {
    /// That of a repository with this id; `state` is the directory of treehand's own in the user's state.
    pub fn at(state: &Path, id: &str) -> Departed {
        Departed { directory: state.join(DIRECTORY).join(id) }
    }

    /// That of this repository, where there is one. Whose id cannot be told has none.
    fn of(repo: &Repository) -> Result<Option<Departed>> {
        let id = place::id(&repo.common_dir).and_then(|id| String::from_utf8(id).ok());
        let id = id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some((id, home)) = id.zip(repo.state_home.as_ref()) else { return Ok(None) };
        let departed = Departed::at(&home.join("treehand"), &id);
        Ok(fs::exists(&departed.directory)?.then_some(departed))
    }

    /// Where parts lie that are on the file system of the user's state.
    pub fn shelf(&self, stamp: &str) -> PathBuf {
        self.directory.join(stamp)
    }

    /// Where the record is.
    pub fn record(&self) -> PathBuf {
        self.directory.join(RECORD)
    }

    /// Keeps everybody else from putting away or bringing back.
    pub fn lock(&self) -> Result<FileLock> {
        fs::create_private_dir_all(&self.directory)?;
        let holder = format!("pid {}, about what a repository left", std::process::id());
        Ok(FileLock::acquire_within(&self.directory.join(LOCK), &holder, PATIENCE)?)
    }

    /// The record, if there is one.
    pub fn read(&self) -> Result<Option<Record>> {
        let path = self.record();
        if !fs::exists(&path)? {
            return Ok(None);
        }
        let bytes = std::fs::read(&path).map_err(fs::at("read", &path))?;
        let damaged = |why: String| fs::at("read", &path)(std::io::Error::other(why));
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if value["version"].as_u64() > Some(VERSION.into()) {
            return Err(damaged("a newer treehand wrote it".into()).into());
        }
        Ok(Some(serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?))
    }

    /// Writes the record, so that it outlives a power failure.
    pub fn write(&self, record: &Record) -> Result<()> {
        let path = self.record();
        fs::create_private_dir_all(&self.directory)?;
        let text = serde_json::to_vec_pretty(record).map_err(|error| fs::at("write", &path)(error.into()))?;
        Ok(fs::write_atomic(&path, &text)?)
    }

    /// Knows nothing of it any more: nothing lies anywhere.
    pub fn forget(&self, away: Option<&Away>) -> Result<()> {
        for shelved in away.iter().flat_map(|away| &away.moves) {
            let shelf = shelved.to.parent();
            remove_if_empty(shelf);
            // Beside boxes the trash goes, too, and what held nothing but boxes.
            remove_if_empty(shelf.and_then(Path::parent).filter(|around| **around != self.directory));
            remove_if_empty(shelved.from.parent());
        }
        for name in [RECORD, LOCK] {
            fs::remove_file(&self.directory.join(name))?;
        }
        remove_if_empty(Some(&self.directory));
        remove_if_empty(self.directory.parent());
        Ok(())
    }
}

/// Brings everything back that was put away while the repository was not to be found, and forgets that it was not.
pub fn come_back(repo: &Repository) -> Result<()> {
    let Some(departed) = Departed::of(repo)? else { return Ok(()) };
    if matches!(place::place(&repo.common_dir)?, Place::CopyOf(_)) {
        return Ok(());
    }
    // First, for who puts away looks there once more with the lock in hand.
    registry::enrol(repo)?;
    let _alone = departed.lock()?;
    let Some(record) = departed.read()? else { return departed.forget(None) };
    let Some(away) = record.away else { return departed.forget(None) };
    if away.doomed {
        return Ok(());
    }
    let mut stuck = Vec::new();
    for shelved in &away.moves {
        match shelved.back() {
            Ok(()) => remove_if_empty(shelved.to.parent()),
            Err(error) => {
                tracing::warn!("{} stays put away: {}", shelved.from.display(), chain(&error));
                stuck.push(shelved.clone());
            }
        }
    }
    if stuck.is_empty() {
        return departed.forget(Some(&away));
    }
    // It was used now, so that the time begins anew in which it may come back.
    departed.write(&Record::new(record.since).with(Away { at: clock::now(), moves: stuck, ..away }))
}

/// What is put away although the repository is here, in sentences with the way to it.
pub fn stuck(departed: &Departed) -> Result<Vec<String>> {
    let Some(away) = departed.read()?.and_then(|record| record.away) else { return Ok(Vec::new()) };
    if away.doomed {
        return Ok(vec![
            "what it had left was being deleted for good when it came back: treehand clean --all-repos --yes ends that"
                .into(),
        ]);
    }
    let sentence = |shelved: &Shelved| {
        let (from, to) = (shelved.from.display(), shelved.to.display());
        let how = format!("by hand: mv {to} {from}");
        format!("{from} was put away as {to} while the repository was not to be found, and is not back ({how})")
    };
    Ok(away.moves.iter().map(sentence).collect())
}

/// The same of a repository in which one stands.
pub fn stuck_of(repo: &Repository) -> Result<Vec<String>> {
    Departed::of(repo)?.map_or_else(|| Ok(Vec::new()), |departed| stuck(&departed))
}

/// Fails where this directory is put away: what is made anew at its place would keep it from coming back.
pub fn require_back(repo: &Repository, directory: &Path) -> Result<()> {
    let away =
        Departed::of(repo)?.map(|departed| departed.read()).transpose()?.flatten().and_then(|record| record.away);
    let shelved = away.iter().flat_map(|away| &away.moves).find(|shelved| shelved.from == directory);
    let Some(shelved) = shelved else { return Ok(()) };
    if fs::exists(directory)? {
        return Ok(());
    }
    let (from, to) = (shelved.from.display(), shelved.to.display());
    let message =
        format!("{from} was put away as {to} while the repository was not to be found, and does not come back");
    Err(WorktreeError::refused(message, format!("see why: treehand doctor --repair; by hand: mv {to} {from}")))
}

/// Paths as text that a person can read, and as bytes where they are none.
pub(super) mod path_text {
    use std::os::unix::ffi::OsStrExt;

    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Path, PathBuf, Serialize, bytes_path};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Text<'a> {
        Utf8(std::borrow::Cow<'a, str>),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        let bytes = || Text::Bytes(path.as_os_str().as_bytes().to_vec());
        path.to_str().map_or_else(bytes, |text| Text::Utf8(text.into())).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Text::deserialize(from)? {
            Text::Utf8(text) => PathBuf::from(text.into_owned()),
            Text::Bytes(bytes) => bytes_path(&bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    /// A repository whose store was elsewhere, and was put away; where that was, and what is known of it.
    fn put_away(fixture: &Fixture) -> (PathBuf, Departed) {
        let (repo, state) = (&fixture.repo, fixture.dir.path().join("state/treehand"));
        let id = repo.id().expect("an id");
        let (departed, store) = (Departed::at(&state, &id), state.join("repos").join(&id));
        std::fs::create_dir_all(&store).expect("made");
        drop(crate::store::Store::open(&store).expect("a store"));
        std::fs::write(repo.state_dir().join("store"), store.as_os_str().as_encoded_bytes()).expect("written");
        let (device, inode) = directory_at(&store).expect("looked").expect("there");
        let to = departed.shelf("1-0").join("store");
        let shelved = Shelved { from: store.clone(), to, device, inode };
        let away = Away { stamp: "1-0".into(), at: Timestamp(1), moves: vec![shelved.clone()], doomed: false };
        departed.write(&Record::new(Timestamp(0)).with(away)).expect("written");
        assert!(shelved.is_pending().expect("looked"));
        shelved.shelve().expect("put away");
        assert!(!shelved.is_pending().expect("looked") && shelved.lies().expect("looked"));
        (store, departed)
    }

    #[test]
    fn a_store_comes_back_before_it_is_opened_and_none_is_made_in_its_place() {
        let fixture = Fixture::new();
        let (store, departed) = put_away(&fixture);
        std::fs::write(&store, "in the way").expect("written");
        come_back(&fixture.repo).expect("tried");
        assert_eq!(stuck_of(&fixture.repo).expect("looked").len(), 1);
        std::fs::remove_file(&store).expect("removed");
        let lying = departed.shelf("1-0").join("store");
        let aside = lying.with_extension("aside");
        std::fs::rename(&lying, &aside).expect("a disk that is not mounted");
        for opened in [fixture.repo.look(), fixture.repo.store()] {
            assert!(opened.is_err_and(|error| error.to_string().contains("does not come back")));
        }
        assert!(!store.exists(), "an empty one would be in the way for ever");
        std::fs::rename(&aside, &lying).expect("mounted");
        fixture.repo.look().expect("a store");
        assert!(store.join("state.db").exists() && departed.read().expect("looked").is_none());
        assert!(!fixture.dir.path().join("state/treehand/departed").exists());
    }

    #[test]
    fn nothing_comes_back_to_a_copy_nor_of_what_is_being_deleted_nor_by_a_record_of_a_newer_version() {
        let fixture = Fixture::new();
        let (store, departed) = put_away(&fixture);
        let copy = fixture.dir.path().join("copy");
        fixture.run_in(fixture.dir.path(), &["clone", "-q", "work", "copy"]);
        std::fs::create_dir(copy.join(".git/treehand")).expect("made");
        for name in ["id", "place"] {
            let from = fixture.repo.state_dir().join(name);
            std::fs::copy(from, copy.join(".git/treehand").join(name)).expect("copied");
        }
        let mut twin = Repository::discover(&fixture.repo.git, &copy).expect("found");
        twin.state_home.clone_from(&fixture.repo.state_home);
        come_back(&twin).expect("nothing to do");
        let record = departed.read().expect("read").expect("a record");
        let away = record.away.clone().expect("put away");
        departed.write(&record.with(Away { doomed: true, ..away })).expect("written");
        come_back(&fixture.repo).expect("nothing to do");
        assert!(!store.exists() && stuck(&departed).expect("looked")[0].contains("being deleted"));
        std::fs::write(departed.record(), "{\"version\": 2}").expect("written");
        assert!(come_back(&fixture.repo).is_err() && departed.shelf("1-0").join("store").exists());
    }

    #[test]
    fn a_path_that_is_no_text_reads_back() {
        for name in [&b"/plain"[..], b"/not \xff text"] {
            let path = bytes_path(name);
            let shelved = Shelved { from: path.clone(), to: path, device: 1, inode: 2 };
            let text = serde_json::to_string(&shelved).expect("written");
            assert_eq!(serde_json::from_str::<Shelved>(&text).expect("read"), shelved, "{text}");
        }
    }
}
