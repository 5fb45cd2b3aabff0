//! Work on many items side by side, with results in the order of the items.
//!
//! Items are drawn and results are taken by the calling thread alone, in order: what is written does not depend on the number
//! of threads.

use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(200);

/// As many threads as this machine runs at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Takes items from `next` until there are none, works on them in `threads` threads, and gives the results to `take` in
/// order; `tick` is called while waiting. No more than one item beyond the number of threads is held at a time.
pub(crate) fn in_order<I: Send, O: Send>(
    threads: usize,
    mut next: impl FnMut() -> Result<Option<I>>,
    work: impl Fn(I) -> Result<O> + Sync,
    mut take: impl FnMut(O) -> Result<()>,
    tick: impl Fn(),
) -> Result<()> {
    let threads = threads.max(1);
    let (hand_out, handed) = mpsc::channel();
    let handed = Mutex::new(handed);
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..threads {
            let (send, work, handed) = (send.clone(), &work, &handed);
            scope.spawn(move || {
                // A poisoned lock means that another thread panicked, which the scope passes on.
                while let Some((place, item)) = handed.lock().ok().and_then(|items| items.recv().ok()) {
                    // Nobody receives after an error: then there is nothing left to do.
                    if send.send((place, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        // Moved in, so that the threads end with this closure, on an error too.
        let hand_out = hand_out;
        let mut waiting = BTreeMap::new();
        let (mut given, mut taken, mut more) = (0, 0, true);
        loop {
            while more && given - taken <= threads {
                // The threads receive as long as this closure runs, unless all of them panicked.
                more = next()?.is_some_and(|item| hand_out.send((given, item)).is_ok());
                given += usize::from(more);
            }
            if given == taken {
                return Ok(());
            }
            tick();
            match receive.recv_timeout(TICK) {
                Ok((place, made)) => {
                    waiting.insert(place, made?);
                }
                Err(RecvTimeoutError::Timeout) => continue,
                // All threads panicked; the scope passes that on.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Some(made) = waiting.remove(&taken) {
                take(made)?;
                taken += 1;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn numbers(count: usize) -> impl FnMut() -> Result<Option<usize>> {
        let mut numbers = 0..count;
        move || Ok(numbers.next())
    }

    #[test]
    fn results_come_in_order_at_any_number_of_threads() {
        for threads in [0, 1, 2, 7, 40] {
            let mut taken = Vec::new();
            let work = |n: usize| {
                // Early items take longer, so that later ones must wait.
                std::thread::sleep(Duration::from_millis(20 - n.min(20) as u64));
                Ok(n)
            };
            let take = |n| {
                taken.push(n);
                Ok(())
            };
            in_order(threads, numbers(30), work, take, || ()).unwrap();
            assert!(taken.into_iter().eq(0..30));
        }
    }

    #[test]
    fn few_items_are_held_at_a_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let held = AtomicUsize::new(0);
        let mut source = numbers(100);
        let next = || {
            let item = source()?;
            assert!(item.is_none() || held.fetch_add(1, Ordering::SeqCst) < 4);
            Ok(item)
        };
        let take = |_| {
            held.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        in_order(3, next, Ok, take, || ()).unwrap();
    }

    #[test]
    fn an_error_ends_all_threads_wherever_it_comes_from() {
        let wrong = || Error::Spec { key: "patients", what: "too many" };
        let failing = |n: usize| if n == 3 { Err(wrong()) } else { Ok(()) };
        assert!(in_order(2, numbers(1000), failing, |()| Ok(()), || ()).is_err());
        assert!(in_order(2, numbers(1000), Ok, |_| Err(wrong()), || ()).is_err());
        assert!(in_order(2, || Err::<Option<()>, _>(wrong()), Ok, |()| Ok(()), || ()).is_err());
    }
}
