//! Waiting a moment for a queue's next chain instead of for the driver's notification.
//!
//! A driver that spins until each of its chains is used (Linux's virtio-console does, for sixteen
//! bytes at a time) costs an exit, a wake-up and an interrupt for each of them. A device that stays
//! a moment at the queue finds the next chain without any of the three. What is found that way
//! keeps the moments long; what is not makes them shorter, down to none.

use std::thread;
use std::time::{Duration, Instant};

use crate::GuestRam;
use crate::virtio::queue::{QueueError, VirtQueue};

/// The longest wait for one chain.
const LONGEST: Duration = Duration::from_micros(50);
/// Below this there is no waiting at all.
const SHORTEST: Duration = Duration::from_micros(4);
/// What other devices of the loop may have to wait in all.
const TURN: Duration = Duration::from_millis(1);
/// Calls without a wait after which there is another trial.
const REST: u32 = 32;

/// How long it has paid to wait so far.
#[derive(Debug)]
pub(crate) struct Linger {
    patience: Duration,
    rested: u32,
    /// On one processor, the driver could not run meanwhile.
    alone: bool,
}

/// One stay at a queue.
#[derive(Debug)]
pub(crate) struct Stay {
    end: Instant,
}

impl Stay {
    /// Whether other devices have waited long enough.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

impl Linger {
    pub(crate) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            patience: LONGEST,
            rested: 0,
            alone: processors < 2,
        }
    }

    /// Begins a turn.
    pub(crate) fn begin(&mut self) -> Stay {
        if self.patience < SHORTEST {
            self.rested += 1;
            if self.rested >= REST {
                (self.rested, self.patience) = (0, LONGEST / 4);
            }
        }
        Stay {
            end: Instant::now() + TURN,
        }
    }

    /// Waits for the next chain of `queue` until the stay is over; whether there is one.
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub(crate) fn wait(
        &mut self,
        stay: &Stay,
        queue: &VirtQueue,
        mem: &GuestRam,
    ) -> Result<bool, QueueError> {
        if self.alone || self.patience < SHORTEST {
            return Ok(false);
        }
        let begin = Instant::now();
        let end = stay.end.min(begin + self.patience);
        while !queue.has_available(mem)? {
            if Instant::now() >= end {
                self.patience /= 2;
                return Ok(false);
            }
            std::hint::spin_loop();
        }
        self.patience = LONGEST;
        Ok(begin < stay.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::rng::Rng;
    use crate::virtio::testing::Driver;

    fn eager() -> Linger {
        Linger {
            alone: false,
            ..Linger::new()
        }
    }

    #[test]
    fn a_chain_that_comes_during_the_wait_is_found() {
        let mut driver = Driver::new(Rng);
        let (mem, mut linger) = (driver.mem.clone(), eager());
        let queue = driver.queues.remove(0);
        let other = thread::spawn(move || {
            let stay = linger.begin();
            // Longer than the other thread may need to be scheduled.
            (0..100_000).any(|_| {
                linger.patience = LONGEST;
                let stay = Stay {
                    end: stay.end + Duration::from_secs(60),
                };
                linger.wait(&stay, &queue, &mem).unwrap()
            })
        });
        driver.rings[0].add(&[], &[16]);
        assert!(other.join().unwrap());
    }

    #[test]
    fn vain_waits_become_shorter_and_end_and_are_tried_again() {
        let driver = Driver::new(Rng);
        let mut linger = eager();
        let mut waits = 0;
        for _ in 0..20 {
            let stay = linger.begin();
            waits += usize::from(linger.patience >= SHORTEST);
            assert!(!linger.wait(&stay, &driver.queues[0], &driver.mem).unwrap());
        }
        assert_eq!(waits, 4);
        for _ in 0..REST {
            linger.begin();
        }
        assert!(linger.patience >= SHORTEST);
    }

    #[test]
    fn on_one_processor_nobody_waits() {
        let mut driver = Driver::new(Rng);
        driver.rings[0].add(&[], &[16]);
        let mut linger = Linger {
            alone: true,
            ..Linger::new()
        };
        let stay = linger.begin();
        assert!(!linger.wait(&stay, &driver.queues[0], &driver.mem).unwrap());
    }
}
