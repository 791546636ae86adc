//! Apply: the submodules of a new workspace, from what is here already: no remote is asked, and nothing is downloaded.
//!
//! Those that are initialised in the repository (`git submodule init`) and whose commit it has come along, nested ones too, as
//! clones that share their files with the repository's own by hard links, in the places where git itself puts them. They stand
//! at the commit that the workspace's own commit names, on no branch, with the remotes and the tracked branches of the original.
//! What cannot be brought is told and left to `git submodule update`; it is no reason not to make the workspace. Those of a sealed
//! workspace borrow from a store of treehand's own and share no file with the repository.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::conversion;
use super::error::{Result, WorktreeError};
use super::gitlinks;
use super::originals::{self, HINT, Originals};
use super::quarantine::{copy_shallow, object_format, write_bare_skeleton};
use super::repository::{Repository, bytes_path};
use super::run_store::RunStore;
use super::sealed::{self, Identity, SealedPaths, link_line};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::fs;
use crate::sys::git::{Git, Reader};

/// A submodule that the workspace's commit has and the repository has initialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submodule {
    /// Where it is, from the root of the workspace.
    pub path: PathBuf,
    /// Why it did not come along.
    pub missing: Option<String>,
}

/// The file in a git dir that says that its submodules are being brought: until then they are nobody's work.
const UNDER_WAY: &str = "treehand-submodules";

/// Brings the submodules of a worktree that was just made.
pub fn bring(repo: &Repository, tree: &Path, git_dir: &Path) -> Result<Vec<Submodule>> {
    let mut found = Vec::new();
    let top = Level::top(repo, tree, git_dir);
    if top.has_any() {
        fs::write_new(&git_dir.join(UNDER_WAY), b"")?;
        top.bring(&mut found)?;
        fs::remove_file(&git_dir.join(UNDER_WAY))?;
    }
    Ok(found)
}

/// What the submodules of a sealed workspace are made with.
#[derive(Clone, Debug)]
struct Seal<'a> {
    /// The git dir of the store that the worktree around them borrows from; theirs are in it.
    store: PathBuf,
    /// Who commits in them.
    identity: &'a Identity,
}

/// Brings the submodules of a sealed workspace that was just made, into its private git dir; `store` is the git dir of the
/// store that it borrows from.
pub fn bring_sealed(
    repo: &Repository,
    paths: &SealedPaths,
    store: &Path,
    identity: &Identity,
) -> Result<Vec<Submodule>> {
    let mut found = Vec::new();
    let seal = Some(Seal { store: store.to_owned(), identity });
    Level { seal, ..Level::top(repo, &paths.tree, &paths.admin) }.bring(&mut found)?;
    Ok(found)
}

/// The paths of the submodules that whoever made this worktree did not live to finish.
pub fn half_brought(repo: &Repository, tree: &Path, git_dir: &Path) -> Result<Vec<PathBuf>> {
    if !fs::exists(&git_dir.join(UNDER_WAY))? {
        return Ok(Vec::new());
    }
    let top = Level::top(repo, tree, git_dir);
    Ok(top.gitlinks()?.into_iter().map(|(path, _)| path).collect())
}

/// Lets the submodules of a worktree name their git dirs again, after its own came back under another name.
pub fn relink(repo: &Repository, git_dir: &Path) -> Result<()> {
    for (_, module) in clones(git_dir)? {
        let Some(tree) = Reader::open(&repo.git, &module).config("core.worktree")? else { continue };
        // Relative to the git dir, so that it is right under any name.
        if let Ok(tree) = module.join(tree).canonicalize() {
            link(&tree, &module)?;
        }
    }
    Ok(())
}

/// The clones of submodules in a git dir, nested ones too: name and place.
pub fn clones(git_dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let root = git_dir.join("modules");
    let mut found = Vec::new();
    if !fs::exists(&root)? {
        return Ok(found);
    }
    let mut walk = walkdir::WalkDir::new(&root).follow_links(false).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| fs::at("read", &root)(error.into()))?;
        let path = entry.path();
        if entry.file_name() == "objects" || entry.file_name() == "refs" {
            walk.skip_current_dir();
        } else if path.join("HEAD").is_file() && path.join("objects").is_dir() {
            found.push((path.strip_prefix(&root).unwrap_or(path).to_owned(), path.to_owned()));
        }
    }
    Ok(found)
}

/// Lets a submodule's tree name its git dir, relative as git does; both without links in them.
fn link(tree: &Path, git_dir: &Path) -> Result<()> {
    Ok(fs::write_atomic(&tree.join(".git"), &link_line(&relative(tree, git_dir)))?)
}

/// A worktree whose submodules are brought: that of the workspace, or of a submodule in it.
struct Level<'a> {
    git: &'a Git,
    tree: &'a Path,
    git_dir: &'a Path,
    /// The clones that they come from.
    originals: Originals,
    /// The store that those of a sealed workspace borrow from, and who commits in them; `None` for a plain one.
    seal: Option<Seal<'a>>,
}

impl<'a> Level<'a> {
    fn top(repo: &'a Repository, tree: &'a Path, git_dir: &'a Path) -> Self {
        Level { git: &repo.git, tree, git_dir, originals: Originals::of(repo), seal: None }
    }

    fn has_any(&self) -> bool {
        self.tree.join(".gitmodules").symlink_metadata().is_ok_and(|meta| meta.is_file())
    }

    fn bring(&self, found: &mut Vec<Submodule>) -> Result<()> {
        if !self.has_any() {
            return Ok(());
        }
        let names = originals::names(self.git.within(self.tree, ["config", "--file", ".gitmodules"]))?;
        for (path, commit) in self.gitlinks()? {
            let Some(name) = names.get(&path) else { continue };
            if !self.originals.is_initialised(name)? {
                continue;
            }
            let (tree, git_dir) = (self.tree.join(&path), self.git_dir.join("modules").join(name));
            let at = self.originals.at().join(&path);
            match self.bring_one(name, &path, &commit, &tree, &git_dir) {
                Ok((original, seal)) => {
                    found.push(Submodule { path: at, missing: None });
                    let originals = self.originals.below(&original, &path);
                    Level { git: self.git, tree: &tree, git_dir: &git_dir, originals, seal }.bring(found)?;
                }
                Err(error) => found.push(Submodule { path: at, missing: Some(chain(&error)) }),
            }
        }
        Ok(())
    }

    /// Brings one; where it was cloned from is the answer, and what its own submodules borrow from.
    fn bring_one(
        &self,
        name: &Path,
        path: &Path,
        commit: &CommitId,
        tree: &Path,
        git_dir: &Path,
    ) -> Result<(PathBuf, Option<Seal<'a>>)> {
        let original = self.originals.with(name, path, commit)?;
        let clone = Clone { level: self, name, commit, original: &original, git_dir, tree };
        clone.is_free()?;
        let made = match &self.seal {
            None => clone.make().map(|()| None),
            Some(seal) => clone.seal(seal).map(Some),
        };
        let below = made.inspect_err(|_| clone.unmake())?;
        Ok((original, below))
    }

    /// The gitlinks of the index that a sparse checkout does not leave out.
    fn gitlinks(&self) -> Result<Vec<(PathBuf, CommitId)>> {
        let recorded = gitlinks::recorded(self.git, self.git_dir, self.tree)?;
        Ok(recorded.into_iter().map(|(path, commit)| (bytes_path(&path), commit)).collect())
    }
}

/// A submodule's clone.
struct Clone<'a> {
    level: &'a Level<'a>,
    name: &'a Path,
    commit: &'a CommitId,
    original: &'a Path,
    git_dir: &'a Path,
    tree: &'a Path,
}

/// Settings of the original that its clone has too: whence it comes, and which of its own submodules are initialised.
const SETTINGS: &str = "^(remote|submodule|user)\\.";

impl Clone<'_> {
    /// Refuses places that are not the submodule's own: taken by another of nearly the same name, or behind a link.
    fn is_free(&self) -> Result<()> {
        let resolve = |path: &Path| path.canonicalize().map_err(fs::at("resolve", path));
        let inside = resolve(self.tree)?.starts_with(resolve(self.level.tree)?);
        let empty = std::fs::read_dir(self.tree).map_err(fs::at("read", self.tree))?.next().is_none();
        // The git dir of one whose name is the beginning of this one's is no place for it.
        let modules = self.level.git_dir.join("modules");
        let above = self.git_dir.ancestors().skip(1).take_while(|dir| *dir != modules);
        let free = !fs::exists(self.git_dir)? && !above.into_iter().any(|dir| dir.join("HEAD").is_file());
        match inside && empty && free {
            true => Ok(()),
            false => Err(WorktreeError::refused("its place is taken", HINT)),
        }
    }

    fn make(&self) -> Result<()> {
        if let Some(parent) = self.git_dir.parent() {
            fs::create_dir_all(parent)?;
        }
        let git = self.level.git;
        // Who forbids the file transport to keep strange submodules from it does not mean a copy of what is here.
        let start = ["-c", "protocol.file.allow=always", "-c", "clone.defaultRemoteName=origin"];
        let clone = ["clone", "--quiet", "--local", "--no-checkout", "--no-recurse-submodules", "--separate-git-dir"];
        let command = git.within(self.level.tree, start).args(clone).arg(self.git_dir).arg("--");
        command.arg(self.original).arg(self.tree).run()?;
        self.take_settings()?;
        // A shallow original is not copied file by file, and its commit may be on no branch.
        let any = ["-c", "uploadpack.allowAnySHA1InWant=true"];
        let same = [self.commit.as_str(), "+refs/remotes/*:refs/remotes/*", "+refs/tags/*:refs/tags/*"];
        let fetch = ["fetch", "--quiet", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"];
        let command = git.bare(self.git_dir, start).args(any).args(fetch).arg("--no-recurse-submodules");
        command.arg(self.original).args(same).run()?;
        self.link()?;
        let checkout = ["checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", self.commit.as_str()];
        git.within(self.tree, checkout).run()?;
        let doomed = git.bare(self.git_dir, ["for-each-ref", "--format=delete %(refname)", "refs/heads/"]).run()?;
        git.bare(self.git_dir, ["update-ref", "--stdin"]).stdin(doomed.stdout).run()?;
        Ok(())
    }

    fn take_settings(&self) -> Result<()> {
        let (git, own) = (self.level.git, self.git_dir);
        git.bare(own, ["config", "--remove-section", "remote.origin"]).run()?;
        let listed = git.bare(self.original, ["config", "--local", "-z", "--get-regexp", SETTINGS]).output()?;
        for record in listed.records() {
            let text = String::from_utf8_lossy(record);
            let (key, value) = text.split_once('\n').unwrap_or((&text, "true"));
            git.bare(own, ["config", "--add", key, value]).run()?;
        }
        // What was downloaded once is not downloaded again, and what is added there outlives the workspace.
        let content = self.original.join("lfs");
        if fs::exists(&content)? {
            git.bare(own, ["config", "lfs.storage"]).arg(content).run()?;
        }
        Ok(())
    }

    /// Makes one that borrows from a store of treehand's own instead of sharing files with the original: what a task could
    /// write is never a file of the user's. It has no remote, as little as the workspace around it.
    fn seal<'s>(&self, seal: &Seal<'s>) -> Result<Seal<'s>> {
        let git = self.level.git;
        let home = Repository::at_common_dir(git, self.original)?;
        let store = RunStore::of_submodule(&home, &seal.store, self.name, self.commit)?;
        store.fetch(self.original, self.commit)?;
        if let Some(parent) = self.git_dir.parent() {
            fs::create_private_dir_all(parent)?;
        }
        let config = format!("[core]\n\tbare = false\n{}", sealed::private_config(&home, self.git_dir, seal.identity)?);
        write_bare_skeleton(self.git_dir, object_format(self.commit), &[store.objects()], &config)?;
        copy_shallow(store.git_dir(), self.git_dir)?;
        conversion::copy_info(&home, self.git_dir)?;
        fs::create_private_dir(&self.git_dir.join("logs"))?;
        fs::write_atomic(&self.git_dir.join("HEAD"), format!("{}\n", self.commit).as_bytes())?;
        self.link()?;
        let fill = git.tree(self.git_dir, self.tree, ["reset", "--quiet", "--hard", "--no-recurse-submodules"]);
        fill.env("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1").run()?;
        self.register()?;
        Ok(Seal { store: store.git_dir().to_owned(), identity: seal.identity })
    }

    /// What `git submodule init` would write into the configuration around it, which a task may not be able to write. The
    /// address is the one that everybody reads in `.gitmodules`: in the repository's own there may be a secret.
    fn register(&self) -> Result<()> {
        let git = self.level.git;
        let key = |variable: &str| format!("submodule.{}.{variable}", self.name.display());
        let set = |variable, value: &OsStr| git.bare(self.level.git_dir, ["config", &key(variable)]).arg(value).run();
        set("active", "true".as_ref())?;
        for variable in ["url", "update"] {
            let get = ["config", "--file", ".gitmodules", "--no-includes", "-z", "--get", &key(variable)];
            let known = git.within(self.level.tree, get).output()?;
            let value = known.records().next();
            // Anything else is a command.
            let plain = |value: &&[u8]| {
                variable != "update" || [&b"checkout"[..], b"rebase", b"merge", b"none"].contains(value)
            };
            if let Some(value) = value.filter(plain) {
                set(variable, bytes_path(value).as_os_str())?;
            }
        }
        Ok(())
    }

    /// The links between tree and git dir, relative as git makes them for submodules, so that both can be moved together.
    fn link(&self) -> Result<()> {
        let resolve = |path: &Path| path.canonicalize().map_err(fs::at("resolve", path));
        let (tree, git_dir) = (resolve(self.tree)?, resolve(self.git_dir)?);
        let there = relative(&git_dir, &tree);
        self.level.git.bare(&git_dir, ["config", "core.worktree"]).arg(there).run()?;
        link(&tree, &git_dir)
    }

    /// Leaves what git leaves: an empty directory.
    fn unmake(&self) {
        let unmade = fs::remove_tree(self.git_dir)
            .and_then(|()| fs::remove_tree(self.tree))
            .and_then(|()| fs::create_dir_all(self.tree));
        if let Err(error) = unmade {
            tracing::warn!("a submodule is half made in {}: {}", self.tree.display(), chain(&error));
        }
    }
}

/// The way from one directory to another; both absolute and without links in them.
pub(super) fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_one_directory_to_another() {
        let check = |from: &str, to: &str, expected: &str| {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected), "{from} {to}");
        };
        check("/a/b", "/a/c/d", "../c/d");
        check("/a", "/a/b", "b");
        check("/a/b/c", "/a", "../..");
    }
}
