//! The network as a guest and as the host see it: a smoltcp guest on one side, real loopback sockets
//! on the other.

mod control;
mod guest;
mod hostile;
mod kernel;
mod link;
mod load;
mod speed;
mod tcp;
mod udp;
mod v6;

use std::net::TcpListener;

use super::UserNet;
use crate::backend::net::{Forward, NetError, UserSpec};

fn forwarding(forwards: &[Forward]) -> UserSpec {
    UserSpec {
        forwards: forwards.to_vec(),
        ..UserSpec::default()
    }
}

fn called(name: &str) -> UserSpec {
    UserSpec {
        hostname: Some(name.to_owned()),
        ..UserSpec::default()
    }
}

#[test]
fn a_taken_port_is_an_error_that_names_it_and_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward: Forward = format!("127.0.0.1:{port}:22").parse().unwrap();
    let error = UserNet::new(guest::MAC, None, &forwarding(&[forward])).unwrap_err();
    let text = error.to_string();
    let start = format!("host port {port} (tcp) is taken by ");
    assert!(text.starts_with(&start), "{text}");
    let pid = std::process::id();
    assert!(text.ends_with(&format!(" (pid {pid})")), "{text}");
}

#[test]
fn an_address_that_is_not_the_hosts_is_an_error_that_names_it() {
    let forward: Forward = "127.0.0.1:1:22".parse().unwrap();
    let forward = Forward {
        host: "[::ffff:0:0]:4711".parse().unwrap(),
        ..forward
    };
    let error = UserNet::new(guest::MAC, None, &forwarding(&[forward])).unwrap_err();
    assert!(matches!(error, NetError::Listen { .. }), "{error}");
    assert!(error.to_string().contains(":4711"), "{error}");
}

#[test]
fn an_mtu_or_a_host_name_out_of_bounds_is_refused() {
    for mtu in [0, 68, 575] {
        let error = UserNet::new(guest::MAC, Some(mtu), &UserSpec::default()).unwrap_err();
        assert!(matches!(error, NetError::Mtu(_)), "{error}");
    }
    for name in ["", "-vm", "vm.", "a b", &"x".repeat(64), &"x.".repeat(130)] {
        let error = UserNet::new(guest::MAC, None, &called(name)).unwrap_err();
        assert!(matches!(error, NetError::Hostname(_)), "{error}");
    }
    assert!(UserNet::new(guest::MAC, Some(1500), &called("pcp-vm.lan")).is_ok());
}
