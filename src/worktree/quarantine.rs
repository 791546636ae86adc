//! The quarantine: objects come into the repository here first, and all of them at once or not at all.
//!
//! It is a bare repository skeleton below treehand's state directory whose objects borrow from the main repository.
//! Imports and merges write into it; nothing in the main repository knows of it until [`Quarantine::migrate`] has packed
//! what is reachable from the wanted tips, checked it strictly, and moved that one pack over under a `.keep`, which
//! stays until the caller's ref holds it. So `git gc --prune=now` at any moment breaks nothing, and what is
//! rejected leaves nothing behind. (It is not `objects/tmp_*`: `git prune` deletes those while they are in use.)

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::abandoned;
use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::model::CommitId;
use crate::sys::git::{Git, GitCommand, Reader, Version};
use crate::sys::{alike, fs, random};

/// A place for objects that are not trusted yet, or not wanted yet.
#[derive(Debug)]
pub struct Quarantine {
    git: Git,
    main: PathBuf,
    /// Where the person stands: git dir, and top of the worktree.
    stand: (PathBuf, Option<PathBuf>),
    dir: PathBuf,
    signs: OnceLock<bool>,
}

/// Proof that a migrated pack cannot be collected; [`Kept::release`] ends it once a ref holds the commits.
#[derive(Debug)]
#[must_use = "release it when a ref holds what was migrated"]
pub struct Kept {
    keep: Vec<PathBuf>,
}

/// Writes the files that make a directory a bare git repository, without a process and without the user's template.
pub fn write_bare_skeleton(dir: &Path, object_format: &str, alternates: &[PathBuf], config: &str) -> Result<()> {
    fs::create_private_dir_all(&dir.join("objects/info"))?;
    fs::create_private_dir_all(&dir.join("objects/pack"))?;
    fs::create_private_dir_all(&dir.join("refs/heads"))?;
    fs::write_new(&dir.join("HEAD"), b"ref: refs/heads/none\n")?;
    let format = if object_format == "sha1" {
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n".to_owned()
    } else {
        format!(
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = {object_format}\n"
        )
    };
    fs::write_new(&dir.join("config"), format!("{format}{config}").as_bytes())?;
    let lines = alternates_file(alternates);
    if !lines.is_empty() {
        fs::write_new(&dir.join("objects/info/alternates"), &lines)?;
    }
    Ok(())
}

/// The file that lets git find objects in these directories.
pub fn alternates_file(alternates: &[PathBuf]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut lines = Vec::new();
    for path in alternates {
        lines.extend_from_slice(&quote_alternate(path.as_os_str().as_bytes()));
        lines.push(b'\n');
    }
    lines
}

/// Tells a git dir that borrows the objects of another where that one's history is cut off, if it is shallow.
pub fn copy_shallow(lender: &Path, dir: &Path) -> Result<()> {
    let from = lender.join("shallow");
    match std::fs::read(&from) {
        Ok(cuts) => Ok(fs::write_new(&dir.join("shallow"), &cuts)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fs::at("read", &from)(error).into()),
    }
}

/// A line of an alternates file, or one of the environment: a path that could be misread (a comment, a quote, a line feed, a colon)
/// is written quoted.
pub(super) fn quote_alternate(path: &[u8]) -> Vec<u8> {
    let plain = !path.iter().any(|b| *b < b' ' || matches!(*b, b'"' | b'\\' | b':')) && path.first() != Some(&b'#');
    if plain {
        return path.to_vec();
    }
    let mut quoted = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', *byte]),
            b if *b < b' ' || *b >= 0x7f => quoted.extend_from_slice(format!("\\{b:03o}").as_bytes()),
            b => quoted.push(*b),
        }
    }
    quoted.push(b'"');
    quoted
}

/// `sha1` or `sha256`, by the length of an id.
pub fn object_format(commit: &CommitId) -> &'static str {
    if commit.as_str().len() == 64 { "sha256" } else { "sha1" }
}

/// So few objects are packed as they are: to find them is less work here than git's walk, and to look for deltas among them, or for
/// what is left to deflate in directories, would take longer than all the rest; git's own maintenance does when it rolls packs up.
const FEW: usize = 10_000;

fn lines(before: &str, ids: &[CommitId]) -> String {
    ids.iter().map(|id| format!("{before}{id}\n")).collect()
}

impl Quarantine {
    /// Makes an empty quarantine; `like` is any id of the repository (its length tells the object format).
    pub fn create(repo: &Repository, like: &CommitId) -> Result<Quarantine> {
        Quarantine::create_below(&repo.state_dir(), repo, like)
    }

    /// The same below another repository's state: that of the repository around a submodule, where `clean` looks.
    pub fn create_below(state: &Path, repo: &Repository, like: &CommitId) -> Result<Quarantine> {
        let token = random::token().map_err(WorktreeError::Random)?;
        let parent = state.join("quarantine");
        fs::create_private_dir_all(&parent)?;
        let dir = parent.join(abandoned::name(&token));
        fs::create_private_dir(&dir)?;
        let (git, main, signs) = (repo.git.clone(), repo.common_dir.clone(), OnceLock::new());
        let stand = (repo.git_dir.clone(), repo.here.clone());
        let quarantine = Quarantine { git, main, stand, dir, signs };
        let objects = repo.common_dir.join("objects");
        let made = write_bare_skeleton(&quarantine.dir, object_format(like), &[objects], "")
            .and_then(|()| copy_shallow(&repo.common_dir, &quarantine.dir));
        match made {
            Ok(()) => Ok(quarantine),
            Err(error) => {
                quarantine.discard()?;
                Err(error)
            }
        }
    }

    /// The quarantine as a repository of its own.
    pub fn git_dir(&self) -> &Path {
        &self.dir
    }

    /// The version of the git that works in it.
    pub fn git_version(&self) -> Version {
        self.git.version()
    }

    /// True when the user's configuration has every commit signed (`commit.gpgSign`).
    pub fn signs_commits(&self) -> Result<bool> {
        if let Some(known) = self.signs.get() {
            return Ok(*known);
        }
        let signs = self.as_person([] as [&str; 0]).flag("commit.gpgSign")?.unwrap_or(false);
        Ok(*self.signs.get_or_init(|| signs))
    }

    /// The tree of a commit in it.
    pub fn tree_of(&self, commit: &CommitId) -> Result<CommitId> {
        Ok(self.command(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id()?)
    }

    /// Its object directory.
    pub fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// How many bytes the objects in it take.
    pub fn bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for entry in walkdir::WalkDir::new(self.objects()).follow_links(false) {
            let entry = entry.map_err(|error| fs::at("look at", &self.objects())(error.into()))?;
            let meta = entry.metadata().map_err(|error| fs::at("look at", entry.path())(error.into()))?;
            sum += if meta.is_file() { meta.len() } else { 0 };
        }
        Ok(sum)
    }

    /// The quarantine as if it were the whole repository: what is in either is found in it, and no ref of the repository.
    pub fn as_repository(&self, repo: &Repository) -> Repository {
        Repository {
            common_dir: self.dir.clone(),
            git_dir: self.dir.clone(),
            here: None,
            main_tree: None,
            ..repo.clone()
        }
    }

    /// A git command on the main repository (its refs, its configuration) whose new objects go to the quarantine.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        self.redirect(self.git.bare(&self.main, args))
    }

    /// The same as if it were started where the person stands: the settings of that worktree say who commits and whether it
    /// is signed, and a key's relative path is meant from its top. Its objects, refs and attributes are nobody's business.
    pub fn as_person<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        let (git_dir, top) = &self.stand;
        // A worktree can go while a run lasts.
        let command = self.redirect(self.git.bare(if git_dir.is_dir() { git_dir } else { &self.main }, args));
        match top.as_deref().filter(|top| top.is_dir()) {
            Some(top) => command.directory(top),
            None => command,
        }
    }

    fn redirect(&self, command: GitCommand) -> GitCommand {
        // The main repository's objects are found through the quarantine's own alternates file.
        command
            .env("GIT_OBJECT_DIRECTORY", self.objects())
            .env("GIT_QUARANTINE_PATH", self.objects())
            .env("GIT_NO_REPLACE_OBJECTS", "1")
    }

    /// A git command on the quarantine as a repository of its own: no refs and no configuration of the main repository.
    pub fn isolated<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        self.git.bare(&self.dir, args).env("GIT_NO_REPLACE_OBJECTS", "1")
    }

    /// Moves everything that `tips` reach and the main repository's refs do not into the main repository.
    pub fn migrate(&self, tips: &[CommitId], known: &[CommitId]) -> Result<Kept> {
        let pack_dir = self.dir.join("migrate");
        fs::create_private_dir_all(&pack_dir)?;
        let command = self.command(["pack-objects", "-q", "--non-empty", "--delta-base-offset"]);
        let few = Reader::open(&self.git, &self.dir).objects_beyond(tips, known).filter(|ids| ids.len() <= FEW);
        let (command, input) = match few {
            Some(ids) => (command.args(["--window=0", "--threads=1", "--compression=1"]), lines("", &ids)),
            None => (command.arg("--revs"), lines("", tips) + &lines("^", known)),
        };
        let packed = command.arg(pack_dir.join("pack")).stdin(input).text()?;
        let packs = if packed.is_empty() { Vec::new() } else { vec![format!("pack-{packed}")] };
        self.adopt(&pack_dir, &packs)
    }

    /// The same for what was written as packs here, all of which is wanted, where refs of the main repository reach all else: nothing is
    /// looked for then.
    pub fn migrate_made(&self, tips: &[CommitId], known: &[CommitId]) -> Result<Kept> {
        match self.has_loose_objects()? {
            false => self.migrate_packs(),
            true => self.migrate(tips, known),
        }
    }

    fn has_loose_objects(&self) -> Result<bool> {
        let objects = self.objects();
        let entries = std::fs::read_dir(&objects).map_err(fs::at("read", &objects))?;
        for entry in entries {
            let name = entry.map_err(fs::at("read", &objects))?.file_name();
            if name != "info" && name != "pack" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves the packs that `index-pack` put into the quarantine over as they are; what they lack is reachable in main.
    pub fn migrate_packs(&self) -> Result<Kept> {
        let pack_dir = self.objects().join("pack");
        let entries = std::fs::read_dir(&pack_dir).map_err(fs::at("read", &pack_dir))?;
        let mut packs = Vec::new();
        for entry in entries {
            let name = entry.map_err(fs::at("read", &pack_dir))?.file_name();
            packs.extend(name.to_str().and_then(|name| name.strip_suffix(".idx")).map(str::to_owned));
        }
        self.adopt(&pack_dir, &packs)
    }

    /// The keep file first and the index last: a pack without index does not exist for git, a kept one stays.
    fn adopt(&self, pack_dir: &Path, packs: &[String]) -> Result<Kept> {
        let target = self.main.join("objects/pack");
        let mut kept = Kept { keep: Vec::new() };
        for stem in packs {
            let keep = target.join(format!("{stem}.keep"));
            let name = PathBuf::from(format!("{stem}.keep"));
            if !fs::exists(&keep)? || abandoned::is_of_the_dead(&target, &name, abandoned::KEEP)? {
                let text = format!("{}{}", abandoned::KEEP, abandoned::signature());
                fs::write_atomic(&keep, text.as_bytes())?;
                kept.keep.push(keep);
            }
            for extension in ["pack", "rev", "idx"] {
                let name = format!("{stem}.{extension}");
                if fs::exists(&pack_dir.join(&name))? {
                    fs::sync(&pack_dir.join(&name))?;
                    alike::set_read_only(&pack_dir.join(&name), &target)?;
                    fs::move_path(&pack_dir.join(&name), &target.join(&name))?;
                }
            }
        }
        fs::sync(&target)?;
        Ok(kept)
    }

    /// Removes the quarantine and all that was not migrated.
    pub fn discard(self) -> Result<()> {
        Ok(fs::remove_tree(&self.dir)?)
    }
}

impl Kept {
    /// Lets git collect the pack like any other: to be called when a ref holds the commits, or when none will.
    pub fn release(self) -> Result<()> {
        for keep in self.keep {
            fs::remove_file(&keep)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternate_that_could_be_misread_is_quoted() {
        assert_eq!(quote_alternate(b"/plain path/objects"), b"/plain path/objects");
        assert_eq!(quote_alternate(b"/a:b"), b"\"/a:b\"");
        assert_eq!(quote_alternate(b"/a\nb"), b"\"/a\\012b\"");
        assert_eq!(quote_alternate(b"/a\"b\\"), b"\"/a\\\"b\\\\\"");
    }
}
