# The flake's checks. Those that need whole guests are made with the stand-in of nixpkgs alone, where a guest is a few files.
{ pkgs, nixpkgs, nixosModules, guests, scripts, own, lib }:
let
  ids = lib.assignIds { vms = { a = [ "ports" "consoles" ]; b = [ "ports" ]; }; };
  later = lib.assignIds { vms = { b = [ "ports" ]; c = [ "ports" ]; }; previous = ids; };
  managers = [ "systemd" "supervisord" "sysvinit" "s6-rc" "bsdrc" "launchd" "docker-compose" ];
  service = manager: lib.mkService { name = "base"; inherit manager; flags = [ "--variant" "base" ]; };
  check = name: pkgs.runCommand "check-${name}" { nativeBuildInputs = [ own.pcp-vmm ]; };
in
{
  program = check "program" ''
    pcp-vmm --version | tee $out
  '';
  # An overridden QEMU is still the program.
  qemu-compat = check "qemu-compat" ''
    ${own.pcp-vmm-qemu-compat.override (_: { nixosTestRunner = true; })}/bin/qemu-system-x86_64 \
      --explain -nodefaults -m 512 -kernel /dev/null > $out
  '';
  services = check "services" (pkgs.lib.concatMapStrings
    (manager: ''
      find ${service manager}/ -type f | grep . >> $out
    '')
    managers);
  ids = assert ids.ids.ports == { a = 28000; b = 28016; } && ids.ids.consoles == { a = 24540; };
    assert later.ids.ports == { b = 28016; c = 28032; } && later.lastAssignments == { ports = 28032; consoles = 24540; };
    check "ids" "touch $out";
} // pkgs.lib.optionalAttrs (nixpkgs.isStub or false) {
  # A VM of microvm.nix with all that makes its scripts long.
  runner =
    let
      vm = nixpkgs.nixosSystem {
        system = "x86_64-linux";
        modules = [
          nixosModules.microvm
          {
            networking.hostName = "everything";
            microvm = {
              vcpu = 2;
              balloon = true;
              machineId = "a77a03d9-0000-4000-8000-000000000001";
              registerWithMachined = true;
              vsock.cid = 7;
              preStart = "echo begin";
              extraArgsScript = "echo --memory 1G";
              interfaces = [{ type = "macvtap"; id = "mv0"; mac = "02:00:00:00:00:01"; macvtap = { link = "eth0"; mode = "bridge"; }; }];
              volumes = [
                { image = "a disk.img"; size = 64; label = "data"; mkfsExtraArgs = [ "-m" "0" ]; }
                { image = "made.img"; size = 64; autoCreate = false; }
              ];
              shares = [{ proto = "virtiofs"; tag = "ro-store"; source = "/nix/store"; mountPoint = "/nix/.ro-store"; }];
            };
          }
        ];
      };
      inherit (vm.config.microvm) declaredRunner;
    in
    check "runner" ''
      cd ${declaredRunner}/share/microvm
      diff - macvtap-interfaces <<< "mv0 02:00:00:00:00:01 eth0 bridge"
      diff - virtiofs/ro-store/source <<< /nix/store
      diff - virtiofs/ro-store/socket <<< virtiofs-ro-store.sock
      diff - vsock-cid <<< 7
      diff - hypervisor <<< pcp-vmm
      diff - tap-flags <<< vnet_hdr$'\n'multi_queue
      for script in run shutdown balloon register unregister; do test -x ../../bin/microvm-$script; done
      mkdir $out
      ln -s ${declaredRunner}/bin $out/bin
    '';

  # The program takes every guest's manifest, and what is to be run is there under its name.
  guests = check "guests" (pkgs.lib.concatStrings (pkgs.lib.mapAttrsToList
    (name: guest: ''
      test -x ${guest}/bin/microvm-run
      test -x ${guest}/bin/microvm-shutdown
      echo ${name} >> $out
      HOME=$PWD ${guest}/bin/microvm-run --dry-run >> $out
    '')
    guests));
  scripts = check "scripts" (pkgs.lib.concatStrings
    (pkgs.lib.mapAttrsToList
      (name: script: ''
        test -x ${script}/bin/${name}
        echo ${name} >> $out
      '')
      scripts.packages) + pkgs.lib.concatStrings (pkgs.lib.mapAttrsToList
    (name: app: ''
      test "$(basename ${app.program})" = ${name}
    '')
    scripts.apps));
}
