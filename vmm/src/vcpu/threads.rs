//! The threads of the vCPUs: they start together and are stopped together.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devices::lock;

use super::{VcpuContext, step};
use crate::event::MachineEvent;
use crate::kvm::{Failure, Kickable, Kicker, Vcpu};
use crate::sandbox::Sandbox;

/// How long [`VcpuThreads::stop`] waits.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// What the threads and their owner share.
#[derive(Debug, Default)]
struct Shared {
    released: OnceLock<()>,
    stop: AtomicBool,
    /// Whether the threads are to stay out of the guest for a while.
    pause: AtomicBool,
    /// How many of them do.
    parked: Mutex<usize>,
    /// Changes of these two.
    changed: Condvar,
    /// How many threads may still run the guest or touch a device.
    busy: Mutex<usize>,
    left: Condvar,
}

/// A thread's mark of being busy.
struct Busy(Arc<Shared>);

impl Busy {
    fn new(shared: &Arc<Shared>) -> Self {
        *lock(&shared.busy) += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.busy) -= 1;
        self.0.left.notify_one();
    }
}

/// The machine's vCPU threads.
#[derive(Debug)]
pub(crate) struct VcpuThreads {
    threads: Vec<JoinHandle<()>>,
    /// The same threads, as long as they run vCPUs.
    running: Vec<Arc<Kickable>>,
    shared: Arc<Shared>,
    kicker: Kicker,
}

impl VcpuThreads {
    /// Starts one thread for each of `vcpus`, which get ready and wait for
    /// [`VcpuThreads::release`].
    ///
    /// # Errors
    /// A thread or the signal handler could not be had.
    pub(crate) fn start(
        vcpus: Vec<Vcpu>,
        context: &Arc<VcpuContext>,
        sandbox: &Arc<Sandbox>,
    ) -> io::Result<Self> {
        let mut this = Self {
            threads: Vec::with_capacity(vcpus.len()),
            running: Vec::with_capacity(vcpus.len()),
            shared: Arc::default(),
            kicker: Kicker::install()?,
        };
        for (id, mut vcpu) in vcpus.into_iter().enumerate() {
            let context = Arc::clone(context);
            let busy = Busy::new(&this.shared);
            let sandbox = Arc::clone(sandbox);
            let name = format!("vcpu{id}");
            let role = name.clone();
            let thread = Arc::<Kickable>::default();
            this.running.push(Arc::clone(&thread));
            let body = move || match sandbox.confine(&role) {
                Ok(()) => {
                    run(&mut vcpu, &context, &busy.0, &thread);
                    thread.leave();
                    // The owner need not wait for the descriptor to be closed.
                    drop(busy);
                }
                Err(error) => {
                    log::error!("{role} cannot be confined and does not run: {error}");
                    context.events.send(MachineEvent::Failed {
                        failure: Failure::Run(error.raw_os_error().unwrap_or(libc::EPERM)),
                        instruction_pointer: None,
                    });
                }
            };
            this.threads
                .push(thread::Builder::new().name(name).spawn(body)?);
        }
        Ok(this)
    }

    /// Lets the guest run.
    pub(crate) fn release(&self) {
        self.shared.released.get_or_init(|| ());
    }

    /// Makes every vCPU leave the guest and stay out of it; whether all have within
    /// [`STOP_LIMIT`].
    pub(crate) fn pause(&self) -> bool {
        let shared = &self.shared;
        shared.pause.store(true, Ordering::SeqCst);
        for thread in &self.running {
            self.kicker.kick(thread);
        }
        let outside = |parked: &mut usize| *parked < self.threads.len();
        let parked = lock(&shared.parked);
        let waited = shared
            .changed
            .wait_timeout_while(parked, STOP_LIMIT, outside);
        let (parked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *parked >= self.threads.len()
    }

    /// Lets every vCPU go on.
    pub(crate) fn resume(&self) {
        let _parked = lock(&self.shared.parked);
        self.shared.pause.store(false, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// Makes every vCPU leave the guest and waits until it has; not for one that a device holds up
    /// for longer than [`STOP_LIMIT`].
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.release();
        self.resume();
        let busy = lock(&self.shared.busy);
        if *busy == 0 {
            return;
        }
        for thread in &self.running {
            self.kicker.kick(thread);
        }
        let left = &self.shared.left;
        let waited = left.wait_timeout_while(busy, STOP_LIMIT, |busy| *busy > 0);
        let (busy, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *busy > 0 {
            log::warn!("{} vCPUs are held up by a device and left behind", *busy);
        }
    }
}

impl Drop for VcpuThreads {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                log::error!("a vCPU thread ended by a panic");
            }
        }
    }
}

fn run(vcpu: &mut Vcpu, context: &VcpuContext, shared: &Shared, thread: &Kickable) {
    // From here on a kick comes through; one before it left its reason in `shared`.
    vcpu.accept_kicks(thread);
    shared.released.wait();
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.pause.load(Ordering::SeqCst) {
            park(vcpu, shared);
            continue;
        }
        if let Some(event) = step(vcpu, context) {
            context.events.send(event);
            return;
        }
    }
}

/// Waits out a pause.
fn park(vcpu: &Vcpu, shared: &Shared) {
    let mut parked = lock(&shared.parked);
    *parked += 1;
    shared.changed.notify_all();
    let pauses = |_: &mut usize| shared.pause.load(Ordering::SeqCst);
    let waited = shared.changed.wait_while(parked, pauses);
    *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
    vcpu.tell_of_pause();
}
