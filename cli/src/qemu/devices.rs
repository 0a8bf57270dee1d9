//! `-device`: which of our devices it is.

use super::Translator;
use super::keys::Keys;

/// Keys of any device that change nothing here.
const HARMLESS: &[&str] = &[
    "id",
    "bus",
    "addr",
    "romfile",
    "rombar",
    "vectors",
    "disable-legacy",
    "disable-modern",
    "multifunction",
    "bootindex",
    "iommu_platform",
    "ats",
    "packed",
    "page-per-vq",
    "event_idx",
    "indirect_desc",
    "any_layout",
    "notify_on_empty",
    "acpi-index",
    "max-ports",
    "iothread",
    "use-disabled-flag",
];
/// How the names of virtio devices end: by the transport that they are for.
const TRANSPORTS: &[&str] = &[
    "-pci-non-transitional",
    "-pci-transitional",
    "-pci",
    "-device",
];

/// What is no device of ours, and why the guest is as well without it.
const NEEDLESS: &[(&str, &str)] = &[
    ("virtio-serial", "the virtio console is a device of its own"),
    ("i8042", "the keyboard controller is there"),
    (
        "pvpanic",
        "the machine has one, and the console tells of a panic too",
    ),
    (
        "pvpanic-pci",
        "the machine has one, and the console tells of a panic too",
    ),
    (
        "vmcoreinfo",
        "the guest's crash kernel writes its dump itself",
    ),
    ("vmgenid", "the machine has one"),
    ("pcie-root-port", "all devices are on the first bus"),
    ("pci-bridge", "all devices are on the first bus"),
    ("pcie-pci-bridge", "all devices are on the first bus"),
    ("virtio-iommu", "devices reach guest memory directly"),
    ("VGA", "there is no screen"),
    ("virtio-gpu", "there is no screen"),
    ("virtio-vga", "there is no screen"),
    ("bochs-display", "there is no screen"),
    ("ramfb", "there is no screen"),
    ("virtio-keyboard", "there is no screen to type at"),
    ("virtio-mouse", "there is no screen"),
    ("virtio-tablet", "there is no screen"),
    ("usb-kbd", "there is no screen to type at"),
    ("usb-mouse", "there is no screen"),
    ("usb-tablet", "there is no screen"),
    ("qemu-xhci", "there is no USB"),
    ("nec-usb-xhci", "there is no USB"),
    ("usb-ehci", "there is no USB"),
    ("piix3-usb-uhci", "there is no USB"),
    ("intel-hda", "there is no sound"),
    ("hda-duplex", "there is no sound"),
    ("hda-output", "there is no sound"),
    ("AC97", "there is no sound"),
];

impl Translator {
    /// `-device`.
    pub(super) fn device(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "driver")?;
        let driver = keys.take("driver").unwrap_or_default();
        let ending = TRANSPORTS.iter().find(|ending| driver.ends_with(**ending));
        let kind = ending.and_then(|ending| driver.strip_suffix(ending));
        let kind = kind.unwrap_or(&driver);
        self.board.has_pci_device |= driver.contains("-pci");
        let needless = NEEDLESS
            .iter()
            .find(|(name, _)| *name == kind || *name == driver);
        if let Some((_, why)) = needless {
            return self.nothing(row, why);
        }
        match kind {
            "virtio-net" => self.virtio_net(row, &mut keys)?,
            "virtio-blk" => self.virtio_blk(row, &mut keys)?,
            "virtio-9p" => self.virtio_9p(row, &mut keys)?,
            "vhost-user-fs" => self.vhost_user_fs(row, &mut keys)?,
            "virtconsole" => self.virtconsole(row, &mut keys)?,
            "isa-serial" => self.isa_serial(row, &mut keys)?,
            "virtio-rng" => {
                keys.drop_all(&["rng", "max-bytes", "period"]);
                self.table.set(row, "--rng", "true");
                self.table.note(row, "the entropy device");
            }
            "virtio-balloon" => {
                keys.drop_all(&[
                    "deflate-on-oom",
                    "free-page-reporting",
                    "guest-stats-polling-interval",
                ]);
                self.table.set(row, "--balloon", "0");
                self.table.note(row, "the memory balloon");
            }
            "vhost-vsock" => {
                let cid = keys.take("guest-cid").ok_or("it has no `guest-cid`")?;
                self.table.set(row, "--vsock", &format!("cid={cid},vhost"));
                self.table
                    .note(row, "the socket device, by the kernel's vhost-vsock");
            }
            _ => return Err(format!("there is no device `{driver}`")),
        }
        keys.drop_all(HARMLESS);
        keys.end()
    }

    fn isa_serial(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("chardev").ok_or("it has no `chardev`")?;
        keys.drop_all(&["iobase", "irq", "index"]);
        let place = self.place_of(&id, "the serial port")?;
        self.serial_at(row, &place)
    }
}
