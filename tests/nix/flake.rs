//! What the flake offers, and its own checks.

use super::Nix;

#[test]
fn the_lock_is_accepted_without_a_network() {
    for nix in Nix::both() {
        let flake = format!("path:{}", nix.path("flake").display());
        let done = nix.run(&[
            "nix",
            "flake",
            "metadata",
            "--no-update-lock-file",
            "--json",
            &flake,
        ]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{}: {said}", nix.name);
        let locks: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        for input in ["nixpkgs", "microvm", "pcp"] {
            let rev = &locks["locks"]["nodes"][input]["locked"]["rev"];
            assert_eq!(rev.as_str().map(str::len), Some(40), "{input}: {rev}");
        }
    }
}

#[test]
fn the_outputs_are_shown() {
    for nix in Nix::both() {
        let flake = format!("path:{}", nix.path("flake").display());
        let (shown, _) = nix.says(&["flake", "show", "--json", &flake]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        // Some versions put the outputs one level deeper.
        let shown = shown.get("inventory").unwrap_or(&shown).to_string();
        for name in [
            "pcp-vmm-static",
            "pcp-microvm-grafana-tap",
            "pcp-lifecycle-full-test-grafana-tap",
            "pcp-vm-ssh",
            "pcp-test-eval-tap",
            "pcp-test-all-microvms",
            "nixosModules",
            "devShells",
            "formatter",
            "overlays",
            "templates",
        ] {
            assert!(
                shown.contains(&format!("\"{name}\"")),
                "{}: {name}",
                nix.name
            );
        }
    }
}

#[test]
fn the_flakes_own_checks_are_built() {
    for nix in Nix::both() {
        let flake = format!("path:{}", nix.path("flake").display());
        nix.says(&["flake", "check", &flake]);
    }
}

#[test]
fn an_app_is_called_as_its_program() {
    let apps = "builtins.mapAttrs (_: app: baseNameOf app.program) \
        (removeAttrs flake.apps.x86_64-linux [ \"default\" ])";
    for nix in Nix::both() {
        let apps = nix.eval("--json", apps);
        let apps: serde_json::Value = serde_json::from_str(&apps).unwrap();
        let apps = apps.as_object().unwrap();
        assert!(apps.len() > 25, "{apps:?}");
        for (app, program) in apps {
            assert_eq!(program, app);
        }
    }
}

#[test]
fn the_overlay_brings_the_programs() {
    let text =
        "builtins.attrNames (flake.overlays.default nixpkgs.legacyPackages.x86_64-linux { })";
    for nix in Nix::both() {
        let names = nix.eval("--json", text);
        assert_eq!(
            names.trim(),
            r#"["pcp-vmm","pcp-vmm-qemu-compat","pcp-vmm-static"]"#
        );
    }
}

#[test]
fn a_host_has_the_units_of_its_vms() {
    let host = "(nixpkgs.nixosSystem { system = \"x86_64-linux\"; modules = [ flake.nixosModules.host {
        virtualisation.pcp-vmm = { enable = true; tap.enable = true; vms.web = { flags = [ \"--variant\" \"base\" ]; }; };
      } ]; }).config";
    for nix in Nix::both() {
        let units = nix.eval(
            "--json",
            &format!("builtins.attrNames ({host}).systemd.services"),
        );
        assert_eq!(units.trim(), r#"["pcp-vmm-network","pcp-vmm-web"]"#);
        let setup = format!("({host}).systemd.services.pcp-vmm-network.serviceConfig.ExecStart");
        let setup = nix.eval("--raw", &setup);
        assert!(
            setup.contains("pcp-vmm network setup") && setup.ends_with("--user pcp-vmm"),
            "{setup}"
        );
    }
}

#[test]
fn a_template_is_a_flake_of_its_own() {
    for nix in Nix::both() {
        let paths = nix.eval("--json", "builtins.mapAttrs (_: it: builtins.attrNames (import (it.path + \"/flake.nix\"))) flake.templates");
        let paths: serde_json::Value = serde_json::from_str(&paths).unwrap();
        for (name, parts) in paths.as_object().unwrap() {
            assert_eq!(
                parts.to_string(),
                r#"["description","inputs","outputs"]"#,
                "{name}"
            );
        }
        let guest = "((import (flake.templates.guest.path + \"/flake.nix\")).outputs { pcp-vmm = flake; }) \
            .packages.x86_64-linux.default.manifest.hostname";
        assert_eq!(nix.eval("--raw", guest), "pcp-vm");
        let microvm = "((import (flake.templates.microvm.path + \"/flake.nix\")).outputs { inherit nixpkgs; pcp-vmm = flake; }) \
            .packages.x86_64-linux.default.hypervisor";
        assert_eq!(nix.eval("--raw", microvm), "pcp-vmm");
    }
}

#[test]
fn a_derivation_is_made_one_that_is_built_in_a_vm() {
    let drv = "(flake.lib.runInLinuxVM (nixpkgs.legacyPackages.x86_64-linux.runCommand \"thing\" { memSize = 300; } \"touch $out\"))";
    for nix in Nix::both() {
        let text = format!(
            "with {drv}; {{ inherit name memSize requiredSystemFeatures; own = baseNameOf origBuilder; }}"
        );
        let found: serde_json::Value = serde_json::from_str(&nix.eval("--json", &text)).unwrap();
        assert_eq!(found["name"], "thing");
        assert_eq!(found["memSize"], 300);
        assert_eq!(found["requiredSystemFeatures"], serde_json::json!(["kvm"]));
        assert!(found["own"].as_str().unwrap().ends_with("bash"), "{found}");
        let qemu = nix.eval("--raw", "flake.lib.customQemu");
        assert!(qemu.ends_with("/bin/pcp-vmm qemu-compat"), "{qemu}");
    }
}
