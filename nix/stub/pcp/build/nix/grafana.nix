{ lib, ... }: {
  options.services.pcp.grafana.enable = lib.mkEnableOption "it";
}
