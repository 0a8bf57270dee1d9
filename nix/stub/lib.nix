# The part of nixpkgs' lib that this flake uses, under the same names.
let
  inherit (builtins) attrNames concatMap concatStringsSep elemAt filter genList head isList length listToAttrs map replaceStrings
    split stringLength substring tail;
  modules = import ./modules.nix lib;
  lib = modules // {
    inherit (builtins) concatStringsSep isAttrs isFunction concatMap filter mapAttrs;

    optional = condition: it: if condition then [ it ] else [ ];
    optionals = condition: them: if condition then them else [ ];
    optionalString = condition: text: if condition then text else "";
    optionalAttrs = condition: set: if condition then set else { };
    last = list: elemAt list (length list - 1);
    drop = count: list: if count <= 0 || list == [ ] then list else lib.drop (count - 1) (tail list);
    flatten = it: if isList it then concatMap lib.flatten it else [ it ];
    imap0 = f: list: genList (index: f index (elemAt list index)) (length list);
    elem = builtins.elem;
    any = builtins.any;
    unique = builtins.foldl' (found: it: if builtins.elem it found then found else found ++ [ it ]) [ ];

    concatStrings = concatStringsSep "";
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    concatMapStringsSep = between: f: list: concatStringsSep between (map f list);
    inherit replaceStrings;
    hasPrefix = start: text: substring 0 (stringLength start) text == start;
    removePrefix = start: text:
      if lib.hasPrefix start text then substring (stringLength start) (-1) text else text;
    splitString = between: text: filter builtins.isString (split (lib.escapeRegex between) text);
    escapeRegex = replaceStrings
      [ "\\" "." "*" "+" "?" "(" ")" "[" "]" "{" "}" "^" "$" "|" ]
      [ "\\\\" "\\." "\\*" "\\+" "\\?" "\\(" "\\)" "\\[" "\\]" "\\{" "\\}" "\\^" "\\$" "\\|" ];
    # Words of plain letters stay as they are.
    escapeShellArg = it:
      let text = toString it; in
      if builtins.match "[[:alnum:],._+:@%/-]+" text != null then text else "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
    escapeShellArgs = lib.concatMapStringsSep " " lib.escapeShellArg;
    makeBinPath = lib.concatMapStringsSep ":" (package: "${package}/bin");
    boolToString = it: if it then "true" else "false";
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.name}";

    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));

    makeOverridable = f: arguments:
      f arguments // {
        override = change: lib.makeOverridable f
          (arguments // (if builtins.isFunction change then change arguments else change));
      };

    kernel = { yes = "y"; no = "n"; module = "m"; };
    licenses = { asl20 = { spdxId = "Apache-2.0"; }; mit = { spdxId = "MIT"; }; };
    warnIf = condition: message: it: if condition then builtins.trace message it else it;
    version = "stub";
    inherit (builtins) toJSON;
    firstOf = head;
  };
in
lib
