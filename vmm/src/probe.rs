//! Asks a host's KVM, with a guest of two instructions, whether it can run a stock kernel.
//!
//! Some hosts offer `/dev/kvm` without hardware virtualisation and run the guest's kernel mode in
//! KVM's instruction emulator, which lacks instructions that every 64-bit Linux executes.

use vm_memory::{Bytes, GuestAddress};

use crate::boot::{CpuMode, EntryState, Segment};
use crate::error::Error;
use crate::kvm::{EarlyKvm, Exit, Failure, Vcpu, Vm};
use crate::layout::Range;
use crate::memory;

/// What a host's KVM can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelSupport {
    /// Stock kernels.
    Full,
    /// Only guests made for it: its emulator lacks what kernels execute.
    TinyGuestsOnly,
    /// The probe itself failed, so.
    Broken(Failure),
}

const RAM: usize = 2 << 20;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const CODE: u64 = 0x4000;
const OPERAND: u64 = 0x5000;
/// Port that the probe writes to when it is through.
const DONE: u16 = 0x80;
/// `lock cmpxchg16b [rsi]`, `out 0x80, al`.
const PROGRAM: [u8; 7] = [0xf0, 0x48, 0x0f, 0xc7, 0x0e, 0xe6, DONE as u8];
/// How many exits the probe may need: one, and a few for signals.
const EXITS: usize = 16;

/// Runs the probe.
///
/// # Errors
/// There is no KVM to ask, or it cannot make a machine.
pub fn kernel_support() -> Result<KernelSupport, Error> {
    let ram =
        memory::allocate(&[(GuestAddress(0), RAM)], false).map_err(|source| Error::Memory {
            bytes: RAM as u64,
            source,
        })?;
    let tables = [(PML4, PDPT | 3), (PDPT, DIRECTORY | 3), (DIRECTORY, 0x83)];
    let written = tables
        .iter()
        .try_for_each(|(at, entry)| ram.write_obj(*entry, GuestAddress(*at)))
        .and_then(|()| ram.write_slice(&PROGRAM, GuestAddress(CODE)));
    written.map_err(|source| Error::device("probe", source))?;
    let early = EarlyKvm::default();
    let vm = Vm::new(&ram, &early)?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid(&early.cpuid()?, 1)?;
    vcpu.set_entry(&entry())?;
    Ok(run(&mut vcpu))
}

fn run(vcpu: &mut Vcpu) -> KernelSupport {
    for _ in 0..EXITS {
        match vcpu.run() {
            Exit::Out(DONE, _) => return KernelSupport::Full,
            Exit::Interrupted => {}
            Exit::InternalError => {
                return match vcpu.internal_error() {
                    Failure::Emulation => KernelSupport::TinyGuestsOnly,
                    other => KernelSupport::Broken(other),
                };
            }
            Exit::Failed(failure) => return KernelSupport::Broken(failure),
            // The emulator may raise an exception instead, which nothing handles.
            Exit::TripleFault => return KernelSupport::TinyGuestsOnly,
            _ => break,
        }
    }
    KernelSupport::Broken(Failure::Unexpected(0))
}

/// 64-bit mode at the program, with RAM mapped onto itself.
fn entry() -> EntryState {
    let code = Segment {
        selector: 0x10,
        base: 0,
        limit: u32::MAX,
        access: 0x9b,
        flags: 0xa,
    };
    let data = Segment {
        selector: 0x18,
        access: 0x93,
        flags: 0xc,
        ..code
    };
    EntryState {
        mode: CpuMode::Long64,
        rip: CODE,
        rsp: OPERAND,
        rsi: OPERAND,
        rbx: 0,
        rflags: 2,
        cr0: (1 << 31) | (1 << 4) | 1,
        cr3: PML4,
        cr4: 1 << 5,
        efer: (1 << 10) | (1 << 8),
        gdt: Range::new(0x500, 0x28),
        code,
        data,
        task: Segment {
            selector: 0x20,
            limit: 0x67,
            access: 0x8b,
            flags: 0,
            ..code
        },
    }
}
