//! Disks: `-drive` and `-blockdev`, and the virtio disks that use them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::keys::Keys;
use super::{Look, Translator};

/// What a disk image looks like whose format nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Image {
    /// No format that is known: raw.
    Raw,
    /// A qcow2 image by itself.
    Qcow2,
    /// A qcow2 image whose data, or some of it, is in another file.
    Qcow2WithOthers,
}

impl Image {
    /// The image in the file at `path`; one that cannot be read is told later.
    pub(crate) fn of(path: &Path) -> Self {
        let mut header = [0; 80];
        let read = File::open(path).and_then(|mut file| file.read(&mut header));
        Self::of_header(header.get(..read.unwrap_or(0)).unwrap_or_default())
    }

    /// The image that begins with `header` (qcow2 specification, "Header").
    fn of_header(header: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes: [u8; 8] = header.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        if !header.starts_with(b"QFI\xfb") {
            return Self::Raw;
        }
        let backing = number(8).unwrap_or(0);
        let version = number(4).map_or(0, |it| it >> 32);
        // Version 2 has no feature bits.
        let features = if version >= 3 {
            number(72).unwrap_or(0)
        } else {
            0
        };
        if backing != 0 || features & EXTERNAL_DATA != 0 {
            Self::Qcow2WithOthers
        } else {
            Self::Qcow2
        }
    }
}

/// The bit of the incompatible features that says that the data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

/// The disks that devices name.
#[derive(Debug, Default)]
pub(super) struct Storage {
    drives: Vec<Drive>,
    nodes: Vec<Node>,
}

/// What a device can use as its disk.
#[derive(Debug, Clone)]
struct Drive {
    id: String,
    /// The value of `--disk`.
    disk: String,
    row: usize,
    used: bool,
}

/// `-blockdev`.
#[derive(Debug)]
struct Node {
    name: String,
    /// The file, or the node that it is in.
    path: Result<String, String>,
    /// The format, if this is not the file itself.
    format: Option<&'static str>,
    /// Options of `--disk`.
    options: String,
    row: usize,
}

impl Translator {
    /// `-drive`.
    pub(super) fn drive(&mut self, row: usize, value: &str, look: Look<'_>) -> Result<(), String> {
        let mut keys = Keys::parse(value, "file")?;
        let file = keys.take("file").ok_or("it has no `file`")?;
        let format = match keys.take("format").as_deref() {
            Some("raw" | "host_device") => "raw",
            Some("qcow2") => "qcow2",
            Some(other) => return Err(format!("`format={other}` is neither raw nor qcow2")),
            None => guessed(&file, look)?,
        };
        let mut disk = format!("{},format={format}", file.replace(',', ",,"));
        let read_only = keys
            .take_switch("readonly")?
            .or(keys.take_switch("read-only")?);
        if read_only.unwrap_or(false) || keys.take("media").as_deref() == Some("cdrom") {
            disk.push_str(",ro");
        }
        if keys.take_switch("snapshot")?.unwrap_or(false) {
            return Err("`snapshot=on`: writes to a disk stay on it".to_owned());
        }
        if let Some(serial) = keys.take("serial") {
            disk.push_str(&format!(",serial={}", serial.replace(',', ",,")));
        }
        disk.push_str(cache(keys.take("cache").as_deref())?);
        disk.push_str(aio(keys.take("aio").as_deref())?);
        keys.drop_all(&[
            "werror",
            "rerror",
            "discard",
            "detect-zeroes",
            "index",
            "file.locking",
            "copy-on-read",
        ]);
        let id = keys.take("id").unwrap_or_else(|| format!("drive{row}"));
        let interface = keys.take("if");
        keys.end()?;
        match interface.as_deref() {
            None if self.board.microvm => self.virtio_drive(row, &disk),
            Some("virtio") => self.virtio_drive(row, &disk),
            Some("none") => self.storage.drives.push(Drive {
                id,
                disk,
                row,
                used: false,
            }),
            Some("pflash") => {
                return Err("there is no firmware: a kernel is booted directly".to_owned());
            }
            _ => return Err("there are only virtio disks (`if=virtio`)".to_owned()),
        }
        Ok(())
    }

    fn virtio_drive(&mut self, row: usize, disk: &str) {
        self.table.flag(row, "--disk", disk);
        self.table.note(row, "a disk");
    }

    /// `-blockdev`.
    pub(super) fn blockdev(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "driver")?;
        let name = keys.take("node-name").ok_or("it has no `node-name`")?;
        let format = match keys.take("driver").as_deref() {
            Some("raw") => Some("raw"),
            Some("qcow2") => Some("qcow2"),
            Some("file" | "host_device") => None,
            other => {
                return Err(format!(
                    "driver `{}` is none of raw, qcow2, file and host_device",
                    other.unwrap_or_default()
                ));
            }
        };
        let file = keys.take("filename").or_else(|| keys.take("file.filename"));
        let path = match (file, keys.take("file")) {
            (Some(file), None) => Ok(file),
            (None, Some(node)) => Err(node),
            _ => return Err("it has neither a file name nor a node".to_owned()),
        };
        let mut options = String::new();
        if keys.take_switch("read-only")?.unwrap_or(false) {
            options.push_str(",ro");
        }
        let fast = [
            keys.take_switch("cache.no-flush")?,
            keys.take_switch("file.cache.no-flush")?,
        ];
        if fast.contains(&Some(true)) {
            options.push_str(",cache=unsafe");
        }
        let how = keys.take("aio").or_else(|| keys.take("file.aio"));
        options.push_str(aio(how.as_deref())?);
        keys.drop_all(&[
            "file.driver",
            "cache.direct",
            "file.cache.direct",
            "discard",
            "detect-zeroes",
            "locking",
            "file.locking",
            "auto-read-only",
            "file.auto-read-only",
        ]);
        keys.end()?;
        self.storage.nodes.push(Node {
            name,
            path,
            format,
            options,
            row,
        });
        Ok(())
    }

    /// `-device virtio-blk-…`.
    pub(super) fn virtio_blk(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("drive").ok_or("it has no `drive`")?;
        let mut disk = self.drive_of(&id)?;
        if let Some(serial) = keys.take("serial") {
            disk.push_str(&format!(",serial={}", serial.replace(',', ",,")));
        }
        if let Some(queues) = keys.take("num-queues") {
            disk.push_str(&format!(",queues={queues}"));
        }
        if keys.take_switch("write-cache")? == Some(false) {
            disk.push_str(",cache=writethrough");
        }
        keys.drop_all(&[
            "queue-size",
            "discard",
            "write-zeroes",
            "config-wce",
            "share-rw",
            "werror",
            "rerror",
            "scsi",
        ]);
        self.table.flag(row, "--disk", &disk);
        self.table.note(row, "a disk");
        Ok(())
    }

    /// The disk that is called `id`; each can be used once.
    fn drive_of(&mut self, id: &str) -> Result<String, String> {
        if let Some(drive) = self.storage.drives.iter_mut().find(|drive| drive.id == id) {
            if std::mem::replace(&mut drive.used, true) {
                return Err(format!("disk `{id}` is used already"));
            }
            self.table.note(drive.row, "the disk of a device");
            return Ok(drive.disk.clone());
        }
        let (mut name, mut format, mut options) = (id.to_owned(), None, String::new());
        // Each step goes to another node: more than there are is a circle.
        for _ in 0..self.storage.nodes.len() {
            let Some(node) = self.storage.nodes.iter().find(|node| node.name == name) else {
                break;
            };
            self.table.note(node.row, "the disk of a device");
            format = format.or(node.format);
            options.push_str(&node.options);
            match &node.path {
                Ok(path) => {
                    let format = format.unwrap_or("raw");
                    return Ok(format!(
                        "{},format={format}{options}",
                        path.replace(',', ",,")
                    ));
                }
                Err(inner) => name.clone_from(inner),
            }
        }
        Err(format!(
            "there is no disk `{name}` (`-drive if=none,id=…`, `-blockdev`)"
        ))
    }

    /// Says which disks nobody uses.
    pub(super) fn finish_storage(&mut self) {
        let unused = self.storage.drives.iter().filter(|drive| !drive.used);
        for row in unused.map(|drive| drive.row) {
            self.table.note(row, "nothing: no device uses it");
        }
        for row in self.storage.nodes.iter().map(|node| node.row) {
            if self
                .table
                .rows
                .get(row)
                .is_some_and(|row| row.effect.is_empty())
            {
                self.table.note(row, "nothing: no device uses it");
            }
        }
    }
}

/// The format of an image for which nobody says it.
fn guessed(file: &str, look: Look<'_>) -> Result<&'static str, String> {
    match look(Path::new(file)) {
        Image::Raw => Ok("raw"),
        Image::Qcow2 => Ok("qcow2"),
        Image::Qcow2WithOthers => Err(
            "the image names other files of this machine: `format=qcow2` says that this is meant"
                .to_owned(),
        ),
    }
}

/// When a write is durable, as an option of `--disk`.
fn cache(mode: Option<&str>) -> Result<&'static str, String> {
    match mode {
        None | Some("writeback" | "none") => Ok(""),
        Some("writethrough" | "directsync") => Ok(",cache=writethrough"),
        Some("unsafe") => Ok(",cache=unsafe"),
        Some(other) => Err(format!("`cache={other}` is no mode of a cache")),
    }
}

/// Who carries the requests out, as an option of `--disk`.
fn aio(how: Option<&str>) -> Result<&'static str, String> {
    match how {
        None => Ok(""),
        Some("threads") => Ok(",io=threads"),
        Some("native" | "io_uring") => Ok(",io=uring"),
        Some(other) => Err(format!(
            "`aio={other}` is none of threads, native and io_uring"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_header() {
        let mut header = vec![0_u8; 80];
        assert_eq!(Image::of_header(&header), Image::Raw);
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        assert_eq!(Image::of_header(&header), Image::Qcow2);
        header[79] = 4;
        assert_eq!(Image::of_header(&header), Image::Qcow2WithOthers);
        // What would be feature bits is none in version 2.
        header[7] = 2;
        assert_eq!(Image::of_header(&header), Image::Qcow2);
        header[15] = 0x68;
        assert_eq!(Image::of_header(&header), Image::Qcow2WithOthers);
        assert_eq!(Image::of_header(b"QFI\xfb"), Image::Qcow2);
        assert_eq!(Image::of_header(b""), Image::Raw);
    }
}
