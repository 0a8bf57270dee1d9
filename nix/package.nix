# The program, by nixpkgs' Rust.
{ lib
, rustPlatform
, stdenv
, installShellFiles
  # A static build of the same: it has the init of guests, which is made for the static target whatever the program is made for.
, pcp-vmm-static ? null
}:
let
  manifest = builtins.fromTOML (builtins.readFile ../Cargo.toml);
  folders = [ ".cargo" "cli" "devices" "guest" "tests" "vmm" "xtask" ];
  files = [ "Cargo.toml" "Cargo.lock" "clippy.toml" "rust-toolchain.toml" "rustfmt.toml" "docs" ];
  top = toString ../.;
in
if stdenv.hostPlatform.system != "x86_64-linux"
then
  throw ''
    pcp-vmm runs on x86_64-linux, by its KVM, and not on ${stdenv.hostPlatform.system}. Use a machine of that system, or one as a
    remote builder (nix.buildMachines), or `nix build --system x86_64-linux` where such a builder is set up.''
else
  rustPlatform.buildRustPackage {
    pname = "pcp-vmm";
    inherit (manifest.workspace.package) version;

    # What the build reads: another document is no other program.
    src = builtins.path {
      path = ../.;
      name = "pcp-vmm-source";
      filter = path: _type:
        let relative = lib.removePrefix "${top}/" (toString path); in
        builtins.elem (builtins.head (lib.splitString "/" relative)) (folders ++ files);
    };
    cargoLock.lockFile = ../Cargo.lock;
    cargoBuildFlags = [ "--package" "pcp-vmm-cli" ];
    nativeBuildInputs = [ installShellFiles ];
    # `cargo xtask test` runs the tests: they want a KVM, and packages of Debian.
    doCheck = false;

    ${if pcp-vmm-static == null then null else "PCP_VMM_GUEST_INIT"} = "${pcp-vmm-static}/libexec/pcp-vmm/init";

    postInstall = lib.optionalString (pcp-vmm-static == null) ''
      find target -path '*/release/build/guest-*/out/init' -exec install -Dm444 {} $out/libexec/pcp-vmm/init \;
    '' + ''
      installManPage docs/man/*.1
      installShellCompletion --cmd pcp-vmm --bash docs/completions/pcp-vmm.bash --zsh docs/completions/_pcp-vmm \
        --fish docs/completions/pcp-vmm.fish
    '';

    meta = {
      description = "Virtual machine monitor for the MicroVMs of Performance Co-Pilot";
      license = with lib.licenses; [ asl20 mit ];
      mainProgram = "pcp-vmm";
      platforms = [ "x86_64-linux" ];
    };
  }
