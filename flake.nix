{
  description = "pcp-vmm: a virtual machine monitor for the MicroVMs of Performance Co-Pilot";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    microvm = {
      url = "github:astro/microvm.nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    pcp = {
      url = "github:performancecopilot/pcp";
      inputs.nixpkgs.follows = "nixpkgs";
      inputs.microvm.follows = "microvm";
    };
  };

  # nix/outputs.nix has them all.
  outputs = inputs: import ./nix/outputs.nix inputs;
}
