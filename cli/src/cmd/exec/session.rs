//! The connections of a guest's agent: the command's streams, and what is said of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use guest::wire::{Channel, Demand, News, Order, Size, Token};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The signals that reach the command, and the one that says that the terminal's size changed.
const PASSED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];
/// The time between two looks whether the VM has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes carried at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// The most connections that are looked at: the agent's few, and what others in the guest may try.
const LOOKED_AT: usize = 64;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The agent said this.
    News(News),
    /// A stream of the command's output is there.
    Opened,
    /// It has ended, and all of it has been carried.
    Carried,
    /// This program was sent a signal, perhaps by the keys of its terminal.
    Signal { number: i32, by_keys: bool },
    /// The time is up.
    Deadline,
    /// The VM has ended.
    VmEnded,
    /// The agent cannot be understood.
    Broken(String),
}

/// The signals of this program, as something to read.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Takes them over, for this thread and those that it starts.
    pub(super) fn take_over() -> io::Result<Self> {
        let all = SigSet::from_iter(PASSED);
        all.thread_block()?;
        Ok(Self(SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC)?))
    }

    fn tell(&self, to: &Sender<Event>) {
        while let Ok(Some(signal)) = self.0.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(libc::SIGTERM);
            let by_keys = signal.ssi_code == libc::SI_KERNEL;
            if to.send(Event::Signal { number, by_keys }).is_err() {
                return;
            }
        }
    }
}

/// What goes on between this program and the agent.
#[derive(Debug)]
pub(super) struct Session {
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// The control connection, once it is there.
    control: Receiver<UnixStream>,
    agent: Option<UnixStream>,
    /// The streams of the command's output: how many there are to be, have come, and are carried.
    wanted: usize,
    opened: usize,
    carried: usize,
    place: PathBuf,
}

impl Session {
    /// Listens at `path` for the agent, which shows `token`, to give it `order`.
    pub(super) fn open(
        path: &Path,
        token: Token,
        order: Order,
        signals: Signals,
    ) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        let for_signals = sender.clone();
        thread::spawn(move || signals.tell(&for_signals));
        let mut session = Self {
            events,
            sender,
            control: mpsc::channel().1,
            agent: None,
            wanted: 0,
            opened: 0,
            carried: 0,
            place: path.to_owned(),
        };
        session.order(token, order)?;
        Ok(session)
    }

    /// Listens for the agent, which shows `token`, to give it `order`, the first or one after another.
    pub(super) fn order(&mut self, token: Token, order: Order) -> io::Result<()> {
        let _ = fs::remove_file(&self.place);
        let listener = UnixListener::bind(&self.place)?;
        let (controls, control) = mpsc::channel();
        let sender = self.sender.clone();
        let wanted = match order.terminal.is_some() || order.one_output {
            true => 1,
            false => 2,
        };
        let expected = Arc::new(Expected {
            token,
            come: Mutex::default(),
            all: wanted + if order.terminal.is_some() { 1 } else { 2 },
            place: self.place.clone(),
        });
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take(LOOKED_AT) {
                let (order, sender, controls) = (order.clone(), sender.clone(), controls.clone());
                let expected = Arc::clone(&expected);
                thread::spawn(move || {
                    if let Err(error) = serve(stream, &expected, &order, &controls, &sender) {
                        // The session may be over.
                        let _ = sender.send(Event::Broken(error.to_string()));
                    }
                });
            }
        });
        self.control = control;
        self.agent = None;
        (self.wanted, self.opened, self.carried) = (wanted, 0, 0);
        Ok(())
    }

    /// Whether all that the command put out has been carried.
    pub(super) fn is_drained(&self) -> bool {
        self.carried >= self.wanted
    }

    /// Waits until all that came of a VM which has ended is carried: its connections have their ends.
    pub(super) fn drain(&mut self) {
        while self.carried < self.opened
            && let Ok(event) = self.events.recv()
        {
            self.counted(event);
        }
    }

    /// The next event.
    pub(super) fn next(
        &mut self,
        deadline: Option<Instant>,
        vm_has_ended: &mut dyn FnMut() -> bool,
    ) -> Event {
        loop {
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(left.unwrap_or(LOOK).min(LOOK)) {
                Ok(event) => return self.counted(event),
                Err(RecvTimeoutError::Disconnected) => return Event::VmEnded,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if left == Some(Duration::ZERO) {
                return Event::Deadline;
            }
            if vm_has_ended() {
                // What it sent before may still be on its way through the connections' threads.
                return match self.events.recv_timeout(LOOK) {
                    Ok(event) => self.counted(event),
                    Err(_) => Event::VmEnded,
                };
            }
        }
    }

    fn counted(&mut self, event: Event) -> Event {
        match event {
            Event::Opened => self.opened += 1,
            Event::Carried => self.carried += 1,
            _ => {}
        }
        event
    }

    /// Passes a signal to the command; whether there is one.
    pub(super) fn pass(&mut self, signal: i32, by_keys: bool) -> bool {
        if self.agent.is_none() {
            self.agent = self.control.try_recv().ok();
        }
        let Some(agent) = &mut self.agent else {
            // A window that changes its size ends nothing.
            return signal == Signal::SIGWINCH as i32;
        };
        let demand = if signal == Signal::SIGWINCH as i32 {
            let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) else {
                return true;
            };
            Demand::Resize(Size {
                rows: size.ws_row,
                columns: size.ws_col,
            })
        } else {
            let signal = u8::try_from(signal).unwrap_or_default();
            match by_keys {
                true => Demand::SignalGroup(signal),
                false => Demand::Signal(signal),
            }
        };
        // An agent that is gone is noticed by the end of its news.
        let _ = demand.write(agent);
        true
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.place);
    }
}

/// What the agent's connections have to be.
#[derive(Debug)]
struct Expected {
    token: Token,
    /// Those that have come. Each comes once: whoever comes later is somebody else.
    come: Mutex<HashSet<Channel>>,
    /// How many there are.
    all: usize,
    /// The socket that they find; it goes when all have come, so that a caller that is killed leaves none.
    place: PathBuf,
}

impl Expected {
    /// What the connection is for; nothing if it is not the agent's.
    fn channel(&self, stream: &mut UnixStream) -> io::Result<Option<Channel>> {
        let (mut kind, mut token) = ([0], Token::default());
        let read = stream.read_exact(&mut kind);
        let read = read.and_then(|()| stream.read_exact(&mut token));
        if read.is_err() || token != self.token {
            return Ok(None);
        }
        let channel = Channel::of(kind[0])
            .ok_or_else(|| io::Error::other("the guest's agent speaks another language"))?;
        let mut come = self.come.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = come.insert(channel);
        if come.len() == self.all {
            let _ = fs::remove_file(&self.place);
        }
        Ok(is_new.then_some(channel))
    }
}

/// Serves one connection to its end.
fn serve(
    mut stream: UnixStream,
    expected: &Expected,
    order: &Order,
    controls: &Sender<UnixStream>,
    events: &Sender<Event>,
) -> io::Result<()> {
    let Some(channel) = expected.channel(&mut stream)? else {
        return Ok(());
    };
    let duplicate = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    match channel {
        Channel::Control => {
            order.write(&mut stream)?;
            // The session may be over.
            let _ = controls.send(stream.try_clone()?);
            loop {
                match News::read(&mut stream) {
                    Ok(news) => {
                        if events.send(Event::News(news)).is_err() {
                            return Ok(());
                        }
                    }
                    // The VM's end tells why.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                    Err(_) => return Ok(()),
                }
            }
        }
        Channel::Input => {
            carry(&mut duplicate(io::stdin().as_fd())?, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        }
        Channel::Output => {
            show(&mut stream, duplicate(io::stdout().as_fd())?, events);
        }
        Channel::Errors => {
            show(&mut stream, duplicate(io::stderr().as_fd())?, events);
        }
        Channel::Terminal => {
            let mut keys = stream.try_clone()?;
            let mut input = duplicate(io::stdin().as_fd())?;
            thread::spawn(move || type_into(&mut input, &mut keys));
            show(&mut stream, duplicate(io::stdout().as_fd())?, events);
        }
    }
    Ok(())
}

/// Carries a stream of the command's output to its end. Who listens for events may be gone.
fn show(stream: &mut UnixStream, mut to: File, events: &Sender<Event>) {
    let _ = events.send(Event::Opened);
    carry(stream, &mut to);
    let _ = events.send(Event::Carried);
}

/// Carries keys until one of the two ends. What is typed after the command's end is left to who reads the terminal next.
fn type_into(input: &mut File, keys: &mut UnixStream) {
    let mut piece = [0; 4096];
    loop {
        let mut fds = [
            PollFd::new(&*input, PollFlags::IN),
            PollFd::new(&*keys, PollFlags::RDHUP),
        ];
        if poll(&mut fds, None).is_err_and(|error| error != Errno::INTR) {
            return;
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        if !fds[0].revents().is_empty() {
            match input.read(&mut piece) {
                Ok(count @ 1..)
                    if keys
                        .write_all(piece.get(..count).unwrap_or_default())
                        .is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

/// Carries everything until one of the two ends.
fn carry(from: &mut impl Read, to: &mut impl Write) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(count @ 1..) => {
                let piece = piece.get(..count).unwrap_or_default();
                if to.write_all(piece).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
