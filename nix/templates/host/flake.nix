{
  description = "A NixOS host that runs guests as services";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    pcp-vmm = {
      url = "github:performancecopilot/pcp-vmm";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs = { nixpkgs, pcp-vmm, ... }: {
    nixosConfigurations.host = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        pcp-vmm.nixosModules.host
        {
          virtualisation.pcp-vmm = {
            enable = true;
            vms.base.flags = [ "--bundle" "${pcp-vmm.packages.x86_64-linux.pcp-microvm.bundle}" ];
          };
        }
        # The host's own hardware, disks and users.
        ./hardware-configuration.nix
      ];
    };
  };
}
