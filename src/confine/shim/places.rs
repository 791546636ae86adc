//! The places that a child takes among all runs of the user: locks, each with the name of who holds it, that last as long as
//! this process or until the child is parked.
//!
//! Who waits for a person gives them to others, and goes on with the answer at once, whether one is free again or not: they are
//! taken anew as soon as each is. Where a lock cannot be given back it is kept, which holds others up but loses nothing.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::sys::lock;

/// How it is with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    Left,
    /// It is wanted again, and a thread waits for it.
    Awaited,
    /// A thread waits for it that was wanted again and is not any more.
    Unwanted,
}

#[derive(Debug)]
struct Place {
    file: File,
    holder: String,
    state: Mutex<State>,
}

/// The places of a child.
#[derive(Debug, Default)]
pub struct Places(Vec<Arc<Place>>);

impl Places {
    /// These, which are held.
    pub fn held(files: Vec<OwnedFd>) -> io::Result<Places> {
        let place = |fd| {
            let file = File::from(fd);
            Ok(Arc::new(Place { holder: lock::holder_of(&file)?, file, state: Mutex::new(State::Held) }))
        };
        files.into_iter().map(place).collect::<io::Result<_>>().map(Places)
    }

    /// Leaves them to others.
    pub fn leave(&self) {
        self.0.iter().for_each(|place| place.leave());
    }

    /// Takes them again, each as soon as it is free.
    pub fn come_back(&self) {
        for place in &self.0 {
            if place.begins_to_wait() {
                let waiting = Arc::clone(place);
                // A runtime would wait for it at its end.
                let begun = thread::Builder::new().stack_size(64 << 10).spawn(move || waiting.wait());
                if begun.is_err() {
                    *place.state() = State::Left;
                }
            }
        }
    }
}

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        let mut state = self.state();
        *state = match *state {
            State::Held if lock::give_back(&self.file).is_ok() => State::Left,
            State::Awaited => State::Unwanted,
            same => same,
        };
    }

    fn begins_to_wait(&self) -> bool {
        let mut state = self.state();
        let begins = *state == State::Left;
        if matches!(*state, State::Left | State::Unwanted) {
            *state = State::Awaited;
        }
        begins
    }

    fn wait(&self) {
        let taken = lock::take_again(&self.file, &self.holder);
        let mut state = self.state();
        let kept = taken.is_ok() && (*state == State::Awaited || lock::give_back(&self.file).is_err());
        *state = if kept { State::Held } else { State::Left };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::FileLock;
    use std::path::Path;

    fn taken(path: &Path) -> Places {
        let file = FileLock::try_hold(path, "run a").expect("tried").expect("free");
        Places::held(vec![file.into()]).expect("held")
    }

    fn until(holds: impl Fn() -> bool) {
        while !holds() {
            thread::yield_now();
        }
    }

    #[test]
    fn who_is_parked_leaves_its_place_and_has_it_again_when_it_is_free() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("0");
        let places = taken(&path);
        assert!(FileLock::try_hold(&path, "run b").expect("tried").is_none());
        places.leave();
        let other = FileLock::try_hold(&path, "run b").expect("tried").expect("it is free");
        places.come_back();
        places.come_back();
        assert_eq!(FileLock::signature(&path).as_deref(), Some("run b"));
        drop(other);
        until(|| *places.0[0].state() == State::Held);
        assert!(FileLock::is_held(&path).expect("looked"));
        assert_eq!(FileLock::signature(&path).as_deref(), Some("run a"));
    }

    #[test]
    fn who_asks_again_before_its_place_is_free_does_not_take_it() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("0");
        let places = taken(&path);
        places.leave();
        let other = FileLock::try_hold(&path, "run b").expect("tried").expect("it is free");
        places.come_back();
        places.leave();
        drop(other);
        until(|| *places.0[0].state() == State::Left);
        assert!(!FileLock::is_held(&path).expect("looked"));
        places.come_back();
        until(|| *places.0[0].state() == State::Held);
        drop(places);
        assert!(!FileLock::is_held(&path).expect("looked"));
    }
}
