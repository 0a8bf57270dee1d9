# A NixOS host of guests: the program, access to KVM, PCP's TAP network if wanted, and VMs as services.
{ pcp-vmm, mkService }:
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.virtualisation.pcp-vmm;
  constants = import ./constants.nix;

  vm = {
    options = {
      flags = mkOption {
        type = types.listOf types.str;
        example = [ "--variant" "base" ];
        description = "The flags of `pcp-vmm run`, such as `--bundle` with the folder of a package of `mkMicroVM`.";
      };
      after = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "VMs that are to be up before this one.";
      };
      autostart = mkOption {
        type = types.bool;
        default = true;
        description = "Whether the VM starts with the host.";
      };
      settings = mkOption {
        type = types.attrsOf types.str;
        default = { };
        description = "Settings of the unit in place of the usual ones, or beside them.";
      };
    };
  };
  # All VMs of services are in one place: `pcp-vmm --runtime-dir /run/pcp-vmm-services ls`.
  runtime = "/run/pcp-vmm-services";
  service = name: it: mkService pkgs {
    inherit name;
    inherit (it) flags after;
    user = "pcp-vmm";
    settings = { Environment = "PCP_VMM_RUNTIME_DIR=${runtime} PCP_VMM_STATE_DIR=/var/lib/pcp-vmm"; } // it.settings;
  };
in
{
  options.virtualisation.pcp-vmm = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether this host runs guests with pcp-vmm.";
    };
    package = mkOption {
      type = types.package;
      default = pcp-vmm;
      description = "The pcp-vmm package.";
    };
    tap = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = "Whether the host has PCP's TAP network: the bridge ${constants.network.bridge} with the TAP ${constants.network.tap}.";
      };
      user = mkOption {
        type = types.str;
        default = "pcp-vmm";
        description = "Who may use the TAP.";
      };
    };
    vms = mkOption {
      type = types.attrsOf (types.submodule vm);
      default = { };
      description = "VMs that are services of this host, by name.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    boot.kernelModules = lib.optionals cfg.tap.enable [ "tun" "vhost_net" ];

    users.users.pcp-vmm = { isSystemUser = true; group = "pcp-vmm"; extraGroups = [ "kvm" ]; };
    users.groups.pcp-vmm = { };
    systemd.tmpfiles.rules = [
      "d ${runtime} 0700 pcp-vmm pcp-vmm"
      "d /var/lib/pcp-vmm 0700 pcp-vmm pcp-vmm"
    ];

    systemd.packages = lib.mapAttrsToList service cfg.vms;
    systemd.services = lib.mapAttrs'
      (name: it: lib.nameValuePair "pcp-vmm-${name}" {
        wantedBy = lib.optional it.autostart "multi-user.target";
        overrideStrategy = "asDropin";
      })
      cfg.vms
    // lib.optionalAttrs cfg.tap.enable {
      # The program itself sets the network up, and takes back exactly what it changed.
      pcp-vmm-network = {
        description = "PCP's TAP network for guests";
        wantedBy = [ "multi-user.target" ];
        after = [ "network-pre.target" ];
        path = with pkgs; [ iproute2 nftables procps kmod acl ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          StateDirectory = "pcp-vmm-network";
          ExecStart = "${cfg.package}/bin/pcp-vmm network setup --state-dir /var/lib/pcp-vmm-network --user ${cfg.tap.user}";
          ExecStop = "${cfg.package}/bin/pcp-vmm network teardown --state-dir /var/lib/pcp-vmm-network";
        };
      };
    };
  };
}
