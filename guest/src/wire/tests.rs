use super::words::{LONGEST_LIST, LONGEST_WORD};
use super::*;

fn order() -> Order {
    Order {
        words: vec![b"echo".to_vec(), b"a \xff b".to_vec(), Vec::new()],
        environment: vec![b"HOME=/root".to_vec()],
        folder: b"/work".to_vec(),
        user: 1000,
        group: 100,
        groups: vec![7, 8],
        terminal: Some(Size {
            rows: 24,
            columns: 80,
        }),
        hostname: b"guest".to_vec(),
        mounts: vec![Mount {
            tag: b"rw0".to_vec(),
            folder: b"/work".to_vec(),
        }],
        one_output: true,
        links: vec![Link {
            path: b"/bin/sh".to_vec(),
            target: b"/shell".to_vec(),
        }],
        network: Some(Network {
            address: [10, 0, 2, 15].into(),
            netmask: [255, 255, 255, 0].into(),
            gateway: [10, 0, 2, 2].into(),
            nameserver: [10, 0, 2, 3].into(),
        }),
        stays: true,
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}

#[test]
fn an_order_arrives_as_it_was_sent() {
    for (terminal, network) in [(order().terminal, None), (None, order().network)] {
        let order = Order {
            terminal,
            network,
            ..order()
        };
        let bytes = written(|to| order.write(to));
        assert_eq!(Order::read(&mut &bytes[..]).unwrap(), order);
    }
}

#[test]
fn demands_and_news_arrive_as_they_were_sent() {
    let size = Size {
        rows: 1,
        columns: 300,
    };
    for demand in [
        Demand::Signal(15),
        Demand::SignalGroup(2),
        Demand::Resize(size),
    ] {
        let bytes = written(|to| demand.write(to));
        assert_eq!(Demand::read(&mut &bytes[..]).unwrap(), demand);
    }
    let usage = Usage {
        user_us: 1 << 40,
        kernel_us: 2,
        most_kib: 3,
    };
    let failed = STEPS.map(|step| News::Failed { step, errno: -2 });
    let ended = [How::Exited(255), How::Signalled(9)].map(|how| News::Ended { how, usage });
    for news in failed.into_iter().chain(ended).chain([News::Started]) {
        let bytes = written(|to| news.write(to));
        assert_eq!(News::read(&mut &bytes[..]).unwrap(), news);
    }
}

#[test]
fn every_channel_has_a_byte_of_its_own() {
    for (byte, channel) in CHANNELS {
        assert_eq!((channel.byte(), Channel::of(byte)), (byte, Some(channel)));
    }
    assert_eq!(Channel::of(0), None);
}

#[test]
fn what_is_cut_off_is_an_error() {
    let bytes = written(|to| order().write(to));
    for end in 0..bytes.len() {
        let error = Order::read(&mut &bytes[..end]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
    }
}

#[test]
fn what_a_hostile_peer_sends_is_refused_without_allocating_it() {
    let mut other = written(|to| order().write(to));
    other[0] = 9;
    let mut long = vec![VERSION];
    long.extend(1_u32.to_le_bytes());
    long.extend(u32::MAX.to_le_bytes());
    let mut many = vec![VERSION];
    many.extend(u32::MAX.to_le_bytes());
    many.extend(vec![0; LONGEST_LIST as usize]);
    let none = written(|to| {
        let words = Vec::new();
        Order { words, ..order() }.write(to)
    });
    for bytes in [other, long, many, none] {
        let error = Order::read(&mut &bytes[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    assert!(Demand::read(&mut &b"x"[..]).is_err());
    assert!(News::read(&mut &b"x"[..]).is_err());
    assert!(News::read(&mut &b"ez"[..]).is_err());
    assert!(News::read(&mut &b"f\x09"[..]).is_err());
}

#[test]
fn what_linux_would_not_take_is_not_sent() {
    let words = vec![vec![b'x'; LONGEST_WORD as usize + 1]];
    let order = Order { words, ..order() };
    let error = order.write(&mut Vec::new()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(7));
}

#[test]
fn a_call_is_read_as_it_was_written_and_another_versions_is_told() {
    let call = Call {
        port: 0x0102_0304,
        token: *b"sixteen bytes of",
    };
    let mut bytes = written(|to| call.write(to));
    assert_eq!(bytes[..5], [VERSION, 4, 3, 2, 1]);
    assert_eq!(Call::read(&mut &bytes[..]).unwrap(), Some(call));
    bytes[0] = 99;
    assert_eq!(Call::read(&mut &bytes[..]).unwrap(), None);
    assert!(Call::read(&mut &bytes[..0]).is_err());
}
