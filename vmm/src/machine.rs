//! A built machine: everything that lives as long as the guest runs, with one owner.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use devices::GuestRam;
use devices::backend::block::Disk;
use devices::backend::console::ConsoleHandle;
use devices::backend::net::user::ForwardControl;
use devices::backend::unix_socket::SocketPlace;
use devices::event_loop::EventLoop;
use devices::lock;
use devices::virtio::balloon::BalloonHandle;
use devices::virtio::net::LinkHandle;

use crate::consoles::LogsEnd;
use crate::control::{ControlSocket, Served, Status};
use crate::event::EventReceiver;
use crate::generation::Generation;
use crate::kvm::Vm;
use crate::platform::Platform;
use crate::sandbox::Confined;
use crate::transports::Transports;
use crate::vcpu::{VcpuContext, VcpuThreads};

/// What of the devices is changed during a run or has to be seen to as it ends.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) disks: Vec<Disk>,
    pub(crate) sockets: Vec<Arc<SocketPlace>>,
    pub(crate) controls: Controls,
}

/// What can be asked of a machine while it runs.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// The memory balloon, if the machine has one.
    pub balloon: Option<BalloonHandle>,
    /// The host ports that lead into the machine, for each card with a user-mode network.
    pub forwards: Vec<ForwardControl>,
    /// The links of the network cards.
    pub links: Vec<LinkHandle>,
    /// The machine's generation id.
    pub generation: Option<Generation>,
}

impl Kept {
    /// Completes disk images and removes the names of sockets.
    fn finish(&self) {
        for disk in &self.disks {
            if let Err(error) = disk.image.settle() {
                log::error!("disk {}: its last changes are lost: {error}", disk.name);
            }
        }
        for socket in &self.sockets {
            socket.remove();
        }
    }
}

/// The control socket, until somebody comes.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) socket: ControlSocket,
    pub(crate) served: Served,
    pub(crate) threads: Confined,
}

impl Door {
    /// Has the thread started that serves clients.
    pub(crate) fn open(self) {
        if let Err(error) = self.socket.serve(self.served, &self.threads) {
            log::error!("the control socket is not served: {error}");
        }
    }
}

/// A running machine. Dropping it stops the vCPUs, then the devices, then gives back the RAM.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) vcpus: VcpuThreads,
    pub(crate) context: Arc<VcpuContext>,
    pub(crate) io: EventLoop,
    pub(crate) platform: Platform,
    pub(crate) consoles: Vec<ConsoleHandle>,
    pub(crate) logs: LogsEnd,
    pub(crate) kept: Kept,
    pub(crate) events: EventReceiver,
    pub(crate) started: Instant,
    pub(crate) status: Arc<Status>,
    pub(crate) door: Option<Door>,
    // Fields drop in this order: KVM's view of the RAM goes before the RAM itself.
    pub(crate) _transports: Transports,
    pub(crate) _vm: Vm,
    pub(crate) _ram: GuestRam,
}

impl Machine {
    /// Presses the power button: the guest's service manager then shuts it down.
    pub(crate) fn press_power_button(&self) {
        if let Err(error) = lock(&self.platform.power).press_power_button() {
            log::error!("the power button does not reach the guest: {error}");
        }
    }

    /// Presses Ctrl-Alt-Del, for a guest that does not heed the power button.
    pub(crate) fn press_ctrl_alt_del(&self) {
        lock(&self.platform.keyboard).ctrl_alt_del();
    }

    /// The last bytes of the console that printed most.
    #[must_use]
    pub(crate) fn console_tail(&self, bytes: usize) -> Vec<u8> {
        let loudest = self
            .consoles
            .iter()
            .max_by_key(|console| console.output_len());
        loudest
            .map(|console| console.tail(bytes))
            .unwrap_or_default()
    }

    /// Takes every vCPU out of the guest, then ends the event loop, which sends what the consoles
    /// still hold and removes their sockets, and completes the disk images.
    ///
    /// What is left then (mappings, descriptors, threads that a host file system holds up) goes
    /// with the process; waiting for it here would let a slow disk delay the end of the run.
    pub(crate) fn finish(self) {
        self.vcpus.stop();
        self.context.apply_kept_writes();
        self.io.end();
        self.logs.wait();
        self.kept.finish();
        mem::forget(self);
    }
}
