# nixosSystem in small: the options that guests and hosts read, and a toplevel that holds the configuration as text.
{ lib, legacyPackages }:
{ system, modules, specialArgs ? { } }:
let
  pkgs = legacyPackages.${system} or (throw "the stub has no packages for ${system}");
  inherit (lib) mkOption;
  default = value: mkOption { default = value; };

  base = { config, ... }: {
    options = {
      assertions = default [ ];
      warnings = default [ ];
      networking.hostName = default "nixos";
      boot.kernelParams = default [ ];
      boot.kernelPatches = default [ ];
      boot.kernelPackages.kernel = default pkgs.linux;
      boot.initrd.kernelModules = default [ ];
      system.boot.loader.kernelFile = default "bzImage";
      system.boot.loader.initrdFile = default "initrd";
      system.nixos.release = default "stub";
      systemd.packages = default [ ];
      systemd.services = default { };
      fileSystems = default { };
      environment.systemPackages = default [ ];
    };
    config = {
      _module.args = { inherit pkgs; };
      boot.kernelParams = [ "loglevel=4" ];
      system.build = {
        initialRamdisk = pkgs.runCommand "initrd-stub" { text = toString config.boot.initrd.kernelModules; } ''
          mkdir -p $out
          echo "$text" > $out/initrd
        '';
        toplevel =
          let failed = builtins.filter (it: !it.assertion) config.assertions; in
          if failed != [ ]
          then throw "failed assertions: ${lib.concatMapStringsSep "; " (it: it.message) failed}"
          else
            pkgs.runCommand "nixos-system-${config.networking.hostName}-stub"
              { text = builtins.toJSON { inherit (config) fileSystems; inherit (config.networking) hostName; }; } ''
              mkdir -p $out
              echo "$text" > $out/configuration.json
              echo "#!${pkgs.runtimeShell}" > $out/init
              chmod +x $out/init
            '';
      };
    };
  };
  evaluated = lib.evalModules { modules = [ base ] ++ modules; specialArgs = { inherit pkgs; } // specialArgs; };
in
evaluated // { inherit pkgs; }
