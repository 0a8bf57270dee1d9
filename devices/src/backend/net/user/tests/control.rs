//! Forwards that come and go while the network runs.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::guest::{Guest, MAC, OFFLOADS, forward};
use crate::backend::net::user::UserNet;
use crate::backend::net::{Forward, NetBackend, NetError, UserSpec};

/// Runs the guest while `job` runs on another thread.
fn beside<T: Send + 'static>(guest: &mut Guest, job: impl FnOnce() -> T + Send + 'static) -> T {
    let job = thread::spawn(job);
    guest.until(|_| job.is_finished().then_some(()));
    job.join().unwrap()
}

fn greet(guest: &mut Guest, forward: &Forward) -> TcpStream {
    let handle = guest.listen(22);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client.write_all(b"SSH-2.0").unwrap();
    assert_eq!(guest.receive_exact(handle, 7), b"SSH-2.0");
    guest.send_all(handle, b"welcome");
    client
}

#[test]
fn a_forward_comes_and_goes_and_its_connections_stay() {
    let mut guest = Guest::new(OFFLOADS, &[]);
    let control = guest.net.control();
    let forward = forward("tcp", 22);
    control.add(forward).unwrap();
    assert_eq!(control.forwards(), [forward]);
    let mut client = greet(&mut guest, &forward);

    let remover = control.clone();
    let removed = beside(&mut guest, move || {
        remover.remove(forward.protocol, forward.host)
    });
    assert_eq!(removed.unwrap(), forward);
    // The port is free, and the client is served still.
    TcpListener::bind(forward.host).unwrap();
    guest.run_for(Duration::from_millis(20));
    let mut data = [0; 7];
    client.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"welcome");
    assert!(control.forwards().is_empty());

    control.add(forward).unwrap();
    greet(&mut guest, &forward);
}

#[test]
fn clients_of_a_removed_udp_forward_are_forgotten() {
    let (first, second) = (forward("udp", 53), forward("udp", 54));
    let mut guest = Guest::new(OFFLOADS, &[first]);
    let sockets = [53, 54].map(|port| guest.udp_socket(port));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"one", first.host).unwrap();
    assert_eq!(guest.receive_datagram(sockets[0]).0, b"one");
    let control = guest.net.control();
    let remover = control.clone();
    beside(&mut guest, move || {
        remover.remove(first.protocol, first.host)
    })
    .unwrap();
    assert_eq!(guest.net.flows(), (0, 0));
    // Another forward takes its place.
    control.add(second).unwrap();
    client.send_to(b"two", second.host).unwrap();
    assert_eq!(guest.receive_datagram(sockets[1]).0, b"two");
}

#[test]
fn changes_are_refused_with_the_reason_and_those_of_an_idle_card_wait() {
    let mut net = UserNet::new(MAC, None, &UserSpec::default()).unwrap();
    let control = net.control();
    let wanted = forward("tcp", 22);
    let taken = TcpListener::bind(wanted.host).unwrap();
    let error = control.add(wanted).unwrap_err();
    assert!(matches!(error, NetError::PortTaken { .. }), "{error}");
    drop(taken);
    control.add(wanted).unwrap();
    // A client may come at once; nobody is there yet.
    let mut early = TcpStream::connect(wanted.host).unwrap();
    let error = control.add(wanted).unwrap_err();
    assert!(matches!(error, NetError::PortTaken { .. }), "{error}");
    let gone = forward("udp", 1);
    let error = control.remove(gone.protocol, gone.host).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no forward from udp port 127.0.0.1:"),
        "{error}"
    );

    control.remove(wanted.protocol, wanted.host).unwrap();
    TcpListener::bind(wanted.host).unwrap();
    let error = early.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Nothing waits for the driver then.
    let mut events = crate::virtio::testing::FakeRegistry::default();
    net.start(OFFLOADS, &mut events).unwrap();
    assert!(control.next().is_none());
    net.stop(&mut events);
    assert!(events.watched().is_empty());
}
