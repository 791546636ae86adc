//! Scan and apply: bundles of what removals saved beyond `clean.salvage_max`: written, listed, opened, renamed, let go.
//!
//! Promises: one is there when it is whole, on the disk and read back; it is made in a quarantine, which goes with whoever dies
//! in it, and comes to its place by one rename. What it builds on is held by a ref below the same prefix. Refs in submodules
//! that belong to it go with it.

use std::path::{Path, PathBuf};

use super::bundled::{self, ABOUT, About, BASE, BundledPart, FILE, PLACE};
use super::part::{Saved, keep};
use super::saved;
use crate::cleanup::clean::facts::DirFact;
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::places::directories;
use crate::cleanup::remove::scan::dir_id;
use crate::cleanup::trash;
use crate::model::cause::chain;
use crate::model::{ByteSize, CommitId};
use crate::sys::fs;
use crate::worktree::import::update_ref;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::sealed::remove_if_empty;
use crate::worktree::{Repository, bundle, import_submodules};

/// Largest file that says what is in a bundle.
const ABOUT_MAX: u64 = 64 << 20;

/// A bundle that can be told of.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its directory.
    pub dir: DirFact,
    /// The prefix of refs that it stands for.
    pub prefix: String,
    /// What is said of it.
    pub about: About,
}

/// Every bundle.
#[derive(Default)]
pub struct Bundles {
    /// Those that can be told of.
    pub all: Vec<Bundle>,
    /// The others: the prefix of refs that each stands for, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Bundles {
    /// Every part of those that can be told of, with the name that a ref to it would have.
    pub fn parts(&self) -> impl Iterator<Item = (&BundledPart, String)> {
        self.all.iter().flat_map(|bundle| bundle.about.parts.iter().map(|part| (part, bundle.reference(part))))
    }
}

impl Bundle {
    /// The bundle itself.
    pub fn file(&self) -> PathBuf {
        self.dir.path.join(FILE)
    }

    /// The name that a ref to a part of it would have.
    pub fn reference(&self, part: &BundledPart) -> String {
        format!("{}/{}", self.prefix, part.part)
    }
}

/// Where they are.
pub fn root(repo: &Repository) -> PathBuf {
    repo.state_dir().join(PLACE)
}

/// The directory of each, by its name alone.
pub fn places(repo: &Repository) -> Result<Vec<DirFact>> {
    let mut found = Vec::new();
    for around in directories(&root(repo))? {
        for mut dir in directories(&around.path)? {
            if let Some((_, at)) = bundled::prefix(&dir.path) {
                dir.at = at;
                found.push(dir);
            }
        }
    }
    Ok(found)
}

/// All of them.
pub fn all(repo: &Repository) -> Result<Bundles> {
    let mut bundles = Bundles::default();
    for dir in places(repo)? {
        let Some((prefix, _)) = bundled::prefix(&dir.path) else { continue };
        match about(&dir.path) {
            Ok(about) => bundles.all.push(Bundle { dir, prefix, about }),
            Err(why) => {
                tracing::warn!("what was saved in {} cannot be told: {why}", dir.path.display());
                bundles.unreadable.push((prefix, why));
            }
        }
    }
    Ok(bundles)
}

fn about(directory: &Path) -> std::result::Result<About, String> {
    let bytes = fs::read_beneath(directory, ABOUT.as_ref(), ABOUT_MAX).map_err(|error| chain(&error))?;
    About::parse(&bytes.ok_or_else(|| format!("{ABOUT} is not there"))?)
}

/// What a bundle is made of.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The refs that it stands for are below this.
    pub prefix: &'a str,
    /// Their last parts, and what they are at.
    pub parts: &'a [(String, CommitId)],
    /// It builds on what these reach.
    pub known: &'a [CommitId],
    /// Submodules have refs that go with it.
    pub submodules: bool,
}

/// Writes what lies in a quarantine to a bundle. Where that cannot be done nothing is left of it.
pub fn write(repo: &Repository, quarantine: &Quarantine, content: Content<'_>) -> Result<Vec<Saved>> {
    let Content { prefix, parts, .. } = content;
    write_to_its_place(repo, quarantine, content).map_err(|error| {
        remove_if_empty(bundled::place(&root(repo), prefix).as_deref().and_then(Path::parent));
        remove_if_empty(Some(&root(repo)));
        let message = format!(
            "what has to be saved is more than {} (clean.salvage_max), and no bundle of it can be written: {}",
            repo.salvage_max,
            chain(&error)
        );
        CleanupError::refused(message, "make room; or let the repository take it: --set clean.salvage_max=SIZE")
    })?;
    let saved =
        |(part, commit): &(String, CommitId)| Saved { name: format!("{prefix}/{part}"), commit: commit.clone() };
    Ok(parts.iter().map(saved).collect())
}

fn write_to_its_place(repo: &Repository, quarantine: &Quarantine, content: Content<'_>) -> Result<()> {
    let Content { prefix, parts, known, .. } = content;
    let wrong = || CleanupError::refused(format!("{prefix} is no place for a bundle"), "report this as a bug");
    let place = bundled::place(&root(repo), prefix).ok_or_else(wrong)?;
    let half = quarantine.git_dir().join(PLACE);
    fs::create_private_dir(&half)?;
    bundle::write(repo, quarantine, parts, known, &half.join(FILE))?;
    let about = describe(quarantine, content)?;
    let text = serde_json::to_vec(&about).map_err(std::io::Error::from).map_err(fs::at("write", &place))?;
    // That brings the directory to the disk, too.
    fs::write_atomic(&half.join(ABOUT), &text)?;
    fs::while_emptied(|| {
        place.parent().map_or(Ok(()), fs::create_private_dir_all)?;
        if fs::exists(&place)? {
            return Err(fs::at("create", &place)(std::io::ErrorKind::AlreadyExists.into()));
        }
        fs::move_path(&half, &place)
    })?;
    for directory in place.ancestors().skip(1).take(3) {
        if let Err(error) = fs::sync(directory) {
            fs::remove_tree(&place)?;
            return Err(error.into());
        }
    }
    Ok(())
}

fn describe(quarantine: &Quarantine, content: Content<'_>) -> Result<About> {
    let Content { parts, known, submodules, .. } = content;
    let tips: String = parts.iter().map(|(_, commit)| format!("{commit}\n")).collect();
    let without: String = known.iter().map(|commit| format!("^{commit}\n")).collect();
    let walk = quarantine.command(["rev-list", "--parents", "--stdin"]).stdin(format!("{tips}{without}"));
    let commits = walk.text()?.lines().map(str::to_owned).collect();
    let args = ["diff-tree", "--stdin", "--root", "-r", "-z", "--no-renames", "--name-status"];
    let files = saved::changed_files(quarantine.command(args).stdin(tips).run()?.records());
    let part = |(part, commit): &(String, CommitId)| -> Result<BundledPart> {
        let subject =
            quarantine.command(["log", "-1", "--no-show-signature", "--format=%s", commit.as_str()]).text()?;
        let files = files.get(commit).copied().unwrap_or_default();
        Ok(BundledPart { part: part.clone(), commit: commit.clone(), subject, files })
    };
    Ok(About::new(parts.iter().map(part).collect::<Result<_>>()?, commits, submodules))
}

/// Holds what a bundle will build on, by a ref below the same prefix.
pub fn hold_base(repo: &Repository, prefix: &str, base: &CommitId) -> Result<Saved> {
    keep(repo, prefix, BASE, base)
}

/// Everything that a bundle holds, in a quarantine. The caller discards that.
pub fn open(repo: &Repository, bundle: &Bundle) -> Result<Quarantine> {
    let commits: Vec<CommitId> = bundle.about.parts.iter().map(|part| part.commit.clone()).collect();
    let nothing = || CleanupError::refused(format!("{} holds nothing", bundle.file().display()), "look at it");
    let quarantine = Quarantine::create(repo, commits.first().ok_or_else(nothing)?)?;
    match bundle::read(&quarantine, &commits, &bundle.file()) {
        Ok(()) => Ok(quarantine),
        Err(error) => {
            quarantine.discard()?;
            Err(error.into())
        }
    }
}

/// Removes the bundle that stands for refs below this prefix, for a removal that did not happen.
pub fn forget(repo: &Repository, prefix: &str) -> Result<()> {
    let Some(path) = bundled::place(&root(repo), prefix) else { return Ok(()) };
    match dir_id(&path)? {
        Some(id) => expire(repo, &DirFact { at: trash::changed_at(&path)?, path, id }),
        None => Ok(()),
    }
}

/// Deletes a bundle for good, with what only it needs.
pub fn expire(repo: &Repository, dir: &DirFact) -> Result<()> {
    let Some((prefix, _)) = bundled::prefix(&dir.path) else { return Ok(()) };
    if let Ok(about) = about(&dir.path) {
        discard_submodules(repo, &Bundle { dir: dir.clone(), prefix: prefix.clone(), about })?;
    }
    fs::remove_tree(&dir.path)?;
    remove_if_empty(dir.path.parent());
    remove_if_empty(Some(&root(repo)));
    let Some(base) = bundled::base(&dir.path) else { return Ok(()) };
    match repo.reader().ref_commit(&base)? {
        Some(now) => Ok(update_ref(repo, &base, None, Some(&now), "treehand: nothing builds on it any more")?),
        None => Ok(()),
    }
}

/// Refs in submodules that belong to what is in a bundle go. Where its commits came into the repository, they are asked there.
pub fn discard_submodules(repo: &Repository, bundle: &Bundle) -> Result<()> {
    if !bundle.about.submodules {
        return Ok(());
    }
    let quarantine = match open(repo, bundle) {
        Ok(quarantine) => quarantine,
        Err(error) => {
            // It has to go all the same; what stays in submodules is known by its name.
            tracing::warn!("refs of {} stay in submodules: {}", bundle.prefix, chain(&error));
            return Ok(());
        }
    };
    let all = bundle.about.parts.iter().try_for_each(|part| {
        let reference = bundle.reference(part);
        match repo.reader().has_commit(&part.commit)? {
            true => import_submodules::discard(repo, &reference, &part.commit),
            false => import_submodules::discard_within(repo, &quarantine, &reference, &part.commit),
        }
    });
    quarantine.discard()?;
    Ok(all?)
}

/// Puts bundles into the trash, where they stay until the retention ends; where they went.
pub fn to_trash(repo: &Repository, doomed: &[&Bundle], stamp: &str) -> Result<Vec<PathBuf>> {
    let mut gone = Vec::new();
    for (number, bundle) in doomed.iter().enumerate() {
        let path = &bundle.dir.path;
        if dir_id(path)? != Some(bundle.dir.id) {
            let message = format!("{} has changed since it was looked at", path.display());
            return Err(CleanupError::refused(message, "look at it, then try again"));
        }
        discard_submodules(repo, bundle)?;
        let place = place_in_trash(repo, bundle, stamp, number);
        fs::while_emptied(|| {
            place.parent().map_or(Ok(()), fs::create_private_dir_all)?;
            fs::move_path(path, &place)
        })?;
        remove_if_empty(path.parent());
        remove_if_empty(Some(&root(repo)));
        gone.push(place);
    }
    Ok(gone)
}

/// Where a bundle is in the trash.
pub fn place_in_trash(repo: &Repository, bundle: &Bundle, stamp: &str, number: usize) -> PathBuf {
    let from = bundle.dir.path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    trash::root(repo).join(stamp).join(format!("{}-{from}", number + 1))
}

/// Keeps what was bundled under one stamp under another from now on; some may be there already.
pub fn keep_under(repo: &Repository, from: &str, to: &str) -> Result<()> {
    for dir in places(repo)?.into_iter().filter(|dir| dir.path.file_name().is_some_and(|name| name == from)) {
        let anew = dir.path.with_file_name(to);
        if !fs::exists(&anew)? {
            fs::move_path(&dir.path, &anew)?;
        }
    }
    Ok(())
}

/// What the bundles that one operation made hold, as refs would be called, by the name of its trash.
pub fn of_stamp(repo: &Repository, stamp: &str) -> Result<Vec<(String, CommitId)>> {
    let mut found = Vec::new();
    for bundle in all(repo)?.all.iter().filter(|bundle| bundle.dir.path.file_name().is_some_and(|name| name == stamp)) {
        found.extend(bundle.about.parts.iter().map(|part| (bundle.reference(part), part.commit.clone())));
    }
    Ok(found)
}

/// How much of the objects of a quarantine the repository does not have; looked at closely only where all of it is too much.
pub fn new_bytes(repo: &Repository, quarantine: &Quarantine, tips: &[&CommitId]) -> Result<u64> {
    let all = quarantine.bytes()?;
    if ByteSize(all) <= repo.salvage_max {
        return Ok(all);
    }
    let lines: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    let walk = ["rev-list", "--objects", "--disk-usage", "--stdin", "--not", "--all"];
    let text = quarantine.command(walk).stdin(lines).text()?;
    Ok(text.trim().parse::<u64>().unwrap_or(all).min(all))
}
