//! The same for several at the same time, and the parting of what came of it.

use std::panic::resume_unwind;
use std::thread;

/// Does `work` for all of `items` at the same time, each on a thread of its own; the outcomes are in the items' order.
pub(crate) fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = items
            .iter()
            .map(|item| scope.spawn(move || work(item)))
            .collect();
        all.into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// What came of the outcomes, and the failures.
pub(crate) fn parted<T, E>(outcomes: impl IntoIterator<Item = Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(one) => done.push(one),
            Err(why) => failed.push(why),
        }
    }
    (done, failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_are_at_work_together_and_told_in_order() {
        let barrier = Barrier::new(3);
        let outcomes = at_once(&[1, 2, 3], |number| {
            // Nobody comes past who is alone.
            barrier.wait();
            if number % 2 == 1 {
                Ok(*number)
            } else {
                Err(*number)
            }
        });
        assert_eq!(parted(outcomes), (vec![1, 3], vec![2]));
    }
}
