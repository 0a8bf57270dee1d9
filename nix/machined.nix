# Scripts that make a VM known to systemd-machined and forget it again (org.freedesktop.machine1(5)).
{ lib, host, hostName, machineId, taps }:
let
  busctl = "${host.systemd}/bin/busctl";
  manager = "org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager";
  name = lib.escapeShellArg hostName;
in
if machineId == null
then throw "pcp-vmm: `microvm.registerWithMachined` needs `microvm.machineId`, the UUID under which the machine is known"
else {
  # The first argument is the process of the VM.
  microvm-register = ''
    set -euo pipefail
    leader=''${1:?"usage: microvm-register PID, the process of the VM"}
    hex=${lib.replaceStrings [ "-" ] [ "" ] machineId}
    id=()
    for ((i = 0; i < 32; i += 2)); do id+=("$((16#''${hex:i:2}))"); done
    interfaces=()
    for tap in ${lib.escapeShellArgs taps}; do
      if [ -e "/sys/class/net/$tap/ifindex" ]; then interfaces+=("$(cat "/sys/class/net/$tap/ifindex")"); fi
    done
    exec ${busctl} call ${manager} RegisterMachineWithNetwork sayssusai \
      ${name} 16 "''${id[@]}" microvm.nix vm "$leader" / "''${#interfaces[@]}" "''${interfaces[@]}"
  '';
  # A machine that is gone is no fault.
  microvm-unregister = ''
    ${busctl} call ${manager} TerminateMachine s ${name} 2>/dev/null || true
  '';
}
