# Packages in small. `bin` beside this file holds static programs that whoever runs the checks puts there: bash, busybox, and
# pcp-vmm, which nixpkgs' Rust would build.
{ lib }:
let
  system = "x86_64-linux";
  bash = "${./bin/bash}";

  # Commands of BusyBox by their names, and bash.
  tools = derivation {
    name = "tools-stub";
    inherit system;
    builder = bash;
    args = [
      "-ec"
      ''
        box() { (exec -a busybox ${./bin/busybox} "$@"); }
        box mkdir -p $out/bin
        box cp ${./bin/busybox} $out/bin/busybox
        box cp ${./bin/bash} $out/bin/bash
        for command in $(box --list); do [ -e $out/bin/$command ] || box ln -s busybox $out/bin/$command; done
      ''
    ];
  };

  # A derivation whose environment has ATTRIBUTES; `meta` and `passthru` are not part of it.
  build = name: attributes: text:
    let
      passthru = attributes.passthru or { };
      inputs = attributes.nativeBuildInputs or [ ];
      made = derivation (removeAttrs attributes [ "meta" "passthru" "nativeBuildInputs" ] // {
        inherit name system;
        builder = bash;
        PATH = lib.makeBinPath (inputs ++ [ tools ]);
        args = [ "-euc" text ];
      });
    in
    made // passthru // { inherit passthru; meta = attributes.meta or { }; };

  executable = name: text: build name { inherit text; passAsFile = [ "text" ]; } ''
    cp "$textPath" $out
    chmod +x $out
  '';

  # A program of nixpkgs that nothing here runs.
  placeholder = name: build name { } ''
    mkdir -p $out/bin
    printf '%s\n' '#!${tools}/bin/bash' 'echo "${name} is a placeholder" >&2' 'exit 1' > $out/bin/${name}
    chmod +x $out/bin/${name}
  '';
  names = [
    "rustup"
    "gcc"
    "git"
    "qemu"
    "openssh"
    "sshpass"
    "curl"
    "socat"
    "expect"
    "iproute2"
    "nftables"
    "acl"
    "kmod"
    "cpio"
    "nixpkgs-fmt"
    "deadnix"
    "shellcheck"
    "jq"
    "e2fsprogs"
    "xfsprogs"
    "dosfstools"
    "btrfs-progs"
    "util-linux"
    "systemd"
    "htop"
  ];

  # What a function of packages asks for.
  callWith = scope: file: given:
    let f = if builtins.isFunction file then file else import file; in
    f (builtins.intersectAttrs (builtins.functionArgs f) (scope // { inherit lib; }) // given);

  rustPlatform.buildRustPackage = { pname, version, meta ? { }, ... }: build "${pname}-${version}"
    { inherit meta; passthru = { inherit pname version; }; } ''
    mkdir -p $out/bin
    cp ${./bin/pcp-vmm} $out/bin/pcp-vmm
  '';

  pkgs = lib.genAttrs names placeholder // {
    inherit lib rustPlatform tools;
    coreutils = tools;
    runtimeShell = "${tools}/bin/bash";
    stdenv.hostPlatform = { inherit system; linux-kernel.target = "bzImage"; };
    installShellFiles = tools;
    callPackage = callWith pkgs;
    pkgsStatic = pkgs;

    linux = build "linux-stub" { passthru = { modDirVersion = "6.12.0"; version = "6.12"; }; } ''
      mkdir -p $out
      echo "a kernel's place" > $out/bzImage
    '';
    # It packs nothing: it says into the image what would be in it.
    erofs-utils = build "erofs-utils" { } ''
      mkdir -p $out/bin
      printf '%s\n' '#!${tools}/bin/bash' 'for last; do folder=$last; done' \
        'while [ $# -gt 2 ]; do shift; done' 'ls "$folder" > "$1"' > $out/bin/mkfs.erofs
      chmod +x $out/bin/mkfs.erofs
    '';
    closureInfo = { rootPaths }: build "closure-info" { roots = rootPaths; } ''
      mkdir -p $out
      printf '%s\n' $roots > $out/store-paths
    '';

    runCommand = build;
    writeText = name: text: build name { inherit text; passAsFile = [ "text" ]; } ''cp "$textPath" $out'';
    writeShellScript = name: text: executable name "#!${tools}/bin/bash\n${text}";
    writeShellApplication = { name, text, runtimeInputs ? [ ], meta ? { } }: build name
      {
        inherit meta;
        passAsFile = [ "script" ];
        script = ''
          #!${tools}/bin/bash
          set -o errexit
          set -o nounset
          set -o pipefail
          export PATH="${lib.makeBinPath runtimeInputs}:$PATH"

          ${text}
        '';
      } ''
      mkdir -p $out/bin
      cp "$scriptPath" $out/bin/${name}
      chmod +x $out/bin/${name}
      bash -n $out/bin/${name}
    '';
    mkShell = { packages }: build "shell" { inherit packages; } ''printf '%s\n' $packages > $out'';
  };
in
pkgs
