//! Starting: machines of several sizes, and what a guest of a few instructions finds.

use pcp_vmm_tests::guests::{Code, Stop, one_byte};

use super::Guest;

#[test]
fn a_guest_writes_one_byte_and_powers_off() {
    let ended = Guest::new(&one_byte(Stop::PowerOff))
        .start(&[])
        .wait(20)
        .unwrap();
    assert_eq!((ended.code, ended.out.as_str()), (0, "!"), "{ended:?}");
}

#[test]
fn machines_of_many_sizes_start() {
    let guest = Guest::new(&one_byte(Stop::PowerOff));
    for (memory, cpus) in [("128M", "2"), ("3G", "1"), ("6G", "4"), ("512M", "64")] {
        let more = ["--console", "stdio"];
        let mut arguments = guest.arguments(&more);
        arguments[4] = memory.into();
        arguments[6] = cpus.into();
        let ended = pcp_vmm_tests::TestVm::start(&arguments)
            .unwrap()
            .wait(60)
            .unwrap();
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (0, "!"),
            "{memory} {cpus}: {ended:?}"
        );
    }
}

#[test]
fn much_output_arrives_whole() {
    let code = Code::default()
        .repeat(b'x', 1 << 18)
        .print("end")
        .stop(Stop::PowerOff);
    let ended = Guest::new(&code).start(&[]).wait(120).unwrap();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out.len(), (1 << 18) + 3);
    assert!(ended.out.ends_with("xend"));
}
