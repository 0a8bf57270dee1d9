# The flake's checks. Those that need whole guests are made with the stand-in of nixpkgs alone, where a guest is a few files.
{ pkgs, isStub, guests, scripts, own, lib }:
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
} // pkgs.lib.optionalAttrs isStub {
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
