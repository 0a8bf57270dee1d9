//! Places and sizes that matter.

/// The writable buffers of a request, by number.
pub const ROOMS: [&[u32]; 16] = [
    &[],
    &[1],
    &[16],
    &[16, 64],
    &[16, 512],
    &[512, 1],
    &[16, 4096],
    &[4096],
    &[2048],
    &[12, 65550],
    &[16, 65536],
    &[1, 0, 2, 0, 3],
    &[256, 256, 256, 256],
    &[20, 1],
    &[8],
    &[1 << 20],
];

/// A length that `pick` chooses: small ones as they are, and those where arithmetic ends.
#[must_use]
pub fn length(pick: u16) -> u32 {
    let low = u32::from(pick & 0x0fff);
    match pick >> 12 {
        0..=9 => low,
        10 => low << 4,
        11 => low << 12,
        12 => 0x7fff_f000 + low,
        13 => 0x8000_0000 + low,
        14 => u32::MAX - low,
        _ => 0x10_0000 + low,
    }
}
