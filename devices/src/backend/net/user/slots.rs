//! A table whose entries keep their index: the index is half of an event's token.

/// Entries by index.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    max: u32,
}

impl<T> Slots<T> {
    /// A table of at most `max` entries.
    pub(super) fn new(max: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            max,
        }
    }

    /// The index that the next [`Slots::insert`] will use, if there is room.
    pub(super) fn vacant(&self) -> Option<u32> {
        self.free.last().copied().or_else(|| {
            let next = u32::try_from(self.entries.len()).ok()?;
            (next < self.max).then_some(next)
        })
    }

    /// Puts `entry` at the index that [`Slots::vacant`] named, if there is room.
    pub(super) fn insert(&mut self, entry: T) -> Option<u32> {
        let id = self.vacant()?;
        if self.free.pop().is_some() {
            *self.entries.get_mut(id as usize)? = Some(entry);
        } else {
            self.entries.push(Some(entry));
        }
        Some(id)
    }

    /// The entry at `id`.
    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// The entry at `id`.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// Takes the entry at `id`.
    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let entry = self.entries.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(entry)
    }

    /// Every entry with its index.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..)
            .zip(&mut self.entries)
            .filter_map(|(id, entry)| Some((id, entry.as_mut()?)))
    }

    /// Every entry with its index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Removes every entry.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.free.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stay_and_are_used_again() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.insert('a'), Some(0));
        assert_eq!(slots.insert('b'), Some(1));
        assert_eq!(slots.insert('c'), None);
        assert_eq!(slots.remove(0), Some('a'));
        assert_eq!(slots.remove(0), None);
        assert_eq!(slots.get(1), Some(&'b'));
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.insert('d'), Some(0));
        assert_eq!(slots.iter().count(), 2);
    }
}
