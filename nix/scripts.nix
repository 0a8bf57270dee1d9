# PCP's programs around the guests, under PCP's names: each is a verb of pcp-vmm with its words filled in. What they take beside is
# passed on to it.
{ pkgs, pcp-vmm, guests }:
let
  constants = import ./constants.nix;
  variants = import ./variants.nix { inherit constants; };
  inherit (pkgs) lib;
  inherit (constants) variantNames;

  # The file is called as the package is, so that `nix run` finds it.
  script = name: description: text: {
    inherit name;
    value = pkgs.writeShellApplication {
      inherit name text;
      runtimeInputs = [ pcp-vmm ];
      meta = { inherit description; };
    };
  };
  set = builtins.listToAttrs;

  documented = lib.concatStringsSep " " variantNames;
  # The documented guests that run, as words of `running`.
  running = ''
    running=()
    for variant in ${documented}; do
      if pcp-vmm ls -q "$variant" > /dev/null 2>&1; then running+=("$variant"); fi
    done
  '';

  bundleOf = variant: networking: (guests.${variants.mkPackageName variant networking}).bundle;
  net = networking: lib.optionalString (networking == "tap") " --net tap,ifname=${constants.network.tap}";

  # A verb that starts the VM, whose own flags come first and those of `run` after `--`.
  starting = verb: { variant, networking }: ''
    own=() run=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do own+=("$1"); shift; done
    if [ $# -gt 0 ]; then shift; run=("$@"); fi
    exec pcp-vmm ${verb} --bundle ${bundleOf variant networking} "''${own[@]}" --${net networking} "''${run[@]}"
  '';

  # One script after the other, each to its end; the status is 1 if one failed. TESTS: names and programs, and whether on a TAP.
  several = name: tests: ''
    usage() {
      echo "usage: ${name} [--only=NAME,…] [--skip=NAME,…] [--skip-tap] [-- FLAG…]" >&2
      echo "tests: ${lib.concatMapStringsSep " " (test: test.name) tests}" >&2
    }
    known=",${lib.concatMapStringsSep "," (test: test.name) tests},"
    check() {
      local it
      for it in ''${1//,/ }; do
        case "$known" in
          *",$it,"*) ;;
          *) echo "error: there is no test \`$it\`" >&2; usage; exit 2 ;;
        esac
      done
    }
    only="" skip="" tap=yes
    while [ $# -gt 0 ]; do
      case "$1" in
        --only=*) only=''${1#*=}; check "$only" ;;
        --skip=*) skip=''${1#*=}; check "$skip" ;;
        --skip-tap) tap=no ;;
        --help | -h) usage; exit 0 ;;
        --) break ;;
        *) echo "error: unknown argument \`$1\`" >&2; usage; exit 2 ;;
      esac
      shift
    done
    failed=() passed=0
    attend() {
      local test=$1 network=$2 program=$3
      shift 3
      if [ -n "$only" ] && [[ ",$only," != *",$test,"* ]]; then return; fi
      if [[ ",$skip," == *",$test,"* ]]; then return; fi
      if [ "$network" = tap ]; then
        if [ "$tap" = no ]; then return; fi
        if ! pcp-vmm network status > /dev/null 2>&1; then
          echo "$test: skipped, for the TAP network is not set up; \`sudo pcp-network-setup\` does so"
          return
        fi
      fi
      if "$program" "$@"; then passed=$((passed + 1)); else failed+=("$test"); fi
    }
    ${lib.concatMapStrings (test: ''attend ${test.name} ${test.networking} ${test.program} "$@"
    '') tests}
    echo "$passed passed, ''${#failed[@]} failed''${failed[*]:+: ''${failed[*]}}"
    [ ''${#failed[@]} -eq 0 ]
  '';

  host = set [
    (script "pcp-check-host" "tells whether this host can run the guests and have their network" ''
      status=0
      pcp-vmm doctor || status=1
      pcp-vmm network check "$@" || status=1
      exit "$status"
    '')
    (script "pcp-network-setup" "sets PCP's TAP network up; needs root" ''exec pcp-vmm network setup "$@"'')
    (script "pcp-network-teardown" "takes PCP's TAP network away; needs root" ''exec pcp-vmm network teardown "$@"'')
    (script "pcp-vm-check" "lists PCP's guests that run, and how many" ''
      ${running}
      if [ ''${#running[@]} -gt 0 ]; then pcp-vmm ls "$@" "''${running[@]}"; fi
      echo "''${#running[@]} of PCP's guests run"
    '')
    (script "pcp-vm-stop" "stops PCP's guests that run, or those that are named: [FLAG…] [VM…]" ''
      if [ $# -eq 0 ] || [[ ''${*: -1} =~ ^(-.*|[0-9]+)$ ]]; then
        ${running}
        if [ ''${#running[@]} -eq 0 ]; then
          echo "none of PCP's guests runs"
          exit 0
        fi
        set -- "$@" "''${running[@]}"
      fi
      exec pcp-vmm stop "$@"
    '')
    (script "pcp-vm-ssh" "logs in to the guest that runs, or to one that is named: [VARIANT] [-- COMMAND…]" ''
      if [ $# -eq 0 ] || [ "$1" = -- ]; then
        ${running}
        case ''${#running[@]} in
          0) echo "error: none of PCP's guests runs; \`nix run .#pcp-microvm\` starts one" >&2; exit 1 ;;
          1) set -- "''${running[0]}" "$@" ;;
          *) echo "error: several of PCP's guests run: ''${running[*]}; name one" >&2; exit 2 ;;
        esac
      fi
      exec pcp-vmm ssh "$@"
    '')
  ];

  ofVariant = variant: [
    (script "pcp-lifecycle-status-${variant}" "tells whether the ${variant} guest runs, and what answers"
      ''exec pcp-vmm lifecycle status --variant ${variant} "$@"'')
    (script "pcp-lifecycle-force-kill-${variant}" "ends the ${variant} guest at once"
      ''exec pcp-vmm lifecycle force-kill --variant ${variant} "$@"'')
  ];

  fullTest = { name, variant, networking }: script "pcp-lifecycle-full-test-${name}"
    "takes the ${name} guest from its start to its end"
    (starting "lifecycle test" { inherit variant networking; });

  deepTest = { variant, networking }: script (variants.mkTestAppName variant networking)
    "tests the ${variant} guest in depth"
    (starting "test" { inherit variant networking; });

  program = entry: "${entry.value}/bin/${entry.name}";
  all = [
    (script "pcp-lifecycle-test-all" "takes all guests from their start to their end, one after the other"
      (several "pcp-lifecycle-test-all"
        (map (test: { inherit (test) name networking; program = program (fullTest test); }) variants.lifecycleTests)))
    (script "pcp-test-all-microvms" "tests all guests in depth, one after the other"
      (several "pcp-test-all-microvms"
        (map
          (test: { name = "${test.variant}-${test.networking}"; inherit (test) networking; program = program (deepTest test); })
          variants.all)))
  ];

  # Single phases, under the names that PCP's packages have.
  phases = variant:
    let phase = word: ''exec pcp-vmm lifecycle phase ${word} --bundle ${bundleOf variant "user"} "$@"''; in
    map ({ name, about, text }: script "pcp-lifecycle-${name}-${variant}" "${about} the ${variant} guest" text) [
      { name = "check-process"; about = "tells how it is with"; text = ''exec pcp-vmm status ${variant} "$@"''; }
      { name = "check-serial"; about = "asks the serial console of"; text = phase "serial"; }
      { name = "check-virtio"; about = "asks the virtio console of"; text = phase "virtio"; }
      { name = "verify-services"; about = "checks the services of"; text = phase "services"; }
      { name = "verify-metrics"; about = "checks the metrics of"; text = phase "metrics"; }
      # The endpoints are asked with the metrics.
      { name = "verify-http"; about = "checks the HTTP endpoints, and the metrics, of"; text = phase "metrics"; }
      {
        name = "verify-full";
        about = "checks services, metrics and HTTP endpoints of";
        text = ''
          pcp-vmm lifecycle phase services --bundle ${bundleOf variant "user"} "$@"
          ${phase "metrics"}
        '';
      }
      { name = "shutdown"; about = "powers off"; text = phase "shutdown"; }
      { name = "wait-exit"; about = "waits for the end of"; text = phase "exit"; }
    ];

  status = builtins.concatMap ofVariant variantNames;
  full = map fullTest variants.lifecycleTests;
  app = entry: {
    inherit (entry) name;
    value = { type = "app"; program = program entry; meta = { inherit (entry.value.meta) description; }; };
  };
  entries = lib.mapAttrsToList lib.nameValuePair;
in
{
  packages = set (status ++ full ++ [ (builtins.head all) ] ++ builtins.concatMap phases variantNames);
  apps = set (map app (entries host ++ status ++ full ++ all ++ map deepTest variants.all));
}
