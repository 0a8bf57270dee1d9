{
  description = "A guest of PCP with modules of one's own: `nix run`";

  inputs.pcp-vmm.url = "github:performancecopilot/pcp-vmm";

  outputs = { pcp-vmm, ... }: {
    packages.x86_64-linux.default = pcp-vmm.lib.mkMicroVM {
      variant = "base";
      modules = [
        ({ pkgs, ... }: {
          environment.systemPackages = [ pkgs.htop ];
        })
      ];
    };
  };
}
