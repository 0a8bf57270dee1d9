//! The System Management BIOS tables: who made the machine, its UUID, and strings for the guest's
//! service manager (`SMBIOS 3.7`).
//!
//! They lie in the area of a PC's firmware, where Linux looks for them without EFI.

use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::layout::boot::SMBIOS;

/// The entry point's size (`SMBIOS 3.7 §5.2.2`).
const ENTRY: usize = 24;
/// Where the structures begin, behind the entry point.
const STRUCTURES: u64 = 32;
/// The most strings of one structure: an index has a byte, and 0 is none.
const STRINGS: usize = 255;

/// Why the tables cannot be given to the guest.
#[derive(Debug, thiserror::Error)]
pub enum SmbiosError {
    /// They outgrew their place.
    #[error("smbios tables of {len} bytes exceed their {} bytes", SMBIOS.len - STRUCTURES)]
    TooLarge {
        /// Their size.
        len: usize,
    },
    /// Guest RAM does not have the addresses.
    #[error("cannot write smbios tables to guest ram")]
    GuestMemory(#[from] GuestMemoryError),
}

/// The structures of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmbiosTables {
    bytes: Vec<u8>,
    handles: u16,
}

impl SmbiosTables {
    /// The room for the strings of the machine's maker, counted by [`SmbiosTables::string_len`];
    /// the rest is for the other structures.
    pub const STRING_ROOM: usize = SMBIOS.len as usize - STRUCTURES as usize - 256;

    /// The room that a string takes at most: its zero byte, and a structure of its own.
    #[must_use]
    pub fn string_len(string: &[u8]) -> usize {
        const STRUCTURE: usize = 4 + 1 + 1;
        string.len().saturating_add(1 + STRUCTURE)
    }

    /// The tables of a machine with this UUID and these strings of its maker (type 11), which have
    /// no zero byte.
    #[must_use]
    pub fn build(uuid: Option<[u8; 16]>, strings: &[Vec<u8>]) -> Self {
        let mut this = Self::default();
        this.firmware();
        this.system(uuid);
        for some in strings.chunks(STRINGS) {
            this.structure(11, &[some.len() as u8], some);
        }
        this.structure(127, &[], &[] as &[&[u8]]);
        this
    }

    /// Firmware information (`SMBIOS 3.7 §7.1`): that of a virtual machine, with no firmware.
    fn firmware(&mut self) {
        const CHARACTERISTICS_NOT_SUPPORTED: u64 = 1 << 3;
        const VIRTUAL_MACHINE: u8 = 1 << 4;
        const NONE: u8 = 0xff;
        let [vendor, version, date, size] = [1, 2, 3, 0];
        let mut fields = vec![vendor, version, 0, 0, date, size];
        fields.extend(CHARACTERISTICS_NOT_SUPPORTED.to_le_bytes());
        fields.extend([0, VIRTUAL_MACHINE, NONE, NONE, NONE, NONE, 0, 0]);
        self.structure(0, &fields, &[PRODUCT, env!("CARGO_PKG_VERSION"), DATE]);
    }

    /// System information (`SMBIOS 3.7 §7.2`); a UUID of zeroes is none.
    fn system(&mut self, uuid: Option<[u8; 16]>) {
        const POWER_SWITCH: u8 = 6;
        let [maker, product, version, serial, sku, family] = [1, 1, 2, 0, 0, 0];
        let mut fields = vec![maker, product, version, serial];
        fields.extend(wire_order(uuid.unwrap_or_default()));
        fields.extend([POWER_SWITCH, sku, family]);
        self.structure(1, &fields, &[PRODUCT, env!("CARGO_PKG_VERSION")]);
    }

    /// A structure: header, fields, strings, and a zero byte more (`SMBIOS 3.7 §6.1.2`, `§6.1.3`).
    fn structure(&mut self, kind: u8, fields: &[u8], strings: &[impl AsRef<[u8]>]) {
        const HEADER: u8 = 4;
        self.bytes.extend([kind, HEADER + fields.len() as u8]);
        self.bytes.extend(self.handles.to_le_bytes());
        self.handles += 1;
        self.bytes.extend(fields);
        for string in strings {
            self.bytes.extend(string.as_ref());
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
    }

    /// The 64-bit entry point (`SMBIOS 3.7 §5.2.2`).
    fn entry(&self) -> [u8; ENTRY] {
        const VERSION: [u8; 3] = [3, 7, 0];
        const REVISION: u8 = 1;
        let mut entry = [0; ENTRY];
        let len = self.bytes.len() as u32;
        let at = SMBIOS.start + STRUCTURES;
        let [major, minor, doc] = VERSION;
        let fields = b"_SM3_\0"
            .iter()
            .copied()
            .chain([ENTRY as u8, major, minor, doc, REVISION, 0])
            .chain(len.to_le_bytes())
            .chain(at.to_le_bytes());
        for (to, from) in entry.iter_mut().zip(fields) {
            *to = from;
        }
        let sum = entry.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        if let Some(checksum) = entry.get_mut(5) {
            *checksum = sum.wrapping_neg();
        }
        entry
    }

    /// Puts the tables into guest RAM.
    ///
    /// # Errors
    /// The tables are larger than their place, or the RAM does not have it.
    pub fn write(&self, mem: &GuestRam) -> Result<(), SmbiosError> {
        let len = self.bytes.len();
        if len as u64 > SMBIOS.len - STRUCTURES {
            return Err(SmbiosError::TooLarge { len });
        }
        mem.write_slice(&self.entry(), GuestAddress(SMBIOS.start))?;
        mem.write_slice(&self.bytes, GuestAddress(SMBIOS.start + STRUCTURES))?;
        Ok(())
    }
}

/// The firmware's date. Linux takes firmware of before 2001, or without a date, for one whose PCI may have no configuration
/// ports, and looks for a host bridge among the functions; of before 2008, for one whose address windows are wrong.
const DATE: &str = "11/22/2026";
/// Maker and product.
const PRODUCT: &str = "pcp-vmm";

/// A UUID as the table has it: its first three fields are little-endian (`SMBIOS 3.7 §7.2.1`).
fn wire_order(uuid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each structure's type, fields and strings, as an operating system reads them.
    fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<Vec<u8>>)> {
        let mut found = Vec::new();
        while let [kind, len, ..] = *bytes {
            let len = usize::from(len);
            let fields = bytes[4..len].to_vec();
            bytes = &bytes[len..];
            let mut strings = Vec::new();
            if bytes[0] == 0 {
                bytes = &bytes[1..];
            }
            while bytes[0] != 0 {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap();
                strings.push(bytes[..end].to_vec());
                bytes = &bytes[end + 1..];
            }
            bytes = &bytes[1..];
            found.push((kind, fields, strings));
            if kind == 127 {
                assert!(bytes.is_empty());
            }
        }
        found
    }

    #[test]
    fn the_entry_point_leads_to_the_structures() {
        let mem = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let tables = SmbiosTables::build(None, &[]);
        tables.write(&mem).unwrap();
        let mut entry = [0; ENTRY];
        mem.read_slice(&mut entry, GuestAddress(0xf_0000)).unwrap();
        assert_eq!((&entry[..5], entry[6]), (&b"_SM3_"[..], 24));
        assert_eq!(entry.iter().fold(0_u8, |a, b| a.wrapping_add(*b)), 0);
        let len = u32::from_le_bytes(entry[12..16].try_into().unwrap()) as usize;
        let at = u64::from_le_bytes(entry[16..].try_into().unwrap());
        let mut structures = vec![0; len];
        mem.read_slice(&mut structures, GuestAddress(at)).unwrap();
        let kinds: Vec<u8> = parse(&structures).iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [0, 1, 127]);
    }

    #[test]
    fn the_uuid_and_the_strings_are_where_they_are_looked_for() {
        let uuid = std::array::from_fn(|i| i as u8);
        let strings = [b"a=1".to_vec(), b"b=2".to_vec()];
        let found = parse(&SmbiosTables::build(Some(uuid), &strings).bytes);
        let (_, system, names) = &found[1];
        let wire = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!((system.len() + 4, &system[4..20]), (0x1b, &wire[..]));
        assert_eq!(names[0], b"pcp-vmm");
        let (_, firmware, names) = &found[0];
        assert_eq!(firmware.len() + 4, 0x1a);
        let date = &names[usize::from(firmware[4]) - 1];
        assert_eq!(
            (date.len(), &date[6..8]),
            (10, &b"20"[..]),
            "mm/dd/yyyy of a year that Linux trusts"
        );
        assert_eq!(found[2], (11, vec![2], strings.to_vec()));
    }

    #[test]
    fn more_strings_than_one_structure_holds_need_another() {
        let strings = vec![b"x".to_vec(); 256];
        let found = parse(&SmbiosTables::build(None, &strings).bytes);
        let counts: Vec<u8> = found[2..4].iter().map(|(_, fields, _)| fields[0]).collect();
        assert_eq!(counts, [255, 1]);
    }

    #[test]
    fn tables_beyond_their_place_are_refused() {
        let mem = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let tables = SmbiosTables::build(None, &[vec![b'x'; 64 << 10]]);
        let error = tables.write(&mem).unwrap_err();
        assert!(matches!(error, SmbiosError::TooLarge { .. }), "{error}");
    }
}
