//! Bad input: an error that names what is wrong, with a hint, exit status 1 or 2, and nothing left behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::{Ended, TestVm, elf, ports};

use super::Guest;

fn guest() -> Guest {
    Guest::new(&one_byte(Stop::PowerOff))
}

/// Runs the program with arguments that it must refuse, naming all of `names`.
fn refuses(arguments: &[String], names: &[&str]) -> Ended {
    check(TestVm::start(arguments).unwrap(), names)
}

/// Runs the usual guest with `more` arguments, which must be refused, naming all of `names`.
fn refuses_more(more: &[&str], names: &[&str]) -> Ended {
    check(guest().run(more), names)
}

fn check(vm: TestVm, names: &[&str]) -> Ended {
    let ended = vm.wait(20).unwrap();
    assert!([1, 2].contains(&ended.code), "{ended:?}");
    assert!(ended.err.starts_with("error: "), "{}", ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    for name in names {
        assert!(ended.err.contains(name), "no `{name}` in: {}", ended.err);
    }
    ended
}

fn refuses_kernel(content: &[u8], names: &[&str]) {
    let guest = guest();
    fs::write(guest.kernel(), content).unwrap();
    refuses(&guest.arguments(&[]), names);
}

#[test]
fn a_missing_kernel() {
    let guest = guest();
    fs::remove_file(guest.kernel()).unwrap();
    refuses(&guest.arguments(&[]), &["kernel"]);
}

#[test]
fn a_folder_as_kernel() {
    let guest = guest();
    fs::remove_file(guest.kernel()).unwrap();
    fs::create_dir(guest.kernel()).unwrap();
    refuses(&guest.arguments(&[]), &["kernel"]);
}

#[test]
fn an_empty_kernel() {
    refuses_kernel(b"", &["kernel"]);
}

#[test]
fn a_text_as_kernel() {
    refuses_kernel(b"#!/bin/sh\necho no kernel\n", &["kernel"]);
}

#[test]
fn a_truncated_kernel() {
    let whole = one_byte(Stop::PowerOff).kernel();
    for length in [5, 63, 100, whole.len() - 1] {
        refuses_kernel(&whole[..length], &["kernel"]);
    }
}

#[test]
fn a_kernel_for_another_architecture() {
    const AARCH64: u16 = 183;
    refuses_kernel(&elf::executable(b"\xf4", AARCH64), &["kernel"]);
}

#[test]
fn an_initrd_larger_than_memory() {
    let guest = guest();
    let initrd = guest.folder.path().join("initrd");
    fs::File::create(&initrd)
        .unwrap()
        .set_len(200 << 20)
        .unwrap();
    refuses(
        &guest.arguments(&["--initrd", initrd.to_str().unwrap()]),
        &["initrd"],
    );
}

#[test]
fn a_missing_initrd() {
    refuses_more(&["--initrd", "/no/such/initrd"], &["/no/such/initrd"]);
}

#[test]
fn impossible_sizes_of_memory() {
    let guest = guest();
    for memory in ["0", "1B", "1", "1P", "1024T", "-1", "many", ""] {
        let mut arguments = guest.arguments(&[]);
        arguments[4] = memory.into();
        refuses(&arguments, &["memory"]);
    }
}

#[test]
fn impossible_numbers_of_processors() {
    let guest = guest();
    for cpus in ["0", "65", "1000000", "-1", "two"] {
        let mut arguments = guest.arguments(&[]);
        arguments[6] = cpus.into();
        refuses(&arguments, &["cpus"]);
    }
}

#[test]
fn a_busy_console_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let console = format!("tcp={port}");
    refuses_more(&["--console", &console], &[&port.to_string()]);
}

#[test]
fn a_busy_forwarded_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let guest = guest();
    let mut arguments = guest.arguments(&["--forward", &format!("{port}:22")]);
    let net = arguments.iter().position(|word| word == "none").unwrap();
    arguments[net] = "user".into();
    let ended = refuses(&arguments, &[&port]);
    // The owner of the port is this process, which the program may look up.
    let me = std::process::id().to_string();
    assert!(
        ended.err.contains(&me) || ended.err.contains("tiny"),
        "{}",
        ended.err
    );
}

#[test]
fn one_busy_port_leaves_the_others_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().port();
    let free = ports::free().unwrap();
    let serial = format!("serial=tcp={free}");
    let virtio = format!("virtio=tcp={busy}");
    refuses_more(
        &["--console", &serial, "--console", &virtio],
        &[&busy.to_string()],
    );
    ports::ensure_free(free).unwrap();
}

#[test]
fn a_share_that_does_not_exist() {
    refuses_more(&["--share", "data=/no/such/folder"], &["/no/such/folder"]);
}

#[test]
fn a_disk_that_does_not_exist() {
    refuses_more(&["--disk", "/no/such/disk"], &["/no/such/disk"]);
}

#[test]
fn a_command_line_that_is_too_long() {
    refuses_more(&["--cmdline", &"x".repeat(5000)], &["command line"]);
}

#[test]
fn an_unknown_argument() {
    refuses_more(&["--no-such-flag"], &["--no-such-flag"]);
}

fn refuses_bundle(manifest: &str, names: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bundle.json"), manifest).unwrap();
    refuses(&bundle(folder.path()), names);
}

fn bundle(folder: &Path) -> Vec<String> {
    ["run", "--bundle", folder.to_str().unwrap()]
        .map(String::from)
        .to_vec()
}

#[test]
fn a_bundle_without_manifest() {
    let folder = tempfile::tempdir().unwrap();
    refuses(&bundle(folder.path()), &["bundle.json"]);
}

#[test]
fn a_bundle_that_is_no_json() {
    refuses_bundle("{", &["bundle.json"]);
    refuses_bundle("", &["bundle.json"]);
    refuses_bundle("[1, 2]", &["bundle.json"]);
}

#[test]
fn a_bundle_of_another_version() {
    refuses_bundle("{\"version\": 999}", &["version"]);
}
