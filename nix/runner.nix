# The package that starts one VM, laid out as microvm.nix lays out its runners: bin/microvm-run, bin/microvm-shutdown,
# bin/microvm-balloon and more, and in share/microvm what a host must know before it starts the VM.
{ pkgs
, microvmConfig
, toplevel
  # What to run, as a file of microvm.nix's lib/runners says it; else its options, all of them.
, runner ? null
  # A folder with a bundle.json, for share/pcp-vmm/bundle.
, bundle ? null
}:
let
  inherit (pkgs) lib;
  inherit (microvmConfig) hostName;
  host = microvmConfig.vmHostPackages or pkgs;

  hypervisorConfig =
    if runner != null then runner
    else import ./runners/pcp-vmm.nix { inherit pkgs microvmConfig; macvtapFds = macvtap.fds; };

  canShutdown = hypervisorConfig.canShutdown or false;
  supportsNotifySocket = hypervisorConfig.supportsNotifySocket or false;
  tapMultiQueue = hypervisorConfig.tapMultiQueue or false;
  balloonScript = hypervisorConfig.setBalloonScript or null;
  registers = microvmConfig.registerWithMachined or false;
  machineId = microvmConfig.machineId or null;
  volumes = microvmConfig.volumes or [ ];
  interfaces = microvmConfig.interfaces or [ ];
  ofType = type: builtins.filter (interface: interface.type == type) interfaces;

  # Descriptors of macvtap devices, one for each queue, from 3 on.
  macvtap =
    let
      queues = if microvmConfig.vcpu > 1 then microvmConfig.vcpu else 1;
      numbered = lib.imap0
        (index: interface: {
          name = interface.id;
          value = builtins.genList (queue: 3 + index * queues + queue) queues;
        })
        (ofType "macvtap");
    in
    {
      fds = builtins.listToAttrs numbered;
      open = lib.concatMapStrings
        ({ name, value }: lib.concatMapStrings
          (fd: ''
            exec ${toString fd}<>"/dev/tap$(cat /sys/class/net/${name}/ifindex)"
          '')
          value)
        numbered;
    };

  labelFlag = fsType:
    if builtins.elem fsType [ "ext2" "ext3" "ext4" "xfs" "btrfs" ] then "-L"
    else if fsType == "vfat" then "-n"
    else throw "pcp-vmm: a volume with ${fsType} cannot be given a label; leave out `label`";

  # An image is made under another name and renamed, so that one that was interrupted is not taken for a whole one.
  createVolume = { image, size ? null, label ? null, fsType ? "ext4", mkfsExtraArgs ? [ ], autoCreate ? true, ... }:
    let
      flags = lib.optionals (label != null) [ (labelFlag fsType) label ]
        ++ (if mkfsExtraArgs == null then [ ] else mkfsExtraArgs);
      file = lib.escapeShellArg image;
      part = lib.escapeShellArg "${image}.part";
    in
    lib.optionalString autoCreate (
      if size == null then throw "pcp-vmm: the volume `${image}` has no size; set `size`, or `autoCreate = false`" else ''
        if [ ! -e ${file} ]; then
          rm -f ${part}
          truncate -s ${toString size}M ${part}
          mkfs.${fsType} ${lib.escapeShellArgs flags} ${part}
          mv ${part} ${file}
        fi
      ''
    );

  makers = with host; [ coreutils util-linux e2fsprogs xfsprogs dosfstools btrfs-progs ];

  argv0 = lib.optionalString (microvmConfig.prettyProcnames or true) "-a ${lib.escapeShellArg "microvm@${hostName}"}";
  extraArgsScript = microvmConfig.extraArgsScript or null;

  scripts = (microvmConfig.binScripts or { }) // {
    microvm-run = ''
      set -euo pipefail
      ${hypervisorConfig.preStart or (microvmConfig.preStart or "")}
      ${lib.optionalString (builtins.any (volume: volume.autoCreate or true) volumes)
        ''export PATH=''${PATH:+$PATH:}${lib.makeBinPath makers}''}
      ${lib.concatMapStrings createVolume volumes}
      ${lib.optionalString (hypervisorConfig.requiresMacvtapAsFds or false) macvtap.open}
      ${lib.optionalString (extraArgsScript != null) ''
        read -r -a more <<< "$(${extraArgsScript})"
        set -- "''${more[@]}" "$@"
      ''}
      exec ${argv0} ${hypervisorConfig.command} "$@"
    '';
  } // lib.optionalAttrs canShutdown {
    microvm-shutdown = hypervisorConfig.shutdownCommand;
  } // lib.optionalAttrs (balloonScript != null) {
    microvm-balloon = ''
      set -euo pipefail
      if [[ ! "''${1:-}" =~ ^[0-9]+$ ]]; then
        echo "usage: microvm-balloon MIB, the balloon's size" >&2
        exit 2
      fi
      SIZE=$1
      ${balloonScript}
    '';
  } // lib.optionalAttrs registers (import ./machined.nix {
    inherit lib host hostName machineId;
    taps = map (interface: interface.id) (ofType "tap");
  });

  link = name: text: "ln -s ${host.writeShellScript "microvm-${hostName}-${name}" text} $out/bin/${name}\n";
  lines = texts: lib.escapeShellArg (lib.concatStringsSep "\n" texts + "\n");
  write = file: texts: lib.optionalString (texts != [ ]) "printf %s ${lines texts} > $out/share/microvm/${file}\n";
  devices = microvmConfig.devices or [ ];
in
host.runCommand "microvm-${microvmConfig.hypervisor}-${hostName}"
{
  meta.mainProgram = "microvm-run";
  passthru = {
    inherit canShutdown supportsNotifySocket tapMultiQueue bundle machineId;
    inherit (hypervisorConfig) command;
    inherit (microvmConfig) hypervisor;
    registerWithMachined = registers;
  };
}
  (''
    mkdir -p $out/bin $out/share/microvm
  '' + lib.concatStrings (lib.mapAttrsToList link scripts)
  + lib.optionalString (microvmConfig.systemSymlink or true) "ln -s ${toplevel} $out/share/microvm/system\n"
  + lib.optionalString (bundle != null) "mkdir -p $out/share/pcp-vmm\nln -s ${bundle} $out/share/pcp-vmm/bundle\n"
  + write "tap-flags" ([ "vnet_hdr" ] ++ lib.optional tapMultiQueue "multi_queue")
  + write "tap-interfaces" (map (interface: interface.id) (ofType "tap"))
  + write "macvtap-interfaces" (map
    (interface: "${interface.id} ${interface.mac} ${interface.macvtap.link} ${interface.macvtap.mode}")
    (ofType "macvtap"))
  + lib.concatMapStrings
    (share: lib.optionalString (share.proto == "virtiofs") (
      "mkdir -p $out/share/microvm/virtiofs/${share.tag}\n"
        + write "virtiofs/${share.tag}/socket" [ share.socket ]
        + write "virtiofs/${share.tag}/source" [ share.source ]
    ))
    (microvmConfig.shares or [ ])
  + write "pci-devices" (map (it: it.path) (builtins.filter (it: it.bus == "pci") devices))
  + write "vsock-cid" (lib.optional ((microvmConfig.vsock.cid or null) != null) (toString microvmConfig.vsock.cid))
    + write "hypervisor" [ microvmConfig.hypervisor ])
