# PCP and what belongs to it in a guest, as its options say. The modules of PCP's own flake define the services.
{ pcp, networking, enablePmlogger, enableEvalTools, enablePmieTest, enableGrafana, enableBpf, constants }:
{ lib, ... }:
let
  inherit (constants) ports network;
in
{
  imports = pcp.modules;

  config = lib.mkMerge [
    {
      services.pcp = {
        enable = true;
        inherit (pcp) package;
        preset = "custom";
        pmlogger.enable = enablePmlogger;
        pmie.enable = false;
        pmproxy.enable = true;
        allowedNetworks = lib.optionals (networking == "tap") [ network.subnet "127.0.0.0/8" "::1/128" ];
      };
      networking.firewall.allowedTCPPorts = [ ports.pmcd.guest ports.pmproxy.guest ];
    }
    (lib.mkIf enablePmieTest { services.pcp.pmieTest.enable = true; })
    (lib.mkIf enableEvalTools {
      services.prometheus.exporters.node = {
        enable = true;
        port = ports.node_exporter.guest;
        openFirewall = true;
      };
    })
    (lib.mkIf enableGrafana {
      services.pcp.grafana.enable = true;
      services.prometheus = {
        enable = true;
        port = ports.prometheus.guest;
        retentionTime = "1d";
        scrapeConfigs = lib.optional enableEvalTools {
          job_name = "node";
          scrape_interval = "15s";
          static_configs = [{ targets = [ "localhost:${toString ports.node_exporter.guest}" ]; }];
        };
      };
      networking.firewall.allowedTCPPorts = [ ports.prometheus.guest ];
    })
    # BPF programs are fitted to the kernel by its own description of its types.
    (lib.mkIf enableBpf {
      services.pcp.bpf.enable = true;
      boot.kernelPatches = [{
        name = "btf";
        patch = null;
        structuredExtraConfig.DEBUG_INFO_BTF = lib.kernel.yes;
      }];
    })
  ];
}
