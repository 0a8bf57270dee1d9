//! The machine itself: board, processor, memory, kernel, name and what the firmware would tell.

use vmm::config::value::MemorySize;
use vmm::config::{MAX_CPUS, is_name};

use super::Translator;
use super::keys::Keys;

/// QEMU's memory for a machine that is told none (`-m`).
const MEMORY: &str = "128M";
/// Keys of `-machine` that change nothing here.
const HARMLESS: &[&str] = &[
    "mem-merge",
    "pic",
    "pit",
    "rtc",
    "usb",
    "isa-serial",
    "x-option-roms",
    "auto-kernel-cmdline",
    "memory-backend",
    "dump-guest-core",
    "kernel-irqchip",
    "kernel_irqchip",
    "vmport",
    "smm",
    "hpet",
    "sata",
    "graphics",
    "smbus",
    "i8042",
    "suppress-vmdesc",
    "ioapic2",
    "max-fw-size",
    "hmat",
    "default-bus-bypass-iommu",
];

/// What is known of the board.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) microvm: bool,
    pcie: bool,
    no_acpi: bool,
    /// A device is for PCI by its name.
    pub(super) has_pci_device: bool,
    accelerators: Vec<(usize, String)>,
    no_reboot: bool,
    pub(super) no_defaults: bool,
    pub(super) no_graphic: bool,
}

impl Translator {
    /// Translates an option that concerns the machine as a whole.
    pub(super) fn board_option(
        &mut self,
        row: usize,
        name: &str,
        value: &str,
    ) -> Result<(), String> {
        match name {
            "accel" => self.accelerator(row, value),
            "enable-kvm" => self.accelerator(row, "kvm"),
            "cpu" => self.cpu(row, value),
            "m" => self.memory(row, value),
            "smp" => self.smp(row, value),
            "kernel" => self.say(row, "--kernel", value, "the kernel"),
            "initrd" => self.say(row, "--initrd", value, "the initial RAM disk"),
            "append" => self.say(row, "--cmdline", value, "the kernel's command line"),
            "name" => self.name(row, value),
            "pidfile" => self.say(row, "--pid-file", value, "the process's number"),
            "uuid" => self.say(row, "--uuid", value, "the machine's UUID"),
            "smbios" => self.smbios(row, value),
            "fw_cfg" => self.fw_cfg(row, value),
            "sandbox" => self.sandbox(row, value),
            "action" => self.action(row, value),
            "object" => self.object(row, value),
            "balloon" => self.old_balloon(row, value),
            "display" => self.display(row, value),
            "parallel" => match value {
                "none" | "null" => self.nothing(row, "there is no parallel port"),
                _ => Err("there is no parallel port".to_owned()),
            },
            "numa" => self.nothing(row, "guest memory is one node"),
            "no-reboot" => {
                self.board.no_reboot = true;
                self.nothing(row, "a reboot ends the VM in any case")
            }
            "nodefaults" => {
                self.board.no_defaults = true;
                self.nothing(row, "there are no devices but those that are asked for")
            }
            "nographic" => {
                self.board.no_graphic = true;
                self.nothing(row, "there is no screen")
            }
            other => Err(format!("`-{other}` is not translated")),
        }
    }

    /// What an option says by one flag.
    fn say(&mut self, row: usize, flag: &str, value: &str, effect: &str) -> Result<(), String> {
        self.table.set(row, flag, value);
        self.table.note(row, effect);
        Ok(())
    }

    /// What an option says that is so anyway.
    pub(super) fn nothing(&mut self, row: usize, why: &str) -> Result<(), String> {
        self.table.note(row, format!("nothing: {why}"));
        Ok(())
    }

    /// `-machine`.
    pub(super) fn machine(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "type")?;
        if let Some(kind) = keys.take("type") {
            let old = kind.starts_with("pc-") || kind.starts_with("pc_");
            match kind.as_str() {
                "microvm" => self.board.microvm = true,
                "q35" | "pc" => {}
                _ if old => {}
                _ => return Err(format!("`{kind}` is none of microvm, q35 and pc")),
            }
            self.table.note(row, "the machine of `docs/qemu-compat.md`");
        } else {
            self.table.note(row, "nothing: the machine is the same");
        }
        if let Some(names) = keys.take("accel") {
            self.accelerator(row, &names)?;
        }
        self.board.pcie |= keys.take_switch("pcie")?.unwrap_or(false);
        self.board.no_acpi |= keys.take("acpi").is_some_and(|word| word == "off");
        keys.drop_all(HARMLESS);
        keys.end()
    }

    fn accelerator(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "accel")?;
        self.board
            .accelerators
            .push((row, keys.take("accel").unwrap_or_default()));
        self.table.note(row, "KVM");
        Ok(())
    }

    fn cpu(&mut self, row: usize, _: &str) -> Result<(), String> {
        self.table.note(
            row,
            "the host's processor, as KVM offers it; no model and no single feature is chosen",
        );
        Ok(())
    }

    fn memory(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "size")?;
        let size = keys.take("size").unwrap_or_else(|| MEMORY.to_owned());
        let bytes: MemorySize = size
            .parse()
            .map_err(|_| format!("`{size}` is no size such as 512 or 4G"))?;
        let text = match bytes.0 {
            bytes if bytes % (1 << 20) == 0 => format!("{}M", bytes >> 20),
            bytes => format!("{bytes}B"),
        };
        self.table.set(row, "--memory", &text);
        self.table.note(row, "guest memory");
        keys.drop_all(&["slots", "maxmem"]);
        keys.end()
    }

    fn smp(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "cpus")?;
        let mut number = |key: &str| {
            let text = keys.take(key);
            let read = |text: String| {
                text.parse::<u32>()
                    .map_err(|_| format!("`{key}={text}` is no number"))
            };
            text.map(read).transpose()
        };
        let cpus = number("cpus")?;
        number("maxcpus")?;
        let mut product = 1_u32;
        for key in [
            "drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads",
        ] {
            product = product.saturating_mul(number(key)?.unwrap_or(1));
        }
        keys.end()?;
        let cpus = match cpus.unwrap_or(product) {
            0 => return Err("a machine has at least one vCPU".to_owned()),
            many if many > MAX_CPUS.into() => {
                let warning = format!(
                    "the machine has {MAX_CPUS} vCPUs, the most there are, where {many} were asked for"
                );
                self.warnings.push(warning);
                MAX_CPUS.into()
            }
            cpus => cpus,
        };
        self.table.set(row, "--cpus", &cpus.to_string());
        self.table.note(row, "vCPUs, each a core of its own");
        Ok(())
    }

    fn name(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "guest")?;
        if let Some(name) = keys.take("guest") {
            match usable(&name) {
                Some(usable) => {
                    self.table.set(row, "--name", &usable);
                    self.table.note(row, "the VM's name");
                }
                None => self.table.note(row, "nothing: it is no name"),
            }
        }
        if let Some(process) = keys.take("process") {
            if !is_name(&process) {
                return Err(format!("`{process}` cannot be a process's name"));
            }
            self.table.set(row, "--process-name", &process);
            self.table.note(row, "the process's name");
        }
        keys.drop_all(&["debug-threads"]);
        keys.end()
    }

    fn smbios(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "")?;
        match keys.take("type").as_deref() {
            Some("1") => {
                if let Some(uuid) = keys.take("uuid") {
                    self.table.set(row, "--uuid", &uuid);
                    self.table.note(row, "the machine's UUID");
                }
            }
            Some("11") => {
                for text in keys.take_all("value") {
                    let credential = text.strip_prefix("io.systemd.credential:");
                    let credential = credential.ok_or("only systemd's credentials are taken")?;
                    self.credential(row, credential)?;
                }
            }
            Some("0" | "2" | "3" | "4" | "17") => {
                return self.nothing(row, "the tables tell of the UUID and credentials alone");
            }
            _ => return Err("only types 1 and 11 are taken".to_owned()),
        }
        keys.end()
    }

    fn fw_cfg(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "name")?;
        let name = keys.take("name").unwrap_or_default();
        let name = name.strip_prefix("opt/io.systemd.credentials/");
        let name =
            name.ok_or("only systemd's credentials are taken (`opt/io.systemd.credentials/…`)")?;
        let credential = match (keys.take("string"), keys.take("file")) {
            (Some(text), None) => format!("{name}={text}"),
            (None, Some(file)) => {
                self.table
                    .flag(row, "--credential", &format!("{name}=@{file}"));
                self.table.note(row, "a credential");
                return keys.end();
            }
            _ => return Err("it has neither `string` nor `file`".to_owned()),
        };
        self.credential(row, &credential)?;
        keys.end()
    }

    fn credential(&mut self, row: usize, text: &str) -> Result<(), String> {
        if text
            .split_once('=')
            .is_some_and(|(_, value)| value.starts_with('@'))
        {
            return Err(
                "a credential that begins with `@` is given by `-fw_cfg …,file=`".to_owned(),
            );
        }
        self.table.flag(row, "--credential", text);
        self.table.note(row, "a credential");
        Ok(())
    }

    fn sandbox(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "enable")?;
        match keys.take_switch("enable")? {
            Some(false) => self.say(row, "--sandbox", "off", "there is no sandbox"),
            _ => self.say(
                row,
                "--sandbox",
                "on",
                "our own sandbox, stricter than QEMU's",
            ),
        }
    }

    fn action(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "")?;
        if keys.take("shutdown").is_some_and(|to| to != "poweroff") {
            return Err("the process ends with its guest".to_owned());
        }
        self.board.no_reboot |= keys.take("reboot").is_some_and(|to| to == "shutdown");
        keys.drop_all(&["panic", "watchdog"]);
        self.table
            .note(row, "nothing: power-off and reboot end the VM in any case");
        keys.end()
    }

    fn object(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "qom-type")?;
        let kind = keys.take("qom-type").unwrap_or_default();
        match kind.as_str() {
            "memory-backend-memfd" | "memory-backend-ram" | "memory-backend-file" => {
                self.nothing(row, "guest memory is shared where a device needs it")
            }
            "rng-random" | "rng-builtin" => self.nothing(row, "random numbers are the host's"),
            "iothread" => self.nothing(row, "each disk has a thread of its own"),
            _ => Err(format!("`{kind}` cannot be had")),
        }
    }

    fn old_balloon(&mut self, row: usize, value: &str) -> Result<(), String> {
        match value.split(',').next() {
            Some("virtio") => self.say(row, "--balloon", "0", "the memory balloon"),
            Some("none") => self.nothing(row, "there is no balloon unless one is asked for"),
            _ => Err("it is neither virtio nor none".to_owned()),
        }
    }

    fn display(&mut self, row: usize, value: &str) -> Result<(), String> {
        match value.split(',').next() {
            Some("none" | "egl-headless") => self.nothing(row, "there is no screen"),
            _ => Err("there is no screen: `-display none` or `-nographic`".to_owned()),
        }
    }

    /// Says what follows for the machine from what is absent.
    pub(super) fn finish_board(&mut self) {
        if !self.table.says("--kernel") {
            let row = self.table.add("(no -kernel)");
            self.table.refuse(
                row,
                "there is no firmware: a kernel is booted directly, with `-kernel FILE`",
            );
        }
        let wanted = &self.board.accelerators;
        let has_kvm = wanted
            .iter()
            .any(|(_, names)| names.split(':').any(|name| name == "kvm"));
        if let Some((row, names)) = wanted.first().filter(|_| !has_kvm) {
            let why = format!("`{names}` is not KVM, the only accelerator that there is");
            self.table.refuse(*row, why);
        }
        for (flag, value, effect) in [
            ("--cmdline", "", "the kernel's command line is empty"),
            ("--memory", MEMORY, "guest memory, as QEMU's"),
            ("--cpus", "1", "one vCPU"),
        ] {
            if !self.table.says(flag) {
                let option = match flag {
                    "--cmdline" => "(no -append)",
                    "--memory" => "(no -m)",
                    _ => "(no -smp)",
                };
                let row = self.table.add(option);
                self.table.set(row, flag, value);
                self.table.note(row, effect);
            }
        }
        if self.board.microvm && !self.board.pcie && !self.board.has_pci_device {
            let (transport, how) = if self.board.no_acpi {
                (
                    "mmio-cmdline",
                    "the kernel's command line tells of the devices",
                )
            } else {
                ("mmio", "ACPI tells of the devices")
            };
            let row = self.table.add("(microvm without PCI)");
            self.table.set(row, "--transport", transport);
            self.table.note(row, format!("virtio-mmio: {how}"));
        }
        if !self.board.no_reboot {
            let row = self.table.add("(no -no-reboot)");
            self.table.note(
                row,
                "a reboot ends the VM all the same: it is not started anew",
            );
        }
    }
}

/// `name` with what a VM's name cannot have replaced.
fn usable(name: &str) -> Option<String> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    let name: String = name
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .take(63)
        .collect();
    is_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_for_a_vm() {
        assert_eq!(usable("pcp-bpf-vm").as_deref(), Some("pcp-bpf-vm"));
        assert_eq!(usable("-Build of x/y").as_deref(), Some("Build-of-x-y"));
        assert_eq!(usable("…"), None);
    }
}
