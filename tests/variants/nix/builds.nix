# Derivations that are built in VMs, with nothing but a static busybox.
{ vmm, tools, kernelImage, kernelModules, vmNix, kernelOutside, initrd }:

let
  folder = name: path: builtins.path { inherit name; path = /. + path; };
  bin = folder "tools" tools;
  shell = "${bin}/bin/sh";
  system = "x86_64-linux";

  plain = name: text: more: derivation ({
    inherit name system;
    builder = shell;
    args = [ "-e" (builtins.toFile "builder.sh" text) ];
    PATH = "${bin}/bin";
  } // more);

  pcp-vmm = plain "pcp-vmm" "mkdir -p $out/bin; cp $program $out/bin/pcp-vmm" { program = folder "program" vmm; };
  vm = import (/. + vmNix) { inherit pcp-vmm kernelImage kernelModules shell; };
  inherit (vm) runInLinuxVM;

  input = builtins.toFile "input" "from the store\n";
in
rec {
  good = runInLinuxVM (plain "good"
    ''
      test "$(id -u)-$PWD-$TMPDIR-$NIX_BUILD_TOP" = 0-/tmp-/tmp-/tmp || exit 80
      test "$odd" = "it's \"odd\" \$x
      " || exit 81
      test -e /tmp/xchg/saved-env || exit 82
      if echo x 2>/dev/null >>$input; then exit 83; fi
      if chmod 0777 $input 2>/dev/null; then exit 84; fi
      if rm -f $input 2>/dev/null; then exit 85; fi
      if mkdir $PATH/new 2>/dev/null; then exit 86; fi
      mkdir $out
      cat $input >$out/copy
      chown 0:0 $out/copy
      uname -r >$out/kernel
      nproc >$out/processors
      for n in $(seq 200); do echo out $n; echo err $n >&2; done
    ''
    {
      inherit input;
      memSize = 300;
      odd = "it's \"odd\" $x\n";
      preVM = "echo before the VM";
      postVM = "echo after the VM >$out/hook";
    });

  seven = runInLinuxVM (plain "seven" "echo ends with seven; exit 7" { postVM = "echo never"; });

  panics = runInLinuxVM (plain "panics" "echo c >/proc/sysrq-trigger; sleep 60" { });

  late = runInLinuxVM (plain "late" "sleep 9999" { vmTimeout = 20; });

  # Attributes of all kinds, and the program as the derivation's builder itself.
  structured = derivation {
    name = "structured";
    inherit system;
    __structuredAttrs = true;
    requiredSystemFeatures = [ "kvm" ];
    builder = "${pcp-vmm}/bin/pcp-vmm";
    args = [ "sandbox" "--kernel" kernelImage "--modules" kernelModules ];
    origBuilder = shell;
    origArgs = [
      "-e"
      "-c"
      ''
        out=$(sed 's/.*"outputs":{"out":"\([^"]*\)".*/\1/' $NIX_ATTRS_JSON_FILE)
        grep -q outputs /tmp/xchg/.attrs.sh
        echo "two  words" >$out
      ''
    ];
    memSize = 256;
  };

  # An image that one VM writes as its root, and another as a disk.
  disk = runInLinuxVM (plain "disk"
    "echo kept >/kept; grep -q ' / ext' /proc/mounts; (sleep 9999; echo late >/late) & exit 0"
    {
      preVM = ''truncate -s 16M image; mke2fs -F image >/dev/null; diskImage=$PWD/image'';
      mountDisk = 1;
      postVM = "mkdir $out; cp image $out/image";
    });
  reads = runInLinuxVM (plain "reads"
    "mkdir /mnt; mount -t ext2 -o ro /dev/vda /mnt; test ! -e /mnt/late; cp /mnt/kept $out; dmesg | grep -q 'not cleanly' && exit 70; exit 0"
    { preVM = "cp ${disk}/image image; chmod u+w image; diskImage=$PWD/image"; });

  # The shape of vmTools' scripts: two virtiofsd, QEMU's words, a first stage in the initrd and a second in the store.
  stage2 = plain "stage2" "{ echo \"#!$shell\"; cat $text; } >$out; chmod 0755 $out" {
    inherit shell;
    text = builtins.toFile "stage2" ''
      . /tmp/xchg/saved-env
      cd /tmp
      "$origBuilder" $origArgs </dev/null
      echo $? >/tmp/xchg/in-vm-exit
      mount -o remount,ro dummy /
      poweroff -f
    '';
  };
  byQemu = name: text: plain name
    ''
      mkdir xchg
      export >xchg/saved-env
      for share in store:/nix/store xchg:$PWD/xchg; do
        socket=virtio-''${share%%:*}.sock
        /usr/lib/qemu/virtiofsd --socket-path=$socket -o source=''${share#*:},xattr,sandbox=chroot 2>/dev/null &
        until [ -S $socket ]; do sleep 0.1; done
      done
      $qemu -nographic -no-reboot -device virtio-rng-pci \
        -chardev socket,id=store,path=virtio-store.sock -device vhost-user-fs-pci,chardev=store,tag=store \
        -chardev socket,id=xchg,path=virtio-xchg.sock -device vhost-user-fs-pci,chardev=xchg,tag=xchg \
        -kernel $kernel -initrd $initrd -append "console=ttyS0 panic=1 command=$stage2 mountDisk= loglevel=4" \
        -m 512 -object memory-backend-memfd,id=mem,size=512M,share=on -machine memory-backend=mem
      [ -e xchg/in-vm-exit ] || { echo "no status"; exit 1; }
      exit $(cat xchg/in-vm-exit)
    ''
    {
      qemu = vm.customQemu;
      kernel = kernelOutside;
      inherit initrd stage2;
      origBuilder = shell;
      origArgs = [ "-e" (builtins.toFile "builder.sh" text) ];
    };
  byQemuGood = byQemu "by-qemu-good" "cat $origBuilder >/dev/null; uname -s >$out";
  byQemuSeven = byQemu "by-qemu-seven" "echo ends with seven; exit 7";
}
