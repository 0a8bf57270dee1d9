//! The state in which the boot vCPU begins, as plain data, and the tables in RAM that go with it.

use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::error::BootError;
use crate::layout::{Range, boot};

/// The mode in which the boot vCPU begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMode {
    /// 64-bit mode, RAM mapped onto itself.
    Long64,
    /// 32-bit protected mode without paging.
    Protected32,
}

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The selector in the descriptor table of [`EntryState::gdt`].
    pub selector: u16,
    /// The segment's first address.
    pub base: u32,
    /// The segment's last offset, in bytes.
    pub limit: u32,
    /// The descriptor's bits 40 to 47: type, S, DPL and P (`Intel SDM vol. 3A §3.4.5`).
    pub access: u8,
    /// The descriptor's bits 52 to 55: AVL, L, D/B and G.
    pub flags: u8,
}

/// The registers of the boot vCPU; those not named are as after a reset, or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryState {
    /// The mode that the control registers below make up.
    pub mode: CpuMode,
    /// The first instruction.
    pub rip: u64,
    /// The stack's end; neither protocol asks for a stack.
    pub rsp: u64,
    /// Linux: the zero page's address.
    pub rsi: u64,
    /// PVH: the start information's address.
    pub rbx: u64,
    /// The flags: interrupts are off.
    pub rflags: u64,
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3: the page tables.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// The extended features register.
    pub efer: u64,
    /// The global descriptor table; its limit is its length less one.
    pub gdt: Range,
    /// CS.
    pub code: Segment,
    /// DS, ES, SS, FS and GS.
    pub data: Segment,
    /// TR.
    pub task: Segment,
}

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const RFLAGS_RESERVED: u64 = 1 << 1;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const HUGE: u64 = 1 << 7;
const TABLE: u64 = 4096;
const GIB: u64 = 1 << 30;
const HUGE_PAGE: u64 = 2 << 20;
/// How many page directories the place for page tables has room for.
const DIRECTORIES: u64 = 4;

const CODE64: Segment = flat(0x10, 0x9b, 0xa);
const CODE32: Segment = flat(0x10, 0x9b, 0xc);
const DATA: Segment = flat(0x18, 0x93, 0xc);
const TASK: Segment = Segment {
    selector: 0x20,
    base: 0,
    limit: 0x67,
    access: 0x8b,
    flags: 0,
};

const fn flat(selector: u16, access: u8, flags: u8) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        access,
        flags,
    }
}

impl Segment {
    /// The descriptor that a segment register was loaded from (a task segment's lower half).
    fn descriptor(&self) -> u64 {
        const GRANULARITY: u8 = 1 << 3;
        let limit = if self.flags & GRANULARITY == 0 {
            self.limit
        } else {
            self.limit >> 12
        };
        let (base, limit) = (u64::from(self.base), u64::from(limit));
        let low = (limit & 0xffff) | (base & 0xff_ffff) << 16 | u64::from(self.access) << 40;
        low | (limit >> 16 & 0xf) << 48 | u64::from(self.flags) << 52 | (base >> 24) << 56
    }
}

/// The entry into 64-bit Linux at `rip`; writes page tables that map RAM below `mapped` (and all of
/// the first GiB) onto itself.
pub(super) fn linux64(mem: &GuestRam, rip: u64, mapped: u64) -> Result<EntryState, BootError> {
    write_gdt(mem, CODE64)?;
    write_page_tables(mem, mapped).map_err(|source| BootError::GuestMemory {
        what: "page tables",
        address: boot::PAGE_TABLES.start,
        source,
    })?;
    Ok(EntryState {
        mode: CpuMode::Long64,
        rip,
        rsi: boot::ZERO_PAGE.start,
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: boot::PAGE_TABLES.start,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        ..protected(rip)
    }
    .with_code(CODE64))
}

/// The entry by the PVH protocol at `rip`.
pub(super) fn pvh(mem: &GuestRam, rip: u64, start_info: u64) -> Result<EntryState, BootError> {
    write_gdt(mem, CODE32)?;
    Ok(EntryState {
        rbx: start_info,
        ..protected(rip)
    })
}

fn protected(rip: u64) -> EntryState {
    EntryState {
        mode: CpuMode::Protected32,
        rip,
        rsp: boot::STACK.end() - 16,
        rsi: 0,
        rbx: 0,
        rflags: RFLAGS_RESERVED,
        cr0: CR0_PE | CR0_ET,
        cr3: 0,
        cr4: 0,
        efer: 0,
        gdt: Range::new(boot::GDT.start, 6 * 8),
        code: CODE32,
        data: DATA,
        task: TASK,
    }
}

impl EntryState {
    fn with_code(self, code: Segment) -> Self {
        Self { code, ..self }
    }
}

fn write_gdt(mem: &GuestRam, code: Segment) -> Result<(), BootError> {
    let [code, data, task] = [code, DATA, TASK].map(|s| s.descriptor());
    let mut bytes = [0; 6 * 8];
    let table = [0, 0, code, data, task, 0];
    for (to, entry) in bytes.chunks_exact_mut(8).zip(table) {
        to.copy_from_slice(&entry.to_le_bytes());
    }
    mem.write_slice(&bytes, GuestAddress(boot::GDT.start))
        .map_err(|source| BootError::GuestMemory {
            what: "the descriptor table",
            address: boot::GDT.start,
            source,
        })
}

/// One level-4 and one level-3 table, and as many directories of 2 MiB pages as `mapped` asks for.
fn write_page_tables(mem: &GuestRam, mapped: u64) -> Result<(), GuestMemoryError> {
    let level4 = boot::PAGE_TABLES.start;
    let level3 = level4 + TABLE;
    let directories = level3 + TABLE;
    mem.write_obj(level3 | PRESENT | WRITABLE, GuestAddress(level4))?;
    for n in 0..mapped.div_ceil(GIB).clamp(1, DIRECTORIES) {
        let directory = directories + n * TABLE;
        let entry = directory | PRESENT | WRITABLE;
        mem.write_obj(entry, GuestAddress(level3 + n * 8))?;
        let mut pages = [0; TABLE as usize];
        for (i, to) in (0..).zip(pages.chunks_exact_mut(8)) {
            let page = (n * GIB + i * HUGE_PAGE) | PRESENT | WRITABLE | HUGE;
            to.copy_from_slice(&u64::to_le_bytes(page));
        }
        mem.write_slice(&pages, GuestAddress(directory))?;
    }
    Ok(())
}
