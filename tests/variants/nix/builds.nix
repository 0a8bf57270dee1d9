# Derivations that are built in VMs, with nothing but a static busybox.
{ vmm, tools, kernelImage, kernelModules, vmNix }:

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
{
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
}
