# pcp-vmm as a hypervisor of microvm.nix: what its options become on the command line. The arguments and the result are those of
# a file in microvm.nix's lib/runners. An option that pcp-vmm cannot honour is an error that says so.
{ pkgs
, microvmConfig
, macvtapFds ? { }
, ...
}:
let
  inherit (pkgs) lib;
  inherit (microvmConfig) hostName vcpu mem shares volumes interfaces;
  host = microvmConfig.vmHostPackages or pkgs;
  package = microvmConfig.pcp-vmm.package or host.pcp-vmm;

  cfg = {
    cpu = null;
    user = null;
    socket = null;
    balloon = false;
    initialBalloonMem = 0;
    deflateOnOOM = true;
    hotplugMem = 0;
    hotpluggedMem = 0;
    hugepageMem = false;
    forwardPorts = [ ];
    devices = [ ];
    storeOnDisk = false;
    machineId = null;
    credentialFiles = { };
    prettyProcnames = true;
    preStart = "";
  } // microvmConfig;
  cid = cfg.vsock.cid or null;
  qemu = {
    serialConsole = true;
    extraArgs = [ ];
    machineOpts = null;
    pcieRootPorts = [ ];
  } // (cfg.qemu or { });

  refuse = reason: throw "pcp-vmm cannot run `${hostName}`: ${reason}";
  # TEXT, where none of the reasons, as [ condition sentence ], holds.
  unless = reasons: text:
    let found = builtins.filter (reason: builtins.elemAt reason 0) reasons; in
    if found == [ ] then text else refuse (builtins.elemAt (builtins.head found) 1);

  # A comma in a value is written twice.
  value = text: builtins.replaceStrings [ "," ] [ ",," ] (toString text);

  # What PCP and others put into QEMU's own arguments: names and consoles.
  extra = import ../qemu-args.nix { inherit lib refuse; } qemu.extraArgs;

  kernel = "${cfg.kernel.out or cfg.kernel}/${pkgs.linux.target or pkgs.stdenv.hostPlatform.linux-kernel.target}";
  serialWords = lib.optionals qemu.serialConsole [ "earlyprintk=ttyS0" "console=ttyS0" ];
  cmdline = toString (serialWords ++ [ "reboot=t" "panic=-1" ] ++ cfg.kernelParams);

  share = { tag, source, proto, socket ? null, securityModel ? "none", readOnly ? false, ... }:
    let
      security = {
        none = "";
        passthrough = ",security=passthrough";
        mapped = ",security=mapped-xattr";
      }.${securityModel} or (refuse
        "the share `${tag}` has the security model `${securityModel}`; there are none, passthrough and mapped");
      ro = lib.optionalString readOnly ",ro";
    in
      {
        "9p" = "${tag}=${value source}${ro},proto=9p${security}";
        # Another process serves it, and keeps it read-only where that is wanted.
        virtiofs = unless [ [ (socket == null) "the share `${tag}` over virtiofs has no `socket`" ] ]
          "${tag}=${value socket},proto=vhost-user";
      }.${proto} or (refuse "the share `${tag}` has the protocol `${proto}`; there are 9p and virtiofs");

  volume = { image, serial ? null, direct ? false, readOnly ? false, imageType ? "raw", ... }:
    unless [
      [ direct "the volume `${image}` is `direct`, and disks go through the host's page cache; leave `direct` out" ]
      [ (!builtins.elem imageType [ "raw" "qcow2" ]) "the volume `${image}` is a ${imageType}; there are raw and qcow2" ]
    ] "${value image},format=${imageType}${lib.optionalString readOnly ",ro"}${
      lib.optionalString (serial != null) ",serial=${value serial}"}";

  net = interface: {
    user = "user";
    tap = "tap,ifname=${interface.id}${lib.optionalString (interface.tap.vhost or false) ",vhost=on"}";
    macvtap = "tap,fd=${lib.concatMapStringsSep ":" toString macvtapFds.${interface.id}}";
    bridge = unless
      [ [ ((interface.bridge or null) == null) "the interface `${interface.id}` of type bridge has no `bridge`" ] ]
      "tap,ifname=${interface.id},bridge=${interface.bridge}";
  }.${interface.type} or (refuse
    "the interface `${interface.id}` has the type `${interface.type}`; there are user, tap, macvtap and bridge");

  forward = { from ? "host", proto ? "tcp", host, guest }:
    let at = toString host.port; in
    unless [
      [ (from != "host") "the port ${at} is forwarded from the guest to the host; only the other way is had" ]
      [
        (!builtins.elem (guest.address or "") [ "" "10.0.2.15" ])
        "the port ${at} leads to ${guest.address}; the guest is at 10.0.2.15, so leave `guest.address` out"
      ]
    ] "${proto}:${if (host.address or "") == "" then "0.0.0.0" else host.address}:${at}:${toString guest.port}";

  hasUser = builtins.any (interface: interface.type == "user") interfaces;
  each = flag: values: builtins.concatMap (it: [ flag it ]) values;
  vsock = "notify.vsock";

  reasons = [
    [ (cfg.cpu != null) "`microvm.cpu` asks for a processor that is emulated; KVM runs the host's own" ]
    [ (cfg.user != null) "`microvm.user` asks it to change its user; start it as that user, as microvm.nix's units do" ]
    [ cfg.hugepageMem "`microvm.hugepageMem`: guest memory is not taken from huge pages that were set aside" ]
    [ (cfg.hotplugMem != 0) "`microvm.hotplugMem`: memory cannot be added to a VM that runs; use `microvm.balloon`" ]
    [ (cfg.initialBalloonMem != 0 && !cfg.balloon) "`microvm.initialBalloonMem` needs `microvm.balloon = true`" ]
    [ (cfg.balloon && !cfg.deflateOnOOM) "`microvm.deflateOnOOM = false`: a guest that lacks memory always gets it back from the balloon" ]
    [ (cfg.graphics.enable or false) "`microvm.graphics`: there is no screen" ]
    [ (cfg.devices != [ ]) "`microvm.devices`: devices of the host cannot be passed on" ]
    [ (builtins.length interfaces > 1) "`microvm.interfaces` has ${toString (builtins.length interfaces)} entries; there is one network card" ]
    [ (cfg.forwardPorts != [ ] && !hasUser) "`microvm.forwardPorts` needs an interface of type user" ]
    [ (vcpu > 64) "`microvm.vcpu` is ${toString vcpu}; there are at most 64" ]
    [ (mem < 128) "`microvm.mem` is ${toString mem}; a guest has at least 128 MiB" ]
    [ (qemu.machineOpts != null) "`microvm.qemu.machineOpts` are QEMU's own; leave them out" ]
    [ (qemu.pcieRootPorts != [ ]) "`microvm.qemu.pcieRootPorts` are QEMU's own; leave them out" ]
  ];

  arguments = [ "${package}/bin/pcp-vmm" "run" "--name" hostName ]
    ++ lib.optionals cfg.prettyProcnames [ "--process-name" (if extra.process == null then hostName else extra.process) ]
    ++ lib.optionals (cfg.socket != null) [ "--control" cfg.socket ]
    ++ lib.optionals (cfg.machineId != null) [ "--uuid" cfg.machineId ]
    ++ [ "--kernel" kernel "--initrd" (toString cfg.initrdPath) "--cmdline" cmdline ]
    ++ [ "--memory" "${toString mem}M" "--cpus" (toString vcpu) "--rng" ]
    ++ lib.optional cfg.balloon "--balloon=${toString cfg.initialBalloonMem}M"
    # The store is the first disk, whatever follows.
    ++ lib.optionals cfg.storeOnDisk [ "--disk" "${value cfg.storeDisk},ro" ]
    ++ each "--disk" (map volume volumes)
    ++ each "--share" (map share shares)
    ++ [ "--net" (if interfaces == [ ] then "none" else net (builtins.head interfaces)) ]
    ++ lib.optionals (interfaces != [ ]) [ "--mac" (builtins.head interfaces).mac ]
    ++ each "--forward" (map forward cfg.forwardPorts)
    ++ lib.optionals (cid != null) [
    "--vsock"
    "cid=${toString cid},socket=${vsock}"
    "--credential"
    "vmm.notify_socket=vsock-stream:2:8888"
  ]
    ++ each "--credential" (lib.mapAttrsToList (name: path: "${name}=@${toString path}") cfg.credentialFiles)
    ++ each "--console" ([ "serial=${if extra.serial != null then extra.serial else if qemu.serialConsole then "stdio" else "none"}" ]
    ++ lib.optional (extra.virtio != null) "virtio=${extra.virtio}");

  socat = "${host.socat}/bin/socat";
  # One or more requests to the control socket, and its answers (docs/control.md).
  control = requests: ''
    printf '%s\n' ${lib.escapeShellArgs (map builtins.toJSON requests)} | ${socat} -t 600 STDIO UNIX:${lib.escapeShellArg cfg.socket}'';
in
{
  command = unless reasons (lib.escapeShellArgs arguments);

  # The guest's systemd tells of its state through the socket device, and that is passed on to the host's service manager in place
  # of pcp-vmm's own word, which would come as soon as the machine runs.
  preStart = cfg.preStart + lib.optionalString (cid != null) ''
    rm -f ${vsock} ${vsock}_8888
    if [ -n "''${NOTIFY_SOCKET:-}" ]; then
      ${socat} -T 0.2 UNIX-LISTEN:${vsock}_8888,fork UNIX-SENDTO:"$NOTIFY_SOCKET" &
      unset NOTIFY_SOCKET
    fi
  '';
  supportsNotifySocket = true;

  # A queue for each vCPU.
  tapMultiQueue = vcpu > 1;
  requiresMacvtapAsFds = true;

  canShutdown = cfg.socket != null;
  # The connection that follows the events ends with the VM.
  shutdownCommand =
    if cfg.socket == null then refuse "it cannot be shut down without `microvm.socket`" else ''
      if [ ! -S ${lib.escapeShellArg cfg.socket} ]; then
        exit 0
      fi
      ${control [ { request = "power-button"; } { request = "events"; follow = true; } ]} > /dev/null
    '';

  # In: SIZE, the balloon's size in MiB. Out: the size that it has.
  setBalloonScript =
    if cfg.socket == null || !cfg.balloon then null else ''
      printf '{"request":"balloon","size":"%dM"}\n' "$SIZE" | ${socat} -t 5 STDIO UNIX:${lib.escapeShellArg cfg.socket} |
        ${host.jq}/bin/jq 'if .ok then (.balloon.actual / 1048576 | floor) else error(.error) end'
    '';
}
