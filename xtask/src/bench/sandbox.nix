# One small derivation three ways: as it is, in this program's VM, and in QEMU's as nixpkgs' vmTools start it. A new `nonce` is
# a new derivation.
{ vmm, tools, kernel, modules, initrd, vmNix, qemu, virtiofsd, nonce }:

let
  folder = name: path: builtins.path { inherit name; path = /. + path; };
  bin = folder "tools" tools;
  shell = "${bin}/bin/sh";
  image = folder "bzImage" kernel;
  plain = name: text: more: derivation ({
    inherit name nonce;
    system = "x86_64-linux";
    builder = shell;
    args = [ "-e" (builtins.toFile "builder.sh" text) ];
    PATH = "${bin}/bin";
  } // more);
  program = plain "pcp-vmm" "mkdir -p $out/bin; cp $program $out/bin/pcp-vmm" { nonce = ""; program = folder "program" vmm; };
  vm = import (/. + vmNix) {
    inherit shell;
    pcp-vmm = program;
    kernelImage = image;
    kernelModules = modules;
  };
  work = "echo $nonce >$out";
in
{
  native = plain "native" work { };

  ours = vm.runInLinuxVM (plain "ours" work { });

  qemu = plain "qemu"
    ''
      mkdir xchg
      export >xchg/saved-env
      for share in store:/nix/store xchg:$PWD/xchg; do
        socket=virtio-''${share%%:*}.sock
        $virtiofsd --xattr --socket-path $socket --sandbox none --seccomp none --shared-dir ''${share#*:} 2>/dev/null &
        until [ -S $socket ]; do sleep 0.01; done
      done
      $qemu -machine accel=kvm:tcg -cpu max -nographic -no-reboot -vga none -device virtio-rng-pci \
        -chardev socket,id=store,path=virtio-store.sock -device vhost-user-fs-pci,chardev=store,tag=store \
        -chardev socket,id=xchg,path=virtio-xchg.sock -device vhost-user-fs-pci,chardev=xchg,tag=xchg \
        -kernel $image -initrd $initrd -append "console=ttyS0 panic=1 command=$stage2 mountDisk= loglevel=4" \
        -m 512 -object memory-backend-memfd,id=mem,size=512M,share=on -machine memory-backend=mem
      exit $(cat xchg/in-vm-exit)
    ''
    {
      inherit qemu virtiofsd image initrd;
      stage2 = plain "stage2" "{ echo \"#!$shell\"; cat $text; } >$out; chmod 0755 $out" {
        inherit shell;
        nonce = "";
        text = builtins.toFile "stage2" ''
          . /tmp/xchg/saved-env
          cd /tmp
          "$origBuilder" $origArgs </dev/null
          echo $? >/tmp/xchg/in-vm-exit
          mount -o remount,ro dummy /
          poweroff -f
        '';
      };
      origBuilder = shell;
      origArgs = [ "-e" (builtins.toFile "builder.sh" work) ];
    };
}
