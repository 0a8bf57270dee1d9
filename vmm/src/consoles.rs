//! The consoles of a machine as it is built: their listeners and logs exist before the guest does.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use devices::backend::console::{
    Console, ConsoleError, ConsoleHandle, ConsoleLog, ConsolePump, ConsoleSpec, LogFolder,
};
use devices::event_loop::{EventLoop, Threads};

use crate::config::VmSpec;
use crate::error::Error;
use crate::event::EventSender;
use crate::landmark::LandmarkScanner;

/// What the logs get at the end to take the last output: a slow disk does not hold up the end of a run.
const PATIENCE: Duration = Duration::from_secs(1);

/// The serial port.
pub(crate) const SERIAL: &str = "ttyS0";
/// The virtio consoles, before their number.
pub(crate) const VIRTIO: &str = "hvc";

/// The consoles that are open.
#[derive(Default)]
pub(crate) struct Consoles {
    pub(crate) handles: Vec<ConsoleHandle>,
    pumps: Vec<ConsolePump>,
    folder: Option<LogFolder>,
    logs: Vec<ConsoleLog>,
}

impl Consoles {
    /// None yet, for a machine like `spec`.
    pub(crate) fn new(spec: &VmSpec) -> Result<Self, ConsoleError> {
        let open = |path| {
            LogFolder::open(path).map_err(|source| ConsoleError::Logs {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            folder: spec.console_logs.as_deref().map(open).transpose()?,
            ..Self::default()
        })
    }

    /// Opens one.
    pub(crate) fn open(
        &mut self,
        name: &str,
        spec: &ConsoleSpec,
    ) -> Result<ConsoleHandle, ConsoleError> {
        let (handle, pump) = Console::open(name, spec)?;
        if let Some(folder) = &self.folder {
            let log = ConsoleLog::open(folder, &log_name(name), &handle);
            self.logs.push(log.map_err(|source| ConsoleError::Logs {
                path: folder.path().to_owned(),
                source,
            })?);
        }
        self.pumps.push(pump);
        self.handles.push(handle.clone());
        Ok(handle)
    }

    /// Serves clients from now on, watches what the guest prints, and logs it.
    pub(crate) fn start(
        &mut self,
        io: &EventLoop,
        threads: &dyn Threads,
        events: &EventSender,
    ) -> Result<LogsEnd, Error> {
        for handle in &self.handles {
            let mut scanner = LandmarkScanner::new(events.clone());
            handle.watch_output(Box::new(move |bytes| scanner.scan(bytes)));
        }
        for pump in self.pumps.drain(..) {
            io.prepare(Box::new(pump))
                .map_err(|source| Error::start("console", source))?;
        }
        io.begin()
            .map_err(|source| Error::start("console", source))?;
        let (writes, end) = channel();
        for (number, log) in self.logs.drain(..).enumerate() {
            let writes = writes.clone();
            let body = move || {
                log.run();
                drop(writes);
            };
            threads
                .start(&format!("log{number}"), Box::new(body))
                .map_err(|source| Error::start("console log", source))?;
        }
        Ok(LogsEnd(end))
    }
}

/// The name of a console's log: that of the console for the user.
fn log_name(console: &str) -> String {
    match console.strip_prefix(VIRTIO) {
        Some("0") => "console".to_owned(),
        Some(number) => format!("console{number}"),
        None => "serial".to_owned(),
    }
}

/// The end of the consoles' logs: their threads hold the other end of the channel, and send nothing.
#[derive(Debug)]
pub(crate) struct LogsEnd(Receiver<Infallible>);

impl LogsEnd {
    /// Waits until all output is in the logs, once the consoles' loop has ended.
    pub(crate) fn wait(&self) {
        if self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the consoles' logs lack their ends: the disk is too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_called_as_the_user_calls_the_consoles() {
        let names = [SERIAL, "hvc0", "hvc1"].map(log_name);
        assert_eq!(names, ["serial", "console", "console1"]);
    }
}
