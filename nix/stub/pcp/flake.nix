{
  description = "A stand-in of PCP's flake: its package and the options of its modules that the guests set";

  outputs = _: {
    packages.x86_64-linux.pcp = {
      type = "derivation";
      name = "pcp-stub";
      version = "stub";
      outPath = "/nix/store/00000000000000000000000000000000-pcp-stub";
    };
  };
}
