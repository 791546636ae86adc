//! Apply: saves what a sealed workspace or a task's box holds: captured, taken in like a result, then held by refs, or by a bundle
//! where it is more than `clean.salvage_max`.
//!
//! All of it lies in one quarantine before the first ref moves, so that it is decided once for the whole of it. In a bundle it
//! is built on the base, which a ref holds. What was captured in submodules comes into their own clones either way, for these
//! are not the repository's objects: it is in no bundle, however large it is.

use std::path::{Path, PathBuf};

use super::bundled::{self, Holder};
use super::bundles::{self, Content};
use super::part::{Saved, identity};
use crate::cleanup::error::{CleanupError, Result};
use crate::model::CommitId;
use crate::sys::fs;
use crate::worktree::Repository;
use crate::worktree::apart::Touch;
use crate::worktree::capture::{CaptureRequest, Captured, capture, capture_commits};
use crate::worktree::import::{ImportRequest, RefChange, take_in, update_ref, update_refs};
use crate::worktree::import_submodules::import_around;
use crate::worktree::private_refs::private_refs;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::SealedPaths;

/// Most bytes that may come out of a sealed workspace at once, unless `clean.salvage_max` is more.
const TAKEN_MAX: u64 = 20 << 30;

const MESSAGE: &str = "treehand: work of a sealed workspace";

/// The part of what lay in it.
const WORKTREE: &str = "worktree";

/// What is to be saved.
#[derive(Clone, Copy)]
pub struct Sealed<'a> {
    /// Where its parts are.
    pub paths: &'a SealedPaths,
    /// What was captured of it.
    pub captured: &'a Captured,
    /// The captured commit is new; otherwise only what is beside it is saved.
    pub work: bool,
    /// The commit that it started from.
    pub base: &'a CommitId,
    /// Where refs of salvage go, without the last part.
    pub prefix: &'a str,
}

/// The ref that is to hold the work.
#[derive(Clone, Copy)]
pub struct Onto<'a> {
    /// Its full name.
    pub reference: &'a str,
    /// Where it has to be.
    pub expected: Option<&'a CommitId>,
}

/// How it was saved.
#[derive(Debug)]
pub struct Kept {
    /// Where.
    pub holder: Holder,
    /// What is below the prefix.
    pub saved: Vec<Saved>,
}

/// What a sealed workspace holds, captured and not yet imported.
pub fn capture_sealed(repo: &Repository, paths: &SealedPaths, store_dir: &Path, base: &CommitId) -> Result<Captured> {
    let lenders = lenders(repo, paths, store_dir, base)?;
    let identity = identity(repo);
    let message = "treehand: what lay in the worktree\n";
    Ok(capture(
        repo,
        paths,
        &CaptureRequest {
            base,
            lenders: &lenders,
            identity: &identity,
            message,
            touch: Touch::Nothing,
            at: None,
            leaves: &[],
        },
    )?)
}

/// What was committed in a sealed workspace whose tree is gone.
pub fn commits_of_sealed(
    repo: &Repository,
    paths: &SealedPaths,
    store_dir: &Path,
    base: &CommitId,
) -> Result<Captured> {
    Ok(capture_commits(repo, paths, base, &lenders(repo, paths, store_dir, base)?)?)
}

fn lenders(repo: &Repository, paths: &SealedPaths, store_dir: &Path, base: &CommitId) -> Result<Vec<PathBuf>> {
    if !fs::exists(&store_dir.join("base.git"))? {
        let message =
            format!("the objects that {} borrows from are gone: {}", paths.tree.display(), store_dir.display());
        return Err(CleanupError::refused(message, "copy what is needed out of it by hand"));
    }
    Ok(vec![RunStore::at(repo, store_dir, base)?.objects()])
}

/// True for a capture of what a commit has already: the same files on the same parents, whatever moment it says.
pub fn is_same_work(repo: &Repository, captured: &Captured, commit: &CommitId) -> Result<bool> {
    if captured.commit == *commit {
        return Ok(true);
    }
    let parts = |commit: &CommitId| [format!("{commit}^{{tree}}"), format!("{commit}^@")];
    let now = captured.git().bare(&captured.scratch, ["rev-parse"]).args(parts(&captured.commit)).text()?;
    Ok(repo.reader().has_commit(commit)? && now == repo.bare(["rev-parse"]).args(parts(commit)).text()?)
}

/// The name of the ref for work that has none of its own.
pub fn beside(prefix: &str) -> String {
    format!("{prefix}/{WORKTREE}")
}

/// Saves it. Nothing of it is held where this fails, but for a branch that has the work already.
pub fn save(repo: &Repository, sealed: Sealed<'_>, onto: Onto<'_>) -> Result<Kept> {
    let private = private_refs(&sealed.paths.git_dir);
    if !sealed.work && private.is_empty() {
        import_around::<_, CleanupError>(repo, sealed.captured, &sealed.request(repo, onto), || Ok(()))?;
        return Ok(Kept { holder: Holder::Refs, saved: Vec::new() });
    }
    let quarantine = Quarantine::create(repo, sealed.base)?;
    let kept = sealed.save_through(repo, &quarantine, &private, onto);
    let discarded = quarantine.discard();
    let kept = kept?;
    discarded?;
    Ok(kept)
}

impl Sealed<'_> {
    fn request<'r>(&'r self, repo: &Repository, onto: Onto<'r>) -> ImportRequest<'r> {
        let Onto { reference, expected } = onto;
        // More than a signed number of them git takes for a mistake.
        let max_bytes = repo.salvage_max.0.max(TAKEN_MAX).min(i64::MAX as u64);
        ImportRequest { base: self.base, reference, expected, paths: &[], max_bytes, message: MESSAGE }
    }

    fn save_through(
        &self,
        repo: &Repository,
        quarantine: &Quarantine,
        private: &[(String, CommitId)],
        onto: Onto<'_>,
    ) -> Result<Kept> {
        let mut tips = Vec::new();
        if self.work {
            take_in(quarantine, self.captured, &self.request(repo, onto))?;
            tips.push(&self.captured.commit);
        }
        let others = self.others(repo, quarantine, private)?;
        tips.extend(others.iter().map(|(_, commit)| commit));
        let bytes = if tips.is_empty() { 0 } else { bundles::new_bytes(repo, quarantine, &tips)? };
        let name = beside(self.prefix);
        match bundled::holder(bytes, repo.salvage_max) {
            Holder::Refs => import_around(repo, self.captured, &self.request(repo, onto), || {
                self.hold_by_refs(repo, quarantine, &others, onto)
            }),
            Holder::Bundle => {
                // Its branch stays where it is, so what is in submodules is beside theirs, too.
                let onto = if self.work { Onto { reference: &name, expected: None } } else { onto };
                import_around(repo, self.captured, &self.request(repo, onto), || {
                    self.hold_by_bundle(repo, quarantine, others)
                })
            }
        }
    }

    /// What was committed beside its HEAD and no ref of the repository holds, taken in: the parts that it will be.
    fn others(
        &self,
        repo: &Repository,
        quarantine: &Quarantine,
        private: &[(String, CommitId)],
    ) -> Result<Vec<(String, CommitId)>> {
        let mut others: Vec<(String, CommitId)> = Vec::new();
        for (name, commit) in private {
            let peeled = format!("{commit}^{{commit}}");
            let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled];
            let output = self.captured.git().bare(&self.captured.scratch, args).output()?;
            // A ref without its commit has nothing that could be saved.
            let Ok(commit) = CommitId::parse(String::from_utf8_lossy(&output.stdout).trim()) else { continue };
            let held = Some(&self.captured.commit).filter(|_| self.work);
            let held = held.into_iter().chain(others.iter().map(|(_, commit)| commit)).map(CommitId::as_str);
            let walk = quarantine.command(["rev-list", "--max-count=1", commit.as_str(), "--not", "--all"]).args(held);
            let beyond = walk.arg("--").output()?;
            if beyond.status.success() && beyond.stdout.is_empty() {
                continue;
            }
            let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
            let part: String = name.chars().map(letter).collect();
            let part = format!("private-{}-{}", commit.short(), part.trim_matches('-'));
            let one = Captured { commit, submodules: Vec::new(), ..self.captured.clone() };
            take_in(quarantine, &one, &self.request(repo, Onto { reference: "", expected: None }))?;
            others.push((part, one.commit));
        }
        Ok(others)
    }

    fn hold_by_refs(
        &self,
        repo: &Repository,
        quarantine: &Quarantine,
        others: &[(String, CommitId)],
        onto: Onto<'_>,
    ) -> Result<Kept> {
        let name = |part: &str| format!("{}/{part}", self.prefix);
        let change = |(part, commit): &(String, CommitId)| RefChange {
            reference: name(part),
            new: Some(commit.clone()),
            expected: None,
        };
        let changes: Vec<RefChange> = others.iter().map(change).collect();
        let kept = quarantine.migrate_packs()?;
        let held = (|| -> Result<()> {
            update_refs(repo, &changes, MESSAGE)?;
            if self.work {
                update_ref(repo, onto.reference, Some(&self.captured.commit), onto.expected, MESSAGE)?;
            }
            Ok(())
        })();
        kept.release()?;
        held?;
        let saved = |(part, commit): &(String, CommitId)| Saved { name: name(part), commit: commit.clone() };
        let work = Saved { name: onto.reference.to_owned(), commit: self.captured.commit.clone() };
        // Work on its own branch is not below the prefix.
        let work = Some(work).filter(|work| self.work && work.name.starts_with(self.prefix));
        // The quarantine has proved that everything they reach is there.
        Ok(Kept { holder: Holder::Refs, saved: work.into_iter().chain(others.iter().map(saved)).collect() })
    }

    fn hold_by_bundle(
        &self,
        repo: &Repository,
        quarantine: &Quarantine,
        others: Vec<(String, CommitId)>,
    ) -> Result<Kept> {
        let work = Some((WORKTREE.to_owned(), self.captured.commit.clone())).filter(|_| self.work);
        let parts: Vec<(String, CommitId)> = work.into_iter().chain(others).collect();
        let base = bundles::hold_base(repo, self.prefix, self.base)?;
        let submodules = self.work && !self.captured.submodules.is_empty();
        let known = std::slice::from_ref(self.base);
        let content = Content { prefix: self.prefix, parts: &parts, known, submodules };
        match bundles::write(repo, quarantine, content) {
            Ok(mut saved) => {
                saved.push(base);
                Ok(Kept { holder: Holder::Bundle, saved })
            }
            Err(error) => {
                update_ref(repo, &base.name, None, Some(&base.commit), "treehand: nothing was saved on top of it")?;
                Err(error)
            }
        }
    }
}

/// The tree of what was captured.
pub fn captured_tree(captured: &Captured) -> Result<CommitId> {
    let rev = format!("{}^{{tree}}", captured.commit);
    Ok(captured.git().bare(&captured.scratch, ["rev-parse", "--verify", "--end-of-options", &rev]).object_id()?)
}
