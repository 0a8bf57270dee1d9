//! What is given to whom: plain data, and the rule by which a VM gets an identifier.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Pool;

/// The identifiers of all VMs, as the file holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignments {
    /// The version of the format, [`Assignments::VERSION`].
    version: u32,
    /// By pool and VM.
    pub(crate) ids: BTreeMap<String, BTreeMap<String, u64>>,
    /// What each pool gave last.
    #[serde(rename = "lastAssignments")]
    pub(crate) last: BTreeMap<String, u64>,
}

impl Default for Assignments {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            ids: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }
}

/// An identifier that a VM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// The identifier.
    pub(crate) id: u64,
    /// The one that it had before, if that cannot be used any more.
    pub(crate) before: Option<u64>,
}

/// A pool has nothing left to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pool `{pool}` has nothing left: {given} of {room} are assigned, and the others are in use"
)]
pub(crate) struct Exhausted {
    pool: String,
    given: usize,
    room: u64,
}

impl Assignments {
    /// The version of the format that this program writes.
    pub(crate) const VERSION: u32 = 1;

    /// The identifier of `vm` from `name`, which is `pool`: the one that it has, or else the next that nobody has.
    /// `can_have` tells whether one is free on this machine.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn assign(
        &mut self,
        name: &str,
        pool: Pool,
        vm: &str,
        mut can_have: impl FnMut(u64) -> bool,
    ) -> Result<Given, Exhausted> {
        let ids = self.ids.entry(name.to_owned()).or_default();
        let before = ids.get(vm).copied();
        let others = ids.iter().filter(|(other, _)| *other != vm);
        let taken: BTreeSet<u64> = others.map(|(_, id)| *id).collect();
        let mut fits = |id: &u64| !taken.contains(id) && can_have(*id);
        if let Some(id) = before.filter(|id| pool.has(*id)).filter(&mut fits) {
            return Ok(Given { id, before: None });
        }
        let last = self.last.get(name).copied();
        let mut free = pool.after(last).filter(|id| Some(*id) != before);
        let Some(id) = free.find(fits) else {
            return Err(Exhausted {
                pool: name.to_owned(),
                given: taken.len(),
                room: pool.room(),
            });
        };
        ids.insert(vm.to_owned(), id);
        self.last.insert(name.to_owned(), id);
        Ok(Given { id, before })
    }

    /// Gives back what `vm` has; whether it had anything.
    pub(crate) fn free(&mut self, vm: &str) -> bool {
        let mut found = false;
        for ids in self.ids.values_mut() {
            found |= ids.remove(vm).is_some();
        }
        self.ids.retain(|_, ids| !ids.is_empty());
        found
    }

    /// The VMs that have something.
    pub(crate) fn vms(&self) -> BTreeSet<&str> {
        let names = self.ids.values().flat_map(BTreeMap::keys);
        names.map(String::as_str).collect()
    }

    /// What `vm` has, by pool.
    pub(crate) fn of<'a>(&'a self, vm: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let of_pool = move |(pool, ids): (&'a String, &'a BTreeMap<String, u64>)| {
            Some((pool.as_str(), *ids.get(vm)?))
        };
        self.ids.iter().filter_map(of_pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: Pool = Pool {
        min: 5,
        max: 8,
        step: 1,
    };

    fn all_free(_: u64) -> bool {
        true
    }

    #[test]
    fn the_next_is_given_and_kept_and_what_was_freed_comes_again_after_the_last() {
        let mut all = Assignments::default();
        let assign =
            |all: &mut Assignments, vm| all.assign("p", POOL, vm, all_free).map(|it| it.id);
        for (vm, id) in [("a", 5), ("b", 6), ("a", 5), ("c", 7)] {
            assert_eq!(assign(&mut all, vm), Ok(id), "{vm}");
        }
        assert!(all.free("a") && !all.free("a"));
        assert_eq!(
            assign(&mut all, "d"),
            Ok(8),
            "not 5, which was given before"
        );
        assert_eq!(assign(&mut all, "e"), Ok(5), "the pool begins again");
        let none = assign(&mut all, "f").unwrap_err();
        assert!(none.to_string().contains("4 of 4"), "{none}");
        assert_eq!(assign(&mut all, "b"), Ok(6), "who has one keeps it");
        assert_eq!(
            all.vms().into_iter().collect::<Vec<_>>(),
            ["b", "c", "d", "e"]
        );
        assert_eq!(all.of("c").collect::<Vec<_>>(), [("p", 7)]);
    }

    #[test]
    fn what_is_in_use_is_skipped_and_who_had_it_is_told() {
        let mut all = Assignments::default();
        let mut assign = |vm, used: &[u64]| all.assign("p", POOL, vm, |id| !used.contains(&id));
        assert_eq!(
            assign("a", &[5, 6]),
            Ok(Given {
                id: 7,
                before: None
            })
        );
        assert_eq!(
            assign("a", &[]),
            Ok(Given {
                id: 7,
                before: None
            })
        );
        assert_eq!(
            assign("a", &[7]),
            Ok(Given {
                id: 8,
                before: Some(7)
            })
        );
        assert!(assign("a", &[5, 6, 7, 8]).is_err());
        assert_eq!(
            assign("a", &[]),
            Ok(Given {
                id: 8,
                before: None
            }),
            "nothing is lost by a failure"
        );
    }

    #[test]
    fn what_does_not_belong_to_the_pool_any_more_is_replaced() {
        let mut all = Assignments::default();
        all.assign(
            "p",
            Pool {
                min: 90,
                max: 99,
                step: 1,
            },
            "a",
            all_free,
        )
        .unwrap();
        let given = all.assign("p", POOL, "a", all_free);
        assert_eq!(
            given,
            Ok(Given {
                id: 5,
                before: Some(90)
            })
        );
        // Two with the same, as somebody wrote it: the first to ask gets another one.
        all.ids.get_mut("p").unwrap().insert("b".into(), 5);
        assert_eq!(all.assign("p", POOL, "b", all_free).unwrap().id, 6);
        assert_eq!(all.assign("p", POOL, "a", all_free).unwrap().id, 5);
    }

    #[test]
    fn the_file_has_the_documented_form() {
        let mut all = Assignments::default();
        all.assign("ports", POOL, "web", all_free).unwrap();
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"ids":{"ports":{"web":5}},"lastAssignments":{"ports":5}}"#
        );
        assert_eq!(serde_json::from_str::<Assignments>(&text).unwrap(), all);
    }
}
