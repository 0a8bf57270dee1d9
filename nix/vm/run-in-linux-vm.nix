# Derivations whose builder runs in a VM, without QEMU, virtiofsd or an initrd of their own (docs/sandbox.md).
#
#   vm = import ./nix/vm/run-in-linux-vm.nix { pcp-vmm = …; kernel = pkgs.linux; shell = "${pkgs.bash}/bin/sh"; };
#   vm.runInLinuxVM drv        # drv, its builder in a VM; it may set memSize, diskImage, mountDisk, preVM, postVM, vmTimeout
#   vmTools.override { inherit (vm) customQemu; }      # vmTools' own scripts, with this program in QEMU's place
{
  # The package, with bin/pcp-vmm; static, or its libraries are part of every such build.
  pcp-vmm
, # A kernel package, with bzImage and lib/modules/<version>.
  kernel ? null
, # Its file and the folder of its modules, with modules.dep in it.
  kernelImage ? "${kernel}/bzImage"
, kernelModules ? "${kernel.modules or kernel}/lib/modules/${kernel.modDirVersion or kernel.version}"
, # The shell that runs preVM and postVM; the guest's /bin/sh. Structured attributes take bash.
  shell
}:

let
  program = "${pcp-vmm}/bin/pcp-vmm";
  system = "x86_64-linux";

  # Builds have no cache, and a VM starts faster from what a bzImage holds: Nix keeps it. A file outside of the store may change.
  image =
    if builtins.hasContext "${kernelImage}" then
      derivation
        {
          name = "vmlinux";
          inherit system;
          builder = program;
          args = [ "kernel" "unpack" "${kernelImage}" "--output" (builtins.placeholder "out") ];
        }
    else kernelImage;

  # What the builder in the VM finds in its environment, as the derivation says it, and what vm-run.sh wants to know.
  change = drv:
    let own = drv.drvAttrs; in
    {
      builder = shell;
      args = [ "-e" ./vm-run.sh ];
      origBuilder = own.builder;
      origArgs = own.args or [ ];
      memSize = own.memSize or 512;
      requiredSystemFeatures = (own.requiredSystemFeatures or [ ]) ++ [ "kvm" ];
      # Their files are in the build's folder, which the guest does not have.
      passAsFile = [ ];
      pcpVmm = program;
      vmKernel = image;
      vmModules = kernelModules;
      vmShell = shell;
    };

  # As a package: what is not part of the derivation stays with it.
  keep = drv: builtins.intersectAttrs { meta = null; passthru = null; pname = null; version = null; } drv;
in
{
  runInLinuxVM = drv:
    if (drv.system or "") != system then
      throw "runInLinuxVM: `${drv.name or "?"}` is for ${drv.system or "no system"}; its VM needs x86_64-linux"
    else
      derivation (drv.drvAttrs // change drv) // keep drv;

  customQemu = "${program} qemu-compat";
}
