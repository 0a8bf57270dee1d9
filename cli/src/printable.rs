//! Text of a guest's without what could command a terminal, byte by byte as it comes.

/// Where in a control sequence the text is (ECMA-48, control sequences and control strings).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// In none.
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and bytes that do not end an escape sequence.
    Intermediate,
    /// In a control sequence, which ends with a byte from `@` to `~`.
    Sequence,
    /// In a control string, which ends with BEL or ESC.
    String,
}

/// Leaves out control sequences and control characters but for new lines and tabs.
#[derive(Debug, Default)]
pub(crate) struct Printable(At);

impl Printable {
    /// What of `bytes` may be shown.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let shown = bytes.iter().copied().filter(|&byte| self.shows(byte));
        shown.collect()
    }

    fn shows(&mut self, byte: u8) -> bool {
        let (next, shown) = match (self.0, byte) {
            (_, 0x1b) => (At::Escape, false),
            (At::Text, b'\n' | b'\t') => (At::Text, true),
            (At::Text, _) => (At::Text, byte >= b' ' && byte != 0x7f),
            (At::Escape, b'[') => (At::Sequence, false),
            (At::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (At::String, false),
            (At::Escape | At::Intermediate, b' '..=b'/') => (At::Intermediate, false),
            (At::Escape | At::Intermediate, _) => (At::Text, false),
            (At::Sequence, b'@'..=b'~') => (At::Text, false),
            (At::Sequence, _) => (At::Sequence, false),
            (At::String, 0x07) => (At::Text, false),
            (At::String, _) => (At::String, false),
        };
        self.0 = next;
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_left_out_wherever_it_is_cut() {
        let text = "\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07a\tb\x1b(Bc\x1bcd\x1bP1$x\x1b\\\u{e9}\x07\x1b[6n";
        for size in 1..text.len() {
            let mut filter = Printable::default();
            let shown: Vec<u8> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| filter.filter(chunk))
                .collect();
            assert_eq!(
                String::from_utf8(shown).unwrap(),
                "red\na\tbcd\u{e9}",
                "{size}"
            );
        }
    }
}
