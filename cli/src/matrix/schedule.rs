//! Which cells run at the same time: as many as fit into a budget of memory and processors.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What something takes, or may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) cpus: u32,
}

impl Share {
    /// Whether `other` fits into it.
    pub(crate) fn holds(self, other: Self) -> bool {
        other.memory <= self.memory && other.cpus <= self.cpus
    }
}

#[derive(Debug)]
struct State {
    free: Share,
    waiting: Vec<usize>,
}

/// Does `work` for each of `shares` by its number, those that fit into `budget` together at the same time. The first that
/// fits is the next. Nothing is begun any more once `stops` says so; those are `None`.
pub(crate) fn within<R: Send>(
    budget: Share,
    shares: &[Share],
    stops: impl Fn() -> bool + Sync,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<Option<R>> {
    let state = Mutex::new(State {
        free: budget,
        waiting: (0..shares.len()).collect(),
    });
    let freed = Condvar::new();
    let done: Vec<_> = shares.iter().map(|_| Mutex::new(None)).collect();
    let at_most = usize::try_from(budget.cpus)
        .unwrap_or(usize::MAX)
        .min(shares.len());
    let lock = || -> MutexGuard<'_, State> { state.lock().unwrap_or_else(PoisonError::into_inner) };
    let run = || {
        while let Some(number) = next(lock(), &freed, shares, &stops) {
            let result = work(number);
            if let (Some(place), Some(share)) = (done.get(number), shares.get(number)) {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                let mut state = lock();
                state.free.memory += share.memory;
                state.free.cpus += share.cpus;
            }
            freed.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_most {
            scope.spawn(run);
        }
    });
    let result =
        |place: Mutex<Option<R>>| place.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_iter().map(result).collect()
}

/// Takes the first that waits and fits, as soon as there is one; `None` if nothing is left to be begun.
fn next(
    mut state: MutexGuard<'_, State>,
    freed: &Condvar,
    shares: &[Share],
    stops: &impl Fn() -> bool,
) -> Option<usize> {
    loop {
        if state.waiting.is_empty() || stops() {
            return None;
        }
        let share = |number: usize| shares.get(number).copied();
        let fits = |number: &usize| share(*number).is_some_and(|it| state.free.holds(it));
        if let Some(at) = state.waiting.iter().position(fits) {
            let number = state.waiting.remove(at);
            let share = share(number)?;
            state.free.memory -= share.memory;
            state.free.cpus -= share.cpus;
            return Some(number);
        }
        state = freed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    fn share(memory: u64, cpus: u32) -> Share {
        Share { memory, cpus }
    }

    #[test]
    fn all_are_done_once_and_the_budget_is_kept_and_used() {
        let shares: Vec<_> = (0..40)
            .map(|n| share(1 + n % 4, 1 + n as u32 % 2))
            .collect();
        let (memory, cpus) = (AtomicU64::new(0), AtomicU32::new(0));
        let most = AtomicU32::new(0);
        let done = within(
            share(6, 4),
            &shares,
            || false,
            |number| {
                let it = shares[number];
                let held = memory.fetch_add(it.memory, Ordering::SeqCst) + it.memory;
                let busy = cpus.fetch_add(it.cpus, Ordering::SeqCst) + it.cpus;
                assert!(held <= 6 && busy <= 4, "{held} {busy}");
                most.fetch_max(busy, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                memory.fetch_sub(it.memory, Ordering::SeqCst);
                cpus.fetch_sub(it.cpus, Ordering::SeqCst);
                number
            },
        );
        let expected: Vec<_> = (0..40).map(Some).collect();
        assert_eq!(done, expected);
        assert!(most.into_inner() > 1, "nothing ran at the same time");
    }

    #[test]
    fn what_has_not_begun_when_it_stops_is_not_begun() {
        let begun = AtomicU32::new(0);
        let stops = || begun.load(Ordering::SeqCst) >= 3;
        let done = within(share(1, 1), &[share(1, 1); 9], stops, |_| {
            begun.fetch_add(1, Ordering::SeqCst)
        });
        assert_eq!(done.iter().flatten().count(), 3);
        assert!(done[3..].iter().all(Option::is_none));
    }
}
