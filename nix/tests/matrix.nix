# microvm.nix's options one by one: what is set, and either the words that the command line gets, or why it is refused.
{ flake, nixpkgs }:
let
  inherit (nixpkgs) lib;
  pkgs = nixpkgs.legacyPackages.x86_64-linux // { pcp-vmm = "/pcp-vmm"; socat = "/socat"; jq = "/jq"; };

  plain = {
    hostName = "vm";
    hypervisor = "pcp-vmm";
    vcpu = 1;
    mem = 512;
    kernel = { out = "/kernel"; outPath = "/kernel"; };
    initrdPath = "/initrd";
    kernelParams = [ "init=/init" ];
    shares = [ ];
    volumes = [ ];
    interfaces = [ ];
    socket = "vm.sock";
    qemu = { serialConsole = true; extraArgs = [ ]; machineOpts = null; pcieRootPorts = [ ]; };
    graphics.enable = false;
    vsock.cid = null;
    prettyProcnames = true;
    vmHostPackages = pkgs;
    storeOnDisk = false;
    storeDisk = "/store.erofs";
  };
  run = change: (import "${flake}/nix/runners/pcp-vmm.nix" {
    inherit pkgs;
    microvmConfig = plain // change;
    macvtapFds = { mv0 = [ 3 4 ]; };
  });
  user = { type = "user"; id = "net0"; mac = "02:00:00:00:00:01"; };
  disk = { image = "d.img"; };
  share = { tag = "t"; source = "/src"; proto = "9p"; };
  qemu = it: { qemu = plain.qemu // it; };

  rows = {
    nothing = { set = { }; words = [ "--net none" "--memory 512M" "--cpus 1" "--control vm.sock" "--process-name vm" "--rng" ]; };
    vcpu = { set.vcpu = 4; words = [ "--cpus 4" ]; };
    vcpu-many = { set.vcpu = 65; refused = "there are at most 64"; };
    mem = { set.mem = 2048; words = [ "--memory 2048M" ]; };
    mem-little = { set.mem = 64; refused = "at least 128 MiB"; };
    cpu = { set.cpu = "qemu64"; refused = "a processor that is emulated"; };
    user = { set.user = "nobody"; refused = "start it as that user"; };
    hugepageMem = { set.hugepageMem = true; refused = "huge pages"; };
    hotplugMem = { set.hotplugMem = 512; refused = "use `microvm.balloon`"; };
    balloon = { set.balloon = true; words = [ "--balloon=0M" ]; };
    initialBalloonMem = { set = { balloon = true; initialBalloonMem = 128; }; words = [ "--balloon=128M" ]; };
    initialBalloonMem-alone = { set.initialBalloonMem = 128; refused = "needs `microvm.balloon = true`"; };
    deflateOnOOM = { set = { balloon = true; deflateOnOOM = false; }; refused = "gets it back from the balloon"; };
    share-9p = { set.shares = [ share ]; words = [ "--share t=/src,proto=9p" ]; };
    share-9p-ro = { set.shares = [ (share // { readOnly = true; }) ]; words = [ "--share t=/src,ro,proto=9p" ]; };
    share-9p-mapped = { set.shares = [ (share // { securityModel = "mapped"; }) ]; words = [ "security=mapped-xattr" ]; };
    share-9p-passthrough = { set.shares = [ (share // { securityModel = "passthrough"; }) ]; words = [ "security=passthrough" ]; };
    share-9p-mapped-file = { set.shares = [ (share // { securityModel = "mapped-file"; }) ]; refused = "none, passthrough and mapped"; };
    share-comma = { set.shares = [ (share // { source = "/a,b"; }) ]; words = [ "t=/a,,b,proto=9p" ]; };
    share-virtiofs = { set.shares = [ (share // { proto = "virtiofs"; socket = "t.sock"; }) ]; words = [ "--share t=t.sock,proto=vhost-user" ]; };
    share-virtiofs-no-socket = { set.shares = [ (share // { proto = "virtiofs"; }) ]; refused = "has no `socket`"; };
    net-user = { set.interfaces = [ user ]; words = [ "--net user" "--mac 02:00:00:00:00:01" ]; };
    net-tap = { set.interfaces = [ (user // { type = "tap"; id = "tap0"; }) ]; words = [ "--net tap,ifname=tap0" ]; };
    net-tap-vhost = { set.interfaces = [ (user // { type = "tap"; id = "tap0"; tap.vhost = true; }) ]; words = [ "ifname=tap0,vhost=on" ]; };
    net-macvtap = { set.interfaces = [ (user // { type = "macvtap"; id = "mv0"; }) ]; words = [ "--net tap,fd=3:4" ]; };
    net-bridge = { set.interfaces = [ (user // { type = "bridge"; id = "b0"; bridge = "br0"; }) ]; words = [ "--net tap,ifname=b0,bridge=br0" ]; };
    net-bridge-none = { set.interfaces = [ (user // { type = "bridge"; id = "b0"; }) ]; refused = "has no `bridge`"; };
    net-unknown = { set.interfaces = [ (user // { type = "vde"; }) ]; refused = "there are user, tap, macvtap and bridge"; };
    net-two = { set.interfaces = [ user user ]; refused = "one network card"; };
    forward = { set = { interfaces = [ user ]; forwardPorts = [{ host.port = 2222; guest.port = 22; }]; }; words = [ "--forward tcp:0.0.0.0:2222:22" ]; };
    forward-udp = {
      set = { interfaces = [ user ]; forwardPorts = [{ proto = "udp"; host = { address = "127.0.0.1"; port = 53; }; guest.port = 5353; }]; };
      words = [ "--forward udp:127.0.0.1:53:5353" ];
    };
    forward-guest = {
      set = { interfaces = [ user ]; forwardPorts = [{ from = "guest"; host.port = 80; guest.port = 80; }]; };
      refused = "only the other way";
    };
    forward-elsewhere = {
      set = { interfaces = [ user ]; forwardPorts = [{ host.port = 80; guest = { address = "10.0.2.9"; port = 80; }; }]; };
      refused = "the guest is at 10.0.2.15";
    };
    forward-no-user = { set.forwardPorts = [{ host.port = 80; guest.port = 80; }]; refused = "needs an interface of type user"; };
    volume = { set.volumes = [ disk ]; words = [ "--disk d.img,format=raw" ]; };
    volume-ro = { set.volumes = [ (disk // { readOnly = true; serial = "s1"; imageType = "qcow2"; }) ]; words = [ "d.img,format=qcow2,ro,serial=s1" ]; };
    volume-direct = { set.volumes = [ (disk // { direct = true; }) ]; refused = "page cache"; };
    volume-vhd = { set.volumes = [ (disk // { imageType = "vhdx"; }) ]; refused = "there are raw and qcow2"; };
    storeOnDisk = { set = { storeOnDisk = true; volumes = [ disk ]; }; words = [ "--disk /store.erofs,ro --disk d.img,format=raw" ]; };
    devices = { set.devices = [{ bus = "pci"; path = "0000:00:1f.0"; }]; refused = "cannot be passed on"; };
    vsock = { set.vsock.cid = 7; words = [ "--vsock cid=7,socket=notify.vsock" "vmm.notify_socket=vsock-stream:2:8888" ]; };
    machineId = { set.machineId = "a77a03d9-0000-4000-8000-000000000001"; words = [ "--uuid a77a03d9-0000-4000-8000-000000000001" ]; };
    credentialFiles = { set.credentialFiles.key = "/run/key"; words = [ "--credential key=@/run/key" ]; };
    graphics = { set.graphics.enable = true; refused = "there is no screen"; };
    prettyProcnames = { set.prettyProcnames = false; lacks = [ "--process-name" ]; };
    socket-none = { set.socket = null; lacks = [ "--control" ]; };
    serialConsole = { set = { }; words = [ "earlyprintk=ttyS0 console=ttyS0" "--console serial=stdio" ]; };
    serialConsole-off = { set = qemu { serialConsole = false; }; words = [ "--console serial=none" ]; lacks = [ "earlyprintk" ]; };
    extraArgs-serial = { set = qemu { extraArgs = [ "-serial" "tcp:127.0.0.1:24500,server,nowait" ]; }; words = [ "--console serial=tcp=127.0.0.1:24500" ]; };
    extraArgs-virtio = {
      set = qemu {
        extraArgs = [ "-device" "virtio-serial-pci" "-chardev" "socket,id=c,port=24501,host=127.0.0.1,server=on,wait=off" "-device" "virtconsole,chardev=c" ];
      };
      words = [ "--console virtio=tcp=127.0.0.1:24501" ];
    };
    extraArgs-name = { set = qemu { extraArgs = [ "-name" "x,process=y" ]; }; words = [ "--process-name y" ]; };
    extraArgs-other = { set = qemu { extraArgs = [ "-vga" "std" ]; }; refused = "`-vga std` in `microvm.qemu.extraArgs`"; };
    extraArgs-odd = { set = qemu { extraArgs = [ "-S" ]; }; refused = "`-S` in `microvm.qemu.extraArgs`"; };
    machineOpts = { set = qemu { machineOpts.pit = "on"; }; refused = "QEMU's own"; };
    pcieRootPorts = { set = qemu { pcieRootPorts = [{ id = "p0"; }]; }; refused = "QEMU's own"; };
  };
  # What the command line lacks of the words, or has and should not.
  faults = row:
    let
      command = builtins.replaceStrings [ "'" ] [ "" ] (builtins.unsafeDiscardStringContext (run row.set).command);
      has = words: builtins.length (lib.splitString words command) > 1;
    in
    map (words: "lacks `${words}`: ${command}") (builtins.filter (words: !has words) (row.words or [ ]))
    ++ map (words: "has `${words}`: ${command}") (builtins.filter has (row.lacks or [ ]));
  taken = removeAttrs rows (builtins.attrNames refused);
  refused = builtins.mapAttrs (_: row: row.refused) (lib.filterAttrs (_: row: row ? refused) rows);
in
{
  # By option, what is wrong; nothing, if all is well.
  faults = lib.filterAttrs (_: found: found != [ ]) (builtins.mapAttrs (_: faults) taken);
  count = builtins.length (builtins.attrNames rows);
  # By option, a part of the sentence.
  inherit refused;
  # The command line with the option set, which is an error.
  command = builtins.mapAttrs (_: row: (run row.set).command) rows;
  # The same option in the host's programs.
  shutdown = (run { balloon = true; }).shutdownCommand;
  balloon = (run { balloon = true; }).setBalloonScript;
}
