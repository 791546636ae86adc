//! Scan: whether work that a target has taken was taken back there since.
//!
//! By what `git revert` writes into its messages: a commit names the one that it reverts, and may be reverted itself. A change
//! that somebody takes back by hand, without saying so, looks like any other. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Result;
use super::repository::Repository;
use crate::model::CommitId;

/// What `git revert` says before the commit that it reverts.
const SAYS: &str = "This reverts commit ";

/// A commit that takes others back.
type Revert = (CommitId, Vec<CommitId>);

/// The commits that brought the history of a tip into a target: merges, and what they merged; where the target was only moved
/// forward, what the tip has beyond its base.
pub fn brought(repo: &Repository, tip: &CommitId, target: &CommitId, base: Option<&CommitId>) -> Result<Vec<CommitId>> {
    let range = format!("{tip}..{target}");
    let text = repo.bare(["rev-list", "--parents", "--ancestry-path", &range, "--"]).text()?;
    let line = |line: &str| -> Vec<CommitId> { line.split(' ').filter_map(|id| CommitId::parse(id).ok()).collect() };
    let path: Vec<Vec<CommitId>> = text.lines().map(line).collect();
    let above: BTreeSet<&CommitId> = path.iter().filter_map(|ids| ids.first()).chain([tip]).collect();
    let (mut found, mut from) = (vec![tip.clone()], base.cloned());
    for ids in path.iter().rev() {
        let [commit, first, _, ..] = &ids[..] else { continue };
        // The line that this goes on did not have it before.
        if !above.contains(first) {
            found.push(commit.clone());
            from = from.or_else(|| Some(first.clone()));
        }
    }
    if let Some(from) = from {
        let text = repo.bare(["rev-list", &format!("{from}..{tip}"), "--"]).text()?;
        found.extend(text.lines().filter_map(|id| CommitId::parse(id).ok()));
    }
    Ok(found)
}

/// The commit between `since` and a target that takes some of this work back and is in effect still. Which commits the work
/// is, is only asked where anything was reverted.
pub fn taken_back(
    repo: &Repository,
    (since, target): (&CommitId, &CommitId),
    work: impl FnOnce() -> Result<Vec<CommitId>>,
) -> Result<Option<CommitId>> {
    match &reverts(repo, &format!("{since}..{target}"))?[..] {
        [] => Ok(None),
        reverts => Ok(in_effect(&work()?, reverts)),
    }
}

/// Every commit that something in a target's history says it reverts, wherever that is and whether it is in effect or not.
pub fn ever_reverted(repo: &Repository, target: &CommitId) -> Result<Vec<CommitId>> {
    Ok(reverts(repo, target.as_str())?.into_iter().flat_map(|(_, commits)| commits).collect())
}

/// Every commit of a range that says that it reverts others, the newest first.
fn reverts(repo: &Repository, range: &str) -> Result<Vec<Revert>> {
    let grep = format!("--grep={SAYS}");
    let args = ["rev-list", "--topo-order", "--no-commit-header", "--format=%H%n%B%x00", "--fixed-strings"];
    let text = repo.bare(args).args([grep.as_str(), range, "--"]).run()?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let revert = |entry: &str| {
        let (id, message) = entry.trim_start().split_once('\n')?;
        Some((CommitId::parse(id).ok()?, named(message)))
    };
    Ok(text.split('\0').filter_map(revert).collect())
}

/// The commits that a message says are reverted.
fn named(message: &str) -> Vec<CommitId> {
    let id = |rest: &str| {
        let end = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
        CommitId::parse(&rest[..end]).ok()
    };
    message.split(SAYS).skip(1).filter_map(id).collect()
}

/// Who takes one of these back; a revert that was reverted itself takes nothing back.
fn in_effect(work: &[CommitId], reverts: &[Revert]) -> Option<CommitId> {
    let mut taken: BTreeMap<&CommitId, &CommitId> = BTreeMap::new();
    for (by, commits) in reverts {
        if !taken.contains_key(by) {
            taken.extend(commits.iter().map(|commit| (commit, by)));
        }
    }
    work.iter().find_map(|commit| taken.get(commit)).map(|by| (*by).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    fn id(letter: char) -> CommitId {
        CommitId::parse(&letter.to_string().repeat(40)).expect("an id")
    }

    #[test]
    fn a_revert_of_a_revert_takes_nothing_back() {
        // Who reverts whom, the newest first.
        let table = [
            ("", None),
            ("ba", Some('b')),
            ("cb ba", None),
            ("dc cb ba", Some('b')),
            ("ea cb ba", Some('e')),
            ("bf", None),
        ];
        for (reverts, expected) in table {
            let revert = |pair: &str| {
                let mut ids = pair.chars().map(id);
                (ids.next().expect("who"), ids.collect())
            };
            let reverts: Vec<Revert> = reverts.split_terminator(' ').map(revert).collect();
            assert_eq!(in_effect(&[id('a')], &reverts), expected.map(id), "{reverts:?}");
        }
    }

    #[test]
    fn what_a_message_names() {
        let one = id('a');
        assert_eq!(named(&format!("Revert \"x\"\n\nThis reverts commit {one}.\n")), std::slice::from_ref(&one));
        let merge = format!("This reverts commit {one}, reversing\nchanges made to {}.", id('b'));
        assert_eq!(named(&merge), [one]);
        assert_eq!(named("This reverts commit abc.\nThis reverts commit"), []);
    }

    #[test]
    fn a_merge_and_what_it_merged_brought_a_tip_and_so_did_moving_forward() {
        let fixture = Fixture::new();
        let base = fixture.tip("refs/heads/main");
        for branch in ["merged", "forward"] {
            fixture.git(&["branch", branch]);
        }
        fixture.commit_on("forward", &[("forward", "f")]);
        fixture.commit_on("merged", &[("one", "1"), ("two", "2")]);
        fixture.git(&["merge", "-q", "--ff-only", "forward"]);
        fixture.git(&["merge", "-q", "--no-ff", "-m", "merge", "merged"]);
        fixture.commit("later", "l");
        let main = fixture.tip("refs/heads/main");
        let parsed = |text: &str| CommitId::parse(text.trim()).expect("an id");
        let look = |branch: &str, base: Option<&CommitId>| {
            let tip = fixture.tip(&format!("refs/heads/{branch}"));
            let found = brought(&fixture.repo, &tip, &main, base).expect("readable");
            found.into_iter().collect::<BTreeSet<_>>()
        };
        let commits = |names: &[&str]| {
            names.iter().map(|name| parsed(&fixture.git(&["rev-parse", name]))).collect::<BTreeSet<_>>()
        };
        assert_eq!(look("merged", None), commits(&["main~1", "merged", "merged~1"]));
        assert_eq!(look("forward", Some(&base)), commits(&["forward"]));
        assert_eq!(look("forward", None), commits(&["forward"]));
    }
}
