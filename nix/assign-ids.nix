# assignIds: numbers for VMs from pools, by the rule that `pcp-vmm ids` has (docs/identifiers.md): who has one keeps it, a new one is
# the next after the last that was given, and after the pool's end its first. The result has the form of `pcp-vmm ids export`, and is
# what `previous` is given the next time.
{
  # By VM, the pools that it needs a number of.
  vms
, previous ? { }
  # Other ranges, as { min, max } and maybe step, and pools of one's own.
, pools ? { }
}:
let
  constants = import ./constants.nix;
  known = builtins.mapAttrs (_name: pool: { step = 1; } // pool)
    (constants.pools // builtins.mapAttrs (name: pool: (constants.pools.${name} or { }) // pool) pools);
  names = builtins.attrNames vms;
  list = builtins.concatStringsSep ", ";

  poolOf = vm: name: known.${name} or (throw
    "pcp-vmm: `${vm}` needs a number of the pool `${name}`; there are ${list (builtins.attrNames known)}");
  room = pool: (pool.max + 1 - pool.min) / pool.step;
  place = pool: id: (id - pool.min) / pool.step;
  isOf = pool: id: id >= pool.min && pool.min + place pool id * pool.step == id && place pool id < room pool;

  # What the documented VMs have of PCP's TAP network is nobody else's.
  documented = { addresses = [ 20 ]; };

  remainder = a: b: a - (a / b) * b;
  one = vm: state: name:
    let
      pool = poolOf vm name;
      had = state.ids.${name} or { };
      others = builtins.attrValues (removeAttrs had [ vm ]) ++ documented.${name} or [ ];
      before = had.${vm} or null;
      keeps = before != null && isOf pool before && !builtins.elem before others;
      last = state.lastAssignments.${name} or null;
      first = if last != null && isOf pool last then place pool last + 1 else 0;
      candidates = map (index: pool.min + remainder (first + index) (room pool) * pool.step)
        (builtins.genList (index: index) (room pool));
      free = builtins.filter (id: id != before && !builtins.elem id others) candidates;
      id =
        if keeps then before
        else if free == [ ]
        then throw "pcp-vmm: the pool `${name}` has nothing left for `${vm}`: all of its ${toString (room pool)} numbers are assigned"
        else builtins.head free;
    in
    {
      ids = state.ids // { ${name} = had // { ${vm} = id; }; };
      lastAssignments = state.lastAssignments // (if keeps then { } else { ${name} = id; });
    };

  # Who is not wanted any more gives its numbers back.
  kept = builtins.mapAttrs
    (_pool: given: removeAttrs given (builtins.filter (vm: !builtins.elem vm names) (builtins.attrNames given)))
    (previous.ids or { });
  start = { ids = kept; lastAssignments = previous.lastAssignments or { }; };
in
builtins.foldl' (state: vm: builtins.foldl' (one vm) state vms.${vm}) start names
