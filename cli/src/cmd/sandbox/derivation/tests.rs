use clap::{Args, Command, FromArgMatches};

use super::*;

fn args(words: &[&str]) -> SandboxArgs {
    let command = SandboxArgs::augment_args(Command::new("sandbox"));
    let matches = command.get_matches_from(["sandbox"].iter().chain(words));
    SandboxArgs::from_arg_matches(&matches).unwrap()
}

/// A build with this in its environment.
const PLAIN: [(&str, &str); 5] = [
    ("origBuilder", "/store/bash"),
    ("origArgs", "-e  builder.sh"),
    ("memSize", "1024"),
    ("enableParallelBuilding", "1"),
    ("NIX_BUILD_CORES", "3"),
];

fn derivation(flags: &[&str], environment: &[(&str, &str)]) -> Result<Derivation, Diagnostic> {
    let environment = Environment::of(environment);
    Derivation::of(&args(flags), &Words::read(&environment)?)
}

#[test]
fn the_environment_says_what_is_built() {
    let found = derivation(&[], &PLAIN).unwrap();
    let builder = ["/store/bash", "-e", "builder.sh"].map(OsString::from);
    let wanted = Derivation {
        builder: builder.to_vec(),
        memory: MemorySize(1 << 30),
        cpus: 3,
        disk: None,
        root: None,
        store: "/nix/store".into(),
    };
    assert_eq!(found, wanted);
}

#[test]
fn flags_go_before_the_environment() {
    let flags = [
        "--memory",
        "64M",
        "--cpus",
        "2",
        "--store",
        "/s",
        "--disk-image",
        "d",
        "--mount-disk",
        "--",
        "/b",
        "x y",
    ];
    let found = derivation(
        &flags,
        &[&PLAIN[..], &[("diskImage", "e"), ("NIX_STORE", "/t")]].concat(),
    );
    let found = found.unwrap();
    assert_eq!(found.builder, ["/b", "x y"].map(OsString::from));
    assert_eq!((found.memory, found.cpus), (MemorySize(64 << 20), 2));
    assert_eq!(found.disk, Some("d".into()));
    assert!(found.root.is_some());
    assert_eq!(found.store, PathBuf::from("/s"));
}

#[test]
fn structured_attributes_are_read_from_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".attrs.json");
    let text = r#"{"origBuilder": "/b", "origArgs": ["-e", "a b"], "memSize": 256,
        "enableParallelBuilding": true, "diskImage": "/d", "mountDisk": false}"#;
    fs::write(&file, text).unwrap();
    let named = [
        ("NIX_ATTRS_JSON_FILE", file.to_str().unwrap()),
        ("NIX_BUILD_CORES", "2"),
    ];
    let found = derivation(&[], &named).unwrap();
    assert_eq!(found.builder, ["/b", "-e", "a b"].map(OsString::from));
    assert_eq!((found.memory, found.cpus), (MemorySize(256 << 20), 2));
    assert_eq!((found.disk, found.root), (Some("/d".into()), None));
    fs::write(&file, "{").unwrap();
    let diagnostic = derivation(&[], &named).unwrap_err();
    assert!(diagnostic.message.contains(".attrs.json"), "{diagnostic:?}");
}

#[test]
fn a_build_that_says_nothing_of_its_machine_gets_a_small_one() {
    let found = derivation(&[], &[("origBuilder", "/b"), ("NIX_BUILD_CORES", "8")]).unwrap();
    assert_eq!((found.memory, found.cpus), (MEMORY, 1));
    let all = [
        ("origBuilder", "/b"),
        ("enableParallelBuilding", "1"),
        ("NIX_BUILD_CORES", "0"),
    ];
    assert!((1..=64).contains(&derivation(&[], &all).unwrap().cpus));
    let many = [
        ("origBuilder", "/b"),
        ("enableParallelBuilding", "1"),
        ("NIX_BUILD_CORES", "999"),
    ];
    assert_eq!(derivation(&[], &many).unwrap().cpus, 64);
}

#[test]
fn what_is_wrong_is_named() {
    let message = |environment: &[(&str, &str)]| {
        let diagnostic = derivation(&[], environment).unwrap_err();
        assert!(!diagnostic.hints.is_empty());
        [vec![diagnostic.message], diagnostic.causes]
            .concat()
            .join(": ")
    };
    let builder = ("origBuilder", "/b");
    assert!(message(&[]).contains("no `origBuilder`"));
    assert!(message(&[("origBuilder", "")]).contains("no `origBuilder`"));
    for wrong in ["much", "0", "-1", "1.5", "512M", "99999999999999999999"] {
        assert_eq!(
            message(&[builder, ("memSize", wrong)]),
            format!("`memSize` is `{wrong}`")
        );
    }
    let cores = [
        builder,
        ("enableParallelBuilding", "1"),
        ("NIX_BUILD_CORES", "all"),
    ];
    assert_eq!(message(&cores), "`NIX_BUILD_CORES` is `all`");
    assert!(message(&[builder, ("mountDisk", "1")]).contains("no disk"));
}
