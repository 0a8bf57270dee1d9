//! The CPUID that a vCPU shows: KVM's own answer, with this vCPU's place in the machine.

use std::arch::x86_64::__cpuid;

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// Leaf 1 ECX: the TSC-deadline timer, which KVM's local APIC always has.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1 ECX: running under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;
/// First of the hypervisor leaves.
const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// Timing leaf: TSC and bus frequency in kHz.
const TIMING: u32 = 0x4000_0010;
/// KVM's local APIC timer ticks at 1 GHz.
const APIC_BUS_KHZ: u32 = 1_000_000;

/// The width of the host's physical addresses in bits, which is the guest's too (AMD APM vol. 3
/// §E.4.7). One instruction; hosts that do not tell have 36.
#[must_use]
pub fn address_bits() -> u8 {
    const HIGHEST: u32 = 0x8000_0000;
    const ADDRESS_SIZES: u32 = 0x8000_0008;
    if __cpuid(HIGHEST).eax < ADDRESS_SIZES {
        return 36;
    }
    (__cpuid(ADDRESS_SIZES).eax & 0xff) as u8
}

/// Fits `cpuid` to vCPU `id` of `count`, all in one package, one thread a core.
pub(super) fn specialise(
    cpuid: &mut CpuId,
    id: u8,
    count: u8,
    tsc_khz: u32,
) -> Result<(), vmm_sys_util::fam::Error> {
    let apic_id = u32::from(id);
    let count = u32::from(count.max(1));
    let id_bits = 32 - (count - 1).leading_zeros();
    let mut has_timing = false;
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => leaf_1(entry, apic_id, count),
            // Cache topology: every core has its own caches up to L2, all share L3.
            4 | 0x8000_001d => cache(entry, count),
            0xb | 0x1f => topology(entry, apic_id, count, id_bits),
            HYPERVISOR_BASE => entry.eax = entry.eax.max(TIMING),
            TIMING => {
                has_timing = true;
                (entry.eax, entry.ebx) = (tsc_khz, APIC_BUS_KHZ);
            }
            0x8000_0008 => entry.ecx = (entry.ecx & !0xf0ff) | (id_bits << 12) | (count - 1),
            0x8000_001e => {
                (entry.eax, entry.ebx, entry.ecx) = (apic_id, apic_id & 0xff, 0);
            }
            _ => {}
        }
    }
    if !has_timing && tsc_khz != 0 {
        let timing = kvm_cpuid_entry2 {
            function: TIMING,
            eax: tsc_khz,
            ebx: APIC_BUS_KHZ,
            ..Default::default()
        };
        cpuid.push(timing)?;
    }
    Ok(())
}

fn leaf_1(entry: &mut kvm_cpuid_entry2, apic_id: u32, count: u32) {
    /// EDX: more than one logical processor in the package.
    const HTT: u32 = 1 << 28;
    entry.ebx = (entry.ebx & 0xff00) | (apic_id << 24) | (count << 16);
    // CLFLUSH line size, in units of 8 bytes.
    entry.ebx |= if entry.ebx & 0xff00 == 0 { 8 << 8 } else { 0 };
    entry.ecx |= TSC_DEADLINE | HYPERVISOR;
    entry.edx = if count > 1 {
        entry.edx | HTT
    } else {
        entry.edx & !HTT
    };
}

fn cache(entry: &mut kvm_cpuid_entry2, count: u32) {
    if entry.eax & 0x1f == 0 {
        return;
    }
    let level = (entry.eax >> 5) & 7;
    let sharers = if level >= 3 { count - 1 } else { 0 };
    entry.eax = (entry.eax & 0x3fff) | (sharers << 14);
    if entry.function == 4 {
        entry.eax |= (count.next_power_of_two() - 1).min(0x3f) << 26;
    }
}

fn topology(entry: &mut kvm_cpuid_entry2, apic_id: u32, count: u32, id_bits: u32) {
    entry.flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.edx = apic_id;
    let level = entry.index & 0xff;
    let (shift, processors, kind) = match level {
        0 => (0, 1, 1),
        1 => (id_bits, count, 2),
        _ => (0, 0, 0),
    };
    entry.eax = shift;
    entry.ebx = processors;
    entry.ecx = level | (kind << 8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specialised(entries: &[kvm_cpuid_entry2], id: u8, count: u8) -> CpuId {
        let mut cpuid = CpuId::from_entries(entries).unwrap();
        specialise(&mut cpuid, id, count, 3_000_000).unwrap();
        cpuid
    }

    fn leaf(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            ..Default::default()
        }
    }

    #[test]
    fn leaf_1_names_the_processor_and_its_timer() {
        let cpuid = specialised(&[leaf(1, 0)], 3, 4);
        let entry = cpuid.as_slice()[0];
        assert_eq!(entry.ebx >> 24, 3);
        assert_eq!((entry.ebx >> 16) & 0xff, 4);
        assert_eq!(
            entry.ecx & (TSC_DEADLINE | HYPERVISOR),
            TSC_DEADLINE | HYPERVISOR
        );
    }

    #[test]
    fn the_extended_topology_has_one_thread_a_core() {
        let cpuid = specialised(&[leaf(0xb, 0), leaf(0xb, 1), leaf(0xb, 2)], 5, 6);
        let levels: Vec<_> = cpuid.as_slice()[..3]
            .iter()
            .map(|e| (e.eax, e.ebx, e.ecx))
            .collect();
        assert_eq!(levels, [(0, 1, 0x100), (3, 6, 0x201), (0, 0, 2)]);
        assert!(cpuid.as_slice()[..3].iter().all(|e| e.edx == 5));
    }

    #[test]
    fn one_processor_needs_no_id_bits() {
        let cpuid = specialised(&[leaf(0xb, 1), leaf(1, 0)], 0, 1);
        assert_eq!(cpuid.as_slice()[0].eax, 0);
        assert_eq!(cpuid.as_slice()[1].edx & (1 << 28), 0);
    }

    #[test]
    fn the_timing_leaf_tells_the_tsc_frequency_and_is_within_range() {
        let cpuid = specialised(&[leaf(HYPERVISOR_BASE, 0)], 0, 1);
        assert_eq!(cpuid.as_slice()[0].eax, TIMING);
        let timing = cpuid.as_slice()[1];
        assert_eq!((timing.function, timing.eax), (TIMING, 3_000_000));
    }
}
