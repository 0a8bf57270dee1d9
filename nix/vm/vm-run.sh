# The builder of a derivation whose real builder runs in a VM (run-in-linux-vm.nix): preVM, the VM, postVM.
# shellcheck shell=sh disable=SC1090,SC1091,SC2154

# What Nix started this shell with; the files below may change what it has.
environment=/proc/$$/environ
attributes=${NIX_ATTRS_SH_FILE:-}
[ -e "$attributes" ] || attributes=${NIX_BUILD_TOP:-.}/.attrs.sh
if [ -e "$attributes" ]; then . "$attributes"; fi
if [ -n "${stdenv:-}" ] && [ -e "$stdenv/setup" ]; then . "$stdenv/setup"; fi

eval "${preVM:-}"
"$pcpVmm" sandbox --environment "$environment" --kernel "$vmKernel" \
  ${vmModules:+--modules "$vmModules"} ${vmShell:+--shell "$vmShell"} ${vmTimeout:+--timeout "$vmTimeout"} \
  ${diskImage:+--disk-image "$diskImage"} ${mountDisk:+--mount-disk} || exit $?
eval "${postVM:-}"
