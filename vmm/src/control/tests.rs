use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use devices::backend::net::user::UserNet;
use devices::backend::net::{Forward, UserSpec};
use devices::event_loop::Unconfined;
use devices::virtio::balloon::{Balloon, BalloonSpec};
use devices::virtio::net::Net;

use super::*;

struct Served {
    folder: tempfile::TempDir,
    _card: Net,
    _balloon: Balloon,
}

fn serve() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let net = UserNet::new([2, 0, 0, 0, 0, 1], None, &UserSpec::default()).unwrap();
    let forwards = vec![net.control()];
    let card = Net::with_backend([2, 0, 0, 0, 0, 1], Box::new(net));
    let balloon = Balloon::new(&BalloonSpec { size: 0 }).unwrap();
    let controls = Controls {
        balloon: Some(balloon.handle()),
        forwards,
        links: vec![card.link()],
        generation: None,
    };
    let socket = ControlSocket::bind(&folder.path().join("control")).unwrap();
    socket.serve(controls, &Unconfined).unwrap();
    Served {
        folder,
        _card: card,
        _balloon: balloon,
    }
}

impl Served {
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
    let remove = add.replace("add", "remove");
    assert_eq!(ask(&mut client, &remove)["ok"], true);
    assert_eq!(ask(&mut client, &remove)["ok"], false);
    let none = ask(&mut client, list)["forwards"].clone();
    assert_eq!(none.as_array().map(Vec::len), Some(0));
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
