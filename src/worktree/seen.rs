//! What was found when files were last looked at, so that worktrees in which nothing changed since need no second look.
//!
//! What git would say of a worktree follows from its files, its index, its HEAD and the settings: as long as a print of all of
//! these is the same, so is the answer. A print is made of times, and of a file that changes twice within one tick of its clock
//! it shows one change only; so an answer is kept only when everything in it was older than that by far. Kept beside the store,
//! of the last look only, and never decided by: whoever removes something looks for himself.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::index_copy::{self, Dirt, LookedAt};
use super::repository::Repository;
use crate::model::Timestamp;
use crate::sys::footprint::{Footprint, changed_at, stamp};
use crate::sys::git::{Reader, user_file};
use crate::sys::{env, fs};

/// The file in treehand's state that keeps it.
const FILE: &str = "seen";

/// How much older than the look a change has to be, in seconds: file systems have clocks that tick every two.
const SETTLED: i64 = 5;

/// So many answers of an earlier look are kept beside those of another.
const BESIDE_MAX: usize = 10_000;

/// Answers by their prints, as text: in JSON a number of 64 bits is not safe.
type Answers = BTreeMap<String, Dirt>;

/// What is kept.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Who made the prints: another version may make others.
    by: String,
    answers: Answers,
}

/// The answers of the last look, and those of this one.
pub struct Seen<'a> {
    repo: &'a Repository,
    file: PathBuf,
    settings: Option<u64>,
    before: Answers,
    now: Mutex<Answers>,
}

impl<'a> Seen<'a> {
    /// Reads what is kept. Without settings that can be compared, on a shared file system, whose clock is another machine's, or
    /// where nothing is kept at all, everything is looked at.
    pub fn open(repo: &'a Repository, reader: &Reader) -> Result<Self> {
        let state = repo.state_dir();
        let file = state.join(FILE);
        let usable = fs::exists(&state)? && !fs::is_shared(&state)?;
        let settings = if usable { settings(repo, reader)? } else { None };
        let text = std::fs::read(&file).unwrap_or_default();
        // A file that cannot be read is one that says nothing.
        let kept: Kept = serde_json::from_slice(&text).unwrap_or_default();
        let before = if kept.by == version() { kept.answers } else { Answers::new() };
        Ok(Seen { repo, file, settings, before, now: Mutex::default() })
    }

    /// The uncommitted changes of a worktree whose footprint was just taken.
    pub fn dirt(&self, at: &LookedAt, footprint: &Footprint, now: Timestamp) -> Result<Dirt> {
        if footprint.trap {
            index_copy::require_no_trap(&at.tree)?;
        }
        let Some(print) = self.print(at, footprint) else { return at.dirt(self.repo) };
        if let Some(known) = self.before.get(&print) {
            self.keep(print, *known);
            return Ok(*known);
        }
        let changed_at = footprint.changed_at.max(changed_at(&at.git_dir.join("index")));
        let settled = changed_at + SETTLED < now.0 / 1000;
        let dirt = at.dirt(self.repo)?;
        if settled {
            self.keep(print, dirt);
        }
        Ok(dirt)
    }

    fn keep(&self, print: String, dirt: Dirt) {
        if let Ok(mut now) = self.now.lock() {
            now.insert(print, dirt);
        }
    }

    /// A print of all that the answer depends on; `None` where something is missing from it.
    fn print(&self, at: &LookedAt, footprint: &Footprint) -> Option<String> {
        if footprint.nested || footprint.partial {
            return None;
        }
        let head = at.head.as_ref()?;
        let own =
            ["index", "HEAD", "config.worktree", "info/sparse-checkout"].map(|name| stamp(&at.git_dir.join(name)));
        let mut hasher = DefaultHasher::new();
        (self.settings?, &at.tree, footprint.print, head.as_str(), own).hash(&mut hasher);
        Some(format!("{:016x}", hasher.finish()))
    }

    /// Keeps the answers of this look beside those of the last, unless these become too many: for who does not look at everything.
    pub fn close_beside(self) -> Result<()> {
        if let Ok(mut now) = self.now.lock()
            && self.before.len() < BESIDE_MAX
        {
            for (print, dirt) in &self.before {
                now.entry(print.clone()).or_insert(*dirt);
            }
        }
        self.close()
    }

    /// Keeps the answers of this look instead of those of the last, if there are others and they can be.
    pub fn close(self) -> Result<()> {
        let answers = self.now.into_inner().unwrap_or_default();
        if self.settings.is_none() || answers == self.before || !fs::is_writable(&self.repo.state_dir())? {
            return Ok(());
        }
        let text = serde_json::to_vec(&Kept { by: version(), answers }).map_err(std::io::Error::from);
        Ok(fs::write_atomic(&self.file, &text.map_err(fs::at("write", &self.file))?)?)
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// A print of the settings that decide what counts as a change, in whatever file they are.
pub(super) fn settings(repo: &Repository, reader: &Reader) -> Result<Option<u64>> {
    let Some(config) = reader.config_print() else { return Ok(None) };
    let mut hasher = DefaultHasher::new();
    config.hash(&mut hasher);
    for (key, name) in [("core.excludesfile", "ignore"), ("core.attributesfile", "attributes")] {
        let file = match reader.config(key)? {
            None => user_file(name),
            Some(path) => expanded(&path),
        };
        let Some(file) = file else { return Ok(None) };
        stamp(&file).hash(&mut hasher);
    }
    for file in ["info/exclude", "info/attributes"] {
        stamp(&repo.common_dir.join(file)).hash(&mut hasher);
    }
    Ok(Some(hasher.finish()))
}

/// A path as git's configuration has it; `None` for one that depends on where one stands.
fn expanded(path: &str) -> Option<PathBuf> {
    match path.strip_prefix("~/") {
        Some(rest) => env::home().map(|home| home.join(rest)),
        None => Some(PathBuf::from(path)).filter(|path| Path::is_absolute(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use crate::sys::footprint::footprint;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::remote::Lookup;
    use crate::worktree::status::Survey;

    const LATER: i64 = 60_000;

    /// Looks as `ls` does, at a moment; whether the answer was known, and what it is.
    fn look(fixture: &Fixture, later: i64) -> (bool, Dirt) {
        let records = fixture.store.workspaces().expect("read");
        let none = std::time::Duration::ZERO;
        let lookup = Lookup { offline: true, deadline: none, window: none, recall: true };
        let mut survey = Survey::begin(&fixture.repo, &records, lookup).expect("begun");
        let at = survey.status(&records[0]).expect("looked").looked_at.expect("a place");
        let (seen, taken) = (survey.seen().expect("opened"), footprint(at.tree()));
        let known = seen.print(&at, &taken).is_some_and(|print| seen.before.contains_key(&print));
        let dirt = seen.dirt(&at, &taken, Timestamp(clock::now().0 + later)).expect("looked");
        assert_eq!(dirt, index_copy::look(&fixture.repo, &at.git_dir, &at.tree).expect("looked"), "known: {known}");
        seen.close().expect("kept");
        (known, dirt)
    }

    #[test]
    fn whatever_changes_is_seen_and_what_did_not_is_known() {
        let fixture = Fixture::new();
        let tree = fixture.workspace("w").path;
        let sh = |script: &str| {
            let run = |line: &str| match line.split_once(' ') {
                Some(("write", rest)) => {
                    let (path, content) = rest.split_once(' ').expect("a path and a content");
                    std::fs::create_dir_all(tree.join(path).parent().expect("a parent")).expect("made");
                    std::fs::write(tree.join(path), content).expect("written");
                }
                Some(("exclude", pattern)) => {
                    std::fs::write(fixture.repo.common_dir.join("info/exclude"), pattern).expect("written");
                }
                Some(("remove", path)) => std::fs::remove_file(tree.join(path)).expect("removed"),
                _ => {
                    fixture.run_in(&tree, &line.split(' ').collect::<Vec<_>>());
                }
            };
            script.split("; ").for_each(run);
        };
        look(&fixture, LATER);
        assert_eq!(look(&fixture, LATER), (true, Dirt::default()));
        let steps = [
            "write a two",
            "write a twO",
            "add a",
            "write a three",
            "commit -q -a -m more",
            "write new x",
            "write ignored.log x",
            "remove new",
            "write empty/keep.log x",
            "write empty/new x",
            "remove empty/new",
            "update-index --assume-unchanged a; write a hidden",
            "update-index --no-assume-unchanged a",
            "checkout -q -- a",
            "exclude new*",
            "write newer x",
            "exclude old*",
            "config core.fileMode false",
            "config core.excludesFile /dev/null",
            "rm -q --cached a",
            "reset -q --hard",
            "write sub/.git/HEAD x",
        ];
        for step in steps {
            sh(step);
            look(&fixture, LATER);
            let (known, _) = look(&fixture, LATER);
            assert_eq!(known, !step.contains("sub/.git"), "after: {step}");
        }
    }

    #[test]
    fn what_has_just_changed_is_looked_at_again() {
        let fixture = Fixture::new();
        fixture.workspace("w");
        look(&fixture, 0);
        assert!(!look(&fixture, 0).0, "a second change would not show in times");
        look(&fixture, LATER);
        assert!(look(&fixture, 0).0);
    }
}
