//! Apply: refs that `clean` takes, many in one step: one look at the worktrees, one entry in the journal, one transaction.
//!
//! Each is looked at once more and skipped by itself where it is not as expected; what git does not let go stays and is named.

use std::collections::BTreeMap;

use crate::cleanup::batch::{Batch, Takeaway};
use crate::cleanup::done::Done;
use crate::cleanup::doomed::DoomedRef;
use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::worktree::checkouts::{self, Checkout};
use crate::worktree::{Repository, import_submodules};

/// Most refs that go in one step: what a crash in the middle of it leaves is put back at once.
pub(super) const AT_ONCE: usize = 200;

/// Takes these away; how each came out, in their order.
pub(super) fn take(
    repo: &Repository,
    batch: &mut Batch<'_>,
    doomed: &[&DoomedRef],
    summary: &str,
) -> Result<Vec<Done>> {
    let in_use = in_use(repo)?;
    let reader = repo.reader();
    let mut skipped: BTreeMap<&str, String> = BTreeMap::new();
    for one in doomed {
        if reader.ref_commit(&one.name)?.as_ref() != Some(&one.commit) {
            skipped.insert(&one.name, "it is elsewhere now".into());
        } else if let Some(place) = in_use.get(&one.name) {
            skipped.insert(&one.name, format!("it is in use in {place}"));
        }
    }
    let refs: Vec<DoomedRef> =
        doomed.iter().filter(|one| !skipped.contains_key(one.name.as_str())).map(|one| (*one).clone()).collect();
    let kept = match refs.is_empty() {
        true => Vec::new(),
        false => batch.take_away(&Takeaway { refs: refs.clone(), ..Takeaway::default() }, summary)?,
    };
    let why = |name: &str| kept.iter().find(|kept| kept.name == name).map(|kept| kept.why.clone());
    let gone: Vec<&DoomedRef> = refs.iter().filter(|one| why(&one.name).is_none()).collect();
    reclaim_submodules(repo, &gone)?;
    let done = |one: &&DoomedRef| {
        let why = skipped.get(one.name.as_str()).cloned().or_else(|| why(&one.name));
        why.map_or_else(Done::plain, Done::Skipped)
    };
    Ok(doomed.iter().map(done).collect())
}

/// The branches that a worktree has checked out, or will move, and which.
pub(super) fn in_use(repo: &Repository) -> Result<BTreeMap<String, String>> {
    let all = checkouts::scan(repo)?;
    let place = |checkout: &Checkout| checkout.tree.as_ref().unwrap_or(&checkout.git_dir).display().to_string();
    let first = |(name, numbers): (String, Vec<usize>)| {
        let user = all.get(*numbers.first()?)?;
        Some((format!("refs/heads/{name}"), place(user)))
    };
    Ok(checkouts::users(&all).into_iter().filter_map(first).collect())
}

/// Lets go what stood for these branches in submodules, as far as they have any.
fn reclaim_submodules(repo: &Repository, gone: &[&DoomedRef]) -> Result<()> {
    let branches: Vec<&&DoomedRef> = gone.iter().filter(|one| one.name.starts_with("refs/heads/")).collect();
    if branches.is_empty() {
        return Ok(());
    }
    let input: String = branches.iter().map(|one| format!("{}:.gitmodules\n", one.commit)).collect();
    let check = repo.bare(["cat-file", "--batch-check=%(objectname)"]).env("GIT_NO_REPLACE_OBJECTS", "1");
    let text = check.stdin(input).text()?;
    for (one, line) in branches.iter().zip(text.lines()) {
        // Of those without, the answer is the question and `missing`.
        if CommitId::parse(line).is_ok() {
            import_submodules::reclaim(repo, &one.name, &one.commit)?;
        }
    }
    Ok(())
}
