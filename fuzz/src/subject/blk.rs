//! A disk.

use std::time::Duration;

use devices::backend::block::{BlkSpec, CacheMode, Disk, DiskFormat, IoMode};
use devices::virtio::blk::VirtioBlk;
use devices::virtio::testing::Driver;

use super::Subject;
use crate::ground::Folder;

/// The sectors of the disk.
const SECTORS: u64 = 128;

/// A raw disk of 64 KiB.
#[derive(Debug, Default)]
pub struct Storage {
    folder: Folder,
}

impl Subject for Storage {
    type Device = VirtioBlk;

    fn device(&mut self, choice: u8) -> VirtioBlk {
        let content: Vec<u8> = (0..SECTORS * 512).map(|at| (at >> 9) as u8).collect();
        let path = self.folder.file("disk", &content);
        let modes = [
            CacheMode::Writeback,
            CacheMode::Writethrough,
            CacheMode::Unsafe,
        ];
        let spec = BlkSpec {
            read_only: choice & 1 != 0,
            serial: (choice & 2 != 0).then(|| "serial".to_owned()),
            io: if choice & 4 == 0 {
                IoMode::Threads
            } else {
                IoMode::Uring
            },
            cache: modes[usize::from(choice >> 3) % modes.len()],
            ..BlkSpec::new(path)
        };
        let disk = Disk::open(&spec).expect("the disk");
        VirtioBlk::new(0, disk, u16::from(choice >> 5)).expect("descriptors")
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(2)
    }

    fn is_success(&self, _queue: u16, answer: &[u8]) -> bool {
        answer.last() == Some(&0)
    }

    fn check(&mut self) {
        let len = std::fs::metadata(self.folder.path().join("disk")).map(|it| it.len());
        assert_eq!(len.ok(), Some(SECTORS * 512), "the disk's size");
    }
}

/// A disk whose image a user got from somebody: a qcow2 file of any content.
#[derive(Debug)]
pub struct Image<'a> {
    folder: Folder,
    content: &'a [u8],
}

impl<'a> Image<'a> {
    /// A disk of this content.
    #[must_use]
    pub fn new(content: &'a [u8]) -> Self {
        Self {
            folder: Folder::new(),
            content,
        }
    }

    /// Opens the image and, if that can be done, reads and writes through it; whether it opened.
    #[must_use]
    pub fn run(&self) -> bool {
        let path = self.folder.file("image", self.content);
        let spec = BlkSpec {
            format: Some(DiskFormat::Qcow2),
            io: IoMode::Threads,
            ..BlkSpec::new(path)
        };
        let Ok(disk) = Disk::open(&spec) else {
            return false;
        };
        let last = disk.geometry.sectors.saturating_sub(1);
        let Ok(device) = VirtioBlk::new(0, disk, 1) else {
            return false;
        };
        let mut driver = Driver::new(device);
        for sector in [0, 1, last / 2, last] {
            for kind in [0_u32, 1, 11, 13, 4] {
                let mut request = kind.to_le_bytes().to_vec();
                request.extend([0; 4]);
                request.extend(sector.to_le_bytes());
                match kind {
                    0 => driver.add(0, &[&request], &[512, 1]),
                    1 => driver.add(0, &[&request, &[0x5a; 512]], &[1]),
                    4 => driver.add(0, &[&request], &[1]),
                    _ => {
                        let mut range = sector.to_le_bytes().to_vec();
                        range.extend([1, 0, 0, 0, 0, 0, 0, 0]);
                        driver.add(0, &[&request, &range], &[1])
                    }
                };
                let _ = driver.kick(0);
                let _ = driver.poll(Duration::from_millis(2));
                while driver.pop_used(0).is_some() {}
            }
        }
        driver.quiesce();
        true
    }
}
