//! QEMU's monitors, with a machine that does what it is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::event::MachineEvent;

/// A machine with a monitor, whose orders are done at once.
struct Told {
    folder: tempfile::TempDir,
    status: Arc<Status>,
    done: Arc<std::sync::Mutex<Vec<Order>>>,
    ends: Arc<AtomicBool>,
    _devices: Devices,
}

fn monitored(language: &str) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let devices = Devices::new();
    let place = format!("{language}={}", folder.path().join("monitor").display());
    let mut socket = ControlSocket::default();
    socket.monitor(&place.parse().unwrap()).unwrap();
    assert!(socket.awaits().is_none());
    let (sender, receiver) = event::queue().unwrap();
    let status = Arc::new(Status::new(Instant::now(), sender));
    let (handle, _) = Console::open("ttyS0", &ConsoleSpec::None).unwrap();
    let served = devices.served(&status, handle);
    socket.serve(served, &Unconfined).unwrap();
    let (done, ends) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let told = Told {
        folder,
        status: Arc::clone(&status),
        done: Arc::clone(&done),
        ends: Arc::clone(&ends),
        _devices: devices,
    };
    thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            if receiver.take() != Some(MachineEvent::Ordered) {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let ordered = status.next_order().unwrap();
            devices::lock(&done).push(ordered.order);
            match ordered.order {
                Order::Pause => status.enter(State::Paused),
                Order::Resume => status.enter(State::Running),
                _ => {}
            }
            ordered.answer(Ok(()));
        }
    });
    told
}

impl Told {
    fn client(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("monitor")).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        BufReader::new(stream)
    }

    fn done(&self) -> Vec<Order> {
        devices::lock(&self.done).clone()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn next(client: &mut BufReader<UnixStream>) -> serde_json::Value {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// The answer to a QMP command.
fn execute(client: &mut BufReader<UnixStream>, command: &str) -> serde_json::Value {
    // Without an end of line, as some clients send.
    client.get_mut().write_all(command.as_bytes()).unwrap();
    next(client)
}

fn agreed(told: &Told) -> BufReader<UnixStream> {
    let mut client = told.client();
    let greeting = next(&mut client);
    assert!(
        greeting["QMP"]["version"]["qemu"]["major"].is_u64(),
        "{greeting}"
    );
    let agreed = execute(&mut client, r#"{"execute":"qmp_capabilities"}"#);
    assert_eq!(agreed, serde_json::json!({"return": {}}));
    client
}

#[test]
fn qmp_begins_with_capabilities_and_echoes_ids() {
    let told = monitored("qmp");
    let mut client = told.client();
    next(&mut client);
    let early = execute(&mut client, r#"{"execute":"query-status","id":"a"}"#);
    assert_eq!(
        (&early["error"]["class"], &early["id"]),
        (&"CommandNotFound".into(), &"a".into())
    );
    execute(&mut client, r#"{"execute":"qmp_capabilities"}"#);
    let twice = execute(&mut client, r#"{"execute":"qmp_capabilities"}"#);
    assert_eq!(twice["error"]["class"], "CommandNotFound");
    let status = execute(&mut client, r#"{"execute":"query-status","id":7}"#);
    assert_eq!(
        (&status["return"]["status"], &status["id"]),
        (&"running".into(), &7.into())
    );
}

#[test]
fn qmp_tells_what_the_machine_is() {
    let told = monitored("qmp");
    let mut client = agreed(&told);
    for (command, field, value) in [
        ("query-name", "/return/name", serde_json::json!("vm")),
        ("query-kvm", "/return/enabled", true.into()),
        ("query-version", "/return/package", "pcp-vmm".into()),
        ("query-target", "/return/arch", "x86_64".into()),
        ("query-balloon", "/return/actual", (128 << 20).into()),
        ("query-cpus-fast", "/return/0/cpu-index", 0.into()),
    ] {
        let answer = execute(&mut client, &format!(r#"{{"execute":"{command}"}}"#));
        assert_eq!(answer.pointer(field), Some(&value), "{answer}");
    }
    // Each that is listed is one.
    let listed = execute(&mut client, r#"{"execute":"query-commands"}"#);
    for name in listed["return"].as_array().unwrap() {
        let name = name["name"].as_str().unwrap();
        let mut answer = execute(&mut client, &format!(r#"{{"execute":"{name}"}}"#));
        while answer["event"].is_string() {
            answer = next(&mut client);
        }
        let desc = answer["error"]["desc"].as_str().unwrap_or_default();
        assert!(!desc.contains("not been found"), "{name}: {desc}");
    }
}

#[test]
fn qmp_tells_of_stop_cont_and_the_end() {
    let told = monitored("qmp");
    let mut client = agreed(&told);
    for (command, event) in [("stop", "STOP"), ("cont", "RESUME")] {
        let answer = execute(&mut client, &format!(r#"{{"execute":"{command}"}}"#));
        assert_eq!(answer["return"], serde_json::json!({}));
        let told = next(&mut client);
        assert_eq!(told["event"], event);
        assert!(told["timestamp"]["seconds"].is_u64(), "{told}");
    }
    execute(&mut client, r#"{"execute":"quit"}"#);
    told.status.end("killed");
    let end = next(&mut client);
    assert_eq!(
        (&end["event"], &end["data"]["reason"]),
        (&"SHUTDOWN".into(), &"host-qmp-quit".into())
    );
    assert_eq!(end["data"]["guest"], false);
    assert_eq!(told.done(), [Order::Pause, Order::Resume, Order::Quit]);
}

#[test]
fn the_only_keys_are_those_of_ctrl_alt_del() {
    let told = monitored("qmp");
    let mut client = agreed(&told);
    let key = |down: bool, name: &str| {
        format!(
            r#"{{"type":"key","data":{{"down":{down},"key":{{"type":"qcode","data":"{name}"}}}}}}"#
        )
    };
    let send = |keys: Vec<String>| {
        let keys = keys.join(",");
        format!(r#"{{"execute":"input-send-event","arguments":{{"events":[{keys}]}}}}"#)
    };
    let other = execute(&mut client, &send(vec![key(true, "a")]));
    assert_eq!(other["error"]["class"], "GenericError");
    let all = ["ctrl", "alt", "delete"];
    let done = execute(&mut client, &send(all.map(|name| key(true, name)).to_vec()));
    assert_eq!(done["return"], serde_json::json!({}));
    assert_eq!(told.done(), [Order::CtrlAltDel]);
}

#[test]
fn what_is_no_qmp_is_told_in_its_form_and_the_next_is_answered() {
    let told = monitored("qmp");
    let mut client = agreed(&told);
    for (text, class) in [
        ("nonsense\n", "GenericError"),
        ("{}\n", "GenericError"),
        ("[1]\n", "GenericError"),
        (r#"{"execute":"frob"}"#, "CommandNotFound"),
        (r#"{"execute":"balloon"}"#, "GenericError"),
        (
            r#"{"execute":"input-send-event","arguments":{"events":[{}]}}"#,
            "GenericError",
        ),
    ] {
        assert_eq!(
            execute(&mut client, text)["error"]["class"],
            class,
            "{text}"
        );
    }
    let name = execute(&mut client, r#"{"execute":"query-name"}"#);
    assert_eq!(name["return"]["name"], "vm");
}

/// What comes up to the next prompt.
fn prompted(client: &mut BufReader<UnixStream>) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"(qemu) ") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn the_prompt_follows_each_line() {
    let told = monitored("hmp");
    let mut client = told.client();
    assert!(prompted(&mut client).contains("monitor - type 'help'"));
    for (line, answer) in [
        ("info status", "VM status: running\r\n"),
        ("stop", ""),
        ("info status", "VM status: paused\r\n"),
        ("cont", ""),
        ("", ""),
        ("info name", "vm\r\n"),
        ("info kvm", "kvm support: enabled\r\n"),
        ("info balloon", "balloon: actual=128\r\n"),
        ("balloon 64", ""),
        ("sendkey ctrl-alt-delete", ""),
        ("system_powerdown", ""),
        ("screendump x", "unknown command: 'screendump'\r\n"),
        ("info frob", "unknown command: 'info frob'\r\n"),
    ] {
        client
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        assert_eq!(prompted(&mut client), format!("{answer}(qemu) "), "{line}");
    }
    client.get_mut().write_all(b"sendkey a\n").unwrap();
    assert!(prompted(&mut client).contains("only ctrl-alt-delete"));
    let orders = [
        Order::Pause,
        Order::Resume,
        Order::CtrlAltDel,
        Order::PowerButton,
    ];
    assert_eq!(told.done(), orders);
}
