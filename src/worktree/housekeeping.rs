//! Scan and apply: each result comes in as a small pack, and a git that looks for an object opens the index of every pack there is;
//! so git rolls them up now and then, as its own maintenance does (`git repack --geometric`: the work is that of the small
//! packs, whatever the size of the repository).
//!
//! Promises: objects are removed by git alone, which drops none; a repository with `gc.auto = 0` is left as it is, and so is one
//! with promised objects. One process at a time does it, and nobody waits for it.

use std::path::Path;

use super::error::Result;
use super::repository::Repository;
use crate::sys::fs;
use crate::sys::lock::{FileLock, LockError};

/// So many packs more than there were left the last time are rolled up: as many as make git's own maintenance begin.
const MANY: usize = 50;

/// Rolls packs up when there are many; true when it did.
pub fn roll_up(repo: &Repository) -> Result<bool> {
    let home = repo.common_dir.join("objects/pack");
    let lock = repo.state_dir().join("locks/packs");
    let left = FileLock::signature(&lock).and_then(|left| left.parse::<usize>().ok()).unwrap_or(0);
    let Some(packs) = count(&home)? else { return Ok(false) };
    // Fewer than there were: somebody else has put them together since.
    let before = if packs < left { 0 } else { left };
    if packs < before + MANY {
        return Ok(false);
    }
    let mut right = match FileLock::try_acquire(&lock, &left.to_string()) {
        Ok(right) => right,
        Err(LockError::Held { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if !wants_maintenance(repo)? {
        // Asked again when there are as many more.
        right.sign_anew(&packs.to_string());
        return Ok(false);
    }
    repo.bare(["repack", "-q", "-d", "-l", "-n", "--geometric=2", "--no-write-bitmap-index"]).run()?;
    right.sign_anew(&count(&home)?.unwrap_or(0).to_string());
    Ok(true)
}

/// False where `gc.auto` is 0; what our own commands are told, who start none by themselves, does not count.
fn wants_maintenance(repo: &Repository) -> Result<bool> {
    let command = repo.bare(["config", "--show-scope", "--type=int", "--get-all", "gc.auto"]);
    let name = command.name();
    let output = command.output()?;
    match output.code() {
        0 => {}
        1 => return Ok(true),
        _ => return Err(output.into_error(name).into()),
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut set = text.lines().filter_map(|line| line.split_once('\t')).filter(|(scope, _)| *scope != "command");
    Ok(set.next_back().is_none_or(|(_, value)| value != "0"))
}

/// How many packs there are that nobody keeps; `None` where objects are promised, which not every git rolls up as it should.
fn count(home: &Path) -> Result<Option<usize>> {
    let fail = |error| fs::at("read", home)(error);
    let entries = std::fs::read_dir(home).map_err(fail)?.collect::<std::io::Result<Vec<_>>>();
    let names: Vec<_> = entries.map_err(fs::at("read", home))?.iter().map(std::fs::DirEntry::file_name).collect();
    let of_kind =
        |kind: &str| names.iter().filter(|name| Path::new(name).extension().is_some_and(|is| is == kind)).count();
    Ok((of_kind("promisor") == 0).then(|| of_kind("pack").saturating_sub(of_kind("keep"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::import::update_ref;
    use crate::worktree::merge::{Signature, commit_tree};
    use crate::worktree::quarantine::{Kept, Quarantine};

    /// A commit that comes in by a pack of its own; nobody lets it go yet.
    fn land(fixture: &Fixture, message: &str) -> Kept {
        let (repo, tip) = (&fixture.repo, fixture.tip("refs/heads/main"));
        let quarantine = Quarantine::create(repo, &tip).expect("made");
        let tree = quarantine.command(["rev-parse", &format!("{tip}^{{tree}}")]).object_id().expect("a tree");
        let made = commit_tree(&quarantine, &tree, &[&tip], message, &Signature::default()).expect("a commit");
        let kept = quarantine.migrate(std::slice::from_ref(&made), std::slice::from_ref(&tip)).expect("in");
        update_ref(repo, "refs/heads/main", Some(&made), Some(&tip), "landed").expect("moved");
        quarantine.discard().expect("gone");
        kept
    }

    fn packs(fixture: &Fixture) -> usize {
        count(&fixture.repo.common_dir.join("objects/pack")).expect("counted").expect("nothing is promised")
    }

    #[test]
    fn many_packs_become_few_and_one_that_is_held_stays() {
        let fixture = Fixture::new();
        let held = land(&fixture, "held");
        (1..MANY).for_each(|n| land(&fixture, &format!("{n}")).release().expect("let go"));
        assert!(!roll_up(&fixture.repo).expect("looked"), "{} are not many", packs(&fixture));
        land(&fixture, "one more").release().expect("let go");
        assert!(roll_up(&fixture.repo).expect("rolled up"));
        assert!(packs(&fixture) < 5, "{} are left", packs(&fixture));
        held.release().expect("it was still there");
        assert!(!roll_up(&fixture.repo).expect("looked"));
        fixture.git(&["fsck", "--full", "--strict"]);
        assert_eq!(fixture.git(&["rev-list", "--count", "main"]), (MANY + 2).to_string());
    }

    #[test]
    fn who_wants_no_maintenance_has_none() {
        let fixture = Fixture::new();
        fixture.git(&["config", "gc.auto", "0"]);
        (0..MANY).for_each(|n| land(&fixture, &format!("{n}")).release().expect("let go"));
        assert!(!roll_up(&fixture.repo).expect("looked"));
        assert_eq!(packs(&fixture), MANY);
    }
}
