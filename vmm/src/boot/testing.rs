//! A kernel's wrapping, for tests of this crate and for fuzzing.
#![allow(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "the offsets are constants"
)]

const MIB: u64 = 1 << 20;

/// A bzImage of boot protocol 2.15 around `payload`.
#[must_use]
pub fn bzimage(payload: &[u8]) -> Vec<u8> {
    const SETUP: usize = 2 * 512;
    const STUB: usize = 0x300;
    let mut out = vec![0; SETUP + STUB];
    let code_len = (STUB + payload.len()).next_multiple_of(16);
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1f4, &(code_len as u32 / 16).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x230, &(2_u32 << 20).to_le_bytes());
    put(0x236, &1_u16.to_le_bytes());
    put(0x238, &2047_u32.to_le_bytes());
    put(0x248, &(STUB as u32).to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &(16 * MIB).to_le_bytes());
    put(0x260, &(4_u32 << 20).to_le_bytes());
    put(SETUP, b"stub");
    out.extend(payload);
    out.resize(SETUP + code_len, 0);
    out
}
