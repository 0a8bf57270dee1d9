# microvm.nix's own module, unchanged, with pcp-vmm as the runner that it declares: the guest is the same as under QEMU.
{ microvm, pcp-vmm }:
{ config, lib, pkgs, ... }:
let
  cfg = config.microvm.pcp-vmm;
in
{
  imports = [ microvm.nixosModules.microvm ];

  options.microvm.pcp-vmm = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether `microvm.declaredRunner` starts the VM with pcp-vmm. `microvm.hypervisor` stays `qemu`.";
    };
    package = lib.mkOption {
      type = lib.types.package;
      default = pcp-vmm;
      description = "The pcp-vmm package.";
    };
  };

  config = {
    assertions = [{
      assertion = cfg.enable -> config.microvm.hypervisor == "qemu";
      message = "pcp-vmm stands in for QEMU: leave `microvm.hypervisor` at `qemu`, or set `microvm.pcp-vmm.enable = false`.";
    }];
    microvm.runner.pcp-vmm = import ./runner.nix {
      inherit pkgs;
      inherit (config.system.build) toplevel;
      microvmConfig = config.microvm // {
        inherit (config.networking) hostName;
        hypervisor = "pcp-vmm";
      };
    };
    # Above the option's default and below what a user says with mkForce.
    microvm.declaredRunner = lib.mkIf cfg.enable (lib.mkOverride 60 config.microvm.runner.pcp-vmm);
  };
}
