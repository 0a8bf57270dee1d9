{
  description = "The options of microvm.nix that the flake's module reads, without its units and disks";

  outputs = _: { nixosModules.microvm = ./module.nix; };
}
