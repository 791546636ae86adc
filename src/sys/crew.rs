//! Work that makes more work (a directory, then those in it), done by this thread and, where there is enough of it, by helpers.
//!
//! Newest first, so that little waits at any time. The first error ends all of it and is what the caller gets; a panic goes on
//! to the caller, too. Nobody outlives the call.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};

/// Most threads at this: beyond it a disk is what everybody waits for.
const MOST: usize = 8;

/// So much has to wait before a helper pays.
const WORTH_A_HELPER: usize = 8;

/// Does a piece of work and all that comes of it: `act` puts what is left to do into its second argument.
pub fn through<T: Send, E: Send>(first: T, act: impl Fn(T, &mut Vec<T>) -> Result<(), E> + Sync) -> Result<(), E> {
    let most = available_parallelism().map_or(1, usize::from).min(MOST);
    let crew =
        Crew { state: Mutex::new(State { waiting: vec![first], busy: 0, failed: None }), changed: Condvar::new() };
    thread::scope(|scope| {
        let mut helpers = 0;
        crew.work(&act, |waiting| {
            if waiting >= WORTH_A_HELPER && helpers + 1 < most {
                helpers += 1;
                scope.spawn(|| crew.work(&act, |_| ()));
            }
        });
    });
    let state = crew.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(()), Err)
}

/// So many of a list make one part, where each processor has one.
pub fn part_of(length: usize) -> usize {
    length.div_ceil(available_parallelism().map_or(1, usize::from).min(MOST)).max(1)
}

/// Works on the parts of a list at once; what came of them, in their order. A panic goes on to the caller.
pub fn each<P: Send, R: Send>(parts: impl Iterator<Item = P>, work: impl Fn(P) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let begun: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let ended = begun.into_iter().map(|part| part.join());
        ended.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

struct State<T, E> {
    waiting: Vec<T>,
    busy: usize,
    failed: Option<E>,
}

struct Crew<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

impl<T, E> Crew<T, E> {
    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        // What a panic left is whole: nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece; `None` once all is done, or nothing more is to be.
    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(piece) = state.waiting.pop() {
                state.busy += 1;
                return Some(piece);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, act: &impl Fn(T, &mut Vec<T>) -> Result<(), E>, mut seen: impl FnMut(usize)) {
        while let Some(piece) = self.next() {
            let mut turn = Turn { crew: self, more: Vec::new(), failed: None };
            turn.failed = act(piece, &mut turn.more).err();
            drop(turn);
            seen(self.state().waiting.len());
        }
    }
}

/// One piece in somebody's hands. However that ends, the others do not wait for it.
struct Turn<'a, T, E> {
    crew: &'a Crew<T, E>,
    more: Vec<T>,
    failed: Option<E>,
}

impl<T, E> Drop for Turn<'_, T, E> {
    fn drop(&mut self) {
        let mut state = self.crew.state();
        state.busy -= 1;
        state.waiting.append(&mut self.more);
        if self.failed.is_some() && state.failed.is_none() {
            state.failed = self.failed.take();
        }
        if state.failed.is_some() || thread::panicking() {
            state.waiting.clear();
        }
        self.crew.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn parts_come_back_in_their_order() {
        let all: Vec<usize> = (0..100).collect();
        let parts = each(all.chunks(part_of(all.len())), <[usize]>::to_vec);
        assert_eq!((parts.concat(), parts.len() <= MOST), (all, true));
        assert_eq!(each([0_u8; 0].chunks(part_of(0)), <[u8]>::len), [] as [usize; 0]);
    }

    #[test]
    fn everything_that_comes_of_it_is_done_once() {
        let done = AtomicUsize::new(0);
        let split = |left: usize, more: &mut Vec<usize>| {
            done.fetch_add(1, Ordering::Relaxed);
            more.extend((0..left.min(20)).map(|_| left / 20));
            Ok::<_, ()>(())
        };
        assert_eq!(through(400, split), Ok(()));
        assert_eq!(done.into_inner(), 1 + 20 + 400 + 400);
    }

    #[test]
    fn the_first_error_ends_it() {
        let count = |left: usize, more: &mut Vec<usize>| {
            let Some(fewer) = left.checked_sub(1) else { return Err("none left") };
            more.extend((0..30).map(|_| fewer));
            Ok(())
        };
        assert_eq!(through(100, count), Err("none left"));
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let split = |left: usize, more: &mut Vec<usize>| {
            more.extend((0..left.min(20)).map(|_| left / 20));
            assert!(left > 0, "on purpose");
            Ok::<_, ()>(())
        };
        assert!(std::panic::catch_unwind(|| through(400, split)).is_err());
    }
}
