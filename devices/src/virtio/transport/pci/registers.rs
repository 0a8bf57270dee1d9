//! The common configuration structure (VIRTIO 1.3 §4.1.4.3).
//!
//! Reads of any width are put together from 32-bit words; writes count only at a register's own
//! offset and width.

use super::VirtioPci;
use super::interrupt::NO_VECTOR;
use crate::virtio::core::Part;

/// Up to and including `queue_device`: what comes after belongs to features that are not offered.
pub(super) const COMMON_SIZE: u32 = 56;

fn halves(low: u16, high: u16) -> u32 {
    u32::from(low) | (u32::from(high) << 16)
}

impl VirtioPci {
    fn common_word(&mut self, index: u64) -> u32 {
        let core = &self.attached.core;
        let queue = core.queue();
        let part = |part: Part, high: bool| {
            let address = queue.map_or(0, |queue| queue.address(part));
            if high {
                (address >> 32) as u32
            } else {
                address as u32
            }
        };
        match index {
            0 => core.device_features_select(),
            1 => core.device_features_word(),
            2 => core.driver_features_select(),
            3 => core.driver_features_word(),
            4 => halves(self.interrupt.config_vector(), core.queue_count()),
            5 => {
                let (status, select) = (core.status(), core.queue_select());
                let generation = self.attached.config_generation();
                halves(u16::from_le_bytes([status, generation]), select)
            }
            6 => {
                let vector = queue.map_or(NO_VECTOR, |_| {
                    self.interrupt.queue_vector(core.queue_select())
                });
                halves(queue.map_or(0, |queue| queue.size), vector)
            }
            7 => {
                let enabled = queue.is_some_and(|queue| queue.enabled);
                let notify_offset = queue.map_or(0, |_| core.queue_select());
                halves(u16::from(enabled), notify_offset)
            }
            8 => part(Part::Desc, false),
            9 => part(Part::Desc, true),
            10 => part(Part::Avail, false),
            11 => part(Part::Avail, true),
            12 => part(Part::Used, false),
            13 => part(Part::Used, true),
            _ => 0,
        }
    }

    pub(super) fn read_common(&mut self, offset: u64, data: &mut [u8]) {
        let mut word = (u64::MAX, 0);
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            if at / 4 != word.0 {
                word = (at / 4, self.common_word(at / 4));
            }
            *byte = (word.1 >> (8 * (at % 4))) as u8;
        }
    }

    pub(super) fn write_common(&mut self, offset: u64, data: &[u8]) {
        match *data {
            [value] => self.write_common_8(offset, value),
            [a, b] => self.write_common_16(offset, u16::from_le_bytes([a, b])),
            [a, b, c, d] => self.write_common_32(offset, u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] if matches!(offset, 32 | 40 | 48) => {
                self.write_common_32(offset, u32::from_le_bytes([a, b, c, d]));
                self.write_common_32(offset + 4, u32::from_le_bytes([e, f, g, h]));
            }
            _ => {}
        }
    }

    fn write_common_8(&mut self, offset: u64, value: u8) {
        if offset != 20 {
            return;
        }
        if self.attached.write_status(value) {
            self.interrupt.reset();
        }
        self.sync_doorbells();
    }

    fn write_common_16(&mut self, offset: u64, value: u16) {
        let core = &mut self.attached.core;
        match offset {
            16 => self.interrupt.set_config_vector(value),
            22 => core.select_queue(value),
            24 => core.set_queue_size(value),
            26 => self.interrupt.set_queue_vector(core.queue_select(), value),
            28 => core.enable_queue(value),
            _ => {}
        }
    }

    fn write_common_32(&mut self, offset: u64, value: u32) {
        let core = &mut self.attached.core;
        match offset {
            0 => core.select_device_features(value),
            8 => core.select_driver_features(value),
            12 => core.write_driver_features(value),
            32 => core.set_queue_address(Part::Desc, false, value),
            36 => core.set_queue_address(Part::Desc, true, value),
            40 => core.set_queue_address(Part::Avail, false, value),
            44 => core.set_queue_address(Part::Avail, true, value),
            48 => core.set_queue_address(Part::Used, false, value),
            52 => core.set_queue_address(Part::Used, true, value),
            _ => {}
        }
    }
}
