//! The private object store of a run: what its sealed workspaces borrow from while nothing confines their children.
//!
//! Without a sandbox an agent could write to whatever is lent to it, and git's own freshening could leave an object in
//! the lender alone. So the main repository's objects are not lent: base and need-merges are fetched into this
//! bare repository, once per run, and nobody ever collects garbage in it. What the last one had of the same history is there at once
//! (`stock`).

use std::path::{Path, PathBuf};

use super::abandoned::children;
use super::conversion;
use super::error::Result;
use super::originals;
use super::quarantine::{copy_shallow, object_format, write_bare_skeleton};
use super::repository::Repository;
use super::stock::{self, Taken};
use crate::model::cause::chain;
use crate::model::{CommitId, RunId};
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::sys::lock::FileLock;

/// The store of one run.
#[derive(Clone, Debug)]
pub struct RunStore {
    repo: Repository,
    git_dir: PathBuf,
    /// Nothing is asked of a remote.
    local: bool,
}

/// The link in a store to where the repository's own LFS keeps content, which is where LFS looks beside borrowed objects.
const CONTENT: &str = "lfs";

/// Where the refs of what was brought in are.
const BROUGHT: &str = "refs/treehand";

/// Where that of a history is that was given to it.
const STOCK: &str = "refs/stock";

/// What a store is called in its private directory.
const STORE: &str = "base.git";

/// Where that is, for the store that these objects are in; `None` where there is no LFS.
pub fn content_beside(objects: &Path) -> Option<PathBuf> {
    std::fs::read_link(objects.parent()?.join(CONTENT)).ok()
}

/// The commits that were brought into the store in this private directory; none where there is none.
pub fn brought_in(private: &Path) -> Result<Vec<CommitId>> {
    brought_into(&private.join(STORE))
}

fn brought_into(store: &Path) -> Result<Vec<CommitId>> {
    // Nothing here ever packs refs.
    let refs = children(&store.join(BROUGHT))?;
    let commit = |path: &PathBuf| CommitId::parse(path.file_name()?.to_str()?).ok();
    let mut found: Vec<CommitId> = refs.iter().filter_map(commit).collect();
    found.sort();
    Ok(found)
}

impl RunStore {
    /// Opens the store of a run, making it when it is new.
    pub fn open(repo: &Repository, run: &RunId, like: &CommitId) -> Result<RunStore> {
        RunStore::at(repo, &repo.run_dir(run)?, like)
    }

    /// Opens the store in this private directory.
    pub fn at(repo: &Repository, private: &Path, like: &CommitId) -> Result<RunStore> {
        fs::create_private_dir_all(private)?;
        RunStore::make(repo, private.join(STORE), like, false)
    }

    /// Opens the store of a submodule in the store of what is around it; `home` is the repository's own clone of it, and
    /// nothing that this one lacks is asked of a remote.
    pub fn of_submodule(home: &Repository, around: &Path, name: &Path, like: &CommitId) -> Result<RunStore> {
        let modules = around.join("modules");
        fs::create_private_dir_all(&modules)?;
        RunStore::make(home, modules.join(originals::flat(name)), like, true)
    }

    fn make(repo: &Repository, git_dir: PathBuf, like: &CommitId, local: bool) -> Result<RunStore> {
        let store = RunStore { repo: repo.clone(), git_dir, local };
        let _lock = store.lock()?;
        // `config` is the last file of the skeleton: without it an earlier attempt died half-way.
        if !fs::exists(&store.git_dir.join("config"))? {
            fs::remove_tree(&store.git_dir)?;
            write_bare_skeleton(&store.git_dir, object_format(like), &[], "")?;
            copy_shallow(&repo.common_dir, &store.git_dir)?;
            if let Some(place) = conversion::lfs(repo)? {
                let link = store.git_dir.join(CONTENT);
                std::os::unix::fs::symlink(&place, &link).map_err(fs::at("create", &link))?;
            }
        }
        Ok(store)
    }

    fn lock(&self) -> Result<FileLock> {
        let path = self.git_dir.with_extension("lock");
        Ok(FileLock::acquire(&path, &format!("pid {}", std::process::id()))?)
    }

    /// Brings a commit with its history in from a repository (the main one, or a quarantine).
    pub fn fetch(&self, source: &Path, commit: &CommitId) -> Result<()> {
        let _lock = self.lock()?;
        let brought = self.git_dir.join(BROUGHT);
        if fs::exists(&brought.join(commit.as_str()))? {
            return Ok(());
        }
        // What is in it later on may be of other branches.
        let is_first = source == self.repo.common_dir && !self.local && self.has_nothing()?;
        let taken = if is_first { self.take_from_stock(commit)? } else { None };
        if taken.as_ref().is_some_and(|taken| taken.commit == *commit) {
            return self.refer(BROUGHT, commit);
        }
        let is_partial = self.is_partial()?;
        // What is to be kept has to be in packs.
        let settings: &[&str] = if is_first { &["-c", "fetch.unpackLimit=1"] } else { &[] };
        let fetch = || self.fetch_rest(source, commit, (settings, is_partial));
        let taken = match (fetch(), taken) {
            (Ok(()), taken) => taken,
            (Err(error), Some(taken)) => {
                tracing::debug!("all of the history is fetched: {}", chain(&error));
                self.empty()?;
                fetch()?;
                // Something of it is damaged that was not seen.
                if let Err(error) = stock::discard(&self.repo, &taken.commit) {
                    tracing::debug!("what was kept of a history stays: {}", chain(&error));
                }
                None
            }
            (Err(error), None) => return Err(error),
        };
        if is_first
            && !is_partial
            && !fs::exists(&self.git_dir.join("shallow"))?
            && let Err(error) = stock::keep(&self.repo, &self.packs(), commit, taken.as_ref())
        {
            tracing::debug!("the next store is filled from the repository again: {}", chain(&error));
        }
        Ok(())
    }

    /// True where nothing was brought in yet.
    fn has_nothing(&self) -> Result<bool> {
        Ok(brought_into(&self.git_dir)?.is_empty() && !fs::exists(&self.git_dir.join("packed-refs"))?)
    }

    /// A store in which nothing is, refs before what they are of. What somebody left who died over it may have been for another commit.
    fn empty(&self) -> Result<()> {
        fs::remove_tree(&self.git_dir.join(BROUGHT))?;
        fs::remove_tree(&self.git_dir.join(STOCK))?;
        fs::remove_tree(&self.objects())?;
        fs::create_private_dir_all(&self.objects().join("info"))?;
        Ok(fs::create_private_dir(&self.packs())?)
    }

    /// What there is of a commit's history already, in packs and on a ref that git's fetch goes by; nothing where that fails.
    fn take_from_stock(&self, commit: &CommitId) -> Result<Option<Taken>> {
        self.empty()?;
        let take = || -> Result<Option<Taken>> {
            let Some(taken) = stock::take(&self.repo, &self.packs(), commit)? else { return Ok(None) };
            if !Reader::open(&self.repo.git, &self.git_dir).has_commit(&taken.commit)? {
                stock::discard(&self.repo, &taken.commit)?;
                return Ok(None);
            }
            // What is referred to has to be there after a power failure, too.
            fs::sync(&self.packs())?;
            if taken.commit != *commit {
                self.refer(STOCK, &taken.commit)?;
            }
            Ok(Some(taken))
        };
        let taken = take().unwrap_or_else(|error| {
            tracing::debug!("all of the history is fetched: {}", chain(&error));
            None
        });
        if taken.is_none() {
            self.empty()?;
        }
        Ok(taken)
    }

    /// Makes a ref that is named after its commit.
    fn refer(&self, directory: &str, commit: &CommitId) -> Result<()> {
        let directory = self.git_dir.join(directory);
        fs::create_private_dir_all(&directory)?;
        Ok(fs::write_atomic(&directory.join(commit.as_str()), format!("{commit}\n").as_bytes())?)
    }

    fn fetch_rest(&self, source: &Path, commit: &CommitId, (settings, is_partial): (&[&str], bool)) -> Result<()> {
        // Who forbids the file transport to keep submodules from it does not mean a copy of the repository's own commits.
        let args = ["-c", "protocol.version=2", "-c", "protocol.file.allow=always"];
        // What is there already is not to come once more, whatever the user wants of remotes.
        let haves = ["-c", "fetch.negotiationAlgorithm=default"];
        // A graft would keep back the commits that it hides, and the history here would be broken. What a partial clone lacks
        // of the commit's files is fetched from its remote; of those that are history, everything would be.
        let whole = match self.local {
            true => "--upload-pack=GIT_GRAFT_FILE=/dev/null/none GIT_NO_LAZY_FETCH=1 git upload-pack",
            false => "--upload-pack=GIT_GRAFT_FILE=/dev/null/none GIT_NO_LAZY_FETCH=0 git upload-pack",
        };
        let fetch = self.repo.git.bare(&self.git_dir, args).args(haves).args(settings);
        let fetch = fetch.args(["fetch", "--quiet", "--no-tags", whole]);
        let fetch = fetch.args(["--no-write-fetch-head", "--no-auto-maintenance"]);
        let fetch = fetch.args(is_partial.then_some("--depth=1")).arg("--end-of-options");
        fetch.arg(source).arg(format!("{commit}:{BROUGHT}/{commit}")).run()?;
        Ok(())
    }

    /// True for a clone with `--filter`: some objects are only at its remote.
    fn is_partial(&self) -> Result<bool> {
        let set = self.repo.bare(["config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$"]);
        Ok(set.output()?.status.success())
    }

    /// Its git dir.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    fn packs(&self) -> PathBuf {
        self.objects().join("pack")
    }

    /// The object directory that workspaces borrow from.
    pub fn objects(&self) -> PathBuf {
        self.git_dir.join("objects")
    }
}
