{ lib, ... }: {
  options.services.pcp.bpf.enable = lib.mkEnableOption "it";
}
