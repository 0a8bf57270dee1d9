# What the flake offers.
{ self, nixpkgs, pcp, ... }:
let
  constants = import ./constants.nix;
  variants = import ./variants.nix { inherit constants; };
  inherit (constants) system;
  inherit (nixpkgs) lib;
  pkgs = nixpkgs.legacyPackages.${system};

  programs = final: rec {
    pcp-vmm-static = final.pkgsStatic.callPackage ./package.nix { };
    pcp-vmm = final.callPackage ./package.nix { inherit pcp-vmm-static; };
    pcp-vmm-qemu-compat = final.callPackage ./qemu-compat.nix { inherit pcp-vmm; };
  };
  own = programs pkgs;

  pcpSource = name: "${pcp}/build/nix/${name}.nix";
  mkMicroVM = import ./microvm.nix {
    inherit nixpkgs system;
    inherit (own) pcp-vmm;
    pcp = {
      package = pcp.packages.${system}.pcp;
      modules = map pcpSource [ "nixos-module" "pmie-test" "grafana" "bpf" ];
    };
  };
  guests = builtins.listToAttrs (map
    ({ variant, networking }: {
      name = variants.mkPackageName variant networking;
      value = mkMicroVM { inherit variant networking; };
    })
    variants.all);
  scripts = import ./scripts.nix { inherit pkgs guests; inherit (own) pcp-vmm; };
  mkService = host: import ./service.nix { pkgs = host; inherit (own) pcp-vmm; };

  # Static, so that a build in a VM depends on no libraries of the program's.
  vm = import ./vm/run-in-linux-vm.nix {
    pcp-vmm = own.pcp-vmm-static;
    kernel = pkgs.linux;
    shell = pkgs.runtimeShell;
  };

  # Elsewhere the program is a package whose build says where it runs: an output that is missing says nothing.
  elsewhere = other:
    let
      sentence = derivation {
        name = "pcp-vmm-runs-on-${system}";
        system = other;
        builder = "/bin/sh";
        args = [
          "-c"
          ''
            echo "pcp-vmm runs on ${system}, by its KVM, and not on ${other}." >&2
            echo "Use a machine of that system, or have one as a remote builder and say: --system ${system}" >&2
            exit 1
          ''
        ];
      };
    in
    { default = sentence; pcp-vmm = sentence; };
  others = [ "aarch64-linux" "aarch64-darwin" "x86_64-darwin" ];
in
{
  packages = lib.genAttrs others elsewhere // {
    ${system} = own // guests // scripts.packages // { default = own.pcp-vmm; };
  };

  apps.${system} = scripts.apps // {
    default = { type = "app"; program = "${own.pcp-vmm}/bin/pcp-vmm"; meta.description = "the program"; };
    pcp-vmm = { type = "app"; program = "${own.pcp-vmm}/bin/pcp-vmm"; meta.description = "the program"; };
  };

  nixosModules = rec {
    host = import ./host-module.nix { inherit (own) pcp-vmm; inherit mkService; };
    default = host;
    microvm = import ./microvm-module.nix { inherit (own) pcp-vmm; microvm = self.inputs.microvm; };
  };

  overlays.default = final: prev: programs final;

  lib = {
    inherit mkMicroVM constants variants;
    buildRunner = import ./runner.nix;
    mkService = mkService pkgs;
    assignIds = import ./assign-ids.nix;
    inherit (vm) runInLinuxVM customQemu;
  };

  templates = {
    default = self.templates.guest;
    guest = { path = ./templates/guest; description = "A guest of PCP with modules of one's own"; };
    microvm = { path = ./templates/microvm; description = "A VM of microvm.nix that pcp-vmm runs"; };
    host = { path = ./templates/host; description = "A NixOS host that runs guests as services"; };
  };

  devShells.${system}.default = import ./shell.nix { inherit pkgs; };
  formatter.${system} = pkgs.nixpkgs-fmt;
  checks.${system} = import ./tests { inherit pkgs guests scripts own; inherit nixpkgs; inherit (self) lib nixosModules; };
}
