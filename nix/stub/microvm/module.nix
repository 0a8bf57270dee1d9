# Names, types and defaults of microvm.nix's options as it documents them; what they do in a guest is not here.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  default = value: mkOption { default = value; };
  cfg = config.microvm;
  port = { address = default ""; port = mkOption { }; };
in
{
  options.microvm = {
    hypervisor = mkOption { type = types.enum [ "qemu" "cloud-hypervisor" "firecracker" "crosvm" "kvmtool" "stratovirt" "alioth" ]; default = "qemu"; };
    preStart = default "";
    extraArgsScript = default null;
    socket = default "${config.networking.hostName}.sock";
    user = default null;
    cpu = default null;
    kernel = default config.boot.kernelPackages.kernel;
    initrdPath = default "${config.system.build.initialRamdisk}/${config.system.boot.loader.initrdFile}";
    vcpu = default 1;
    mem = default 512;
    hugepageMem = default false;
    hotplugMem = default 0;
    hotpluggedMem = default 0;
    balloon = default false;
    initialBalloonMem = default 0;
    deflateOnOOM = default true;
    forwardPorts = mkOption {
      default = [ ];
      type = types.listOf (types.submodule {
        options = { from = default "host"; proto = default "tcp"; host = port; guest = port; };
      });
    };
    volumes = mkOption {
      default = [ ];
      type = types.listOf (types.submodule {
        options = {
          image = mkOption { };
          serial = default null;
          direct = default false;
          readOnly = default false;
          label = default null;
          mountPoint = default null;
          size = mkOption { };
          autoCreate = default true;
          mkfsExtraArgs = default [ ];
          fsType = default "ext4";
          imageType = default "raw";
        };
      });
    };
    interfaces = mkOption {
      default = [ ];
      type = types.listOf (types.submodule {
        options = {
          type = mkOption { type = types.enum [ "user" "tap" "macvtap" "bridge" ]; };
          id = mkOption { };
          mac = mkOption { };
          bridge = default null;
          macvtap = { link = default null; mode = default null; };
          tap.vhost = default false;
        };
      });
    };
    shares = mkOption {
      default = [ ];
      type = types.listOf (types.submodule ({ config, ... }: {
        options = {
          tag = mkOption { };
          source = mkOption { };
          mountPoint = mkOption { };
          proto = mkOption { type = types.enum [ "9p" "virtiofs" ]; default = "9p"; };
          socket = default (if config.proto == "virtiofs" then "virtiofs-${config.tag}.sock" else null);
          securityModel = mkOption { type = types.enum [ "passthrough" "none" "mapped" "mapped-file" ]; default = "none"; };
          readOnly = default false;
          cache = default "auto";
        };
      }));
    };
    devices = default [ ];
    vsock.cid = default null;
    machineId = default null;
    registerWithMachined = default false;
    kernelParams = mkOption { default = [ ]; };
    storeOnDisk = default false;
    storeDisk = default "";
    graphics.enable = default false;
    credentialFiles = default { };
    prettyProcnames = default true;
    binScripts = default { };
    systemSymlink = default true;
    vmHostPackages = default pkgs;
    qemu = {
      machine = default "microvm";
      machineOpts = default null;
      extraArgs = default [ ];
      serialConsole = default true;
      pcieRootPorts = default [ ];
    };
    runner = default { };
    declaredRunner = default cfg.runner.${cfg.hypervisor};
  };

  config.microvm.kernelParams = config.boot.kernelParams ++ [ "init=${config.system.build.toplevel}/init" ];
}
