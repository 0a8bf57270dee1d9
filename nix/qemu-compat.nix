# The program under QEMU's name, for what calls `qemu-system-x86_64` by a package: microvm.nix (`microvm.qemu.package`), vmTools and
# NixOS's tests. It can be overridden as QEMU's package can be; what those overrides choose among QEMU's features means nothing here.
{ lib, runCommand, pcp-vmm }:
lib.makeOverridable
  (_options: runCommand "pcp-vmm-qemu-compat-${pcp-vmm.version}"
  {
    passthru = {
      inherit (pcp-vmm) version;
      # What microvm.nix asks for before it gives `-sandbox on`.
      configureFlags = [ "--enable-seccomp" ];
    };
    meta = {
      description = "pcp-vmm behind the command line of qemu-system-x86_64";
      mainProgram = "qemu-system-x86_64";
      platforms = [ "x86_64-linux" ];
    };
  } ''
    mkdir -p $out/bin
    ln -s ${pcp-vmm}/bin/pcp-vmm $out/bin/qemu-system-x86_64
    ln -s ${pcp-vmm}/bin/pcp-vmm $out/bin/qemu-kvm
  '')
{ }
