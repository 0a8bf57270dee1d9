{
  description = "A small stand-in of nixpkgs, for checks without a network: packages are made by a static shell and BusyBox";

  outputs = _: rec {
    # Checks of what only the stub fixes, such as goldens with its versions, ask for this.
    isStub = true;
    lib = import ./lib.nix // { inherit nixosSystem; };
    nixosSystem = import ./nixos.nix { inherit lib legacyPackages; };
    legacyPackages.x86_64-linux = import ./pkgs.nix { inherit lib; };
  };
}
