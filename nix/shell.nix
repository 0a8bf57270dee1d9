# What `cargo xtask` needs on a machine that is not Debian. Guests are built, and stages that install packages run, on Debian alone.
{ pkgs }:
pkgs.mkShell {
  packages = with pkgs; [
    # rust-toolchain.toml names the version; rustup brings it, with the static target.
    rustup
    gcc
    git
    # The lab, and what the tests of guests speak.
    qemu
    openssh
    sshpass
    curl
    socat
    expect
    iproute2
    nftables
    acl
    kmod
    cpio
    # The checks of this flake.
    nixpkgs-fmt
    deadnix
    shellcheck
    jq
  ];
}
