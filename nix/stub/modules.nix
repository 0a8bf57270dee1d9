# NixOS's modules in small: options with defaults, conditions, priorities and submodules. What no option declares is merged too, for
# of NixOS's own options only those are declared that this flake reads.
lib:
let
  inherit (builtins) attrNames concatLists concatMap elem filter foldl' head isAttrs isFunction isList isPath isString
    listToAttrs map mapAttrs;
  typeOf = it: it._type or null;
  isPlain = it: isAttrs it && !(it ? _type) && !(it ? outPath);
  isOption = it: isAttrs it && typeOf it == "option";

  override = priority: content: { _type = "override"; inherit priority content; };

  # A definition as a list of { priority, value }, in which conditions stand at the leaves: the names in a set do not depend on any.
  spread = priority: it:
    if typeOf it == "merge" then concatMap (spread priority) it.contents
    else if typeOf it == "override" then spread it.priority it.content
    else if typeOf it == "order" then spread priority it.content
    else if typeOf it == "if" then
      map
        (found: found // {
          value =
            if isPlain found.value then mapAttrs (_: content: lib.mkIf it.condition content) found.value
            else { _type = "if"; inherit (it) condition; content = found.value; };
        })
        (spread priority it.content)
    else [{ inherit priority; value = it; }];

  # Leaves whose conditions hold.
  leaves = concatMap (found:
    if typeOf found.value == "if"
    then (if found.value.condition then leaves (spread found.priority found.value.content) else [ ])
    else if elem (typeOf found.value) [ "merge" "override" "order" ] then leaves (spread found.priority found.value)
    else [ found ]);

  where = path: lib.concatStringsSep "." path;

  mergeLeaves = path: found:
    let
      least = foldl' (least: it: if it.priority < least then it.priority else least) 10000 found;
      values = map (it: it.value) (filter (it: it.priority == least) found);
      first = head values;
    in
    if isPlain first then mergeSets path null (map (value: { priority = least; inherit value; }) values)
    else if isList first then concatLists values
    else if builtins.all (it: it == first) values then first
    else throw "the option `${where path}` has several values";

  withType = path: type: value:
    let kind = type._kind or null; in
    if kind == "enum" && !elem value type.values
    then throw "the option `${where path}` is `${toString value}`; there are ${lib.concatMapStringsSep ", " toString type.values}"
    else if kind == "listOf" then lib.imap0 (index: withType (path ++ [ (toString index) ]) type.of) value
    else if kind == "attrsOf" then mapAttrs (name: withType (path ++ [ name ]) type.of) value
    else if kind == "nullOr" then (if value == null then null else withType path type.of value)
    else if kind == "submodule" then (evalAt path [ type.module { config = value; } ] { }).config
    else value;

  declared = path: option: found:
    let true' = leaves found; in
    if true' != [ ] then withType path (option.type or null) (mergeLeaves path true')
    else if option ? default then option.default
    else throw "the option `${where path}` has no value";

  # DECLARED options, or null where nothing is declared, and what is defined.
  mergeSets = path: options: found:
    let
      sets = filter (it: isPlain it.value) (concatMap (it: spread it.priority it.value) found);
      names = attrNames (foldl' (all: it: all // it.value) (if options == null then { } else options) sets);
      of = name: concatMap (it: if it.value ? ${name} then spread it.priority it.value.${name} else [ ]) sets;
      one = name:
        let
          definitions = of name;
          option = if options == null then null else options.${name} or null;
          at = path ++ [ name ];
        in
        if isOption option then declared at option definitions
        else if option != null then mergeSets at option definitions
        else if builtins.any (it: isPlain it.value) definitions then mergeSets at null definitions
        else if leaves definitions == [ ] then throw "the option `${where at}` is used but not defined"
        else mergeLeaves at (leaves definitions);
    in
    listToAttrs (map (name: { inherit name; value = one name; }) names);

  evalAt = path: all: specialArgs:
    let
      arguments = { inherit config lib; options = { }; } // (config._module.args or { }) // specialArgs;
      call = module:
        let
          read = if isPath module || isString module then import module else module;
          wanted = builtins.functionArgs read;
          given = if wanted == { } then arguments else mapAttrs (name: _: arguments.${name}) wanted // { inherit config lib; };
        in
        if isFunction read then read given else read;
      collect = module:
        let it = call module; in
        concatMap collect (it.imports or [ ])
        ++ [
          (if it ? config || it ? options
          then { options = it.options or { }; config = it.config or { }; }
          else { options = { }; config = if elem (typeOf it) [ "if" "merge" ] then it else removeAttrs it [ "imports" ]; })
        ];
      modules = concatMap collect all;
      joinOptions = a: b: a // mapAttrs (name: it: if a ? ${name} && !isOption it then joinOptions a.${name} it else it) b;
      options = foldl' joinOptions { } (map (it: it.options) modules);
      config = mergeSets path options (map (it: { priority = 100; value = it.config; }) modules);
    in
    { inherit config options; };
in
{
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = override;
  mkForce = override 50;
  mkDefault = override 1000;
  mkAfter = content: { _type = "order"; inherit content; };
  mkBefore = content: { _type = "order"; inherit content; };
  mkOption = option: option // { _type = "option"; };
  mkEnableOption = description: { _type = "option"; default = false; inherit description; };

  types = {
    bool = { };
    str = { };
    int = { };
    lines = { };
    package = { };
    path = { };
    attrs = { };
    enum = values: { _kind = "enum"; inherit values; };
    listOf = of: { _kind = "listOf"; inherit of; };
    attrsOf = of: { _kind = "attrsOf"; inherit of; };
    nullOr = of: { _kind = "nullOr"; inherit of; };
    submodule = module: { _kind = "submodule"; inherit module; };
  };

  evalModules = { modules, specialArgs ? { } }: evalAt [ ] modules specialArgs;
}
