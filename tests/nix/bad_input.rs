//! What is not had is an error that says what is.

use super::Nix;

#[test]
fn an_unknown_value_of_an_option_is_an_error_that_names_the_known_ones() {
    let cases = [
        (
            "variant = \"bcc\"",
            "there is no variant `bcc`; there are base, eval, grafana, bpf",
        ),
        (
            "networking = \"vde\"",
            "`networking` is `vde`; there are user, tap",
        ),
        (
            "store = \"nfs\"",
            "`store` is `nfs`; there are virtiofs, 9p, disk",
        ),
        (
            "portScheme = \"mine\"",
            "`portScheme` is `mine`; there are documented, upstream",
        ),
        (
            "portOffset = 70000",
            "`portOffset` is 70000; it is a number from 0 to 20000",
        ),
        (
            "enableBpf = \"yes\"",
            "`enableBpf` is a string; it is true or false",
        ),
        ("debugMode = 1", "`debugMode` is a int; it is true or false"),
    ];
    for nix in Nix::both() {
        for (option, sentence) in cases {
            let said = nix.error(&format!("(flake.lib.mkMicroVM {{ {option}; }}).manifest"));
            assert!(said.contains(sentence), "{}: {option}: {said}", nix.name);
        }
    }
}

#[test]
fn services_and_identifiers_name_what_is_wrong() {
    let cases = [
        (
            "flake.lib.mkService { name = \"x\"; flags = [ ]; manager = \"upstart\"; }",
            "there is no service manager `upstart`",
        ),
        (
            "flake.lib.mkService { name = \"a b\"; flags = [ ]; }",
            "`a b` is no name of a VM",
        ),
        (
            "(flake.lib.runInLinuxVM { name = \"thing\"; system = \"aarch64-linux\"; }).name",
            "its VM needs x86_64-linux",
        ),
        (
            "flake.lib.assignIds { vms.a = [ \"disks\" ]; }",
            "`a` needs a number of the pool `disks`; there are addresses, cids, consoles, macs, ports, uids",
        ),
        (
            "flake.lib.assignIds { vms = { a = [ \"p\" ]; b = [ \"p\" ]; }; pools.p = { min = 1; max = 1; }; }",
            "the pool `p` has nothing left for `b`",
        ),
        (
            "flake.lib.constants.timeout \"base\" \"nap\"",
            "there is no phase `nap`",
        ),
    ];
    for nix in Nix::both() {
        for (text, sentence) in cases {
            let said = nix.error(text);
            assert!(said.contains(sentence), "{}: {text}: {said}", nix.name);
        }
    }
}

#[test]
fn a_hypervisor_beside_qemu_is_refused_by_the_module() {
    let vm =
        "(nixpkgs.nixosSystem { system = \"x86_64-linux\"; modules = [ flake.nixosModules.microvm
        { microvm.hypervisor = \"firecracker\"; } ]; }).config.system.build.toplevel.drvPath";
    for nix in Nix::both() {
        let said = nix.error(vm);
        assert!(
            said.contains("leave `microvm.hypervisor` at `qemu`"),
            "{said}"
        );
    }
}

#[test]
fn another_system_is_told_where_the_program_runs() {
    for nix in Nix::both() {
        let system = "aarch64-linux";
        let output = nix.output(&format!("packages.{system}.default"));
        let done = nix.nix(&[
            "build",
            "--no-link",
            "-L",
            "--system",
            system,
            "--option",
            "sandbox",
            "false",
            &output,
        ]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success());
        assert!(
            said.contains("pcp-vmm runs on x86_64-linux, by its KVM, and not on aarch64-linux."),
            "{said}"
        );
        let package = "let p = nixpkgs.legacyPackages.x86_64-linux; in
            p.callPackage (flake + \"/nix/package.nix\") { stdenv.hostPlatform.system = \"aarch64-linux\"; }";
        let said = nix.error(package);
        assert!(
            said.contains("pcp-vmm runs on x86_64-linux, by its KVM, and not on aarch64-linux."),
            "{said}"
        );
    }
}
