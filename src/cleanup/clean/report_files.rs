//! The reports of cleanups in the user's own state: one small file each, with the process that it is of.
//!
//! A file is there before its cleanup begins, so that one that dies is known. What cannot be read is named, never guessed; what
//! is not ours there is left alone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::{self, Report};
use crate::cleanup::error::Result;
use crate::model::{ProcId, Timestamp};
use crate::sys::fs::{self, at};
use crate::sys::lock::{FileLock, LockError};
use crate::sys::{env, proc};
use crate::worktree::stamp::stamp;

/// The directory of the user's own state that has them.
const DIRECTORY: &str = "treehand/reports";
/// The lock of `clean --all-repos --yes`, beside them.
const LOCK: &str = "lock";
/// What the files are written in.
const VERSION: u32 = 1;
/// How old a half-written file is that nobody writes any more.
const HALF_WRITTEN: Duration = Duration::from_secs(86_400);

/// A report as it is in its file.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    maker: Option<ProcId>,
    report: Report,
}

/// Where the report of this process is kept; nowhere for a user without a home.
#[derive(Debug)]
pub struct Place {
    file: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The reports, the newest first.
    pub reports: Vec<Report>,
    /// Files that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
}

fn directory() -> Option<PathBuf> {
    env::state_home().map(|home| home.join(DIRECTORY))
}

impl Place {
    /// A new one.
    pub fn new() -> Result<Place> {
        let name = format!("{}.json", stamp()?);
        Ok(Place { file: directory().map(|directory| directory.join(name)) })
    }

    /// Writes the report, as it stands.
    pub fn write(&self, report: &Report) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let stored = Stored { version: VERSION, maker: proc::own(), report: report.clone() };
        let text = serde_json::to_vec(&stored).map_err(io::Error::from).map_err(at("write", file))?;
        file.parent().map_or(Ok(()), fs::create_private_dir_all)?;
        Ok(fs::write_atomic(file, &text)?)
    }
}

/// Takes the lock that only one `clean --all-repos --yes` of a user has; who has it says so at once.
pub fn lock(holder: &str) -> std::result::Result<Option<FileLock>, LockError> {
    let Some(directory) = directory() else { return Ok(None) };
    fs::create_private_dir_all(&directory).map_err(|error| LockError::Io { path: error.path, source: error.source })?;
    FileLock::try_acquire(&directory.join(LOCK), holder).map(Some)
}

/// Every report that there is.
pub fn all() -> Result<Found> {
    let mut found = Found::default();
    for (_, file) in listed()? {
        match read(&file) {
            Ok(report) => found.reports.push(report),
            // One that another process has just taken away is no report any more.
            Err(_) if !fs::exists(&file)? => {}
            Err(why) => found.unreadable.push(format!("{}: {why}", file.display())),
        }
    }
    Ok(found)
}

/// Takes away what is too many or too old, and what was left half-written.
pub fn prune(now: Timestamp) -> Result<()> {
    let listed = listed()?;
    let moments: Vec<Timestamp> = listed.iter().map(|(at, _)| *at).collect();
    for place in report::outgrown(&moments, now) {
        remove(&listed[place].1)?;
    }
    for file in files()?.iter().filter(|file| is_half_written(file)) {
        remove(file)?;
    }
    Ok(())
}

/// Another cleanup may have been faster.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

fn is_half_written(file: &Path) -> bool {
    let ours = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp"));
    let age = || file.symlink_metadata().and_then(|meta| meta.modified()).ok()?.elapsed().ok();
    ours && age().is_some_and(|age| age > HALF_WRITTEN)
}

/// Files with the name of a report, each with its moment, the newest first.
fn listed() -> Result<Vec<(Timestamp, PathBuf)>> {
    let mut listed: Vec<_> = files()?.into_iter().filter_map(|file| Some((moment(&file)?, file))).collect();
    listed.sort();
    listed.reverse();
    Ok(listed)
}

fn files() -> Result<Vec<PathBuf>> {
    let Some(directory) = directory() else { return Ok(Vec::new()) };
    if !fs::exists(&directory)? {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&directory).map_err(at("read", &directory))?;
    let entries: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    Ok(entries.map_err(at("read", &directory))?)
}

/// When the cleanup began whose report has this name; `None` for another name.
fn moment(file: &Path) -> Option<Timestamp> {
    let (at, token) = file.file_name()?.to_str()?.strip_suffix(".json")?.split_once('-')?;
    let is_token = token.len() == 8 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = at.bytes().all(|byte| byte.is_ascii_digit());
    at.parse().ok().filter(|_| is_token && digits).map(Timestamp)
}

fn read(file: &Path) -> std::result::Result<Report, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if value["version"].as_u64() > Some(VERSION.into()) {
        return Err("a newer treehand wrote it".into());
    }
    let stored: Stored = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let is_dead = stored.report.outcome == report::Outcome::Running && proc::is_known_dead(stored.maker.as_ref());
    Ok(stored.report.seen_with(is_dead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_reports_are_reports() {
        assert_eq!(moment(Path::new("/x/1700000000000-0123abcd.json")), Some(Timestamp(1_700_000_000_000)));
        for other in ["lock", ".tmpX", "1-0123abcd.jso", "+1-0123abcd.json", "1-0123abcg.json", "1.json", "é-1.json"] {
            assert_eq!(moment(&Path::new("/x").join(other)), None, "{other}");
        }
    }

    #[test]
    fn a_file_of_a_newer_version_and_a_torn_one_say_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("1-0123abcd.json");
        std::fs::write(&file, "{\"version\": 2}").expect("written");
        assert_eq!(read(&file), Err("a newer treehand wrote it".into()));
        std::fs::write(&file, "{\"version\": 1, \"rep").expect("written");
        assert!(read(&file).is_err());
    }
}
