{ lib, pcp ? null, ... }: {
  options.services.pcp = {
    enable = lib.mkEnableOption "PCP";
    package = lib.mkOption { default = pcp; };
    preset = lib.mkOption { type = lib.types.enum [ "standard" "minimal" "custom" ]; default = "standard"; };
    pmlogger.enable = lib.mkOption { default = true; };
    pmie.enable = lib.mkOption { default = true; };
    pmproxy.enable = lib.mkOption { default = true; };
    allowedNetworks = lib.mkOption { default = [ ]; };
  };
}
