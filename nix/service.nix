# mkService: the definition of a VM as a service, as `pcp-vmm service generate` writes it (docs/services.md), in a package: systemd's
# units where `systemd.packages` looks for them, what others read in etc.
{ pkgs, pcp-vmm }:
{ name
  # The flags of `pcp-vmm run`.
, flags
, manager ? "systemd"
  # Other VMs that are to be up before.
, after ? [ ]
, user ? null
  # Settings in place of the usual ones, or beside them.
, settings ? { }
}:
let
  inherit (pkgs) lib;
  managers = [ "systemd" "supervisord" "sysvinit" "s6-rc" "bsdrc" "launchd" "docker-compose" ];
  arguments = [ "--manager" manager "--name" name "--program" "${pcp-vmm}/bin/pcp-vmm" ]
    ++ lib.optionals (user != null) [ "--user" user ]
    ++ builtins.concatMap (other: [ "--after" other ]) after
    ++ builtins.concatMap (key: [ "--set" "${key}=${toString settings.${key}}" ]) (builtins.attrNames settings);
  place = if manager == "systemd" then "lib/systemd/system" else "etc/${manager}";
in
if !builtins.elem manager managers
then throw "pcp-vmm: there is no service manager `${manager}`; there are ${lib.concatStringsSep ", " managers}"
else if builtins.match "[A-Za-z0-9][A-Za-z0-9_.-]*" name == null
then throw "pcp-vmm: `${name}` is no name of a VM: letters, digits, `_`, `.` and `-`"
else
  pkgs.runCommand "pcp-vmm-service-${name}" { passthru.unit = "pcp-vmm-${name}"; } ''
    mkdir -p $out/${place}
    ${pcp-vmm}/bin/pcp-vmm service generate ${lib.escapeShellArgs arguments} --output $out/${place} -- ${lib.escapeShellArgs flags}
  ''
