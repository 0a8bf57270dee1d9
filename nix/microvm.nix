# mkMicroVM: one of PCP's guests as a NixOS system, and the package that starts it. Options are those of PCP's own flake; what is not
# said is as the variant has it.
{ nixpkgs, pcp, pcp-vmm, system }:
{ variant ? "base"
, networking ? "user"
, debugMode ? true
, enablePmlogger ? null
, enableEvalTools ? null
, enablePmieTest ? null
, enableGrafana ? null
, enableBpf ? null
, portOffset ? null
  # SSH's ports: "documented" from 22022 on, or "upstream", those of PCP's own flake.
, portScheme ? "documented"
  # How the guest has its store: the host's over "virtiofs" or "9p", or a "disk" with what it needs.
, store ? "virtiofs"
  # More NixOS modules for the guest.
, modules ? [ ]
}:
let
  constants = import ./constants.nix;
  variants = import ./variants.nix { inherit constants; };
  inherit (nixpkgs) lib;

  # VALUE, if it is one of ALLOWED.
  oneOf = option: allowed: value:
    if builtins.elem value allowed then value
    else throw "pcp-vmm: `${option}` is `${toString value}`; there are ${lib.concatStringsSep ", " allowed}";
  flag = option: value: default:
    if value == null then default
    else if builtins.isBool value then value
    else throw "pcp-vmm: `${option}` is a ${builtins.typeOf value}; it is true or false";

  known = (constants.variant variant).name;
  definition = variants.definitions.${known};
  has = option: given: flag option given (definition.config.${option} or (option == "enablePmlogger"));
  options = {
    networking = oneOf "networking" variants.networks networking;
    enablePmlogger = has "enablePmlogger" enablePmlogger;
    enableEvalTools = has "enableEvalTools" enableEvalTools;
    enablePmieTest = has "enablePmieTest" enablePmieTest;
    enableGrafana = has "enableGrafana" enableGrafana;
    enableBpf = has "enableBpf" enableBpf;
  };
  kind = oneOf "store" [ "virtiofs" "9p" "disk" ] store;
  debug = flag "debugMode" debugMode true;
  offset =
    if portOffset == null then constants.portOffset known
    else if builtins.isInt portOffset && portOffset >= 0 && portOffset <= 20000 then portOffset
    else throw "pcp-vmm: `portOffset` is ${builtins.toJSON portOffset}; it is a number from 0 to 20000";
  sshPort = constants.sshPorts.${oneOf "portScheme" (builtins.attrNames constants.sshPorts) portScheme};

  hostname = (constants.variant (
    if options.enableGrafana then "grafana"
    else if options.enableBpf then "bpf"
    else if options.enableEvalTools || options.enablePmieTest then "eval"
    else "base"
  )).hostname;

  guest = nixpkgs.lib.nixosSystem {
    inherit system;
    modules = [
      (import ./guest.nix { inherit hostname constants; store = kind; inherit (options) networking; debugMode = debug; })
      (import ./pcp-guest.nix (options // { inherit pcp constants; }))
    ] ++ modules;
  };
  inherit (guest) config pkgs;
  inherit (config.system.build) toplevel;

  manifest = import ./bundle.nix { inherit constants lib; } (options // {
    variant = known;
    inherit hostname sshPort;
    portOffset = offset;
    debugMode = debug;
    kernel = "${config.boot.kernelPackages.kernel}/${config.system.boot.loader.kernelFile}";
    initrd = "${config.system.build.initialRamdisk}/${config.system.boot.loader.initrdFile}";
    # A store on a disk is that disk's alone: the runner does not need the paths in it.
    cmdline = toString (config.boot.kernelParams ++ [
      "init=${if kind == "disk" then builtins.unsafeDiscardStringContext toplevel else toplevel}/init"
    ]);
    root =
      if kind == "disk"
      then { kind = "disk"; path = "${config.system.build.pcpVmmStore}"; format = "erofs"; read_only = true; }
      else { kind = "initrd"; };
    shares = lib.optional (kind != "disk") { tag = "ro-store"; path = builtins.storeDir; read_only = true; proto = kind; };
    build = {
      builder = "pcp-vmm ${pcp-vmm.version} (nix)";
      suite = "nixos ${config.system.nixos.release}";
      kernel_release = config.boot.kernelPackages.kernel.modDirVersion;
      packages.pcp = pcp.package.version or "unknown";
    };
  });
  # A folder without references to the host's store but those of the manifest.
  bundle = pkgs.runCommand "bundle-${hostname}" { text = builtins.toJSON manifest; passAsFile = [ "text" ]; } ''
    mkdir $out
    cp "$textPath" $out/bundle.json
  '';

  program = "${pcp-vmm}/bin/pcp-vmm";
  net = lib.optionalString (options.networking == "tap") " --net tap,ifname=${constants.network.tap}";
  runner = import ./runner.nix {
    inherit pkgs toplevel bundle;
    microvmConfig = {
      hostName = hostname;
      hypervisor = "pcp-vmm";
      vcpu = manifest.cpus;
      systemSymlink = kind != "disk";
      interfaces = lib.optional (options.networking == "tap") { type = "tap"; id = constants.network.tap; };
    };
    runner = {
      # The program gives its process the documented name itself.
      command = "${program} run --bundle ${bundle}${net} --balloon";
      canShutdown = true;
      shutdownCommand = ''exec ${program} stop ${hostname} "$@"'';
      setBalloonScript = ''exec ${program} balloon ${hostname} "''${SIZE}M"'';
      supportsNotifySocket = true;
      tapMultiQueue = true;
    };
  };
in
# `warnings` and `assertions` of the guest are heeded by its toplevel, which the kernel's command line names.
runner // {
  inherit manifest bundle guest hostname;
  inherit (options) networking;
  variant = known;
}
