//! The test that the Nix side has this program's constants: `nix/constants.toml` holds what it reads.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Deserialize;

use crate::ids::{PoolName, Pools};
use crate::lifecycle::Phase;
use crate::network;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constants {
    network: Network,
    timeouts: BTreeMap<String, u64>,
    variant_timeouts: BTreeMap<String, BTreeMap<String, u64>>,
    pools: BTreeMap<String, Range>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    bridge: String,
    tap: String,
    subnet: String,
    gateway: String,
    prefix: u8,
    guest: String,
    table: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: u64,
    max: u64,
    step: u64,
}

fn constants() -> Constants {
    toml::from_str(include_str!("../../nix/constants.toml")).unwrap()
}

#[test]
fn the_network_is_this_programs() {
    let network = constants().network;
    assert_eq!(network.bridge, network::BRIDGE);
    assert_eq!(network.tap, network::TAP);
    assert_eq!(network.subnet, network::SUBNET);
    assert_eq!(network.gateway, network::GATEWAY.0.to_string());
    assert_eq!(network.prefix, network::GATEWAY.1);
    assert_eq!(network.guest, network::GUEST.to_string());
    assert_eq!(network.table, network::TABLE);
}

#[test]
fn the_phases_have_this_programs_times() {
    let Constants {
        timeouts,
        variant_timeouts,
        ..
    } = constants();
    assert_eq!(timeouts.len(), Phase::value_variants().len());
    for variant in guest::variant::all().unwrap() {
        for phase in Phase::value_variants() {
            let own = variant_timeouts.get(&variant.name);
            let own = own.and_then(|times| times.get(phase.word()));
            let seconds = own.unwrap_or_else(|| &timeouts[phase.word()]);
            assert_eq!(phase.limit(&variant.name).as_secs(), *seconds, "{phase}");
        }
    }
}

#[test]
fn the_pools_are_this_programs() {
    let found = constants().pools;
    assert_eq!(found.len(), PoolName::ALL.len());
    let pools = Pools::default();
    for name in PoolName::ALL {
        let pool = pools.of(name);
        let range = Range {
            min: pool.min,
            max: pool.max,
            step: pool.step,
        };
        assert_eq!(found[name.as_str()], range, "{}", name.as_str());
    }
}
