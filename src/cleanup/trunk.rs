//! Scan: the branch that a repository's work comes to, whatever its main worktree has checked out at the moment.
//!
//! What a remote calls its default branch; where no remote says so, what new repositories of this user begin with, `main` or
//! `master`. Looks at refs and configuration, and asks nobody.

use std::collections::BTreeSet;

use super::error::Result;
use super::integration;
use super::verdict::Target;
use crate::sys::git::Reader;
use crate::worktree::Repository;

/// Branches that are commonly built upon; by name, because nothing else tells them from finished work.
pub const BUILT_UPON: [&str; 5] = ["main", "master", "trunk", "develop", "development"];

/// Where work comes to.
#[derive(Debug, Default)]
pub struct Trunk {
    /// The branch here and its counterpart on the remote, as far as there are such.
    pub targets: Vec<Target>,
    /// Full names of branches here that are never finished work.
    pub standing: BTreeSet<String>,
}

/// Looks it up; where no such branch is known, what is checked out in the main worktree stands for it.
pub fn trunk(main: &Repository, reader: &Reader) -> Result<Trunk> {
    let mut named = Vec::new();
    for remote in sorted(reader.remotes()?) {
        let below = format!("refs/remotes/{remote}/");
        let head = reader.symbolic_target(&format!("{below}HEAD"))?;
        named.extend(head.as_deref().and_then(|head| head.strip_prefix(&below)).map(str::to_owned));
    }
    let usual = reader.config("init.defaultBranch")?.into_iter().chain(BUILT_UPON.map(str::to_owned));
    let mut usual_here = Vec::new();
    for name in usual {
        if reader.ref_commit(&format!("refs/heads/{name}"))?.is_some() {
            usual_here.push(name);
        }
    }
    let standing = named.iter().chain(&usual_here).map(|name| format!("refs/heads/{name}")).collect();
    let first = named.first().or(usual_here.first()).cloned().unwrap_or_default();
    Ok(Trunk { targets: integration::targets_by(main, reader, &first)?, standing })
}

/// `origin` before the others.
fn sorted(mut remotes: Vec<String>) -> Vec<String> {
    remotes.sort_by_key(|name| (name != "origin", name.clone()));
    remotes
}
