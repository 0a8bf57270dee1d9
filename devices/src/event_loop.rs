//! Threads that wait for descriptors: consoles and active virtio devices run on them.
//!
//! A loop owns what runs on it; nothing there is behind a lock. It never locks a bus: a vCPU that
//! stops a device waits for the loop while it holds its transport. The thread starts with the
//! first subscriber (a thread's start costs about 50 us, which a machine that has no active device
//! does not pay). Events are level-triggered.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use event_manager::{
    Error, EventManager, EventOps, Events, MutEventSubscriber, RemoteEndpoint, SubscriberOps,
};
use vmm_sys_util::epoll::EventSet;

use crate::lock;
use crate::virtio::device::{Interest, Registry, Token};
use crate::virtio::runner::Runner;

/// Something that waits on descriptors of its own and is owned by one event loop.
pub trait Pollable: Send {
    /// Called once, on the loop's thread or before that starts: add the first descriptors.
    ///
    /// # Errors
    /// A descriptor cannot be watched.
    fn register(&mut self, events: &mut dyn Registry) -> io::Result<()>;

    /// A descriptor registered as `token` is ready. Spurious calls happen.
    fn ready(&mut self, events: &mut dyn Registry, token: Token);
}

/// What a thread runs.
pub type Body = Box<dyn FnOnce() + Send>;

/// Starts the threads of loops; a sandbox confines each as its name says.
pub trait Threads: Send + Sync {
    /// Starts a thread called `name`.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&self, name: &str, body: Body) -> io::Result<JoinHandle<()>>;
}

/// Threads without any confinement.
#[derive(Debug, Clone, Copy)]
pub struct Unconfined;

impl Threads for Unconfined {
    fn start(&self, name: &str, body: Body) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(name.to_owned()).spawn(body)
    }
}

/// What a loop owns.
pub(crate) enum Subscriber {
    Pollable {
        inner: Box<dyn Pollable>,
        registered: io::Result<()>,
    },
    Device(Box<Runner>),
}

impl MutEventSubscriber for Subscriber {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        let (fd, token) = (events.fd(), Token(events.data()));
        let mut events = Watches(ops);
        match self {
            Self::Pollable { inner, .. } => inner.ready(&mut events, token),
            Self::Device(runner) => runner.ready(&mut events, token, fd),
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        let mut events = Watches(ops);
        match self {
            Self::Pollable { inner, registered } => *registered = inner.register(&mut events),
            Self::Device(runner) => runner.start(&mut events),
        }
    }
}

/// The descriptors of one subscriber.
struct Watches<'a, 'b>(&'a mut EventOps<'b>);

fn watch(fd: RawFd, token: Token, interest: Interest) -> io::Result<Events> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(Events::with_data_raw(fd, token.0, interest.into()))
}

impl From<Interest> for EventSet {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::None => Self::empty(),
            Interest::Read => Self::IN,
            Interest::Write => Self::OUT,
            Interest::ReadWrite => Self::IN | Self::OUT,
            Interest::Ring => Self::IN | Self::EDGE_TRIGGERED,
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "called by `Result::map_err`")]
fn io_error(error: Error) -> io::Error {
    match error {
        Error::Epoll(errno) | Error::EventFd(errno) => io::Error::from_raw_os_error(errno.errno()),
        Error::FdAlreadyRegistered => io::ErrorKind::AlreadyExists.into(),
        Error::ChannelSend | Error::ChannelRecv => {
            io::Error::new(io::ErrorKind::BrokenPipe, "the event loop has ended")
        }
        Error::InvalidId | Error::InvalidCapacity => io::ErrorKind::InvalidInput.into(),
    }
}

impl Registry for Watches<'_, '_> {
    fn add(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.0.add(watch(fd, token, interest)?).map_err(io_error)
    }

    fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.0.modify(watch(fd, token, interest)?).map_err(io_error)
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let events = watch(fd, Token(0), Interest::None)?;
        self.0.remove(events).map_err(io_error)
    }
}

type Loop = EventManager<Subscriber>;
pub(crate) type Subscribers<'a> = &'a mut dyn SubscriberOps<Subscriber = Subscriber>;

/// Has `pollable` register its descriptors with `loops` and stay there if it can.
fn add(loops: Subscribers<'_>, pollable: Box<dyn Pollable>) -> io::Result<()> {
    let id = loops.add_subscriber(Subscriber::Pollable {
        inner: pollable,
        registered: Ok(()),
    });
    let registered = match loops.subscriber_mut(id) {
        Ok(Subscriber::Pollable { registered, .. }) => std::mem::replace(registered, Ok(())),
        _ => Ok(()),
    };
    if registered.is_err() {
        drop(loops.remove_subscriber(id));
    }
    registered
}

/// The thread's side, before and after its start.
struct Thread {
    name: String,
    starts: Arc<dyn Threads>,
    waiting: Option<Loop>,
    running: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    ended: Arc<OnceLock<()>>,
}

/// Tells, when it is dropped, that a loop has ended.
struct Ended(Arc<OnceLock<()>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.get_or_init(|| ());
    }
}

impl Thread {
    fn start(&mut self) -> io::Result<()> {
        let Some(events) = self.waiting.take() else {
            return Ok(());
        };
        let stop = Arc::clone(&self.stop);
        let ended = Ended(Arc::clone(&self.ended));
        let body = Box::new(move || {
            run(events, &stop);
            drop(ended);
        });
        self.running = Some(self.starts.start(&self.name, body)?);
        Ok(())
    }
}

fn run(mut events: Loop, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if let Err(error) = events.run() {
            log::error!("event loop ends: {error}");
            return;
        }
    }
}

/// A thread that runs consoles and active devices; ends when dropped.
pub struct EventLoop {
    handle: EventLoopHandle,
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl EventLoop {
    /// A loop whose thread is called `name` (at most 15 bytes show) and starts with the first
    /// subscriber.
    ///
    /// # Errors
    /// The epoll or event descriptor cannot be made.
    pub fn spawn(name: &str) -> io::Result<Self> {
        Self::on(name, Arc::new(Unconfined))
    }

    /// As [`EventLoop::spawn`], with a thread that `starts` starts.
    ///
    /// # Errors
    /// The epoll or event descriptor cannot be made.
    pub fn on(name: &str, starts: Arc<dyn Threads>) -> io::Result<Self> {
        let events = Loop::new().map_err(io_error)?;
        let endpoint = events.remote_endpoint();
        let thread = Thread {
            name: name.to_owned(),
            starts,
            waiting: Some(events),
            running: None,
            stop: Arc::default(),
            ended: Arc::default(),
        };
        Ok(Self {
            handle: EventLoopHandle {
                endpoint,
                thread: Arc::new(Mutex::new(thread)),
            },
        })
    }

    /// Gives `pollable` to a loop whose thread has not started, without a wait for that; it starts
    /// with [`EventLoop::begin`] or with the first other subscriber.
    ///
    /// # Errors
    /// As [`EventLoopHandle::add`].
    pub fn prepare(&self, pollable: Box<dyn Pollable>) -> io::Result<()> {
        let mut thread = lock(&self.handle.thread);
        let Some(events) = thread.waiting.as_mut() else {
            drop(thread);
            return self.handle.add(pollable);
        };
        add(events, pollable)
    }

    /// Starts the thread if it has not started.
    ///
    /// # Errors
    /// It cannot start.
    pub fn begin(&self) -> io::Result<()> {
        lock(&self.handle.thread).start()
    }

    /// The way to the loop for whoever has something to run there.
    #[must_use]
    pub fn handle(&self) -> EventLoopHandle {
        self.handle.clone()
    }

    /// Ends the thread and waits for it; what ran on it is dropped.
    pub fn stop(&mut self) {
        if self.wait_for_end()
            && let Some(running) = lock(&self.handle.thread).running.take()
            && running.join().is_err()
        {
            log::error!("event loop panicked");
        }
    }

    /// Ends the loop and waits until what ran on it is dropped; its thread goes a moment later.
    pub fn end(&self) {
        self.wait_for_end();
    }

    /// Whether there was a loop to end, and it has ended.
    fn wait_for_end(&self) -> bool {
        let mut thread = lock(&self.handle.thread);
        thread.stop.store(true, Ordering::Release);
        thread.waiting = None;
        if thread.running.is_none() {
            return false;
        }
        let ended = Arc::clone(&thread.ended);
        drop(thread);
        if let Err(error) = self.handle.endpoint.kick() {
            log::error!("event loop cannot be stopped: {error}");
            return false;
        }
        ended.wait();
        true
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The way to an [`EventLoop`] from other threads.
#[derive(Clone)]
pub struct EventLoopHandle {
    endpoint: RemoteEndpoint<Subscriber>,
    thread: Arc<Mutex<Thread>>,
}

impl fmt::Debug for EventLoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventLoop")
            .field(&lock(&self.thread).name)
            .finish()
    }
}

impl EventLoopHandle {
    /// Gives `pollable` to the loop and waits until it has registered its descriptors.
    ///
    /// # Errors
    /// The thread cannot start or has ended, or [`Pollable::register`] failed.
    pub fn add(&self, pollable: Box<dyn Pollable>) -> io::Result<()> {
        self.call(move |loops| add(loops, pollable))?
    }

    /// Another loop, whose thread is started in the same way.
    ///
    /// # Errors
    /// The epoll or event descriptor cannot be made.
    pub(crate) fn sibling(&self, name: &str) -> io::Result<EventLoop> {
        let starts = Arc::clone(&lock(&self.thread).starts);
        EventLoop::on(name, starts)
    }

    /// Runs `f` on the loop's thread and waits for its answer.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(Subscribers<'_>) -> T + Send + 'static,
    ) -> io::Result<T> {
        lock(&self.thread).start()?;
        self.endpoint
            .call_blocking(|loops| Ok(f(loops)))
            .map_err(io_error)
    }

    /// Runs `f` on the loop's thread, after all that was asked before, without waiting.
    pub(crate) fn post(&self, f: impl FnOnce(Subscribers<'_>) + Send + 'static) -> io::Result<()> {
        lock(&self.thread).start()?;
        self.endpoint.fire(f).map_err(io_error)
    }
}

#[cfg(test)]
mod tests;
