//! The thread that starts threads: a filter is inherited, and the vCPUs, which start and stop
//! devices, have one that is too narrow for them.

use std::io;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use devices::event_loop::Body;
use devices::lock;

use super::Sandbox;
use super::roles::Role;

/// One thread to start.
struct Wanted {
    name: String,
    body: Body,
    started: SyncSender<io::Result<JoinHandle<()>>>,
}

/// The way to the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Launcher(Mutex<Sender<Wanted>>);

impl Launcher {
    /// Starts the thread.
    pub(super) fn start(sandbox: &Arc<Sandbox>) -> io::Result<Self> {
        let (sender, wanted) = channel::<Wanted>();
        let within: Weak<Sandbox> = Arc::downgrade(sandbox);
        let body = move || {
            for Wanted {
                name,
                body,
                started,
            } in wanted
            {
                let Some(sandbox) = within.upgrade() else {
                    return;
                };
                // Who asked waits for the answer.
                let _ = started.send(sandbox.spawn(&name, body));
            }
        };
        sandbox.spawn(Role::Launch.name(), Box::new(body))?;
        Ok(Self(Mutex::new(sender)))
    }

    /// Has a thread started.
    pub(super) fn spawn(&self, name: &str, body: Body) -> io::Result<JoinHandle<()>> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "no thread starts others");
        let (started, answer) = sync_channel(1);
        let wanted = Wanted {
            name: name.to_owned(),
            body,
            started,
        };
        lock(&self.0).send(wanted).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}
