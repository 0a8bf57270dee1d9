//! The other end of the control socket, for who manages machines.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Answer, ConsoleName, Event, Info, Request};

/// The longest answer that is taken.
const ANSWER_MAX: u64 = 4 << 20;

/// Why a machine's control socket is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody is there, or nobody answers.
    #[error("no answer at `{}`", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came is no answer.
    #[error("no answer of a machine at `{}`", path.display())]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// Where reading stopped.
        source: serde_json::Error,
    },
    /// The machine does not do what was asked.
    #[error("{why}")]
    Refused {
        /// Why, in its words.
        why: String,
    },
}

impl ControlError {
    /// Whether the connection broke off: the machine has ended, most likely.
    #[must_use]
    pub fn is_end(&self) -> bool {
        let Self::Silent { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::NotFound
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
        )
    }
}

/// A connection to a machine.
#[derive(Debug)]
pub struct ControlClient {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    /// What has come of a line.
    partial: Vec<u8>,
}

impl ControlClient {
    /// Connects to the machine whose socket is at `path`; it is given `patience` for each answer.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, ControlError> {
        let open = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(stream)
        };
        let silent = |source| ControlError::Silent {
            path: path.to_owned(),
            source,
        };
        Ok(Self {
            path: path.to_owned(),
            stream: BufReader::new(open().map_err(silent)?),
            partial: Vec::new(),
        })
    }

    fn silent(&self, source: io::Error) -> ControlError {
        ControlError::Silent {
            path: self.path.clone(),
            source,
        }
    }

    /// Asks, and takes the answer.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ControlError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.silent(error.into()))?;
        line.push(b'\n');
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| self.silent(error))?;
        let text = self.line()?;
        let answer: Answer = self.parse(&text)?;
        if answer.ok {
            return Ok(answer);
        }
        let why = answer.error.unwrap_or_else(|| "no reason given".to_owned());
        Err(ControlError::Refused { why })
    }

    /// The next line; what came of it stays for later if time runs out.
    fn line(&mut self) -> Result<Vec<u8>, ControlError> {
        let room = ANSWER_MAX.saturating_sub(self.partial.len() as u64);
        let mut limited = self.stream.by_ref().take(room);
        match limited.read_until(b'\n', &mut self.partial) {
            Ok(_) if self.partial.ends_with(b"\n") => Ok(std::mem::take(&mut self.partial)),
            Ok(_) => Err(self.silent(ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.silent(error)),
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &[u8]) -> Result<T, ControlError> {
        serde_json::from_slice(text).map_err(|source| ControlError::Garbled {
            path: self.path.clone(),
            source,
        })
    }

    /// What runs, and how it is.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn info(&mut self) -> Result<Info, ControlError> {
        let answer = self.ask(&Request::Info {})?;
        answer.info.ok_or_else(|| ControlError::Refused {
            why: "the machine tells nothing of itself".to_owned(),
        })
    }

    /// The next event, after a request to follow them; it may come at any time.
    ///
    /// # Errors
    /// See [`ControlError`]; at the end of the run the connection ends too.
    pub fn next_event(&mut self) -> Result<Event, ControlError> {
        self.listen_for(None)?;
        let text = self.line()?;
        self.parse(&text)
    }

    /// The same, if it comes within `limit`.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn next_event_within(&mut self, limit: Duration) -> Result<Option<Event>, ControlError> {
        self.listen_for(Some(limit))?;
        match self.line() {
            Ok(text) => self.parse(&text).map(Some),
            Err(ControlError::Silent { source, .. }) if is_timeout(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn listen_for(&self, limit: Option<Duration>) -> Result<(), ControlError> {
        let set = self.stream.get_ref().set_read_timeout(limit);
        set.map_err(|error| self.silent(error))
    }

    /// Makes the connection a console, with `last` bytes of its past; the stream, what of it was
    /// read already, and the length of that past.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn into_console(
        mut self,
        console: ConsoleName,
        last: Option<u64>,
    ) -> Result<(UnixStream, Vec<u8>, u64), ControlError> {
        let answer = self.ask(&Request::Console { console, last })?;
        let read = self.stream.buffer().to_vec();
        let stream = self.stream.into_inner();
        let path = self.path;
        let free = stream
            .set_read_timeout(None)
            .and_then(|()| stream.set_write_timeout(None));
        free.map_err(|source| ControlError::Silent { path, source })?;
        Ok((stream, read, answer.replay.unwrap_or(0)))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
