//! A card whose packets another process takes, with a mock driver.

use std::time::{Duration, Instant};

use crate::backend::net::{HEADER_LEN, NetBackendSpec, NetSpec};
use crate::backend::vhost_user::peer::{Manner, Peer};
use crate::virtio::core::{F_RING_EVENT_IDX, F_RING_INDIRECT_DESC};
use crate::virtio::device::VirtioDevice;
use crate::virtio::net::Net;
use crate::virtio::testing::Driver;

const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];
const RX: u16 = 0;
const TX: u16 = 1;

fn frame(number: u32) -> Vec<u8> {
    let mut packet = vec![0; HEADER_LEN];
    packet.extend(MAC);
    packet.extend([2; 6]);
    packet.extend([8, 0]);
    packet.extend(number.to_le_bytes());
    packet.resize(HEADER_LEN + 60, 0);
    packet
}

/// Sends frames and waits until they are back, in their order.
fn ask(driver: &mut Driver<Net>, count: u32) {
    let end = Instant::now() + Duration::from_secs(20);
    for number in 0..count {
        driver.add(RX, &[], &[1526]);
        driver.add(TX, &[&frame(number)], &[]);
        driver.doorbells[usize::from(TX)].write(1).unwrap();
        let back = loop {
            if let Some(used) = driver.pop_used(RX) {
                break used;
            }
            assert!(Instant::now() < end, "frame {number} is lost");
            driver.poll(Duration::from_millis(100)).unwrap();
        };
        assert_eq!(back.data, frame(number));
        while driver.pop_used(TX).is_some() {}
    }
}

#[test]
fn frames_go_and_come_over_a_stop_and_a_start_and_the_back_ends_end_takes_the_link_down() {
    let manner = Manner {
        features: Manner::default().features
            | 0xffff_ffff & !(F_RING_EVENT_IDX | F_RING_INDIRECT_DESC),
        ..Manner::default()
    };
    let peer = Peer::start(manner);
    let spec = NetSpec {
        mac: MAC,
        mtu: None,
        backend: NetBackendSpec::VhostUser {
            socket: peer.path().to_owned(),
        },
    };
    let net = Net::new(&spec).unwrap();
    let withheld = net.withheld();
    // A driver that used them would talk past the back end.
    let lacking = F_RING_EVENT_IDX | F_RING_INDIRECT_DESC;
    assert_eq!(withheld & lacking, lacking);
    let mut driver = Driver::with_features(net, !withheld);
    ask(&mut driver, 500);
    assert!(driver.interrupts(RX) > 0);
    driver.quiesce();
    driver.activate().unwrap();
    ask(&mut driver, 500);

    peer.hang_up();
    let end = Instant::now() + Duration::from_secs(20);
    let mut status = [1];
    while status[0] != 0 {
        assert!(Instant::now() < end, "the link stays up");
        driver.poll(Duration::from_millis(100)).unwrap();
        driver.device.config().read(6, &mut status);
    }
    assert_eq!(driver.interrupt.config_count(), 1);
}
