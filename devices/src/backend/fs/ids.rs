//! Translation of user and group ids between guest and host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an id shows as that has no counterpart (Linux `DEFAULT_OVERFLOWUID`).
const NOBODY: u32 = 65_534;

/// Ids of the guest and those of the host that they stand for, as in `0:1000:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// The guest's first id.
    pub guest: u32,
    /// The host's first id.
    pub host: u32,
    /// How many ids follow each other.
    pub count: u32,
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not GUEST:HOST:COUNT");
        let mut parts = text.split(':').map(str::parse::<u32>);
        let mut next = || parts.next().and_then(Result::ok).ok_or_else(wrong);
        let range = Self {
            guest: next()?,
            host: next()?,
            count: next()?,
        };
        let whole = |first: u32| first.checked_add(range.count).is_some();
        if parts.next().is_some() || range.count == 0 || !whole(range.guest) || !whole(range.host) {
            return Err(wrong());
        }
        Ok(range)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.guest, self.host, self.count)
    }
}

fn through(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let at = id.checked_sub(from).filter(|at| *at < count)?;
    to.checked_add(at)
}

/// A translation; without a range, every id is itself.
#[derive(Debug, Clone, Default)]
pub(super) struct IdMap(pub(super) Vec<IdRange>);

impl IdMap {
    /// The host's id for the guest's `id`. -1 is nobody's: to `chown(2)` it means none.
    pub(super) fn to_host(&self, id: u32) -> Option<u32> {
        if id == u32::MAX {
            return None;
        }
        if self.0.is_empty() {
            return Some(id);
        }
        let mut ranges = self.0.iter();
        ranges.find_map(|range| through(id, range.guest, range.host, range.count))
    }

    /// The id that the guest sees for the host's `id`.
    pub(super) fn to_guest(&self, id: u32) -> u32 {
        if self.0.is_empty() {
            return id;
        }
        let mut ranges = self.0.iter();
        let found = ranges.find_map(|range| through(id, range.host, range.guest, range.count));
        found.unwrap_or(NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_through_the_first_range_that_has_them() {
        let ranges = ["0:1000:1", "1:100000:10"].map(|text| text.parse().unwrap());
        let map = IdMap(ranges.to_vec());
        assert_eq!((map.to_host(0), map.to_guest(1000)), (Some(1000), 0));
        assert_eq!(
            (map.to_host(10), map.to_guest(100_009)),
            (Some(100_009), 10)
        );
        assert_eq!((map.to_host(11), map.to_guest(0)), (None, NOBODY));
        let all = IdMap::default();
        assert_eq!((all.to_host(7), all.to_guest(7)), (Some(7), 7));
        assert_eq!(all.to_host(u32::MAX), None);
    }

    #[test]
    fn a_range_is_three_numbers_without_overflow() {
        let range: IdRange = "0:1000:1".parse().unwrap();
        assert_eq!(range.to_string(), "0:1000:1");
        for text in [
            "",
            "0",
            "0:0",
            "0:0:0",
            "0:0:1:1",
            "a:0:1",
            "1:0:4294967295",
        ] {
            assert!(text.parse::<IdRange>().is_err(), "{text}");
        }
    }
}
