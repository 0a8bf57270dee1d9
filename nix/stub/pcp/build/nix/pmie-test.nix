{ lib, ... }: {
  options.services.pcp.pmieTest.enable = lib.mkEnableOption "it";
}
