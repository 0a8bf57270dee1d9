//! Pools: ranges of numbers, from a built-in list and the user's `idresources.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of a pool that the program itself takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PoolName {
    /// Host ports that lead into the guest: the first of [`PORTS_EACH`].
    Ports,
    /// Host ports of the consoles: the first of [`CONSOLES_EACH`].
    Consoles,
    /// Context identifiers of socket devices.
    Cids,
    /// The last two bytes of MAC addresses.
    Macs,
    /// The last byte of addresses on PCP's TAP network.
    Addresses,
    /// User numbers, for users of a VM's own.
    Uids,
}

/// How many ports a VM gets.
pub(crate) const PORTS_EACH: u64 = 16;
/// How many console ports a VM gets: PCP's blocks have ten, of which two are in use.
pub(crate) const CONSOLES_EACH: u64 = 10;

impl PoolName {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Ports,
        Self::Consoles,
        Self::Cids,
        Self::Macs,
        Self::Addresses,
        Self::Uids,
    ];

    /// The name in files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Consoles => "consoles",
            Self::Cids => "cids",
            Self::Macs => "macs",
            Self::Addresses => "addresses",
            Self::Uids => "uids",
        }
    }

    /// The range, and how many numbers a VM gets. Ports are below those that Linux gives to clients (from 32768 on), and
    /// above PCP's own.
    fn built_in(self) -> Pool {
        let (min, max, step) = match self {
            Self::Ports => (28_000, 32_767, PORTS_EACH),
            Self::Consoles => (24_540, 27_999, CONSOLES_EACH),
            Self::Cids => (1000, 65_535, 1),
            Self::Macs => (1, 0xffff, 1),
            // The gateway is 1 and PCP's guest 20.
            Self::Addresses => (21, 254, 1),
            Self::Uids => (58_000, 58_999, 1),
        };
        Pool { min, max, step }
    }

    /// What the numbers can be at all.
    fn bounds(self) -> (u64, u64) {
        match self {
            Self::Ports | Self::Consoles => (1024, 65_535),
            Self::Cids => (3, u64::from(u32::MAX - 1)),
            Self::Macs => (1, 0xffff),
            Self::Addresses => (2, 254),
            Self::Uids => (1, u64::from(u32::MAX - 1)),
        }
    }
}

/// A range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Pool {
    /// The least.
    pub(crate) min: u64,
    /// The greatest.
    pub(crate) max: u64,
    /// How many a VM gets.
    #[serde(skip)]
    pub(crate) step: u64,
}

impl Pool {
    /// How many VMs it has numbers for.
    pub(crate) fn room(self) -> u64 {
        (self.max + 1).saturating_sub(self.min) / self.step.max(1)
    }

    /// The place of `id`, if it is the first number of one.
    fn place(self, id: u64) -> Option<u64> {
        let above = id.checked_sub(self.min)?;
        let place = above / self.step;
        (above.is_multiple_of(self.step) && place < self.room()).then_some(place)
    }

    /// Whether it can have given `id`.
    pub(crate) fn has(self, id: u64) -> bool {
        self.place(id).is_some()
    }

    /// All identifiers, each once: those after `last`, then those from the beginning on.
    pub(crate) fn after(self, last: Option<u64>) -> impl Iterator<Item = u64> {
        let first = last
            .and_then(|last| self.place(last))
            .map_or(0, |it| it + 1);
        let room = self.room();
        (0..room).map(move |place| self.min + (first + place) % room * self.step)
    }
}

/// All pools by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pools(BTreeMap<String, Pool>);

/// A pool as the user writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    min: u64,
    max: u64,
}

impl Default for Pools {
    fn default() -> Self {
        let built_in = |name: PoolName| (name.as_str().to_owned(), name.built_in());
        Self(PoolName::ALL.map(built_in).into())
    }
}

impl Pools {
    /// The pools of a user's file: the built-in ones, with the ranges that the file gives, and pools of the user's own.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Vec<String>> {
        let table: BTreeMap<String, Value> =
            serde_json::from_slice(text).map_err(|error| vec![error.to_string()])?;
        let mut pools = Self::default();
        let mut problems = Vec::new();
        for (name, value) in table {
            let shown = name.escape_debug().to_string();
            if !is_pool_name(&name) {
                problems.push(format!(
                    "`{shown}` is no name of a pool: up to 63 letters, digits, `-` and `_`"
                ));
                continue;
            }
            let Ok(Written { min, max }) = serde_json::from_value(value) else {
                problems.push(format!(
                    "{shown} does not have `min` and `max` alone, as numbers from 0 on"
                ));
                continue;
            };
            let own = PoolName::ALL.into_iter().find(|own| own.as_str() == name);
            let (least, most) = own.map_or((0, u64::from(u32::MAX)), PoolName::bounds);
            let step = own.map_or(1, |own| own.built_in().step);
            let pool = Pool { min, max, step };
            if min < least || max > most {
                problems.push(format!("{shown}: numbers are from {least} to {most}"));
            } else if min > max || pool.room() == 0 {
                problems.push(format!(
                    "{shown}: from {min} to {max} there is nothing to give ({step} are needed)"
                ));
            }
            pools.0.insert(name, pool);
        }
        let [ports, consoles] = [PoolName::Ports, PoolName::Consoles].map(|name| pools.of(name));
        if ports.min <= consoles.max && consoles.min <= ports.max {
            problems.push("ports and consoles overlap".to_owned());
        }
        if problems.is_empty() {
            Ok(pools)
        } else {
            Err(problems)
        }
    }

    /// A pool of the program's own.
    pub(crate) fn of(&self, name: PoolName) -> Pool {
        self.get(name.as_str()).unwrap_or_else(|| name.built_in())
    }

    /// The pool called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<Pool> {
        self.0.get(name).copied()
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &BTreeMap<String, Pool> {
        &self.0
    }
}

fn is_pool_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    (1..=63).contains(&name.len()) && name.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_what_follows_the_last_and_begins_again_at_its_end() {
        let pool = Pool {
            min: 10,
            max: 35,
            step: 10,
        };
        assert_eq!(pool.room(), 2);
        let after = |last| pool.after(last).collect::<Vec<_>>();
        assert_eq!(after(None), [10, 20]);
        assert_eq!(after(Some(10)), [20, 10]);
        assert_eq!(after(Some(20)), [10, 20]);
        // Not one of the pool's any more.
        for strange in [0, 11, 30, 40, u64::MAX] {
            assert_eq!(after(Some(strange)), [10, 20]);
            assert!(!pool.has(strange));
        }
        assert!(pool.has(20));
    }

    #[test]
    fn the_built_in_pools_are_good_ones() {
        for name in PoolName::ALL {
            let pool = name.built_in();
            let (least, most) = name.bounds();
            assert!(
                pool.min >= least && pool.max <= most && pool.room() > 100,
                "{name:?}"
            );
        }
        let text = serde_json::to_vec(Pools::default().all()).unwrap();
        assert_eq!(Pools::parse(&text), Ok(Pools::default()));
    }

    #[test]
    fn a_file_gives_ranges_and_pools_of_its_own() {
        let pools =
            Pools::parse(br#"{"ports":{"min":30000,"max":30031},"disks":{"min":0,"max":3}}"#)
                .unwrap();
        assert_eq!(pools.of(PoolName::Ports).room(), 2);
        assert_eq!(
            pools.get("disks"),
            Some(Pool {
                min: 0,
                max: 3,
                step: 1
            })
        );
        assert_eq!(pools.of(PoolName::Cids), PoolName::Cids.built_in());
        assert!(pools.names().any(|name| name == "disks"));
    }

    #[test]
    fn everything_that_is_wrong_with_a_file_is_told() {
        let text = br#"{"ports":{"min":28000,"max":28014},"consoles":{"min":80,"max":99},"a b":{"min":1,"max":2},
            "cids":{"min":9,"max":3},"uids":{"min":-1,"max":3},"x":{"min":1,"max":2,"step":3},"macs":7}"#;
        let problems = Pools::parse(text).unwrap_err();
        assert_eq!(problems.len(), 7, "{problems:#?}");
        for words in [
            "ports: from 28000",
            "consoles: numbers are from 1024",
            "`a b` is no",
            "cids: from 9",
            "uids does",
            "x does",
            "macs does",
        ] {
            assert!(
                problems.iter().any(|it| it.starts_with(words)),
                "{words}: {problems:#?}"
            );
        }
        let overlap = br#"{"ports":{"min":25000,"max":26000}}"#;
        assert_eq!(
            Pools::parse(overlap).unwrap_err(),
            ["ports and consoles overlap"]
        );
        assert!(Pools::parse(b"[]").is_err() && Pools::parse(b"{").is_err());
    }
}
