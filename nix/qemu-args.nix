# What of QEMU's own arguments (`microvm.qemu.extraArgs`) has a meaning here: the process's name, the serial port and the virtio
# console at TCP ports. Anything else is an error that names it.
{ lib, refuse }:
arguments:
let
  # `tcp:127.0.0.1:24500,server,nowait` and QEMU's newer forms, as a place of `--console`.
  options = text: builtins.tail (lib.splitString "," text);
  option = key: text:
    let found = builtins.filter (it: lib.hasPrefix "${key}=" it) (lib.splitString "," text); in
    if found == [ ] then null else lib.removePrefix "${key}=" (lib.last found);
  serial = text:
    let
      place = builtins.head (lib.splitString "," text);
      tcp = builtins.match "tcp:(.*)" place;
      listens = builtins.any (it: builtins.elem it [ "server" "server=on" ]) (options text);
    in
    if builtins.elem place [ "stdio" "mon:stdio" ] then "stdio"
    else if place == "none" || place == "null" then "none"
    else if tcp != null && listens then "tcp=${builtins.head tcp}"
    else refuse "`-serial ${text}` in `microvm.qemu.extraArgs`: there are stdio, none, and tcp:HOST:PORT,server";
  chardev = text:
    let kind = builtins.head (lib.splitString "," text); in
    if kind == "socket" && option "port" text != null && builtins.any (it: builtins.elem it [ "server" "server=on" ]) (options text)
    then "tcp=${if option "host" text == null then "127.0.0.1" else option "host" text}:${option "port" text}"
    else if kind == "stdio" then "stdio"
    else refuse "`-chardev ${text}` in `microvm.qemu.extraArgs`: there are stdio, and socket with server=on and a port";

  read = found: rest:
    if rest == [ ] then found
    else if builtins.length rest < 2 then refuse "`${builtins.head rest}` in `microvm.qemu.extraArgs` has no meaning here"
    else
      let
        flag = builtins.head rest;
        text = builtins.elemAt rest 1;
        kind = builtins.head (lib.splitString "," text);
        more =
          if flag == "-name" then { process = option "process" text; }
          else if flag == "-serial" then { serial = serial text; }
          else if flag == "-chardev" then { chardevs = found.chardevs // { ${toString (option "id" text)} = chardev text; }; }
          # The device that carries the console.
          else if flag == "-device" && builtins.elem kind [ "virtio-serial" "virtio-serial-pci" "virtio-serial-device" ] then { }
          else if flag == "-device" && kind == "virtconsole"
          then {
            virtio = found.chardevs.${toString (option "chardev" text)} or (refuse
              "`-device ${text}` in `microvm.qemu.extraArgs` names a chardev that is not there");
          }
          else refuse "`${flag} ${text}` in `microvm.qemu.extraArgs` has no meaning here; set the option of microvm.nix or of pcp-vmm in its place";
      in
      read (found // more) (lib.drop 2 rest);
in
read { process = null; serial = null; virtio = null; chardevs = { }; } arguments
