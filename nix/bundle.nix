# The manifest of a guest (docs/bundle.md): the same that `pcp-vmm image build` writes for a Debian guest.
{ constants, lib }:
{ variant
, networking
, hostname
, portOffset
, sshPort
, debugMode
, enablePmlogger
, enableEvalTools
, enablePmieTest
, enableGrafana
, enableBpf
, kernel
, initrd
, cmdline
, root
, shares
, build
}:
let
  inherit (constants) defaults http ports;
  consoles = constants.consolePorts variant;
  table = constants.variant variant;

  forward = name: {
    inherit name;
    protocol = "tcp";
    address = "0.0.0.0";
    host = portOffset + (if name == "ssh" then sshPort else ports.${name}.host);
    inherit (ports.${name}) guest;
  };

  services = [ "pmcd" "pmproxy" ]
    ++ lib.optional enablePmlogger "pmlogger"
    ++ lib.optional enableEvalTools http.node_exporter.service
    ++ lib.optionals (enablePmieTest && !enableGrafana && !enableBpf) [ "pmie-test" "stress-ng-test" ]
    ++ lib.optionals enableGrafana [ "grafana" "prometheus" ];
in
{
  schema_version = 1;
  inherit variant hostname kernel initrd cmdline root shares build;
  process = hostname;
  memory_mib = table.memory_mib or defaults.memory_mib;
  cpus = table.cpus or defaults.cpus;
  inherit (defaults) mac;

  # On a TAP the guest is reached at its own address.
  forwards = lib.optionals (networking == "user") (map forward ([ "ssh" "pmcd" "pmproxy" ]
    ++ lib.optional enableEvalTools "node_exporter"
    ++ lib.optionals enableGrafana [ "grafana" "prometheus" ]));
  consoles = [
    { device = "ttyS0"; port = consoles.serial; }
    { device = "hvc0"; port = consoles.virtio; }
  ];

  inherit services;
  metrics = [ "kernel.all.load" "kernel.all.cpu.user" "mem.physmem" ]
    ++ lib.optionals enableBpf [ "bpf.runq.latency" "bpf.disk.all.latency" ];
  http_checks = map
    (name: { inherit name; inherit (http.${name}) port path; })
    (builtins.filter (name: builtins.elem http.${name}.service services)
      [ "pmproxy" "node_exporter" "grafana" "prometheus" ]);

  logins = lib.optionalAttrs debugMode { console = { inherit (defaults) user password; }; } // {
    ssh = {
      inherit (defaults) user;
      authorized_keys = "ssh.authorized_keys.root";
    } // lib.optionalAttrs debugMode { inherit (defaults) password; };
  };
}
