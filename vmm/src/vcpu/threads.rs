//! The threads of the vCPUs: they start together and are stopped together.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devices::lock;

use super::{VcpuContext, step};
use crate::event::MachineEvent;
use crate::kvm::{Failure, Kicker, Vcpu};
use crate::sandbox::Sandbox;

/// How long [`VcpuThreads::stop`] waits.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// What the threads and their owner share.
#[derive(Debug, Default)]
struct Shared {
    released: OnceLock<()>,
    stop: AtomicBool,
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
            shared: Arc::default(),
            kicker: Kicker::install()?,
        };
        for (id, mut vcpu) in vcpus.into_iter().enumerate() {
            let context = Arc::clone(context);
            let busy = Busy::new(&this.shared);
            let sandbox = Arc::clone(sandbox);
            let name = format!("vcpu{id}");
            let role = name.clone();
            let body = move || match sandbox.confine(&role) {
                Ok(()) => {
                    run(&mut vcpu, &context, &busy.0);
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

    /// Makes every vCPU leave the guest and waits until it has; not for one that a device holds up
    /// for longer than [`STOP_LIMIT`].
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.release();
        let busy = lock(&self.shared.busy);
        if *busy == 0 {
            return;
        }
        for thread in &self.threads {
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

fn run(vcpu: &mut Vcpu, context: &VcpuContext, shared: &Shared) {
    vcpu.accept_kicks();
    shared.released.wait();
    while !shared.stop.load(Ordering::SeqCst) {
        if let Some(event) = step(vcpu, context) {
            context.events.send(event);
            return;
        }
    }
}
