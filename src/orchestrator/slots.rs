//! Places that all runs of a user share: a file for each, held by a kernel lock for as long as what takes the place lives, whether
//! its supervisor does or not.
//!
//! Who wants one and gets none is on record beside them, with a lock of its own, so that `shares` can be fair to it; what a dead
//! process left is no claim. Looking is done by one at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RunError;
use super::shares::{Claim, may_take};
use super::sockets;
use crate::model::{RunId, Timestamp};
use crate::sys::lock::FileLock;
use crate::sys::watch::{self, Events, Watcher};
use crate::sys::{clock, fs};

/// The places of one kind.
#[derive(Clone, Debug)]
pub struct Pool {
    directory: PathBuf,
    size: u64,
}

/// A queue for a place of a kind, among the tasks of one run.
pub type Queue = Arc<tokio::sync::Mutex<()>>;

/// A place that is taken.
pub type Place = Arc<File>;

/// How it is about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many places are taken.
    pub taken: usize,
    /// How many other runs wait for one.
    pub waiting: usize,
}

/// One who waits for a place; dropping it withdraws the claim.
#[derive(Debug)]
pub struct Waiter {
    pool: Pool,
    run: RunId,
    since: Timestamp,
    claim: Option<(PathBuf, FileLock)>,
    /// `None` where none is to be had: then it looks each second.
    watch: Option<(Watcher, Events)>,
}

impl Pool {
    /// The pool of this name with so many places: `machine`, or that of a profile.
    pub fn open(name: &str, size: u64) -> Result<Pool, RunError> {
        let directory = sockets::state()?.join("slots").join(name);
        fs::create_private_dir_all(&directory.join("waiting"))?;
        Ok(Pool { directory, size })
    }

    /// Begins to wait for a place. Needs a runtime that is entered.
    pub fn wait(&self, run: &RunId) -> Result<Waiter, RunError> {
        let waiting = self.directory.join("waiting");
        let watch = || {
            let (watcher, events) = watch::begin()?;
            let _for_as_long_as_the_watcher = [watcher.add(&self.directory)?, watcher.add(&waiting)?];
            Ok::<_, std::io::Error>((watcher, events))
        };
        let watch = watch().inspect_err(|error| tracing::warn!(%error, "places are looked for each second")).ok();
        Ok(Waiter { pool: self.clone(), run: run.clone(), since: clock::now(), claim: None, watch })
    }

    /// The places by number, each with the run that has it.
    fn places(&self) -> Result<Vec<(PathBuf, Option<String>)>, RunError> {
        let place = |n| self.directory.join(format!("{n}"));
        (0..self.size)
            .map(place)
            .map(|path| {
                let taken = FileLock::is_held(&path)?;
                let by = taken.then(|| FileLock::signature(&path).unwrap_or_default());
                Ok((path, by))
            })
            .collect()
    }

    /// The claims of runs that still wait; those of the dead are removed.
    fn claims(&self, held: impl Fn(&str) -> usize) -> Result<Vec<Claim>, RunError> {
        let waiting = self.directory.join("waiting");
        let entries = std::fs::read_dir(&waiting).map_err(fs::at("read", &waiting))?;
        let mut claims = Vec::new();
        for entry in entries {
            let path = entry.map_err(fs::at("read", &waiting))?.path();
            if !FileLock::is_held(&path)? {
                fs::remove_file(&path)?;
                continue;
            }
            let run = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let since = FileLock::signature(&path).and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
            claims.push(Claim { held: held(&run), since: Timestamp(since), run });
        }
        Ok(claims)
    }
}

impl Waiter {
    /// Takes a place if one is for this run, else says how it is and leaves a claim.
    pub fn try_take(&mut self) -> Result<Result<Place, Crowd>, RunError> {
        let _turn = FileLock::acquire(&self.pool.directory.with_extension("turn"), "looking for a place")?;
        let places = self.pool.places()?;
        let held = |run: &str| places.iter().filter(|(_, by)| by.as_deref() == Some(run)).count();
        let own = self.run.as_str();
        let mut others = self.pool.claims(held)?;
        others.retain(|claim| claim.run != own);
        let mine = Claim { held: held(own), since: self.since, run: own.to_owned() };
        let free: Vec<&Path> = places.iter().filter(|(_, by)| by.is_none()).map(|(path, _)| path.as_path()).collect();
        if may_take(&mine, &others, free.len()) {
            for path in &free {
                if let Some(file) = FileLock::try_hold(path, own)? {
                    self.withdraw();
                    return Ok(Ok(Arc::new(file)));
                }
            }
        }
        self.claim()?;
        Ok(Err(Crowd { taken: places.len() - free.len(), waiting: others.len() }))
    }

    /// Waits until it may be otherwise.
    pub async fn changed(&mut self) -> Result<(), RunError> {
        match &mut self.watch {
            Some((_, events)) => events.next().await.map(drop).map_err(RunError::io("cannot watch for places")),
            None => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                Ok(())
            }
        }
    }

    fn claim(&mut self) -> Result<(), RunError> {
        if self.claim.is_none() {
            let path = self.pool.directory.join("waiting").join(self.run.as_str());
            let lock = FileLock::try_acquire(&path, &self.since.0.to_string())?;
            self.claim = Some((path, lock));
        }
        Ok(())
    }

    fn withdraw(&mut self) {
        if let Some((path, lock)) = self.claim.take() {
            // Removed while it is held: a later claim of the run is a file of its own.
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(%error, "a claim to a place is left to the next who looks");
            }
            drop(lock);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> RunId {
        RunId::parse(name).expect("a run id")
    }

    fn pool(dir: &Path, size: u64) -> Pool {
        fs::create_private_dir_all(&dir.join("machine/waiting")).expect("made");
        Pool { directory: dir.join("machine"), size }
    }

    #[tokio::test]
    async fn places_go_round_among_runs_and_a_claim_of_the_dead_holds_up_nobody() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let pool = pool(dir.path(), 2);
        let (first, second) = (run("0000000001"), run("0000000002"));
        let take = |waiter: &mut Waiter| waiter.try_take().expect("looked");
        let mut greedy = pool.wait(&first).expect("waits");
        let one = take(&mut greedy).expect("a place");
        let two = take(&mut greedy).expect("a place");
        let crowd = Crowd { taken: 2, waiting: 0 };
        assert_eq!(take(&mut greedy).expect_err("none is left"), crowd);
        let mut modest = pool.wait(&second).expect("waits");
        assert_eq!(take(&mut modest).expect_err("none is left"), Crowd { waiting: 1, ..crowd });
        std::fs::write(pool.directory.join("waiting/0000000000"), "0").expect("left by a dead process");
        let freed = async {
            drop(one);
            modest.changed().await.expect("it is told");
        };
        freed.await;
        assert!(take(&mut greedy).is_err(), "it has one, and the other has none");
        let three = take(&mut modest).expect("it has fewest");
        drop(two);
        let four = take(&mut greedy).expect("it has fewest now");
        assert!(take(&mut modest).is_err());
        drop((three, four, greedy, modest));
        let waiting = std::fs::read_dir(pool.directory.join("waiting")).expect("read");
        assert_eq!(waiting.count(), 0, "no claim is left");
    }

    #[tokio::test]
    async fn a_place_is_held_for_as_long_as_anybody_holds_it_open() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let pool = pool(dir.path(), 1);
        let mut waiter = pool.wait(&run("0000000001")).expect("waits");
        let place = waiter.try_take().expect("looked").expect("a place");
        let of_the_shim = place.try_clone().expect("another descriptor");
        drop(place);
        assert!(waiter.try_take().expect("looked").is_err(), "its supervisor is gone, and it goes on");
        drop(of_the_shim);
        assert!(waiter.try_take().expect("looked").is_ok());
    }
}
