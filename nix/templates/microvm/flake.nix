{
  description = "A VM of microvm.nix that pcp-vmm runs: `nix run`";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    pcp-vmm = {
      url = "github:performancecopilot/pcp-vmm";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs = { nixpkgs, pcp-vmm, ... }:
    let
      vm = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          # microvm.nix's own module, with pcp-vmm as its runner.
          pcp-vmm.nixosModules.microvm
          {
            networking.hostName = "example";
            users.users.root.password = "";
            microvm = {
              mem = 512;
              vcpu = 2;
              shares = [{ proto = "9p"; tag = "ro-store"; source = "/nix/store"; mountPoint = "/nix/.ro-store"; }];
              interfaces = [{ type = "user"; id = "net0"; mac = "02:00:00:00:00:01"; }];
              forwardPorts = [{ host.port = 2222; guest.port = 22; }];
            };
          }
        ];
      };
    in
    {
      packages.x86_64-linux.default = vm.config.microvm.declaredRunner;
    };
}
