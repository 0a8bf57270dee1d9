# Ports, names, addresses and times, read from the tables that the program has too: nothing is written down twice.
let
  guests = builtins.fromTOML (builtins.readFile ../guest/recipe/variants.toml);
  host = builtins.fromTOML (builtins.readFile ./constants.toml);
  names = map (variant: variant.name) guests.variant;
  sentence = builtins.concatStringsSep ", ";
in
rec {
  inherit (guests) defaults http ports slots;
  inherit (host) network pools timeouts;

  # The only system that the program runs on.
  system = "x86_64-linux";

  # The variants, in the order of the table.
  variantNames = names;

  # The variant called NAME.
  variant = name:
    let found = builtins.filter (it: it.name == name) guests.variant; in
    if found == [ ]
    then throw "pcp-vmm: there is no variant `${toString name}`; there are ${sentence names}"
    else builtins.head found;

  # SSH's port on the host is PCP's documented one, or that of PCP's own flake, whose numbers begin 100 later.
  sshPorts = { documented = ports.ssh.host; upstream = ports.ssh.host + 100; };

  # What is added to the host ports of the variant NAME.
  portOffset = name: (variant name).offset;

  # The host ports of the consoles of the variant NAME.
  consolePorts = name: {
    serial = (variant name).consoles;
    virtio = (variant name).consoles + 1;
  };

  # The seconds that PHASE may take with the variant NAME.
  timeout = name: phase:
    (host.variant_timeouts.${(variant name).name} or { }).${phase} or (
      timeouts.${phase}
        or (throw "pcp-vmm: there is no phase `${phase}`; there are ${sentence (builtins.attrNames timeouts)}")
    );
}
