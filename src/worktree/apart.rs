//! git in a sandbox, for what a task could write: its tree, its git dir, its objects.
//!
//! A repository in a tree can have git start programs (a filter, an fsmonitor), whatever settings git is given; and objects
//! that somebody crafted are read by git's own code. So at the levels that confine, git looks at such things only from within a
//! sandbox of its own, in which all of it is read-only and there is no network. One sandbox serves a whole capture.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::conversion;
use super::error::{Result, WorktreeError};
use super::reach;
use super::repository::Repository;
use super::sealed::SealedPaths;
use crate::confine::granted::Granted;
use crate::confine::launch::Shim;
use crate::confine::policy::Streams;
use crate::confine::selftest::{SELF_INSIDE, show_self};
use crate::confine::view::Reach;
use crate::confine::{Launch, environment};
use crate::model::record::ConfineLevel;
use crate::sys::git::{Git, Line};
use crate::sys::{env, fs, random};

/// The argument that makes our own executable the one that starts git inside.
pub const SERVER: &str = "__git";

/// git as it is to be used on what a task could write; as long as this lives.
#[derive(Debug)]
pub struct Apart {
    /// The git.
    pub git: Git,
    // Ends the sandbox when it is dropped: the line closes, and the shim ends what it holds.
    _shim: Option<Shim>,
}

/// How long git may take for all of it: a workspace whose processes live can make it wait for ever.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What of a workspace git may change in its sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: it looks.
    #[default]
    Nothing,
    /// The files of its tree: it is brought to another commit.
    Tree,
}

/// git for a look at a sealed workspace. It may write below `scratch`, a directory of ours.
pub fn git(repo: &Repository, paths: &SealedPaths, lenders: &[PathBuf], scratch: &Path, touch: Touch) -> Result<Apart> {
    let level = repo.confinement.level;
    if matches!(level, ConfineLevel::Off | ConfineLevel::External) {
        return Ok(Apart { git: repo.git.clone(), _shim: None });
    }
    let (home, tmp) = (scratch.join("home"), scratch.join("tmp"));
    fs::create_private_dir_all(&home)?;
    fs::create_private_dir_all(&tmp)?;
    let token = random::token().map_err(WorktreeError::Random)?;
    let inside = match level {
        ConfineLevel::Strict => PathBuf::from(SELF_INSIDE),
        _ => env::own_executable().map_err(WorktreeError::Apart)?,
    };
    let argv = vec![inside.to_string_lossy().into_owned(), SERVER.to_owned()];
    let mut launch = Launch::new(argv, scratch.to_owned(), token);
    launch.env = environment::enclosed(&home, &tmp, scratch, &launch.token);
    let settings = conversion::outside(repo)?;
    let mut read = vec![paths.git_dir.clone(), paths.enclosure.clone()];
    // Beside the objects of a lender are those of its submodules.
    read.extend(lenders.iter().filter_map(|objects| objects.parent()).map(Path::to_owned));
    let mut write = vec![scratch.to_owned()];
    // The user's own place, which may be a link.
    write.extend(settings.write.into_iter().map(|place| place.canonicalize().unwrap_or(place)));
    write.extend((touch == Touch::Tree).then(|| paths.tree.clone()));
    let there = |paths: Vec<PathBuf>| paths.into_iter().filter(|path| path.exists()).collect();
    let (tmp, home) = (Some(tmp), Some(home));
    launch.reach = Reach { read: there(read), write, tmp, home, private: true, ..Reach::default() };
    show_self(&mut launch, level).map_err(WorktreeError::Apart)?;
    let (ours, theirs) = UnixStream::pair().map_err(WorktreeError::Apart)?;
    launch.streams = Streams::Line;
    launch.timeout = Some(DEADLINE);
    launch.line = Some(Arc::new(OwnedFd::from(theirs)));
    let machine = reach::machine(repo);
    let shim = launch.start(Granted::on_record(level), &machine)?;
    launch.line = None;
    shim.wait_started()?;
    Ok(Apart { git: repo.git.through(Line::new(ours)), _shim: Some(shim) })
}
