//! From the plain-data entry state to KVM's registers.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use crate::boot::{EntryState, Segment};

fn segment(from: Segment) -> kvm_segment {
    let bit = |n: u8| u8::from(from.flags & (1 << n) != 0);
    kvm_segment {
        base: u64::from(from.base),
        limit: from.limit,
        selector: from.selector,
        type_: from.access & 0xf,
        s: (from.access >> 4) & 1,
        dpl: (from.access >> 5) & 3,
        present: from.access >> 7,
        avl: bit(0),
        l: bit(1),
        db: bit(2),
        g: bit(3),
        ..Default::default()
    }
}

/// The special registers for `entry`; what it does not name stays as in `reset`.
pub(super) fn special(entry: &EntryState, reset: &kvm_sregs) -> kvm_sregs {
    let mut sregs = *reset;
    sregs.cr0 = entry.cr0;
    sregs.cr3 = entry.cr3;
    sregs.cr4 = entry.cr4;
    sregs.efer = entry.efer;
    sregs.gdt.base = entry.gdt.start;
    sregs.gdt.limit = u16::try_from(entry.gdt.len.saturating_sub(1)).unwrap_or(u16::MAX);
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cs = segment(entry.code);
    let data = segment(entry.data);
    (sregs.ds, sregs.es, sregs.ss, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.tr = segment(entry.task);
    sregs
}

/// The general registers for `entry`.
pub(super) fn general(entry: &EntryState) -> kvm_regs {
    kvm_regs {
        rip: entry.rip,
        rsp: entry.rsp,
        rbp: entry.rsp,
        rsi: entry.rsi,
        rbx: entry.rbx,
        rflags: entry.rflags,
        ..Default::default()
    }
}
