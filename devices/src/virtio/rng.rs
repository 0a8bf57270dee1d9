//! The entropy device (VIRTIO 1.3 §5.4): fills the driver's buffers from the host's random number
//! generator.

use rustix::rand::{GetRandomFlags, getrandom};

use super::device::{ActiveIo, DeviceError, DeviceInfo, EventLoop, VirtioDevice};
use super::queue::Writer;

const DEVICE_ID: u32 = 4;
const QUEUE: u16 = 0;
const QUEUE_SIZE: u16 = 64;
/// The most bytes for one request: a driver cannot keep the event loop busy with large ones, and
/// takes a short answer (VIRTIO 1.3 §5.4.6.2).
const MAX_BYTES: usize = 4096;
/// Bytes of one system call; up to 256 are never cut short by a signal (getrandom(2)).
const CALL_BYTES: usize = 256;

/// An entropy device.
#[derive(Debug, Default)]
pub struct Rng;

impl VirtioDevice for Rng {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: 0,
            queue_sizes: vec![QUEUE_SIZE],
            runs_on: EventLoop::Shared,
        }
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, _index: u16) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(QUEUE)) else {
            return Ok(());
        };
        let mut answered = 0;
        while answered < QUEUE_SIZE {
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            fill(&mut chain.writer)?;
            queue.add_used(io.mem, chain.head, chain.writer.written())?;
            answered += 1;
        }
        if answered == QUEUE_SIZE {
            io.call_again(QUEUE);
        }
        if answered > 0 {
            io.notify_used(QUEUE)?;
        }
        Ok(())
    }
}

fn fill(writer: &mut Writer<'_>) -> Result<(), DeviceError> {
    let mut left = writer.available().min(MAX_BYTES);
    while left > 0 {
        let mut bytes = [0; CALL_BYTES];
        let n = left.min(CALL_BYTES);
        let part = bytes.get_mut(..n).unwrap_or_default();
        let got = getrandom(part, GetRandomFlags::empty()).map_err(|source| {
            let context = "read the host's random numbers".to_owned();
            DeviceError::Backend {
                context,
                source: source.into(),
            }
        })?;
        left -= writer.write(bytes.get(..got).unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::device::Again;
    use crate::virtio::testing::Driver;

    #[test]
    fn buffers_are_filled_with_what_does_not_repeat() {
        let mut driver = Driver::new(Rng);
        let first = driver.request(QUEUE, &[], &[64, 300]);
        let second = driver.request(QUEUE, &[], &[64, 300]);
        assert_eq!((first.len(), second.len()), (364, 364));
        assert_ne!(first, second);
        assert!(first.iter().filter(|&&byte| byte == 0).count() < 64);
        assert_eq!(driver.interrupts(QUEUE), 2);
    }

    #[test]
    fn a_huge_request_is_answered_in_part() {
        let mut driver = Driver::new(Rng);
        assert_eq!(driver.request(QUEUE, &[], &[1 << 20]).len(), MAX_BYTES);
    }

    #[test]
    fn a_request_without_room_is_given_back_empty() {
        let mut driver = Driver::new(Rng);
        assert!(driver.request(QUEUE, &[b"x"], &[]).is_empty());
    }

    #[test]
    fn a_full_queue_is_answered_but_lets_others_go_first() {
        let mut driver = Driver::new(Rng);
        for _ in 0..QUEUE_SIZE {
            driver.add(QUEUE, &[], &[1]);
        }
        let mut again = Again::default();
        driver.with_io(|device, io| {
            device.process_queue(io, QUEUE).unwrap();
            again = *io.again;
        });
        assert!(again.contains(QUEUE));
        driver.kick(QUEUE).unwrap();
        assert!(driver.again.is_empty());
        assert_eq!(std::iter::from_fn(|| driver.pop_used(QUEUE)).count(), 64);
    }
}
