//! Several things at once, heard of in their order.
//!
//! Each is done by one of a few threads; who hears of them hears of the first as soon as it is done, whatever else is not.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

/// Does `work` for each job, at most so many at once and no more than the machine has processors, and calls `take` with the
/// answers in the order of the jobs. An error of `take` ends it: what is not begun by then is not done.
pub fn each<J: Sync, A: Send, E>(
    jobs: &[J],
    most: usize,
    work: impl Fn(&J) -> A + Sync,
    mut take: impl FnMut(usize, A) -> Result<(), E>,
) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(most).min(jobs.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    // Nobody listens any more when an answer could not be taken.
                    if sender.send((at, work(job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Dropped when it comes back, so that the threads end.
        in_order(jobs.len(), receiver, &mut take)
    })
}

fn in_order<A, E>(
    count: usize,
    receiver: Receiver<(usize, A)>,
    take: &mut impl FnMut(usize, A) -> Result<(), E>,
) -> Result<(), E> {
    let mut waiting: Vec<Option<A>> = (0..count).map(|_| None).collect();
    let mut next = 0;
    for (at, answer) in receiver {
        waiting[at] = Some(answer);
        while let Some(answer) = waiting.get_mut(next).and_then(Option::take) {
            take(next, answer)?;
            next += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_an_error_ends_it() {
        let jobs: Vec<usize> = (0..100).collect();
        let mut taken = Vec::new();
        let all = each(
            &jobs,
            4,
            |job| job * 2,
            |at, answer| -> Result<(), ()> {
                taken.push((at, answer));
                Ok(())
            },
        );
        assert_eq!((all, taken), (Ok(()), jobs.iter().map(|job| (*job, job * 2)).collect::<Vec<_>>()));
        assert_eq!(each(&jobs, 4, |job| *job, |at, _| if at == 3 { Err("stop") } else { Ok(()) }), Err("stop"));
        assert_eq!(each(&[] as &[usize], 4, |job| *job, |_, _| Err("never")), Ok(()));
    }
}
