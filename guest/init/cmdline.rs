//! The settings on the kernel command line.

use std::fmt;

use crate::address::Address;

/// What to do, as the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the root file system is.
    pub(crate) root: Root,
    /// What happens to changes.
    pub(crate) changes: Changes,
    /// The program that takes over.
    pub(crate) init: String,
    /// The guest's address.
    pub(crate) address: Option<Address>,
    /// The host's vsock port where a command is ordered, in place of an init.
    pub(crate) agent: Option<u32>,
}

/// Where the root file system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A virtio-fs share with this tag.
    Share {
        /// The tag.
        tag: String,
    },
    /// A disk.
    Disk {
        /// Its serial number, or its device file.
        disk: Disk,
        /// The file system on it, or [`ANY_FORMAT`].
        format: String,
    },
    /// Empty, in RAM.
    Ram,
}

/// How a disk is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// By the serial number that the VMM gave it.
    Serial(String),
    /// By its device file.
    Device(String),
}

/// What happens to changes that the guest makes to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// They go to RAM and are lost in the end.
    Ram,
    /// They go to the virtio-fs share with this tag.
    Share(String),
    /// They go to the root itself.
    Keep,
    /// There are none: the root is read-only.
    Refuse,
}

/// Whatever file system the kernel finds on the disk.
pub(crate) const ANY_FORMAT: &str = "auto";
const ROOT_FORMS: &str = "`virtiofs:TAG`, `disk:SERIAL:FORMAT`, `disk:/dev/NAME:FORMAT` or `ram`";

impl Settings {
    /// Reads the command line `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut root = None;
        let mut changes = Changes::Ram;
        let mut init = "/sbin/init".to_owned();
        let mut address = None;
        let mut agent = None;
        // What follows `--` belongs to the init that takes over.
        for word in words(text).into_iter().take_while(|word| word != "--") {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            match key {
                "pcpvmm.root" => root = Some(Root::parse(value)?),
                "pcpvmm.changes" => changes = Changes::parse(value)?,
                "pcpvmm.agent" => agent = Some(port(value)?),
                "ip" => address = Address::parse(value)?,
                "init" if value.starts_with('/') => value.clone_into(&mut init),
                "init" => return Err(format!("init=`{value}` is not an absolute path")),
                _ if key.starts_with("pcpvmm.") => {
                    return Err(format!("the command line has an unknown setting `{key}`"));
                }
                _ => {}
            }
        }
        let missing = || format!("the command line has no pcpvmm.root={ROOT_FORMS}");
        Ok(Self {
            root: root.ok_or_else(missing)?,
            changes,
            init,
            address,
            agent,
        })
    }
}

fn port(value: &str) -> Result<u32, String> {
    let number = value.strip_prefix("vsock:").map(str::parse);
    match number {
        Some(Ok(port)) => Ok(port),
        _ => Err(format!("pcpvmm.agent=`{value}` is not `vsock:PORT`")),
    }
}

impl Root {
    fn parse(value: &str) -> Result<Self, String> {
        let wrong = || format!("pcpvmm.root=`{value}` is none of {ROOT_FORMS}");
        if value == "ram" {
            return Ok(Self::Ram);
        }
        match value.split_once(':').ok_or_else(wrong)? {
            ("virtiofs", tag) if !tag.is_empty() => Ok(Self::Share {
                tag: tag.to_owned(),
            }),
            ("disk", rest) => {
                let (disk, format) = rest.rsplit_once(':').ok_or_else(wrong)?;
                if disk.is_empty() || format.is_empty() {
                    return Err(wrong());
                }
                let disk = match disk.strip_prefix("/dev/") {
                    Some(_) => Disk::Device(disk.to_owned()),
                    None => Disk::Serial(disk.to_owned()),
                };
                Ok(Self::Disk {
                    disk,
                    format: format.to_owned(),
                })
            }
            _ => Err(wrong()),
        }
    }
}

impl Changes {
    fn parse(value: &str) -> Result<Self, String> {
        match value {
            "ram" => Ok(Self::Ram),
            "keep" => Ok(Self::Keep),
            "refuse" => Ok(Self::Refuse),
            _ => match value.strip_prefix("virtiofs:") {
                Some(tag) if !tag.is_empty() => Ok(Self::Share(tag.to_owned())),
                _ => Err(format!(
                    "pcpvmm.changes=`{value}` is none of `ram`, `virtiofs:TAG`, `keep`, `refuse`"
                )),
            },
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share { tag } => write!(f, "virtiofs:{tag}"),
            Self::Disk {
                disk: Disk::Serial(name) | Disk::Device(name),
                format,
            } => {
                write!(f, "disk:{name}:{format}")
            }
            Self::Ram => f.write_str("ram"),
        }
    }
}

/// Splits at blanks outside double quotes and drops the quotes, as the kernel does
/// (Linux lib/cmdline.c, `next_arg`).
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            _ if character.is_whitespace() && !quoted => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            _ => word.push(character),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_named_by_its_tag() {
        let settings = Settings::parse("console=ttyS0 pcpvmm.root=virtiofs:root\n").unwrap();
        assert_eq!(
            settings.root,
            Root::Share {
                tag: "root".to_owned()
            }
        );
        assert_eq!(settings.changes, Changes::Ram);
        assert_eq!(settings.init, "/sbin/init");
        assert_eq!(settings.root.to_string(), "virtiofs:root");
    }

    #[test]
    fn a_disk_is_named_by_serial_or_device() {
        let root = |value: &str| {
            Settings::parse(&format!("pcpvmm.root={value}"))
                .unwrap()
                .root
        };
        let disk = |disk, format: &str| Root::Disk {
            disk,
            format: format.to_owned(),
        };
        assert_eq!(
            root("disk:root:erofs"),
            disk(Disk::Serial("root".to_owned()), "erofs")
        );
        assert_eq!(
            root("disk:/dev/vda:ext4"),
            disk(Disk::Device("/dev/vda".to_owned()), "ext4")
        );
        assert_eq!(root("disk:/dev/vda:auto").to_string(), "disk:/dev/vda:auto");
        assert_eq!(root("ram"), Root::Ram);
        assert_eq!(root("ram").to_string(), "ram");
    }

    #[test]
    fn the_init_that_follows_can_be_chosen() {
        let text = "pcpvmm.root=virtiofs:r init=\"/nix/store/a b/init\" pcpvmm.changes=refuse";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.init, "/nix/store/a b/init");
        assert_eq!(settings.changes, Changes::Refuse);
    }

    #[test]
    fn the_guests_address_is_the_kernels_word() {
        let address = |text: &str| {
            let text = format!("pcpvmm.root=virtiofs:r {text}");
            Settings::parse(&text).map(|settings| settings.address)
        };
        let found = address("ip=10.0.0.2:::255.0.0.0").unwrap().unwrap();
        assert_eq!(found.ip.to_string(), "10.0.0.2");
        assert_eq!(address("ip=dhcp").unwrap(), None);
        assert!(
            address("ip=10.0.0.2")
                .unwrap_err()
                .contains("ip=`10.0.0.2`")
        );
    }

    #[test]
    fn what_follows_two_dashes_is_left_alone() {
        let text = "pcpvmm.root=virtiofs:r -- pcpvmm.root=nonsense init=x";
        assert_eq!(Settings::parse(text).unwrap().init, "/sbin/init");
    }

    #[test]
    fn wrong_settings_are_named() {
        let message = |text: &str| Settings::parse(text).unwrap_err();
        assert!(message("quiet").contains("no pcpvmm.root="));
        for wrong in [
            "ram:",
            "virtiofs",
            "virtiofs:",
            "disk:root",
            "disk::erofs",
            "disk:root:",
            "9p:x",
        ] {
            let text = message(&format!("pcpvmm.root={wrong}"));
            assert!(text.contains(&format!("`{wrong}` is none of")), "{text}");
        }
        assert!(message("pcpvmm.root=virtiofs:r pcpvmm.changes=lose").contains("`lose`"));
        assert!(message("pcpvmm.root=virtiofs:r pcpvmm.rot=x").contains("unknown setting"));
        assert!(message("pcpvmm.root=virtiofs:r init=sh").contains("not an absolute path"));
    }
}
