//! The console device (VIRTIO 1.3 §5.3) with one port, which Linux calls hvc0.
//!
//! Output is copied into the console's ring, so the transmit queue never waits for anybody. Runs on
//! the io loop.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde::{Deserialize, Serialize};

use super::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Interest, Token,
    VirtioDevice,
};
use super::linger::Linger;
use super::queue::{Reader, Writer};
use crate::backend::console::ConsoleHandle;
use crate::persist::{Payload, PersistError};

const DEVICE_ID: u32 = 3;

// Virtqueues of port 0 (VIRTIO 1.3 §5.3.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const QUEUE_SIZE: u16 = 64;

// Feature bits (VIRTIO 1.3 §5.3.3).
const F_SIZE: u64 = 1 << 0;
const F_EMERG_WRITE: u64 = 1 << 2;

/// Offset of `emerg_wr` in the configuration (VIRTIO 1.3 §5.3.4).
const EMERG_WR: u64 = 8;

const WAKE: Token = Token(0);
const NOTICE: Token = Token(1);
/// Linux spins until each of its chains is used, and so has no use for the interrupt that tells of it.
/// What the driver has seen by itself when it is looked at again, a moment or so many chains later,
/// needs none.
const NOTICE_AFTER: Duration = Duration::from_millis(2);
const NOTICE_CHAINS: usize = 16;
/// What is moved before other devices of the loop have their turn.
const TURN: usize = 256 * 1024;
/// What a chain counts for at least, lest a flood of empty ones never end a turn.
const CHAIN_COST: usize = 64;
const COPY: usize = 4096;
const STATE_KIND: &str = "virtio-console";

/// A virtio console.
#[derive(Debug)]
pub struct VirtioConsole {
    console: ConsoleHandle,
    size: Option<(u16, u16)>,
    /// Signalled when input arrives and when a turn ended early.
    wake: Arc<OwnedFd>,
    /// Bytes of the first available transmit chain that are sent already.
    sent: usize,
    linger: Linger,
    /// Used transmit chains that the driver was not told of yet.
    untold: usize,
    /// Fires when it is to be told of them.
    notice: OwnedFd,
}

impl VirtioConsole {
    /// A device whose only port is `console`.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(console: ConsoleHandle) -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let wake = Arc::new(eventfd(0, flags)?);
        let input = Arc::clone(&wake);
        console.set_input_waker(Box::new(move || signal(&input)));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            untold: 0,
            notice: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            console,
            size: None,
            wake,
            sent: 0,
            linger: Linger::new(),
        })
    }

    /// Tells the driver the size of the terminal.
    #[must_use]
    pub fn with_size(mut self, columns: u16, rows: u16) -> Self {
        self.size = Some((columns, rows));
        self
    }

    /// Passes what clients typed to the driver.
    fn receive(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(RECEIVE)) else {
            return Ok(());
        };
        let (mut left, mut answered) = (TURN, false);
        while queue.ready() && self.console.has_input() {
            if left == 0 {
                signal(&self.wake);
                break;
            }
            let Some(mut chain) = queue.pop(io.mem)? else {
                // Input waits for buffers: the driver must tell of new ones.
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            fill(&self.console, &mut chain.writer);
            let written = chain.writer.written();
            queue.add_used(io.mem, chain.head, written)?;
            answered = true;
            left = left.saturating_sub((written as usize).max(CHAIN_COST));
        }
        if !self.console.has_input() {
            queue.disable_notification(io.mem)?;
        }
        if answered {
            io.notify_used(RECEIVE)?;
        }
        Ok(())
    }

    /// Sends what the driver has to say.
    fn transmit(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(TRANSMIT)) else {
            return Ok(());
        };
        let (mut left, mut answered) = (TURN, false);
        let before = self.untold;
        let stay = self.linger.begin();
        loop {
            let Some(mut chain) = queue.pop(io.mem)? else {
                if answered && self.linger.wait(&stay, queue, io.mem)? {
                    continue;
                }
                if answered && stay.is_over() {
                    signal(&self.wake);
                    break;
                }
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            chain.reader.advance(self.sent);
            let sent = drain(&self.console, &mut chain.reader, left);
            left = left.saturating_sub(sent.max(CHAIN_COST));
            if chain.reader.available() == 0 {
                self.sent = 0;
                queue.add_used(io.mem, chain.head, 0)?;
                self.untold += 1;
                if !answered {
                    // The next chains are looked for here, for a while.
                    queue.disable_notification(io.mem)?;
                    answered = true;
                }
            } else {
                self.sent += sent;
                queue.unpop();
            }
            if left == 0 {
                signal(&self.wake);
                break;
            }
        }
        if self.untold >= NOTICE_CHAINS {
            self.tell(io)?;
        } else if before == 0 && answered {
            self.set_notice(NOTICE_AFTER);
        }
        Ok(())
    }

    /// Tells the driver of used transmit chains, if it has not seen them.
    fn tell(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.untold = 0;
        io.notify_used(TRANSMIT)
    }

    fn set_notice(&self, after: Duration) {
        let setting = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        // Cannot fail: the descriptor and the time are valid.
        let _ = timerfd_settime(&self.notice, TimerfdTimerFlags::empty(), &setting);
    }
}

fn signal(wake: &OwnedFd) {
    // A counter that is full wakes as well.
    let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
}

fn fill(console: &ConsoleHandle, writer: &mut Writer<'_>) {
    let mut data = [0; COPY];
    loop {
        let room = writer.available().min(COPY);
        let n = console.read(&mut data[..room]);
        if n == 0 {
            return;
        }
        writer.write(&data[..n]);
    }
}

fn drain(console: &ConsoleHandle, reader: &mut Reader<'_>, limit: usize) -> usize {
    let mut data = [0; COPY];
    let mut done = 0;
    while done < limit {
        let n = reader.read(&mut data[..COPY.min(limit - done)]);
        if n == 0 {
            break;
        }
        console.write(&data[..n]);
        done += n;
    }
    done
}

/// The configuration (VIRTIO 1.3 §5.3.4): columns, rows, number of ports, emergency write.
#[derive(Debug)]
struct ConsoleConfig {
    fields: ConstConfig,
    console: ConsoleHandle,
}

impl ConfigSpace for ConsoleConfig {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.fields.read(offset, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let (EMERG_WR, Some(&byte)) = (offset, data.first()) {
            self.console.write(&[byte]);
        }
    }
}

impl VirtioDevice for VirtioConsole {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: F_EMERG_WRITE | self.size.map_or(0, |_| F_SIZE),
            queue_sizes: vec![QUEUE_SIZE; 2],
            runs_on: EventLoop::Shared,
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        let (columns, rows) = self.size.unwrap_or_default();
        let mut fields = Vec::with_capacity(12);
        fields.extend(columns.to_le_bytes());
        fields.extend(rows.to_le_bytes());
        fields.extend(1u32.to_le_bytes());
        fields.extend(0u32.to_le_bytes());
        Arc::new(ConsoleConfig {
            fields: ConstConfig(fields),
            console: self.console.clone(),
        })
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let wake = io.events.add(self.wake.as_raw_fd(), WAKE, Interest::Read);
        let mut notice = || {
            let fd = self.notice.as_raw_fd();
            io.events.add(fd, NOTICE, Interest::Read)
        };
        wake.and_then(|()| notice())
            .map_err(|source| DeviceError::Backend {
                context: format!("watch console {}", self.console.name()),
                source,
            })
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        match index {
            RECEIVE => self.receive(io),
            _ => self.transmit(io),
        }
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        let mut count = [0; 8];
        if token == NOTICE {
            let _ = rustix::io::read(&self.notice, &mut count);
            return self.tell(io);
        }
        // An empty counter is a spurious call; the queues say what there is to do.
        let _ = rustix::io::read(&self.wake, &mut count);
        self.receive(io)?;
        self.transmit(io)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if self.tell(io).is_err() {
            log::debug!("console {}: its ring is gone", self.console.name());
        }
        self.set_notice(Duration::ZERO);
        for fd in [self.wake.as_ref(), &self.notice] {
            if let Err(error) = io.events.remove(fd.as_raw_fd()) {
                log::debug!("console {}: was not watched: {error}", self.console.name());
            }
        }
    }

    fn reset(&mut self) {
        self.sent = 0;
        self.untold = 0;
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let state = VirtioConsoleStateV1 { sent: self.sent };
        Payload::pack(STATE_KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: VirtioConsoleStateV1 = state.unpack(STATE_KIND, 1)?;
        self.sent = state.sent;
        Ok(())
    }
}

/// Version 1 of a virtio console's saved state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VirtioConsoleStateV1 {
    sent: usize,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::console::{Console, ConsolePump, ConsoleSpec};
    use crate::virtio::testing::{DESC_F_NEXT, Driver};

    const SOON: Duration = Duration::from_secs(10);

    fn driver() -> (Driver<VirtioConsole>, ConsoleHandle, ConsolePump) {
        let (console, pump) = Console::open("hvc0", &ConsoleSpec::None).unwrap();
        let device = VirtioConsole::new(console.clone()).unwrap();
        (Driver::new(device), console, pump)
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 / 3) as u8).collect()
    }

    #[test]
    fn output_goes_to_the_console() {
        let (mut driver, console, _pump) = driver();
        assert!(
            driver
                .request(TRANSMIT, &[b"hello ", b"world"], &[])
                .is_empty()
        );
        assert_eq!(console.tail(99), b"hello world");
        driver.poll(SOON).unwrap();
        assert_eq!(driver.interrupts(TRANSMIT), 0, "for what the driver saw");
    }

    #[test]
    fn one_notification_answers_a_batch() {
        let (mut driver, console, _pump) = driver();
        for _ in 0..10 {
            driver.add(TRANSMIT, &[b"x"], &[]);
        }
        driver.kick(TRANSMIT).unwrap();
        assert_eq!(console.tail(99), b"xxxxxxxxxx");
        driver.poll(SOON).unwrap();
        assert_eq!(driver.interrupts(TRANSMIT), 1);
    }

    #[test]
    fn a_driver_that_waits_for_room_is_told_soon_and_one_that_looks_is_not() {
        let (mut driver, _console, _pump) = driver();
        for _ in 0..NOTICE_CHAINS {
            driver.add(TRANSMIT, &[b"x"], &[]);
        }
        driver.kick(TRANSMIT).unwrap();
        assert_eq!(driver.interrupts(TRANSMIT), 1);
        while driver.pop_used(TRANSMIT).is_some() {}
        for _ in 1..NOTICE_CHAINS {
            // The driver sees it at once, and says so.
            driver.request(TRANSMIT, &[b"x"], &[]);
        }
        assert_eq!(driver.poll(SOON).unwrap(), 1);
        assert_eq!(driver.interrupts(TRANSMIT), 1);
        // A pause keeps nothing back.
        driver.add(TRANSMIT, &[b"x"], &[]);
        driver.kick(TRANSMIT).unwrap();
        driver.quiesce();
        assert_eq!(driver.interrupts(TRANSMIT), 2);
        assert!(driver.events.watched().is_empty());
    }

    #[test]
    fn input_fills_the_drivers_buffers() {
        let (mut driver, console, _pump) = driver();
        for _ in 0..3 {
            driver.add(RECEIVE, &[], &[4, 4]);
        }
        driver.kick(RECEIVE).unwrap();
        assert!(driver.pop_used(RECEIVE).is_none());
        console.put_input(b"0123456789");
        assert_eq!(driver.poll(SOON).unwrap(), 1);
        assert_eq!(driver.pop_used(RECEIVE).unwrap().data, b"01234567");
        assert_eq!(driver.pop_used(RECEIVE).unwrap().data, b"89");
        assert!(driver.pop_used(RECEIVE).is_none());
        assert_eq!(driver.interrupts(RECEIVE), 1);
    }

    #[test]
    fn input_waits_for_buffers() {
        let (mut driver, console, _pump) = driver();
        console.put_input(b"early");
        driver.poll(SOON).unwrap();
        driver.add(RECEIVE, &[], &[64]);
        driver.kick(RECEIVE).unwrap();
        assert_eq!(driver.pop_used(RECEIVE).unwrap().data, b"early");
    }

    #[test]
    fn a_large_output_leaves_the_loop_between_turns_and_arrives_whole() {
        let (mut driver, console, _pump) = driver();
        let text = bytes(TURN * 2 + 100);
        let head = driver.add(TRANSMIT, &[&text[..9], &text[9..]], &[]);
        driver.kick(TRANSMIT).unwrap();
        assert_eq!(console.output_len(), TURN as u64);
        assert!(driver.pop_used(TRANSMIT).is_none());
        while driver
            .pop_used(TRANSMIT)
            .is_none_or(|used| used.head != head)
        {
            assert_eq!(driver.poll(SOON).unwrap(), 1);
        }
        assert!(console.tail(text.len() + 1) == text);
    }

    #[test]
    fn a_half_sent_chain_survives_a_snapshot() {
        let (mut driver, console, _pump) = driver();
        let text = bytes(TURN + 5);
        driver.add(TRANSMIT, &[&text], &[]);
        driver.kick(TRANSMIT).unwrap();
        driver.quiesce();
        assert!(driver.events.watched().is_empty());
        let saved = driver.device.save().unwrap().unwrap();
        driver.device.reset();
        driver.device.restore(saved).unwrap();
        driver.activate().unwrap();
        driver.kick(TRANSMIT).unwrap();
        assert!(driver.pop_used(TRANSMIT).is_some());
        assert!(console.tail(text.len() + 1) == text);
    }

    #[test]
    fn state_of_another_kind_is_refused() {
        let (mut driver, _console, _pump) = driver();
        let other = Payload::pack("virtio-rng", 1, &0).unwrap();
        assert!(driver.device.restore(other).is_err());
    }

    #[test]
    fn buffers_of_the_wrong_direction_are_given_back_untouched() {
        let (mut driver, console, _pump) = driver();
        console.put_input(b"in");
        driver.add(RECEIVE, &[b"readable"], &[]);
        driver.add(RECEIVE, &[], &[8]);
        driver.kick(RECEIVE).unwrap();
        assert_eq!(driver.pop_used(RECEIVE).unwrap().len, 0);
        assert_eq!(driver.pop_used(RECEIVE).unwrap().data, b"in");
        assert!(driver.request(TRANSMIT, &[], &[8]).is_empty());
        assert_eq!(console.output_len(), 0);
    }

    #[test]
    fn a_looping_chain_ends_the_device_and_not_the_loop() {
        let (mut driver, _console, _pump) = driver();
        let address = driver.rings[1].alloc(16);
        driver.rings[1].set_descriptor(0, address, 16, DESC_F_NEXT, 0);
        driver.rings[1].push(0);
        assert!(driver.kick(TRANSMIT).is_err());
    }

    #[test]
    fn a_buffer_outside_ram_ends_the_device() {
        let (mut driver, console, _pump) = driver();
        let end = driver.ram_size();
        driver.rings[1].set_descriptor(0, end - 8, 16, 0, 0);
        driver.rings[1].push(0);
        assert!(driver.kick(TRANSMIT).is_err());
        assert_eq!(console.output_len(), 0);
    }

    #[test]
    fn the_configuration_tells_the_size_and_takes_emergency_writes() {
        let (console, _pump) = Console::open("hvc0", &ConsoleSpec::None).unwrap();
        let device = VirtioConsole::new(console.clone()).unwrap();
        assert_eq!(device.info().features & F_SIZE, 0);
        let device = device.with_size(132, 43);
        assert_eq!(device.info().features & F_SIZE, F_SIZE);
        let config = device.config();
        let mut data = [0xff; 16];
        config.read(0, &mut data);
        assert_eq!(data, [132, 0, 43, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        config.write(EMERG_WR, &[b'!', 0, 0, 0]);
        config.write(0, &[9, 9]);
        config.write(EMERG_WR, &[]);
        assert_eq!(console.tail(9), b"!");
    }
}
