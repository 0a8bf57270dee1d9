//! What came too early: the sequence numbers behind a gap whose bytes are kept until it is filled.

/// A part of the sequence space, from its first number up to one behind its last.
pub(super) type Range = (u32, u32);

/// How many parts are kept; a segment that would begin another is to be sent again.
pub(super) const PARTS_MAX: usize = 8;

/// Whether `a` comes before `b` (RFC 9293 §3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The parts behind the first gap: none touches another. That of the latest segment comes first, as
/// selective acknowledgements want it (RFC 2018 §4).
#[derive(Debug, Default)]
pub(super) struct Ahead {
    parts: [Range; PARTS_MAX],
    count: usize,
}

impl Ahead {
    /// The parts, the latest first.
    pub(super) fn parts(&self) -> &[Range] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds `start..end`; whether there was room for it.
    pub(super) fn insert(&mut self, start: u32, end: u32) -> bool {
        if !before(start, end) {
            return false;
        }
        let (mut start, mut end) = (start, end);
        let mut kept = Self::default();
        for &(from, to) in self.parts() {
            if before(to, start) || before(end, from) {
                kept.push((from, to));
            } else {
                start = if before(from, start) { from } else { start };
                end = if before(end, to) { to } else { end };
            }
        }
        if kept.count == PARTS_MAX {
            return false;
        }
        kept.parts.copy_within(..kept.count, 1);
        if let Some(first) = kept.parts.first_mut() {
            *first = (start, end);
        }
        kept.count += 1;
        *self = kept;
        true
    }

    /// Everything up to `next` is there: removes what the gap's end makes the continuation of it, and
    /// says what is expected after that.
    pub(super) fn join(&mut self, mut next: u32) -> u32 {
        // A part that was overtaken may have joined another before.
        loop {
            let mut kept = Self::default();
            for &(from, to) in self.parts() {
                if before(next, from) {
                    kept.push((from, to));
                } else if before(next, to) {
                    next = to;
                }
            }
            let done = kept.count == self.count;
            *self = kept;
            if done {
                return next;
            }
        }
    }

    fn push(&mut self, part: Range) {
        if let Some(slot) = self.parts.get_mut(self.count) {
            *slot = part;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_what_came_and_none_touches_another(
            base in prop_oneof![any::<u32>(), (u32::MAX - 200)..=u32::MAX],
            steps in proptest::collection::vec((0..400_u32, 0..60_u32, any::<bool>()), 1..60),
        ) {
            let mut ahead = Ahead::default();
            // Which numbers are there; the first that is not is what is expected next.
            let mut there = [false; 500];
            let mut next = 0_u32;
            for (at, len, in_order) in steps {
                let (from, to) = if in_order { (next, next + len.min(20)) } else { (next + 1 + at, next + 1 + at + len) };
                if to > 500 {
                    break;
                }
                if in_order {
                    there[from as usize..to as usize].fill(true);
                    let joined = ahead.join(base.wrapping_add(to)).wrapping_sub(base);
                    next = (to..500).find(|&i| !there[i as usize]).unwrap_or(500);
                    prop_assert_eq!(joined, next);
                } else if ahead.insert(base.wrapping_add(from), base.wrapping_add(to)) {
                    there[from as usize..to as usize].fill(true);
                    prop_assert_eq!(ahead.parts()[0].0.wrapping_sub(base) <= from, true);
                    prop_assert!(to <= ahead.parts()[0].1.wrapping_sub(base));
                } else {
                    prop_assert!(len == 0 || ahead.parts().len() == PARTS_MAX);
                }
                let mut parts: Vec<Range> = ahead.parts().iter()
                    .map(|part| (part.0.wrapping_sub(base), part.1.wrapping_sub(base)))
                    .collect();
                parts.sort_unstable();
                let mut want = Vec::new();
                for i in next..500 {
                    match want.last_mut() {
                        _ if !there[i as usize] => {}
                        Some((_, end)) if *end == i => *end = i + 1,
                        _ => want.push((i, i + 1)),
                    }
                }
                prop_assert_eq!(parts, want);
            }
        }
    }
}
