# What makes a NixOS system a guest of pcp-vmm: it boots from kernel and initrd, has its root in memory, and the host's store, or a
# disk with its own part of the store, in place of its own.
{ store, hostname, networking, debugMode, constants }:
{ config, lib, pkgs, ... }:
let
  onTap = networking == "tap";
  inherit (constants) network;
in
{
  nixpkgs.hostPlatform = lib.mkDefault constants.system;
  system.stateVersion = lib.mkDefault config.system.nixos.release;

  boot.loader.grub.enable = false;
  boot.initrd.systemd.enable = lib.mkDefault true;
  boot.initrd.kernelModules = [ "virtio_pci" ]
    ++ {
    virtiofs = [ "virtiofs" ];
    "9p" = [ "9p" "9pnet_virtio" ];
    disk = [ "virtio_blk" "erofs" ];
  }.${store};
  # Both consoles show the kernel's messages and have a login; the kernel looks for one serial port; a reboot and a panic end the VM.
  boot.kernelParams = [ "console=ttyS0,115200" "console=hvc0" "8250.nr_uarts=1" "reboot=t" "panic=-1" ];

  fileSystems."/" = { device = "none"; fsType = "tmpfs"; options = [ "mode=0755" "size=50%" ]; };
  fileSystems."/nix/store" = {
    virtiofs = { device = "ro-store"; fsType = "virtiofs"; options = [ "ro" ]; };
    "9p" = {
      device = "ro-store";
      fsType = "9p";
      options = [ "ro" "trans=virtio" "version=9p2000.L" "msize=1048576" "cache=loose" ];
    };
    disk = { device = "/dev/disk/by-id/virtio-root"; fsType = "erofs"; options = [ "ro" ]; };
  }.${store} // { neededForBoot = true; };

  # The store cannot be written to.
  nix.enable = lib.mkDefault false;
  documentation.enable = lib.mkDefault false;

  networking.hostName = hostname;
  networking.useDHCP = false;
  networking.useNetworkd = true;
  systemd.network.enable = true;
  systemd.network.wait-online.anyInterface = true;
  # Cards on PCI are called after their slot.
  systemd.network.networks."10-guest" = {
    matchConfig.Name = "en*";
    networkConfig =
      if onTap
      then { Address = "${network.guest}/${toString network.prefix}"; Gateway = network.gateway; DHCP = "no"; }
      else { DHCP = "yes"; };
  };

  # Root's keys come as a credential (docs/ssh.md).
  services.openssh = {
    enable = true;
    authorizedKeysFiles = lib.mkAfter [ "/run/credentials/@system/ssh.authorized_keys.root" ];
    settings = {
      PermitRootLogin = if debugMode then "yes" else "prohibit-password";
      PasswordAuthentication = debugMode;
      KbdInteractiveAuthentication = debugMode;
    };
  };
  users.users.root = lib.mkIf debugMode { inherit (constants.defaults) password; };
  users.motd = lib.mkIf debugMode "A debug image: its password is known to everybody; keep its ports to yourself.";

  system.build.pcpVmmStore = lib.mkIf (store == "disk") (pkgs.runCommand "store.erofs"
    {
      nativeBuildInputs = [ pkgs.erofs-utils ];
      closure = pkgs.closureInfo { rootPaths = [ config.system.build.toplevel ]; };
    } ''
    mkdir store
    while read -r path; do cp -a "$path" store/; done < "$closure/store-paths"
    mkfs.erofs -zlz4hc --all-root -T 1 "$out" store
  '');
}
