//! Apply: what `clean` keeps of the clock from one call to the next, in the repository's state directory; and in the user's own
//! state, for what is deleted of repositories that are gone.
//!
//! Looking writes nothing. A file that cannot be read as an account counts as none: then something is deleted later, never earlier.

use std::path::{Path, PathBuf};

use super::clock_account::{self, Account};
use super::error::Result;
use crate::model::{Reading, Timestamp};
use crate::store::Store;
use crate::sys::{env, fs};
use crate::worktree::{Repository, WorktreeError};

/// What the clock says, and how far that is believed.
pub struct Believed {
    /// What it says.
    pub now: Timestamp,
    /// The latest moment that it is for sure.
    pub proven_now: Timestamp,
    account: Account,
}

/// Weighs a reading of the clock against the earlier ones.
pub fn look(repo: &Repository, store: &Store, now: &Reading) -> Result<Believed> {
    weighed(&file(repo), || Ok(store.newest_entry()?.map(|(_, at)| at)), now)
}

/// The same with what is kept for the user: nothing else vouches for the first reading of all.
pub fn look_of_user(now: &Reading) -> Result<Believed> {
    weighed(&file_of_user()?, || Ok(None), now)
}

fn weighed(path: &Path, newest: impl FnOnce() -> Result<Option<Timestamp>>, now: &Reading) -> Result<Believed> {
    let kept = if fs::exists(path)? { std::fs::read(path).map_err(fs::at("read", path))? } else { Vec::new() };
    let account = match serde_json::from_slice(&kept) {
        Ok(account) => account,
        Err(_) => Account::from_journal(newest()?),
    };
    let (proven_now, account) = clock_account::weigh(&account, now);
    Ok(Believed { now: now.wall, proven_now, account })
}

/// Keeps the reading for the next one.
pub fn keep(repo: &Repository, believed: &Believed) -> Result<()> {
    write(&file(repo), believed)
}

/// The same for the user.
pub fn keep_of_user(believed: &Believed) -> Result<()> {
    let file = file_of_user()?;
    file.parent().map_or(Ok(()), fs::create_private_dir_all)?;
    write(&file, believed)
}

fn write(file: &Path, believed: &Believed) -> Result<()> {
    Ok(fs::write_atomic(file, &serde_json::to_vec(&believed.account).unwrap_or_default())?)
}

fn file(repo: &Repository) -> PathBuf {
    repo.state_dir().join("clock.json")
}

fn file_of_user() -> Result<PathBuf> {
    let home = env::state_home().ok_or_else(WorktreeError::no_home)?;
    Ok(home.join("treehand/clock.json"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::cleanup::clean::cleaning_tests::policy;
    use crate::cleanup::clean::{self, CleanPolicy};
    use crate::cleanup::trash;
    use crate::store::EntryDraft;
    use crate::sys::clock;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::import::update_ref;

    const DAY: i64 = 86_400_000;

    #[test]
    fn what_only_one_reading_of_the_clock_calls_old_stays_with_the_reason() {
        let fixture = Fixture::new();
        let stamp = trash::stamp().expect("a stamp");
        let lying = fixture.repo.state_dir().join("trash").join(&stamp);
        std::fs::create_dir_all(&lying).expect("created");
        let saved = format!("refs/treehand/salvage/w/{stamp}/head");
        update_ref(&fixture.repo, &saved, Some(&fixture.tip("refs/heads/main")), None, "x").expect("made");
        fixture.store.note(&EntryDraft::new("test", json!({}))).expect("noted");
        let read = |days: i64| {
            let mut reading = clock::reading();
            reading.wall = Timestamp(reading.wall.0 + days * DAY);
            look(&fixture.repo, &fixture.store, &reading).expect("weighed")
        };
        let at = |clock: &Believed| CleanPolicy { now: clock.now, proven_now: clock.proven_now, ..policy(0) };
        let planned = |policy: &CleanPolicy| clean::plan(&fixture.repo, &fixture.store, policy).expect("planned");
        keep(&fixture.repo, &read(0)).expect("kept");
        let plan = planned(&at(&read(20)));
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
        for item in [&lying.display().to_string(), &saved] {
            let kept = plan.kept.iter().find(|kept| kept.item == *item).expect("it stays");
            assert!(kept.reason.starts_with("older than 14d by a clock that went ahead"), "{}", kept.reason);
        }
        std::fs::write(fixture.repo.state_dir().join("clock.json"), "no account").expect("written");
        assert!(planned(&at(&read(20))).actions.is_empty(), "the journal vouches for today");
        assert_eq!(planned(&CleanPolicy { retention: Duration::ZERO, ..at(&read(0)) }).actions.len(), 2);
    }
}
