//! What a child in a workspace reaches: its own box and git dir, the objects it borrows, and of everything else nothing.
//!
//! The paths come from treehand's own records, never from files that a child could have written. Files that decide which
//! repository git works with are laid over by copies that are kept where no child can write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkouts;
use super::conversion;
use super::error::{Result, WorktreeError};
use super::repository::Repository;
use super::run_store;
use super::sealed::{Identity, SealedPaths};
use super::ties::ties;
use crate::confine::policy::Limits;
pub use crate::confine::view::Reach;
use crate::confine::view::{System, needs_hiding};
use crate::confine::{Ground, Launch, environment, machine};
use crate::model::record::ConfineLevel;
use crate::model::{Bounds, Token};
use crate::sys::{env, fs, proc};

/// Parts of the private git dir that git has to write; its root, its configuration and its hooks stay closed.
const WRITTEN: &[&str] = &["objects", "refs", "logs", "rw", "worktrees/wt"];

/// Where a level of confinement is to hold: this machine, and this repository.
pub fn ground(repo: &Repository) -> Ground {
    Ground { machine: machine(repo), repository: Some(repo.common_dir.clone()) }
}

/// What this machine shows to children in workspaces of a repository.
pub fn machine(repo: &Repository) -> System {
    machine::look(env::home().as_deref(), &env::vars(), &repo.confinement.read)
}

/// What a child of a sealed workspace reaches. Files of ours that are laid over some of its own are made.
pub fn of_sealed(repo: &Repository, paths: &SealedPaths, lenders: &[PathBuf], machine: &System) -> Result<Reach> {
    let reach = planned(repo, paths, lenders, machine)?;
    make_pins(paths)?;
    Ok(reach)
}

/// The same for a workspace that need not be there yet: nothing is made.
pub fn planned(repo: &Repository, paths: &SealedPaths, lenders: &[PathBuf], machine: &System) -> Result<Reach> {
    let mut reach = Reach {
        // Each by itself, and what holds them closed: one that could be renamed could be a link to anything next time.
        write: vec![paths.tree.clone(), paths.home.clone(), paths.tmp.clone()],
        read: vec![paths.enclosure.clone(), paths.git_dir.clone()],
        pins: pins(paths),
        hide: hidden(repo, paths.enclosure.parent(), machine)?,
        tmp: Some(paths.tmp.clone()),
        home: Some(paths.home.clone()),
        private: true,
    };
    // Beside the objects of a lender are those of its submodules.
    reach.read.extend(lenders.iter().filter_map(|objects| objects.parent()).map(Path::to_owned));
    let content = match lenders.first() {
        Some(store) if store.exists() => run_store::content_beside(store),
        _ => conversion::lfs(repo)?,
    };
    reach.read.extend(content.map(|place| place.join("objects")).filter(|place| place.exists()));
    reach.write.extend(WRITTEN.iter().map(|part| paths.git_dir.join(part)));
    Ok(reach)
}

/// Where a command lives while it runs.
#[derive(Clone, Debug)]
pub struct Quarters {
    /// The tree: where it starts.
    pub tree: PathBuf,
    /// Its home.
    pub home: PathBuf,
    /// Its temporary directory.
    pub tmp: PathBuf,
    /// What git may not look above, and what its share of the disk is measured in.
    pub enclosure: PathBuf,
    /// A directory that was made for it and goes with it.
    pub directory: Option<PathBuf>,
}

impl Quarters {
    /// Those of a sealed workspace.
    pub fn of_sealed(paths: &SealedPaths) -> Quarters {
        let SealedPaths { tree, home, tmp, enclosure, .. } = paths.clone();
        Quarters { tree, home, tmp, enclosure, directory: None }
    }
}

/// Those of a command in a plain workspace: a home and a temporary directory for this one time, unless nothing keeps it
/// from the user's own.
pub fn quarters_of_plain(tree: &Path, level: ConfineLevel, token: &Token) -> Result<Quarters> {
    let enclosure = tree.parent().unwrap_or(tree).to_owned();
    let (tree, tmp) = (tree.to_owned(), std::env::temp_dir());
    if !matches!(level, ConfineLevel::Strict | ConfineLevel::Landlock) {
        let home = env::home().unwrap_or_else(|| tmp.clone());
        return Ok(Quarters { tree, home, tmp, enclosure, directory: None });
    }
    let directory = directory_of_command(token)?;
    let (home, tmp) = (directory.join("home"), directory.join("tmp"));
    fs::create_private_dir_all(&home)?;
    fs::create_private_dir_all(&tmp)?;
    Ok(Quarters { tree, home, tmp, enclosure, directory: Some(directory) })
}

/// A place for what goes with a command, or with several one after the other, that has this mark; not made yet.
pub fn directory_of_command(token: &Token) -> Result<PathBuf> {
    let state = env::state_home().ok_or_else(|| WorktreeError::refused("there is no home directory", "set HOME"))?;
    let all = state.join("treehand/exec");
    sweep(&all);
    Ok(all.join(token.as_str()))
}

/// Removes the quarters of commands that were killed before they could do that themselves: old, and nobody carries their mark.
fn sweep(all: &Path) {
    const OLD: Duration = Duration::from_secs(3600);
    // Not to be able to look here keeps nobody from a command; the next one looks again.
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let old = modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > OLD));
        let token = entry.file_name().to_str().and_then(Token::parse);
        let Some(token) = token.filter(|_| old) else { continue };
        if proc::marked(&token).is_ok_and(|living| living.is_empty())
            && let Err(error) = fs::remove_tree(&entry.path())
        {
            tracing::debug!(%error, "old quarters stay");
        }
    }
}

/// What a child in a plain workspace reaches: the tree, and of the repository what git needs to look at it. The user's
/// configuration, which may hold passwords, is laid over by what of it decides about files.
pub fn of_plain(repo: &Repository, quarters: &Quarters, machine: &System) -> Result<Reach> {
    let private = quarters.directory.as_deref().unwrap_or(&quarters.tmp);
    let config = private.join("config");
    fs::write_atomic(&config, plain_config(repo, &quarters.home)?.as_bytes())?;
    let link = quarters.tree.join(".git");
    let seen = ["objects", "refs", "packed-refs", "reftable", "HEAD", "shallow", "info"]
        .map(|part| repo.common_dir.join(part));
    let mut read: Vec<PathBuf> = seen.into_iter().filter(|path| path.exists()).collect();
    read.extend(
        checkouts::scan(repo)?.into_iter().filter(|c| c.tree.as_ref() == Some(&quarters.tree)).map(|c| c.git_dir),
    );
    let pins = vec![(config, repo.common_dir.join("config")), (link.clone(), link)];
    let write = vec![quarters.tree.clone(), quarters.home.clone()];
    let (tmp, home) = (Some(quarters.tmp.clone()), Some(quarters.home.clone()));
    let mut hide = hidden(repo, quarters.enclosure.parent(), machine)?;
    // In the main worktree the pin shows the whole git dir; what treehand keeps there is nobody's.
    hide.extend(repo.common_dir.starts_with(&quarters.tree).then(|| repo.state_dir()));
    Ok(Reach { write, read, pins, hide, tmp, home, private: false })
}

fn plain_config(repo: &Repository, home: &Path) -> Result<String> {
    let format =
        repo.bare(["config", "-z", "--get-regexp", r"^(core\.repositoryformatversion|extensions\..*)$"]).output()?;
    let mut text = "[core]\n\tbare = false\n\thooksPath = /dev/null\n\tfsmonitor = false\n".to_owned();
    for record in format.records() {
        text.push_str(&conversion::line(&String::from_utf8_lossy(record)).unwrap_or_default());
    }
    Ok(text + &conversion::settings_for_a_look(repo, &home.join(".lfs"))?)
}

/// A command that is to run in a workspace: its environment, what it reaches, what it may use up.
pub fn launch_in(
    quarters: &Quarters,
    reach: Reach,
    bounds: &Bounds,
    level: ConfineLevel,
    (argv, token): (Vec<String>, Token),
) -> Launch {
    let mut launch = Launch::new(argv, quarters.tree.clone(), token);
    launch.env = match level {
        ConfineLevel::Strict => {
            environment::enclosed(&quarters.home, Path::new("/tmp"), &quarters.enclosure, &launch.token)
        }
        ConfineLevel::Landlock => {
            environment::enclosed(&quarters.home, &quarters.tmp, &quarters.enclosure, &launch.token)
        }
        _ => environment::baseline(&quarters.tmp, &quarters.enclosure, &launch.token),
    };
    launch.set(environment::passed(&bounds.env));
    launch.reach = reach;
    launch.network = bounds.network.clone();
    // Beside a plain workspace there may be anything.
    let measured = if quarters.directory.is_some() { &quarters.tree } else { &quarters.enclosure };
    launch.limits = Limits::of(bounds, measured);
    launch
}

/// What of the user's would be seen because it lies in a directory of programs.
fn hidden(repo: &Repository, siblings: Option<&Path>, machine: &System) -> Result<Vec<PathBuf>> {
    let siblings = siblings.map(Path::to_owned);
    let places = [Some(repo.common_dir.clone()), repo.main_tree.clone(), siblings, env::state_home()];
    let mut hidden: Vec<PathBuf> = places.into_iter().flatten().filter(|place| needs_hiding(place, machine)).collect();
    // What the user shows on purpose may be the home itself.
    let programs = System { toolchains: Vec::new(), ..machine.clone() };
    hidden.extend(env::home().filter(|home| needs_hiding(home, &programs)));
    Ok(hidden)
}

/// Copies of the files that tie a tree to its git dir: a child that rewrote one would have treehand's next look, or a
/// person's, go to a repository of its own making.
fn pins(paths: &SealedPaths) -> Vec<(PathBuf, PathBuf)> {
    ties(paths).iter().map(|tie| (paths.private.join(PINS).join(tie.name), tie.path())).collect()
}

/// Where they are, in the private directory of a workspace.
const PINS: &str = "pins";

fn make_pins(paths: &SealedPaths) -> Result<()> {
    let kept = paths.private.join(PINS);
    fs::create_private_dir_all(&kept)?;
    for tie in ties(paths) {
        let copy = kept.join(tie.name);
        if std::fs::read(&copy).ok().as_deref() != Some(&tie.content[..]) {
            fs::write_atomic(&copy, &tie.content)?;
        }
    }
    Ok(())
}

/// A configuration for repositories that a child makes itself, as test suites do: the user's own is not visible inside.
pub fn furnish(paths: &SealedPaths, identity: &Identity) -> Result<()> {
    let Identity { name, email } = identity;
    let quote = conversion::quote;
    let text = format!("[user]\n\tname = {}\n\temail = {}\n", quote(name), quote(email));
    match fs::write_new(&paths.home.join(".gitconfig"), text.as_bytes()) {
        Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => Err(WorktreeError::from(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_quarters_that_nobody_uses_are_swept() {
        let all = tempfile::tempdir().expect("a directory");
        let (old, young, other) = ([1; 16], [2; 16], "not-ours");
        let place = |token: [u8; 16]| all.path().join(Token::from_bytes(token).as_str());
        for path in [place(old), place(young), all.path().join(other)] {
            std::fs::create_dir(path).expect("made");
        }
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for path in [place(old), all.path().join(other)] {
            std::fs::File::open(path).and_then(|dir| dir.set_modified(long_ago)).expect("set");
        }
        sweep(all.path());
        assert!(!place(old).exists() && place(young).exists() && all.path().join(other).exists());
    }
}
