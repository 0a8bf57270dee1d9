//! The identifiers of PCP's documented VMs, which are theirs from the beginning.

use guest::MacAddress;
use guest::bundle::ConsoleDevice;
use guest::variant;
use vmm::config::value::GuestAddress;

use super::PoolName;
use crate::diagnostic::Diagnostic;

/// What a documented VM has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documented {
    /// Its name.
    pub(crate) name: String,
    /// By pool.
    pub(crate) ids: Vec<(PoolName, u64)>,
    /// Its card's address.
    pub(crate) mac: MacAddress,
    /// All its host ports.
    pub(crate) ports: Vec<u16>,
}

/// All documented VMs.
///
/// # Errors
/// The table of variants is not valid.
pub(crate) fn documented() -> Result<Vec<Documented>, Diagnostic> {
    let of = |variant: variant::Variant| {
        // As with assigned ports: that of the least guest port, which is SSH's.
        let ssh = variant.forwards.iter().min_by_key(|forward| forward.guest);
        let serial = variant
            .consoles
            .iter()
            .find(|it| it.device == ConsoleDevice::TtyS0);
        let [.., host] = GuestAddress::PCP.ip.octets();
        let ids = [
            (PoolName::Ports, ssh.map(|forward| forward.host.into())),
            (
                PoolName::Consoles,
                serial.map(|console| console.port.into()),
            ),
            (PoolName::Addresses, Some(host.into())),
        ];
        let ids = ids.into_iter().filter_map(|(pool, id)| Some((pool, id?)));
        let forwards = variant.forwards.iter().map(|forward| forward.host);
        let consoles = variant.consoles.iter().map(|console| console.port);
        Documented {
            name: variant.hostname.clone(),
            ids: ids.collect(),
            mac: variant.mac,
            ports: forwards.chain(consoles).collect(),
        }
    };
    let all = variant::all().map_err(|error| {
        Diagnostic::failure("variant", "cannot list the variants").because(&error)
    })?;
    Ok(all.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Pools;
    use super::*;

    #[test]
    fn the_documented_ports_are_pcps_and_in_no_pool() {
        let all = documented().unwrap();
        let base = all.iter().find(|it| it.name == "pcp-vm").unwrap();
        assert_eq!(
            base.ids,
            [
                (PoolName::Ports, 22022),
                (PoolName::Consoles, 24500),
                (PoolName::Addresses, 20)
            ]
        );
        let pools = Pools::default();
        for port in all.iter().flat_map(|it| &it.ports) {
            for pool in [PoolName::Ports, PoolName::Consoles].map(|name| pools.of(name)) {
                assert!(!(pool.min..=pool.max).contains(&u64::from(*port)), "{port}");
            }
        }
    }
}
