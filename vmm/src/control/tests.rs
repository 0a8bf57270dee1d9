use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use devices::backend::console::Console;
use devices::backend::net::Forward;
use devices::event_loop::Unconfined;

use super::conversation::LINE_MAX;
use super::fixture::Devices;
use super::protocol::{EventKind, Request, State};
use super::*;
use crate::event::{self, Landmark};

mod monitors;

struct Machine {
    folder: tempfile::TempDir,
    status: Arc<Status>,
    receiver: event::EventReceiver,
    _devices: Devices,
}

fn serve() -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let devices = Devices::new();
    let mut socket = ControlSocket::default();
    socket.bind(&folder.path().join("control")).unwrap();
    let (sender, receiver) = event::queue().unwrap();
    let status = Arc::new(Status::new(Instant::now(), sender));
    let (handle, _) = Console::open("ttyS0", &ConsoleSpec::None).unwrap();
    let served = devices.served(&status, handle);
    socket.serve(served, &Unconfined).unwrap();
    Machine {
        folder,
        status,
        receiver,
        _devices: devices,
    }
}

impl Machine {
    fn client(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("control")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        BufReader::new(stream)
    }
}

fn ask(client: &mut BufReader<UnixStream>, line: &str) -> serde_json::Value {
    client.get_mut().write_all(line.as_bytes()).unwrap();
    client.get_mut().write_all(b"\n").unwrap();
    let mut answer = String::new();
    client.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn forwards_are_added_listed_and_removed() {
    let served = serve();
    let mut client = served.client();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp:{}:80", port.local_addr().unwrap());
    let add = format!(r#"{{"request":"add-forward","forward":"{text}"}}"#);
    let taken = ask(&mut client, &add);
    assert_eq!(taken["ok"], false);
    drop(port);
    assert_eq!(ask(&mut client, &add)["ok"], true);
    let list = r#"{"request":"forwards"}"#;
    assert_eq!(ask(&mut client, list)["forwards"][0], text);
    let forward: Forward = text.parse().unwrap();
    std::net::TcpStream::connect(forward.host).unwrap();
    let remove = add.replace("add", "remove").replace(":80\"", ":1\"");
    assert_eq!(ask(&mut client, &remove)["ok"], true);
    assert_eq!(ask(&mut client, &remove)["ok"], false);
    let none = ask(&mut client, list)["forwards"].clone();
    assert_eq!(none.as_array().map(Vec::len), Some(0));
    let events = ask(&mut client, r#"{"request":"events"}"#)["events"].clone();
    let last = events.as_array().unwrap().last().unwrap().to_string();
    assert!(
        last.contains("forward-removed") && last.contains(&text),
        "{last}"
    );
}

#[test]
fn the_balloon_tells_and_takes_its_size() {
    let served = serve();
    let mut client = served.client();
    let asked = ask(&mut client, r#"{"request":"balloon","size":"64M"}"#);
    assert_eq!(asked["balloon"]["target"], 64 << 20);
    let asked = ask(&mut client, r#"{"request":"balloon"}"#);
    assert_eq!(
        (&asked["ok"], &asked["balloon"]["actual"]),
        (&true.into(), &0.into())
    );
}

#[test]
fn the_link_goes_down_and_up() {
    let served = serve();
    let mut client = served.client();
    for (request, state) in [
        (r#"{"request":"link"}"#, "up"),
        (r#"{"request":"link","state":"down"}"#, "down"),
        (r#"{"request":"link"}"#, "down"),
        (r#"{"request":"link","state":"up"}"#, "up"),
    ] {
        let answer = ask(&mut client, request);
        assert_eq!(
            (&answer["ok"], &answer["link"]),
            (&true.into(), &state.into())
        );
    }
}

#[test]
fn what_is_no_request_is_told_and_the_next_is_answered() {
    let served = serve();
    let mut client = served.client();
    for line in [
        "",
        "nonsense",
        "{}",
        r#"{"request":"explode"}"#,
        r#"{"request":"forwards","more":1}"#,
        r#"{"request":"add-forward","forward":"22"}"#,
        r#"{"request":"balloon","size":"huge"}"#,
        r#"{"request":"link","state":"sideways"}"#,
        "\u{ff}\0",
    ] {
        let answer = ask(&mut client, line);
        assert_eq!(answer["ok"], false, "{line}");
        assert!(answer["error"].is_string(), "{line}");
    }
    assert_eq!(ask(&mut client, r#"{"request":"forwards"}"#)["ok"], true);
}

#[test]
fn a_client_without_end_or_without_a_word_makes_room_for_the_next() {
    let served = serve();
    let mut endless = served.client();
    endless.get_mut().write_all(&[b'x'; 2 * LINE_MAX]).unwrap();
    let mut said = String::new();
    // What was not read when the socket closes may come back as a reset.
    let _ = endless.read_to_string(&mut said);
    assert!(said.is_empty() || said.contains("too long"), "{said}");
    let silent = served.client();
    let mut deaf = served.client();
    for _ in 0..20_000 {
        let _ = deaf
            .get_mut()
            .set_write_timeout(Some(Duration::from_millis(100)));
        if deaf
            .get_mut()
            .write_all(b"{\"request\":\"forwards\"}\n")
            .is_err()
        {
            break;
        }
    }
    let mut next = served.client();
    assert_eq!(ask(&mut next, r#"{"request":"forwards"}"#)["ok"], true);
    drop((silent, deaf));
}

/// What the supervisor does with the next order.
fn next_order(machine: &Machine) -> Order {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if machine.receiver.take() == Some(event::MachineEvent::Ordered) {
            let ordered = machine.status.next_order().unwrap();
            let order = ordered.order;
            ordered.answer(Ok(()));
            return order;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no order came");
}

#[test]
fn orders_go_to_the_supervisor_and_are_answered_when_done() {
    let machine = serve();
    let mut client = machine.client();
    for (request, order) in [
        ("pause", Order::Pause),
        ("resume", Order::Resume),
        ("power-button", Order::PowerButton),
        ("ctrl-alt-del", Order::CtrlAltDel),
        ("quit", Order::Quit),
    ] {
        let line = format!("{{\"request\":\"{request}\"}}");
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&mut client, &line));
            assert_eq!(next_order(&machine), order);
            asked.join().unwrap()
        });
        assert_eq!(answer["ok"], true, "{request}");
    }
}

#[test]
fn a_supervisor_that_does_not_answer_is_told() {
    let machine = serve();
    let answer = ask(&mut machine.client(), r#"{"request":"pause"}"#);
    assert_eq!(answer["ok"], false);
    assert!(answer["error"].as_str().unwrap().contains("supervisor"));
}

#[test]
fn the_machine_tells_of_itself() {
    let machine = serve();
    machine
        .status
        .passed(Landmark::Kernel, Duration::from_millis(12));
    machine.status.enter(State::Paused);
    let path = machine.folder.path().join("control");
    let mut client = ControlClient::connect(&path, Duration::from_secs(20)).unwrap();
    let info = client.info().unwrap();
    assert_eq!((info.protocol, info.name.as_str()), (1, "vm"));
    assert_eq!((info.pid, info.cpus, info.memory), (7, 1, 128 << 20));
    assert_eq!(
        (info.state, info.phase),
        (State::Paused, Some(Landmark::Kernel))
    );
    assert_eq!(info.phases[0].after_ms, 12);
    assert_eq!(info.consoles[0].device, "ttyS0");
    assert!(info.balloon.is_some() && info.link.is_some());
    let refused = client.ask(&Request::AddForward {
        forward: "22".into(),
    });
    assert!(
        matches!(refused, Err(ControlError::Refused { .. })),
        "{refused:?}"
    );
}

#[test]
fn events_are_told_from_the_first_on_and_as_they_come() {
    let machine = serve();
    machine
        .status
        .passed(Landmark::Kernel, Duration::from_millis(1));
    let path = machine.folder.path().join("control");
    let connect = || ControlClient::connect(&path, Duration::from_secs(20)).unwrap();
    let past = connect().ask(&Request::Events { follow: false }).unwrap();
    assert_eq!(past.events.unwrap().len(), 1);
    let (mut one, mut two) = (connect(), connect());
    for client in [&mut one, &mut two] {
        let answer = client.ask(&Request::Events { follow: true }).unwrap();
        let events = answer.events.unwrap();
        assert_eq!(
            events[0].kind,
            EventKind::Phase {
                phase: Landmark::Kernel
            }
        );
    }
    machine.status.enter(State::Stopping);
    connect()
        .ask(&Request::Balloon {
            size: "1M".parse().ok(),
        })
        .unwrap();
    let begin = Instant::now();
    for client in [&mut one, &mut two] {
        let state = EventKind::State {
            state: State::Stopping,
        };
        assert_eq!(client.next_event().unwrap().kind, state);
        let event = client.next_event().unwrap();
        assert_eq!(
            (event.seq, event.kind),
            (2, EventKind::Balloon { target: 1 << 20 })
        );
    }
    machine.status.end("poweroff");
    let end = EventKind::End {
        reason: "poweroff".into(),
    };
    assert_eq!(one.next_event().unwrap().kind, end);
    assert_eq!(two.next_event().unwrap().kind, end);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn followers_who_do_not_read_hold_up_nobody_and_are_let_go() {
    let machine = serve();
    let path = machine.folder.path().join("control");
    let mut deaf = ControlClient::connect(&path, Duration::from_secs(20)).unwrap();
    deaf.ask(&Request::Events { follow: true }).unwrap();
    let mut client = machine.client();
    for _ in 0..5000 {
        let asked = ask(&mut client, r#"{"request":"balloon","size":"1M"}"#);
        assert_eq!(asked["ok"], true);
    }
    let begin = Instant::now();
    machine.status.end("poweroff");
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn more_clients_than_there_is_room_for_are_served_in_the_end() {
    let machine = serve();
    let mut clients: Vec<_> = (0..100).map(|_| machine.client()).collect();
    for client in &mut clients {
        client
            .get_mut()
            .write_all(b"{\"request\":\"forwards\"}\n")
            .unwrap();
        client
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }
    for client in &mut clients {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("{\"ok\":true"), "{said}");
    }
}

#[test]
fn a_console_that_is_not_there_is_refused() {
    let machine = serve();
    let path = machine.folder.path().join("control");
    let client = ControlClient::connect(&path, Duration::from_secs(20)).unwrap();
    let refused = client.into_console(ConsoleName::Virtio, None);
    assert!(matches!(refused, Err(ControlError::Refused { why }) if why.contains("hvc0")));
}
