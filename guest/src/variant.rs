//! The documented variants of PCP's guest, read from `recipe/variants.toml`: a new variant is a new
//! table there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::MacAddress;
use crate::bundle::{
    Console, ConsoleDevice, ConsoleLogin, Forward, HttpCheck, Logins, Protocol, SshLogin,
};

/// The table of the variants that the program knows.
const TABLE: &str = include_str!("../recipe/variants.toml");

/// The credential with root's keys (systemd.system-credentials(7)), which the image's SSH server reads.
const AUTHORIZED_KEYS: &str = "ssh.authorized_keys.root";

/// A kind of guest: its names, its ports, and what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name on the command line, such as `base`.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
    /// The guest's host name, which is the VM's process name too.
    pub hostname: String,
    /// Guest RAM in MiB.
    pub memory_mib: u64,
    /// Number of vCPUs.
    pub cpus: u32,
    /// The network card's address.
    pub mac: MacAddress,
    /// Host ports that lead into the guest.
    pub forwards: Vec<Forward>,
    /// The consoles with their host ports.
    pub consoles: Vec<Console>,
    /// systemd units that are active once the guest is ready.
    pub services: Vec<Service>,
    /// Metrics that have values once the guest is ready.
    pub metrics: Vec<String>,
    /// HTTP endpoints that answer once the guest is ready, each with the unit that answers.
    pub http_checks: Vec<(String, HttpCheck)>,
    /// The logins of a debug image.
    pub debug_logins: Logins,
    /// The layers of the image recipe, in the order in which they are applied.
    pub layers: Vec<String>,
}

/// A unit that a variant offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The unit's name without `.service`.
    pub unit: String,
    /// The package that must have been given for the unit to be there; `None` if it always is.
    pub slot: Option<String>,
}

/// Why there is no such variant.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// The table of variants cannot be read.
    #[error("the table of variants is not valid")]
    Table {
        /// Where reading stopped.
        #[source]
        source: toml::de::Error,
    },
    /// The table refers to something that it does not define.
    #[error("the table of variants refers to an unknown {kind} `{name}`")]
    Reference {
        /// What is referred to.
        kind: &'static str,
        /// By which name.
        name: String,
    },
    /// A port is above 65535 once the variant's offset is added.
    #[error("variant `{variant}` has no room for port `{port}`")]
    Port {
        /// The variant.
        variant: String,
        /// The port's name.
        port: String,
    },
    /// There is no variant of this name.
    #[error("there is no variant `{name}` (known: {})", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// All variants, in the order of the table.
///
/// # Errors
/// If the built-in table is not valid.
pub fn all() -> Result<Vec<Variant>, VariantError> {
    parse(TABLE)
}

/// The variant called `name`.
///
/// # Errors
/// If there is none; the error names those that there are.
pub fn find(name: &str) -> Result<Variant, VariantError> {
    let mut variants = all()?;
    match variants.iter().position(|variant| variant.name == name) {
        Some(index) => Ok(variants.swap_remove(index)),
        None => Err(VariantError::Unknown {
            name: name.to_owned(),
            known: variants.into_iter().map(|variant| variant.name).collect(),
        }),
    }
}

/// Reads a table of variants.
///
/// # Errors
/// If the text is not such a table, or a name in it leads nowhere.
pub fn parse(text: &str) -> Result<Vec<Variant>, VariantError> {
    let table: Table = toml::from_str(text).map_err(|source| VariantError::Table { source })?;
    table
        .variant
        .iter()
        .map(|entry| table.resolve(entry))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    defaults: Defaults,
    ports: BTreeMap<String, Port>,
    http: BTreeMap<String, Http>,
    slots: BTreeMap<String, Slot>,
    variant: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    memory_mib: u64,
    cpus: u32,
    mac: MacAddress,
    user: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    guest: u16,
    host: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    service: String,
    port: u16,
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    package: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    description: String,
    hostname: String,
    offset: u16,
    consoles: u16,
    memory_mib: Option<u64>,
    cpus: Option<u32>,
    forwards: Vec<String>,
    services: Vec<String>,
    metrics: Vec<String>,
    http: Vec<String>,
    layers: Vec<String>,
}

impl Table {
    fn resolve(&self, entry: &Entry) -> Result<Variant, VariantError> {
        let defaults = &self.defaults;
        let login = || (defaults.user.clone(), defaults.password.clone());
        let ((user, password), (ssh_user, ssh_password)) = (login(), login());
        Ok(Variant {
            name: entry.name.clone(),
            description: entry.description.clone(),
            hostname: entry.hostname.clone(),
            memory_mib: entry.memory_mib.unwrap_or(defaults.memory_mib),
            cpus: entry.cpus.unwrap_or(defaults.cpus),
            mac: defaults.mac,
            forwards: each(&entry.forwards, |name| self.forward(entry, name))?,
            consoles: vec![
                Console {
                    device: ConsoleDevice::TtyS0,
                    port: entry.consoles,
                },
                Console {
                    device: ConsoleDevice::Hvc0,
                    port: plus(entry, "consoles", entry.consoles, 1)?,
                },
            ],
            services: each(&entry.services, |unit| Ok(self.service(unit)))?,
            metrics: entry.metrics.clone(),
            http_checks: each(&entry.http, |name| self.http_check(name))?,
            debug_logins: Logins {
                console: Some(ConsoleLogin { user, password }),
                ssh: Some(SshLogin {
                    user: ssh_user,
                    password: Some(ssh_password),
                    key: None,
                    authorized_keys: Some(AUTHORIZED_KEYS.to_owned()),
                }),
            },
            layers: entry.layers.clone(),
        })
    }

    fn forward(&self, entry: &Entry, name: &str) -> Result<Forward, VariantError> {
        let port = lookup(&self.ports, "port", name)?;
        Ok(Forward {
            name: name.to_owned(),
            protocol: Protocol::Tcp,
            address: Ipv4Addr::UNSPECIFIED,
            host: plus(entry, name, port.host, entry.offset)?,
            guest: port.guest,
        })
    }

    fn service(&self, unit: &str) -> Service {
        let slot = self.slots.get(unit).map(|slot| slot.package.clone());
        Service {
            unit: unit.to_owned(),
            slot,
        }
    }

    fn http_check(&self, name: &str) -> Result<(String, HttpCheck), VariantError> {
        let http = lookup(&self.http, "HTTP check", name)?;
        let check = HttpCheck {
            name: name.to_owned(),
            port: http.port,
            path: http.path.clone(),
        };
        Ok((http.service.clone(), check))
    }
}

fn each<T>(
    names: &[String],
    mut resolve: impl FnMut(&str) -> Result<T, VariantError>,
) -> Result<Vec<T>, VariantError> {
    names.iter().map(|name| resolve(name)).collect()
}

fn lookup<'t, T>(
    table: &'t BTreeMap<String, T>,
    kind: &'static str,
    name: &str,
) -> Result<&'t T, VariantError> {
    table.get(name).ok_or_else(|| VariantError::Reference {
        kind,
        name: name.to_owned(),
    })
}

fn plus(entry: &Entry, port: &str, base: u16, offset: u16) -> Result<u16, VariantError> {
    base.checked_add(offset).ok_or_else(|| VariantError::Port {
        variant: entry.name.clone(),
        port: port.to_owned(),
    })
}

#[cfg(test)]
mod tests;
