# nixos-generate-config writes this file; it is here so that the flake evaluates.
{ }
