//! The command's output on its way from L1 to this process's own streams.

use std::io::{self, Read, Write};

/// Splits a stream at the mark that ends it, holding back no more than could be the mark's beginning.
#[derive(Debug)]
pub(super) struct Splitter {
    mark: Vec<u8>,
    held: Vec<u8>,
}

impl Splitter {
    pub(super) fn new(mark: &str) -> Self {
        Self {
            mark: mark.into(),
            held: Vec::new(),
        }
    }

    /// Takes the next bytes; returns what can be passed on, and whether the mark was seen.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.held.extend_from_slice(bytes);
        if let Some(at) = self
            .held
            .windows(self.mark.len())
            .position(|part| part == self.mark)
        {
            let mut before = std::mem::take(&mut self.held);
            before.truncate(at);
            return (before, true);
        }
        let longest = self.held.len().min(self.mark.len() - 1);
        let keep = (0..=longest)
            .rev()
            .find(|&length| self.held[self.held.len() - length..] == self.mark[..length]);
        let rest = self.held.split_off(self.held.len() - keep.unwrap_or(0));
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// Copies `from` to `to` up to the mark or the end of the stream.
pub(super) fn relay(mut from: impl Read, mut to: impl Write, mark: &str) -> io::Result<()> {
    let mut splitter = Splitter::new(mark);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        let (pass, complete) = splitter.push(&buffer[..count]);
        to.write_all(&pass)?;
        to.flush()?;
        if complete || count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_ends_the_stream_wherever_it_is_cut() {
        let stream = b"abMMxMARKmore";
        for cut in 0..stream.len() {
            let mut splitter = Splitter::new("MARK");
            let mut passed = Vec::new();
            let mut ended = false;
            for part in [&stream[..cut], &stream[cut..]] {
                if !ended {
                    let (pass, end) = splitter.push(part);
                    passed.extend(pass);
                    ended = end;
                }
            }
            assert!(ended);
            assert_eq!(passed, b"abMMx", "cut at {cut}");
        }
    }

    #[test]
    fn only_a_beginning_of_the_mark_is_held_back() {
        let mut splitter = Splitter::new("MARK");
        assert_eq!(splitter.push(b"line MA"), (b"line ".to_vec(), false));
        assert_eq!(splitter.push(b"P"), (b"MAP".to_vec(), false));
        assert_eq!(splitter.push(b"MMA"), (b"M".to_vec(), false));
    }

    #[test]
    fn output_passes_whole_and_the_mark_does_not() {
        let mut seen = Vec::new();
        relay(
            &b"one\ntwo\n\x01end\x01lost"[..],
            &mut seen,
            "\u{1}end\u{1}",
        )
        .unwrap();
        assert_eq!(seen, b"one\ntwo\n");
    }
}
