//! A program's output as it grows.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::time::limit;

/// Everything that a reader has given so far; a thread of its own keeps reading.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    shared: Arc<(Mutex<Content>, Condvar)>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    /// Starts to read.
    pub fn read(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self::default();
        let writer = stream.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = from.read(&mut buffer).unwrap_or(0);
                let mut content = writer.lock();
                content.bytes.extend_from_slice(&buffer[..count]);
                content.ended = count == 0;
                writer.shared.1.notify_all();
                if count == 0 {
                    break;
                }
            }
        });
        stream
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// The bytes so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until the stream holds `needle`, and returns the position behind it.
    ///
    /// # Errors
    ///
    /// When the stream ends, or `seconds` (more in the lab) pass, without it.
    pub fn wait_for(&self, needle: &str, seconds: u64) -> Result<usize> {
        self.wait_for_after(0, needle, seconds)
    }

    /// [`Self::wait_for`], from position `start` on.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn wait_for_after(&self, start: usize, needle: &str, seconds: u64) -> Result<usize> {
        let end = Instant::now() + limit(seconds);
        let mut content = self.lock();
        loop {
            let new = content.bytes.get(start..).unwrap_or_default();
            if let Some(at) = find(new, needle.as_bytes()) {
                return Ok(start + at + needle.len());
            }
            let left = end.saturating_duration_since(Instant::now());
            if content.ended || left.is_zero() {
                let why = if content.ended {
                    "the stream ended"
                } else {
                    "time passed"
                };
                let text = String::from_utf8_lossy(&content.bytes);
                let tail: String = text
                    .chars()
                    .rev()
                    .take(2000)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect();
                bail!("{why} without `{needle}`; its end:\n{tail}");
            }
            let waited = self.shared.1.wait_timeout(content, left);
            content = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the stream and returns all of it.
    ///
    /// # Errors
    ///
    /// When it does not end within `seconds` (more in the lab).
    pub fn wait_for_end(&self, seconds: u64) -> Result<Vec<u8>> {
        crate::time::wait_until("the end of a stream", seconds, || self.lock().ended)?;
        Ok(self.bytes())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len().max(1))
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_is_found_and_what_never_comes_is_not() {
        let stream = Stream::read(&b"one two three"[..]);
        assert_eq!(stream.wait_for("two", 5).unwrap(), 7);
        assert_eq!(stream.wait_for_after(7, "three", 5).unwrap(), 13);
        assert!(
            stream
                .wait_for("four", 5)
                .unwrap_err()
                .to_string()
                .contains("ended")
        );
        assert_eq!(stream.wait_for_end(5).unwrap(), b"one two three");
    }
}
