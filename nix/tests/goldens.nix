# What goldens hold, as text without the hashes of store paths. FLAKE is the flake, NIXPKGS its stand-in.
{ flake, nixpkgs }:
let
  inherit (nixpkgs) lib;
  system = "x86_64-linux";
  packages = flake.packages.${system};
  inherit (flake.lib) variants constants;

  # Without hashes, and without what would have to be built first.
  plain = text: lib.concatMapStrings
    (part: if builtins.isList part then "/nix/store/" else part)
    (builtins.split "/nix/store/[0-9a-z]{32}-" (builtins.unsafeDiscardStringContext text));
  line = title: text: "${title}: ${toString text}\n";
  each = title: show: list: lib.concatMapStrings (it: line title (show it)) list;

  mounts = fileSystems: each "mount"
    (at: "${at} ${fileSystems.${at}.device} ${fileSystems.${at}.fsType} ${lib.concatStringsSep "," (fileSystems.${at}.options or [ ])}")
    (builtins.attrNames fileSystems);

  guest = { variant, networking }:
    let
      name = variants.mkPackageName variant networking;
      package = packages.${name};
      it = package.manifest;
    in
    "# ${name}\n"
    + line "command" package.command
    + line "cmdline" it.cmdline
    + each "share" (share: "${share.tag} ${share.path} ${share.proto} ${if share.read_only then "read-only" else "writable"}") it.shares
    + each "port" (forward: "${forward.name} ${forward.address}:${toString forward.host} ${forward.protocol} ${toString forward.guest}") it.forwards
    + each "console" (console: "${console.device} ${toString console.port}") it.consoles
    + each "service" (unit: unit) it.services
    + mounts package.guest.config.fileSystems;

  # A VM of microvm.nix with what PCP's own flake sets.
  pcpVm = { variant, networking }:
    let
      table = constants.variant variant;
      consoles = constants.consolePorts variant;
      vm = nixpkgs.nixosSystem {
        inherit system;
        modules = [
          flake.nixosModules.microvm
          {
            networking.hostName = table.hostname;
            boot.kernelParams = [ "console=ttyS0,115200" "console=hvc0" ];
            microvm = {
              hypervisor = "qemu";
              mem = 1024;
              vcpu = 4;
              shares = [{ tag = "ro-store"; source = "/nix/store"; mountPoint = "/nix/.ro-store"; proto = "9p"; }];
              interfaces = [{
                type = networking;
                id = if networking == "tap" then constants.network.tap else "eth0";
                inherit (constants.defaults) mac;
              }];
              forwardPorts = lib.optionals (networking == "user") (map
                (name: {
                  from = "host";
                  host.port = table.offset + (if name == "ssh" then constants.sshPorts.upstream else constants.ports.${name}.host);
                  guest.port = constants.ports.${name}.guest;
                })
                table.forwards);
              qemu.serialConsole = false;
              qemu.extraArgs = [
                "-name"
                "${table.hostname},process=${table.hostname}"
                "-serial"
                "tcp:127.0.0.1:${toString consoles.serial},server,nowait"
                "-device"
                "virtio-serial-pci"
                "-chardev"
                "socket,id=virtcon,port=${toString consoles.virtio},host=127.0.0.1,server=on,wait=off"
                "-device"
                "virtconsole,chardev=virtcon"
              ];
            };
          }
        ];
      };
    in
    "# ${variants.mkPackageName variant networking}\n"
    + line "command" vm.config.microvm.declaredRunner.command
    + line "hypervisor" vm.config.microvm.declaredRunner.hypervisor;
in
{
  "guests.txt" = plain (lib.concatMapStringsSep "\n" guest variants.all);
  "microvm.txt" = plain (lib.concatMapStringsSep "\n" pcpVm variants.all);
  "manifests.json" = plain (builtins.toJSON (lib.genAttrs constants.variantNames
    (variant: packages.${variants.mkPackageName variant "user"}.manifest)));
}
