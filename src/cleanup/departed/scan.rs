//! Scan: what a repository left outside of itself: private git dirs, a store of its own, and boxes that are provably tied to those.
//!
//! A private git dir names its tree, and the tree's `.git` names that git dir: both are read beneath an open directory and without
//! following links, for a task could have written either. What is tied one way only is named, and never touched.

use std::path::{Component, Path, PathBuf};

use super::decide::{Inside, Part, Rest};
use crate::cleanup::error::Result;
use crate::cleanup::places::{children, directories};
use crate::cleanup::remove::scan::dir_id;
use crate::model::Timestamp;
use crate::model::cause::chain;
use crate::sys::footprint::footprint;
use crate::sys::fs;
use crate::sys::removal::Mounts;
use crate::sys::standing::Processes;
use crate::worktree::moved::LINK_MAX;
use crate::worktree::registry::Known;
use crate::worktree::repository::bytes_path;
use crate::worktree::sealed::link_line;

/// Where a tree's own git dir is in a private directory.
const ADMIN: &str = "common.git/worktrees/wt";

/// What a box has beside its tree.
const IN_A_BOX: [&str; 2] = ["home", "tmp"];

/// Looks at all of it.
pub fn rest(known: &Known) -> Result<Rest> {
    let (look, mut rest) = (Look::new()?, Rest::default());
    for (path, proof) in [(known.sealed(), "private git dirs"), (known.store(), "the store")] {
        rest.parts.extend(look.part(&path, proof)?);
    }
    for private in privates(&known.sealed())? {
        match tied(&private, known) {
            Ok(Tied::Tree(enclosure)) => {
                let proof = format!("it and {} name each other", private.display());
                rest.parts.extend(look.part(&enclosure, &proof)?);
            }
            Ok(Tied::Not(place, why)) => rest.unproven.push((place, why.into())),
            Ok(Tied::Unknown(place)) => rest.unknown.push(place),
            Ok(Tied::Gone) => {}
            Err(error) => rest.unproven.push((private, chain(&error))),
        }
    }
    Ok(rest)
}

/// What uses a directory now.
pub struct Look {
    processes: Processes,
    mounts: Mounts,
}

impl Look {
    /// Looks at processes and mounts.
    pub fn new() -> Result<Look> {
        Ok(Look { processes: Processes::scan()?, mounts: Mounts::scan()? })
    }

    /// What is known of a part; `None` when it is not there.
    pub fn part(&self, path: &Path, proof: &str) -> Result<Option<Part>> {
        let Some(id) = dir_id(path)? else { return Ok(None) };
        let print = footprint(path);
        Ok(Some(Part {
            path: path.to_owned(),
            id,
            proof: proof.to_owned(),
            changed_at: Timestamp(print.changed_at.saturating_mul(1000)),
            partial: print.partial,
            inside: self.inside(path),
        }))
    }

    /// What uses a directory.
    pub fn inside(&self, path: &Path) -> Inside {
        Inside { mounted: self.mounts.below(path), processes: self.processes.inside(path) }
    }
}

/// The private directories of all its sealed workspaces and tasks: in one for each run, and in one for what has a name.
fn privates(sealed: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for run in directories(sealed)? {
        found.extend(directories(&run.path)?.into_iter().map(|private| private.path));
    }
    Ok(found)
}

/// How a private directory stands to a box.
enum Tied {
    /// The box is its own.
    Tree(PathBuf),
    /// There is none.
    Gone,
    /// What is there is not provably its box, for this reason.
    Not(PathBuf, &'static str),
    /// It may be on a disk that is not mounted.
    Unknown(PathBuf),
}

fn tied(private: &Path, known: &Known) -> Result<Tied> {
    let Some(line) = fs::read_beneath(private, &Path::new(ADMIN).join("gitdir"), LINK_MAX)? else {
        return Ok(Tied::Gone);
    };
    let link = bytes_path(line.strip_suffix(b"\n").unwrap_or(&line));
    let plain = link.is_absolute() && link.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let (true, Some(tree)) = (plain && link.ends_with(".git"), link.parent()) else {
        return Ok(Tied::Not(private.to_owned(), "what it names is no tree"));
    };
    let (Some(enclosure), Some(name)) = (tree.parent(), tree.file_name()) else {
        return Ok(Tied::Not(private.to_owned(), "what it names is no tree"));
    };
    if !fs::exists(enclosure)? {
        let unknown = may_be_unmounted(enclosure, known)?;
        return Ok(if unknown { Tied::Unknown(enclosure.to_owned()) } else { Tied::Gone });
    }
    let not = |why| Ok(Tied::Not(enclosure.to_owned(), why));
    if fs::without_links(enclosure) != enclosure || !fs::is_own_directory(enclosure)? {
        return not("it is no directory of yours that its private git dir names");
    }
    for name in IN_A_BOX {
        if !fs::is_directory_beneath(enclosure, Path::new(name))? {
            return not("it does not look like the box of a sealed workspace");
        }
    }
    let admin = private.join(ADMIN);
    let named = fs::read_beneath(enclosure, &Path::new(name).join(".git"), LINK_MAX)?;
    let ours = [link_line(&admin), link_line(&fs::without_links(&admin))];
    match named {
        Some(named) if ours.contains(&named) => Ok(Tied::Tree(enclosure.to_owned())),
        _ => not("its `.git` does not name the private git dir that names it"),
    }
}

/// Whether the absence of something proves nothing, because the place that would hold it may be a disk that is not mounted. The
/// directory that held the repository is there, as the registry has proved, and so is all around it.
pub fn may_be_unmounted(path: &Path, known: &Known) -> Result<bool> {
    for (distance, place) in path.ancestors().skip(1).enumerate() {
        if fs::exists(place)? {
            let shared = known.common_dir.starts_with(place) && place.parent().is_some();
            return Ok(!shared && (distance > 1 || children(place)?.is_empty()));
        }
    }
    Ok(true)
}
