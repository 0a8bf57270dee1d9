//! Messages, field by field.

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn then(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }

    pub(super) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn words(self, values: &[u32]) -> Self {
        values.iter().fold(self, |this, &value| this.u32(value))
    }

    /// A text with its length before it.
    pub(super) fn text(self, text: &str) -> Self {
        let len = u16::try_from(text.len()).unwrap_or_default();
        self.u16(len).raw(text.as_bytes())
    }

    /// A text with a zero behind it.
    pub(super) fn zero(self, text: &str) -> Self {
        self.raw(text.as_bytes()).u8(0)
    }
}
