# The guests as packages: which variants there are, with which of PCP's options, and what each is called.
{ constants }:
let
  evalTools = { enablePmlogger = false; enableEvalTools = true; enablePmieTest = true; };
  options = {
    base = { };
    eval = evalTools;
    grafana = evalTools // { enableGrafana = true; enableBpf = true; };
    bpf = evalTools // { enableBpf = true; };
  };
in
rec {
  # By name: what it is, the options of PCP's guest that it sets, and whether it is offered on a TAP.
  definitions = builtins.listToAttrs (map
    (name: {
      inherit name;
      value = {
        inherit (constants.variant name) description;
        config = options.${name} or (throw "pcp-vmm: nix/variants.nix does not say which of PCP's options the variant `${name}` has");
        supportsTap = name != "bpf";
      };
    })
    constants.variantNames);

  networks = [ "user" "tap" ];

  # `base` and `user` are not part of a package's name.
  mkPackageName = variant: networking:
    "pcp-microvm" + (if variant == "base" then "" else "-${variant}") + (if networking == "tap" then "-tap" else "");

  mkTestAppName = variant: networking: "pcp-test-${variant}-${networking}";

  # Everything that there is, as { variant, networking }.
  all = builtins.concatMap
    (variant: map (networking: { inherit variant networking; })
      (builtins.filter (networking: networking == "user" || definitions.${variant}.supportsTap) networks))
    constants.variantNames;

  # The lifecycle tests, by PCP's names.
  lifecycleTests = map (variant: { name = variant; inherit variant; networking = "user"; }) constants.variantNames
    ++ [{ name = "grafana-tap"; variant = "grafana"; networking = "tap"; }];
}
