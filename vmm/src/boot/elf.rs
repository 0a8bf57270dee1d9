//! ELF kernels: their segments, and the entry points that their notes name.

use super::error::BootError;
use super::fields::{u16_at, u32_at, u64_at};
use super::file_kind::FileKind;
use super::source::Source;
use crate::layout::Range;

/// The most program headers that are looked at; Linux has five.
const MAX_HEADERS: u16 = 128;
/// The most bytes of notes that are looked at.
const MAX_NOTES: u64 = 64 << 10;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`: the physical address of the PVH entry point.
const NOTE_PVH_ENTRY: u32 = 18;

/// Bytes of the file and the physical addresses they go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) file: Range,
    /// Longer than `file` where the rest is to be zero.
    pub(super) memory: Range,
}

/// What is to be known of an ELF kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) segments: Vec<Segment>,
    /// The 64-bit entry point, if the file is 64-bit and the address is in a segment.
    pub(super) entry: Option<u64>,
    /// The PVH entry point, where a note names one.
    pub(super) pvh_entry: Option<u64>,
    /// Whether a note says that this is Linux.
    pub(super) linux: bool,
}

#[derive(Clone, Copy)]
struct ProgramHeader {
    kind: u32,
    file: Range,
    memory: Range,
    align: u64,
}

struct Header {
    wide: bool,
    entry: u64,
    table: u64,
    entry_len: u16,
    count: u16,
}

impl Elf {
    /// Whether the bytes begin like an ELF file.
    pub(super) fn recognises(head: &[u8]) -> bool {
        head.starts_with(b"\x7fELF")
    }

    /// Reads the headers and notes of an ELF kernel.
    pub(super) fn parse(source: &Source) -> Result<Self, BootError> {
        let header = Header::parse(source)?;
        let mut elf = Self {
            segments: Vec::new(),
            entry: None,
            pvh_entry: None,
            linux: false,
        };
        for program_header in header.program_headers(source)? {
            match program_header.kind {
                PT_LOAD => elf.segments.extend(segment(source, program_header)?),
                PT_INTERP => return Err(source.wrong(FileKind::ElfType("program"))),
                PT_NOTE => elf.read_notes(source, program_header)?,
                _ => {}
            }
        }
        if elf.segments.is_empty() {
            return Err(source.damaged("it has no segment to load"));
        }
        elf.entry = Some(header.entry).filter(|entry| header.wide && elf.holds(*entry));
        elf.pvh_entry = elf.pvh_entry.filter(|entry| elf.holds(*entry));
        if !header.wide && elf.pvh_entry.is_none() {
            return Err(source.wrong(FileKind::Elf32));
        }
        if elf.entry.is_none() && elf.pvh_entry.is_none() {
            return Err(source.damaged("its entry point is in none of its segments"));
        }
        Ok(elf)
    }

    /// The first address behind the last segment.
    pub(super) fn end(&self) -> u64 {
        let ends = self.segments.iter().map(|s| s.memory.end());
        ends.max().unwrap_or(0)
    }

    fn holds(&self, address: u64) -> bool {
        let byte = Range::new(address, 1);
        self.segments.iter().any(|s| s.memory.contains(&byte))
    }

    fn read_notes(&mut self, source: &Source, header: ProgramHeader) -> Result<(), BootError> {
        let len = usize::try_from(header.file.len.min(MAX_NOTES)).unwrap_or(0);
        let Some(notes) = source.bytes(header.file.start, len)? else {
            return Err(truncated(source, &header.file));
        };
        let align = if header.align == 8 { 8 } else { 4 };
        for note in (Notes {
            rest: &notes,
            align,
        }) {
            match (note.owner, note.kind) {
                (b"Xen\0", NOTE_PVH_ENTRY) => {
                    let narrow = || u32_at(note.data, 0).map(u64::from);
                    self.pvh_entry = u64_at(note.data, 0).or_else(narrow);
                }
                (b"Linux\0", _) => self.linux = true,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Header {
    fn parse(source: &Source) -> Result<Self, BootError> {
        let head = source.head();
        let cut = || source.damaged("its ELF header is truncated");
        let class = *head.get(4).ok_or_else(cut)?;
        if let Some(foreign) = FileKind::foreign_elf(head) {
            return Err(source.wrong(foreign));
        }
        let wide = match class {
            1 => false,
            2 => true,
            _ => return Err(source.damaged("its ELF class is neither 32 nor 64 bits")),
        };
        let kind = match u16_at(head, 16).ok_or_else(cut)? {
            2 => None,
            1 => Some("relocatable object (a kernel module?)"),
            3 => Some("program or shared library"),
            4 => Some("core dump"),
            _ => Some("file of an unknown type"),
        };
        if let Some(kind) = kind {
            return Err(source.wrong(FileKind::ElfType(kind)));
        }
        let parse = || {
            Some(if wide {
                Self {
                    wide,
                    entry: u64_at(head, 24)?,
                    table: u64_at(head, 32)?,
                    entry_len: u16_at(head, 54)?,
                    count: u16_at(head, 56)?,
                }
            } else {
                Self {
                    wide,
                    entry: u32_at(head, 24)?.into(),
                    table: u32_at(head, 28)?.into(),
                    entry_len: u16_at(head, 42)?,
                    count: u16_at(head, 44)?,
                }
            })
        };
        parse().ok_or_else(cut)
    }

    fn program_headers(&self, source: &Source) -> Result<Vec<ProgramHeader>, BootError> {
        let expected = if self.wide { 56 } else { 32 };
        if self.entry_len != expected || self.count > MAX_HEADERS {
            return Err(source.damaged("its ELF program header table is malformed"));
        }
        let len = usize::from(self.entry_len) * usize::from(self.count);
        let table = source.bytes(self.table, len)?;
        let Some(table) = table else {
            return Err(truncated(source, &Range::new(self.table, len as u64)));
        };
        let parsed = table
            .chunks_exact(usize::from(self.entry_len))
            .map(|entry| self.program_header(entry))
            .collect::<Option<Vec<_>>>();
        parsed.ok_or_else(|| source.damaged("its ELF program header table is malformed"))
    }

    fn program_header(&self, entry: &[u8]) -> Option<ProgramHeader> {
        let narrow = |at| u32_at(entry, at).map(u64::from);
        let wide = |at| u64_at(entry, at);
        let [offset, address, file_len, memory_len, align] = if self.wide {
            [wide(8)?, wide(24)?, wide(32)?, wide(40)?, wide(48)?]
        } else {
            [
                narrow(4)?,
                narrow(12)?,
                narrow(16)?,
                narrow(20)?,
                narrow(28)?,
            ]
        };
        Some(ProgramHeader {
            kind: u32_at(entry, 0)?,
            file: Range::new(offset, file_len),
            memory: Range::new(address, memory_len),
            align,
        })
    }
}

fn truncated(source: &Source, wanted: &Range) -> BootError {
    let len = source.len();
    source.damaged(format!(
        "it is truncated: {wanted} is beyond its {len} bytes"
    ))
}

/// The segment of a `PT_LOAD` header; `None` if it is empty.
fn segment(source: &Source, header: ProgramHeader) -> Result<Option<Segment>, BootError> {
    let ProgramHeader { file, memory, .. } = header;
    if memory.len == 0 && file.len == 0 {
        return Ok(None);
    }
    if file.len > memory.len || memory.start.checked_add(memory.len).is_none() {
        return Err(source.damaged("a segment has impossible addresses"));
    }
    let end = file.start.checked_add(file.len);
    if end.is_none_or(|end| end > source.len()) {
        return Err(truncated(source, &file));
    }
    Ok(Some(Segment { file, memory }))
}

struct Note<'a> {
    owner: &'a [u8],
    kind: u32,
    data: &'a [u8],
}

/// The notes of a note segment, up to the first that is malformed.
struct Notes<'a> {
    rest: &'a [u8],
    align: usize,
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        const HEADER: usize = 12;
        let owner_len = u32_at(self.rest, 0)? as usize;
        let data_len = u32_at(self.rest, 4)? as usize;
        let kind = u32_at(self.rest, 8)?;
        let data_at = HEADER
            .checked_add(owner_len)?
            .checked_next_multiple_of(self.align)?;
        let end = data_at.checked_add(data_len)?;
        let note = Note {
            owner: self.rest.get(HEADER..HEADER + owner_len)?,
            kind,
            data: self.rest.get(data_at..end)?,
        };
        let next = end.checked_next_multiple_of(self.align)?;
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(note)
    }
}
